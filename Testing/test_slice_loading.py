"""Batches of training slices, made by helper processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time

import pytest
import torch
from generated_cases import TASK, write_cases
from HLFDSegmentationLib.errors import CasesError
from HLFDTrainingLib.cases import find_cases
from HLFDTrainingLib.learning import slice_loading, stage
from HLFDTrainingLib.learning.epoch_batches import EpochBatches
from HLFDTrainingLib.learning.slice_loading import SliceLoader, helpers_for
from HLFDTrainingLib.learning.slices import SliceDataset
from HLFDTrainingLib.learning.stage import Stopped
from HLFDTrainingLib.learning.stored_slices import list_slices
from HLFDTrainingLib.plan import TrainingPlan
from HLFDTrainingLib.runs.run_folder import RunFolder
from HLFDTrainingLib.runs.run_start import start_run
from HLFDTrainingLib.split import split_by_patient
from HLFDTrainingLib.trainer import TrainingRun

CUDA = torch.device("cuda")
forking = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="helpers are forked, on Linux only")


@pytest.fixture(scope="module")
def slices(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slices")
    cases = find_cases(write_cases(folder / "cases", 2), TASK)
    return SliceDataset(list_slices(cases, TASK), TASK, folder / "cache", augmentation="anatomical", seed=3)


def steps_of(slices: SliceDataset, epoch: int) -> list[list[tuple[int, int]]]:
    return [requests for requests, _ in EpochBatches(len(slices), 3, seed=1).epoch(epoch)]


def same(one, other) -> bool:
    (images, target), (images_again, target_again) = one, other
    return (
        torch.equal(images, images_again)
        and torch.equal(target.to("cpu").classes, target_again.to("cpu").classes)
        and torch.equal(target.groups, target_again.groups)
    )


@forking
def test_helpers_make_the_batches_that_one_process_makes(slices):
    alone, helped = SliceLoader(slices, 0), SliceLoader(slices, 2)
    for epoch in range(3):
        steps = steps_of(slices, epoch)
        expected, made = list(alone.batches(steps)), list(helped.batches(steps))
        assert len(made) == len(expected) == len(steps)
        assert all(map(same, made, expected))
        assert all(target.to("cpu").classes.dtype == torch.int64 for _, target in made)


@forking
def test_helpers_stay_from_epoch_to_epoch(slices):
    loader = SliceLoader(slices, 2)
    list(loader.batches(steps_of(slices, 0)))
    before = helpers()
    list(loader.batches(steps_of(slices, 1)))
    assert before and sorted(helpers()) == sorted(before)


class OnlyHere(SliceDataset):
    """Slices of which no other process can make the fifth one of an epoch."""

    home = os.getpid()

    def __getitem__(self, request):
        if os.getpid() != self.home and request[1] == 4:
            raise OSError("no file handle left")
        return super().__getitem__(request)


class Gone(SliceDataset):
    """Slices of a case whose files were removed."""

    def __getitem__(self, request):
        raise CasesError("Case a: its CT is no longer there.")


def of_kind(kind: type[SliceDataset], slices: SliceDataset) -> SliceDataset:
    other = kind.__new__(kind)
    other.__dict__.update(slices.__dict__)
    return other


def helpers() -> list[int]:
    return [child.pid for child in multiprocessing.active_children()]


def assert_as_alone(made: list, slices: SliceDataset, epoch: int) -> None:
    expected = list(SliceLoader(slices, 0).batches(steps_of(slices, epoch)))
    assert len(made) == len(expected) and all(map(same, made, expected))


@forking
def test_where_helpers_fail_the_batches_are_made_here(slices):
    loader = SliceLoader(of_kind(OnlyHere, slices), 2)
    with pytest.warns(UserWarning, match="OSError.*without"):
        assert_as_alone(list(loader.batches(steps_of(slices, 0))), slices, 0)
    assert helpers() == []
    assert_as_alone(list(loader.batches(steps_of(slices, 1))), slices, 1)


@forking
def test_a_slice_that_cannot_be_read_is_told_as_without_helpers(slices):
    loader = SliceLoader(of_kind(Gone, slices), 2)
    with pytest.warns(UserWarning, match="without"), pytest.raises(CasesError) as caught:
        next(loader.batches(steps_of(slices, 0)))
    assert str(caught.value) == "Case a: its CT is no longer there."


@forking
def test_a_helper_that_is_killed_disturbs_nothing_but_the_next_batch(slices):
    """Its end must not come as an error in the middle of a step, where nobody expects it."""
    loader, made = SliceLoader(slices, 2), []
    list(loader.batches(steps_of(slices, 0)))
    for number in helpers():
        os.kill(number, signal.SIGKILL)
    time.sleep(0.5)  # the signal of their end is here by now
    with pytest.warns(UserWarning, match="without"):
        made += loader.batches(steps_of(slices, 1))
    assert_as_alone(made, slices, 1)


@forking
def test_what_stops_the_training_does_not_reach_its_helpers(slices):
    loader = SliceLoader(slices, 2)
    list(loader.batches(steps_of(slices, 0)))  # each has made one by then
    assert len(helpers()) == 2 and os.getpgid(0) not in map(os.getpgid, helpers())
    assert signal.getsignal(signal.SIGCHLD) in (signal.SIG_DFL, None)


def leave_no_memory(_helper: int) -> None:
    """As in a container, whose shared memory may be smaller than a few batches."""

    def full(_storage: torch.UntypedStorage) -> None:
        raise OSError("No space left on device")

    torch.UntypedStorage._share_fd_cpu_ = full


@forking
def test_too_little_shared_memory_does_not_stop_training(slices, monkeypatch):
    monkeypatch.setattr(slice_loading, "_stand_apart", leave_no_memory)
    loader = SliceLoader(slices, 2)
    with pytest.warns(UserWarning, match="without"):
        assert_as_alone(list(loader.batches(steps_of(slices, 0))), slices, 0)


@forking
def test_a_training_with_helpers_ends_as_one_without(tmp_path, monkeypatch):
    cases = find_cases(write_cases(tmp_path / "cases", 3, slices=4), TASK)
    split = split_by_patient(cases, fractions=(0.4, 0.3, 0.3), seed=1)
    plan = TrainingPlan(task=TASK, method="none", student_epochs=2, batch=3, device="cpu", seed=1)
    ends = []
    for helping in (0, 2):
        monkeypatch.setattr(stage, "helpers_for", lambda *_: helping)  # noqa: B023
        folder = RunFolder(tmp_path / f"run{helping}")
        start_run(folder, plan, cases, split)
        with pytest.raises(Stopped):
            TrainingRun(folder, stop_requested=lambda: folder.stage("student").is_dir()).run()  # noqa: B023
        TrainingRun(folder).run()
        ends.append(folder.best("student")["network"])
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    assert helpers() == []


@forking
def test_helpers_are_for_gpus_and_leave_a_core_to_the_training(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)))
    assert helpers_for(torch.device("cpu")) == 0
    assert helpers_for(CUDA) == 5
    assert helpers_for(CUDA, processes_here=2) == 2
    assert helpers_for(CUDA, processes_here=6) == 0
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(200)))
    assert helpers_for(CUDA) == slice_loading.MOST_HELPERS


@pytest.fixture
def many_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    assert helpers_for(CUDA) > 0


def test_a_process_that_must_not_have_children_has_no_helpers(monkeypatch, many_cores):
    monkeypatch.setattr(multiprocessing.current_process(), "_config", {"daemon": True})
    assert helpers_for(CUDA) == 0


def test_there_are_no_helpers_where_processes_cannot_be_forked(monkeypatch, many_cores):
    monkeypatch.setattr(sys, "platform", "win32")
    assert helpers_for(CUDA) == 0
