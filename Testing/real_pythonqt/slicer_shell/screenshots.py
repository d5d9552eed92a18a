"""Pictures of the panels, into the folder that HLFD_SCREENSHOTS names."""

import os
from pathlib import Path

import numpy as np


def folder() -> Path:
    """The folder; made where it is missing."""
    path = Path(os.environ["HLFD_SCREENSHOTS"])
    path.mkdir(parents=True, exist_ok=True)
    return path


def grab(widget, name: str) -> Path:
    """A picture of a widget."""
    path = folder() / f"{name}.png"
    widget.grab().save(str(path))
    return path


def save_picture(picture: np.ndarray, name: str) -> Path:
    """Pictures of slice views are no matter of PythonQt."""
    return folder() / f"{name}.png"
