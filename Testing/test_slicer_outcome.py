"""What a training has achieved, in HLFD Training's panel, on the stand-in Slicer: from the figures to learning on.

Real: the run and its networks, the commands that measure and package, HLFD Segmentation with its worker, all nodes.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from slicer_annotated_cases import add_segmentation
from slicer_cases import add_ct
from slicer_training_cases import PanelPart
from training_runs import PLAN, begin_run

CHECKOUT = Path(__file__).parents[1]
SEGMENTATION_FILE = CHECKOUT / "HLFDSegmentation" / "HLFDSegmentation.py"


class Panel(PanelPart):
    """The part of the panel, and what its user does and sees."""

    def __init__(self, slicer) -> None:
        from HLFDTrainingLib.slicer_panels.slicer_outcome_panel import OutcomePanel

        super().__init__(slicer)
        self.continued, self.added = [], []
        self.panel = OutcomePanel(self.ui, self.continued.append, self.add_case, self.show_problem)
        self.panel.attach(True)
        self.widget.show()

    def add_case(self, ct, segmentation) -> None:
        self.added.append((ct, segmentation))

    def rows(self) -> list[list[str]]:
        table = self.ui.outcomeTable
        return [
            [table.item(row, column).text() for column in range(table.columnCount)] for row in range(table.rowCount)
        ]

    def install(self, name: str) -> None:
        self.ui.installNameEdit.setText(name)
        self.ui.installButton.click()
        self.wait(lambda: self.ui.installButton.enabled)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A finished run with a teacher and both students, of the smallest networks and few epochs."""
    from HLFDTrainingLib.trainer import TrainingRun

    folder = begin_run(
        tmp_path_factory.mktemp("trained") / "My livers!", replace(PLAN, teacher_epochs=1, student_epochs=1)
    )
    TrainingRun(folder, report=folder.logging(lambda event: None)).run()
    return folder.path


@pytest.fixture(scope="module")
def measured(trained) -> Path:
    from HLFDTrainingLib.comparison_table import compare_run
    from HLFDTrainingLib.runs.run_folder import RunFolder

    compare_run(RunFolder(trained), device="cpu")
    return trained


@pytest.fixture
def panel(slicer_shell, tmp_path, monkeypatch):
    from slicer_shell.modules import load_module_file

    monkeypatch.setenv("HLFD_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    load_module_file(SEGMENTATION_FILE)
    made = Panel(slicer_shell)
    yield made
    made.panel.close()
    sys.modules["HLFDSegmentationLib.slicer_scene.slicer_worker"].close_shared_worker()


def own_copy(run: Path, tmp_path: Path) -> Path:
    return shutil.copytree(run, tmp_path / run.name)


# Before the end


def test_without_a_finished_training_nothing_can_be_done(panel, tmp_path):
    buttons = [
        panel.ui.compareButton,
        panel.ui.installButton,
        panel.ui.segmentTestCaseButton,
        panel.ui.addAsCaseButton,
        panel.ui.continueFromStudentButton,
    ]
    assert "Choose a training" in panel.ui.outcomeLabel.text
    assert not any(button.enabled for button in buttons)
    assert all("Choose a training" in button.toolTip for button in buttons)
    panel.panel.show(begin_run(tmp_path / "run").path)
    assert "not finished" in panel.ui.outcomeLabel.text
    assert not any(button.enabled for button in buttons)
    assert all("not finished" in button.toolTip for button in buttons)


# Figures


def test_networks_are_measured_and_stand_beside_each_other(panel, trained, tmp_path):
    from slicer_shell.screenshots import grab

    run = own_copy(trained, tmp_path)
    (run / "comparison.json").unlink(missing_ok=True)
    panel.panel.show(run)
    assert "best student is that of epoch 1" in panel.ui.outcomeLabel.text and not panel.ui.outcomeTable.visible
    panel.ui.compareButton.click()
    assert panel.ui.compareButton.text == "Cancel measuring" and not panel.ui.installButton.enabled
    assert panel.ui.installButton.toolTip == "The test cases are being measured."
    panel.wait(lambda: panel.ui.compareButton.text == "Measure on the test cases")
    assert panel.message == ""
    rows = panel.rows()
    assert [row[:2] for row in rows if row[0] == "liver tumor"] == [
        ["liver tumor", "teacher"],
        ["liver tumor", "student"],
        ["liver tumor", "student without teacher"],
    ]
    teacher, student = rows[0], rows[1]
    assert float(teacher[8].removesuffix(" M")) > float(student[8].removesuffix(" M")) > 0.5
    assert 0 <= float(student[2]) <= 1 and float(student[10].split(" ")[0]) > 0
    assert "student without teacher" in panel.ui.outcomeLabel.text
    assert "test cases that show it: 1" in panel.ui.outcomeLabel.text
    assert (run / "comparison.csv").is_file()
    grab(panel.widget, "training_outcome")


def test_measuring_can_be_cancelled(panel, trained, tmp_path):
    run = own_copy(trained, tmp_path)
    (run / "comparison.json").unlink(missing_ok=True)
    panel.panel.show(run)
    panel.ui.compareButton.click()
    panel.ui.compareButton.click()
    assert panel.ui.compareButton.text == "Measure on the test cases" and panel.ui.installButton.enabled
    assert not (run / "comparison.json").exists() and panel.message == ""


def test_measuring_that_is_cancelled_ends_its_program_and_leaves_no_files(panel, trained, tmp_path):
    panel.panel.show(own_copy(trained, tmp_path))
    panel.ui.compareButton.click()
    measuring = panel.panel._measuring
    assert measuring.running and measuring._folder.path.exists()
    panel.ui.compareButton.click()
    assert measuring._process.poll() is not None and not measuring._folder.path.exists()


def test_a_double_click_on_measure_does_not_cancel_it(panel, trained, tmp_path, monkeypatch):
    run = own_copy(trained, tmp_path)
    monkeypatch.setattr(panel.slicer.app, "doubleClickInterval", 60_000)
    panel.panel.show(run)
    panel.ui.compareButton.click()
    panel.ui.compareButton.click()
    assert panel.ui.compareButton.text == "Cancel measuring"


def test_measuring_that_ends_because_another_training_is_shown_is_told(panel, trained, tmp_path):
    run = own_copy(trained, tmp_path)
    panel.panel.show(run)
    panel.ui.compareButton.click()
    panel.panel.show(trained)
    assert f"ended the measuring of '{run.name}'" in panel.message
    assert panel.ui.compareButton.text == "Measure on the test cases"


def test_a_test_case_that_is_gone_is_told_when_measuring(panel, trained, tmp_path):
    run = own_copy(trained, tmp_path)
    [case] = json.loads((run / "split.json").read_text())["test"]
    shutil.rmtree(run / "cases" / case)
    panel.panel.show(run)
    panel.ui.compareButton.click()
    panel.wait(lambda: panel.ui.compareButton.text == "Measure on the test cases")
    assert case in panel.message


def test_damaged_figures_are_told(panel, measured, tmp_path):
    run = own_copy(measured, tmp_path)
    (run / "comparison.json").write_text('{"models": [{}]}')
    panel.panel.show(run)
    assert "damaged" in panel.ui.outcomeLabel.text and panel.ui.compareButton.enabled


def test_each_figure_stands_below_its_name(panel, measured, tmp_path):
    from slicer_shell.pyside import QtWidgets

    run = own_copy(measured, tmp_path)
    comparison = json.loads((run / "comparison.json").read_text())
    told = {"dice": 0.11, "hd95_mm": 2.2, "rvd": -0.33, "voe": 0.44, "lesion_sensitivity": 0.55}
    told["false_positive_lesions"] = 0.66
    comparison["models"][0]["cases"][0]["labels"]["liver"] |= told
    (run / "comparison.json").write_text(json.dumps(comparison))
    panel.panel.show(run)
    table = panel.widget.findChild(QtWidgets.QTableWidget, "outcomeTable")
    columns = [table.horizontalHeaderItem(index).text() for index in range(table.columnCount)]
    assert (
        dict(zip(columns, panel.rows()[0])).items()
        >= {
            "Dice": "0.110",
            "HD95 (mm)": "2.2",
            "RVD": "-0.330",
            "VOE": "0.440",
            "Lesions found": "0.55",
            "False positives a case": "0.66",
        }.items()
    )


NOTHING_DRAWN = {
    "dice": 1.0,
    "voe": 0.0,
    "rvd": None,
    "absolute_rvd": None,
    "hd95_mm": None,
    "lesion_sensitivity": None,
}
MISSED = {**NOTHING_DRAWN, "dice": 0.0, "voe": 1.0, "rvd": -1.0, "false_positive_lesions": 0.0}
RIGHTLY_EMPTY = {**NOTHING_DRAWN, "false_positive_lesions": 0.0}
MADE_UP = {**NOTHING_DRAWN, "dice": 0.0, "voe": 1.0, "false_positive_lesions": 2.0}


def with_figures_of_tumors(measured: Path, tmp_path: Path, *figures: dict) -> Path:
    """The run as if its student had these figures of tumors, a test case each."""
    run = own_copy(measured, tmp_path)
    comparison = json.loads((run / "comparison.json").read_text())
    student = next(model for model in comparison["models"] if model["stage"] == "student")
    [case] = student["cases"]
    student["cases"] = [{**case, "labels": {**case["labels"], "liver tumor": each}} for each in figures]
    comparison["models"] = [student]
    (run / "comparison.json").write_text(json.dumps(comparison))
    return run


def test_patients_without_a_tumor_do_not_flatter_a_student_that_never_finds_one(panel, measured, tmp_path):
    """Of two empty segmentations Dice is 1: the panel told 0.600, and the model's card 0.000."""
    run = with_figures_of_tumors(measured, tmp_path, MISSED, MISSED, *[RIGHTLY_EMPTY] * 3)
    panel.panel.show(run)
    assert "Dice of the liver tumor (test cases that show it: 2): student 0.000." in panel.ui.outcomeLabel.text
    assert "found there all the same" not in panel.ui.outcomeLabel.text
    [row] = [row for row in panel.rows() if row[0] == "liver tumor"]
    assert row[2] == "0.000 ± 0.000" and row[5] == "1.000 ± 0.000"


def test_hd95_tells_in_how_many_cases_a_student_that_misses_tumors_found_them(panel, measured, tmp_path):
    found = {**MISSED, "dice": 0.8, "voe": 0.3, "rvd": 0.0, "hd95_mm": 1.0}

    def shown_of(*figures: dict) -> str:
        panel.panel.show(with_figures_of_tumors(measured, tmp_path / str(len(figures)), *figures))
        return next(row[3] for row in panel.rows() if row[0] == "liver tumor")

    assert shown_of(found, MISSED, MISSED, MISSED) == "1.0 (1 of 4)"
    assert shown_of(MISSED, MISSED) == "– (0 of 2)"
    assert shown_of(found, found, RIGHTLY_EMPTY) == "1.0 ± 0.0"


def test_tumors_that_were_made_up_in_patients_without_are_told_apart(panel, measured, tmp_path):
    found = {**MISSED, "dice": 0.8, "voe": 0.3, "rvd": 0.0}
    panel.panel.show(with_figures_of_tumors(measured, tmp_path, found, MADE_UP, RIGHTLY_EMPTY, RIGHTLY_EMPTY))
    said = panel.ui.outcomeLabel.text
    assert "Dice of the liver tumor (test cases that show it: 1): student 0.800." in said
    assert "Test cases without liver tumor: 3. It was found there all the same in: student 1." in said
    [row] = [row for row in panel.rows() if row[0] == "liver tumor"]
    assert row[2] == "0.800" and row[7] == "0.50 ± 1.00"


def test_without_a_tumor_in_the_test_cases_its_dice_is_not_known(panel, measured, tmp_path):
    panel.panel.show(with_figures_of_tumors(measured, tmp_path, RIGHTLY_EMPTY, RIGHTLY_EMPTY))
    assert "No test case shows liver tumor, so its Dice is not known." in panel.ui.outcomeLabel.text
    [row] = [row for row in panel.rows() if row[0] == "liver tumor"]
    assert row[2] == "–"


def test_each_figure_is_explained_by_its_header(panel, measured):
    panel.panel.show(measured)
    table = panel.ui.outcomeTable
    tips = {table.horizontalHeaderItem(n).text(): table.horizontalHeaderItem(n).toolTip() for n in range(11)}
    assert all(tips.values())
    assert "flatters a network that misses much" in tips["HD95 (mm)"] and "but HD95 and" in tips["Dice"]
    assert "worst 5 %" in tips["HD95 (mm)"] and "too small (−)" in tips["RVD"]
    assert "0 is perfect" in tips["VOE"] and "billions" in tips["GMACs"]


def test_tab_goes_on_from_the_figures(panel, measured):
    import qt

    panel.panel.show(measured)
    panel.ui.resultCollapsibleButton.collapsed = False
    panel.ui.outcomeTable.setFocus()
    for kind in (qt.QEvent.KeyPress, qt.QEvent.KeyRelease):
        qt.QApplication.sendEvent(panel.ui.outcomeTable, qt.QKeyEvent(kind, qt.Qt.Key_Tab, qt.Qt.NoModifier))
    assert panel.widget.focusWidget() is panel.ui.installNameEdit


def test_a_figure_without_meaning_is_a_dash():
    from HLFDTrainingLib.runs.outcome_table import spread_text

    assert spread_text({"mean": None, "sd": None, "n": 0}, 3) == "–"
    assert spread_text({"mean": 0.5, "sd": None, "n": 1}, 3) == "0.500"
    assert spread_text({"mean": 0.5, "sd": 0.25, "n": 3}, 2) == "0.50 ± 0.25"


# Installing


def test_student_is_installed_and_chosen_and_segments_an_unseen_case_beside_its_truth(panel, measured, tmp_path):
    from HLFDSegmentationLib.model_store import find_package

    run = own_copy(measured, tmp_path)
    panel.slicer.util.selectModule("HLFDSegmentation")
    segmentation = panel.slicer.modules.HLFDSegmentationWidget
    panel.panel.show(run)
    assert panel.ui.installNameEdit.text == "my-livers"
    assert not panel.ui.segmentTestCaseButton.enabled and "Install" in panel.ui.segmentTestCaseButton.toolTip
    panel.install("my-livers")
    assert panel.message == "" and "'my-livers'" in panel.ui.outcomeLabel.text
    package = find_package("my-livers")
    card = (package.path / "docs" / "README.md").read_text()
    assert "distilled from resnet18-unet by hlfd" in card and "test dice" in card
    assert segmentation.modelPanel.chosen.name == "my-livers"
    assert segmentation.logic.getParameterNode().model == "my-livers"

    panel.ui.segmentTestCaseButton.click()
    assert "Cancel" in panel.ui.segmentTestCaseButton.text and panel.message == ""
    panel.wait(lambda: "Cancel" not in panel.ui.segmentTestCaseButton.text)
    assert panel.message == "" and "Dice of this case" in panel.ui.outcomeLabel.text
    assert_shown_beside_each_other(panel.slicer)
    open_segment_editor(panel.slicer)

    panel.ui.addAsCaseButton.click()
    [(ct, corrected)] = panel.added
    [case] = json.loads((run / "split.json").read_text())["test"]
    assert ct.GetAttribute("HLFD.Case") == ct.GetAttribute("HLFD.Patient") == case
    assert corrected.GetAttribute("HLFD.Model") == "my-livers"
    panel.ui.continueFromStudentButton.click()
    assert panel.continued == [run]

    again = Panel(panel.slicer)
    again.panel.show(run)
    assert again.ui.installNameEdit.text == "my-livers" and again.ui.segmentTestCaseButton.enabled
    again.ui.installButton.click()
    assert "installed already" in again.message


def assert_shown_beside_each_other(slicer) -> None:
    views = {"HLFDTrainingTruth", "HLFDTrainingStudent"}
    assert set(slicer.app.layoutManager().shown_views()) == views
    [ct] = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    truth, result = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    segmentation = truth.GetSegmentation()
    names = [segmentation.GetSegment(key).GetName() for key in segmentation.GetSegmentIDs()]
    assert names == ["liver", "liver tumor"]
    left, right = (
        slicer.mrmlScene.GetSingletonNode(f"HLFDTraining{n}", "vtkMRMLSliceNode") for n in ("Truth", "Student")
    )
    assert truth.GetDisplayNode().IsDisplayableInView(left.GetID())
    assert not truth.GetDisplayNode().IsDisplayableInView(right.GetID())
    assert result.GetDisplayNode().IsDisplayableInView(right.GetID())
    assert not result.GetDisplayNode().IsDisplayableInView(left.GetID())
    for node in (left, right):
        assert slicer.vtkMRMLSliceLogic.GetSliceCompositeNode(node).GetBackgroundVolumeID() == ct.GetID()


def test_truth_and_result_are_drawn_beside_each_other(panel, slice_views, trained):
    from HLFDTrainingLib.runs.run_folder import RunFolder
    from HLFDTrainingLib.slicer_scene.slicer_test_case import TruthView, load_ct, load_truth, unseen_cases

    run = RunFolder(trained)
    [case], _part = unseen_cases(run, run.plan())
    task = RunFolder(trained).plan().task
    ct = load_ct(case, task)
    truth = load_truth(case, ct, task)
    assert load_ct(case, task) is ct and load_truth(case, ct, task) is truth
    result = panel.slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "result")
    result.CreateDefaultDisplayNodes()
    for key in truth.GetSegmentation().GetSegmentIDs():
        result.GetSegmentation().CopySegmentFromSegmentation(truth.GetSegmentation(), key)
    view = TruthView(panel.slicer.mrmlScene)
    view.show(ct, truth, result)
    left, right = (slice_views.render_slice_view(f"HLFDTraining{side}") for side in ("Truth", "Student"))
    slice_views.save_slice_view("HLFDTrainingTruth", "training_truth")
    slice_views.save_slice_view("HLFDTrainingStudent", "training_student")
    colored = [int((np.ptp(side, axis=2) > 20).sum()) for side in (left.astype(int), right.astype(int))]
    # The truth is a line, the result is filled.
    assert 50 < colored[0] < colored[1] / 5
    view.restore()
    assert panel.slicer.app.layoutManager().layout == panel.slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView


def test_reading_the_truth_leaves_the_users_views(panel, trained):
    from HLFDTrainingLib.runs.run_folder import RunFolder
    from HLFDTrainingLib.slicer_scene.slicer_test_case import load_ct, load_truth, unseen_cases

    slicer, plan = panel.slicer, RunFolder(trained).plan()
    task, ([case], _part) = plan.task, unseen_cases(RunFolder(trained), plan)
    ct = load_ct(case, task)
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "PET")
    slicer.util.setSliceViewerLayers(background=other, foreground=ct)
    load_truth(case, ct, task)
    composite = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    assert (composite.GetBackgroundVolumeID(), composite.GetForegroundVolumeID()) == (other.GetID(), ct.GetID())


def corners(side) -> tuple[float, float]:
    """Where along R the left and the right border of an axial slice view lie, in mm."""
    to_ras, (width, _height, _depth) = side.mrmlSliceNode().GetXYToRAS(), side.mrmlSliceNode().GetDimensions()
    return tuple(to_ras.MultiplyPoint((x, 0, 0, 1))[0] for x in (-0.5, width - 0.5))


def test_a_dicom_case_is_loaded_by_a_slice_whatever_lies_beside(panel, trained, tmp_path, monkeypatch):
    from HLFDTrainingLib.runs.run_folder import RunFolder
    from HLFDTrainingLib.slicer_scene.slicer_test_case import load_ct, unseen_cases

    run = RunFolder(trained)
    [case], _part = unseen_cases(run, run.plan())
    for name in (".DS_Store", "DICOMDIR", "Thumbs.db", "a1.dcm", "a2.dcm"):
        (tmp_path / name).touch()
    loaded = []
    monkeypatch.setattr(panel.slicer.util, "loadVolume", lambda file: loaded.append(file) or add_ct())
    load_ct(replace(case, ct=tmp_path), RunFolder(trained).plan().task)
    assert loaded == [str(tmp_path / "a1.dcm")]


def test_the_truth_of_another_file_or_with_other_labels_is_read_anew(panel, trained, tmp_path):
    from HLFDTrainingLib.runs.run_folder import RunFolder
    from HLFDTrainingLib.slicer_scene.slicer_test_case import load_ct, load_truth, unseen_cases

    plan = RunFolder(trained).plan()
    task, ([case], _part) = plan.task, unseen_cases(RunFolder(trained), plan)
    ct = load_ct(case, task)
    truth = load_truth(case, ct, task)
    of_another_reader = replace(case, label=shutil.copy(case.label, tmp_path / "second.nii.gz"))
    one_mask = replace(case, labels={1: ("liver",), 2: ("liver",)})
    assert load_truth(case, ct, task) is truth
    assert load_truth(of_another_reader, ct, task) is not truth
    segmentation = load_truth(one_mask, ct, task).GetSegmentation()
    names = [segmentation.GetNthSegment(index).GetName() for index in range(segmentation.GetNumberOfSegments())]
    assert names == ["liver", "liver"]


def test_a_truth_that_was_corrected_in_its_file_is_read_anew(panel, trained, tmp_path):
    from HLFDTrainingLib.runs.run_folder import RunFolder
    from HLFDTrainingLib.slicer_scene.slicer_test_case import load_ct, load_truth, unseen_cases

    plan = RunFolder(trained).plan()
    task, ([case], _part) = plan.task, unseen_cases(RunFolder(trained), plan)
    case = replace(case, label=Path(shutil.copy(case.label, tmp_path / "label.nii.gz")))
    ct = load_ct(case, task)
    truth = load_truth(case, ct, task)
    assert load_truth(case, ct, task) is truth
    os.utime(case.label, ns=(1, 1))
    assert load_truth(case, ct, task) is not truth


def test_a_truth_that_was_painted_in_is_read_anew_and_one_that_was_saved_is_not(panel, trained, tmp_path):
    from HLFDTrainingLib.runs.run_folder import RunFolder
    from HLFDTrainingLib.slicer_scene.slicer_test_case import load_ct, load_truth, unseen_cases

    slicer, plan = panel.slicer, RunFolder(trained).plan()
    task, ([case], _part) = plan.task, unseen_cases(RunFolder(trained), plan)
    load_truth(case, load_ct(case, task), task)
    path = str(tmp_path / "scene.mrb")
    assert slicer.util.saveScene(path)
    slicer.mrmlScene.Clear(False)
    slicer.util.loadScene(path)
    [ct] = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    [truth] = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    assert load_truth(case, ct, task) is truth

    def tumor_of(node):
        return slicer.util.arrayFromSegmentBinaryLabelmap(node, node.GetSegmentation().GetNthSegmentID(1), ct)

    before = tumor_of(truth)
    wiped = np.zeros_like(before)
    slicer.util.updateSegmentBinaryLabelmapFromArray(wiped, truth, truth.GetSegmentation().GetNthSegmentID(1), ct)
    again = load_truth(case, ct, task)
    assert again is not truth and load_truth(case, ct, task) is again
    assert before.any() and (tumor_of(again) == before).all()


def test_without_test_cases_one_to_choose_with_is_offered_as_such(panel, trained, tmp_path):
    run = own_copy(trained, tmp_path)
    split = json.loads((run / "split.json").read_text())
    split["train"] += split.pop("test")
    (run / "split.json").write_text(json.dumps(split | {"test": []}))
    panel.panel.show(run)
    assert panel.ui.testCaseCombo.currentText == f"{split['validation'][0]} (validation)"


def test_a_case_begins_with_the_whole_slice_in_the_middle_of_its_tumor(panel, trained):
    from HLFDTrainingLib.runs.run_folder import RunFolder
    from HLFDTrainingLib.slicer_scene.slicer_test_case import TruthView, load_ct, load_truth, unseen_cases

    run = RunFolder(trained)
    [case], _part = unseen_cases(run, run.plan())
    task = RunFolder(trained).plan().task
    ct = load_ct(case, task)
    truth = load_truth(case, ct, task)
    view = TruthView(panel.slicer.mrmlScene)
    view.show(ct, truth, truth)
    sides = [panel.slicer.app.layoutManager().sliceWidget(f"HLFDTraining{side}") for side in ("Truth", "Student")]
    for side in sides:
        # In Slicer, new views get their size from the layout only now; in a narrow one a slice fitted before was cut.
        side.sliceLogic().ResizeSliceNode(200, 600)
    panel.slicer.app.processEvents()
    width = ct.GetImageData().GetDimensions()[0] * ct.GetSpacing()[0]
    assert [side.mrmlSliceNode().GetFieldOfView()[0] for side in sides] == [pytest.approx(width)] * 2
    bounds = [0.0] * 6
    ct.GetRASBounds(bounds)
    for side in sides:
        assert corners(side) == (pytest.approx(bounds[1], abs=2), pytest.approx(bounds[0], abs=2))
    center = truth.GetSegmentCenterRAS(truth.GetSegmentation().GetSegmentIDs()[-1])
    assert [side.mrmlSliceNode().GetSliceOffset() for side in sides] == [pytest.approx(center[2])] * 2
    view.restore()


def limits_of_views(slicer) -> list[bool]:
    """Of each segmentation, whether it is missing in views that are made from now on."""
    return [bool(node.GetViewNodeIDs()) for node in slicer.util.getNodesByClass("vtkMRMLSegmentationDisplayNode")]


def test_charts_and_truth_give_the_users_layout_back_in_whatever_order_they_come(panel, trained):
    from HLFDTrainingLib.runs.run_folder import RunFolder
    from HLFDTrainingLib.slicer_panels.slicer_charts import TrainingCharts
    from HLFDTrainingLib.slicer_scene.slicer_own_layout import TRUTH_LAYOUT
    from HLFDTrainingLib.slicer_scene.slicer_test_case import TruthView, load_ct, load_truth, unseen_cases

    run = RunFolder(trained)
    [case], _part = unseen_cases(run, run.plan())
    task = RunFolder(trained).plan().task
    ct = load_ct(case, task)
    truth = load_truth(case, ct, task)
    charts, view = TrainingCharts(panel.slicer.mrmlScene), TruthView(panel.slicer.mrmlScene)
    layout, users = panel.slicer.app.layoutManager(), panel.slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalView
    layout.setLayout(users)
    view.show(ct, truth, truth)
    charts.show({}, "student")
    charts.hide()
    assert layout.layout == users
    charts.show({}, "student")
    view.show(ct, truth, truth)
    charts.hide()
    assert layout.layout == TRUTH_LAYOUT
    view.restore()
    assert layout.layout == users


def test_closing_the_scene_gives_the_layout_back(panel, trained):
    from HLFDTrainingLib.runs.run_folder import RunFolder
    from HLFDTrainingLib.slicer_scene.slicer_test_case import load_ct, load_truth, unseen_cases

    run = RunFolder(trained)
    [case], _part = unseen_cases(run, run.plan())
    task = RunFolder(trained).plan().task
    ct = load_ct(case, task)
    truth = load_truth(case, ct, task)
    panel.panel._truth_view.show(ct, truth, truth)
    panel.panel.attach(None)
    assert panel.slicer.app.layoutManager().layout == panel.slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView


def red_is_shown(slicer) -> bool:
    return slicer.app.layoutManager().layout == slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView


def test_truth_and_result_are_in_all_views_again_in_another_layout_and_in_a_saved_scene(panel, trained, tmp_path):
    """They were missing in the views of every layout that was chosen later."""
    from HLFDTrainingLib.runs.run_folder import RunFolder
    from HLFDTrainingLib.slicer_scene.slicer_own_layout import look_after
    from HLFDTrainingLib.slicer_scene.slicer_test_case import TruthView, load_ct, load_truth, unseen_cases

    run = RunFolder(trained)
    [case], _part = unseen_cases(run, run.plan())
    task = RunFolder(trained).plan().task
    ct = load_ct(case, task)
    truth = load_truth(case, ct, task)
    result = panel.slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "result")
    result.CreateDefaultDisplayNodes()
    view = TruthView(panel.slicer.mrmlScene)
    view.show(ct, truth, result)
    assert limits_of_views(panel.slicer) == [True, True]
    red = panel.slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    panel.slicer.app.layoutManager().setLayout(panel.slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)
    assert limits_of_views(panel.slicer) == [False, False]
    assert not red.GetHotLinkedControl()

    view.show(ct, truth, result)
    panel.slicer.mrmlScene.InvokeEvent(panel.slicer.mrmlScene.StartImportEvent)  # a scene is added to this one
    assert limits_of_views(panel.slicer) == [False, False]
    assert red_is_shown(panel.slicer)

    view.show(ct, truth, result)
    path = str(tmp_path / "scene.mrb")
    assert panel.slicer.util.saveScene(path)
    view.restore()
    look_after(panel.slicer.mrmlScene)
    panel.slicer.mrmlScene.Clear(False)
    panel.slicer.util.loadScene(path)
    assert limits_of_views(panel.slicer) == [False, False]


def test_a_training_that_cannot_note_its_model_says_that_the_model_is_installed(panel, trained, tmp_path):
    from HLFDSegmentationLib.model_store import find_package

    run = own_copy(trained, tmp_path)
    (run / "installed.txt").mkdir()
    panel.panel.show(run)
    panel.install("noted-nowhere")
    assert find_package("noted-nowhere") and "'noted-nowhere'" in panel.message
    assert "could not be noted" in panel.message and "installed.txt" in panel.message


def test_a_name_that_was_typed_stays_until_another_training_is_shown(panel, trained, tmp_path):
    other = shutil.copytree(trained, tmp_path / "other")
    panel.panel.show(trained)
    panel.ui.installNameEdit.setText("mine")
    panel.panel.refresh()
    assert panel.ui.installNameEdit.text == "mine"
    panel.panel.show(other)
    assert panel.ui.installNameEdit.text == "other"


@pytest.mark.parametrize("name", ["", "My Livers", "../x"])
def test_a_name_that_no_model_can_have_is_refused(panel, trained, name):
    panel.panel.show(trained)
    panel.ui.installNameEdit.setText(name)
    panel.ui.installButton.click()
    assert "another model name" in panel.message and panel.ui.installButton.enabled


def test_weights_that_are_gone_are_told_when_installing(panel, trained, tmp_path):
    run = own_copy(trained, tmp_path)
    (run / "student" / "best.pt").unlink()
    panel.panel.show(run)
    panel.install("gone")
    assert "best.pt" in panel.message and not list((tmp_path / "models").glob("*"))


def test_another_runs_model_of_the_same_name_is_not_taken_for_this_ones(panel, trained, tmp_path, untrained_package):
    run = own_copy(trained, tmp_path)
    shutil.copytree(untrained_package, tmp_path / "models" / "untrained")
    (run / "installed.txt").write_text(f"untrained\n{'0' * 64}\n")
    panel.panel.show(run)
    assert not panel.ui.segmentTestCaseButton.enabled
    assert panel.ui.installNameEdit.text != "untrained"


def test_a_test_case_that_is_gone_is_told_when_segmenting(panel, trained, tmp_path, untrained_package):
    from HLFDSegmentationLib.model_store import find_package

    run = own_copy(trained, tmp_path)
    shutil.copytree(untrained_package, tmp_path / "models" / "untrained")
    weights = find_package("untrained").weights_sha256
    (run / "installed.txt").write_text(f"untrained\n{weights}\n")
    [case] = json.loads((run / "split.json").read_text())["test"]
    (run / "cases" / case / "ct.nii.gz").unlink()
    panel.panel.show(run)
    panel.ui.segmentTestCaseButton.click()
    assert case in panel.message and "gone" in panel.message
    assert panel.ui.segmentTestCaseButton.text == "Segment, and show truth"


def test_a_folder_that_is_removed_leaves_nothing_to_do(panel, trained, tmp_path):
    run = own_copy(trained, tmp_path)
    panel.panel.show(run)
    shutil.rmtree(run)
    panel.panel.refresh()
    assert not panel.ui.installButton.enabled and "not finished" in panel.ui.outcomeLabel.text


# Learning goes on


def test_without_a_corrected_segmentation_nothing_is_added(panel, trained):
    panel.panel.show(trained)
    panel.ui.addAsCaseButton.click()
    assert "no corrected segmentation" in panel.message and panel.added == []


def test_the_segmentation_in_the_editor_is_added_and_not_that_of_another_module(panel, trained):
    slicer = panel.slicer
    ct = add_ct()
    others, drawn = (add_segmentation(ct, {}, name) for name in ("others", "drawn"))
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentEditorNode").SetAndObserveSegmentationNode(others)
    open_segment_editor(slicer).SetAndObserveSegmentationNode(drawn)
    panel.panel.show(trained)
    panel.ui.addAsCaseButton.click()
    assert panel.added == [(ct, drawn)]


def open_segment_editor(slicer):
    """What Slicer's module does when it is opened, in the scene; gives its node."""
    editor = slicer.mrmlScene.GetSingletonNode("SegmentEditor", "vtkMRMLSegmentEditorNode")
    if editor is None:
        editor = slicer.vtkMRMLSegmentEditorNode()
        editor.SetSingletonTag("SegmentEditor")
        slicer.mrmlScene.AddNode(editor)
    if editor.GetSegmentationNode() is None:
        editor.SetAndObserveSegmentationNode(slicer.mrmlScene.GetFirstNode(None, "vtkMRMLSegmentationNode"))
    return editor


def end_segmenting(panel, run: Path, case, truth, ct):
    """The worker has segmented a test case; gives the result's node."""
    from HLFDSegmentationLib.slicer_scene.slicer_scene_result import SceneResult, SceneRun

    result = SceneResult(add_segmentation(ct, {}, "result"))
    result.add_run(SceneRun("my-livers"), ct)
    panel.panel._on_segmented(run, case, truth, result)
    return result.node


@pytest.mark.parametrize("opened_before", [False, True])
def test_the_segment_editor_gets_the_result_and_not_the_truth(panel, trained, opened_before):
    from HLFDTrainingLib.runs.run_folder import RunFolder
    from HLFDTrainingLib.slicer_scene.slicer_test_case import load_ct, load_truth, unseen_cases

    plan = RunFolder(trained).plan()
    task, ([case], _part) = plan.task, unseen_cases(RunFolder(trained), plan)
    panel.panel.show(trained)
    ct = load_ct(case, task)
    truth = load_truth(case, ct, task)
    if opened_before:
        assert open_segment_editor(panel.slicer).GetSegmentationNode() is truth
        panel.ui.addAsCaseButton.click()
        assert panel.added == [] and "no corrected segmentation" in panel.message
    result = end_segmenting(panel, trained, case, truth, ct)
    editor = open_segment_editor(panel.slicer)
    assert (editor.GetSegmentationNode(), editor.GetSourceVolumeNode()) == (result, ct)
    panel.ui.addAsCaseButton.click()
    assert panel.added == [(ct, result)]


def test_what_is_being_drawn_stays_in_the_segment_editor(panel, trained):
    from HLFDTrainingLib.runs.run_folder import RunFolder
    from HLFDTrainingLib.slicer_scene.slicer_test_case import load_ct, load_truth, unseen_cases

    plan = RunFolder(trained).plan()
    task, ([case], _part) = plan.task, unseen_cases(RunFolder(trained), plan)
    ct = load_ct(case, task)
    drawn = add_segmentation(ct, {}, "drawn")
    editor = open_segment_editor(panel.slicer)
    end_segmenting(panel, trained, case, load_truth(case, ct, task), ct)
    assert (editor.GetSegmentationNode(), editor.GetSourceVolumeNode()) == (drawn, None)
