"""Whether a segment is still drawn as it was."""

from __future__ import annotations

import vtk
from HLFDSegmentationLib.fingerprints import fingerprint
from vtk.util.numpy_support import vtk_to_numpy


def drawing_of(representation: vtk.vtkDataObject | None, value: int) -> str:
    """A text that changes with the voxels of a segment, or with where they lie; "" where nothing is drawn.

    Neither the size of the labelmap nor the segment's value in it counts: saving a scene may change both, as it puts
    segments into one labelmap.

    Args:
        representation: of the segment: its labelmap, or a surface, which is new each time it was modified.
        value: of the segment in its labelmap.
    """
    if not isinstance(representation, vtk.vtkImageData):
        return str(representation.GetMTime()) if representation is not None else ""
    scalars = representation.GetPointData().GetScalars()
    if representation.IsEmpty() or scalars is None:
        return ""
    mask = vtk_to_numpy(scalars).reshape(representation.GetDimensions()[::-1]) == value
    if not mask.any():
        return ""
    to_segmentation = vtk.vtkMatrix4x4()
    representation.GetImageToWorldMatrix(to_segmentation)
    return f"{fingerprint(mask, representation.GetExtent()[::2][::-1])} {to_segmentation.GetData()}"
