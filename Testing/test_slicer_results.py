"""What the worker found, as nodes: segments that lie on the CT voxel by voxel, tables, probabilities."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from HLFDSegmentationLib.child_process.raw_images import write_raw
from HLFDSegmentationLib.child_process.worker_protocol import LayerMap
from HLFDSegmentationLib.errors import InputError
from HLFDSegmentationLib.measures import CSV_COLUMNS, SegmentMeasures
from HLFDSegmentationLib.output.segmentation_words import REFERENCE_GEOMETRY
from HLFDSegmentationLib.tasks import TASKS
from slicer_cases import (
    LPS_TO_RAS,
    Later,
    add_bending_transform,
    add_roi,
    add_study,
    add_transform,
    add_volume,
    lesion,
    shift,
    slicer,
    turn,
    vtk,
)

ct = Later("HLFDSegmentationLib.slicer_scene.slicer_ct")
results = Later("HLFDSegmentationLib.slicer_scene.slicer_results")
scene_result = Later("HLFDSegmentationLib.slicer_scene.slicer_scene_result")
slicer_reading_panel = Later("HLFDSegmentationLib.slicer_panels.slicer_reading_panel")
attention_maps = Later("HLFDSegmentationLib.slicer_scene.slicer_attention_maps")
numpy_support = Later("vtk.util.numpy_support")

pytestmark = pytest.mark.usefixtures("slicer_shell")

TASK = TASKS["abdomen"]
LIVER, KIDNEY, LIVER_TUMOR, KIDNEY_TUMOR = TASK.labels
SHAPE = (8, 10, 12)
AFFINE = shift(5, 6, 7) @ turn(20) @ np.diag([1.2, 1.0, 0.7, 1.0])
TRANSFORMS = {"none": None, "shift": shift(7, -8, 9), "rotation": shift(1, 2, 3) @ turn(75, "x"), "affine": AFFINE}
OBLIQUE = sitk.Euler3DTransform((0, 0, 0), 0.3, -0.2, 0.5).GetMatrix()
FLIPPED = (-1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, -1.0, 0.0)


def make_ct(direction=OBLIQUE, name="CT 1"):
    image = sitk.GetImageFromArray(np.zeros(SHAPE, np.int16))
    image.SetSpacing((0.7, 0.9, 2.5))
    image.SetOrigin((-120.0, 34.0, 560.0))
    image.SetDirection(direction)
    return add_volume(image, name)


def make_labels():
    """Liver with a tumor; no kidney."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:7, 1:8, 3:10] = LIVER.value
    labels[3:5, 2:5, 4:6] = LIVER_TUMOR.value
    labels[6, 7, 9] = LIVER_TUMOR.value
    return labels


def within(extent):
    """Which voxels of the whole CT an extent holds."""
    inside = np.zeros(SHAPE, bool)
    i0, i1, j0, j1, k0, k1 = extent
    inside[k0 : k1 + 1, j0 : j1 + 1, i0 : i1 + 1] = True
    return inside


def bring_in(ct_node, labels, folder, roi=None, node=None, model="model-a"):
    """Labels of the whole CT into the scene, as a run does it."""
    part = ct.part_of(ct_node, roi)
    own = np.where(within(part.region), labels, 0).astype(np.uint8)
    raw = ct.write_raw(own[ct.box_within(part.extent, part.whole)], part.grid, folder / "labels.raw")
    node = node or results.add_segmentation_node(ct_node, part, "Result")
    result = scene_result.SceneResult(node)
    names = results.segment_names(node, TASK)
    found = {names[label.name]: label for label in TASK.labels if (labels == label.value).any()}
    run_key = f"run {len(result.runs) + 1}"
    keys = results.add_segments(node, ct_node, part, raw, results.box_of_labels(raw), found)
    for key, (segment, label) in zip(keys, found.items()):
        result.mark_segment(key, segment=segment, label=label.name, run=run_key)
    prints = results.fingerprints_of(raw, results.box_of_labels(raw), part, TASK)
    run = scene_result.SceneRun(model, "cpu", ["A note: with; signs."], "", prints, key=run_key)
    result.add_run(run, ct_node)
    return result, part, names


def exported(node, name, ct_node):
    """A segment's voxels on the CT's grid, as Slicer itself exports them."""
    key = node.GetSegmentation().GetSegmentIdBySegmentName(name)
    return slicer.util.arrayFromSegmentBinaryLabelmap(node, key, ct_node) > 0


def of_left_side(number, center):
    figures = {"volume_ml": 1.23456, "mean_hu": 61.54, "sd_hu": 14.26, "longest_axial_diameter_mm": 12.34}
    return lesion(number, center, slice_index=3, side="left", **figures)


def measures(lesions=()):
    def one(label, volume, mean, lesions=()):
        return SegmentMeasures(
            label=label.name,
            volume_ml=volume,
            volume_with_tumors_ml=volume + 2 if label.role == "organ" else None,
            mean_hu=mean,
            sd_hu=None if mean is None else 20.04,
            lesions=list(lesions),
            side_ml={"right": 0.75 * volume, "left": 0.25 * volume} if lesions else {},
        )

    return [
        one(LIVER, 1500.0, 101.26),
        one(KIDNEY, 0.0, None),
        one(LIVER_TUMOR, 2.0, 64.9, lesions),
        one(KIDNEY_TUMOR, 0.0, None),
    ]


# Segments


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("direction", [OBLIQUE, FLIPPED], ids=["oblique", "flipped"])
@pytest.mark.parametrize("cropped", [False, True], ids=["whole", "cropped"])
def test_segments_lie_on_the_ct_voxel_by_voxel(transform, direction, cropped, tmp_path):
    ct_node = make_ct(direction)
    roi = None
    if cropped:
        bounds = np.zeros(6)
        ct_node.GetRASBounds(bounds)
        roi = add_roi(bounds.reshape(3, 2).mean(axis=1), np.ptp(bounds.reshape(3, 2), axis=1) * 0.5)
    if TRANSFORMS[transform] is not None:
        add_transform(TRANSFORMS[transform], ct_node, *([roi] if roi else []))
    labels = make_labels()
    result, part, _ = bring_in(ct_node, labels, tmp_path, roi)
    inside = within(part.region)
    assert cropped == (not inside.all())
    for label in (LIVER, LIVER_TUMOR):
        voxels = exported(result.node, label.name, ct_node)
        assert voxels.any()
        assert np.array_equal(voxels, (labels == label.value) & inside)


def test_only_what_was_found_is_added_in_the_tasks_order_with_names_and_colors(tmp_path):
    result, _, _ = bring_in(make_ct(), make_labels(), tmp_path)
    assert result.segments == ["liver", "liver tumor"]
    segmentation = result.node.GetSegmentation()
    assert [segmentation.GetNthSegment(n).GetName() for n in range(2)] == ["liver", "liver tumor"]
    for number, label in enumerate((LIVER, LIVER_TUMOR)):
        assert np.allclose(np.multiply(segmentation.GetNthSegment(number).GetColor(), 255), label.color)


def test_slicer_reads_the_terminology(tmp_path):
    result, _, _ = bring_in(make_ct(), make_labels(), tmp_path)
    liver, tumor = (result.node.GetSegmentation().GetNthSegment(n) for n in range(2))
    assert liver.GetTerminology() == (
        "Segmentation category and type - DICOM master list~SCT^123037004^Anatomical Structure~SCT^10200004^Liver~^^"
        "~Anatomic codes - DICOM master list~^^~^^"
    )
    entry = slicer.vtkSlicerTerminologyEntry()
    assert slicer.vtkSlicerTerminologiesModuleLogic.DeserializeTerminologyEntry(tumor.GetTerminology(), entry)
    assert entry.GetCategoryObject().GetCodeMeaning() == "Morphologically Altered Structure"
    assert (entry.GetTypeObject().GetCodeValue(), entry.GetTypeObject().GetCodeMeaning()) == ("4147007", "Mass")
    assert entry.GetRegionObject().GetCodeMeaning() == "Liver"
    logic = slicer.vtkSlicerTerminologiesModuleLogic
    assert logic.SerializeTerminologyEntry(entry) == tumor.GetTerminology()


def test_the_cts_grid_is_the_reference_even_when_the_node_holds_another_image_by_then(tmp_path):
    ct_node = make_ct()
    part = ct.part_of(ct_node)
    expected = (
        results.add_segmentation_node(ct_node, part, "Before")
        .GetSegmentation()
        .GetConversionParameter(REFERENCE_GEOMETRY)
    )
    slicer_own = slicer.vtkMRMLSegmentationNode()
    slicer_own.SetReferenceImageGeometryParameterFromVolumeNode(ct_node)
    assert slicer_own.GetSegmentation().GetConversionParameter(REFERENCE_GEOMETRY) == expected
    ct_node.SetSpacing(9, 9, 9)
    node = results.add_segmentation_node(ct_node, part, "After")
    assert node.GetSegmentation().GetConversionParameter(REFERENCE_GEOMETRY) == expected
    assert node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole()) is ct_node


def test_the_segmentation_comes_into_the_study_and_under_the_transform_of_the_ct(tmp_path):
    ct_node = make_ct()
    study = add_study(ct_node)
    transform = add_transform(turn(30), ct_node)
    node = bring_in(ct_node, make_labels(), tmp_path)[0].node
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == study
    assert node.GetParentTransformNode() is transform
    assert node.GetDisplayNode() is not None


# Segments into a segmentation of the user


def users_segmentation(ct_node):
    """A segmentation with one hand-drawn segment, which is called liver."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Mine")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(ct_node)
    node.GetSegmentation().AddEmptySegment("mine", "liver", [0.1, 0.2, 0.3])
    drawn = np.zeros(SHAPE, np.uint8)
    drawn[0:6, 0:6, 0:6] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(drawn, node, "mine", ct_node)
    return node, drawn > 0


def test_new_segments_overwrite_nothing_and_get_a_number(tmp_path):
    ct_node = make_ct()
    node, drawn = users_segmentation(ct_node)
    labels = make_labels()
    for expected in (["liver 2", "liver tumor"], ["liver 2", "liver tumor", "liver 3", "liver tumor 2"]):
        result, _, names = bring_in(ct_node, labels, tmp_path, node=node)
        assert result.segments == expected
        assert np.array_equal(exported(node, names["liver"], ct_node), labels == LIVER.value)
        assert np.array_equal(exported(node, "liver", ct_node), drawn)
        assert np.array_equal(exported(node, "liver tumor", ct_node), labels == LIVER_TUMOR.value)
    assert node.GetSegmentation().GetSegment("mine").GetColor() == (0.1, 0.2, 0.3)
    assert result.newest_segments() == {
        "liver": result.segment_id("liver 3"),
        "liver tumor": result.segment_id("liver tumor 2"),
    }


def test_segments_lie_on_the_ct_where_the_segmentation_is_under_another_transform(tmp_path):
    ct_node = make_ct()
    node, _ = users_segmentation(ct_node)
    add_transform(shift(3, 4, 5) @ turn(90), ct_node)
    add_transform(turn(30, "y") @ shift(-1, -2, -3), node)
    labels = make_labels()
    result, _, _ = bring_in(ct_node, labels, tmp_path, node=node)
    # Slicer's own export resamples between two transforms, so the voxels themselves are asked where they lie.
    voxels = slicer.vtkOrientedImageData()
    assert node.GetBinaryLabelmapRepresentation(result.segment_id("liver 2"), voxels)
    voxel_to_own, own_to_world = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
    voxels.GetImageToWorldMatrix(voxel_to_own)
    node.GetParentTransformNode().GetMatrixTransformToWorld(own_to_world)
    place = slicer.util.arrayFromVTKMatrix(own_to_world) @ slicer.util.arrayFromVTKMatrix(voxel_to_own)
    assert np.allclose(place, slicer.util.arrayFromVTKMatrix(scene_result.voxel_to_world(ct_node)), atol=1e-9)
    i0, i1, j0, j1, k0, k1 = voxels.GetExtent()
    shape = (k1 - k0 + 1, j1 - j0 + 1, i1 - i0 + 1)
    found = np.zeros(SHAPE, bool)
    found[k0 : k1 + 1, j0 : j1 + 1, i0 : i1 + 1] = (
        numpy_support.vtk_to_numpy(voxels.GetPointData().GetScalars()).reshape(shape) > 0
    )
    assert np.array_equal(found, labels == LIVER.value)


def test_a_renamed_segment_keeps_its_name_in_the_tables(tmp_path):
    ct_node = make_ct()
    result, part, names = bring_in(ct_node, make_labels(), tmp_path)
    results.add_measures_table(result, ct_node, part, names, measures(), note="")
    result.node.GetSegmentation().GetNthSegment(0).SetName("left lobe")
    assert result.segments == ["liver", "liver tumor"]
    assert results.segment_names(result.node, TASK)["liver"] == "liver 2"
    result.node.GetSegmentation().RemoveSegment(result.segment_id("liver"))
    assert result.segments == ["liver tumor"]
    assert results.segment_names(result.node, TASK)["liver"] == "liver 2"


def test_a_segmentation_that_cannot_take_segments_is_refused(tmp_path):
    ct_node, other = make_ct(), make_ct(name="CT 2")
    node, _ = users_segmentation(ct_node)
    assert results.problem_with_output(node, ct_node) is None
    scene_result.SceneResult(node).add_run(scene_result.SceneRun("model-a"), other)
    assert "another CT" in results.problem_with_output(node, ct_node)
    surfaces, _ = users_segmentation(ct_node)
    surfaces.CreateClosedSurfaceRepresentation()
    surfaces.SetSourceRepresentationToClosedSurface()
    assert "surfaces" in results.problem_with_output(surfaces, ct_node)
    bent, _ = users_segmentation(ct_node)
    add_bending_transform(bent)
    assert "bends" in results.problem_with_output(bent, ct_node)
    with pytest.raises(InputError, match="bends"):
        bring_in(ct_node, make_labels(), tmp_path, node=bent)


def test_an_emptied_segmentation_of_surfaces_is_refused():
    """What is added to it would be turned into surfaces, too, and a small tumor come back from a file much smaller."""
    ct_node = make_ct()
    node, _ = users_segmentation(ct_node)
    node.CreateClosedSurfaceRepresentation()
    node.SetSourceRepresentationToClosedSurface()
    node.GetSegmentation().RemoveSegment("mine")
    assert "surfaces" in results.problem_with_output(node, ct_node)


def thick_series():
    """Slices as thick as three of the CT's, at the same place."""
    image = sitk.GetImageFromArray(np.zeros((3, 10, 12), np.int16))
    image.SetSpacing((0.7, 0.9, 7.5))
    image.SetOrigin((-120.0, 34.0, 560.0))
    image.SetDirection(OBLIQUE)
    return add_volume(image, "Thick")


def drawn_on_the_thick_series(_ct_node, node):
    drawn = np.ones((3, 10, 12), np.uint8)
    node.SetReferenceImageGeometryParameterFromVolumeNode(thick := thick_series())
    slicer.util.updateSegmentBinaryLabelmapFromArray(drawn, node, "mine", thick)


def drawn_on_the_thick_series_by_a_script(ct_node, node):
    drawn_on_the_thick_series(ct_node, node)
    node.GetSegmentation().SetConversionParameter(REFERENCE_GEOMETRY, "")


def ct_was_turned(ct_node, _node):
    add_transform(turn(10), ct_node)


def ct_was_moved_by_half_a_voxel(ct_node, _node):
    ct_node.SetOrigin(*np.add(ct_node.GetOrigin(), (0.35, 0, 0)))


@pytest.mark.parametrize(
    "change",
    [drawn_on_the_thick_series, drawn_on_the_thick_series_by_a_script, ct_was_turned, ct_was_moved_by_half_a_voxel],
)
def test_segments_on_another_grid_take_none_of_the_ct(change):
    """Saving would resample what is added, also in the scene: a small tumor changes, or is gone."""
    ct_node = make_ct()
    node, _ = users_segmentation(ct_node)
    assert results.problem_with_output(node, ct_node) is None
    change(ct_node, node)
    assert "do not lie on the voxels of 'CT 1'" in results.problem_with_output(node, ct_node)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_what_is_added_to_own_segments_is_saved_as_it_is(transform, tmp_path):
    """And so is what a second run adds, of a scene that was moved as a whole, after it was saved and loaded."""
    ct_node, labels = make_ct(), make_labels()
    node, _ = users_segmentation(ct_node)
    if TRANSFORMS[transform] is not None:
        for one in (ct_node, node):
            add_transform(TRANSFORMS[transform], one)
    for number in (1, 2):
        assert results.problem_with_output(node, ct_node) is None
        _, _, names = bring_in(ct_node, labels, tmp_path, node=node)
        file = tmp_path / f"{number}.seg.nrrd"
        parent = node.GetTransformNodeID()
        slicer.util.saveNode(node, str(file))
        for one in (node, loaded := slicer.util.loadSegmentation(str(file))):
            loaded.SetAndObserveTransformNodeID(parent)
            assert np.array_equal(exported(one, names["liver tumor"], ct_node), labels == LIVER_TUMOR.value)
        scene_result.SceneResult(loaded).add_run(scene_result.SceneRun("model-a"), ct_node)
        node = loaded


def test_a_part_of_the_ct_has_its_voxels(tmp_path):
    ct_node = make_ct()
    node, _ = users_segmentation(ct_node)
    to_ras = slicer.util.arrayFromVTKMatrix(scene_result.voxel_to_world(ct_node))
    part = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Cropped")
    slicer.util.updateVolumeFromArray(part, np.zeros((4, 6, 8), np.int16))
    part.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(to_ras @ shift(2, 3, 4)))
    assert results.problem_with_output(node, part) is None


# Tables


def test_the_table_holds_what_the_command_writes_and_a_note(tmp_path):
    ct_node = make_ct()
    result, part, names = bring_in(ct_node, make_labels(), tmp_path)
    lesions = [of_left_side(1, (-10.0, 20.0, 30.0)), of_left_side(2, (1.0, 2.0, 3.0))]
    table = results.add_measures_table(result, ct_node, part, names, measures(lesions), note="Not in HU.")
    assert (*CSV_COLUMNS, "note") == scene_result.MEASURES_COLUMNS
    rows = scene_result.rows_of(table)
    assert [(row["segment"], row["lesion"]) for row in rows] == [
        ("liver", ""),
        ("kidney", ""),
        ("liver tumor", ""),
        ("liver tumor", "1"),
        ("liver tumor", "2"),
        ("kidney tumor", ""),
    ]
    liver, kidney, tumor, first, _, _ = rows
    assert (liver["volume_mL"], liver["volume_with_tumors_mL"]) == ("1500.000", "1502.000")
    assert (liver["mean_HU"], liver["sd_HU"]) == ("101.3", "20.0")
    assert (kidney["volume_mL"], kidney["mean_HU"], kidney["sd_HU"]) == ("0.000", "", "")
    assert (tumor["lesion_count"], tumor["volume_with_tumors_mL"]) == ("2", "")
    assert (first["volume_mL"], first["longest_axial_diameter_mm"], first["slice_index"]) == ("1.235", "12.3", "3")
    assert (first["mean_HU"], first["sd_HU"], first["side"]) == ("61.5", "14.3", "left")
    assert (tumor["right_volume_mL"], tumor["left_volume_mL"], liver["left_volume_mL"]) == ("1.500", "0.500", "")
    assert [first[f"center_{axis}_mm"] for axis in "RAS"] == ["10.0", "-20.0", "30.0"]
    assert [row["note"] for row in rows] == ["Not in HU."] * 3 + ["", ""] + ["Not in HU."]
    assert result.measures_table is table


def test_slices_count_in_the_whole_ct_where_a_part_was_segmented(tmp_path):
    ct_node = make_ct(tuple(np.eye(3).ravel()))
    bounds = np.zeros(6)
    ct_node.GetRASBounds(bounds)
    top = bounds.reshape(3, 2)[:, 1]
    roi = add_roi(top, (100, 100, 1.0))
    result, part, names = bring_in(ct_node, np.full(SHAPE, LIVER.value, np.uint8), tmp_path, roi)
    first = part.extent[4]
    assert first > 0
    table = results.add_measures_table(result, ct_node, part, names, measures([of_left_side(1, (0, 0, 0))]), note="")
    assert scene_result.rows_of(table)[3]["slice_index"] == str(3 + first)


def test_lesions_of_a_scene_that_an_older_version_saved_are_found(tmp_path):
    ct_node = make_ct()
    result, part, names = bring_in(ct_node, make_labels(), tmp_path)
    table = results.add_measures_table(
        result, ct_node, part, names, measures([of_left_side(1, (1.0, 2.0, 3.0))]), note=""
    )
    told = result.lesions("liver tumor")
    for column in ("sd_HU", "side", "right_volume_mL", "left_volume_mL"):
        table.RemoveColumn(table.GetColumnIndex(column))
    assert result.lesions("liver tumor") == told and len(told) == 1


@pytest.mark.parametrize(("column", "pasted"), [("lesion", "MRI"), ("center_A_mm", "5 cm"), ("volume_mL", "")])
def test_what_is_pasted_into_a_table_of_measures_is_no_lesion(column, pasted, tmp_path):
    """Slicer's tables take it, though they are locked."""
    ct_node = make_ct()
    result, part, names = bring_in(ct_node, make_labels(), tmp_path)
    found = measures([of_left_side(1, (1.0, 2.0, 3.0)), of_left_side(2, (0.0, 2.0, 3.0))])
    table = results.add_measures_table(result, ct_node, part, names, found, note="")
    first = next(number for number, row in enumerate(scene_result.rows_of(table)) if row["lesion"] == "1")
    table.SetCellText(first, table.GetColumnIndex(column), pasted)
    assert [number for number, _ in result.lesions("liver tumor")] == [2]
    assert list(slicer_reading_panel._sizes(result, "liver tumor")) == [2]


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_lesions_are_found_where_the_ct_shows_them_wherever_it_is_moved_to(transform, tmp_path):
    ct_node = make_ct()
    if TRANSFORMS[transform] is not None:
        add_transform(TRANSFORMS[transform], ct_node)
    result, part, names = bring_in(ct_node, make_labels(), tmp_path)
    voxel = np.array([4.0, 3.0, 5.0, 1.0])
    world = part.voxel_to_world @ voxel
    told = LPS_TO_RAS @ np.linalg.inv(part.own_to_world @ part.told_to_own) @ world
    results.add_measures_table(result, ct_node, part, names, measures([of_left_side(1, tuple(told[:3]))]), note="")
    assert result.lesions("liver") == []

    def is_at(place):
        ((number, center),) = result.lesions("liver tumor")
        return number == 1 and np.allclose(center, place[:3], atol=0.11)

    assert is_at(world)
    moved = shift(100, 0, 0) @ turn(45, "z")
    new_parent = add_transform(moved, ct_node, result.node)
    assert is_at(moved @ part.voxel_to_own @ voxel)
    ct_node.HardenTransform()
    assert ct_node.GetParentTransformNode() is None
    assert is_at(moved @ part.voxel_to_own @ voxel)
    slicer.mrmlScene.RemoveNode(new_parent)
    slicer.mrmlScene.RemoveNode(ct_node)
    assert is_at(world)


def test_the_focus_is_a_table_of_numbers(tmp_path):
    ct_node = make_ct()
    result, part, names = bring_in(ct_node, make_labels(), tmp_path)
    image = ct.write_raw(np.zeros((2, 2, 2), np.float32), part.grid, tmp_path / "map.raw")
    maps = [
        LayerMap("liver tumor", "encoder1", image, False, 0.25, 0.5, 2.0, 3.0),
        LayerMap("liver tumor", "encoder2", image, True, None, None, None, None),
    ]
    node = results.add_focus_table(result, ct_node)
    results.add_focus(node, names, maps)
    results.add_focus(result.focus_table, {**names, "liver tumor": "liver tumor 2"}, maps[:1])
    table = node.GetTable()
    columns = {name: table.GetColumnByName(name) for name in scene_result.FOCUS_COLUMNS}
    assert [columns["Segment"].GetValue(row) for row in range(3)] == ["liver tumor", "liver tumor", "liver tumor 2"]
    assert [columns["Layer"].GetValue(row) for row in range(3)] == ["encoder1", "encoder2", "encoder1"]
    numbers = ("Focus", "FocusRatio", "OrganFocus", "OrganRatio")
    assert [columns[name].GetValue(0) for name in numbers] == [0.25, 2.0, 0.5, 3.0]
    assert all(math.isnan(columns[name].GetValue(1)) for name in numbers)
    assert [columns["Empty"].GetValue(row) for row in range(3)] == [0, 1, 0]


# Probabilities, 3D


@pytest.mark.parametrize("cropped", [False, True], ids=["whole", "cropped"])
def test_probabilities_lie_on_the_ct(cropped, tmp_path):
    ct_node = make_ct()
    add_study(ct_node)
    add_transform(AFFINE, ct_node)
    bounds = np.zeros(6)
    ct_node.GetRASBounds(bounds)
    roi = add_roi(bounds.reshape(3, 2).mean(axis=1), (4, 4, 4)) if cropped else None
    result, part, _ = bring_in(ct_node, make_labels(), tmp_path)
    part = ct.part_of(ct_node, roi)
    values = np.random.default_rng(0).random(part.grid.shape, np.float32)
    raw = ct.write_raw(values, part.grid, tmp_path / "probability.raw")
    voxels = results.new_voxels(part.region)
    box = ct.box_within(part.region, part.extent)
    results.fill_voxels(voxels, raw, box)
    node = results.add_probability_node(result, ct_node, part, voxels, "liver")
    assert np.array_equal(slicer.util.arrayFromVolume(node), values[box])
    place, ct_place = (slicer.util.arrayFromVTKMatrix(scene_result.voxel_to_world(each)) for each in (node, ct_node))
    assert np.allclose(place @ [0, 0, 0, 1], ct_place @ [*part.region[::2], 1])
    assert np.allclose(place @ [1, 1, 1, 1], ct_place @ [*np.add(part.region[::2], 1), 1])
    assert (node.GetDisplayNode().GetWindowLevelMin(), node.GetDisplayNode().GetWindowLevelMax()) == (0.0, 1.0)
    assert result.probabilities == [node]


def test_3d_is_shown_and_hidden(tmp_path):
    node = bring_in(make_ct(), make_labels(), tmp_path)[0].node
    assert not node.GetSegmentation().ContainsRepresentation("Closed surface")
    results.show_3d(node, True)
    assert node.GetSegmentation().ContainsRepresentation("Closed surface")
    assert node.GetClosedSurfaceInternalRepresentation(node.GetSegmentation().GetNthSegmentID(0)).GetNumberOfPoints()
    assert node.GetDisplayNode().GetVisibility3D()
    results.show_3d(node, False)
    assert not node.GetDisplayNode().GetVisibility3D()


def test_of_a_segmentation_that_is_taken_back_nothing_stays(tmp_path):
    ct_node = make_ct()
    before = [node.GetID() for node in slicer.util.getNodesByClass("vtkMRMLNode")]
    node = bring_in(ct_node, make_labels(), tmp_path)[0].node
    both = results.with_display(node)
    assert len(both) == 2
    slicer.mrmlScene.RemoveNode(node)
    results.remove_nodes(both)
    assert [node.GetID() for node in slicer.util.getNodesByClass("vtkMRMLNode")] == before


# The result in the scene


def test_a_saved_scene_brings_the_result_back(tmp_path):
    ct_node = make_ct()
    add_transform(turn(30), ct_node)
    result, part, names = bring_in(ct_node, make_labels(), tmp_path)
    results.add_measures_table(result, ct_node, part, names, measures([of_left_side(1, (1, 2, 3))]), note="")
    place, runs = result.lesions("liver tumor"), result.runs
    image = write_raw(sitk.GetImageFromArray(np.ones((2, 3, 4), np.float32)), tmp_path / "map.raw")
    maps = [
        LayerMap("liver", layer, replace(image, grid=part.to_own(image.grid)), False, 0.1, 0.2, 1.0, 2.0)
        for layer in ("encoder1", "encoder2")
    ]
    for one in maps:
        attention_maps.add_map(slicer.mrmlScene, one, result.node, ct_node, one.label)
    results.add_focus(results.add_focus_table(result, ct_node), names, maps)
    bundle = tmp_path / "scene.mrb"
    assert slicer.mrmlScene.WriteToMRB(str(bundle))
    slicer.mrmlScene.Clear(False)
    assert scene_result.SceneResult.all(slicer.mrmlScene) == []
    (tmp_path / "open").mkdir()
    assert slicer.app.applicationLogic().OpenSlicerDataBundle(str(bundle), str(tmp_path / "open"))
    (restored,) = scene_result.SceneResult.all(slicer.mrmlScene)
    assert restored.ct.GetName() == "CT 1"
    assert (restored.model, restored.runs) == ("model-a", runs)
    assert restored.segments == ["liver", "liver tumor"]
    assert restored.layers == ["encoder1", "encoder2"]
    assert restored.map_node("liver", "encoder2").GetImageData().GetDimensions() == (4, 3, 2)
    assert restored.map_node("liver tumor", "encoder2") is None
    ((_, center),) = restored.lesions("liver tumor")
    assert np.allclose(center, place[0][1])
    assert scene_result.rows_of(restored.focus_table)[1]["Layer"] == "encoder2"
    assert restored.newest_segments().keys() == {"liver", "liver tumor"}
    assert np.array_equal(exported(restored.node, "liver", restored.ct), make_labels() == LIVER.value)


def test_cautions_of_a_later_release_are_read_and_lost_ones_are_told(tmp_path):
    result, _part, _names = bring_in(make_ct(), make_labels(), tmp_path)
    told = json.loads(result.node.GetAttribute(scene_result.RUNS_ATTRIBUTE))
    told[-1] |= {"cautions": ["No contrast medium."], "of a later release": 1}
    result.node.SetAttribute(scene_result.RUNS_ATTRIBUTE, json.dumps(told))
    assert result.newest_run.cautions == ["No contrast medium."]
    assert result.segments == ["liver", "liver tumor"]
    for lost in ("[1, 2", None):
        result.node.SetAttribute(scene_result.RUNS_ATTRIBUTE, lost)
        (caution,) = result.newest_run.cautions
        assert "cannot be read" in caution


def test_what_is_shown_alone_hides_other_segments_but_those_that_single_views_show(tmp_path):
    ct_node = make_ct()
    result, other = (bring_in(ct_node, make_labels(), tmp_path, model=model)[0] for model in ("model-a", "model-b"))
    display = other.node.GetDisplayNode()
    display.SetViewNodeIDs(["vtkMRMLSliceNodeRed"])
    results.show_alone(result)
    assert display.GetVisibility()
    display.SetViewNodeIDs([])
    results.show_alone(result)
    assert not display.GetVisibility() and result.node.GetDisplayNode().GetVisibility()


def test_maps_are_not_removed_one_by_one_from_a_scene_that_is_closed(slicer_shell, tmp_path, monkeypatch):
    from HLFDSegmentationLib.slicer_panels import slicer_scene_care

    removals = []
    monkeypatch.setattr(slicer_scene_care, "remove_nodes", removals.append)
    slicer_scene_care.look_after(slicer.mrmlScene)
    bring_in(make_ct(), make_labels(), tmp_path)
    slicer.mrmlScene.Clear(False)
    assert removals == []


def test_a_result_whose_nodes_are_deleted_says_so(tmp_path):
    ct_node = make_ct()
    result, part, names = bring_in(ct_node, make_labels(), tmp_path)
    results.add_measures_table(result, ct_node, part, names, measures([of_left_side(1, (1, 2, 3))]), note="")
    slicer.mrmlScene.RemoveNode(result.measures_table)
    assert (result.measures_table, result.lesions("liver tumor")) == (None, [])
    slicer.mrmlScene.RemoveNode(ct_node)
    assert result.ct is None
    assert result.exists
    slicer.mrmlScene.RemoveNode(result.node)
    assert not result.exists
    assert (result.maps, result.layers, result.focus_table, result.readings_table) == ([], [], None, None)
    assert result.map_node("liver", "encoder1") is None
    assert scene_result.SceneResult.all(slicer.mrmlScene) == []
    assert scene_result.SceneResult.of(None) is None
