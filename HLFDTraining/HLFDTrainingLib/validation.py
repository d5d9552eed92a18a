"""Dice of a network on the slices of whole cases, while it is being trained."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
import torch
from torch import nn

from .partial_labels import merged_classes, representatives
from .slices import SliceDataset

# For each case and label: voxels in both segmentations, in the prediction, in the truth.
_Counts = dict[str, np.ndarray]


@torch.no_grad()
def count_overlaps(network: nn.Module, slices: SliceDataset, numbers: Iterable[int], device: torch.device) -> _Counts:
    """Counts (C, 3) for each case: pixels of each class in both, in the prediction and in the truth.

    Classes that a case's annotator did not look for, or did not tell apart, hold NaN.
    """
    network.eval()
    counts: _Counts = defaultdict(lambda: np.zeros(()))
    for number in numbers:
        image, target = slices[(0, number)]
        logits = network(image.to(device, memory_format=torch.channels_last))
        predicted = merged_classes(logits.argmax(1).cpu(), target.groups)
        known = representatives(target.groups)[0].numpy()
        rows = np.full((len(known), 3), np.nan)
        for label in np.flatnonzero(known):
            of_prediction, of_truth = predicted == label, target.classes == label
            both = (of_prediction & of_truth).sum()
            rows[label] = [float(both), float(of_prediction.sum()), float(of_truth.sum())]
        counts[slices.items[number].case.name] = counts[slices.items[number].case.name] + rows
    return dict(counts)


def case_dice(counts: _Counts) -> np.ndarray:
    """Dice of each class, its mean over the cases (C,); NaN where no case has or shows the class."""
    stacked = np.stack([counts[name] for name in sorted(counts)])
    total = stacked[..., 1] + stacked[..., 2]
    dice = np.where(total > 0, 2 * stacked[..., 0] / np.where(total > 0, total, 1), np.nan)
    measured = ~np.isnan(dice)
    return np.where(measured.any(0), np.nansum(dice, axis=0) / np.maximum(measured.sum(0), 1), np.nan)
