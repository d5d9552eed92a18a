"""Folders of training runs for the tests of HLFD Training's panel, programs in the trainer's place, a small stage."""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from generated_cases import TASK, write_cases
from HLFDTrainingLib.cases import find_cases
from HLFDTrainingLib.learning.slices import SliceDataset
from HLFDTrainingLib.learning.stage import Stage
from HLFDTrainingLib.learning.stored_slices import list_slices
from HLFDTrainingLib.plan import TrainingPlan
from HLFDTrainingLib.runs.processes import Processes
from HLFDTrainingLib.runs.run_folder import RunFolder
from HLFDTrainingLib.runs.run_start import start_run
from HLFDTrainingLib.split import split_by_patient
from torch import nn

PLAN = TrainingPlan(
    task=TASK,
    teacher="resnet18-unet",
    student="mobilenetv2-unet",
    method="hlfd",
    undistilled=True,
    teacher_epochs=2,
    head_epochs=1,
    student_epochs=4,
    batch=4,
    learning_rate=2e-3,
    seed=3,
    device="cpu",
)
STEPS = 10

# Stops when it is asked to, as the trainer does.
TRAINER = """
import pathlib, sys, time
print("ready", flush=True)
while not pathlib.Path(sys.argv[1], "stop").exists():
    time.sleep(0.02)
sys.exit(130)
"""


def begin(path: Path, cases_folder: Path, plan: TrainingPlan) -> RunFolder:
    """A run that is about to start."""
    folder = RunFolder(path)
    cases = find_cases(cases_folder, plan.task)
    start_run(folder, plan, cases, split_by_patient(cases, fractions=(0.5, 0.25, 0.25), seed=plan.seed))
    return folder


def begin_run(path: Path, plan: TrainingPlan = PLAN, cases: int = 4) -> RunFolder:
    """A run that is about to start, with small cases of its own."""
    return begin(path, write_cases(path / "cases", cases, slices=5), plan)


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    """The same weights to the last bit."""
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def small_stage(
    learner: nn.Module, cases: Path, folder: Path, batch: int, *, epochs: int = 1, processes: Processes | None = None
) -> Stage:
    """With five slices to learn from, and with two to validate on."""
    items = list_slices(find_cases(cases, TASK), TASK)
    training, validation = (SliceDataset(part, TASK, folder / "cache") for part in (items[:5], items[1:3]))
    return Stage(
        "student",
        folder / "student",
        learner,
        training,
        validation,
        epochs=epochs,
        plan=TrainingPlan(task=TASK, batch=batch, device="cpu"),
        device=torch.device("cpu"),
        processes=processes or Processes(),
        report=lambda event: None,
        stop_requested=lambda: False,
        shown=0,
    )


def trainer(folder: RunFolder) -> list[str]:
    """The command of a program that does nothing until it is asked to stop."""
    return [sys.executable, "-c", TRAINER, str(folder.path)]


def tell(folder: RunFolder, *events: dict) -> None:
    """Adds events as the trainer does."""
    log = folder.logging(lambda event: None)
    for event in events:
        log(event)


def plan_event(plan: TrainingPlan = PLAN) -> dict:
    """The first event of a start."""
    stages = [{"stage": name, "epochs": epochs, "steps": STEPS} for name, epochs in plan.stages.items()]
    return {"event": "plan", "stages": stages}


def epoch_event(stage: str, epoch: int, dice: float | None, plan: TrainingPlan = PLAN, seconds: float = 10.0) -> dict:
    """An epoch, the best so far; without a Dice the liver could not be measured either."""
    return {
        "event": "epoch",
        "stage": stage,
        "epoch": epoch,
        "epochs": plan.stages[stage],
        "terms": {"segmentation": 1.0 / epoch, "ufd_encoder1": 0.5 / epoch},
        "dice": {"liver": dice, "liver tumor": None if dice is None else dice / 2},
        "criterion": dice,
        "best_epoch": epoch,
        "seconds": seconds,
    }


def step_event(stage: str, epoch: int, step: int, plan: TrainingPlan = PLAN) -> dict:
    """What the trainer said last."""
    return {
        "event": "step",
        "stage": stage,
        "epoch": epoch,
        "epochs": plan.stages[stage],
        "step": step,
        "steps": STEPS,
        "seconds": 10.0 * step / STEPS,
    }


def take_away(patch: pytest.MonkeyPatch, *places: Path) -> None:
    """Makes places look as on a network disk that does not answer: Python raises instead of saying that all is gone."""
    stat = Path.stat

    def look(path: Path, **options):
        whole = Path(os.path.abspath(path))
        if not {whole, *whole.parents}.isdisjoint(places):
            raise OSError(errno.EIO, "Input/output error", str(path))
        return stat(path, **options)

    patch.setattr(Path, "stat", look)


def write_step(folder: RunFolder, event: dict) -> None:
    """Keeps the last step where the panel looks for it."""
    path = folder.path / "process" / "step.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(event), encoding="utf-8")


def write_preview(folder: RunFolder, stage: str, size: int = 64) -> None:
    """A slice with liver (1) and tumor (2) in the truth, and a prediction that sees only the liver."""
    truth = np.zeros((size, size), np.uint8)
    truth[10:40, 10:40] = 1
    truth[20:30, 20:30] = 2
    folder.stage(stage).mkdir(exist_ok=True)
    np.savez_compressed(
        folder.preview(stage),
        image=np.full((size, size), 100, np.uint8),
        truth=truth,
        prediction=np.minimum(truth, 1),
    )
