"""The order in which an epoch shows its slices, over one process or several."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class EpochBatches:
    """The batches of one epoch for one of several processes, each slice exactly once over all of them.

    Attributes:
        count: number of slices.
        batch: slices in a batch of one process.
        seed: of the order.
        rank: this process.
        world: number of processes.
    """

    count: int
    batch: int
    seed: int
    rank: int = 0
    world: int = 1

    def epoch(self, epoch: int) -> Iterator[tuple[list[tuple[int, int]], float]]:
        """For each step the requests of this process, and its share of the slices of the step.

        The share is what the mean loss of the requests must be multiplied by, so that the mean over the processes is
        the mean over the slices. A process without a slice in the last step gets one with share 0: it must take part.
        """
        order = np.random.default_rng([self.seed, epoch]).permutation(self.count)
        for start in range(0, self.count, self.batch * self.world):
            step = order[start : start + self.batch * self.world]
            own = step[self.rank :: self.world]
            requests = own if len(own) else step[:1]
            yield [(epoch, int(number)) for number in requests], len(own) * self.world / len(step)

    @property
    def steps(self) -> int:
        """Steps in an epoch, the same for every process."""
        return -(-self.count // (self.batch * self.world))
