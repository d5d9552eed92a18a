"""Dice of a network on the slices of whole patients, while it is being trained."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from HLFDSegmentationLib.attention import most_likely
from HLFDSegmentationLib.devices import memory_format
from torch import nn

from ..partial_labels import Target, merged_classes, representatives
from .slices import SliceDataset, collate

Counts = dict[str, np.ndarray]
"""For each patient (C, 3): pixels of each class in both segmentations, in the prediction and in the truth."""


@torch.no_grad()
def count_overlaps(
    network: nn.Module, slices: SliceDataset, numbers: Iterable[int], device: torch.device, at_a_time: int = 1
) -> Counts:
    """Counts (C, 3) for each patient: pixels of each class in both, in the prediction and in the truth.

    Slices in which an annotator did not look for a class count nothing for it. Classes that he did not tell apart count
    together, for the first of them: a liver that was outlined with its tumors counts for the liver.
    """
    network.eval()
    counts: Counts = defaultdict(lambda: np.zeros(()))
    for batch, images, target in _same_sized(slices, numbers, at_a_time):
        logits = network(images.to(device, memory_format=memory_format(device)))
        predicted = merged_classes(most_likely(logits).cpu(), target.groups)
        for place, number in enumerate(batch):
            rows = _overlaps(predicted[place], target.classes[place], representatives(target.groups)[place])
            patient = slices.items[number].case.patient
            counts[patient] = counts[patient] + rows
    return dict(counts)


def _overlaps(predicted: torch.Tensor, truth: torch.Tensor, known: torch.Tensor) -> np.ndarray:
    """Counts (C, 3) of one slice, of classes (H, W); `known` (C,) stand for what its annotator marked."""
    rows = np.zeros((len(known), 3))
    for label in np.flatnonzero(known.numpy()).tolist():
        of_prediction, of_truth = predicted == label, truth == label
        both = (of_prediction & of_truth).sum()
        rows[label] = [float(both), float(of_prediction.sum()), float(of_truth.sum())]
    return rows


def _same_sized(
    slices: SliceDataset, numbers: Iterable[int], most: int
) -> Iterator[tuple[list[int], torch.Tensor, Target]]:
    """Slices that follow each other and have one size, at most so many at a time, and their numbers."""
    batch: list[int] = []
    samples: list[tuple[torch.Tensor, Target]] = []
    for number in numbers:
        sample = slices[(0, number)]
        if samples and (len(samples) == most or sample[0].shape != samples[0][0].shape):
            yield batch, *collate(samples)
            batch, samples = [], []
        batch.append(number)
        samples.append(sample)
    if samples:
        yield batch, *collate(samples)


def mean_dice(counts: Counts) -> np.ndarray:
    """Dice of each class, its mean over the patients who show it (C,); NaN where none does.

    Who is averaged over depends on the annotations alone. A network that finds something in a patient without it is
    not judged by that here: one wrong pixel would cost as much as a missed tumor.
    """
    stacked = np.stack([counts[patient] for patient in sorted(counts)])
    both, predicted, true = (stacked[..., column] for column in range(3))
    shown = true > 0
    dice = np.where(shown, 2 * both / np.where(shown, predicted + true, 1), 0)
    return np.where(shown.any(0), dice.sum(axis=0) / np.maximum(shown.sum(0), 1), np.nan)


def patients_showing(counts: Counts) -> np.ndarray:
    """How many patients show each class (C,): those whom `mean_dice` averages over."""
    return (np.stack(list(counts.values()))[..., 2] > 0).sum(axis=0)
