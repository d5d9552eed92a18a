"""The phases of a segmentation, by the names under which their progress is told."""

PREPARING = "preparing"
ADDING = "adding the results"
"""In Slicer, before and after those of the worker."""

STARTING = "starting"
LOADING = "loading the model"
SEGMENTING = "segmenting"
EXPLAINING = "explaining"
MEASURING = "measuring"
WRITING = "writing"
"""In the worker, in this order."""
