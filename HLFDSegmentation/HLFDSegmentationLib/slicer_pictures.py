"""Pictures for the labels of a panel."""

from __future__ import annotations

import numpy as np
import qt
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from .private_folder import PrivateFolder


def pixmap_of(picture: np.ndarray) -> qt.QPixmap:
    """A picture (height, width, 3), uint8, the first row on top, for a label. Raises OutputError, see PrivateFolder."""
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
        return qt.QPixmap(path)
