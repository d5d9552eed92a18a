"""A whole round through the panel: 12 annotated CTs in the scene become a student that segments a CT it never saw.

Slow: networks are trained on the processor for minutes. Each step leaves a screenshot, which the tutorial shows.
"""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from slicer_training_cases import TrainingModule, add_annotated_ct, forget_modules, unseen_ct

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]

CASES = 12
EPOCHS = 20
STOP_AFTER = 2
MODEL = "liver-12-cases"
WANTED_DICE = 0.7


@pytest.fixture
def home(tmp_path) -> Path:
    return tmp_path


@pytest.fixture
def start_slicer(slicer_shell, home, monkeypatch):
    """Starts Slicer with the modules; what was loaded before is gone, as after a restart."""
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("HLFD_MODELS", str(home / "models"))
    monkeypatch.setattr(sys, "path", list(sys.path))

    def start() -> TrainingModule:
        from slicer_shell import shell
        from slicer_shell.scene import clear_scene

        clear_scene()
        shell.unload_modules()
        forget_modules()
        return TrainingModule(slicer_shell, home / "trainings")

    yield start
    if worker := sys.modules.get("HLFDSegmentationLib.slicer_scene.slicer_worker"):
        worker.close_shared_worker()


def plan_small(panel: TrainingModule, *, epochs: int, name: str) -> None:
    """Networks see a whole small slice, for a few epochs."""
    panel.ui.planCollapsibleButton.collapsed = False
    panel.ui.advancedCollapsibleButton.collapsed = False
    panel.choose(panel.ui.cropCombo, "64")
    # The CPU stands last, before the worker has told of this computer's devices and after it.
    panel.choose(panel.ui.deviceCombo, panel.ui.deviceCombo.itemText(panel.ui.deviceCombo.count - 1))
    panel.choose(panel.ui.lengthCombo, "By epochs")
    panel.ui.epochsSpin.setValue(epochs)
    panel.ui.runNameEdit.setText(name)


def runs_shown(panel: TrainingModule) -> list[str]:
    return [panel.ui.runsCombo.itemText(index) for index in range(panel.ui.runsCombo.count)]


def state(panel: TrainingModule) -> str:
    from HLFDTrainingLib.runs.run_state import state_of

    return state_of(panel.widget.trainingPanel.shown).name


def dice(found: np.ndarray, truth: np.ndarray) -> float:
    return 2 * np.sum(found & truth) / (found.sum() + truth.sum())


def test_a_whole_round(start_slicer, slice_views):
    panel = start_slicer()
    gather_cases(panel)
    see_what_it_takes(panel)
    run = train_and_stop(panel)
    panel = go_on_over_restarts(start_slicer, run)
    look_at_the_result(panel, run)
    install(panel)
    segment_an_unseen_ct(panel, slice_views)
    plan_to_go_on(panel, run)


def gather_cases(panel: TrainingModule) -> None:
    for number in range(CASES):
        add_annotated_ct(number, f"CT {number + 1}", f"Patient {number + 1}")
    panel.ui.addFromSceneButton.click()
    panel.wait(lambda: panel.ui.casesTable.rowCount == CASES, 60)
    panel.ui.checkButton.click()
    panel.wait(lambda: panel.ui.checkButton.enabled and not panel.widget.casesPanel.problem, 120)
    assert not panel.message
    panel.picture("training_cases", "cases")


def see_what_it_takes(panel: TrainingModule) -> None:
    plan_small(panel, epochs=EPOCHS, name="Liver tumors, 12 cases")
    panel.ui.undistilledCheck.setChecked(True)
    panel.ui.estimateButton.click()
    panel.wait(lambda: panel.ui.estimateButton.text != "Cancel", 300)
    assert not panel.message
    assert "The whole training: about" in panel.ui.estimateLabel.text
    panel.picture("training_plan", "plan")


def train_and_stop(panel: TrainingModule) -> Path:
    """Trains the teacher for some epochs; gives the folder of the run."""
    panel.ui.trainButton.click()
    panel.wait(lambda: panel.ui.trainButton.text == "Stop", 300)
    run = panel.widget.trainingPanel.shown
    assert run == panel.runs_folder / "Liver tumors_ 12 cases"
    panel.wait(lambda: len(epochs_of(run, "teacher")) >= STOP_AFTER, 900)
    panel.ui.showChartsButton.setChecked(True)
    panel.wait(lambda: not panel.ui.previewLabel.pixmap.isNull(), 60)
    panel.picture("training_running", "run")
    panel.ui.trainButton.click()
    panel.wait(lambda: state(panel) == "stopped", 120)
    panel.wait(lambda: panel.ui.continueButton.enabled, 30)
    panel.picture("training_stopped", "run")
    return run


def go_on_over_restarts(start_slicer, run: Path) -> TrainingModule:
    """Slicer is started anew while the training is stopped, and again while it goes on."""
    panel = start_slicer()
    assert panel.widget.trainingPanel.shown == run
    assert runs_shown(panel) == ["Liver tumors, 12 cases (stopped)"]
    panel.ui.continueButton.click()
    panel.wait(lambda: panel.ui.trainButton.text == "Stop", 60)
    panel = start_slicer()
    assert panel.widget.trainingPanel.shown == run
    assert panel.ui.trainButton.text == "Stop"
    panel.wait(lambda: state(panel) != "running", 2400)
    panel.wait(lambda: "finished" in panel.ui.stageLabel.text, 30)
    assert len(epochs_of(run, "teacher")) == len(epochs_of(run, "student")) == EPOCHS
    return panel


def look_at_the_result(panel: TrainingModule, run: Path) -> None:
    panel.ui.showChartsButton.setChecked(True)
    panel.picture("training_finished", "run")
    panel.ui.compareButton.click()
    panel.wait(lambda: panel.ui.outcomeTable.rowCount > 0, 600)
    models = {model["stage"]: model for model in json.loads((run / "comparison.json").read_text())["models"]}
    assert set(models) == {"teacher", "student", "undistilled"}
    measured = {stage: model["labels"]["liver tumor"]["dice"]["mean"] for stage, model in models.items()}
    print("Tumor Dice on the test cases:", measured)
    assert measured["student"] >= WANTED_DICE


def install(panel: TrainingModule) -> None:
    panel.ui.installNameEdit.setText(MODEL)
    panel.ui.installButton.click()
    panel.wait(lambda: "Installed into HLFD Segmentation" in panel.ui.outcomeLabel.text, 300)
    panel.ui.segmentTestCaseButton.click()
    panel.wait(lambda: "Dice of this case" in panel.ui.outcomeLabel.text, 300)
    assert not panel.message
    panel.picture("training_result", "result")


def segment_an_unseen_ct(panel: TrainingModule, slice_views) -> None:
    from HLFDSegmentation import HLFDSegmentationLogic

    slicer = panel.slicer
    ct, truth = unseen_ct(seed=100)
    result = HLFDSegmentationLogic().segment(ct, model=MODEL, device="cpu")
    key = result.node.GetSegmentation().GetSegmentIdBySegmentName("liver tumor")
    tumor = slicer.util.arrayFromSegmentBinaryLabelmap(result.node, key, ct) > 0
    found = dice(tumor, truth == 2)
    print("Tumor Dice on the unseen CT:", found)
    assert found >= WANTED_DICE
    for segmentation in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
        segmentation.SetDisplayVisibility(segmentation is result.node)
    ct.GetDisplayNode().SetAutoWindowLevel(False)
    ct.GetDisplayNode().SetWindowLevel(350, 40)
    slicer.util.setSliceViewerLayers(background=ct, fit=True)
    slice_views.save_slice_view("Red", "training_unseen")


def plan_to_go_on(panel: TrainingModule, run: Path) -> None:
    panel.ui.addAsCaseButton.click()
    panel.wait(lambda: panel.ui.casesTable.rowCount == 1, 30)
    assert panel.message.startswith("Added to the cases: ")
    panel.ui.continueFromStudentButton.click()
    assert panel.plan["student_weights"] == panel.plan["teacher_weights"] == str(run)


def epochs_of(run: Path, stage: str) -> list[int]:
    from HLFDTrainingLib.runs.run_events import all_events

    events = all_events(run / "events.jsonl")
    return [event["epoch"] for event in events if event["event"] == "epoch" and event["stage"] == stage]


def start_small_training(panel: TrainingModule) -> Path:
    """A training with four cases; gives its folder."""
    for number in range(4):
        add_annotated_ct(number, f"CT {number + 1}", f"Patient {number + 1}")
    panel.ui.addFromSceneButton.click()
    panel.wait(lambda: panel.ui.trainButton.enabled, 60)
    panel.ui.trainButton.click()
    panel.wait(lambda: panel.message or (panel.widget.trainingPanel.shown and state(panel) == "running"), 300)
    assert not panel.message
    return panel.widget.trainingPanel.shown


def test_a_time_budget_becomes_epochs(start_slicer):
    panel = start_slicer()
    plan_small(panel, epochs=1, name="By time")
    panel.choose(panel.ui.lengthCombo, "By time")
    panel.ui.hoursSpin.setValue(0.5)
    run = start_small_training(panel)
    panel.ui.trainButton.click()
    panel.wait(lambda: state(panel) == "stopped", 120)
    plan, estimate = (json.loads((run / name).read_text()) for name in ("plan.json", "estimate.json"))
    assert estimate["epochs"] == {stage: plan[f"{stage}_epochs"] for stage in ("teacher", "head", "student")}
    assert plan["teacher_epochs"] > 1 and 0.5 * 1800 < estimate["total"] <= 1800


def test_the_same_plan_through_the_panel_and_hlfd_train_gives_the_same_weights(start_slicer, home):
    panel = start_slicer()
    plan_small(panel, epochs=1, name="Panel")
    run = start_small_training(panel)
    panel.wait(lambda: state(panel) == "finished", 600)
    again = home / "again"
    again.mkdir()
    for name in ("plan.json", "cases.json", "split.json"):
        shutil.copy(run / name, again / name)
    shutil.copytree(run / "data", again / "data")
    subprocess.run(
        [sys.executable, "-m", "HLFDTrainingLib.cli", "train", "--resume", "-o", str(again)], check=True, timeout=600
    )
    for stage in ("teacher", "student"):
        assert hash_of(again / stage / "best.pt") == hash_of(run / stage / "best.pt")


def hash_of(file: Path) -> str:
    weights = torch.load(file, weights_only=True)["network"]
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        digest.update(name.encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
