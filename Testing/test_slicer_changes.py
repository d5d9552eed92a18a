"""What a user changes around a result, and what the panel then shows and tells: nothing of another run, CT or model."""

import csv
import html
import json
import re
import shutil
import tempfile
from dataclasses import asdict, replace

import numpy as np
import pytest
from generated_cases import TASK
from HLFDSegmentationLib.model_package import read_package
from slicer_cases import Later, add_bending_transform, add_ct, add_roi, add_transform, shift, slicer, turn
from slicer_module_window import answer
from slicer_panel_cases import MODEL, SEGMENT, foreground
from slicer_review_cases import add_reviewed_case

attention_maps = Later("HLFDSegmentationLib.slicer_scene.slicer_attention_maps")
report = Later("HLFDSegmentationLib.slicer_scene.slicer_report")
scene_result = Later("HLFDSegmentationLib.slicer_scene.slicer_scene_result")
readings = Later("HLFDSegmentationLib.slicer_scene.slicer_readings")
numpy_support = Later("vtk.util.numpy_support")

LAYER = "decoder2"


def run(panel):
    """A run through the panel, and its result."""
    panel.ui.segmentButton.click()
    panel.wait_for_end()
    assert panel.message == ""
    return scene_result.SceneResult.of(panel.parameters.result)


OF_UNTRAINED_MODEL = "The median of what was found"
"""It finds organs of impossible HU, which is told of every result of it."""


def warnings(result, folder) -> str:
    told = report.report_request(result, [], folder / "report.html", folder).warnings
    return "\n".join(sentence for sentence in told if not sentence.startswith(OF_UNTRAINED_MODEL))


def another(folder, model, ct):
    (folder / model).mkdir()
    return add_reviewed_case(folder / model, model=model, ct=ct)


def volumes(panel) -> dict:
    """Segment and volume of each row in the panel's table."""
    rows = scene_result.rows_of(panel.ui.measuresTable.mrmlTableNode())
    return {row["segment"]: float(row["volume_mL"]) for row in rows if not row["lesion"]}


def middle_third(ct):
    bounds = [0.0] * 6
    ct.GetRASBounds(bounds)
    low, high = np.array(bounds[::2]), np.array(bounds[1::2])
    return add_roi(((low + high) / 2).tolist(), ((high - low) / 3).tolist())


# The CT


@pytest.mark.parametrize("hardened", [False, True])
def test_attention_lies_on_a_ct_that_was_moved(reviewed, hardened, tmp_path):
    result = reviewed.result
    ((_, before),) = result.lesions(SEGMENT)[:1]
    add_transform(turn(30) @ shift(40, 0, 0), result.ct, result.node)
    if hardened:
        result.ct.HardenTransform()
        result.node.HardenTransform()
    reviewed.parameters.showMap = True
    ((_, lesion),) = result.lesions(SEGMENT)[:1]
    assert np.linalg.norm(np.subtract(lesion, before)) > 30
    place = attention_maps.place_of_most_attention(foreground(slicer))
    assert np.linalg.norm(np.subtract(place, lesion)) < 15
    slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode").SetCrosshairRAS([0.0, 0.0, 0.0])
    reviewed.ui.mostAttentionButton.click()
    crosshair = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode").GetCrosshairRAS()
    assert np.allclose(crosshair, place, atol=0.01)


def move(result, hardened: bool) -> None:
    """As a user does in the module Transforms."""
    add_transform(shift(40, 0, 0), result.ct, result.node)
    if hardened:
        result.ct.HardenTransform()
        result.node.HardenTransform()


@pytest.mark.parametrize("hardened", [False, True])
@pytest.mark.parametrize("left", [False, True])
def test_attention_that_is_shown_moves_with_the_ct(reviewed, hardened, left):
    def place():
        return attention_maps.place_of_most_attention(foreground(slicer))

    reviewed.parameters.showMap = True
    expected = place() + np.array([40, 0, 0])
    if left:
        reviewed.leave()
    move(reviewed.result, hardened)
    if left:
        reviewed.open()
    else:
        reviewed.wait(lambda: place()[0] == pytest.approx(expected[0]), seconds=5)
    assert place() == pytest.approx(expected)


@pytest.mark.parametrize("hardened", [False, True])
def test_a_lesion_is_gone_to_where_it_lies_now(reviewed, hardened):
    ((_, before),) = reviewed.result.lesions(SEGMENT)[:1]
    move(reviewed.result, hardened)
    reviewed.ui.lesionList.setCurrentRow(1)
    crosshair = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode").GetCrosshairRAS()
    assert np.subtract(crosshair, before).tolist() == pytest.approx([40, 0, 0])


def test_a_lesion_is_gone_to_where_it_lies_now_also_where_the_ct_is_bent(reviewed):
    result = reviewed.result
    ((_, before),) = result.lesions(SEGMENT)[:1]
    add_bending_transform(result.ct, result.node, reach_mm=400, by_mm=-40)
    reviewed.ui.lesionList.setCurrentRow(1)
    crosshair = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode").GetCrosshairRAS()
    assert np.subtract(crosshair, before).tolist() == pytest.approx([40, 40, 40], abs=0.1)


def test_a_ct_that_a_transform_bends_is_told(reviewed):
    """And, where its segments are not under the transform, that they lie elsewhere."""
    result = reviewed.result
    transform = add_bending_transform(result.ct)
    bent, parted = "Bent by a transform: CT 1. Volumes and diameters", "do not lie on each other"
    reviewed.wait(lambda: any(told.startswith(bent) for told in changes_told(reviewed)), seconds=5)
    assert any(parted in told for told in changes_told(reviewed))
    result.node.SetAndObserveTransformNodeID(transform.GetID())
    reviewed.wait(lambda: any("CT 1, CT 1, student. " in told for told in changes_told(reviewed)), seconds=5)
    assert not any(parted in told for told in changes_told(reviewed))
    for node in (result.ct, result.node):
        node.SetAndObserveTransformNodeID(None)
    reviewed.wait(lambda: changes_told(reviewed) == [], seconds=5)


def test_a_ct_that_changes_while_its_result_is_looked_at_is_told(quick):
    """Also where another CT is chosen to be segmented next."""
    result = run(quick)
    quick.parameters.inputVolume = add_ct(1, "Patient B")
    voxels = slicer.util.arrayFromVolume(result.ct).copy()
    slicer.util.updateVolumeFromArray(result.ct, np.roll(voxels, 25, axis=2))
    quick.wait(lambda: any("voxels are not those" in told for told in changes_told(quick)), seconds=5)
    slicer.util.updateVolumeFromArray(result.ct, voxels)
    quick.wait(lambda: changes_told(quick) == [], seconds=5)
    transform = add_transform(shift(40, 0, 0), result.ct)
    quick.wait(lambda: any("do not lie on each other" in told for told in changes_told(quick)), seconds=5)
    result.node.SetAndObserveTransformNodeID(transform.GetID())
    quick.wait(lambda: changes_told(quick) == [], seconds=5)


def test_a_ct_that_plays_a_sequence_is_looked_at_when_it_rests(reviewed, monkeypatch):
    looked = []
    monkeypatch.setattr(reviewed.widget.resultPanel, "refresh", lambda: looked.append("result"))
    for _moment in range(20):
        reviewed.result.ct.GetImageData().Modified()
        slicer.app.processEvents()
    assert looked == []
    reviewed.wait(lambda: looked, seconds=5)
    assert looked == ["result"]


def changes_told(panel) -> list[str]:
    """What the panel says below the table of changes since the run; that is in bold type."""
    told = re.findall("<b>(.*?)</b>", panel.ui.notesLabel.text) if panel.ui.notesLabel.visible else []
    return [sentence for sentence in told if not sentence.startswith(OF_UNTRAINED_MODEL)]


def test_what_a_reader_must_not_miss_is_bold_and_before_the_notes(quick):
    result = run(quick)
    told = replace(result.newest_run, cautions=["Left & right?"], notes=["A speck went."])
    result.node.SetAttribute(scene_result.RUNS_ATTRIBUTE, json.dumps([asdict(told)]))
    quick.open_again()
    assert quick.ui.notesLabel.text == "<b>Left &amp; right?</b><br>A speck went."


def test_the_report_says_that_the_voxels_are_of_another_moment(quick, tmp_path):
    result = run(quick)
    assert warnings(result, tmp_path) == "" and changes_told(quick) == []
    voxels = slicer.util.arrayFromVolume(result.ct).copy()
    slicer.util.updateVolumeFromArray(result.ct, np.roll(voxels, 25, axis=2))
    assert "voxels are not those that were segmented" in warnings(result, tmp_path)
    quick.open_again()
    assert "voxels are not those that were segmented" in quick.ui.notesLabel.text
    slicer.util.updateVolumeFromArray(result.ct, voxels)
    quick.open_again()
    assert changes_told(quick) == []


def test_a_region_is_told_before_and_after_the_run(quick):
    whole = volumes(quick) if run(quick) else {}
    quick.parameters.roi = middle_third(quick.ct)
    assert quick.parameters.roi.GetName() in quick.ui.hintLabel.text and quick.ui.hintLabel.visible
    run(quick)
    # Notes go into the report: a region may have the patient's name.
    assert "Only a region of the CT" in quick.ui.notesLabel.text
    assert quick.parameters.roi.GetName() not in quick.ui.notesLabel.text
    assert sum(volumes(quick).values()) < sum(whole.values())
    quick.picture("panel_region")
    # It stays for the next patient, and is seen.
    quick.parameters.inputVolume = add_ct(1, "Patient B")
    assert quick.parameters.roi.GetName() in quick.ui.hintLabel.text


def row_of(page: str, title: str) -> list[str]:
    """The cells of the first row with a title in a report's table of measures."""
    row = re.search(rf"<tr><th[^>]*>{title}</th>(.*?)</tr>", page)[1]
    return [html.unescape(cell) for cell in re.findall("<td>(.*?)</td>", row)]


def exported_report(panel, folder) -> str:
    destination = folder / "exported.html"
    answer(str(destination))
    panel.ui.exportReportButton.click()
    panel.wait(lambda: panel.ui.exportReportButton.enabled)
    return destination.read_text(encoding="utf-8")


def test_a_ct_that_a_transform_stretches_is_reported_close_to_where_the_views_show_it(quick, tmp_path):
    add_transform(shift(30, -20, 112) @ turn(9) @ np.diag([1.1, 1.0, 0.95, 1.0]), quick.ct)
    result = run(quick)
    assert any("under a transform that stretches it" in told for told in changes_told(quick))
    page = exported_report(quick, tmp_path)
    assert "under a transform that stretches it" in page
    volume, *_others, center, _slice = row_of(page, "lesion 1")
    ((_, shown),) = result.lesions(SEGMENT)[:1]
    told = [float(mm.replace("−", "-")) for mm in center.split(",")]
    assert np.linalg.norm(np.subtract(told, shown)) < 0.1 * 32 * 5
    row = next(row for row in scene_result.rows_of(result.measures_table) if row["lesion"] == "1")
    assert float(volume) == pytest.approx(float(row["volume_mL"]), rel=0.01)


def test_attention_lies_on_a_stretched_ct_in_the_report(reviewed, tmp_path, monkeypatch):
    from HLFDSegmentationLib.child_process.raw_images import read_raw

    result = reviewed.result
    monkeypatch.setattr("HLFDSegmentationLib.slicer_scene.slicer_report.is_installed", lambda _name: True)
    monkeypatch.setattr("HLFDSegmentationLib.slicer_scene.slicer_report.find_package", lambda _name: Package)
    add_transform(shift(30, -20, 112) @ turn(9) @ np.diag([1.1, 1.0, 0.95, 1.0]), result.ct, result.node)
    for node in result.maps:  # Most maps do not have the CT's center.
        slicer.util.updateVolumeFromArray(node, slicer.util.arrayFromVolume(node)[1:, :-2].copy())
    request = report.report_request(result, [], tmp_path / "report.html", tmp_path)
    ct = read_raw(request.ct)
    for node, told in zip(result.maps, request.maps):
        to_ct = np.reshape([float(x) for x in node.GetAttribute(scene_result.TO_CT_ATTRIBUTE).split()], (4, 4))
        for voxel in [(0, 0, 0), (3, 2, 4)]:
            place = read_raw(told.image).TransformIndexToPhysicalPoint(voxel)
            assert np.allclose(ct.TransformPhysicalPointToContinuousIndex(place), (to_ct @ [*voxel, 1])[:3], atol=1e-4)


class Package:
    """What a report asks of an installed model."""

    name, path, task, weights_sha256 = "student", "student", TASK, ""


def test_nothing_is_added_to_a_result_whose_ct_is_gone(quick):
    result = run(quick)
    slicer.mrmlScene.RemoveNode(quick.ct)
    quick.parameters.inputVolume = add_ct(1, "Patient B")
    quick.parameters.outputSegmentation = result.node
    assert not quick.ui.segmentButton.enabled
    assert "no longer in the scene" in quick.ui.hintLabel.text


# Runs


def test_a_run_takes_nothing_of_an_earlier_one_whose_segments_were_deleted(quick):
    result = run(quick)
    quick.parameters.segment = SEGMENT
    quick.ui.misledRadioButton.click()
    earlier = set(result.maps)
    for key in list(result.node.GetSegmentation().GetSegmentIDs()):
        result.node.GetSegmentation().RemoveSegment(key)
    for table in result.measures_tables:
        slicer.mrmlScene.RemoveNode(table)
    quick.parameters.outputSegmentation = result.node
    run(quick)
    quick.parameters.showMap = True
    assert foreground(slicer) not in earlier
    assert quick.ui.notReadRadioButton.checked


def test_the_review_follows_a_second_run_into_the_shown_result(quick):
    result = run(quick)
    quick.parameters.showMap = True
    quick.parameters.segment = SEGMENT
    quick.parameters.outputSegmentation = result.node
    earlier = set(result.maps)
    run(quick)
    assert quick.ui.segmentComboBox.currentText == f"{SEGMENT} 2" in volumes(quick)
    assert foreground(slicer) not in earlier


def add_model(panel, folder, name) -> None:
    """The chosen model under another name, which is chosen then."""
    path = slicer_models(panel)
    write_other_package(folder / name, name=name, network=read_package(path).load_network())
    shutil.copytree(folder / name, path.parent / name)
    panel.choose_model(name)


def series(panel) -> list[str]:
    """The names of the curves in the focus chart."""
    (chart,) = slicer.util.getNodesByClass("vtkMRMLPlotChartNode")
    return [chart.GetNthPlotSeriesNode(index).GetName() for index in range(chart.GetNumberOfPlotSeriesNodes())]


@pytest.fixture
def two_models(quick, tmp_path):
    """The panel with a result to which a second model added its segments, the second model chosen."""
    quick.result = run(quick)
    quick.parameters.segment = SEGMENT
    quick.ui.misledRadioButton.click()
    add_model(quick, tmp_path, "second")
    quick.parameters.outputSegmentation = quick.result.node
    run(quick)
    assert quick.parameters.segment == f"{SEGMENT} 2"
    quick.parameters.outputSegmentation = None
    return quick


def test_readings_and_chart_name_the_model_that_made_the_segment(two_models, tmp_path):
    two_models.ui.misledRadioButton.click()

    def models_in_csv():
        readings.Readings(two_models.result).write_csv(tmp_path / "readings.csv")
        with open(tmp_path / "readings.csv", newline="", encoding="utf-8-sig") as stream:
            return {row["segment"]: row["model"] for row in csv.DictReader(stream)}

    expected = {SEGMENT: MODEL, f"{SEGMENT} 2": "second"}
    assert models_in_csv() == expected
    two_models.ui.chartButton.click()
    for segment, model in expected.items():
        two_models.parameters.segment = segment
        assert series(two_models)[0] == model
    for segment in expected:
        two_models.result.node.GetSegmentation().RemoveSegment(two_models.result.segment_id(segment))
    assert models_in_csv() == expected


def test_the_same_label_is_compared_whatever_its_segment_is_called(two_models):
    alone, both, parameters = run(two_models), two_models.result, two_models.parameters
    parameters.result, parameters.comparedResult = both.node, alone.node
    parameters.segment, parameters.layer = f"{SEGMENT} 2", LAYER
    two_models.ui.compareButton.click()
    assert foreground(slicer, "HLFDLeft") is both.map_node(f"{SEGMENT} 2", LAYER)
    assert foreground(slicer, "HLFDRight") is alone.map_node(SEGMENT, LAYER)
    assert two_models.ui.readingLabel.text.startswith("View 1, second")
    parameters.segment = SEGMENT
    assert two_models.ui.readingLabel.text.startswith(f"View 1, {MODEL}")
    assert series(two_models)[:2] == [f"1: {MODEL}", "2: second"]
    two_models.ui.compareButton.click()

    parameters.result, parameters.comparedResult = alone.node, both.node
    two_models.ui.compareButton.click()
    assert foreground(slicer, "HLFDLeft") is alone.map_node(SEGMENT, LAYER)
    assert foreground(slicer, "HLFDRight") is both.map_node(f"{SEGMENT} 2", LAYER)
    assert series(two_models)[:2] == ["1: second", "2: second"]


def test_segments_of_another_result_are_not_taken_for_its_own(quick, tmp_path):
    first = run(quick)
    quick.parameters.useTumorThreshold, quick.parameters.tumorThreshold = True, 0.95
    second = run(quick)
    assert SEGMENT in first.segments and SEGMENT not in second.segments
    copied = first.segment_id(SEGMENT)
    assert second.node.GetSegmentation().CopySegmentFromSegmentation(first.node.GetSegmentation(), copied)
    assert SEGMENT not in second.segments and SEGMENT not in second.newest_segments()
    request = report.report_request(second, [], tmp_path / "report.html", tmp_path)
    labels = np.fromfile(request.labels.file, np.uint8)
    assert labels.any() and TASK.label(SEGMENT).value not in labels


def test_a_loaded_file_of_segments_brings_no_result(quick, tmp_path):
    first = run(quick)
    file = tmp_path / "first.seg.nrrd"
    slicer.util.saveNode(first.node, str(file))
    loaded = slicer.util.loadSegmentation(str(file))
    quick.parameters.outputSegmentation = loaded
    quick.parameters.useTumorThreshold, quick.parameters.tumorThreshold = True, 0.95
    second = run(quick)
    assert second.node is loaded
    assert set(second.newest_segments()) == {"liver"}


def test_an_output_that_takes_no_voxels_any_more_ends_the_run(quick):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    node.SetReferenceImageGeometryParameterFromVolumeNode(quick.ct)
    node.GetSegmentation().AddEmptySegment("own", "own")
    quick.parameters.outputSegmentation = node
    quick.ui.segmentButton.click()
    node.SetSourceRepresentationToClosedSurface()
    quick.wait_for_end()
    assert "kept as surfaces" in quick.message
    assert list(node.GetSegmentation().GetSegmentIDs()) == ["own"]


def test_a_fault_in_tidying_up_gives_the_button_back(quick, monkeypatch):
    run(quick)
    quick.ui.segmentButton.click()
    current = quick.widget.runPanel._run
    monkeypatch.setattr(current, "_leave_nothing", lambda: 1 / 0)
    quick.ui.segmentButton.click()
    quick.wait_for_end()
    assert "mistake in the program" in quick.message
    assert quick.ui.segmentButton.text == "Segment" and quick.ui.segmentButton.enabled


# Segments


def test_the_panel_tells_at_once_that_the_results_ct_was_deleted(reviewed):
    """Also where another CT is chosen to be segmented."""
    reviewed.parameters.inputVolume = add_ct(1, "CT 2")
    assert "no longer in the scene" not in reviewed.ui.notesLabel.text
    slicer.mrmlScene.RemoveNode(reviewed.result.ct)
    slicer.app.processEvents()
    assert "The CT of this result is no longer in the scene" in reviewed.ui.notesLabel.text


def test_the_panel_tells_that_segments_were_edited_or_deleted(quick, tmp_path):
    result = run(quick)
    key = result.segment_id("liver")
    made = slicer.util.arrayFromSegmentBinaryLabelmap(result.node, key, quick.ct).copy()
    edited = made.copy()
    edited[tuple(np.argwhere(made)[0])] = 0
    slicer.util.updateSegmentBinaryLabelmapFromArray(edited, result.node, key, quick.ct)
    quick.open_again()
    assert "Changed since the run: liver." in quick.ui.notesLabel.text
    slicer.util.updateSegmentBinaryLabelmapFromArray(made, result.node, key, quick.ct)
    quick.open_again()
    assert changes_told(quick) == []
    result.node.GetSegmentation().RemoveSegment(key)
    quick.open_again()
    assert "Deleted since the run, and still in the table: liver." in quick.ui.notesLabel.text
    quick.picture("panel_changed")
    destination = tmp_path / "report"
    answer(str(destination))
    quick.ui.exportReportButton.click()
    quick.wait(lambda: quick.ui.exportReportButton.enabled)
    page = destination.with_suffix(".html").read_text(encoding="utf-8")
    assert "Deleted after the model had made it" in page and "(none marked)" not in page


def test_segments_that_a_user_added_are_told_as_not_measured(quick, tmp_path):
    result = run(quick)
    segmentation = result.node.GetSegmentation()
    before = np.fromfile(report.report_request(result, [], tmp_path / "r.html", tmp_path).labels.file, np.uint8)
    painted = segmentation.AddEmptySegment("", "a tumor that was missed")
    voxels = np.zeros(slicer.util.arrayFromVolume(quick.ct).shape, np.uint8)
    voxels[2:4, 2:9, 2:9] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(voxels, result.node, painted, quick.ct)
    original = segmentation.GetSegment(result.segment_id(SEGMENT))
    corrected = slicer.vtkSegment()
    corrected.DeepCopy(original)
    corrected.SetName("corrected")
    segmentation.AddSegment(corrected)
    quick.open_again()
    (told,) = changes_told(quick)
    assert told.startswith("Not of the model") and "table: a tumor that was missed, corrected." in told
    assert "Not of the model" in exported_report(quick, tmp_path)
    assert "were changed" not in warnings(result, tmp_path)
    request = report.report_request(result, [], tmp_path / "r.html", tmp_path)
    assert np.array_equal(np.fromfile(request.labels.file, np.uint8), before)
    assert result.segments.count(SEGMENT) == 1


def test_segments_of_an_earlier_run_are_not_told_as_added(quick):
    result = run(quick)
    quick.parameters.outputSegmentation = result.node
    run(quick)
    assert changes_told(quick) == []
    result.node.SetAttribute(scene_result.RUNS_ATTRIBUTE, "lost")
    quick.open_again()
    assert not any("Not of the model" in told for told in changes_told(quick))


def test_of_two_runs_in_one_segmentation_the_right_segment_is_named(quick):
    result = run(quick)
    quick.parameters.outputSegmentation = result.node
    run(quick)
    key = result.newest_segments()["liver"]
    edited = slicer.util.arrayFromSegmentBinaryLabelmap(result.node, key, quick.ct).copy()
    edited[tuple(np.argwhere(edited)[0])] = 0
    slicer.util.updateSegmentBinaryLabelmapFromArray(edited, result.node, key, quick.ct)
    quick.open_again()
    assert "Changed since the run: liver 2." in quick.ui.notesLabel.text
    result.node.GetSegmentation().RemoveSegment(key)
    quick.open_again()
    assert "Deleted since the run, and still in the table: liver 2." in quick.ui.notesLabel.text


def test_a_scene_of_an_older_version_is_not_called_changed(quick, tmp_path):
    result = run(quick)
    (told,) = json.loads(result.node.GetAttribute("HLFD.Runs"))
    older = {name: told[name] for name in ("model", "device", "notes", "not_hu")}
    older["fingerprints"] = dict.fromkeys(told["fingerprints"], "0123456789abcdef")
    result.node.SetAttribute("HLFD.Runs", json.dumps([older]))
    for _, segment in scene_result.segments_by_id(result.node):
        segment.SetTag("HLFD.Run", "1")
    quick.open_again()
    assert set(result.newest_segments()) == {"liver", SEGMENT}
    assert changes_told(quick) == [] and warnings(result, tmp_path) == ""


def test_a_ct_that_was_moved_without_its_segments_is_told(quick, tmp_path):
    result = run(quick)
    transform = add_transform(shift(40, 0, 0), result.ct)
    quick.open_again()
    assert "do not lie on each other" in quick.ui.notesLabel.text and "Changed" not in quick.ui.notesLabel.text
    told = warnings(result, tmp_path)
    assert "do not lie on each other" in told and "were changed" not in told
    result.node.SetAndObserveTransformNodeID(transform.GetID())
    quick.open_again()
    assert changes_told(quick) == [] and warnings(result, tmp_path) == ""


def test_segments_that_were_moved_and_edited_are_told_as_both(quick, tmp_path):
    result = run(quick)
    slicer.vtkSlicerSegmentationsModuleLogic.ClearSegment(result.node, result.segment_id(SEGMENT))
    assert "were changed" in warnings(result, tmp_path)
    add_transform(shift(40, 0, 0), result.ct)
    told = warnings(result, tmp_path)
    assert "do not lie on each other" in told and "were changed" in told


def test_segments_that_were_edited_on_another_grid_are_told_as_edited_and_not_as_moved(reviewed):
    result = reviewed.result
    for key in result.newest_segments().values():
        segment = result.node.GetSegmentation().GetSegment(key)
        edited = slicer.vtkOrientedImageData()
        edited.DeepCopy(segment.GetRepresentation("Binary labelmap"))
        numpy_support.vtk_to_numpy(edited.GetPointData().GetScalars())[:50] = segment.GetLabelValue()
        edited.SetSpacing(2.0, 2.0, 2.0)  # As the Segment Editor does with a grid that the user has specified.
        segment.AddRepresentation("Binary labelmap", edited)
    reviewed.open_again()
    (told,) = changes_told(reviewed)
    assert "Changed since the run" in told and "do not lie on each other" not in told


@pytest.mark.parametrize("matrix", [None, lambda: turn(17, "x") @ turn(31) @ shift(12.3456789, -7.7, 1e3 / 3)])
def test_nothing_is_called_changed_in_a_scene_that_was_saved(quick, tmp_path, matrix):
    """Files keep fewer digits than memory does."""
    if matrix:
        add_transform(matrix(), quick.ct)
        quick.ct.HardenTransform()
        quick.ct.SetSpacing(5.0000001, 5.0, 7.999999)
        add_transform(turn(5), quick.ct)
    run(quick)
    assert changes_told(quick) == []
    scene = tmp_path / "scene.mrb"
    slicer.util.saveScene(str(scene))
    slicer.mrmlScene.Clear(False)
    slicer.util.loadScene(str(scene))
    slicer.app.processEvents()
    quick.open_again()
    (result,) = quick.results()
    assert quick.parameters.result is result.node and set(result.newest_segments()) == {"liver", SEGMENT}
    assert changes_told(quick) == [] and warnings(result, tmp_path) == ""


def test_an_export_asks_before_it_takes_the_place_of_another_file(reviewed, tmp_path):
    reviewed.ui.misledRadioButton.click()
    there = tmp_path / "CT 1.5 mm.csv"
    there.write_text("mine", encoding="utf-8")
    import qt

    for wanted, left in ((qt.QMessageBox.No, True), (qt.QMessageBox.Yes, False)):
        answer(str(tmp_path / "CT 1.5 mm"), wanted)
        reviewed.ui.exportReadingsButton.click()
        assert (there.read_text(encoding="utf-8-sig") == "mine") is left


def test_without_its_segments_there_is_nothing_to_review(reviewed):
    result = reviewed.result
    reviewed.parameters.showMap = True
    result.node.GetSegmentation().RemoveSegment(result.segment_id(SEGMENT))
    reviewed.open_again()
    assert not reviewed.ui.reviewControls.visible
    assert "were deleted" in reviewed.ui.reviewHintLabel.text
    assert foreground(slicer) is None


# Models


def test_a_model_of_the_same_name_is_not_taken_for_the_one_that_segmented(quick, untrained_package, tmp_path):
    result = run(quick)
    folder = slicer_models(quick)
    other = write_other_package(tmp_path / MODEL)
    shutil.rmtree(folder)
    shutil.copytree(other, folder)
    assert "is not the one that made this result" in warnings(result, tmp_path)
    shutil.rmtree(folder)
    shutil.copytree(untrained_package, folder)
    assert warnings(result, tmp_path) == ""


@pytest.mark.parametrize("older", [False, True])
def test_a_model_of_other_labels_makes_no_report(quick, older, tmp_path):
    """Its report would leave segments out, or tell of organs that nobody looked for."""
    result = run(quick)
    if older:
        told = replace(result.newest_run, labels=[])
        result.node.SetAttribute(scene_result.RUNS_ATTRIBUTE, json.dumps([asdict(told)]))
    folder = slicer_models(quick)
    shutil.rmtree(folder)
    labels = tuple(replace(label, name=label.name.replace("liver", "spleen")) for label in TASK.labels)
    shutil.copytree(write_other_package(tmp_path / MODEL, task=replace(TASK, labels=labels)), folder)
    destination = tmp_path / "report.html"
    answer(str(destination))
    quick.ui.exportReportButton.click()
    quick.wait(lambda: quick.ui.exportReportButton.enabled)
    assert f"'{MODEL}' that is installed here has other labels (spleen, spleen tumor)" in quick.message
    assert not destination.exists()


def slicer_models(panel):
    return panel.widget.modelPanel.chosen.path


def write_other_package(path, *, name=MODEL, task=TASK, network=None):
    import torch
    from HLFDSegmentationLib.model_package import write_package
    from HLFDSegmentationLib.networks import build_network

    torch.manual_seed(5)
    return write_package(
        path,
        network=network or build_network("mobilenetv2-unet", task.num_classes),
        network_name="mobilenetv2-unet",
        task=task,
        name=name,
        title="Second generation",
        license="CC0-1.0",
        training_data=[],
        metrics={},
        card="# Second\n",
        method="none",
        seeds={"training": 5},
    )


def test_a_model_whose_files_are_gone_is_told(quick):
    shutil.rmtree(slicer_models(quick))
    quick.open_again()
    assert "not installed" in quick.ui.modelComboBox.currentText
    assert not quick.ui.segmentButton.enabled


def test_devices_are_asked_for_again_after_a_fault(panel, small_model, monkeypatch):
    from slicer_shell.packaging_stand_ins import packages

    def full(*_arguments, **_options):
        raise OSError(28, "No space left on device")

    packages.absent = set()
    with monkeypatch.context() as disk:
        disk.setattr(tempfile, "mkdtemp", full)
        panel.open_again()
    panel.open_again()
    panel.wait(lambda: "thread" in panel.ui.deviceComboBox.itemText(1))


# Readings


def test_a_comment_that_is_being_typed_is_saved_and_exported(reviewed, tmp_path):
    reviewed.ui.commentLineEdit.insert("on the gallbladder")
    destination = tmp_path / "readings"
    answer(str(destination))
    reviewed.ui.exportReadingsButton.click()
    assert "on the gallbladder" in destination.with_suffix(".csv").read_text(encoding="utf-8-sig")
    reviewed.ui.commentLineEdit.insert(", and on the stomach")
    slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    (kept,) = readings.Readings(reviewed.result).all()
    assert kept.comment == "on the gallbladder, and on the stomach"


def test_a_verdict_that_nobody_can_give_does_not_stop_the_review(reviewed):
    reviewed.ui.misledRadioButton.click()
    table = reviewed.result.readings_table
    assert table.GetLocked()
    table.SetCellText(0, table.GetColumnIndex("verdict"), "wrong place")
    reviewed.parameters.showMap = True
    assert foreground(slicer) is not None and reviewed.ui.notReadRadioButton.checked


# Views


def test_of_the_result_that_is_shown_alone_the_segments_are_outlined(reviewed, tmp_path):
    displays = [each.node.GetDisplayNode() for each in (reviewed.result, another(tmp_path, "b", reviewed.result.ct))]
    second = reviewed.results()[1]
    reviewed.parameters.showMap = True
    reviewed.show_result(second)
    assert [bool(display.GetVisibility2DFill()) for display in displays] == [True, False]
    reviewed.parameters.showMap = False
    assert all(display.GetVisibility2DFill() for display in displays)


def test_the_background_comes_back_after_results_of_two_cts(reviewed, tmp_path):
    mr = add_ct(3, "MR")
    slicer.util.setSliceViewerLayers(background=mr)
    other_ct = add_ct(1, "CT 2")
    other_ct.CreateDefaultDisplayNodes()
    other = another(tmp_path, "b", other_ct)
    reviewed.parameters.showMap = True
    reviewed.show_result(other)
    reviewed.parameters.showMap = False
    composite = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    assert composite.GetBackgroundVolumeID() == mr.GetID()


@pytest.fixture
def compared(reviewed, tmp_path):
    reviewed.others = [another(tmp_path, name, reviewed.result.ct) for name in "bc"]
    reviewed.parameters.comparedResult = reviewed.others[0].node
    reviewed.ui.compareButton.click()
    assert reviewed.ui.compareButton.checked
    return reviewed


def test_a_comparison_ends_when_another_result_is_chosen(compared):
    compared.parameters.comparedResult = compared.others[1].node
    assert not compared.ui.compareButton.checked


def test_what_a_comparison_hid_is_seen_when_another_result_ends_it(reviewed, tmp_path):
    others = [another(tmp_path, name, reviewed.result.ct) for name in "bc"]
    reviewed.parameters.showMap = True
    reviewed.ui.chartButton.click()
    reviewed.parameters.comparedResult = others[0].node
    reviewed.ui.compareButton.click()
    assert reviewed.ui.readingLabel.text.startswith("View 1")
    reviewed.parameters.comparedResult = others[1].node
    assert not reviewed.ui.compareButton.checked and reviewed.ui.showMapCheckBox.checked
    assert foreground(slicer) is reviewed.result.map_node(*reviewed.widget.reviewPanel._place)
    assert reviewed.ui.chartButton.checked and series(reviewed)[0] == "student"
    assert reviewed.ui.readingLabel.text.startswith("Your reading: ")


def test_a_side_without_a_map_is_told_in_the_panel(compared):
    slicer.mrmlScene.RemoveNode(compared.others[0].map_node(SEGMENT, "decoder3"))
    compared.parameters.layer = "decoder3"
    assert re.match("2: There is no attention map of decoder3", compared.ui.reviewHintLabel.text)
    assert compared.ui.reviewHintLabel.visible


def test_each_side_keeps_its_segments_when_a_scene_is_added(compared):
    def views():
        pair = (compared.result, compared.others[0])
        return [list(each.node.GetDisplayNode().GetViewNodeIDs()) for each in pair]

    before = views()
    for display in (compared.result.node.GetDisplayNode(), compared.others[0].node.GetDisplayNode()):
        display.SetViewNodeIDs([])  # As the care of a loaded scene does.
    slicer.mrmlScene.StartState(slicer.mrmlScene.ImportState)
    slicer.mrmlScene.EndState(slicer.mrmlScene.ImportState)
    slicer.app.processEvents()
    assert views() == before and all(before)


def test_a_scene_that_is_added_leaves_the_choices_of_who_is_at_work(reviewed, tmp_path):
    other = another(tmp_path, "b", add_ct(1, "Patient B"))
    reviewed.show_result(other)
    reviewed.parameters.useTumorThreshold = True
    scene = tmp_path / "other.mrb"
    slicer.util.saveScene(str(scene))
    slicer.mrmlScene.Clear(False)

    mine = another(tmp_path, "mine", None)
    reviewed.open_again()
    reviewed.show_result(mine)
    reviewed.parameters.inputVolume = mine.ct
    reviewed.parameters.layer = "decoder3"
    slicer.util.loadScene(str(scene), {"clear": False})
    slicer.app.processEvents()
    assert len(reviewed.results()) > 1
    parameters = reviewed.parameters
    assert parameters.result is mine.node and parameters.inputVolume is mine.ct
    assert parameters.layer == "decoder3" and not parameters.useTumorThreshold
    assert reviewed.ui.inputSelector.currentNode() is mine.ct


def test_a_loaded_scene_brings_its_choices(reviewed, tmp_path):
    reviewed.parameters.layer = "encoder2"
    scene = tmp_path / "scene.mrb"
    slicer.util.saveScene(str(scene))
    slicer.mrmlScene.Clear(False)
    slicer.util.loadScene(str(scene))
    slicer.app.processEvents()
    assert reviewed.parameters.layer == "encoder2"
    assert reviewed.parameters.result is reviewed.results()[0].node
