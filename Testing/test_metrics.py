import math
from dataclasses import astuple

import numpy as np
import pytest
from HLFDSegmentationLib.errors import CasesError
from HLFDSegmentationLib.tasks import load_task
from HLFDTrainingLib.metrics import METRICS, measure_case, summarize, with_tumors

TASK = load_task("abdomen")
LIVER, KIDNEY, LIVER_TUMOR, KIDNEY_TUMOR = 1, 2, 3, 4
ALL_KNOWN = [0, 1, 2, 3, 4]
KITS = [0, 0, 2, 0, 4]  # liver and its tumors were not looked for
LIVER_MASK = [0, 1, 0, 1, 0]  # liver with its tumors undivided, kidneys not looked for


def empty() -> np.ndarray:
    return np.zeros((12, 16, 16), np.uint8)


def measure(prediction, truth, groups=ALL_KNOWN, spacing=(1.0, 1.0, 1.0), name="case"):
    return measure_case(name, prediction, truth, spacing=spacing, groups=groups, task=TASK).labels


def isnan(metrics) -> bool:
    return all(math.isnan(value) for value in astuple(metrics))


@pytest.mark.parametrize("across", [0, 2])
def test_hd95_of_a_single_slice_is_that_of_the_outlines(across):
    """Two squares of one slice, shifted by 3 pixels of 2 mm: their edges are 6 mm apart, whatever fills them."""
    prediction, truth = np.zeros((2, 1, 40, 40), np.uint8)
    truth[0, 5:25, 5:25] = prediction[0, 5:25, 8:28] = LIVER
    spacing = [2.0, 2.0, 2.0]
    if across == 2:
        prediction, truth = (np.moveaxis(mask, 0, 2) for mask in (prediction, truth))
    spacing[across] = 5.0
    assert measure(prediction, truth, spacing=spacing)["liver"].hd95_mm == pytest.approx(6)
    assert measure(truth, truth, spacing=spacing)["liver"].hd95_mm == 0


def test_hd95_of_what_lies_in_one_slice_of_a_volume_is_that_of_its_surface_and_not_of_its_outline():
    """A lesion, and a ring found of it: all of both is surface, and one in twenty of it lies 3 mm from the ring."""
    prediction, truth = empty(), empty()
    truth[5, 2:13, 2:13] = prediction[5, 2:13, 2:13] = LIVER_TUMOR
    prediction[5, 4:11, 4:11] = 0
    assert measure(prediction, truth)["liver tumor"].hd95_mm == pytest.approx(3)
    assert measure(prediction[5:6], truth[5:6])["liver tumor"].hd95_mm != pytest.approx(3)


def test_overlap_of_hand_made_boxes():
    prediction, truth = empty(), empty()
    truth[2:6, 2:6, 2:6] = LIVER  # 64 voxels
    prediction[2:6, 2:6, 4:9] = LIVER  # 80 voxels, 32 of them shared
    liver = measure(prediction, truth)["liver"]
    assert liver.dice == pytest.approx(64 / 144)
    assert liver.voe == pytest.approx(1 - 32 / 112)
    assert liver.rvd == pytest.approx(0.25)
    assert liver.absolute_rvd == pytest.approx(0.25)
    too_small = measure(truth, prediction)["liver"]
    assert too_small.rvd == pytest.approx(-0.2)
    assert too_small.absolute_rvd == pytest.approx(0.2)


def test_overlap_error_follows_from_dice():
    random = np.random.default_rng(3)
    for share in (0.05, 0.4, 0.9):
        prediction, truth = (np.where(random.random(empty().shape) < share, LIVER, 0) for _ in range(2))
        liver = measure(prediction, truth)["liver"]
        assert liver.voe == pytest.approx(1 - liver.dice / (2 - liver.dice))


def test_overlap_error_of_a_half_sized_prediction_is_a_half():
    prediction, truth = empty(), empty()
    truth[0:4, 0:5, 0:5] = LIVER
    prediction[0:2, 0:5, 0:5] = LIVER
    assert measure(prediction, truth)["liver"].voe == pytest.approx(0.5)


@pytest.mark.parametrize(("axis", "expected"), [(0, 15.0), (1, 2.1), (2, 2.4)])
def test_surface_distance_is_in_mm_along_each_axis(axis, expected):
    prediction, truth = empty(), empty()
    truth[3, 4:7, 4:7] = prediction[3, 4:7, 4:7] = LIVER
    prediction = np.roll(prediction, 3, axis)
    # All of the shifted square is 3 voxels away along z; in plane, its far edge lies 3 voxels beyond the other one.
    liver = measure(prediction, truth, spacing=(5.0, 0.7, 0.8))["liver"]
    assert liver.hd95_mm == pytest.approx(expected, rel=1e-5)


def test_95th_percentile_leaves_out_a_stray_voxel():
    prediction, truth = empty(), empty()
    truth[1:11, 1:9, 1:9] = prediction[1:11, 1:9, 1:9] = LIVER
    prediction[5, 14, 14] = LIVER
    assert measure(prediction, truth)["liver"].hd95_mm == 0


@pytest.mark.parametrize(("stray", "expected"), [(3, 0.0), (7, 4.0)])
def test_hd95_leaves_out_one_in_twenty_and_no_more(stray, expected):
    """A flat structure, all of which is surface: so many of its hundred voxels lie 4 mm beside it."""
    prediction, truth = empty(), empty()
    truth[5, 2:12, 2:12] = LIVER
    prediction[5] = truth[5]
    prediction[5, 2 : 2 + stray, 2] = 0
    prediction[9, 2 : 2 + stray, 6] = LIVER
    assert measure(prediction, truth)["liver"].hd95_mm == pytest.approx(expected)


def test_surface_distance_does_not_depend_on_where_the_organ_lies():
    prediction, truth = empty(), empty()
    truth[0:5, 0:8, 0:8] = LIVER
    prediction[0:7, 0:9, 0:8] = LIVER
    at_border = measure(prediction, truth)["liver"]
    inside = measure(*(np.pad(array, 4) for array in (prediction, truth)))["liver"]
    assert astuple(at_border)[:5] == pytest.approx(astuple(inside)[:5])


def test_perfect_and_empty():
    truth = empty()
    truth[2:5, 2:5, 2:5] = LIVER
    labels = measure(truth, truth)
    assert (labels["liver"].dice, labels["liver"].voe, labels["liver"].rvd, labels["liver"].hd95_mm) == (1, 0, 0, 0)
    # A kidney that is absent and not predicted is right; there is no volume or surface to compare.
    assert (labels["kidney"].dice, labels["kidney"].voe) == (1, 0)
    assert math.isnan(labels["kidney"].rvd)
    assert math.isnan(labels["kidney"].hd95_mm)
    missed = measure(empty(), truth)["liver"]
    assert (missed.dice, missed.voe, missed.rvd) == (0, 1, -1)
    assert math.isnan(missed.hd95_mm)
    invented = measure(truth, empty())["liver"]
    assert (invented.dice, invented.voe) == (0, 1)
    assert math.isnan(invented.rvd)


def test_unsigned_labels_do_not_wrap_in_the_volume_difference():
    truth = empty()
    truth[2:5, 2:5, 2:5] = LIVER
    prediction = np.where(np.indices(truth.shape)[0] == 2, truth, 0).astype(np.uint8)
    assert measure(prediction, truth)["liver"].rvd == pytest.approx(-2 / 3)


def test_lesions_are_found_by_a_single_voxel_and_counted_26_connected():
    prediction, truth = empty(), empty()
    truth[1:3, 1:3, 1:3] = LIVER_TUMOR
    truth[3, 3, 3] = LIVER_TUMOR  # meets the first lesion at a corner: the same lesion
    truth[8, 8, 8] = LIVER_TUMOR
    truth[8, 12, 12] = LIVER_TUMOR
    prediction[3, 3, 3] = LIVER_TUMOR
    prediction[8, 8, 8:10] = LIVER_TUMOR
    prediction[10, 1, 1] = prediction[11, 2, 2] = LIVER_TUMOR  # one false lesion
    prediction[5, 14, 14] = LIVER_TUMOR  # another
    tumor = measure(prediction, truth)["liver tumor"]
    assert tumor.lesion_sensitivity == pytest.approx(2 / 3)
    assert tumor.false_positive_lesions == 2


def test_lesion_figures_only_where_they_mean_something():
    truth = empty()
    truth[2:5, 2:5, 2:5] = LIVER
    labels = measure(truth, truth)
    assert math.isnan(labels["liver"].lesion_sensitivity)
    assert math.isnan(labels["liver"].false_positive_lesions)
    assert math.isnan(labels["liver tumor"].lesion_sensitivity)
    assert labels["liver tumor"].false_positive_lesions == 0


def test_organ_with_tumors_counts_both():
    prediction, truth = empty(), empty()
    truth[2:6, 2:6, 2:6] = LIVER
    truth[3:5, 3:5, 3:5] = LIVER_TUMOR
    prediction[2:6, 2:6, 2:6] = LIVER  # the tumor was taken for liver
    labels = measure(prediction, truth)
    assert labels[with_tumors("liver")].dice == 1
    assert labels["liver"].dice < 1
    assert labels["liver tumor"].dice == 0


def test_what_was_not_looked_for_is_not_punished():
    prediction, truth = empty(), empty()
    truth[2:5, 2:5, 2:5] = prediction[2:5, 2:5, 2:5] = KIDNEY
    truth[2, 2, 2] = prediction[2, 2, 2] = KIDNEY_TUMOR
    prediction[6:10, 6:10, 6:10] = LIVER
    prediction[7, 7, 7] = LIVER_TUMOR
    labels = measure(prediction, truth, KITS)
    for name in ("liver", "liver tumor", with_tumors("liver")):
        assert isnan(labels[name])
    for name in ("kidney", "kidney tumor", with_tumors("kidney")):
        assert labels[name].dice == 1
        assert labels[name].hd95_mm == 0
    assert labels["kidney tumor"].false_positive_lesions == 0


def test_but_calling_a_known_organ_another_is():
    prediction, truth = empty(), empty()
    truth[2:5, 2:5, 2:5] = KIDNEY
    prediction[2:5, 2:5, 2:5] = LIVER
    assert measure(prediction, truth, KITS)["kidney"].dice == 0


def test_what_was_not_told_apart_is_compared_as_one():
    prediction, truth = empty(), empty()
    truth[2:6, 2:6, 2:6] = LIVER
    prediction[2:6, 2:6, 2:6] = LIVER
    prediction[3:5, 3:5, 3:5] = LIVER_TUMOR
    prediction[8, 8, 8] = KIDNEY
    labels = measure(prediction, truth, LIVER_MASK)
    assert labels[with_tumors("liver")].dice == 1
    assert isnan(labels["liver"])
    assert isnan(labels["liver tumor"])
    assert isnan(labels["kidney"])


def test_another_shape_is_refused():
    with pytest.raises(CasesError, match=r"case 7.*12, 16, 16"):
        measure(empty(), empty()[:5], name="case 7")


def test_summary_leaves_out_what_is_not_known_and_says_of_how_many_cases():
    truth, half = empty(), empty()
    truth[2:6, 2:6, 2:6] = KIDNEY
    half[2:4, 2:6, 2:6] = KIDNEY
    cases = [
        measure_case(name, prediction, truth, spacing=(1, 1, 1), groups=groups, task=TASK)
        for name, prediction, groups in (("a", truth, ALL_KNOWN), ("b", half, KITS), ("c", truth, LIVER_MASK))
    ]
    summary = summarize(cases)
    kidney = summary["kidney"]["dice"]
    assert (kidney.mean, kidney.sd, kidney.n) == pytest.approx((5 / 6, math.sqrt(1 / 18), 2))
    assert summary["kidney"]["rvd"].mean == pytest.approx(-0.25)
    liver = summary["liver"]["dice"]
    assert (liver.mean, liver.n) == (1, 1)
    assert math.isnan(liver.sd)
    nothing = summary["liver tumor"]["lesion_sensitivity"]
    assert nothing.n == 0
    assert math.isnan(nothing.mean)
    assert all(set(figures) == set(METRICS) for figures in summary.values())
    assert summarize([]) == {}


def test_surface_distance_is_the_larger_of_both_directions():
    prediction, truth = empty(), empty()
    truth[2:6, 2:14, 2:14] = LIVER
    prediction[2:6, 2:14, 2:6] = LIVER
    for one, other in ((prediction, truth), (truth, prediction)):
        assert measure(one, other)["liver"].hd95_mm == pytest.approx(8)


def test_one_place_that_covers_two_lesions_leaves_the_false_one_counted():
    prediction, truth = empty(), empty()
    truth[2, 2:4, 2:4] = truth[2, 2:4, 8:10] = LIVER_TUMOR
    prediction[2, 2:4, 2:10] = prediction[8, 8, 8] = LIVER_TUMOR
    assert measure(prediction, truth)["liver tumor"].false_positive_lesions == 1
