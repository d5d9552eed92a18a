"""Right and left kidney are told apart, or not told at all."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from HLFDSegmentationLib.quantification import measure, write_measures_csv
from HLFDSegmentationLib.tasks import TASKS, Code

TASK = TASKS["abdomen"]
LIVER, KIDNEY, KIDNEY_TUMOR = 1, 2, 4
SPACING = (4.0, 4.0, 5.0)


def body():
    """A body 280 mm wide, its middle 12 mm to the left of the field's, with two kidneys: (z, y, x) of CT and labels."""
    ct = np.full((20, 60, 100), -1000, np.int16)
    ct[:, 10:50, 18:88] = 40
    labels = np.zeros(ct.shape, np.uint8)
    labels[4:14, 25:33, 28:38] = KIDNEY  # 64 mL, on the right, which is where x is small
    labels[4:14, 25:33, 70:78] = KIDNEY  # 51 mL
    labels[6:9, 25:33, 78:80] = KIDNEY_TUMOR
    labels[6:9, 28:30, 30:32] = KIDNEY_TUMOR
    return ct, labels


def stored(array, orientation="LPS", direction=None):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(SPACING)
    image.SetOrigin((17.0, -110.0, 300.0))
    if direction:
        image.SetDirection(direction)
    return sitk.DICOMOrient(image, orientation)


def measured(ct, labels, *geometry, task=TASK):
    return measure(stored(labels, *geometry), stored(ct, *geometry), task)


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "RAI", "SLP", "PIR"])
def test_each_side_has_its_volume_and_each_lesion_its_side(orientation):
    liver, kidney, _, tumor = measured(*body(), orientation)
    voxel_ml = 0.08
    assert kidney.side_ml == pytest.approx({"right": (800 - 12) * voxel_ml, "left": 640 * voxel_ml})
    assert tumor.side_ml == pytest.approx({"right": 12 * voxel_ml, "left": 48 * voxel_ml})
    assert sum(kidney.side_ml.values()) == pytest.approx(kidney.volume_ml)
    assert [lesion.side for lesion in tumor.lesions] == ["left", "right"]
    assert liver.side_ml == {}


def one_kidney(ct, labels):
    labels[..., 60:] = 0


def little_of_the_other(ct, labels):
    labels[6:, :, 60:] = 0


def both_on_one_side(ct, labels):
    """Both are right of the middle of the body, as two pieces of one kidney are."""
    labels[...] = np.roll(labels, -24, axis=2)


def one_hardly_left_of_the_middle(ct, labels):
    """By 7 mm."""
    labels[...] = np.roll(labels, -20, axis=2)


def horseshoe(ct, labels):
    labels[8, 30, 38:70] = KIDNEY


def air(ct, labels):
    ct[:] = -1000


def cut_by_a_blank_slice(ct, labels):
    ct[9], labels[9] = -1024, 0


def mostly_tumor(ct, labels):
    """As bowel that is taken for a tumor of the kidney that a patient does not have."""
    labels[7:14, 25:33, 28:38] = KIDNEY_TUMOR


def in_front_of_the_other(ct, labels):
    """76 mm, as bowel lies."""
    labels[..., :60], labels[..., 60:] = (np.roll(labels[..., :60], -14, axis=1), np.roll(labels[..., 60:], 5, axis=1))


@pytest.mark.parametrize(
    "change",
    [
        one_kidney,
        little_of_the_other,
        both_on_one_side,
        one_hardly_left_of_the_middle,
        horseshoe,
        air,
        cut_by_a_blank_slice,
        mostly_tumor,
        in_front_of_the_other,
    ],
)
def test_nothing_is_told_where_it_is_not_clear(change):
    ct, labels = body()
    change(ct, labels)
    _, kidney, _, tumor = measured(ct, labels)
    assert kidney.volume_ml > 0
    assert kidney.side_ml == tumor.side_ml == {}
    assert all(lesion.side is None for lesion in tumor.lesions)


@pytest.mark.parametrize("change", [mostly_tumor, in_front_of_the_other])
def test_what_makes_no_kidney_says_nothing_of_other_organs(change):
    ct, labels = body()
    change(ct, labels)
    adrenal = Code("SCT", "23451007", "Adrenal gland")
    others = tuple(replace(label, type=adrenal) if label.value == KIDNEY else label for label in TASK.labels)
    _, organ, *_ = measured(ct, labels, task=replace(TASK, labels=others))
    assert set(organ.side_ml) == {"right", "left"}


def test_a_third_piece_is_of_no_side():
    ct, labels = body()
    labels[17:19, 40:43, 30:33] = KIDNEY_TUMOR
    *_, tumor = measured(ct, labels)
    assert {lesion.side for lesion in tumor.lesions} == {"right", "left", None}
    assert sum(tumor.side_ml.values()) < tumor.volume_ml


def test_an_arm_alone_in_the_lowest_slices_moves_no_middle():
    ct, labels = body()
    ct[:3] = -1000
    ct[:3, 10:50, 18:24] = 40
    _, kidney, *_ = measured(ct, labels)
    assert set(kidney.side_ml) == {"right", "left"}


def test_sides_are_in_the_table(tmp_path):
    write_measures_csv(measured(*body()), tmp_path / "segments.csv")
    with open(tmp_path / "segments.csv", encoding="utf-8", newline="") as file:
        rows = {(row["segment"], row["lesion"]): row for row in csv.DictReader(file)}
    kidney, lesion, liver = rows["kidney", ""], rows["kidney tumor", "1"], rows["liver", ""]
    assert (kidney["right_volume_mL"], kidney["left_volume_mL"], kidney["side"]) == ("63.040", "51.200", "")
    assert (lesion["side"], lesion["right_volume_mL"]) == ("left", "")
    assert (liver["right_volume_mL"], liver["left_volume_mL"]) == ("", "")


def test_real_kidneys_have_their_sides(data):
    """Of a CT in which they were annotated apart."""
    folder = data / "volumes/totalseg_example_3mm"
    labels = sitk.ReadImage(str(folder / "label.nii.gz"), sitk.sitkUInt8)
    known = sitk.ChangeLabel(labels, {3: 2, 4: 2, 5: 0})
    _, kidney, *_ = measure(known, sitk.ReadImage(str(folder / "ct.nii.gz")), TASK)
    assert kidney.side_ml == pytest.approx({"right": 192.6, "left": 137.4}, abs=0.1)
