"""Runs a network over the slices of a CT within the memory there is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext

import numpy as np
import torch

from ..devices import is_out_of_memory, memory_format, release_memory
from ..errors import HLFDError, MemoryShortError
from ..networks.network import SegmentationNetwork

# A CPU is as fast with one slice at a time, and needs a third of the memory.
CPU_BATCH = 1
GPU_BATCH = 8

NO_NUMBERS = (
    "The model gives values that are no numbers for this CT. Its weights are damaged or unfit: "
    "use another model, or train it again."
)


class NetworkRunner:
    """Runs a network over slices in batches as large as the memory holds: halved, then on the CPU.

    Args:
        network: it stays on the device where it ran last.
        device: where to begin.

    Attributes:
        device: where it runs now.
    """

    def __init__(self, network: SegmentationNetwork, device: torch.device) -> None:
        self._network = network
        self._batch = CPU_BATCH if device.type == "cpu" else GPU_BATCH
        self._half = device.type == "cuda"
        self._notes: dict[str, str] = {}
        try:
            self._use(device)
        except (RuntimeError, MemoryError) as error:
            if device.type == "cpu" or not is_out_of_memory(error):
                raise
            # Not even the network fits, as while another program fills the memory.
            self._batch = 1
            self._take_less()

    @property
    def notes(self) -> list[str]:
        """Sentences on memory and precision that did not suffice."""
        return list(self._notes.values())

    def _use(self, device: torch.device) -> None:
        self.device = device
        # torch's hints do not know of a module's memory format.
        self._network.to(device, memory_format=memory_format(device))  # type: ignore[call-overload]

    def to_device(self, images: np.ndarray) -> torch.Tensor:
        """Slices (n, 1, H, W) where the network runs."""
        return torch.from_numpy(images).to(self.device, memory_format=memory_format(self.device))

    def logits(self, images: np.ndarray) -> torch.Tensor:
        """Logits float32 of slices (n, 1, H, W) in [0, 1].

        Raises:
            HLFDError: they are no numbers.
        """
        precision = torch.autocast("cuda", torch.float16) if self._half else nullcontext()
        with torch.inference_mode(), precision:
            logits = self._network(self.to_device(images)).float()
        if torch.isfinite(logits).all():
            # Not every torch has antialiased resampling on Apple's GPUs.
            return logits.cpu() if self.device.type == "mps" else logits
        if self._half:
            self._half = False
            self._notes["precision"] = (
                "The network's numbers were too large for half precision; it ran in full precision."
            )
            return self.logits(images)
        raise HLFDError(NO_NUMBERS)

    def run(
        self,
        indices: np.ndarray | range,
        work: Callable[[int, int], Iterator[float]],
        done: Callable[[float], None],
    ) -> None:
        """Goes through the steps of `work(start, stop)` until every slice of `indices` (ascending) was in a batch.

        Each step yields the share of its batch that is done, the last one 1. `done` is told after every step.

        Raises:
            MemoryShortError: the memory does not suffice for a single slice on the CPU.
        """
        position = 0
        while position < len(indices):
            start = int(indices[position])
            after = position + 1
            while after < len(indices) and int(indices[after]) < start + self._batch:
                after += 1
            share = 0.0
            for share in self._within_memory(work(start, int(indices[after - 1]) + 1)):
                done((position + share * (after - position)) / len(indices))
            if share == 1:
                position = after

    def _within_memory(self, steps: Iterator[float]) -> Iterator[float]:
        """The steps, until the memory does not suffice; then the next batch is made smaller."""
        try:
            yield from steps
            return
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        # Not before the error is gone, whose traceback holds the tensors of the steps.
        self._take_less()

    def _take_less(self) -> None:
        release_memory()
        if self._batch > 1:
            self._batch //= 2
            self._notes["memory"] = (
                f"The memory of {self.device} was too small for the usual number of slices at a time; "
                f"{self._batch} at a time were computed."
            )
        elif self.device.type != "cpu":
            self._notes["memory"] = f"The memory of {self.device} was too small; the CPU computed the rest."
            self._half = False
            self._use(torch.device("cpu"))
        else:
            raise MemoryShortError(
                "There is not enough memory to run the network on a single slice. "
                "Close other programs, or use a computer with more memory."
            )
