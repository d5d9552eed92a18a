"""What lies in a plane through the scene: volumes and segments, sampled at its pixels."""

from __future__ import annotations

import numpy as np
import vtk
from slicer.i18n import tr as _
from vtk.util.numpy_support import vtk_to_numpy

from .slicer_scene_result import SceneResult, is_linear, own_to_world


class Plane:
    """A rectangle of pixels in the world; rows of what it samples run from top to bottom.

    Args:
        to_world: from pixels (column, row from below, 0) to RAS in the world.
        size: columns and rows.
    """

    def __init__(self, to_world: vtk.vtkMatrix4x4, size: tuple[int, int]) -> None:
        self._to_world = to_world
        self._size = size

    def sample(
        self, image: vtk.vtkImageData, voxel_to_world: vtk.vtkMatrix4x4, outside: float = 0.0, nearest: bool = False
    ) -> np.ndarray:
        """The values (rows, columns) of an image whose voxels lie in the world as the matrix says."""
        pixel_to_voxel = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(voxel_to_world, pixel_to_voxel)
        vtk.vtkMatrix4x4.Multiply4x4(pixel_to_voxel, self._to_world, pixel_to_voxel)
        transform = vtk.vtkTransform()
        transform.SetMatrix(pixel_to_voxel)
        reslice = vtk.vtkImageReslice()
        reslice.SetInputData(image)
        reslice.SetResliceTransform(transform)
        reslice.SetOutputOrigin(0, 0, 0)
        reslice.SetOutputSpacing(1, 1, 1)
        reslice.SetOutputExtent(0, self._size[0] - 1, 0, self._size[1] - 1, 0, 0)
        reslice.SetInterpolationMode(vtk.VTK_RESLICE_NEAREST if nearest else vtk.VTK_RESLICE_LINEAR)
        reslice.SetBackgroundLevel(outside)
        reslice.Update()
        values = vtk_to_numpy(reslice.GetOutput().GetPointData().GetScalars())
        return values.reshape(self._size[1], self._size[0])[::-1]

    def sample_segment(self, result: SceneResult, segment: str) -> np.ndarray:
        """Where a segment is (rows, columns), bool; nowhere once it is deleted."""
        segment_id = result.segment_id(segment)
        labelmap = result.node.GetBinaryLabelmapInternalRepresentation(segment_id) if segment_id else None
        if labelmap is None or labelmap.GetPointData().GetScalars() is None:
            return self.zeros() > 0
        to_own, matrix = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
        labelmap.GetImageToWorldMatrix(to_own)
        vtk.vtkMatrix4x4.Multiply4x4(own_to_world(result.node), to_own, matrix)
        # A segment's labelmap covers only the part where something is segmented: its extent need not begin at 0.
        voxels = vtk.vtkImageData()
        voxels.ShallowCopy(labelmap)
        voxels.SetOrigin(0, 0, 0)
        voxels.SetSpacing(1, 1, 1)
        value = result.node.GetSegmentation().GetSegment(segment_id).GetLabelValue()
        return self.sample(voxels, matrix, nearest=True) == value

    def zeros(self) -> np.ndarray:
        """As many zeros as `sample` gives values."""
        return np.zeros(self._size[::-1], np.uint8)


def bending_of(result: SceneResult) -> str:
    """A sentence where a transform bends a result or its CT, so that no `Plane` shows what slice views do; or ""."""
    nodes = [node for node in (result.ct, result.node, *result.maps) if node is not None]
    bent = next((node for node in nodes if not is_linear(node.GetParentTransformNode())), None)
    if bent is None:
        return ""
    return _(
        "'{name}' is under the transform '{transform}', which bends it: a picture of all layers would show another "
        "place than the slice views. Take it out of the transform (Transforms module)."
    ).format(name=bent.GetName(), transform=bent.GetParentTransformNode().GetName())
