"""CTs, runs and their results in Slicer's scene: nothing here knows of a panel."""
