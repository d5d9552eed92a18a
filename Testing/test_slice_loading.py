"""Batches of training slices, made by helper processes."""

from __future__ import annotations

import multiprocessing
import os
import sys

import pytest
import torch
from generated_cases import TASK, write_cases
from HLFDSegmentationLib.errors import CasesError
from HLFDTrainingLib import slice_loading
from HLFDTrainingLib.cases import find_cases
from HLFDTrainingLib.slice_loading import SliceLoader, helpers_for
from HLFDTrainingLib.slices import EpochBatches, SliceDataset, list_slices

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
    before = {child.pid for child in multiprocessing.active_children()}
    list(loader.batches(steps_of(slices, 1)))
    assert before and {child.pid for child in multiprocessing.active_children()} == before


class OnlyHere(SliceDataset):
    """Slices that no other process can make."""

    home = os.getpid()

    def __getitem__(self, request):
        if os.getpid() != self.home:
            raise OSError("no memory to share")
        return super().__getitem__(request)


def of_kind(kind: type[SliceDataset], slices: SliceDataset) -> SliceDataset:
    other = kind.__new__(kind)
    other.__dict__.update(slices.__dict__)
    return other


@forking
def test_where_helpers_fail_the_batches_are_made_here(slices):
    loader = SliceLoader(of_kind(OnlyHere, slices), 2)
    for epoch in range(2):
        steps = steps_of(slices, epoch)
        assert all(map(same, loader.batches(steps), SliceLoader(slices, 0).batches(steps)))


class Gone(SliceDataset):
    """Slices of a case whose files were removed."""

    def __getitem__(self, request):
        raise CasesError("Case a: its CT is no longer there.")


@forking
def test_a_slice_that_cannot_be_read_is_told_as_without_helpers(slices):
    loader = SliceLoader(of_kind(Gone, slices), 2)
    with pytest.raises(CasesError) as caught:
        next(loader.batches(steps_of(slices, 0)))
    assert str(caught.value) == "Case a: its CT is no longer there."


@forking
def test_helpers_are_for_gpus_and_leave_a_core_to_the_training(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)))
    assert helpers_for(torch.device("cpu")) == 0
    assert helpers_for(CUDA) == 5
    assert helpers_for(CUDA, processes_here=2) == 2
    assert helpers_for(CUDA, processes_here=6) == 0
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(200)))
    assert helpers_for(CUDA) == slice_loading.MOST_HELPERS


def test_a_process_that_must_not_have_children_has_no_helpers(monkeypatch):
    monkeypatch.setattr(multiprocessing.current_process(), "_config", {"daemon": True})
    assert helpers_for(CUDA) == 0


def test_there_are_no_helpers_where_processes_cannot_be_forked(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    assert helpers_for(CUDA) == 0
