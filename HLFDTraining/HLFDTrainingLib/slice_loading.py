"""Batches of training slices, made by helper processes while a GPU trains: it would wait for a single process."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import DataLoader

from .partial_labels import Target
from .slices import SliceDataset, collate

MOST_HELPERS = 10

Requests = Sequence[tuple[int, int]]
Batch = tuple[torch.Tensor, Target]


class SliceLoader:
    """Makes the batches of a stage. A batch is the same whoever makes it.

    Args:
        slices: to take them from.
        helpers: processes that make batches beside this one; 0 makes each here when it is asked for.
    """

    def __init__(self, slices: SliceDataset, helpers: int) -> None:
        self.slices = slices
        self._wanted: list[Requests] = []
        self._loader = None
        if helpers:
            # They stay from epoch to epoch, and read from the list which batches an epoch has.
            self._loader = DataLoader(
                slices,
                batch_sampler=self._wanted,
                collate_fn=_small,
                num_workers=helpers,
                multiprocessing_context="fork",
                persistent_workers=True,
            )

    def batches(self, steps: Sequence[Requests]) -> Iterator[Batch]:
        """The batch of each step, in their order; the requests are those of `SliceDataset`."""
        self._wanted[:] = steps
        made = self._made_by_helpers()
        for requests in steps:
            batch = next(made, None)
            yield collate([self.slices[request] for request in requests]) if batch is None else batch

    def _made_by_helpers(self) -> Iterator[Batch]:
        """Ends early where helpers fail, as for too little shared memory."""
        if self._loader is None:
            return
        try:
            yield from self._loader
        except Exception:  # What is wrong with a slice is found here again, and told without a helper's traceback.
            self._loader = None


def _small(samples: Sequence[Batch]) -> Batch:
    """A batch whose classes take a byte each on their way from one process to another, see `Target.to`."""
    images, target = collate(samples)
    return images, Target(target.classes.to(torch.uint8), target.groups)


def helpers_for(device: torch.device, processes_here: int = 1) -> int:
    """How many helpers a training process on a device has.

    None on a CPU, whose cores the training itself takes; none where processes cannot be forked, because each would have
    to import torch and MONAI first; and none in processes that must not have children of their own.
    """
    if device.type != "cuda" or not sys.platform.startswith("linux") or multiprocessing.current_process().daemon:
        return 0
    return max(0, min(MOST_HELPERS, len(os.sched_getaffinity(0)) // processes_here - 1))
