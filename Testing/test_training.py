"""Training runs: what they learn, and that stopping, killing and resuming lose nothing."""

from __future__ import annotations

import json
import math
import os
import platform
import resource
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from generated_cases import TASK, write_cases
from HLFDSegmentationLib.errors import CasesError, TrainingError
from HLFDTrainingLib.cli import main
from HLFDTrainingLib.learning.stage import Stopped
from HLFDTrainingLib.plan import TrainingPlan
from HLFDTrainingLib.runs.run_folder import RunFolder
from HLFDTrainingLib.runs.stop_signal import STOPPING, StopSignal
from HLFDTrainingLib.trainer import TrainingRun
from torch import nn
from training_runs import assert_same, begin, small_stage, take_away

PLAN = TrainingPlan(
    task=TASK,
    teacher="mobilenetv2-unet",
    student="mobilenetv2-unet",
    method="hlfd",
    teacher_epochs=2,
    head_epochs=1,
    student_epochs=2,
    batch=4,
    learning_rate=2e-3,
    seed=3,
    device="cpu",
)


@pytest.fixture(scope="module")
def cases_folder(tmp_path_factory):
    return write_cases(tmp_path_factory.mktemp("cases"), 4, slices=5)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, cases_folder):
    """A run that was never interrupted, and its events."""
    folder = begin(tmp_path_factory.mktemp("runs") / "whole", cases_folder, PLAN)
    events = []
    TrainingRun(folder, report=events.append).run()
    return folder, events


def weights(folder: RunFolder) -> dict[str, torch.Tensor]:
    return {
        f"{stage}.{file}.{name}": value
        for stage in ("teacher", "head", "student")
        for file in ("last", "best")
        for name, value in torch.load(folder.stage(stage) / f"{file}.pt", weights_only=True)[
            "learner" if file == "last" else "network"
        ].items()
    }


def assert_same_weights(one: RunFolder, other: RunFolder) -> None:
    assert_same(weights(one), weights(other))


def test_run_trains_teacher_head_and_student_and_says_so(finished):
    folder, events = finished
    assert [(event["stage"], event["epoch"]) for event in events if event["event"] == "epoch"] == [
        ("teacher", 1),
        ("teacher", 2),
        ("head", 1),
        ("student", 1),
        ("student", 2),
    ]
    terms = next(event["terms"] for event in events if event["event"] == "epoch" and event["stage"] == "student")
    assert {"segmentation", "ufd_encoder1", "ifd_encoder2", "ipd_decoder2"} <= terms.keys()
    assert folder.result()["student"] == "mobilenetv2-unet"
    assert folder.result()["validation_dice"].keys() == {"liver", "liver tumor"}


def test_a_run_tells_what_it_was_begun_with(finished):
    versions = next(event["software"] for event in finished[1] if event["event"] == "plan")
    assert (
        torch.__version__.startswith(versions["torch"].split("+")[0])
        and versions["python"] == platform.python_version()
    )
    assert versions.keys() == {"hlfd", "python", "torch", "monai", "SimpleITK", "numpy"}


def test_slices_are_not_kept_after_a_finished_run(finished):
    assert not finished[0].cache.exists()


def test_saved_student_holds_the_student_alone(finished):
    names = torch.load(finished[0].stage("student") / "best.pt", weights_only=True)["network"]
    assert all(name.startswith("body.") for name in names)


def place(event: dict) -> tuple[str | None, str]:
    """Where a run is that has told this last: after the last step of an epoch it validates."""
    validates = event["event"] == "step" and event["step"] == event["steps"]
    return event.get("stage"), "validation" if validates else event["event"]


def stop_at(wanted: tuple[str, str], folder: RunFolder) -> None:
    """Goes on with a run until it is there."""
    told = []
    with pytest.raises(Stopped):
        TrainingRun(folder, report=told.append, stop_requested=lambda: bool(told) and place(told[-1]) == wanted).run()


def test_run_that_was_stopped_everywhere_ends_bitwise_as_an_uninterrupted_one(finished, cases_folder, tmp_path):
    folder = begin(tmp_path / "run", cases_folder, PLAN)
    everywhere = [(stage, what) for stage in ("teacher", "head", "student") for what in ("step", "validation", "epoch")]
    everywhere.remove(("head", "epoch"))  # it has only one
    for wanted in everywhere:
        stop_at(wanted, folder)
    TrainingRun(folder).run()
    assert_same_weights(folder, finished[0])


def test_the_students_code_is_loaded_before_the_first_stage(cases_folder, tmp_path, monkeypatch):
    """An update of the extension may exchange its file while the teacher is trained."""
    run = begin(tmp_path / "run", cases_folder, PLAN)
    name = "HLFDSegmentationLib.networks.mobilenetv2_unet"
    monkeypatch.delitem(sys.modules, name, raising=False)

    def reading(_run):
        assert name in sys.modules
        raise Stopped

    monkeypatch.setattr(TrainingRun, "read_slices", reading)
    with pytest.raises(Stopped):
        TrainingRun(run).run()


def test_a_started_folder_is_not_started_again(finished, cases_folder):
    with pytest.raises(TrainingError, match="--resume"):
        begin(finished[0].path, cases_folder, PLAN)


def test_loss_that_is_no_number_stops_with_a_remedy(cases_folder, tmp_path):
    folder = begin(tmp_path / "run", cases_folder, replace(PLAN, method="none", learning_rate=1e30, student_epochs=30))
    with pytest.raises(TrainingError, match="lower learning rate"):
        TrainingRun(folder).run()


@pytest.mark.slow
def test_student_learns_what_the_cases_show(tmp_path, cases_folder):
    plan = replace(PLAN, method="none", student_epochs=25, learning_rate=5e-3)
    folder = begin(tmp_path / "run", cases_folder, plan)
    assert TrainingRun(folder).run()["validation_dice"]["liver"] > 0.8


def test_teacher_weights_of_another_run_are_taken(finished, cases_folder, tmp_path):
    plan = replace(PLAN, teacher_weights=str(finished[0].path), student_epochs=1)
    folder = begin(tmp_path / "run", cases_folder, plan)
    events = []
    TrainingRun(folder, report=events.append).run()
    assert {event["stage"] for event in events if event["event"] == "epoch"} == {"head", "student"}
    taught = finished[0].best("teacher")["network"]
    given = torch.load(folder.given("teacher"), weights_only=True)["network"]
    assert taught.keys() == given.keys() and all(torch.equal(taught[name], given[name]) for name in taught)


def test_teacher_weights_of_another_network_are_refused(finished, cases_folder, tmp_path):
    plan = replace(PLAN, teacher="resnet50-unet", teacher_weights=str(finished[0].path))
    with pytest.raises(TrainingError, match="is no resnet50-unet"):
        TrainingRun(begin(tmp_path / "run", cases_folder, plan)).run()


def test_a_network_disk_that_does_not_answer_does_not_end_a_training(cases_folder, tmp_path, monkeypatch):
    """After every step it looks whether it is asked to stop."""
    folder = begin(tmp_path / "run", cases_folder, PLAN)
    run = TrainingRun(folder)
    folder.stop_file.touch()
    with monkeypatch.context() as away:
        take_away(away, folder.path)
        assert not run.stop_requested()
    assert run.stop_requested()


def test_a_case_on_a_disk_that_does_not_answer_is_named(tmp_path, monkeypatch):
    cases = write_cases(tmp_path / "cases", 4, slices=5)
    run = TrainingRun(begin(tmp_path / "run", cases, PLAN))

    def lose_the_disk() -> None:
        take_away(monkeypatch, cases)
        raise OSError("the disk does not answer")

    monkeypatch.setattr(run, "read_slices", lose_the_disk)
    with pytest.raises(CasesError, match=r"Case case\d: .* is no longer there.*Put it back and continue"):
        run.run()


# The command, as a process that is stopped and killed


@pytest.fixture(scope="module")
def task_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("task") / "task.json"
    path.write_text(json.dumps(TASK.to_dict()))
    return path


def train_command(*arguments: str | Path, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "HLFDTrainingLib.cli", "train", *map(str, arguments), "--json"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        **options,
    )


def read_until(process: subprocess.Popen, wanted) -> list[dict]:
    events = []
    for line in process.stdout:
        events.append(json.loads(line))
        if wanted(events[-1]):
            return events
    raise AssertionError(f"the process ended with {process.wait()} before the awaited event")


def start_arguments(cases_folder: Path, run: Path, task_file: Path) -> list:
    options = ["--method", "none", "--epochs", 3, "--batch", 2, "--device", "cpu"]
    return [cases_folder, "-o", run, "--task", task_file, *options]


def finish(run: Path, capsys) -> list[dict]:
    """In this process: another one would import torch again."""
    capsys.readouterr()
    assert main(["train", "-o", str(run), "--resume", "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stop_signal_leaves_a_checkpoint_to_go_on_from(cases_folder, task_file, tmp_path, number, capsys):
    run = tmp_path / "run"
    process = train_command(*start_arguments(cases_folder, run, task_file), stderr=subprocess.PIPE)
    read_until(process, lambda event: event["event"] == "step" and event["step"] == 2)
    process.send_signal(number)
    rest, told = process.communicate(timeout=120)
    assert process.returncode == 130
    assert (STOPPING in told.splitlines()) == (number == signal.SIGINT)
    assert json.loads(rest.splitlines()[-1])["event"] == "stopped"
    first = next(event for event in finish(run, capsys) if event["event"] == "step")
    assert (first["epoch"], first["step"]) > (1, 2)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_second_signal_ends_at_once(number):
    """While the first one waits for the next step, which may hang."""
    code = (
        "import signal, time\n"
        "from HLFDTrainingLib.runs.stop_signal import StopSignal\n"
        "with StopSignal() as stop:\n"
        f"    signal.raise_signal({int(number)})\n"
        "    print(stop.requested, flush=True)\n"
        f"    signal.raise_signal({int(number)})\n"
        "    print('still here', flush=True)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.stdout == "True\n"
    assert ended.returncode == -number


def test_a_closed_terminal_stops_a_training_though_it_says_so_twice_and_not_one_under_nohup():
    with StopSignal() as stop:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGHUP):
            signal.raise_signal(number)
        assert stop.requested
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignal() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop.requested
    finally:
        signal.signal(signal.SIGHUP, before)


def test_full_disk_stops_with_a_sentence_and_loses_nothing(cases_folder, task_file, tmp_path, capsys):
    """A limit on the size of files stands for the full disk: slices fit, checkpoints do not."""
    run = tmp_path / "run"
    command = [sys.executable, "-m", "HLFDTrainingLib.cli", "train"]
    process = subprocess.run(
        [*command, *map(str, start_arguments(cases_folder, run, task_file))],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
    )
    assert process.returncode == 1
    assert "could not be written" in process.stderr and "--resume" in process.stderr
    assert "Traceback" not in process.stderr
    assert not list(run.rglob("*.part"))
    assert finish(run, capsys)[-1]["event"] == "finished"


def test_finished_run_is_not_trained_again(finished):
    events = []
    result = TrainingRun(finished[0], report=events.append).run()
    assert [event["event"] for event in events] == ["finished"]
    assert result == finished[0].result()


def test_bad_cases_are_told_in_a_table_before_any_training(task_file, tmp_path, capsys):
    folder = write_cases(tmp_path / "cases", 2)
    (folder / "case0" / "ct.nii.gz").write_bytes(b"no image")
    assert main(["train", str(folder), "-o", str(tmp_path / "run"), "--task", str(task_file)]) == 1
    told = capsys.readouterr().err
    assert "case0" in told and "start again" in told
    assert "Traceback" not in told
    assert not (tmp_path / "run" / "plan.json").exists()


def test_the_best_epoch_is_kept_and_not_the_last(cases_folder, tmp_path, monkeypatch):
    dice = iter((0.2, 0.9, 0.4))

    def of_background_and_two_labels(counts):
        one = next(dice)
        return np.array([-9 * one, one, one])

    monkeypatch.setattr("HLFDTrainingLib.learning.stage.mean_dice", of_background_and_two_labels)
    folder = begin(tmp_path / "run", cases_folder, replace(PLAN, method="none", student_epochs=3))
    result = TrainingRun(folder).run()
    assert (result["best_epoch"], result["criterion"]) == (2, pytest.approx(0.9))
    assert folder.best("student")["epoch"] == 2
    last = torch.load(folder.stage("student") / "last.pt", weights_only=True)["learner"]
    best = folder.best("student")["network"]
    assert any(not torch.equal(value, last[f"student.{name}"]) for name, value in best.items())


def test_the_best_teacher_and_the_best_head_teach_and_not_the_last(cases_folder, tmp_path, monkeypatch):
    dice = iter((0.9, 0.2) * 2)
    monkeypatch.setattr("HLFDTrainingLib.learning.stage.mean_dice", lambda counts: np.full(3, next(dice)))
    folder = begin(tmp_path / "run", cases_folder, replace(PLAN, teacher="mobilenetv2-unet", head_epochs=2))
    run = TrainingRun(folder)
    slices = run.read_slices()
    teacher = run.trained_teacher(*slices)
    head = run.trained_head(teacher, *slices)
    for stage, taken in {"teacher": teacher.state_dict(), "head": head.state_dict(prefix="head.")}.items():
        best = folder.best(stage)
        last = torch.load(folder.stage(stage) / "last.pt", weights_only=True)["learner"]
        assert best["epoch"] == 1 and best["network"].keys() == taken.keys()
        assert all(torch.equal(value, taken[name]) for name, value in best["network"].items())
        assert any(not torch.equal(value, last[f"student.{name}"]) for name, value in taken.items())


# A learner of two weights, of which one is drawn to 1 by the labels and one by the teacher


class TwoWeights(nn.Module):
    def __init__(self, strength: float = 1.0):
        super().__init__()
        self.student = nn.Conv2d(1, TASK.num_classes, 1)
        self.weights = nn.Parameter(torch.zeros(2))
        self.strength = strength

    def trainable_parameters(self):
        return [self.weights]

    def forward(self, images, _target):
        labels, teacher = self.strength * (self.weights - 1) ** 2
        return self.student(images), {"segmentation": labels, "taught": teacher}


class InfinitelySteep(TwoWeights):
    """Where its weights are 0, as at first: the loss is 0 and its gradient infinite."""

    def forward(self, images, _target):
        labels, teacher = self.weights.sqrt()
        return self.student(images), {"segmentation": labels, "taught": teacher}


@pytest.fixture
def stage_of(cases_folder, tmp_path):
    """A stage of two epochs with five steps each."""
    return lambda learner: small_stage(learner, cases_folder, tmp_path, 1, epochs=2)


def test_a_student_follows_its_labels_and_its_teacher(stage_of):
    learner = TwoWeights()
    stage_of(learner).run()
    from_labels, from_teacher = learner.weights.tolist()
    assert 0 < from_labels < 1 and 0 < from_teacher < 1


def test_the_learning_rate_rises_to_the_plans_and_falls_to_nearly_nothing(stage_of):
    stage, rates = stage_of(TwoWeights()), []

    def note(event: dict) -> None:
        if event["event"] == "step":
            rates.append(stage.optimizer.param_groups[0]["lr"] / stage.plan.learning_rate)

    stage.report = note
    stage.run()
    assert rates[:3] == pytest.approx([0.5, 1, 1]) and len(rates) == 10
    assert rates[2:] == sorted(rates[2:], reverse=True) and rates[6] == pytest.approx(0.5) and 0 < rates[-1] < 0.05


@pytest.mark.parametrize(("strength", "length"), [(1, math.sqrt(8)), (1e6, 5)])
def test_a_step_that_would_throw_the_network_far_is_shortened(stage_of, strength, length):
    """The gradient of the first step, of both weights: -2 of (w - 1)^2 at w = 0, times the strength."""
    learner, lengths = TwoWeights(strength), []
    stage = stage_of(learner)
    stage.report = lambda event: lengths.append(float(learner.weights.grad.norm()))
    stage.run()
    assert lengths[0] == pytest.approx(length)


def test_a_gradient_that_is_no_number_stops_before_it_is_learned_from(stage_of):
    learner = InfinitelySteep()
    stage = stage_of(learner)
    with pytest.raises(TrainingError, match=r"gradient of the student is no longer a number .* lower learning rate"):
        stage.run()
    assert learner.weights.tolist() == [0, 0] and not stage.last.exists()


def test_a_step_of_float16_whose_gradient_is_no_number_is_passed_over(stage_of):
    """The scaler tries steps that are too large, and takes smaller ones from then on."""
    learner = InfinitelySteep()
    stage = stage_of(learner)
    stage.scaler = torch.amp.GradScaler("cpu")
    stage.run()
    assert learner.weights.tolist() == [0, 0]
