"""Batches of training slices, made by helpers while a GPU trains: it would wait for a single process."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import DataLoader

from .partial_labels import Target
from .slices import SliceDataset, collate

MOST_HELPERS = 8

Requests = Sequence[tuple[int, int]]


def load_batches(
    slices: SliceDataset, steps: Sequence[Requests], helpers: int
) -> Iterator[tuple[torch.Tensor, Target]]:
    """The batch of each step, in their order. It is the same whoever makes it.

    Args:
        slices: to take them from.
        steps: the requests of each step, see `SliceDataset`.
        helpers: processes that make batches beside this one; 0 makes each here when it is asked for.
    """
    made = _made_by_helpers(slices, steps, helpers) if helpers else iter(())
    for requests in steps:
        batch = next(made, None)
        yield collate([slices[request] for request in requests]) if batch is None else batch


def _made_by_helpers(
    slices: SliceDataset, steps: Sequence[Requests], helpers: int
) -> Iterator[tuple[torch.Tensor, Target]]:
    """Ends early where helpers fail: what they could not make, such as a missing file's slice, fails here as well."""
    loader = DataLoader(
        slices,
        batch_sampler=steps,
        collate_fn=collate,
        num_workers=helpers,
        multiprocessing_context="fork",
    )
    try:
        yield from loader
    except (OSError, RuntimeError, ValueError):  # also where there is too little shared memory for the batches
        return


def helpers_for(device: torch.device, processes_here: int = 1) -> int:
    """How many helpers a training process on a device has.

    None on a CPU, whose cores the training itself takes; none where processes cannot be forked, because each would have
    to import torch and MONAI first; and none in processes that must not have children of their own.
    """
    if device.type != "cuda" or not sys.platform.startswith("linux") or multiprocessing.current_process().daemon:
        return 0
    return max(0, min(MOST_HELPERS, len(os.sched_getaffinity(0)) // processes_here - 1))
