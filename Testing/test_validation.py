"""Dice by which the best network of a training is chosen."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from generated_cases import TASK, write_cases
from HLFDTrainingLib.cases import find_cases
from HLFDTrainingLib.learning.slices import SliceDataset
from HLFDTrainingLib.learning.stored_slices import list_slices
from HLFDTrainingLib.learning.validation import count_overlaps, mean_dice, patients_showing
from torch import nn

LIVER, TUMOR = 1, 2


def of_patient(liver: tuple[int, int, int], tumor: tuple[int, int, int]) -> np.ndarray:
    """Pixels in both, in the prediction and in the truth."""
    return np.array([(0, 0, 0), liver, tumor], float)


def test_dice_is_the_mean_over_the_patients():
    found = mean_dice({"a": of_patient((50, 100, 100), (4, 8, 8)), "b": of_patient((90, 100, 80), (0, 0, 8))})
    assert found[LIVER] == pytest.approx((0.5 + 1.0) / 2)
    assert found[TUMOR] == pytest.approx((0.5 + 0.0) / 2)


@pytest.mark.parametrize("wrong_pixels", [0, 1, 500])
def test_what_is_found_in_a_patient_without_it_does_not_change_who_is_averaged_over(wrong_pixels):
    found = mean_dice({"ill": of_patient((9, 9, 9), (8, 10, 10)), "well": of_patient((9, 9, 9), (0, wrong_pixels, 0))})
    assert found[TUMOR] == pytest.approx(0.8)


def test_it_is_counted_who_is_averaged_over():
    counts = {"ill": of_patient((9, 9, 9), (8, 10, 10)), "well": of_patient((9, 9, 9), (0, 5, 0))}
    assert patients_showing(counts).tolist() == [0, 2, 1]


def test_a_label_that_no_patient_shows_has_no_dice():
    found = mean_dice({"a": of_patient((9, 9, 9), (0, 0, 0)), "b": of_patient((9, 9, 9), (0, 3, 0))})
    assert math.isnan(found[TUMOR]) and found[LIVER] == 1


class Everywhere(nn.Module):
    """Finds one label in every pixel."""

    def __init__(self, label: int) -> None:
        super().__init__()
        self.label = label

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(len(images), TASK.num_classes, *images.shape[2:])
        logits[:, self.label] = 1
        return logits


def test_slices_of_one_patient_count_together(tmp_path):
    patients = ("a", "a", "b")
    found = find_cases(write_cases(tmp_path / "cases", len(patients), slices=2), TASK)
    cases = [replace(case, patient=patient) for case, patient in zip(found, patients)]
    slices = SliceDataset(list_slices(cases, TASK), TASK, tmp_path / "cache")
    counts = count_overlaps(Everywhere(LIVER), slices, range(len(slices)), torch.device("cpu"))
    assert set(counts) == set(patients)
    for patient in counts:
        own = [slices[(0, n)][1].classes for n, item in enumerate(slices.items) if item.case.patient == patient]
        pixels, true = sum(one.numel() for one in own), sum(int((one == LIVER).sum()) for one in own)
        assert counts[patient][LIVER].tolist() == [true, pixels, true]


class Liverish(nn.Module):
    """Liver where a slice is bright; keeps how many slices it saw at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[tuple[int, ...]] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.batches.append(tuple(images.shape))
        logits = torch.zeros(len(images), TASK.num_classes, *images.shape[2:])
        logits[:, LIVER] = images[:, 0] - 0.4
        return logits


def test_several_slices_at_a_time_count_as_one_by_one(tmp_path):
    cases = find_cases(write_cases(tmp_path / "cases", 3, slices=3), TASK)
    for path in (cases[2].ct, cases[2].label):
        wider = sitk.ZeroFluxNeumannPad(sitk.ReadImage(str(path)), (16, 0, 0), (16, 0, 0))
        sitk.WriteImage(wider, str(path))
    slices = SliceDataset(list_slices(cases, TASK), TASK, tmp_path / "cache")
    alone, together = Liverish(), Liverish()
    expected = count_overlaps(alone, slices, range(len(slices)), torch.device("cpu"))
    counts = count_overlaps(together, slices, range(len(slices)), torch.device("cpu"), at_a_time=4)
    assert [shape[0] for shape in together.batches] == [4, 2, 3] and len(alone.batches) == 9
    assert set(counts) == set(expected) and all((counts[one] == expected[one]).all() for one in expected)
    assert sum(rows[LIVER].sum() for rows in counts.values()) > 0


def test_slices_of_several_annotators_at_a_time_count_each_by_its_own(tmp_path):
    """One outlined the liver with its tumors, one told all apart, one looked for the liver alone."""
    found = find_cases(write_cases(tmp_path / "cases", 3, slices=2), TASK)
    known = ({1: ("liver", "liver tumor"), 2: ("liver", "liver tumor")}, None, {1: ("liver",), 2: ("liver",)})
    cases = [replace(case, labels=labels or case.labels) for case, labels in zip(found, known)]
    slices = SliceDataset(list_slices(cases, TASK), TASK, tmp_path / "cache")
    expected, counts = (
        count_overlaps(Everywhere(TUMOR), slices, range(len(slices)), torch.device("cpu"), count) for count in (1, 9)
    )
    assert all((counts[one] == expected[one]).all() for one in expected)
    as_one, told_apart, liver_alone = (counts[case.patient] for case in cases)
    assert told_apart[TUMOR, 1] > 0 and told_apart[LIVER, 1] == 0
    assert as_one[LIVER, 1] > 0 and as_one[TUMOR].sum() == 0
    assert liver_alone[LIVER, 1] == liver_alone[TUMOR].sum() == 0


def test_a_network_learns_nothing_from_what_it_is_chosen_by(tmp_path):
    """Its normalization would take over the brightness of the validation slices."""
    cases = find_cases(write_cases(tmp_path / "cases", 1, slices=2), TASK)
    slices = SliceDataset(list_slices(cases, TASK), TASK, tmp_path / "cache")
    network = nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, TASK.num_classes, 1)).train()
    before = network[0].running_mean.clone()
    count_overlaps(network, slices, range(len(slices)), torch.device("cpu"))
    assert torch.equal(network[0].running_mean, before)
