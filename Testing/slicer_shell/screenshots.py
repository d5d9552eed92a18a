"""The folder of screenshots that the tests leave: CI keeps it, and people look at them."""

import os
from pathlib import Path

import numpy as np

from slicer_shell.pyside import QtGui, QtWidgets

DEFAULT_FOLDER = Path(__file__).parents[1] / "screenshots"


def folder() -> Path:
    """The folder named by HLFD_SCREENSHOTS, or Testing/screenshots; made where it is missing."""
    path = Path(os.environ.get("HLFD_SCREENSHOTS") or DEFAULT_FOLDER)
    path.mkdir(parents=True, exist_ok=True)
    return path


def save_picture(picture: np.ndarray, name: str) -> Path:
    """Save a picture, uint8 (height, width, 3), as `name`.png."""
    height, width, _ = picture.shape
    image = QtGui.QImage(np.ascontiguousarray(picture).data, width, height, 3 * width, QtGui.QImage.Format_RGB888)
    path = folder() / f"{name}.png"
    if not image.save(str(path)):
        raise OSError(f"the screenshot {path} could not be written")
    return path


def grab(widget: QtWidgets.QWidget, name: str) -> Path:
    """Save what a widget shows as `name`.png."""
    QtWidgets.QApplication.processEvents()
    path = folder() / f"{name}.png"
    if not widget.grab().save(str(path)):
        raise OSError(f"the screenshot {path} could not be written")
    return path
