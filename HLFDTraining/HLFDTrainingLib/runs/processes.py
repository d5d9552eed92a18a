"""One or several training processes, as torchrun starts them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from HLFDSegmentationLib.devices import choose_device
from HLFDSegmentationLib.errors import InputError
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

LONGEST_WAIT = timedelta(days=1)
"""The first process checks all cases while the others wait for it; torch's own limit of minutes is for steps."""


@dataclass(frozen=True)
class Processes:
    """This process among those that train together.

    Attributes:
        rank: number of this process; 0 writes the files.
        world: how many there are.
        local_rank: number of this process on its machine, which is its GPU.
        local_world: how many there are on its machine.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    local_world: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes files and reports."""
        return self.rank == 0

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module with its gradients averaged over the processes."""
        return DistributedDataParallel(module) if self.world > 1 else module

    def share_buffers(self, module: nn.Module) -> None:
        """Gives every process the first one's buffers, such as the means that normalisation layers have seen."""
        if self.world > 1:
            for buffer in module.buffers():
                distributed.broadcast(buffer, src=0)

    def gather(self, value: Any) -> list[Any]:
        """Every process's value, in the order of ranks."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        distributed.all_gather_object(values, value)
        return values

    def any(self, value: bool) -> bool:
        """Whether it is true in any process."""
        return any(self.gather(value))

    def wait(self) -> None:
        """Returns when every process has come here."""
        if self.world > 1:
            distributed.barrier()


@contextmanager
def joined_processes(device: str = "auto") -> Iterator[Processes]:
    """Joins the other processes where torchrun started this one, and leaves them at the end.

    Args:
        device: that they train on, see `choose_device`.

    Raises:
        InputError: this computer has no such device, fewer GPUs than processes, or one GPU is meant for all.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Processes()
        return
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    local_world = int(os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"]))
    if ":" in device and local_world > 1:
        raise InputError(
            f"Several processes cannot share {device}: each needs a graphics card of its own. Use --device cuda."
        )
    own = choose_device(device, local_rank)
    if own.type == "cuda":
        torch.cuda.set_device(own)
    # torch for Windows has no NCCL.
    backend = "nccl" if own.type == "cuda" and distributed.is_nccl_available() else "gloo"
    distributed.init_process_group(backend, timeout=LONGEST_WAIT)
    try:
        yield Processes(distributed.get_rank(), distributed.get_world_size(), local_rank, local_world)
    finally:
        distributed.destroy_process_group()
