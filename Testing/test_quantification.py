"""Measures of shapes whose sizes are known."""

import csv
import dataclasses
import math

import numpy as np
import pytest
import SimpleITK as sitk
from HLFDSegmentationLib.errors import InputError, OutputError
from HLFDSegmentationLib.measures import CSV_COLUMNS
from HLFDSegmentationLib.pieces import label_boxes, values_box
from HLFDSegmentationLib.quantification import measure, write_measures_csv
from HLFDSegmentationLib.tasks import TASKS

TASK = TASKS["liver-tumor"]
LIVER, TUMOR = 1, 2
OBLIQUE = (math.cos(0.3), -math.sin(0.3), 0.0, math.sin(0.3), math.cos(0.3), 0.0, 0.0, 0.0, 1.0)


def image(array, spacing=(1.0, 1.0, 1.0), origin=(-30.0, 20.0, 400.0), direction=None) -> sitk.Image:
    result = sitk.GetImageFromArray(array)
    result.SetSpacing(spacing)
    result.SetOrigin(origin)
    if direction:
        result.SetDirection(direction)
    return result


def ball(shape, center, radius_mm, spacing) -> np.ndarray:
    """Voxels (z, y, x) within a radius around a center (array index); spacing is (x, y, z)."""
    z, y, x = np.indices(shape)
    dz, dy, dx = ((grid - c) * mm for grid, c, mm in zip((z, y, x), center, reversed(spacing)))
    return dz**2 + dy**2 + dx**2 <= radius_mm**2


def measured(labels, ct=None, task=TASK, **geometry):
    ct = np.zeros(labels.shape, np.int16) if ct is None else ct
    return measure(image(labels.astype(np.uint8), **geometry), image(ct, **geometry), task)


def lesions_of(labels, **geometry):
    return measured(labels, **geometry)[TUMOR - 1].lesions


def test_ball_has_its_volume_diameter_center_and_slice():
    spacing = (0.7, 0.7, 2.0)
    labels = TUMOR * ball((30, 60, 60), (14, 30, 25), 12.0, spacing)
    tumor = measured(labels, spacing=spacing)[1]
    (lesion,) = tumor.lesions
    assert tumor.volume_ml == pytest.approx(4 / 3 * math.pi * 1.2**3, rel=0.02)
    assert lesion.volume_ml == pytest.approx(tumor.volume_ml)
    assert lesion.longest_axial_diameter_mm == pytest.approx(24.0, abs=0.7)
    assert lesion.center_mm == pytest.approx((-30 + 25 * 0.7, 20 + 30 * 0.7, 400 + 14 * 2.0))
    assert lesion.slice_index == 14


@pytest.mark.parametrize("spacing", [(0.5, 0.5, 5.0), (0.8, 0.8, 1.0), (1.0, 2.0, 3.0)])
def test_a_disc_of_20_mm_is_20_mm_wide_to_within_a_pixel(spacing):
    z, y, x = np.indices((3, 61, 61))
    disc = (z == 1) & (((x - 30) * spacing[0]) ** 2 + ((y - 30) * spacing[1]) ** 2 <= 10.0**2)
    (lesion,) = lesions_of(TUMOR * disc, spacing=spacing)
    assert lesion.longest_axial_diameter_mm == pytest.approx(20.0, abs=max(spacing[:2]))


@pytest.mark.parametrize("border", [0, 3])
def test_boxes_hold_each_value_with_or_without_an_empty_border(border):
    labels = np.zeros((4, 5, 6), np.uint8)
    labels[0:2, 1:5, 0:3] = 1
    labels[3, 0, 5] = 3
    places = ([(0, 2), (1, 5), (0, 3)], None, [(3, 4), (0, 1), (5, 6)], None)
    boxes = [place and tuple(slice(start + border, stop + border) for start, stop in place) for place in places]
    assert label_boxes(np.pad(labels, border), 4) == boxes
    assert values_box(np.pad(labels, border), [1, 3]) == (*(slice(border, border + size) for size in labels.shape),)


def test_nothing_has_no_box():
    assert label_boxes(np.zeros((2, 3, 4), np.uint8), 2) == [None, None]
    assert values_box(np.zeros((2, 3, 4), np.uint8), [1, 2]) is None


def test_the_diameter_is_taken_in_one_axial_slice_and_not_across_slices():
    labels = np.zeros((20, 10, 10), np.uint8)
    labels[2:18, 4, 4] = TUMOR  # a column of 16 slices
    labels[5, 4, 3:7] = TUMOR
    (lesion,) = lesions_of(labels)
    assert lesion.longest_axial_diameter_mm == pytest.approx(4.0)
    assert lesion.slice_index == 5
    ends = sorted(lesion.diameter_ends_mm)
    assert ends[0] == pytest.approx((-30 + 2.5, 24, 405))
    assert ends[1] == pytest.approx((-30 + 6.5, 24, 405))


def test_the_diameter_does_not_bridge_pieces_of_a_lesion_in_one_slice():
    """They are one lesion by another slice; what lies between them in this one is no tumor."""
    labels = np.zeros((3, 10, 40), np.uint8)
    labels[0, 4, 2:10] = labels[0, 4, 14:22] = TUMOR
    labels[1, 4, 9:15] = TUMOR
    (lesion,) = lesions_of(labels)
    assert lesion.volume_ml == pytest.approx(0.022)
    assert lesion.longest_axial_diameter_mm == pytest.approx(8.0)
    assert {end[2] for end in lesion.diameter_ends_mm} == {400.0}


def test_pixels_that_touch_at_a_corner_are_one_piece_of_a_slice():
    labels = np.zeros((1, 12, 30), np.uint8)
    labels[0, 4, 2:12] = labels[0, 5, 12:22] = TUMOR
    (lesion,) = lesions_of(labels)
    assert lesion.longest_axial_diameter_mm == pytest.approx(20.0, abs=0.1)


def test_a_hollow_or_concave_lesion_is_as_long_as_its_outline():
    labels = np.zeros((1, 40, 40), np.uint8)
    labels[0, 5:35, 5:35] = TUMOR
    labels[0, 6:34, 6:40] = 0  # an angular C, open to the left of the patient
    (lesion,) = lesions_of(labels)
    assert lesion.longest_axial_diameter_mm == pytest.approx(math.hypot(29, 30), abs=0.1)


@pytest.mark.parametrize(
    ("where", "length"),
    [
        ((0, 3, 3), 1.5),  # one voxel: its longer side
        ((0, 3, slice(1, 6)), 5 * 0.9),  # rows and columns of voxels lie on one line
        ((0, slice(1, 6), 3), 5 * 1.5),
        ((0, range(6), range(6)), math.hypot(5 * 1.5, 5 * 0.9)),  # a diagonal: at least from center to center
    ],
)
def test_tiny_and_straight_lesions_have_a_length(where, length):
    labels = np.zeros((1, 8, 8), np.uint8)
    labels[where] = TUMOR
    (lesion,) = lesions_of(labels, spacing=(0.9, 1.5, 4.0))
    assert length - 1e-6 <= lesion.longest_axial_diameter_mm <= length + 1.5


def test_lesions_that_touch_at_a_corner_are_one_and_others_come_largest_first():
    labels = np.zeros((12, 12, 12), np.uint8)
    labels[1:3, 1:3, 1:3] = TUMOR
    labels[3:5, 3:5, 3:5] = TUMOR  # touches the first at one corner, in three dimensions
    labels[8, 8, 8] = TUMOR
    labels[8:11, 1:4, 1:4] = TUMOR
    lesions = lesions_of(labels)
    assert [lesion.number for lesion in lesions] == [1, 2, 3]
    assert [lesion.volume_ml for lesion in lesions] == pytest.approx([0.027, 0.016, 0.001])


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "RAI", "SLP", "PIR"])
@pytest.mark.parametrize("direction", [None, OBLIQUE])
def test_measures_do_not_depend_on_how_the_ct_stores_its_axes(orientation, direction):
    spacing = (0.8, 0.9, 3.0)
    labels = LIVER * ball((16, 50, 60), (8, 25, 28), 18.0, spacing).astype(np.uint8)
    labels[ball(labels.shape, (6, 22, 30), 6.0, spacing)] = TUMOR
    labels[11, 30, 20:27] = TUMOR
    geometry = {"spacing": spacing, "direction": direction}
    ct = np.where(labels == LIVER, 100, 40).astype(np.int16)
    stored = [sitk.DICOMOrient(image(array, **geometry), orientation) for array in (labels, ct)]

    expected, found = measured(labels, ct, **geometry), measure(*stored, TASK)

    for wanted, got in zip(expected, found):
        assert got.volume_ml == pytest.approx(wanted.volume_ml)
        assert got.mean_hu == pytest.approx(wanted.mean_hu)
        for lesion, same in zip(wanted.lesions, got.lesions, strict=True):
            assert same.volume_ml == pytest.approx(lesion.volume_ml)
            assert same.longest_axial_diameter_mm == pytest.approx(lesion.longest_axial_diameter_mm)
            assert same.center_mm == pytest.approx(lesion.center_mm)
    for lesion in found[1].lesions:
        slices = np.flatnonzero((sitk.GetArrayFromImage(stored[0]) == TUMOR).any(axis=(1, 2)))
        assert slices.min() <= lesion.slice_index <= slices.max()


def test_an_organ_is_given_without_and_with_its_own_tumors():
    task = TASKS["abdomen"]
    labels = np.zeros((4, 10, 10), np.uint8)
    labels[:, :5] = 1  # liver
    labels[:, 5:8] = 2  # kidney
    labels[0, 0, :3] = 3  # liver tumor
    ct = np.choose(labels, [-1000, 110, 180, 60, 0]).astype(np.int16)
    liver, kidney, liver_tumor, kidney_tumor = measured(labels, ct, task)
    assert (liver.volume_ml, liver.volume_with_tumors_ml) == pytest.approx((0.197, 0.2))
    assert (kidney.volume_ml, kidney.volume_with_tumors_ml) == pytest.approx((0.12, 0.12))
    assert (liver.mean_hu, kidney.mean_hu, liver_tumor.mean_hu) == pytest.approx((110, 180, 60))
    assert liver.lesions == []
    assert liver_tumor.volume_with_tumors_ml is None
    assert (kidney_tumor.volume_ml, kidney_tumor.mean_hu, kidney_tumor.lesions) == (0.0, None, [])


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "SLP"])
def test_each_lesion_has_its_own_mean_and_spread_of_hu(orientation):
    labels = np.zeros((8, 12, 14), np.uint8)
    labels[1:4, 2:5, 3:7] = TUMOR
    labels[6, 8:10, 10] = TUMOR
    ct = np.random.default_rng(0).normal(60, 20, labels.shape).astype(np.float32)
    stored = [sitk.DICOMOrient(image(array), orientation) for array in (labels, ct)]
    tumor = measure(*stored, TASK)[TUMOR - 1]
    large, small = tumor.lesions
    own = ct[1:4, 2:5, 3:7]
    assert (large.mean_hu, large.sd_hu) == pytest.approx((own.mean(), own.std()), rel=1e-5)
    assert small.mean_hu == pytest.approx(ct[6, 8:10, 10].mean(), rel=1e-5)
    assert tumor.sd_hu == pytest.approx(ct[labels == TUMOR].std(), rel=1e-5)


def test_mean_hu_does_not_overflow_and_float_ct_is_read():
    labels = np.ones((40, 40, 40), np.uint8)
    assert measured(labels, np.full(labels.shape, 3000, np.int16))[0].mean_hu == 3000.0
    assert measured(labels, np.full(labels.shape, 55.5, np.float32))[0].mean_hu == 55.5


def test_labels_of_another_ct_are_refused():
    labels = image(np.ones((3, 4, 5), np.uint8))
    for other in (
        image(np.zeros((3, 4, 6), np.int16)),
        image(np.zeros((3, 4, 5), np.int16), spacing=(1.0, 1.0, 2.0)),
        image(np.zeros((3, 4, 5), np.int16), origin=(0.0, 0.0, 0.0)),
        image(np.zeros((3, 4, 5), np.int16), direction=OBLIQUE),
    ):
        with pytest.raises(InputError, match="grid"):
            measure(labels, other, TASK)


def test_real_labels_have_the_volumes_that_are_known(data):
    labels = sitk.ReadImage(str(data / "volumes/totalseg_example_3mm/label.nii.gz"), sitk.sitkUInt8)
    ct = sitk.ReadImage(str(data / "volumes/totalseg_example_3mm/ct.nii.gz"))
    known = sitk.ChangeLabel(labels, {3: 2, 4: 2, 5: 0})
    liver, kidney, *tumors = measure(known, ct, TASKS["abdomen"])
    assert liver.volume_ml == pytest.approx(1125.7, abs=0.1)
    assert liver.mean_hu == pytest.approx(44.5, abs=0.1)
    assert kidney.volume_ml == pytest.approx(192.6 + 137.4, abs=0.1)
    assert all(tumor.volume_ml == 0 and tumor.lesions == [] for tumor in tumors)


def test_csv_has_a_row_for_each_segment_and_each_lesion(tmp_path):
    labels = np.zeros((6, 20, 20), np.uint8)
    labels[:, 2:18, 2:18] = LIVER
    labels[3, 10, 5:9] = TUMOR
    labels[1, 4, 4] = TUMOR
    measures = measured(labels, np.full(labels.shape, 80, np.int16), spacing=(1.0, 1.0, 2.0))
    measures[0] = dataclasses.replace(measures[0], label='Leber, "groß"')
    write_measures_csv(measures, tmp_path / "segments.csv")

    with open(tmp_path / "segments.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == CSV_COLUMNS
    assert [(row["segment"], row["lesion"]) for row in rows] == [
        ('Leber, "groß"', ""),
        ("liver tumor", ""),
        ("liver tumor", "1"),
        ("liver tumor", "2"),
    ]
    assert float(rows[0]["volume_mL"]) == pytest.approx(measures[0].volume_ml, abs=1e-3)
    assert float(rows[0]["volume_with_tumors_mL"]) == pytest.approx(16 * 16 * 6 * 2 / 1000)
    assert rows[0]["mean_HU"] == "80.0"
    assert (rows[1]["lesion_count"], rows[1]["volume_with_tumors_mL"]) == ("2", "")
    lesion = rows[2]
    assert (lesion["longest_axial_diameter_mm"], lesion["slice_index"]) == ("4.0", "3")
    assert (lesion["mean_HU"], lesion["sd_HU"]) == ("80.0", "0.0")
    # Right and anterior are opposite to the image's own left and posterior.
    assert [lesion[f"center_{axis}_mm"] for axis in "RAS"] == ["23.5", "-30.0", "406.0"]


def test_csv_of_a_missing_segment_has_volume_0_and_no_mean(tmp_path):
    write_measures_csv(measured(np.zeros((2, 4, 4))), tmp_path / "segments.csv")
    text = (tmp_path / "segments.csv").read_text(encoding="utf-8")
    assert text.splitlines()[1:] == ["liver,,0.000,0.000" + 11 * ",", "liver tumor,,0.000,,,0" + 9 * ","]


def test_the_volume_of_a_voxel_is_in_the_csv(tmp_path):
    labels = np.zeros((4, 8, 8), np.uint8)
    labels[1, 2, 3] = TUMOR
    write_measures_csv(measured(labels, spacing=(0.7, 0.7, 0.123)), tmp_path / "segments.csv")
    tumor, lesion = (tmp_path / "segments.csv").read_text(encoding="utf-8").splitlines()[2:]
    assert tumor.split(",")[2] == lesion.split(",")[2] == "0.00006027"


def test_csv_that_cannot_be_written_leaves_the_old_one(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OutputError):
        write_measures_csv(measured(np.zeros((2, 4, 4))), tmp_path / "file" / "segments.csv")
    write_measures_csv(measured(np.ones((2, 4, 4))), tmp_path / "segments.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "segments.csv"]


def test_the_center_is_that_of_gravity():
    labels = np.zeros((3, 12, 12), np.uint8)
    labels[1, 2, 1:11] = labels[1, 3, 1] = TUMOR
    (lesion,) = lesions_of(labels, origin=(0.0, 0.0, 0.0))
    assert lesion.center_mm == pytest.approx((56 / 11, 23 / 11, 1.0))


def test_labels_on_a_grid_that_differs_by_little_are_refused():
    labels = image(np.ones((3, 4, 5), np.uint8))
    for other in (
        image(np.zeros((3, 4, 5), np.int16), spacing=(1.0, 1.0, 1.05)),
        image(np.zeros((3, 4, 5), np.int16), origin=(-30.0, 20.0, 400.05)),
        image(np.zeros((3, 4, 5), np.int16), direction=(0.9992, -0.04, 0, 0.04, 0.9992, 0, 0, 0, 1)),
    ):
        with pytest.raises(InputError, match="grid"):
            measure(labels, other, TASK)


def test_the_longest_of_several_pieces_in_pixels_that_are_not_square():
    """One lesion by the slice above; the piece that is found last is the longest."""
    labels = np.zeros((3, 10, 40), np.uint8)
    labels[0, 3, 2:7] = labels[0, 3:6, 9] = TUMOR
    labels[1, 3, 6:10] = TUMOR
    (lesion,) = lesions_of(labels, spacing=(1.0, 3.0, 1.0))
    assert lesion.longest_axial_diameter_mm == pytest.approx(9.0)
