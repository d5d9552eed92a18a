import numpy as np
import pytest
from HLFDSegmentationLib.segmenting import cleaning
from HLFDSegmentationLib.segmenting.cleaning import SMALLEST_LESION_MM
from HLFDSegmentationLib.tasks import TASKS

TASK = TASKS["abdomen"]
MM = (1.0, 1.0, 1.0)
LIVER, KIDNEY, LIVER_TUMOR, KIDNEY_TUMOR = 1, 2, 3, 4


def clean(labels, task, spacing):
    """Places are told as indices (z, y, x)."""
    return cleaning.clean(labels, task, spacing, lambda index: f"<{', '.join(f'{i:g}' for i in index)}>")


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

    notes = clean(labels, TASK, MM)

    assert not (labels == LIVER_TUMOR).any()
    assert (labels[5:35, 5:35, 5:35] == LIVER).all()
    assert len(notes) == 1
    assert "2 specks" in notes[0]
    assert "liver tumor" in notes[0]


@pytest.mark.parametrize(("diameter_mm", "stays"), [(SMALLEST_LESION_MM - 1, False), (SMALLEST_LESION_MM + 1, True)])
def test_a_lesion_stays_from_the_smallest_diameter_on(labels, diameter_mm, stays):
    labels[ball(labels.shape, (20, 20, 20), diameter_mm)] = LIVER_TUMOR

    clean(labels, TASK, MM)

    assert (labels == LIVER_TUMOR).any() == stays


@pytest.mark.parametrize(("pixel_mm", "stays"), [(1.0, True), (0.7, False)])
def test_a_lesion_is_judged_by_its_volume_whatever_the_voxels(labels, pixel_mm, stays):
    """Of 18 voxels, 90 or 44 mm³; a ball of 5 mm has 65 mm³."""
    labels[20:22, 20:23, 20:23] = LIVER_TUMOR

    clean(labels, TASK, (pixel_mm, pixel_mm, 5.0))

    assert (labels == LIVER_TUMOR).sum() == 18 * stays


def test_pieces_that_touch_at_a_corner_count_together(labels):
    for step in range(7):
        labels[10 + step, 10:14, 10 + step : 14 + step] = LIVER_TUMOR
    before = labels.copy()

    assert clean(labels, TASK, MM) == []
    assert (labels == before).all()


def test_specks_apart_from_the_organ_vanish_with_what_lies_apart(labels):
    labels[1, 1, 1] = LIVER_TUMOR

    clean(labels, TASK, MM)

    assert labels[1, 1, 1] == 0


def test_a_speck_at_its_organ_becomes_that_organ_though_other_things_are_around(labels):
    labels[35:39, 5:35, 5:35] = KIDNEY
    labels[34, 20, 20] = KIDNEY_TUMOR

    clean(labels, TASK, MM)

    assert labels[34, 20, 20] == KIDNEY


def test_a_speck_within_another_organs_tumor_makes_no_hole_in_it(labels):
    labels[10:25, 10:25, 10:25] = LIVER_TUMOR
    before = labels.copy()
    labels[18, 18, 18] = KIDNEY_TUMOR

    clean(labels, TASK, MM)

    assert (labels == before).all()


@pytest.mark.parametrize("kidneys", [0, 1, 2])
def test_a_speck_of_kidney_tumor_in_the_liver_makes_no_kidney_and_no_hole(labels, kidneys):
    labels[36:39, 36:39, 36:39] = KIDNEY * (kidneys > 0)
    labels[1:4, 1:4, 1:4] = KIDNEY * (kidneys > 1)
    before = labels.copy()
    labels[20:22, 20:22, 20] = KIDNEY_TUMOR

    (note,) = clean(labels, TASK, MM)

    assert (labels == before).all()
    assert "1 speck called kidney tumor was removed, and given to what lies around" in note


@pytest.mark.parametrize("around", [LIVER, LIVER_TUMOR])
def test_a_large_piece_of_kidney_tumor_in_the_liver_makes_no_hole(labels, around):
    """Nor does it change what it lies within, when a body has its two kidneys."""
    labels[37:, :11, :10] = labels[37:, 30:, 30:] = KIDNEY
    labels[10:30, 10:30, 10:30] = around
    before = labels.copy()
    labels[20:26, 20:26, 20:26] = KIDNEY_TUMOR

    (note,) = clean(labels, TASK, MM)

    assert (labels == before).all()
    assert "0.2 mL called kidney tumor were removed" in note and "What lies within the liver was given to it." in note


def test_a_piece_at_the_border_of_another_organ_becomes_background(labels):
    labels[37:, :11, :10] = labels[37:, 30:, 30:] = KIDNEY
    labels[5:11, 20:26, 20:26] = KIDNEY_TUMOR

    (note,) = clean(labels, TASK, MM)

    assert not labels[5:11, 20:26, 20:26].any() and "within the liver" not in note


def test_pieces_of_an_organ_in_a_single_slice_are_kept():
    """Both lobes of a liver, whose bridge lies in another slice."""
    labels = np.zeros((1, 40, 40), np.uint8)
    labels[0, 5:35, 5:20] = labels[0, 5:15, 25:35] = LIVER
    before = labels.copy()
    labels[0, 38, 38] = LIVER

    assert clean(labels, TASK, MM) == []
    assert (labels == before).all()


def lobes(slices, first, last):
    """A liver and, in some slices, a lobe apart from it."""
    labels = np.zeros((slices, 40, 40), np.uint8)
    labels[:, 5:35, 5:20] = LIVER
    labels[first : last + 1, 5:15, 25:35] = LIVER
    return labels


@pytest.mark.parametrize(("first", "last"), [(0, 5), (4, 9), (0, 9)])
def test_a_lobe_that_the_end_of_the_ct_cuts_from_the_liver_is_kept(first, last):
    labels = lobes(10, first, last)

    assert clean(labels, TASK, MM) == []
    assert (labels == lobes(10, first, last)).all()


def test_what_lies_apart_within_the_ct_or_at_another_end_than_the_liver_is_dropped():
    within, other_end = lobes(10, 2, 7), lobes(10, 7, 9)
    other_end[6:, 5:35, 5:20] = 0

    for labels in (within, other_end):
        clean(labels, TASK, MM)
        assert not labels[:, 5:15, 25:35].any()


def test_a_small_piece_at_the_end_of_the_ct_is_dropped():
    labels = lobes(10, 9, 9)

    clean(labels, TASK, MM)

    assert not labels[:, 5:15, 25:35].any()


def test_tumor_that_lies_apart_is_told_by_its_name(labels):
    labels[ball(labels.shape, (37, 37, 37), 5.5)] = LIVER_TUMOR

    (note,) = clean(labels, TASK, MM)

    assert not (labels == LIVER_TUMOR).any()
    assert "0.1 mL called liver tumor" in note and "largest piece of the liver" in note
    assert note.endswith("Look at what was called tumor there: <37, 37, 37>.")


def test_an_amount_that_rounds_to_nothing_is_not_told_as_nothing(labels):
    labels[ball(labels.shape, (37, 37, 37), 5.5)] = LIVER_TUMOR
    labels[37, 37, 37] = LIVER
    (note,) = clean(labels, TASK, MM)
    assert note.startswith("less than 0.1 mL called liver and 0.")


def test_where_the_largest_of_what_is_no_lesion_was_is_told(labels):
    """Of places in one slice, the largest first."""
    for row, column, side in ((1, 1, 10), (1, 20, 9), (20, 1, 11), (20, 20, 12)):
        labels[3, row : row + side, column : column + side] = LIVER_TUMOR

    (note,) = clean(labels, TASK, (1.0, 1.0, 2.0))

    assert note.endswith("(the 3 largest pieces): <3, 25.5, 25.5>; <3, 25, 6>; <3, 5.5, 5.5>.")


def test_no_place_is_told_of_an_organ_without_tumor(labels):
    labels[37:, 30:, 15:35] = LIVER
    labels[36] = 0
    labels[35] = 0
    (note,) = clean(labels, TASK, (2.0, 2.0, 2.0))
    assert note.endswith("largest piece of the liver.")


@pytest.mark.parametrize("thickness_mm", [0.6, 2.5])
@pytest.mark.parametrize(("diameter_mm", "stays"), [(SMALLEST_LESION_MM - 1, False), (SMALLEST_LESION_MM + 1, True)])
def test_in_a_single_slice_a_lesion_is_judged_by_its_area(diameter_mm, stays, thickness_mm):
    labels = np.full((1, 40, 40), LIVER, np.uint8)
    labels[ball(labels.shape, (0, 20, 20), diameter_mm)] = LIVER_TUMOR

    clean(labels, TASK, (1.0, 1.0, thickness_mm))

    assert (labels == LIVER_TUMOR).any() == stays


def liver_with_tumor_in(slices, side=20, count=20):
    """A liver through a whole CT, with a square of tumor in the middle of some slices."""
    labels = np.full((count, 60, 60), LIVER, np.uint8)
    middle = slice(30 - side // 2, 30 + side // 2)
    for index in slices:
        labels[index, middle, middle] = LIVER_TUMOR
    return labels


@pytest.mark.parametrize(
    ("slices", "distance_mm", "stays"),
    [
        ([10], 1.0, False),
        ([10], 2.5, False),
        ([10], 2.5000001, False),
        ([10], 3.0, True),
        ([10, 11], 1.0, True),
        ([1], 1.0, False),
        ([18], 1.0, False),
        ([0], 1.0, True),
        ([19], 1.0, True),
    ],
)
def test_what_one_of_many_close_slices_shows_alone_is_no_lesion(slices, distance_mm, stays):
    """However wide it is; but for the ends of the CT, where the rest of it may not be seen."""
    labels = liver_with_tumor_in(slices)

    notes = clean(labels, TASK, (1.0, 1.0, distance_mm))

    assert (labels == LIVER_TUMOR).sum() == 20 * 20 * len(slices) * stays
    assert (labels > 0).all()
    assert [note[:34] for note in notes] == ["1 place called liver tumor was rem"] * (not stays)


def test_places_in_one_slice_and_specks_are_told_apart():
    labels = liver_with_tumor_in([5], side=40)
    labels[12, 10, 10] = LIVER_TUMOR

    speck, place = clean(labels, TASK, (1.0, 1.0, 2.0))

    assert speck == (
        "1 speck called liver tumor was removed, and given to what lies around: smaller than a ball of 5 mm in "
        "diameter, and so not to be told from noise. A real lesion of that kind is removed, too."
    )
    assert place.endswith("Look at what was called tumor there: <5, 29.5, 29.5>.")
    assert "1 place called" in place and "in one slice alone, while slices are 2 mm apart (3.2 mL)" in place


@pytest.mark.parametrize("count", [1, 2])
def test_in_a_ct_of_one_or_two_slices_every_slice_is_an_end(count):
    labels = liver_with_tumor_in([0], count=count)

    assert clean(labels, TASK, MM) == []
    assert (labels == LIVER_TUMOR).sum() == 20 * 20


@pytest.mark.parametrize(("first", "kept"), [(6, False), (5, True)])
def test_a_lobe_at_the_end_of_the_ct_is_kept_from_a_tenth_of_the_liver_on(first, kept):
    """Of 4500 voxels it has 400 or 500."""
    labels = lobes(10, first, 9)
    clean(labels, TASK, MM)
    assert labels[:, 5:15, 25:35].any() == kept


@pytest.mark.parametrize(("width", "told"), [(6, False), (10, True)])
def test_pieces_of_an_organ_of_more_than_1_ml_are_told(width, told):
    labels = np.zeros((40, 40, 60), np.uint8)
    labels[5:35, 5:35, 5:35] = LIVER
    labels[10:25, 10 : 10 + width, 45:55] = LIVER
    notes = clean(labels, TASK, MM)
    assert not labels[..., 45:].any()
    assert [note.startswith("1.5 mL called liver were removed") for note in notes] == [True] * told


def test_a_piece_that_lies_within_another_organ_but_for_a_few_voxels_makes_no_hole():
    labels = np.zeros((40, 40, 40), np.uint8)
    labels[5:35, 5:35, 5:35] = LIVER
    labels[37:, :11, :10] = labels[37:, 30:, 30:] = KIDNEY
    labels[19, 20:26, 20:23] = 0  # 18 of the 296 voxels around it
    before = labels.copy()
    labels[20:26, 20:26, 20:26] = KIDNEY_TUMOR
    clean(labels, TASK, MM)
    assert (labels == before).all()
