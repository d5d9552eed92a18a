import numpy as np
import pytest
from HLFDSegmentationLib.cleaning import SMALLEST_LESION_MM, clean
from HLFDSegmentationLib.tasks import TASKS

TASK = TASKS["abdomen"]
LIVER, KIDNEY, LIVER_TUMOR, KIDNEY_TUMOR = 1, 2, 3, 4


def ball(shape, center, diameter_mm):
    index = np.indices(shape).reshape(3, -1).T - center
    return (np.linalg.norm(index, axis=1) <= diameter_mm / 2).reshape(shape)


@pytest.fixture
def labels():
    """A liver of 30 mm, voxels of 1 mm."""
    volume = np.zeros((40, 40, 40), np.uint8)
    volume[5:35, 5:35, 5:35] = LIVER
    return volume


def test_specks_of_tumor_become_liver_and_are_told(labels):
    labels[10, 10, 10] = labels[20, 20:22, 20] = LIVER_TUMOR

    notes = clean(labels, TASK, 0.001)

    assert not (labels == LIVER_TUMOR).any()
    assert (labels[5:35, 5:35, 5:35] == LIVER).all()
    assert len(notes) == 1
    assert "2 specks" in notes[0]
    assert "liver tumor" in notes[0]


@pytest.mark.parametrize(("diameter_mm", "stays"), [(SMALLEST_LESION_MM - 1, False), (SMALLEST_LESION_MM + 1, True)])
def test_a_lesion_stays_from_the_smallest_diameter_on(labels, diameter_mm, stays):
    labels[ball(labels.shape, (20, 20, 20), diameter_mm)] = LIVER_TUMOR

    clean(labels, TASK, 0.001)

    assert (labels == LIVER_TUMOR).any() == stays


def test_pieces_that_touch_at_a_corner_count_together(labels):
    for step in range(7):
        labels[10 + step, 10:14, 10 + step : 14 + step] = LIVER_TUMOR
    before = labels.copy()

    assert clean(labels, TASK, 0.001) == []
    assert (labels == before).all()


def test_specks_apart_from_the_organ_vanish_with_what_lies_apart(labels):
    labels[1, 1, 1] = LIVER_TUMOR

    clean(labels, TASK, 0.001)

    assert labels[1, 1, 1] == 0


def test_each_tumor_goes_to_its_own_organ(labels):
    labels[20, 20, 20] = KIDNEY_TUMOR
    labels[36:39, 36:39, 36:39] = KIDNEY

    clean(labels, TASK, 0.001)

    assert labels[20, 20, 20] == KIDNEY


def test_pieces_of_an_organ_in_a_single_slice_are_kept():
    """Both lobes of a liver, whose bridge lies in another slice."""
    labels = np.zeros((1, 40, 40), np.uint8)
    labels[0, 5:35, 5:20] = labels[0, 5:15, 25:35] = LIVER
    before = labels.copy()
    labels[0, 38, 38] = LIVER

    assert clean(labels, TASK, 0.001) == []
    assert (labels == before).all()

    volume = np.repeat(labels, 3, axis=0)
    clean(volume, TASK, 0.001)
    assert not volume[:, 5:15, 25:35].any()
