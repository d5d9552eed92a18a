"""From segmentations in the scene to cases that a training reads, without a change in the scene."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from generated_cases import TASK, blob_case
from HLFDSegmentationLib.ct_files import read_ct
from HLFDSegmentationLib.errors import CasesError, OutputError
from HLFDTrainingLib.case_check import check_cases
from HLFDTrainingLib.cases import find_cases
from HLFDTrainingLib.scene_cases import check_row
from HLFDTrainingLib.split import Split
from slicer_cases import (
    Later,
    add_bending_transform,
    add_ct,
    add_study,
    add_transform,
    add_volume,
    shift,
    slicer,
    turn,
    voxel_to_ras,
    vtk,
)

cases = Later("HLFDTrainingLib.slicer_cases")
export = Later("HLFDTrainingLib.slicer_case_export")
numpy_support = Later("vtk.util.numpy_support")

pytestmark = pytest.mark.usefixtures("slicer_shell")

LIVER, TUMOR = TASK.labels


def add_segmentation(ct, segments: dict[str, np.ndarray], name: str = "Segmentation 1"):
    """Segments by name, drawn on a CT."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(ct)
    for segment, voxels in segments.items():
        key = node.GetSegmentation().AddEmptySegment(segment, segment)
        if voxels.any():
            slicer.util.updateSegmentBinaryLabelmapFromArray(voxels.astype(np.uint8), node, key, ct)
    return node


def add_case(seed: int = 0, name: str = "CT 1", overlapping: bool = True):
    """A CT with a drawn liver and tumor. Gives the nodes and the labels as they are to be in the file."""
    image, label = blob_case(seed)
    labels = sitk.GetArrayFromImage(label)
    ct = add_volume(image, name)
    liver = labels > 0 if overlapping else labels == 1
    return ct, add_segmentation(ct, {"liver": liver, "tumor": labels == 2}, f"{name} segmentation"), labels


def exported(folder: Path, rows=None, nodes=None):
    """The cases of the scene, or of some rows, as a training finds them."""
    if rows is None:
        nodes = cases.Nodes()
        rows = cases.rows_of_scene(slicer.mrmlScene, nodes, TASK)
    for _share in export.export_cases(rows, {}, nodes, TASK, folder):
        pass
    return find_cases(folder, TASK)


def labels_of(case):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(case.label)))


# One case


@pytest.mark.parametrize("overlapping", [True, False])
def test_a_case_is_exported_voxel_by_voxel_and_tumors_lie_over_organs(tmp_path, overlapping):
    ct, _node, labels = add_case(overlapping=overlapping)
    (case,) = exported(tmp_path)
    np.testing.assert_array_equal(labels_of(case), labels)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read_ct(case.ct)), slicer.util.arrayFromVolume(ct))
    assert case.labels == {1: ("liver",), 2: ("liver tumor",)}
    assert not [one for one in check_cases([case], TASK) if one.case == case.name]
