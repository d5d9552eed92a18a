"""Cases, trainings and their models in Slicer's scene: nothing here knows of a panel."""
