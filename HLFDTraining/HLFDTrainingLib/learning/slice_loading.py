"""Batches of training slices, made by helper processes while a GPU trains: it would wait for a single process."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import DataLoader

from ..partial_labels import Target
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
        self._wanted: list[list[tuple[int, int]]] = []
        self._loader = None
        if helpers:
            # The helpers stay from epoch to epoch; what an epoch wants of them is written into the list.
            self._loader = DataLoader(
                slices,
                batch_sampler=self._wanted,
                collate_fn=_shared,
                num_workers=helpers,
                multiprocessing_context="fork",
                persistent_workers=True,
                worker_init_fn=_stand_apart,
            )

    def batches(self, steps: Sequence[Requests]) -> Iterator[Batch]:
        """The batch of each step, in their order; the requests are those of `SliceDataset`."""
        self._wanted[:] = map(list, steps)
        made = self._made_by_helpers()
        for requests in steps:
            batch = next(made, None)
            yield collate([self.slices[request] for request in requests]) if batch is None else batch

    def _made_by_helpers(self) -> Iterator[Batch]:
        """Ends early where helpers fail: what is wrong with a slice is found without them, and told in its words."""
        if self._loader is None:
            return
        try:
            yield from _begun(self._loader)
        except Exception as error:
            self._loader = None
            traceback.clear_frames(error.__traceback__)  # They hold the helpers, and each takes seconds to collect.
            warnings.warn(
                f"The processes that help to make slices have failed ({type(error).__name__}). Training goes on "
                "without them: slower, with the same result.",
                stacklevel=2,
            )


def _begun(loader: DataLoader) -> Iterator[Batch]:
    """Starts the helpers, or gives them their next epoch.

    The loader would have a helper's end raise an error wherever this process is, as in the middle of a step or of
    writing a file. It is found when the next batch is asked for as well.
    """
    if threading.current_thread() is not threading.main_thread():
        return iter(loader)
    before = signal.getsignal(signal.SIGCHLD)
    try:
        return iter(loader)
    finally:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL if before is None else before)


def _stand_apart(_helper: int) -> None:
    """What stops the training, as Ctrl-C, goes to all of its group; the helpers are ended by the training itself."""
    os.setpgid(0, 0)


def _shared(samples: Sequence[Batch]) -> Batch:
    """A batch in memory that both processes see, its classes of a byte each until `Target.to`.

    It is shared here: where memory is too small for that, the loader itself would lose the batch and wait for it.
    """
    images, target = collate(samples)
    classes = target.classes.to(torch.uint8)
    return images.share_memory_(), Target(classes.share_memory_(), target.groups.share_memory_())


def helpers_for(device: torch.device, processes_here: int = 1) -> int:
    """How many helpers a training process on a device has, where so many of them train on this computer.

    None on a CPU, whose cores the training itself takes; none where processes cannot be forked, because each would have
    to import torch and MONAI first; and none in processes that must not have children of their own.
    """
    if device.type != "cuda" or not sys.platform.startswith("linux") or multiprocessing.current_process().daemon:
        return 0
    return max(0, min(MOST_HELPERS, len(os.sched_getaffinity(0)) // processes_here - 1))
