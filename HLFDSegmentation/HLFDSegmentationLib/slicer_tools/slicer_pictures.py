"""Pictures for the labels of a panel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import qt
import vtk
from slicer.i18n import tr as _
from vtk.util.numpy_support import numpy_to_vtk

from ..errors import OutputError
from ..output.private_folder import PrivateFolder


class ResizeWatch(qt.QObject):
    """Tells that a widget has got another size.

    Args:
        widget: it, while this object is kept.
        on_resized: called with nothing.
    """

    def __init__(self, widget: Any, on_resized: Callable[[], None]) -> None:
        qt.QObject.__init__(self)
        self._on_resized = on_resized
        widget.installEventFilter(self)

    def eventFilter(self, widget: Any, event: Any) -> bool:  # noqa: N802, Qt's name
        """Called by Qt."""
        if event.type() == qt.QEvent.Resize:
            self._on_resized()
        return False


def pixmap_of(picture: np.ndarray, pixel_ratio: float = 1.0) -> qt.QPixmap:
    """A picture, for a label.

    Args:
        picture: (height, width, 3), uint8, the first row on top.
        pixel_ratio: how many of its pixels a label's pixel has on a screen of high resolution.

    Raises:
        OutputError: the picture could not be written to the temporary folder.
    """
    height, width, _channels = picture.shape
    image = vtk.vtkImageData()
    image.SetDimensions(width, height, 1)
    values = np.ascontiguousarray(picture[::-1]).reshape(-1, 3)
    image.GetPointData().SetScalars(numpy_to_vtk(values, deep=True))
    # The one way to a pixmap that is the same in every version of Qt and of its Python wrapping.
    with PrivateFolder() as folder:
        path = str(folder.path / "picture.png")
        writer = vtk.vtkPNGWriter()
        writer.SetFileName(path)
        writer.SetInputData(image)
        writer.Write()
        pixmap = qt.QPixmap(path)
        if pixmap.isNull():  # VTK's writer tells of nothing.
            raise OutputError(
                _("The picture could not be written to {folder}. Free some space on its disk and try again.").format(
                    folder=folder.path.parent
                )
            )
    pixmap.setDevicePixelRatio(pixel_ratio)
    return pixmap
