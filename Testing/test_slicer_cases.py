"""From segmentations in the scene to cases that a training reads, without a change in the scene."""

import errno
import threading
import zipfile
from concurrent.futures import CancelledError
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from generated_cases import TASK, blob_case
from HLFDSegmentationLib.ct_files import read_ct
from HLFDSegmentationLib.errors import CasesError, OutputError
from HLFDTrainingLib.annotations.case_check import check_cases
from HLFDTrainingLib.annotations.nrrd_files import write_nrrd
from HLFDTrainingLib.cases import find_cases
from HLFDTrainingLib.scene.scene_checks import check_row
from slicer_annotated_cases import add_case, add_segmentation, save_scene, select, snapshot
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

cases = Later("HLFDTrainingLib.slicer_scene.slicer_cases")
export = Later("HLFDTrainingLib.slicer_scene.slicer_case_export")
numpy_support = Later("vtk.util.numpy_support")

pytestmark = pytest.mark.usefixtures("slicer_shell")


def exported(folder: Path, rows=None, nodes=None):
    """The cases of the scene, or of some rows, as a training finds them."""
    if rows is None:
        nodes = cases.Nodes()
        rows = cases.rows_of_scene(slicer.mrmlScene, nodes, TASK)
    rows = [replace(row, part=row.part or "train") for row in rows]
    for _share in export.export_cases(rows, {}, nodes, TASK, folder):
        pass
    return find_cases(folder, TASK)


def by_points(ct, node, key: str, shape):
    """A segment on the CT's grid, voxel center by voxel center through both nodes' transforms to the world."""
    own_to_world, world_to_own = vtk.vtkGeneralTransform(), vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(ct.GetParentTransformNode(), None, own_to_world)
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(None, node.GetParentTransformNode(), world_to_own)
    labelmap = node.GetSegmentation().GetSegment(key).GetRepresentation("Binary labelmap")
    to_voxel, ijk_to_ras = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
    labelmap.GetWorldToImageMatrix(to_voxel)
    ct.GetIJKToRASMatrix(ijk_to_ras)
    i0, i1, j0, j1, k0, k1 = labelmap.GetExtent()
    drawn = numpy_support.vtk_to_numpy(labelmap.GetPointData().GetScalars()).reshape(
        k1 - k0 + 1, j1 - j0 + 1, i1 - i0 + 1
    )
    result = np.zeros(shape, bool)
    for k, j, i in np.ndindex(*shape):
        point = world_to_own.TransformPoint(own_to_world.TransformPoint(ijk_to_ras.MultiplyPoint((i, j, k, 1))[:3]))
        x, y, z = (round(one) for one in to_voxel.MultiplyPoint((*point, 1))[:3])
        if i0 <= x <= i1 and j0 <= y <= j1 and k0 <= z <= k1:
            result[k, j, i] = drawn[z - k0, y - j0, x - i0]
    return result


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


TRANSFORMS = {
    "none": None,
    "shift": lambda: shift(20, -15, 16),
    "rotation": lambda: shift(-160, -160, 20) @ turn(12) @ shift(160, 160, -20),
    "affine": lambda: np.diag([1.1037, 0.9123, 1.0, 1.0]),
    "bending": "bending",
}


def put_under(transform, *nodes):
    if transform == "bending":
        add_bending_transform(*nodes)
    elif transform:
        add_transform(transform(), *nodes)


@pytest.mark.parametrize("of_segmentation", TRANSFORMS)
@pytest.mark.parametrize("of_ct", TRANSFORMS)
def test_segments_are_where_the_user_sees_them_on_the_ct(tmp_path, of_ct, of_segmentation):
    ct, node, labels = add_case(overlapping=False)
    put_under(TRANSFORMS[of_ct], ct)
    put_under(TRANSFORMS[of_segmentation], node)
    before = snapshot()
    (case,) = exported(tmp_path)
    assert snapshot() == before
    found = labels_of(case)
    expected = np.zeros_like(labels)
    for value, key in ((1, "liver"), (2, "tumor")):
        expected[by_points(ct, node, key, labels.shape)] = value
    assert (found > 0).sum() > 200
    np.testing.assert_array_equal(found, expected)


def test_a_segmentation_that_moves_with_its_ct_stays_voxel_by_voxel(tmp_path):
    ct, node, labels = add_case()
    add_bending_transform(ct, node)
    (case,) = exported(tmp_path)
    np.testing.assert_array_equal(labels_of(case), labels)


def test_a_segmentation_on_another_grid_is_put_on_the_ct_s(tmp_path):
    _ct, node, labels = add_case()
    slicer.mrmlScene.RemoveNode(node)
    fine = sitk.Resample(
        blob_case(0)[1], [128, 128, 12], sitk.Transform(), sitk.sitkNearestNeighbor, [-1.25, -1.25, -2], [2.5, 2.5, 4]
    )
    other = add_volume(fine, "fine")
    node = add_segmentation(other, {"liver": sitk.GetArrayFromImage(fine) > 0}, "CT 1 segmentation")
    slicer.mrmlScene.RemoveNode(other)
    assert node.GetSegmentation().GetNumberOfSegments() == 1
    (case,) = exported(tmp_path)
    np.testing.assert_array_equal(labels_of(case) > 0, labels > 0)


@pytest.mark.parametrize("transform", ["none", "shift", "rotation", "bending"])
def test_surfaces_become_voxels(tmp_path, transform):
    ct, node, labels = add_case()
    node.CreateClosedSurfaceRepresentation()
    node.GetSegmentation().SetSourceRepresentationName("Closed surface")
    node.GetSegmentation().RemoveRepresentation("Binary labelmap")
    put_under(TRANSFORMS[transform], ct, node)
    before = snapshot()
    (case,) = exported(tmp_path)
    assert snapshot() == before
    found = labels_of(case)
    for value in (1, 2):
        both = ((found == value) & (labels == value)).sum()
        assert 2 * both / ((found == value).sum() + (labels == value).sum()) > 0.85


def test_the_orientation_of_the_ct_is_kept_and_a_rotation_counts(tmp_path):
    image, label = blob_case(0)
    for one in (image, label):
        one.SetDirection(sitk.Euler3DTransform((0, 0, 0), 0.3, -0.2, 0.5).GetMatrix())
        one.SetOrigin((-120.0, 34.0, 560.0))
    ct = add_volume(image)
    node = add_segmentation(ct, {"liver": sitk.GetArrayFromImage(label) > 0})
    (case,) = exported(tmp_path / "own")
    read = read_ct(case.ct)
    assert read.GetDirection() == pytest.approx(image.GetDirection())
    assert read.GetOrigin() == pytest.approx(image.GetOrigin())
    assert read.GetSpacing() == pytest.approx(image.GetSpacing())
    add_transform(turn(30), ct, node)
    (case,) = exported(tmp_path / "turned")
    read = read_ct(case.ct)
    world = turn(30) @ voxel_to_ras(image)
    np.testing.assert_allclose(voxel_to_ras(read), world, atol=1e-6)


def test_files_tell_nothing_of_the_patient(tmp_path):
    ct, _node, _labels = add_case()
    add_study(ct, "Mueller^Hans", "Abdomen")
    ct.SetAttribute("DICOM.instanceUIDs", "1.2.3")
    (case,) = exported(tmp_path)
    assert case.patient.startswith("patient-")
    for file in tmp_path.rglob("*"):
        if file.is_file():
            assert b"Mueller" not in file.read_bytes() and b"1.2.3" not in file.read_bytes()


# What the annotator looked for


def test_an_outline_without_a_tumor_segment_holds_the_tumors_unmarked(tmp_path):
    image, label = blob_case(0)
    ct = add_volume(image)
    add_segmentation(ct, {"liver": sitk.GetArrayFromImage(label) > 0})
    (case,) = exported(tmp_path)
    assert case.labels == {1: ("liver", "liver tumor")}


def test_an_empty_tumor_segment_says_that_there_is_none(tmp_path):
    image, label = blob_case(0)
    ct = add_volume(image)
    liver = sitk.GetArrayFromImage(label) > 0
    add_segmentation(ct, {"liver": liver, "tumor": np.zeros_like(liver)})
    (case,) = exported(tmp_path)
    assert case.labels == {1: ("liver",), 2: ("liver tumor",)}
    assert set(np.unique(labels_of(case))) == {0, 1}


def test_segments_of_one_shared_labelmap_are_told_apart(tmp_path):
    _ct, node, labels = add_case(overlapping=False)
    node.GetSegmentation().CollapseBinaryLabelmaps(False)
    assert node.GetSegmentation().GetNumberOfLayers() == 1
    (case,) = exported(tmp_path)
    np.testing.assert_array_equal(labels_of(case), labels)


# Nothing is lost


def test_a_case_that_was_deleted_meanwhile_ends_in_a_sentence_and_leaves_no_file(tmp_path):
    add_case(0, "CT 1")
    ct, _node, _labels = add_case(1, "CT 2")
    nodes = cases.Nodes()
    rows = [replace(row, part="train") for row in cases.rows_of_scene(slicer.mrmlScene, nodes, TASK)]
    steps = export.export_cases(rows, {}, nodes, TASK, tmp_path / "run")
    next(steps)
    slicer.mrmlScene.RemoveNode(ct)
    with pytest.raises(CasesError, match=r"Case CT 2: .* gone"):
        list(steps)
    assert not [path for path in (tmp_path / "run").rglob("*") if path.is_file()]


def test_closing_the_scene_while_a_case_is_written_harms_nothing(tmp_path):
    add_case()
    nodes = cases.Nodes()
    rows = [replace(row, part="train") for row in cases.rows_of_scene(slicer.mrmlScene, nodes, TASK)]
    steps = export.export_cases(rows, {}, nodes, TASK, tmp_path)
    next(steps)
    slicer.mrmlScene.Clear(False)
    list(steps)
    assert set(np.unique(labels_of(find_cases(tmp_path, TASK)[0]))) == {0, 1, 2}


def test_a_folder_with_cases_is_not_written_over(tmp_path):
    add_case()
    (tmp_path / "cases.json").write_text("{}", encoding="utf-8")
    with pytest.raises(CasesError, match="holds cases already"):
        exported(tmp_path)
    assert (tmp_path / "cases.json").read_text(encoding="utf-8") == "{}"


def test_a_folder_that_cannot_be_written_ends_in_a_sentence(tmp_path):
    add_case()
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(OutputError):
        exported(tmp_path / "file" / "run")


# Finding cases in scenes


def names_of(rows):
    return [(row.image and row.image.name, row.segmentation and row.segmentation.name) for row in rows]


def test_every_ct_of_the_scene_comes_with_its_segmentation_and_others_are_left_out():
    add_case(0, "CT 1")
    add_case(1, "CT 2")
    add_ct(2, "CT 3")
    rows = cases.rows_of_scene(slicer.mrmlScene, cases.Nodes(), TASK)
    assert names_of(rows) == [("CT 1", "CT 1 segmentation"), ("CT 2", "CT 2 segmentation")]
    assert rows[0].roles == {"liver": "liver", "tumor": "liver tumor"}


def test_a_ct_with_two_segmentations_asks_for_one():
    ct, _node, labels = add_case()
    add_segmentation(ct, {"liver": labels > 0}, "another")
    (row,) = cases.rows_of_scene(slicer.mrmlScene, cases.Nodes(), TASK)
    assert row.segmentation is None and "'another'" in row.reason


def test_what_hlfd_segmented_is_no_annotation_unless_it_is_chosen():
    _ct, node, _labels = add_case()
    node.SetAttribute("HLFD.Model", "abdomen")
    assert not cases.rows_of_scene(slicer.mrmlScene, cases.Nodes(), TASK)
    assert len(cases.rows_of_scene(slicer.mrmlScene, cases.Nodes(), TASK, [node])) == 1


def test_patient_and_study_come_from_the_subject_hierarchy():
    ct, _node, _labels = add_case()
    add_study(ct, "P1", "Abdomen")
    (row,) = cases.rows_of_scene(slicer.mrmlScene, cases.Nodes(), TASK)
    assert row.patient == "P1" and row.image.study


@pytest.mark.parametrize("patient", ["patient-0123456789ab", "KiTS 7"])
def test_a_corrected_case_of_a_run_keeps_its_patient(tmp_path, patient):
    """Else a patient that a student was judged by could be learned from in the next training."""
    ct, _node, _labels = add_case()
    add_study(ct, "KiTS 7", "Abdomen")
    ct.SetAttribute("HLFD.Patient", patient)
    (case,) = exported(tmp_path)
    assert case.patient == patient


@pytest.mark.parametrize("patient", ["patient-0123456789ab", "train_1"])
def test_a_short_id_of_another_patient_renames_nobody(tmp_path, patient):
    """Else a patient that a student has learned from would get a new name, and could become one to test on."""
    ct, _node, _labels = add_case(0)
    ct.SetAttribute("HLFD.Patient", patient)
    other, _node, _labels = add_case(1)
    add_study(other, "1", "Abdomen")
    patients = [case.patient for case in exported(tmp_path)]
    assert patients.count(patient) == 1 and "1" not in patients


def test_the_truth_of_a_run_s_case_is_no_new_case_unless_it_is_chosen():
    _ct, node, _labels = add_case()
    node.SetAttribute("HLFD.Truth", "case_1")
    assert not cases.rows_of_scene(slicer.mrmlScene, cases.Nodes(), TASK)
    assert len(cases.rows_of_scene(slicer.mrmlScene, cases.Nodes(), TASK, [node])) == 1


def test_an_mr_is_no_ct():
    ct, _node, _labels = add_case()
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    hierarchy.SetItemAttribute(hierarchy.GetItemByDataNode(ct), "DICOM.Modality", "MR")
    (row,) = cases.rows_of_scene(slicer.mrmlScene, cases.Nodes(), TASK)
    assert check_row(row, [row], TASK)[0].severity == "error"


def test_a_key_never_means_another_node_after_the_scene_was_closed():
    nodes = cases.Nodes()
    ct = add_ct()
    key, id_ = nodes.key(ct), ct.GetID()
    del ct
    slicer.mrmlScene.Clear(False)
    again = add_ct()
    assert again.GetID() == id_
    assert nodes.node(key) is None and nodes.key(again) != key


def test_an_export_that_is_closed_early_does_not_wait_for_its_files(tmp_path, monkeypatch):
    stopped = []
    monkeypatch.setattr(
        "HLFDTrainingLib.slicer_scene.slicer_case_export.write_nrrd", lambda *given: stopped.append(given[-1].wait(60))
    )
    add_case()
    nodes = cases.Nodes()
    rows = [replace(row, part="train") for row in cases.rows_of_scene(slicer.mrmlScene, nodes, TASK)]
    steps = export.export_cases(rows, {}, nodes, TASK, tmp_path)
    next(steps)
    steps.close()
    assert stopped == [True]


def test_a_file_that_is_stopped_is_not_there(tmp_path):
    stopped = threading.Event()
    stopped.set()
    with pytest.raises(CancelledError):
        write_nrrd(np.zeros((3, 4, 5), np.int16), np.eye(4), tmp_path / "ct.nrrd", stopped)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".mrb", ".mrml"])
def test_a_scene_in_a_file_gives_the_same_cases_and_the_user_s_scene_stays(tmp_path, suffix):
    ct, node, labels = add_case()
    add_study(ct, "P1", "Abdomen")
    add_transform(shift(5, 6, 7), ct)
    # Whoever has annotated in Slicer has a node of the Segment Editor, which Slicer's core does not know.
    slicer.mrmlScene.RegisterNodeClass(slicer.vtkMRMLSegmentEditorNode())
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentEditorNode").SetAndObserveSegmentationNode(node)
    file = save_scene(tmp_path / f"my cases{suffix}")
    slicer.mrmlScene.Clear(False)
    add_ct(7, "mine")
    before = snapshot()
    nodes = cases.Nodes()
    scene = cases.read_scene(file)
    rows = cases.rows_of_scene(scene, nodes, TASK)
    assert names_of(rows) == [("CT 1", "CT 1 segmentation")]
    assert rows[0].patient == "P1"
    (case,) = exported(tmp_path / "out", rows, nodes)
    assert snapshot() == before
    assert (labels_of(case) > 0).sum() > 200
    del ct, node, labels


def test_a_scene_with_a_node_of_an_extension_that_is_missing_here_gives_its_cases(tmp_path):
    """Slicer opens it, too, with a message."""
    add_case()
    file = save_scene(tmp_path / "cases.mrml")
    written = file.read_text()
    file.write_text(written.replace("</MRML>", '<OfAnExtension id="vtkMRMLOfAnExtensionNode1" name="plan"/></MRML>'))
    slicer.mrmlScene.Clear(False)
    assert names_of(cases.rows_of_scene(cases.read_scene(file), cases.Nodes(), TASK)) == [("CT 1", "CT 1 segmentation")]


def test_a_damaged_scene_ends_in_a_sentence(tmp_path):
    file = tmp_path / "cases.mrb"
    file.write_bytes(b"no archive")
    with pytest.raises(CasesError, match="cannot be read"):
        cases.read_scene(file)


def test_a_full_disk_is_not_called_a_damaged_scene(tmp_path, monkeypatch):
    file = tmp_path / "cases.mrb"
    with zipfile.ZipFile(file, "w") as bundle:
        bundle.writestr("Scene/scene.mrml", "<MRML></MRML>")

    def full(*_arguments, **_options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "extractall", full)
    with pytest.raises(OutputError, match=r"cases\.mrb could not be unpacked: .* full"):
        cases.read_scene(file)


def test_a_scene_whose_files_are_damaged_within_their_bundle_ends_in_a_sentence(tmp_path):
    file = tmp_path / "cases.mrb"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("Scene/scene.mrml", "<MRML>" + "x" * 1000 + "</MRML>")
    content = bytearray(file.read_bytes())
    start = content.index(b"scene.mrml") + len("scene.mrml")
    content[start : start + 4] = b"\xff" * 4
    file.write_bytes(content)
    with pytest.raises(CasesError, match="cannot be read"):
        cases.read_scene(file)


def test_the_selection_in_the_data_module_chooses_cases(monkeypatch):
    ct, _node, _labels = add_case(0, "CT 1")
    add_case(1, "CT 2")
    study = add_study(ct)
    select(monkeypatch, study)
    rows = cases.rows_of_scene(slicer.mrmlScene, cases.Nodes(), TASK, cases.selected_nodes())
    assert names_of(rows) == [("CT 1", "CT 1 segmentation")]
