"""Probabilities that are averaged over neighboring slices."""

from collections.abc import Sequence
from math import exp

import numpy as np
import pytest
import torch
from HLFDSegmentationLib.segmenting.neighboring_slices import NeighboringSlices

COUNT = 9
SPACING_MM = 2.5


@pytest.fixture(scope="module")
def logits():
    return torch.randn((COUNT, 3, 4, 5), generator=torch.Generator().manual_seed(1)) * 4


def averaged(
    logits: torch.Tensor, batch: int = 1, spacing_mm: float = SPACING_MM, blank: Sequence[int] = ()
) -> torch.Tensor:
    slices = NeighboringSlices(np.isin(np.arange(len(logits)), blank), spacing_mm)
    found = [one for start in range(0, len(logits), batch) for one in slices.averaged(start, logits[start:][:batch])]
    assert [number for number, _ in found] == list(range(len(logits)))
    return torch.cat([one for _, one in found])


def test_nearer_slices_count_more(logits):
    probabilities = logits.softmax(dim=1)
    one, two = exp(-1 / 2), exp(-4 / 2)  # At 2.5 and 5 mm; what is 7.5 mm away is out of reach.
    inner = two * probabilities[2] + one * probabilities[3] + probabilities[4] + one * probabilities[5]
    inner = (inner + two * probabilities[6]) / (1 + 2 * one + 2 * two)
    edge = (probabilities[0] + one * probabilities[1] + two * probabilities[2]) / (1 + one + two)
    found = averaged(logits)
    assert torch.allclose(found[4].exp(), inner, atol=1e-6)
    assert torch.allclose(found[0].exp(), edge, atol=1e-6)


@pytest.mark.parametrize("batch", [1, 4])
def test_blank_slices_change_nothing_beside_them(logits, batch):
    """A CT that was padded, or cut to a larger box, shows no more and no less."""
    nothing = torch.tensor([9.0, -9.0, -9.0]).reshape(1, 3, 1, 1).expand(3, 3, 4, 5)
    padded = averaged(torch.cat([nothing, logits, nothing]), batch, blank=[0, 1, 2, 12, 13, 14])
    assert torch.allclose(padded[3:12], averaged(logits), atol=1e-5)
    assert (padded[:3].argmax(dim=1) == 0).all() and (padded[12:].argmax(dim=1) == 0).all()


@pytest.mark.parametrize("batch", [2, 4, 8, 9, 20])
def test_size_of_a_batch_does_not_matter(logits, batch):
    assert torch.allclose(averaged(logits, batch), averaged(logits), atol=1e-5)


def test_slices_that_were_broken_off_are_given_again(logits):
    slices = NeighboringSlices(np.zeros(COUNT, bool), SPACING_MM)
    found = dict(slices.averaged(0, logits[:4]))
    next(slices.averaged(4, logits[4:8]))
    for number in range(4, COUNT):
        found |= dict(slices.averaged(number, logits[number : number + 1]))
    assert torch.allclose(torch.cat([found[number] for number in range(COUNT)]), averaged(logits), atol=1e-5)


@pytest.mark.parametrize(("count", "spacing_mm"), [(1, 1.0), (COUNT, 7.0)])
def test_without_a_neighbor_in_reach_nothing_changes(logits, count, spacing_mm):
    assert torch.equal(averaged(logits[:count], spacing_mm=spacing_mm), logits[:count])


def test_a_spacing_that_is_none_does_not_bring_all_slices_together():
    logits = torch.zeros(40, 2, 1, 1)
    changed = logits.clone()
    changed[30:, 0] = 9
    assert torch.equal(averaged(logits, spacing_mm=0.001)[:15], averaged(changed, spacing_mm=0.001)[:15])


def test_certain_slices_stay_finite():
    logits = torch.tensor([500.0, -500.0]).reshape(1, 2, 1, 1).expand(3, 2, 1, 1)
    assert torch.isfinite(averaged(logits)).all()
