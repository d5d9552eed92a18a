"""Models of earlier runs as teachers and students: what is offered is what a training takes."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from generated_cases import TASK, write_cases
from HLFDSegmentationLib.errors import TrainingError
from HLFDSegmentationLib.networks import build_network
from HLFDSegmentationLib.tasks import TASKS
from HLFDTrainingLib.cli import main
from HLFDTrainingLib.runs.given_models import given_models
from HLFDTrainingLib.runs.given_weights import check_plan
from HLFDTrainingLib.runs.run_folder import RunFolder
from training_runs import PLAN, begin_run, epoch_event, tell

CALLED_OTHERWISE = tuple(replace(label, name=f"my {label.name}", color=(1, 2, 3)) for label in TASK.labels)
BOTH = {"teacher", "student"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose teacher and student have learned an epoch."""
    return with_networks(begin_run(tmp_path_factory.mktemp("runs") / "run", cases=2))


def with_networks(run: RunFolder) -> RunFolder:
    for role in BOTH:
        network = build_network(getattr(PLAN, role), TASK.num_classes)
        run.stage(role).mkdir()
        torch.save({"network": network.state_dict(), "epoch": 1, "dice": {}}, run.stage(role) / "best.pt")
    return run


@pytest.mark.parametrize("role", sorted(BOTH))
@pytest.mark.parametrize(
    ("change", "suited"),
    [
        ({}, BOTH),
        ({"name": "mine", "title": "Mine", "input_size": (96, 96)}, BOTH),
        ({"labels": CALLED_OTHERWISE}, BOTH),
        # A student gets used to other slices while it learns.
        ({"spacing": 2.5}, {"student"}),
        ({"window": (-500.0, 500.0)}, {"student"}),
        ({"labels": TASKS["kidney-tumor"].labels}, set()),
    ],
    ids=["itself", "another name", "other names of labels", "spacing", "window", "another organ"],
)
def test_a_model_is_offered_for_the_tasks_that_it_is_taken_for(run, role, change, suited):
    task = replace(TASK, **change)
    offered = [model.source for model in given_models(role, task, run.path.parent)]
    assert (str(run.path) in offered) == (role in suited)
    with nullcontext() if role in suited else pytest.raises(TrainingError, match=f"The {role} in"):
        check_plan(replace(PLAN, task=task, **{f"{role}_weights": str(run.path)}))


def test_installed_models_of_one_title_are_told_apart(write_untrained, tmp_path, monkeypatch):
    monkeypatch.setenv("HLFD_MODELS", str(tmp_path))

    def offered() -> list[str]:
        return [model.title for model in given_models("student", TASK, tmp_path / "no runs")]

    write_untrained(tmp_path / "first", "Mine")
    write_untrained(tmp_path / "other", "Another")
    assert offered() == ["Mine", "Another"]
    write_untrained(tmp_path / "second", "Mine")
    assert offered() == ["Mine (first)", "Another", "Mine (second)"]


@pytest.mark.parametrize(
    ("command", "inside"),
    [
        (["evaluate", "cmp", "cases", "-o", "out"], "rows/NAME"),
        (["train", "cases", "-o", "out", "--student-weights", "cmp"], "rows/NAME"),
        (["train", "cases", "-o", "out", "--teacher-weights", "cmp"], "teacher"),
        (["compare", "cases", "-o", "out", "--methods", "kd", "--teacher-weights", "cmp"], "teacher"),
    ],
)
def test_a_comparison_is_answered_with_its_runs_which_know_their_patients(
    command, inside, tmp_path, monkeypatch, capsys
):
    """A model that is packaged of a run does not: it could be measured on whom it has learned from."""
    monkeypatch.chdir(tmp_path)
    write_cases(tmp_path / "cases", 3)
    (tmp_path / "cmp").mkdir()
    (tmp_path / "cmp" / "comparison.json").write_text("{}")
    task = ["--task", "liver-tumor", "--device", "cpu"]
    assert main([*command, *task]) == 1
    told = capsys.readouterr().err
    assert f"Give a run in it: {Path('cmp') / inside}." in told and "hlfd package" not in told
    assert not (tmp_path / "out").exists()


def test_a_network_that_was_hardly_trained_says_so_before_it_teaches(tmp_path, caplog):
    """It was taken like any other where its training was stopped in the first of 40 epochs."""
    run = with_networks(begin_run(tmp_path / "runs" / "run", cases=2))
    plans = [replace(PLAN, teacher_weights=str(source)) for source in (run.path, run.stage("teacher") / "best.pt")]
    tell(run, epoch_event("teacher", 1, 0.1))
    [offered] = given_models("teacher", TASK, run.path.parent)
    assert (offered.title, offered.unfinished) == ("run", (1, 2))
    for plan in plans:
        check_plan(plan)
        assert f"The teacher in {plan.teacher_weights} has learned until epoch 1 of 2 alone" in caplog.text
        caplog.clear()

    tell(run, epoch_event("teacher", 2, 0.2), epoch_event("student", 1, 0.2))
    told = [given_models(role, TASK, run.path.parent)[0].unfinished for role in ("teacher", "student")]
    assert told == [None, (1, 4)]
    for plan in plans:
        check_plan(plan)
    assert not caplog.text
