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
WANTED_DICE = 0.7


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def start_slicer(slicer_shell, home, monkeypatch):
    """Starts Slicer with the modules; what was loaded before is gone, as after a restart."""
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("HLFD_MODELS", str(home / "models"))
    monkeypatch.setattr(sys, "path", list(sys.path))

    def start() -> TrainingModule:
        from slicer_shell import shell

        shell.clear_scene()
        shell.unload_modules()
        forget_modules()
        return TrainingModule(slicer_shell, home / "trainings")

    yield start
    if worker := sys.modules.get("HLFDSegmentationLib.slicer_worker"):
        worker.close_shared_worker()


def annotate(count: int) -> None:
    for number in range(count):
        add_annotated_ct(number, f"CT {number + 1}", f"Patient {number + 1}")


def plan_small(panel: TrainingModule, *, epochs: int, name: str) -> None:
    """Networks see a whole small slice, for a few epochs."""
    panel.ui.advancedCollapsibleButton.collapsed = False
    panel.choose(panel.ui.cropCombo, "64")
    panel.choose(panel.ui.deviceCombo, "Processor" if panel.ui.deviceCombo.count == 2 else "CPU")
    panel.choose(panel.ui.lengthCombo, "By epochs")
    panel.ui.epochsSpin.setValue(epochs)
    panel.ui.runNameEdit.setText(name)


def runs_shown(panel: TrainingModule) -> list[str]:
    return [panel.ui.runsCombo.itemText(index) for index in range(panel.ui.runsCombo.count)]


def stage_and_epoch(panel: TrainingModule) -> str:
    return panel.ui.stageLabel.text


def state(panel: TrainingModule) -> str:
    from HLFDTrainingLib.run_state import state_of

    return state_of(panel.widget.trainingPanel.shown).name


def dice(found: np.ndarray, truth: np.ndarray) -> float:
    return 2 * np.sum(found & truth) / (found.sum() + truth.sum())


def tumor_of(slicer, result, ct) -> np.ndarray:
    key = result.node.GetSegmentation().GetSegmentIdBySegmentName("liver tumor")
    return slicer.util.arrayFromSegmentBinaryLabelmap(result.node, key, ct) > 0


def test_a_whole_round(start_slicer, slice_views):
    # Annotated cases come into the table, and are checked.
    panel = start_slicer()
    slicer = panel.slicer
    annotate(CASES)
    panel.ui.addFromSceneButton.click()
    panel.wait(lambda: panel.ui.casesTable.rowCount == CASES, 60)
    panel.ui.checkButton.click()
    panel.wait(lambda: panel.ui.checkButton.enabled and not panel.widget.casesPanel.ready, 120)
    assert not panel.message
    panel.picture("training_1_cases", "cases")

    # The plan, and what it takes.
    plan_small(panel, epochs=EPOCHS, name="Liver tumors, 12 cases")
    panel.ui.undistilledCheck.setChecked(True)
    panel.ui.estimateButton.click()
    panel.wait(lambda: panel.ui.estimateButton.text != "Cancel", 300)
    assert not panel.message
    assert "The whole training: about" in panel.ui.estimateLabel.text
    panel.picture("training_2_plan", "plan")

    # Training, stopped in the middle of the teacher.
    panel.ui.trainButton.click()
    panel.wait(lambda: panel.ui.trainButton.text == "Stop", 300)
    run = panel.widget.trainingPanel.shown
    assert run.name == "Liver tumors_ 12 cases" and run.parent == panel.runs_folder
    panel.wait(lambda: (run / "teacher" / "preview.npz").is_file(), 300)
    panel.ui.showChartsButton.setChecked(True)
    panel.wait(lambda: not panel.ui.previewLabel.pixmap.isNull(), 60)
    panel.picture("training_3_running", "run")
    panel.ui.trainButton.click()
    panel.wait(lambda: state(panel) == "stopped", 120)
    panel.wait(lambda: panel.ui.continueButton.enabled, 30)
    panel.picture("training_4_stopped", "run")

    # Slicer is closed and opened again: the training is found, and goes on; closed once more meanwhile.
    panel = start_slicer()
    assert panel.widget.trainingPanel.shown == run
    assert runs_shown(panel) == ["Liver tumors, 12 cases (stopped)"]
    panel.ui.continueButton.click()
    panel.wait(lambda: panel.ui.trainButton.text == "Stop", 60)
    panel = start_slicer()
    assert panel.widget.trainingPanel.shown == run
    assert panel.ui.trainButton.text == "Stop"
    panel.wait(lambda: state(panel) != "running", 2400)
    assert state(panel) == "finished"
    panel.wait(lambda: "finished" in stage_and_epoch(panel), 30)
    panel.ui.showChartsButton.setChecked(True)
    slicer.app.processEvents()
    panel.picture("training_5_finished", "run")

    # The result, measured on the test cases.
    panel.ui.compareButton.click()
    panel.wait(lambda: (run / "comparison.json").is_file() and panel.ui.outcomeTable.rowCount > 0, 600)
    models = {model["stage"]: model for model in json.loads((run / "comparison.json").read_text())["models"]}
    assert set(models) == {"teacher", "student", "undistilled"}
    measured = {stage: model["labels"]["liver tumor"]["dice"]["mean"] for stage, model in models.items()}
    print("tumor Dice on the test cases:", measured)
    assert measured["student"] >= WANTED_DICE
    panel.picture("training_6_result", "result")

    # Installed, it segments a test case, with the truth beside it.
    panel.ui.installNameEdit.setText("liver-12-cases")
    panel.ui.installButton.click()
    panel.wait(lambda: "Installed into HLFD Segmentation" in panel.ui.outcomeLabel.text, 300)
    panel.ui.segmentTestCaseButton.click()
    panel.wait(lambda: panel.ui.segmentTestCaseButton.text == "Segment, and show truth", 300)
    assert not panel.message
    panel.picture("training_7_installed", "result")

    # And a CT of a patient whom it has never seen.
    ct, truth = unseen_ct(seed=100)
    segmentation_logic = (
        slicer.modules.HLFDSegmentationWidget.logic
        if hasattr(slicer.modules, "HLFDSegmentationWidget")
        else sys.modules["HLFDSegmentation"].HLFDSegmentationLogic()
    )
    result = segmentation_logic.segment(ct, model="liver-12-cases", device="cpu")
    found = dice(tumor_of(slicer, result, ct), truth == 2)
    print("tumor Dice on the unseen CT:", found)
    assert found >= WANTED_DICE
    slicer.util.setSliceViewerLayers(background=ct, fit=True)
    slice_views.save_slice_view("Red", "training_8_unseen")


def test_the_same_plan_through_the_panel_and_hlfd_train_gives_the_same_weights(start_slicer, home):
    panel = start_slicer()
    annotate(4)
    panel.ui.addFromSceneButton.click()
    panel.wait(lambda: panel.ui.casesTable.rowCount == 4, 60)
    plan_small(panel, epochs=1, name="Panel")
    panel.ui.trainButton.click()
    panel.wait(lambda: panel.widget.trainingPanel.shown is not None, 300)
    panel.wait(lambda: state(panel) == "finished", 600)
    run = panel.widget.trainingPanel.shown
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
