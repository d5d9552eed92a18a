"""Dice of a network on the slices of whole patients, while it is being trained."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
import torch
from torch import nn

from .partial_labels import merged_classes, representatives
from .slices import SliceDataset

_Counts = dict[str, np.ndarray]
"""For each patient (C, 3): pixels of each class in both segmentations, in the prediction and in the truth."""


@torch.no_grad()
def count_overlaps(network: nn.Module, slices: SliceDataset, numbers: Iterable[int], device: torch.device) -> _Counts:
    """Counts (C, 3) for each patient: pixels of each class in both, in the prediction and in the truth.

    Slices in which an annotator did not look for a class, or did not tell it from another, count nothing for it.
    """
    network.eval()
    counts: _Counts = defaultdict(lambda: np.zeros(()))
    for number in numbers:
        image, target = slices[(0, number)]
        logits = network(image.to(device, memory_format=torch.channels_last))
        predicted = merged_classes(logits.argmax(1).cpu(), target.groups)
        known = representatives(target.groups)[0].numpy()
        rows = np.zeros((len(known), 3))
        for label in np.flatnonzero(known):
            of_prediction, of_truth = predicted == label, target.classes == label
            both = (of_prediction & of_truth).sum()
            rows[label] = [float(both), float(of_prediction.sum()), float(of_truth.sum())]
        patient = slices.items[number].case.patient
        counts[patient] = counts[patient] + rows
    return dict(counts)


def mean_dice(counts: _Counts) -> np.ndarray:
    """Dice of each class, its mean over the patients who show it (C,); NaN where none does.

    Who is averaged over depends on the annotations alone. A network that finds something in a patient without it is
    not judged by that here: one wrong pixel would cost as much as a missed tumor.
    """
    stacked = np.stack([counts[patient] for patient in sorted(counts)])
    both, predicted, true = (stacked[..., column] for column in range(3))
    shown = true > 0
    dice = np.where(shown, 2 * both / np.where(shown, predicted + true, 1), 0)
    return np.where(shown.any(0), dice.sum(axis=0) / np.maximum(shown.sum(0), 1), np.nan)
