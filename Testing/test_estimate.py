"""What is told of a run before it is begun: time, memory and disk."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import SimpleITK as sitk
import torch
from generated_cases import TASK, blob_case, write_cases
from HLFDSegmentationLib.errors import TrainingError
from HLFDSegmentationLib.output import private_folder
from HLFDTrainingLib.cases import find_cases
from HLFDTrainingLib.cli import main
from HLFDTrainingLib.distillers.none import NoDistillation
from HLFDTrainingLib.estimate import (
    SHARES,
    Estimate,
    disk_problem,
    epochs_for,
    estimate,
    memory_problem,
    seconds_with_helpers,
)
from HLFDTrainingLib.learning.memory import DeviceMemory, available_memory, held_memory, peak_memory
from HLFDTrainingLib.learning.stage import Stage, Stopped
from HLFDTrainingLib.plan import TrainingPlan
from HLFDTrainingLib.runs.run_folder import RunFolder
from HLFDTrainingLib.runs.run_start import start_run
from HLFDTrainingLib.split import split_by_patient
from HLFDTrainingLib.trainer import TrainingRun

PLAN = TrainingPlan(
    task=TASK,
    teacher="resnet18-unet",
    teacher_epochs=3,
    head_epochs=1,
    student_epochs=2,
    undistilled=True,
    batch=2,
    device="cpu",
)
ALONE = replace(PLAN, method="none", undistilled=False)


@pytest.fixture(scope="module")
def cases_folder(tmp_path_factory):
    return write_cases(tmp_path_factory.mktemp("cases"), 4, slices=3)


def split_of(cases_folder: Path):
    return split_by_patient(find_cases(cases_folder, TASK), fractions=(0.5, 0.25, 0.25))


@pytest.fixture(scope="module")
def measured(cases_folder, tmp_path_factory):
    """An estimate, its folder, its events, and the state of the random numbers before and after."""
    folder = tmp_path_factory.mktemp("disk") / "run"
    events = []
    before = torch.random.get_rng_state()
    found = estimate(PLAN, split_of(cases_folder), folder, events.append)
    return found, folder, events, before, torch.random.get_rng_state()


def test_estimate_tells_every_stage_of_the_plan(measured):
    found, _, events, _, _ = measured
    assert list(found.seconds) == ["reading", "teacher", "head", "student", "undistilled"]
    assert min(found.seconds.values()) > 0
    assert found.total == pytest.approx(sum(found.seconds.values()))
    assert found.seconds["teacher"] == pytest.approx(3 * found.epoch_seconds["teacher"])
    told = [event["stage"] for event in events if event["event"] == "measuring"]
    assert told == ["reading", "teacher", "head", "student", "undistilled"]
    assert found.warnings == ()


def test_the_labels_of_all_cases_are_read_under_the_user_s_eyes(measured):
    """That takes seconds a case, and minutes where there are hundreds."""
    _, _, events, _, _ = measured
    read = [(event["done"], event["of"]) for event in events if event["event"] == "reading"]
    assert read == [(0, 3), (1, 3), (2, 3), (3, 3)]  # the test case is not read
    assert [event["event"] for event in events[:4]] == ["measuring", "reading", "reading", "reading"]


def test_estimating_leaves_no_trace(measured):
    _, folder, _, before, after = measured
    assert not folder.exists()
    assert torch.equal(before, after)


def test_disk_is_what_the_run_takes(cases_folder, tmp_path):
    """Checkpoints and slices, with one checkpoint written beside the former."""
    folder = RunFolder(tmp_path / "run")
    split = split_of(cases_folder)
    found = estimate(ALONE, split, folder.path)
    start_run(folder, replace(ALONE, student_epochs=1), [*split.train, *split.validation, *split.test], split)
    taken = []

    def look(event: dict) -> None:
        if event["event"] == "epoch":
            taken.append(sum(path.stat().st_size for path in folder.path.rglob("*") if path.is_file()))

    TrainingRun(folder, report=look).run()
    beside = (folder.stage("student") / "last.pt").stat().st_size
    assert found.disk_bytes == pytest.approx(taken[0] + beside, rel=0.02)


def test_the_largest_case_may_be_one_without_any_label(tmp_path):
    folder = write_cases(tmp_path / "cases", 3, slices=3)
    split = split_by_patient(find_cases(folder, TASK), fractions=(0.7, 0.3, 0.0))
    ct, label = blob_case(7, slices=9)
    for image, path in ((ct, split.train[0].ct), (label * 0, split.train[0].label)):
        sitk.WriteImage(image, str(path))
    assert estimate(ALONE, split, tmp_path / "run").total > 0


def test_the_estimate_of_a_run_that_was_begun_is_of_what_is_left(cases_folder, tmp_path, capsys):
    folder = RunFolder(tmp_path / "my run")
    split = split_of(cases_folder)
    start_run(folder, replace(ALONE, student_epochs=3), [*split.train, *split.validation, *split.test], split)
    best = folder.stage("student") / "best.pt"
    with pytest.raises(Stopped):
        TrainingRun(folder, report=folder.logging(lambda event: None), stop_requested=best.is_file).run()
    command = ["train", "-o", str(folder.path), "--resume", "--estimate", "--json"]
    assert main(command) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (of_what_is_left,) = (event for event in told if event["event"] == "estimate")
    assert of_what_is_left["epochs"] == {"student": 2}
    assert main([*command, "--hours", "1"]) == 1
    assert "Leave out --hours" in capsys.readouterr().err
    with pytest.raises(TrainingError, match=f"train -o '{re.escape(str(folder.path))}' --resume"):
        folder.result()


def test_a_begun_run_is_estimated_without_the_source_of_its_weights(cases_folder, tmp_path):
    """It has kept them, and goes on without their source."""
    from HLFDSegmentationLib.networks import build_network

    folder, split = RunFolder(tmp_path / "run"), split_of(cases_folder)
    plan = replace(ALONE, student_weights=str(tmp_path / "removed.pt"))
    start_run(folder, plan, [*split.train, *split.validation, *split.test], split)
    network = build_network(plan.student, TASK.num_classes)
    folder.given("student").parent.mkdir()
    torch.save({"network": network.state_dict()}, folder.given("student"))
    assert estimate(plan, split, folder.path).total > 0


def test_a_run_whose_training_has_not_begun_is_fitted_into_a_time(cases_folder, tmp_path, capsys):
    """HLFD Training asks so where the user gives hours."""
    folder = RunFolder(tmp_path / "run")
    split = split_of(cases_folder)
    start_run(folder, replace(ALONE, student_epochs=1), [*split.train, *split.validation, *split.test], split)
    assert main(["train", "-o", str(folder.path), "--resume", "--estimate", "--json", "--hours", "0.5"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (fitted,) = (event for event in told if event["event"] == "estimate")
    assert fitted["epochs"]["student"] > 1 and 0.5 * 1800 < fitted["total"] <= 1800
    assert folder.plan().student_epochs == 1


def test_an_estimate_whose_process_is_ended_leaves_nothing_for_good(cases_folder, tmp_path, monkeypatch):
    """The slices in its folder are of patients; the next private folder removes those of dead processes."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    run, split = RunFolder(tmp_path / "run"), split_of(cases_folder)
    start_run(run, ALONE, [*split.train, *split.validation, *split.test], split)
    code = """
import os, sys
from HLFDTrainingLib import cli, trainer
trainer.TrainingRun.read_slices = lambda self: os._exit(7)
cli.main(["train", "-o", sys.argv[1], "--resume", "--estimate"])
"""
    environment = {**os.environ, "TMPDIR": str(temporary)}
    ended = subprocess.run([sys.executable, "-c", code, run.path], env=environment, check=False)
    (left,) = temporary.iterdir()
    assert ended.returncode == 7 and (left / "run").is_dir()
    monkeypatch.setattr(private_folder, "NEW_SECONDS", -1)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    with private_folder.PrivateFolder() as folder:
        assert list(temporary.iterdir()) == [folder.path]
    assert not any(temporary.iterdir())


def test_memory_is_at_least_that_of_the_networks(measured):
    assert 100e6 < measured[0].memory_bytes < psutil.virtual_memory().total


def test_weights_that_do_not_fit_are_told_by_the_estimate(cases_folder, tmp_path):
    with pytest.raises(TrainingError, match=r"missing\.pt"):
        estimate(replace(ALONE, student_weights="missing.pt"), split_of(cases_folder), tmp_path / "run")


def test_too_little_disk_names_the_folder_and_a_remedy(tmp_path):
    assert disk_problem(10**18, tmp_path / "not" / "yet" / "there").count("another disk") == 1
    assert disk_problem(1, tmp_path) is None


def test_too_little_memory_names_a_batch_that_fits():
    memory = DeviceMemory(torch.device("cpu"))
    assert "such as 4" in memory_problem(memory.limit + 1, memory, 4)
    assert memory_problem(memory.limit, memory, 4) is None


def test_no_larger_batch_is_tried_than_may_fit_and_its_memory_is_reckoned(tmp_path, monkeypatch):
    folder = write_cases(tmp_path / "cases", 4, slices=8)
    tried, step = [], Stage.train_step

    def noting(self, parallel, requests, *rest):
        tried.append(len(requests))
        step(self, parallel, requests, *rest)

    monkeypatch.setattr(Stage, "train_step", noting)
    monkeypatch.setattr(DeviceMemory, "peak", lambda self: 1_000_000 * max(tried, default=0))
    limit = property(lambda self: 5_000_000, lambda self, value: None)
    monkeypatch.setattr(DeviceMemory, "limit", limit, raising=False)
    found = estimate(replace(ALONE, batch=8), split_of(folder), folder)
    assert max(tried) == 4
    assert found.memory_bytes == 8_000_000 and "such as 4" in found.warnings[0]


def test_memory_of_a_graphics_card_is_the_most_of_every_stage_and_of_all_its_parts(cases_folder, monkeypatch):
    """There the peak is begun anew with each stage; the teacher's validation takes most here."""
    held, overlaps, step = [], Stage.overlaps, Stage.train_step

    def validated(self, numbers):
        held.append(3_000_000 if self.name == "teacher" else 1_000_000)
        return overlaps(self, numbers)

    def trained(self, *arguments):
        held.append(2_000_000)
        step(self, *arguments)

    monkeypatch.setattr(DeviceMemory, "begin", lambda self: held.clear())
    monkeypatch.setattr(DeviceMemory, "peak", lambda self: max(held, default=0))
    monkeypatch.setattr(Stage, "overlaps", validated)
    monkeypatch.setattr(Stage, "train_step", trained)
    assert estimate(PLAN, split_of(cases_folder), cases_folder).memory_bytes == 3_000_000


@pytest.mark.skipif(sys.platform == "darwin", reason="a Mac does not tell what a process holds now")
def test_memory_that_was_given_back_counts_once():
    """What a check of cases held before is no memory that a training may take besides what is free."""
    large = np.ones(50_000_000)
    assert held_memory() > large.nbytes
    del large
    assert held_memory() < peak_memory() - 300_000_000


def test_memory_of_this_computer_is_known():
    assert available_memory() == pytest.approx(psutil.virtual_memory().available, rel=0.2)
    before = peak_memory()
    assert before >= psutil.Process().memory_info().rss * 0.9
    more = before - psutil.Process().memory_info().rss + 200_000_000
    taken = torch.ones(more // 4)
    assert peak_memory() > before + 100_000_000
    del taken


def test_on_a_mac_training_is_not_offered_more_memory_than_there_is(monkeypatch):
    """A Mac tells how much it has, and not how much of that is free."""
    monkeypatch.setattr(sys, "platform", "darwin")
    assert 0 < DeviceMemory(torch.device("cpu")).limit <= psutil.virtual_memory().total


# Epochs for a time budget

MEASURED = Estimate(
    epochs={"teacher": 40, "head": 2, "student": 60},
    epoch_seconds={"teacher": 10.0, "head": 4.0, "student": 5.0},
    reading_seconds=100.0,
    memory_bytes=1,
    disk_bytes=1,
)


def test_budget_is_divided_by_the_fixed_shares():
    plan, fitted = epochs_for(1100, replace(PLAN, undistilled=False), MEASURED)
    assert (plan.teacher_epochs, plan.head_epochs, plan.student_epochs) == (45, 12, 100)
    assert 1000 < fitted.total <= 1100 and fitted.warnings == ()
    assert sum(SHARES.values()) == pytest.approx(1)


def test_two_students_share_their_part():
    seconds = {**MEASURED.epoch_seconds, "undistilled": 5.0}
    measured = replace(MEASURED, epochs={**MEASURED.epochs, "undistilled": 60}, epoch_seconds=seconds)
    plan, fitted = epochs_for(1100, PLAN, measured)
    assert plan.student_epochs == 50
    assert fitted.total <= 1100


def test_share_of_a_teacher_that_is_given_goes_to_the_others():
    measured = replace(MEASURED, epochs={"head": 2, "student": 60})
    plan, fitted = epochs_for(1100, replace(PLAN, undistilled=False, teacher_weights="elsewhere"), measured)
    assert plan.student_epochs == 181
    assert fitted.total <= 1100


def test_budget_too_short_for_one_epoch_of_each_stage_is_told():
    plan, fitted = epochs_for(60, replace(PLAN, undistilled=False), MEASURED)
    assert (plan.teacher_epochs, plan.head_epochs, plan.student_epochs) == (1, 1, 1)
    assert "60 seconds do not suffice" in fitted.warnings[-1]


# The command


@pytest.fixture
def arguments(cases_folder, tmp_path):
    task = tmp_path / "task.json"
    task.write_text(json.dumps(TASK.to_dict()))
    options = ["--task", task, "--method", "none", "--batch", 2, "--device", "cpu"]
    return [str(argument) for argument in ["train", cases_folder, "-o", tmp_path / "run", *options]]


def test_command_tells_an_estimate_and_trains_nothing(arguments, tmp_path, capsys):
    assert main([*arguments, "--estimate", "--epochs", "7"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["event"] == "estimate" and told["epochs"] == {"student": 7}
    assert told["total"] == pytest.approx(sum(told["seconds"].values()), abs=0.2)
    assert not (tmp_path / "run").exists()


def test_command_trains_for_a_time_and_keeps_the_epochs_in_the_plan(arguments, tmp_path, capsys):
    # No machine is so fast that a training fits into a millisecond.
    assert main([*arguments, "--hours", "0.0000003"]) == 0
    run = RunFolder(tmp_path / "run")
    told = run.read("estimate.json")
    assert run.plan().student_epochs == told["epochs"]["student"] == 1
    assert "do not suffice" in told["warnings"][0]
    assert main(["train", "-o", str(run.path), "--resume", "--hours", "1"]) == 1
    assert "keeps its cases and its plan" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", ["0", "-1", "nan", "soon"])
def test_command_refuses_a_time_that_is_none(arguments, wrong, capsys):
    with pytest.raises(SystemExit):
        main([*arguments, f"--hours={wrong}"])
    assert "hours" in capsys.readouterr().err


@pytest.mark.parametrize(("helpers", "expected"), [(0, 9.0), (2, 4.0), (16, 1.0)])
def test_with_helpers_a_step_takes_what_takes_longer(helpers, expected):
    assert seconds_with_helpers(loading=8.0, step=1.0, helpers=helpers) == expected


def test_too_little_memory_for_the_smallest_batch_is_told_at_once(cases_folder, monkeypatch):
    def crowded(self, *arguments):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(NoDistillation, "forward", crowded)
    split = split_of(cases_folder)
    with pytest.raises(TrainingError, match=r"the student with 2 slices a step\. Close other programs"):
        estimate(replace(ALONE, batch=8), split, cases_folder)
