"""The radiologist's verdicts: kept in the scene, saved with it, exported."""

import csv

import pytest
import slicer
from HLFDSegmentationLib.errors import HLFDError, OutputError
from HLFDSegmentationLib.readings import Reading
from HLFDSegmentationLib.slicer_scene.slicer_readings import COLUMNS, DIFFUSE, MISLED, ON_TARGET, Readings
from HLFDSegmentationLib.slicer_scene.slicer_scene_result import SceneResult
from slicer_review_cases import SEGMENT, add_reviewed_case

pytestmark = pytest.mark.usefixtures("slicer_shell")

AWKWARD = """at the rim, "capsule"; 5 × 3 mm — Gefäß, 'sic', #1 100 % %20 \\n ,
second\tline"""


@pytest.fixture
def result(slicer_shell, tmp_path) -> SceneResult:
    return add_reviewed_case(tmp_path)


def test_a_verdict_is_kept_for_each_layer_and_lesion(result):
    readings = Readings(result)
    readings.set(SEGMENT, "decoder3", None, ON_TARGET, "follows the margin")
    readings.set(SEGMENT, "decoder3", 2, MISLED, "on the gallbladder")
    readings.set(SEGMENT, "encoder1", None, DIFFUSE)
    assert readings.get(SEGMENT, "decoder3") == Reading(SEGMENT, "decoder3", None, ON_TARGET, "follows the margin")
    assert readings.get(SEGMENT, "decoder3", 2) == Reading(SEGMENT, "decoder3", 2, MISLED, "on the gallbladder")
    assert readings.get(SEGMENT, "decoder3", 1) is None
    assert readings.get("liver", "decoder3") is None


def test_a_second_look_replaces_the_first_and_nothing_said_removes_it(result):
    readings = Readings(result)
    readings.set(SEGMENT, "decoder3", 1, ON_TARGET, "sure")
    readings.set(SEGMENT, "decoder3", 1, DIFFUSE)
    assert readings.all() == [Reading(SEGMENT, "decoder3", 1, DIFFUSE)]
    readings.set(SEGMENT, "decoder3", 1, "", "only a comment")
    assert readings.all() == [Reading(SEGMENT, "decoder3", 1, "", "only a comment")]
    readings.set(SEGMENT, "decoder3", 1, "", " ")
    assert readings.all() == []


def test_readings_come_by_segment_then_layer_then_lesion(result):
    readings = Readings(result)
    for segment, layer, lesion in (
        (SEGMENT, "decoder2", 2),
        (SEGMENT, "decoder2", None),
        (SEGMENT, "encoder5", 1),
        ("liver", "decoder2", None),
    ):
        readings.set(segment, layer, lesion, DIFFUSE)
    assert [(r.segment, r.layer, r.lesion) for r in readings.all()] == [
        ("liver", "decoder2", None),
        (SEGMENT, "encoder5", 1),
        (SEGMENT, "decoder2", None),
        (SEGMENT, "decoder2", 2),
    ]


def test_the_table_is_one_that_the_user_can_see_and_belongs_to_the_result(result):
    assert result.readings_table is None
    Readings(result).set(SEGMENT, "decoder3", None, ON_TARGET)
    table = result.readings_table
    assert table.GetName() == "CT 1, student readings"
    assert not table.GetHideFromEditors()
    assert Readings(result).all() == [Reading(SEGMENT, "decoder3", None, ON_TARGET)]
    assert slicer.mrmlScene.GetNodeByID(table.GetID()) is table


def test_a_saved_scene_brings_the_readings_back(result, tmp_path):
    readings = Readings(result)
    readings.set(SEGMENT, "decoder3", None, ON_TARGET, AWKWARD)
    readings.set(SEGMENT, "decoder3", 2, MISLED, "#")
    readings.set(SEGMENT, "encoder1", None, DIFFUSE)
    expected = readings.all()
    path = tmp_path / "scene.mrb"
    assert slicer.mrmlScene.WriteToMRB(str(path))
    slicer.mrmlScene.Clear(False)
    slicer.app.applicationLogic().OpenSlicerDataBundle(str(path), str(tmp_path))
    (loaded,) = SceneResult.all(slicer.mrmlScene)
    assert Readings(loaded).all() == expected
    Readings(loaded).set(SEGMENT, "encoder1", None, MISLED)
    assert Readings(loaded).get(SEGMENT, "encoder1").verdict == MISLED
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLTableNode") == 3


def test_a_deleted_or_foreign_table_is_made_anew(result):
    readings = Readings(result)
    readings.set(SEGMENT, "decoder3", None, ON_TARGET)
    slicer.mrmlScene.RemoveNode(result.readings_table)
    assert readings.all() == []
    readings.set(SEGMENT, "decoder3", None, DIFFUSE)
    assert readings.get(SEGMENT, "decoder3").verdict == DIFFUSE
    result.readings_table.RemoveColumn(0)
    assert readings.all() == []
    readings.set(SEGMENT, "decoder3", None, MISLED)
    assert readings.get(SEGMENT, "decoder3").verdict == MISLED


def test_saying_nothing_makes_no_table(result):
    Readings(result).set("liver", "encoder1", None, "", "  ")
    assert result.readings_table is None


def test_a_deleted_segmentation_is_told(result):
    readings = Readings(result)
    readings.set(SEGMENT, "decoder3", None, ON_TARGET)
    slicer.mrmlScene.Clear(False)
    assert readings.all() == []
    assert readings.get(SEGMENT, "decoder3") is None
    with pytest.raises(HLFDError, match="no longer in the scene"):
        readings.set(SEGMENT, "decoder3", None, ON_TARGET)


def test_only_the_three_verdicts_are_kept(result):
    with pytest.raises(ValueError, match="excellent"):
        Readings(result).set(SEGMENT, "decoder3", None, "excellent")


def test_the_csv_holds_every_reading_as_it_was_written(result, tmp_path):
    readings = Readings(result)
    readings.set(SEGMENT, "decoder3", 2, MISLED, AWKWARD)
    readings.set(SEGMENT, "encoder1", None, DIFFUSE)
    path = tmp_path / "readings.csv"
    readings.write_csv(path)
    with open(path, newline="", encoding="utf-8-sig") as stream:
        rows = list(csv.reader(stream))
    whose = [result.name, result.model]
    assert rows == [
        ["result", "model", *COLUMNS],
        [*whose, SEGMENT, "encoder1", "", DIFFUSE, ""],
        [*whose, SEGMENT, "decoder3", "2", MISLED, AWKWARD],
    ]


def test_a_csv_that_cannot_be_written_is_told_and_leaves_nothing(result, tmp_path):
    readings = Readings(result)
    readings.set(SEGMENT, "decoder3", 2, MISLED)
    taken = tmp_path / "readings.csv"
    (taken / "a folder").mkdir(parents=True)
    for path in (taken, tmp_path / "encoder1.raw" / "readings.csv"):
        with pytest.raises(OutputError, match="could not be written"):
            readings.write_csv(path)
    assert [p.name for p in tmp_path.iterdir() if "readings" in p.name] == ["readings.csv"]


def test_broken_text_from_a_clipboard_is_kept_as_far_as_it_can_be(result, tmp_path):
    readings = Readings(result)
    readings.set(SEGMENT, "decoder3", 2, MISLED, "half \udcff a sign")
    assert readings.get(SEGMENT, "decoder3", 2).comment == "half ? a sign"
    readings.write_csv(tmp_path / "readings.csv")
