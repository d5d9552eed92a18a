"""CTs, transforms and regions of interest in the scene, for the tests of the Slicer module."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import SimpleITK as sitk
from generated_cases import blob_case
from HLFDSegmentationLib.measures import Lesion


def lesion(number: int, center: tuple[float, float, float], **measured: Any) -> Lesion:
    """A lesion with what was measured of it; the ends of its diameter lie at its center."""
    return Lesion(
        number=number,
        center_mm=center,
        diameter_ends_mm=(center, center),
        **{"volume_ml": 1.0, "mean_hu": 65.0, "sd_hu": 12.0, "longest_axial_diameter_mm": 10.0, "side": None}
        | measured,
    )


class Later:
    """A module that is imported when it is first used: Slicer's are there only when the stand-in has been started."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self._name), name)


slicer = Later("slicer")
vtk = Later("vtk")

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def turn(degrees: float, axis: str = "z") -> np.ndarray:
    """(4, 4), a rotation."""
    matrix = vtk.vtkTransform()
    matrix.RotateWXYZ(degrees, *(float(axis == each) for each in "xyz"))
    return slicer.util.arrayFromVTKMatrix(matrix.GetMatrix())


def shift(*mm: float) -> np.ndarray:
    """(4, 4), a translation."""
    matrix = np.eye(4)
    matrix[:3, 3] = mm
    return matrix


def add_volume(image: sitk.Image, name: str = "CT 1"):
    """An image as a volume node."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(voxel_to_ras(image)))
    slicer.util.updateVolumeFromArray(node, sitk.GetArrayFromImage(image))
    node.CreateDefaultDisplayNodes()
    return node


def add_ct(seed: int = 0, name: str = "CT 1"):
    """A small CT with a liver and a tumor."""
    return add_volume(blob_case(seed)[0], name)


def add_study(volume, patient: str = "Patient", study: str = "Study") -> int:
    """Puts a volume into a study in the subject hierarchy; gives the study's item."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = hierarchy.CreateStudyItem(hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), patient), study)
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(volume), item)
    return item


def add_transform(matrix: np.ndarray, *nodes, parent=None):
    """A linear transform that nodes are put under."""
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Transform")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    if parent is not None:
        transform.SetAndObserveTransformNodeID(parent.GetID())
    for node in nodes:
        node.SetAndObserveTransformNodeID(transform.GetID())
    return transform


def add_bending_transform(*nodes, reach_mm: float = 1.0, by_mm: float = 1.0):
    """A transform that is no matrix: it moves what lies closer to the origin than its reach."""
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLGridTransformNode", "Bending")
    grid = slicer.vtkOrientedGridTransform()
    field = vtk.vtkImageData()
    field.SetDimensions(3, 3, 3)
    field.SetOrigin(*3 * [-reach_mm])
    field.SetSpacing(*3 * [reach_mm])
    field.AllocateScalars(vtk.VTK_DOUBLE, 3)
    field.GetPointData().GetScalars().Fill(by_mm)
    grid.SetDisplacementGridData(field)
    transform.SetAndObserveTransformFromParent(grid)
    for node in nodes:
        node.SetAndObserveTransformNodeID(transform.GetID())
    return transform


def add_roi(center, size, matrix: np.ndarray | None = None):
    """A region of interest in the world; a matrix turns it."""
    roi = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "ROI")
    if matrix is not None:
        roi.SetAndObserveObjectToNodeMatrix(slicer.util.vtkMatrixFromArray(matrix))
    roi.SetSize(*size)
    roi.SetCenterWorld(*center)
    return roi


def voxel_to_ras(image: sitk.Image) -> np.ndarray:
    """(4, 4), from an image's voxels (i, j, k) to RAS."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    matrix[:3, 3] = image.GetOrigin()
    return LPS_TO_RAS @ matrix
