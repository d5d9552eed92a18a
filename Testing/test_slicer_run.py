"""A run from the CT in the scene to the results in the scene, with the real worker and a small untrained model."""

import hashlib
import re
import resource
import shutil
import sys
import time
from contextlib import contextmanager, nullcontext
from xml.etree import ElementTree

import numpy as np
import psutil
import pytest
import SimpleITK as sitk
from generated_cases import TASK, blob_case
from HLFDSegmentationLib.cautions.hounsfield_offset import offset_cautions
from HLFDSegmentationLib.child_process.process_tree import end_tree
from HLFDSegmentationLib.child_process.worker_client import WorkerClient, worker_command
from HLFDSegmentationLib.child_process.worker_protocol import Cancelled, DevicesRequest, Finished
from HLFDSegmentationLib.errors import InputError
from HLFDSegmentationLib.hounsfield import voxels_problem
from HLFDSegmentationLib.inference import Segmenter
from HLFDSegmentationLib.layers import LAYERS
from HLFDSegmentationLib.model_package import read_package
from HLFDSegmentationLib.phases import ADDING, EXPLAINING, PREPARING, SEGMENTING
from HLFDSegmentationLib.readings import Reading
from scipy import ndimage
from slicer_cases import (
    Later,
    add_bending_transform,
    add_roi,
    add_study,
    add_transform,
    add_volume,
    shift,
    slicer,
    turn,
    vtk,
)
from test_bad_ct import stack, write_series

run_module = Later("HLFDSegmentationLib.slicer_scene.slicer_run")
report = Later("HLFDSegmentationLib.slicer_scene.slicer_report")
scene_result = Later("HLFDSegmentationLib.slicer_scene.slicer_scene_result")
slicer_ct = Later("HLFDSegmentationLib.slicer_scene.slicer_ct")

pytestmark = pytest.mark.usefixtures("slicer_shell")

SLICES = 2
ENOUGH_SECONDS = 120
USUAL = {
    "device": "auto",
    "tumor_threshold": None,
    "attention": False,
    "probabilities": False,
    "roi_node": None,
    "output_node": None,
    "allow_not_hu": False,
}


@pytest.fixture(scope="module")
def client():
    """One warm worker for all tests, as Slicer has."""
    client = WorkerClient(worker_command(sys.executable))
    yield client
    client.close()


@pytest.fixture
def scene_with_ct():
    """A CT with a study, and nodes of the user's that have nothing to do with it."""
    ct_node = add_volume(blob_case(0, SLICES)[0])
    add_study(ct_node)
    add_transform(turn(20))
    add_volume(blob_case(1, SLICES)[0], "Another CT")
    add_roi((0, 0, 0), (10, 10, 10))
    return ct_node


class Told:
    """A run, driven as Slicer's timer drives it, and everything that it told."""

    def __init__(self, client, ct_node, model, **settings) -> None:
        self.client = client
        self.progress, self.finished, self.failed, self.cancelled, self.questions = [], [], [], 0, []
        self.run = run_module.SegmentationRun(
            client,
            ct_node,
            model=model,
            on_progress=lambda *told: self.progress.append(told),
            on_finished=self.finished.append,
            on_failed=self.failed.append,
            on_cancelled=self._on_cancelled,
            **{**USUAL, "on_not_hu": self.questions.append, **settings},
        )

    def _on_cancelled(self) -> None:
        self.cancelled += 1

    @property
    def phase(self):
        return self.progress[-1][0] if self.progress else None

    def drive(self, until=lambda: False):
        """Steps until the run ends, or until something is so."""
        deadline = time.monotonic() + ENOUGH_SECONDS
        while self.run.running and not until():
            self.run.advance()
            time.sleep(0.005)
            assert time.monotonic() < deadline, (self.progress, self.questions)
        return self

    @property
    def ends(self):
        return len(self.finished) + len(self.failed) + self.cancelled


def answer_of(client, request):
    """How a job without a run ends. No other may be asked for meanwhile."""
    job, events = client.submit(request), []
    deadline = time.monotonic() + ENOUGH_SECONDS
    while client.running:
        events += [event for event in client.poll() if event.job == job]
        time.sleep(0.005)
        assert time.monotonic() < deadline
    return events[-1]


@contextmanager
def paused(client):
    """The worker stands still, so that a fast machine is not done before the test looks."""
    answer_of(client, DevicesRequest())
    worker = psutil.Process(client._process._worker_pid)
    worker.suspend()
    try:
        yield
    finally:
        worker.resume()


def nothing_is_left(client):
    """No job, and no file of one."""
    folder = client._folder.path
    return not client.running and not [path for path in folder.rglob("*") if path.suffix == ".raw"]


def snapshot():
    """Every node's own state, as a saved scene would hold it, with its voxels."""
    scene = slicer.mrmlScene
    scene.SetSaveToXMLString(1)
    scene.Commit()
    scene.SetSaveToXMLString(0)
    states = {}
    for element in ElementTree.fromstring(scene.GetSceneXMLString()):
        node = scene.GetNodeByID(element.get("id"))
        if node is None or node.IsA("vtkMRMLSubjectHierarchyNode"):
            continue
        states[node.GetID()] = (node.GetName(), sorted(element.items()), node.GetMTime(), voxels_of(node))
    return states


def voxels_of(node):
    if node.IsA("vtkMRMLVolumeNode") and node.GetImageData() is not None:
        return hashlib.sha256(slicer.util.arrayFromVolume(node)).hexdigest()
    if node.IsA("vtkMRMLSegmentationNode"):
        segmentation = node.GetSegmentation()
        return [
            (key, segmentation.GetSegment(key).GetName(), segmentation.GetSegment(key).GetMTime())
            for key in segmentation.GetSegmentIDs()
        ]
    return None


def all_ids():
    return {node.GetID() for node in slicer.util.getNodesByClass("vtkMRMLNode")}


def exported(result, name):
    return slicer.util.arrayFromSegmentBinaryLabelmap(result.node, result.segment_id(name), result.ct) > 0


def segmented_by_the_library(package, image):
    return sitk.GetArrayFromImage(Segmenter(read_package(package)).segment(image).labels)


# Results


def test_a_run_brings_what_the_library_finds_and_changes_nothing_else(client, scene_with_ct, untrained_package):
    before = snapshot()
    told = Told(client, scene_with_ct, untrained_package, attention=True, probabilities=True).drive()
    assert (told.failed, told.cancelled, told.ends) == ([], 0, 1)
    (result,) = told.finished
    assert nothing_is_left(client)

    library = Segmenter(read_package(untrained_package)).segment(blob_case(0, SLICES)[0], attention=True)
    labels = sitk.GetArrayFromImage(library.labels)
    found = [label for label in TASK.labels if (labels == label.value).any()]
    assert found
    assert result.segments == [label.name for label in found]
    for label in found:
        assert np.array_equal(exported(result, label.name), labels == label.value)
    assert result.layers == list(LAYERS)
    assert len(result.maps) == len(found) * len(LAYERS)
    assert len(result.probabilities) == len(TASK.labels)
    assert scene_result.SceneResult.all(slicer.mrmlScene) == [result]
    run = result.newest_run
    assert (result.ct, result.model, run.model, run.device, run.not_hu) == (
        scene_with_ct,
        "untrained",
        "untrained",
        "cpu",
        "",
    )
    assert (result.name, result.measures_table.GetName()) == (
        "CT 1 segmentation (untrained)",
        "CT 1 segmentation (untrained) measures",
    )
    rows = scene_result.rows_of(result.focus_table)
    assert [(row["Segment"], row["Layer"]) for row in rows] == [(x.name, layer) for x in found for layer in LAYERS]
    for row, focus in zip(rows, (layer.focus for layer in library.attention), strict=True):
        shown = [float(row[column]) for column in ("Focus", "FocusRatio", "OrganFocus", "OrganRatio")]
        numbers = focus and (focus.segment, focus.segment_ratio, focus.organ, focus.organ_ratio)
        assert shown == pytest.approx(numbers or [np.nan] * 4, rel=1e-3, nan_ok=True)
    volumes = {
        row["segment"]: row["volume_mL"] for row in scene_result.rows_of(result.measures_table) if not row["lesion"]
    }
    voxel_ml = np.prod(scene_with_ct.GetSpacing()) / 1000
    assert volumes == {x.name: f"{(labels == x.value).sum() * voxel_ml:.3f}" for x in TASK.labels}

    fractions = [fraction for _, fraction, _ in told.progress]
    assert fractions == sorted(fractions)
    assert (told.progress[0][0], told.progress[-1][0]) == (PREPARING, ADDING)
    assert {SEGMENTING, EXPLAINING} <= {phase for phase, _, _ in told.progress}
    after = snapshot()
    assert {key: after[key] for key in before} == before


def test_a_second_run_leaves_the_first_result_alone(client, scene_with_ct, untrained_package):
    first = Told(client, scene_with_ct, untrained_package).drive().finished[0]
    before = snapshot()
    second = Told(client, scene_with_ct, untrained_package).drive().finished[0]
    assert first != second
    assert first.name != second.name
    after = snapshot()
    assert {key: after[key] for key in before} == before


@pytest.mark.parametrize("transform", ["rotation", "affine"])
def test_results_of_a_ct_under_a_transform_lie_on_it(transform, client, scene_with_ct, untrained_package):
    """Attention maps and lesions too: each lies within the CT's box in the world."""
    movement = shift(300, -200, 100) @ turn(8) @ turn(5, "x")
    if transform == "affine":
        movement = movement @ np.diag([1.1, 1.0, 0.9, 1.0])
    parent = add_transform(movement, scene_with_ct)
    (result,) = Told(client, scene_with_ct, untrained_package, attention=True).drive().finished
    assert result.node.GetParentTransformNode() is parent
    bounds = np.zeros(6)
    scene_with_ct.GetRASBounds(bounds)
    for node in result.maps:
        assert node.GetParentTransformNode() is parent
        own = np.zeros(6)
        node.GetRASBounds(own)
        # The network's canvas is padded below and to the right, by less than 32 pixels of 5 mm.
        assert np.abs(own - bounds).max() < 32 * 5 * 1.2
    lesions = result.lesions(TASK.tumors[0].name)
    assert lesions
    for _, center in lesions:
        assert all(low <= x <= high for x, low, high in zip(center, bounds[::2], bounds[1::2]))
    voxels = exported(result, TASK.tumors[0].name)
    place = slicer.util.arrayFromVTKMatrix(scene_result.voxel_to_world(scene_with_ct))
    pieces, _ = ndimage.label(voxels, np.ones((3, 3, 3)))
    largest = np.argwhere(pieces == np.bincount(pieces.ravel())[1:].argmax() + 1)
    assert np.allclose(lesions[0][1], (place @ [*largest.mean(axis=0)[::-1], 1])[:3], atol=0.1)


def test_only_the_region_of_interest_is_segmented(client, scene_with_ct, untrained_package):
    bounds = np.zeros(6)
    scene_with_ct.GetRASBounds(bounds)
    middle, size = bounds.reshape(3, 2).mean(axis=1), np.ptp(bounds.reshape(3, 2), axis=1)
    roi = add_roi(middle, (size[0] / 2, size[1], size[2]))
    (result,) = Told(client, scene_with_ct, untrained_package, roi_node=roi).drive().finished
    expected = segmented_by_the_library(untrained_package, blob_case(0, SLICES)[0]).copy()
    assert expected[:, :, :16].any()
    expected[:, :, :16] = expected[:, :, 48:] = 0
    for label in TASK.labels:
        if (expected == label.value).any():
            assert np.array_equal(exported(result, label.name), expected == label.value)


def test_what_is_found_in_a_region_is_what_is_found_there_in_the_whole_ct(client, scene_with_ct, untrained_package):
    """Also where the box holds nothing but a piece of an organ: the network sees whole slices."""
    (whole,) = Told(client, scene_with_ct, untrained_package).drive().finished
    bounds = np.zeros(6)
    scene_with_ct.GetRASBounds(bounds)
    middle, size = bounds.reshape(3, 2).mean(axis=1), np.ptp(bounds.reshape(3, 2), axis=1)
    roi = add_roi(middle, (size[0] / 4, size[1] / 4, size[2] / 4))
    told = Told(client, scene_with_ct, untrained_package, roi_node=roi, probabilities=True).drive()
    (result,) = told.finished
    part = slicer_ct.part_of(scene_with_ct, roi)
    box = slicer_ct.box_within(part.region, part.whole)
    inside = np.zeros(exported(whole, whole.segments[0]).shape, bool)
    inside[box] = True
    assert result.segments
    for segment in result.segments:
        assert np.array_equal(exported(result, segment), exported(whole, segment) & inside)
    assert {slicer.util.arrayFromVolume(node).shape for node in result.probabilities} == {inside[box].shape}


def test_a_region_within_one_organ_is_not_taken_for_what_is_not_in_hu(client, untrained_package):
    rng = np.random.default_rng(20261126)
    ct = np.full((8, 96, 96), -100, np.float32)
    ct[:, 20:76, 20:76] = 100
    ct_node = add_volume(sitk.GetImageFromArray((ct + rng.normal(0, 20, ct.shape)).astype(np.int16)))
    bounds = np.zeros(6)
    ct_node.GetRASBounds(bounds)
    middle, size = bounds.reshape(3, 2).mean(axis=1), np.ptp(bounds.reshape(3, 2), axis=1)
    within_the_organ = add_roi(middle, (size[0] / 3, size[1] / 3, size[2]))
    told = Told(client, ct_node, untrained_package, roi_node=within_the_organ).drive()
    assert told.questions == []
    assert not told.finished[0].newest_run.not_hu


def body_that_fills_its_upper_slices(factor=1, offset=0):
    """A CT whose values are not HU, and a region of interest in slices without the air that tells it."""
    rng = np.random.default_rng(20261127)
    hu = np.full((60, 48, 48), -1000.0)
    hu[:, 12:36, 12:36] = hu[30:] = -100
    hu[:, :, 24:][hu[:, :, 24:] > -1000] = 50
    hu = (hu + rng.normal(0, 15, hu.shape)) * factor + offset
    ct_node = add_volume(sitk.GetImageFromArray(hu.round().astype(np.int16)))
    roi = add_roi((-24, -24, 50), (20, 20, 10))
    slices = slicer_ct.part_of(ct_node, roi).voxels
    assert len(slices) < 30 and voxels_problem(slices) is None and offset_cautions(slices) == []
    return ct_node, roi


def test_a_region_of_what_is_not_in_hu_is_asked_about_as_the_whole(client, untrained_package):
    ct_node, roi = body_that_fills_its_upper_slices(factor=2)
    told = Told(client, ct_node, untrained_package, roi_node=roi)
    told.drive(lambda: told.questions)
    assert "multiplied by about 2" in told.questions[0]
    told.run.go_on()
    (result,) = told.drive().finished
    assert told.questions[0] in result.newest_run.not_hu and "not in HU" in result.name


def test_a_region_of_values_that_are_off_has_the_caution_of_the_whole(client, untrained_package):
    ct_node, roi = body_that_fills_its_upper_slices(offset=60)
    (result,) = Told(client, ct_node, untrained_package, roi_node=roi).drive().finished
    assert sum("values seem to be too high, by about 6" in caution for caution in result.newest_run.cautions) == 1


def test_a_region_in_slices_of_air_is_told_as_that(client, untrained_package):
    voxels = sitk.GetArrayFromImage(blob_case(0, 8)[0])
    ct_node = add_volume(sitk.GetImageFromArray(np.concatenate([voxels, np.full((30, 64, 64), -1024, np.int16)])))
    roi = add_roi((-32, -32, 30), (20, 20, 10))
    fails(Told(client, ct_node, untrained_package, roi_node=roi), client, "around the region hold nothing but air")


def test_segments_are_added_to_the_segmentation_that_the_user_chose(client, scene_with_ct, untrained_package):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Mine")
    node.GetSegmentation().AddEmptySegment("mine", "liver")
    drawn = node.GetSegmentation().GetSegment("mine")
    (result,) = Told(client, scene_with_ct, untrained_package, output_node=node).drive().finished
    assert result.node is node
    assert node.GetName() == "Mine"
    assert node.GetSegmentation().GetSegment("mine") is drawn
    assert result.segments == ["liver 2", "liver tumor"]


def place_of(node):
    """On what segments are edited and exported."""
    geometry = node.GetSegmentation().GetConversionParameter("Reference image geometry")
    return geometry, node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole())


def grid_of(node):
    grid, matrix = slicer.vtkOrientedImageData(), vtk.vtkMatrix4x4()
    assert slicer.vtkSegmentationConverter.DeserializeImageGeometry(place_of(node)[0], grid)
    grid.GetImageToWorldMatrix(matrix)
    return [*slicer.util.arrayFromVTKMatrix(matrix).ravel(), *grid.GetExtent()]


def refer_to_another_series(node):
    """As where a segmentation was made for one in the Segment Editor, and nothing drawn yet."""
    series = sitk.GetImageFromArray(np.zeros((4, 10, 10), np.int16))
    series.SetSpacing((1.0, 1.0, 11.0))
    node.SetReferenceImageGeometryParameterFromVolumeNode(add_volume(series, "Another series"))


@pytest.mark.parametrize("for_another_series", [False, True])
@pytest.mark.parametrize("turned", [False, True])
def test_a_segmentation_without_segments_shows_them_on_the_grid_of_the_ct(
    turned, for_another_series, client, scene_with_ct, untrained_package
):
    if turned:  # The segmentation is not under the CT's transform.
        add_transform(turn(10), scene_with_ct)
    (expected,) = Told(client, scene_with_ct, untrained_package).drive().finished
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Mine")
    if for_another_series:
        refer_to_another_series(node)
    (result,) = Told(client, scene_with_ct, untrained_package, output_node=node).drive().finished
    assert node.GetDisplayNode().GetVisibility() and place_of(node)[1] is scene_with_ct
    grid = grid_of(node)
    node.SetReferenceImageGeometryParameterFromVolumeNode(scene_with_ct)  # as Slicer takes it from a CT
    assert np.allclose(grid, grid_of(node))
    assert np.array_equal(exported(result, "liver"), exported(expected, "liver"))


@pytest.mark.parametrize("for_another_series", [False, True])
@pytest.mark.parametrize("end", ["cancel", "fail"])
def test_a_segmentation_without_segments_is_as_it_was_when_a_run_does_not_finish(
    end, for_another_series, client, scene_with_ct, untrained_package
):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Mine")
    if for_another_series:
        refer_to_another_series(node)
    before, place = all_ids(), place_of(node)
    told = Told(client, scene_with_ct, untrained_package, attention=True, output_node=node)
    told.drive(lambda: maps_in_scene())
    assert place_of(node) != place and node.GetDisplayNode()
    if end == "cancel":
        told.run.cancel()
    else:
        scene_with_ct.SetOrigin(5, 6, 7)
    assert not told.drive().finished
    assert all_ids() == before and place_of(node) == place and node.GetDisplayNode() is None


def test_a_segmentation_that_is_hidden_stays_hidden(client, scene_with_ct, untrained_package):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Mine")
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().SetVisibility(False)
    Told(client, scene_with_ct, untrained_package, output_node=node).drive()
    assert node.GetNumberOfDisplayNodes() == 1 and not node.GetDisplayNode().GetVisibility()


def test_one_item_of_a_sequence_is_segmented_as_it_was(client, scene_with_ct, untrained_package):
    """The browser puts another item into its proxy node while the run goes on."""
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "Phases")
    for index in range(2):
        item = add_volume(blob_case(index, SLICES)[0], f"Phase {index}")
        sequence.SetDataNodeAtValue(item, str(index))
        slicer.mrmlScene.RemoveNode(item)
    browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "Browser")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    logic = slicer.modules.sequences.logic()
    logic.UpdateProxyNodesFromSequences(browser)
    proxy = browser.GetProxyNode(sequence)
    told = Told(client, proxy, untrained_package)
    told.drive(lambda: told.phase is not None)
    browser.SetSelectedItemNumber(1)
    logic.UpdateProxyNodesFromSequences(browser)
    (result,) = told.drive().finished
    labels = segmented_by_the_library(untrained_package, blob_case(0, SLICES)[0])
    assert np.array_equal(exported(result, "liver"), labels == 1)
    assert np.array_equal(slicer.util.arrayFromVolume(proxy), sitk.GetArrayFromImage(blob_case(1, SLICES)[0]))


def test_a_ct_that_got_another_place_meanwhile_is_told_and_nothing_stays(client, scene_with_ct, untrained_package):
    before = all_ids()
    told = Told(client, scene_with_ct, untrained_package)
    told.drive(lambda: told.phase is not None)
    scene_with_ct.SetOrigin(5, 6, 7)
    (sentence,) = told.drive().failed
    assert "Segment it again" in sentence and all_ids() == before


@pytest.mark.parametrize("last", [False, True])
def test_a_ct_that_gets_another_place_while_results_are_added_leaves_none_beside_it(
    last, client, scene_with_ct, untrained_package
):
    before = all_ids()
    told = Told(client, scene_with_ct, untrained_package, attention=True, probabilities=True)
    told.drive(lambda: len(probabilities_in_scene()) == len(TASK.labels) if last else len(maps_in_scene()) > 5)
    assert told.run.running
    scene_with_ct.SetOrigin(5, 6, 7)
    (sentence,) = told.drive().failed
    assert "Segment it again" in sentence and all_ids() == before


def test_the_report_says_when_segments_were_changed_by_hand(
    client, scene_with_ct, untrained_package, tmp_path, monkeypatch
):
    monkeypatch.setenv("HLFD_MODELS", str(tmp_path / "models"))
    shutil.copytree(untrained_package, tmp_path / "models" / "untrained")
    (result,) = Told(client, scene_with_ct, untrained_package).drive().finished

    def warnings(*readings):
        return report.report_request(result, readings, tmp_path / "report.html", tmp_path).warnings

    def change(mask):
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask, result.node, key, scene_with_ct)

    of_a_lesion = Reading("liver tumor", "decoder3", 1, "misled", "")
    # An untrained model finds organs of impossible HU, which is told, too.
    known = warnings()
    assert warnings(of_a_lesion) == known
    key = result.segment_id("liver")
    made = slicer.util.arrayFromSegmentBinaryLabelmap(result.node, key, scene_with_ct).copy()
    without_one = made.copy()
    without_one[tuple(np.argwhere(made)[0])] = 0
    moved = np.roll(made, 1, axis=2)
    assert moved.sum() == made.sum()
    for mask in (without_one, moved, np.zeros_like(made)):
        change(mask)
        (warning,) = set(warnings()) - set(known)
        assert "changed after the model" in warning
        (numbers,) = set(warnings(of_a_lesion)) - {warning, *known}
        assert "may have another number" in numbers
    change(made)
    assert warnings() == known
    result.node.GetSegmentation().RemoveSegment(key)
    (warning,) = set(warnings()) - set(known)
    assert "Deleted" in warning and "liver" in warning


@pytest.mark.parametrize("in_database", [True, False])
def test_what_the_dicom_files_of_a_ct_tell_stands_beside_the_result(
    in_database, client, untrained_package, tmp_path, slicer_shell
):
    """A series of two phases in turns: in its voxels alone that need not be seen."""
    tags = [{"0020|0012": str(place % 2), "0018|0050": "0.5"} for place in range(8)]
    folder = write_series(tmp_path / "ct", stack(*np.arange(8) * 2.5), each=tags)
    files = {f"1.2.{number}": str(file) for number, file in enumerate(sorted(folder.iterdir()))}
    ct_node = add_volume(blob_case(0, 8)[0], "CT")
    ct_node.SetAttribute("DICOM.instanceUIDs", " ".join(files))
    slicer_shell.dicomDatabase.files |= files
    if not in_database:
        del slicer_shell.dicomDatabase.files["1.2.3"]
    (result,) = Told(client, ct_node, untrained_package).drive().finished
    told = result.newest_run.cautions, result.newest_run.notes
    for sentences, words in zip(told, ("mixes slices of two scans", "0.5 mm thick and 2.5 mm apart")):
        assert sum(words in sentence for sentence in sentences) == in_database
        assert not any(str(tmp_path) in sentence for sentence in sentences)


def test_a_series_that_its_dicom_files_do_not_call_ct_is_asked_about_and_marked(
    client, scene_with_ct, untrained_package, tmp_path, slicer_shell
):
    """Its values may look like HU all the same."""
    folder = write_series(tmp_path / "series", stack(0, 8), modality="MR")
    files = {f"1.2.{number}": str(file) for number, file in enumerate(sorted(folder.iterdir()))}
    scene_with_ct.SetAttribute("DICOM.instanceUIDs", " ".join(files))
    slicer_shell.dicomDatabase.files |= files
    told = Told(client, scene_with_ct, untrained_package)
    told.drive(lambda: told.questions)
    assert "it is MR, not CT" in told.questions[0] and str(tmp_path) not in told.questions[0]
    told.run.go_on()
    (result,) = told.drive().finished
    assert told.questions[0] in result.newest_run.not_hu
    assert result.name == "CT 1 segmentation (untrained), not in HU"


def test_what_a_reader_must_not_miss_is_in_the_result_its_table_and_its_report(
    client, untrained_package, tmp_path, monkeypatch
):
    """A CT whose slices were put together in turns from two series."""
    monkeypatch.setenv("HLFD_MODELS", str(tmp_path / "models"))
    shutil.copytree(untrained_package, tmp_path / "models" / "untrained")
    voxels = sitk.GetArrayFromImage(blob_case(0, 8)[0])
    voxels[1::2] += 60
    (result,) = Told(client, add_volume(sitk.GetImageFromArray(voxels), "CT"), untrained_package).drive().finished
    cautions = result.newest_run.cautions
    assert not set(cautions) & set(result.newest_run.notes)
    for words in ("in the wrong order, or of two series", "as programs write that do not know its geometry"):
        assert sum(words in caution for caution in cautions) == 1
    rows = scene_result.rows_of(result.measures_table)
    assert {row["note"] for row in rows if not row["lesion"]} == {" ".join(cautions)}
    assert report.report_request(result, [], tmp_path / "report.html", tmp_path).warnings == tuple(cautions)


def test_the_report_is_of_the_newest_run_alone(client, scene_with_ct, untrained_package, tmp_path, monkeypatch):
    """What the newest run did not find is not taken from an earlier run into the same segmentation."""
    monkeypatch.setenv("HLFD_MODELS", str(tmp_path / "models"))
    shutil.copytree(untrained_package, tmp_path / "models" / "untrained")
    (result,) = Told(client, scene_with_ct, untrained_package).drive().finished
    result.add_run(scene_result.SceneRun("untrained", notes=["Nothing was found."]), scene_with_ct)
    request = report.report_request(result, [], tmp_path / "report.html", tmp_path)
    assert not np.fromfile(request.labels.file, np.uint8).any()
    assert (request.notes, request.warnings) == (("Nothing was found.",), ())


def test_no_report_is_made_of_a_result_of_which_nothing_is_known(
    client, scene_with_ct, untrained_package, tmp_path, monkeypatch
):
    """It would be empty, as if nothing had been found."""
    monkeypatch.setenv("HLFD_MODELS", str(tmp_path / "models"))
    shutil.copytree(untrained_package, tmp_path / "models" / "untrained")
    (result,) = Told(client, scene_with_ct, untrained_package).drive().finished
    for damaged in (None, "{"):
        result.node.SetAttribute(scene_result.RUNS_ATTRIBUTE, damaged)
        with pytest.raises(InputError, match="Segment again"):
            report.report_request(result, [], tmp_path / "report.html", tmp_path)


def test_the_report_of_a_region_knows_that_nothing_was_changed(
    client, scene_with_ct, untrained_package, tmp_path, monkeypatch
):
    monkeypatch.setenv("HLFD_MODELS", str(tmp_path / "models"))
    shutil.copytree(untrained_package, tmp_path / "models" / "untrained")
    bounds = np.zeros(6)
    scene_with_ct.GetRASBounds(bounds)
    middle, size = bounds.reshape(3, 2).mean(axis=1), np.ptp(bounds.reshape(3, 2), axis=1)
    roi = add_roi(middle, (size[0] / 2, size[1], size[2]))
    (result,) = Told(client, scene_with_ct, untrained_package, roi_node=roi).drive().finished
    assert result.segments
    warnings = report.report_request(result, [], tmp_path / "report.html", tmp_path).warnings
    assert warnings == tuple(result.newest_run.cautions)


def test_segments_without_voxels_are_not_reported_as_empty(
    client, scene_with_ct, untrained_package, tmp_path, monkeypatch
):
    monkeypatch.setenv("HLFD_MODELS", str(tmp_path / "models"))
    shutil.copytree(untrained_package, tmp_path / "models" / "untrained")
    (result,) = Told(client, scene_with_ct, untrained_package).drive().finished
    segmentation = result.node.GetSegmentation()
    assert segmentation.CreateRepresentation("Closed surface")
    segmentation.SetSourceRepresentationName("Closed surface")
    segmentation.RemoveRepresentation("Binary labelmap")
    with pytest.raises(InputError, match="no voxels that can be read"):
        report.report_request(result, [], tmp_path / "report.html", tmp_path)


def test_the_report_arises_from_what_the_scene_shows(client, scene_with_ct, untrained_package, tmp_path, monkeypatch):
    monkeypatch.setenv("HLFD_MODELS", str(tmp_path / "models"))
    shutil.copytree(untrained_package, tmp_path / "models" / "untrained")
    add_transform(turn(10), scene_with_ct)
    (result,) = Told(client, scene_with_ct, untrained_package, attention=True).drive().finished
    reading = Reading("liver tumor", "decoder3", None, "misled", "looks at the table")
    foreign = Reading("no such segment", "decoder3", None, "misled", "")
    destination = tmp_path / "report.html"
    folder = client.private_folder()
    before = all_ids()
    request = report.report_request(result, [reading, foreign], destination, folder)
    assert all_ids() == before
    labels = np.fromfile(request.labels.file, np.uint8).reshape(request.labels.grid.shape)
    assert np.array_equal(labels, segmented_by_the_library(untrained_package, blob_case(0, SLICES)[0]))
    assert isinstance(answer_of(client, request), Finished)
    shutil.rmtree(folder)
    page = destination.read_text(encoding="utf-8")
    for text in ("CT 1", "Untrained", "liver tumor", "decoder3", "looks at the table"):
        assert text in page
    assert page.count("<img") > len(LAYERS)


# Not in HU


@pytest.fixture
def mr():
    image = blob_case(0, SLICES)[0] + 1000
    return add_volume(sitk.Cast(image, sitk.sitkInt16), "MR 1")


def test_what_is_not_in_hu_is_asked_about_and_marked(client, mr, untrained_package):
    told = Told(client, mr, untrained_package)
    told.drive(lambda: told.questions)
    for _ in range(20):
        told.run.advance()
    assert told.run.running
    assert len(told.questions) == 1
    told.run.go_on()
    (result,) = told.drive().finished
    assert "HU" in result.newest_run.not_hu
    assert result.name == "MR 1 segmentation (untrained), not in HU"
    rows = scene_result.rows_of(result.measures_table)
    assert {row["note"] for row in rows if not row["lesion"]} == {result.newest_run.not_hu}
    assert len(told.questions) == 1


def test_without_anybody_to_ask_it_fails_and_leaves_nothing(client, mr, untrained_package):
    before = snapshot()
    told = Told(client, mr, untrained_package, on_not_hu=None).drive()
    assert "HU" in told.failed[0]
    assert told.ends == 1
    assert snapshot() == before
    assert nothing_is_left(client)


def test_a_script_may_allow_it_beforehand(client, mr, untrained_package):
    told = Told(client, mr, untrained_package, allow_not_hu=True).drive()
    assert told.questions == []
    assert told.finished[0].newest_run.not_hu


def test_the_user_may_say_no(client, mr, untrained_package):
    told = Told(client, mr, untrained_package)
    told.drive(lambda: told.questions)
    told.run.cancel()
    told.drive()
    assert (told.cancelled, told.ends) == (1, 1)
    assert nothing_is_left(client)


# What goes wrong


def fails(told, client, sentence):
    before = snapshot()
    told.drive()
    assert told.ends == 1
    assert re.search(sentence, told.failed[0]), told.failed
    assert snapshot() == before
    assert nothing_is_left(client)


def test_a_ct_that_is_gone_or_bent_is_refused(client, scene_with_ct, untrained_package):
    fails(Told(client, None, untrained_package), client, "Choose the CT")
    other = add_volume(blob_case(0, SLICES)[0])
    add_bending_transform(other)
    fails(Told(client, other, untrained_package), client, "bends it")
    slicer.mrmlScene.RemoveNode(scene_with_ct)
    fails(Told(client, scene_with_ct, untrained_package), client, "no longer in the scene")


def test_a_model_that_is_gone_or_damaged_is_told(client, scene_with_ct, untrained_package, tmp_path):
    fails(Told(client, scene_with_ct, tmp_path / "gone"), client, "gone")
    shutil.copytree(untrained_package, tmp_path / "damaged")
    (tmp_path / "damaged" / "manifest.json").write_text("{}")
    fails(Told(client, scene_with_ct, tmp_path / "damaged"), client, "damaged")


def test_a_full_disk_is_told(client, scene_with_ct, untrained_package):
    told = Told(client, scene_with_ct, untrained_package)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        fails(told, client, "Free some space")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_worker_that_dies_is_told_and_the_next_run_works(client, scene_with_ct, untrained_package):
    # So many slices that no machine is done before the worker is ended.
    told = Told(client, add_volume(blob_case(0, slices=400)[0], "Long CT"), untrained_package)
    told.drive(lambda: told.phase not in (None, PREPARING))
    end_tree(client._process._worker_pid)
    fails(told, client, "segmentation process ended|ended by the system")
    assert Told(client, scene_with_ct, untrained_package).drive().finished


def test_a_fault_in_the_program_is_told_and_logged(client, scene_with_ct, untrained_package, caplog):
    """A callback that raises stands for it; it must not stop the timer's other tasks."""
    told = Told(client, scene_with_ct, untrained_package)
    told.run._on_progress = lambda *_: 1 / 0
    fails(told, client, "mistake in the program")
    assert "ZeroDivisionError" in caplog.text
    assert "CT 1" not in caplog.text


# What is taken away


def delete_ct(told, ct_node, _output):
    slicer.mrmlScene.RemoveNode(ct_node)


def delete_output(told, _ct_node, output):
    mine = output or slicer.util.getFirstNodeByClassByName("vtkMRMLSegmentationNode", "CT 1 segmentation (untrained)")
    if mine is None:  # There is none yet.
        told.run.cancel()
    else:
        slicer.mrmlScene.RemoveNode(mine)


def close_scene(told, _ct_node, _output):
    slicer.mrmlScene.Clear(False)


def test_of_a_run_that_is_abandoned_nothing_stays_in_the_scene(scene_with_ct, untrained_package):
    """As when the extension is reloaded, or Slicer quits, while results are being added."""
    client = WorkerClient(worker_command(sys.executable))
    before = {node.GetID() for node in slicer.util.getNodes("*").values()}
    told = Told(client, scene_with_ct, untrained_package, attention=True)
    told.drive(until=lambda: slicer.util.getNodesByClass("vtkMRMLSegmentationNode"))
    told.run.abandon()
    client.close()
    assert not told.run.running and told.ends == 0
    assert {node.GetID() for node in slicer.util.getNodes("*").values()} == before


def test_what_is_under_way_when_the_worker_is_closed_is_abandoned(slicer_shell):
    from HLFDSegmentationLib.slicer_scene.slicer_worker import SlicerWorker

    class Run:
        running, abandoned = True, False

        def advance(self):
            """Goes on for ever."""

        def abandon(self):
            self.abandoned = True

    worker, run = SlicerWorker(), Run()
    worker.add(run)
    worker.close()
    assert run.abandoned and not worker.has(run)


def test_each_task_hears_of_its_own_jobs_alone(slicer_shell):
    from HLFDSegmentationLib.slicer_scene.slicer_worker import Desk

    class Client:
        jobs = 0

        def submit(self, _request):
            self.jobs += 1
            return self.jobs

    client, listening = Client(), []
    one, other = (Desk(client, lambda: None, listening) for _ in range(2))
    one.submit(DevicesRequest())
    cancelled = Cancelled(other.submit(DevicesRequest()))
    for desk in listening:
        desk.receive(cancelled)
    assert one.poll() == [] and other.poll() == [cancelled]


def cancel(told, _ct_node, _output):
    told.run.cancel()


def segments_in_scene():
    nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    segments = [segment for node in nodes for _, segment in scene_result.segments_by_id(node)]
    return [segment for segment in segments if scene_result.tag(segment, scene_result.SEGMENT)]


def maps_in_scene():
    return [node for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if node.GetAttribute("HLFD.Layer")]


def probabilities_in_scene():
    return [node for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if "probability" in node.GetName()]


TAKEN_AWAY = [cancel, delete_ct, delete_output, close_scene]
MOMENTS = {
    "before": lambda told: True,
    "preparing": lambda told: told.phase == PREPARING,
    "in the worker": lambda told: told.client.running,
    "before the segments": lambda told: told.phase == ADDING,
    "after the segments": lambda told: segments_in_scene(),
    "among the maps": lambda told: len(maps_in_scene()) > 5,
}


CASES = [(moment, each, False) for moment in MOMENTS for each in TAKEN_AWAY]
CASES += [
    (moment, each, True) for moment in ("after the segments", "among the maps") for each in (cancel, delete_output)
]


@pytest.mark.parametrize(("moment", "taken_away", "mine"), CASES, ids=lambda each: getattr(each, "__name__", str(each)))
def test_a_run_ends_quietly_when_something_is_taken_away(
    moment, taken_away, mine, client, scene_with_ct, untrained_package
):
    output = None
    if mine:
        output = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Mine")
        output.CreateDefaultDisplayNodes()
        output.GetSegmentation().AddEmptySegment("mine", "liver")
    before = all_ids()
    told = Told(client, scene_with_ct, untrained_package, attention="maps" in moment, output_node=output)
    with paused(client) if moment == "in the worker" else nullcontext():
        told.drive(lambda: MOMENTS[moment](told))
        assert told.run.running
        taken_away(told, scene_with_ct, output)
    remaining = all_ids() & before
    told.drive()
    if moment == "before" and taken_away is not cancel and (mine or taken_away is not delete_output):
        assert len(told.failed) == 1  # The run had not begun: it says what it misses.
    else:
        assert told.cancelled == 1
    assert told.ends == 1
    assert all_ids() == remaining
    if output is not None and output.GetScene() is not None:
        assert list(output.GetSegmentation().GetSegmentIDs()) == ["mine"]
        assert scene_result.SceneResult.of(output) is None
        assert scene_result.SceneResult(output).segments == []
    assert nothing_is_left(client)
