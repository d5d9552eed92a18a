"""Slices that support each other: a two-dimensional network's probabilities, averaged over neighboring slices."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch

SIGMA_MM = 2.5
"""Of the Gaussian that weighs the slices. Chosen on two whole CTs, see docs/default_model.md."""

REACH = 2.5
"""In sigmas; slices further away do not count."""

MOST_SLICES = 12
"""On either side: enough for slices 0.5 mm apart, and an end where a CT tells a spacing that is none."""

SMALLEST = 1e-12
"""Probabilities below are as good as none, and have a logarithm."""


class NeighboringSlices:
    """Means a network's probabilities over neighboring slices, while the slices come in their order.

    What is seen in one thin slice alone is mostly noise; an organ or a lesion goes on in the next one. The weight of a
    slice at z mm from the one in question is exp(-z^2 / (2 `SIGMA_MM`^2)), divided by the sum of the weights of the
    slices that there are. Blank slices, which show nothing, do not count: what lies beside them would seem doubtful.

    Args:
        blank: which slices are, bool (count,).
        spacing_mm: from slice to slice.
    """

    def __init__(self, blank: np.ndarray, spacing_mm: float) -> None:
        self._blank = blank
        self._count = count = len(blank)
        self._reach = min(math.floor(REACH * SIGMA_MM / spacing_mm), MOST_SLICES, count - 1)
        self._weights = [math.exp(-((z * spacing_mm / SIGMA_MM) ** 2) / 2) for z in range(self._reach + 1)]
        self._probabilities: dict[int, torch.Tensor] = {}

    def averaged(self, start: int, logits: torch.Tensor) -> Iterator[tuple[int, torch.Tensor]]:
        """Takes the next slices, and gives those whose neighbors are all known now.

        Where this was broken off, the same slices, or the first of them, may be given again: nothing is left out then.

        Args:
            start: number of the first slice.
            logits: of the network (n, num_classes, H, W).

        Yields:
            The number of a slice and the logarithms of its averaged probabilities (1, num_classes, H, W). Without a
            neighbor in reach, its logits as they came.
        """
        stop = start + len(logits)
        if self._reach == 0:
            yield from zip(range(start, stop), logits.split(1))
            return
        self._probabilities.update(zip(range(start, stop), logits.softmax(dim=1)))
        first = max(0, start - self._reach)
        for passed in [number for number in self._probabilities if number < first - self._reach]:
            del self._probabilities[passed]
        for number in range(first, self._count if stop == self._count else stop - self._reach):
            yield number, self._mean(number, logits.device).clamp_(min=SMALLEST).log_()[None]

    def _mean(self, number: int, device: torch.device) -> torch.Tensor:
        reached = range(max(0, number - self._reach), min(self._count, number + self._reach + 1))
        neighbors = [neighbor for neighbor in reached if self._blank[neighbor] == self._blank[number]]
        weights = [self._weights[abs(neighbor - number)] for neighbor in neighbors]
        mean = torch.zeros_like(self._probabilities[number], device=device)
        for neighbor, weight in zip(neighbors, weights):
            mean.add_(self._probabilities[neighbor].to(device), alpha=weight / sum(weights))
        return mean
