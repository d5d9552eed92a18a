"""What makes a result doubtful stands beside it, at every door."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from HLFDSegmentationLib import inference
from HLFDSegmentationLib.axial_volume import AxialVolume
from HLFDSegmentationLib.cautions.doubts import (
    absence_cautions,
    anatomy_doubts,
    class_voxels,
    contrast_cautions,
    cut_doubts,
    geometry_doubts,
    little_doubts,
    model_cautions,
    second_kidney_cautions,
    tilt_doubts,
)
from HLFDSegmentationLib.inference import Segmenter
from HLFDSegmentationLib.model_package import read_package
from HLFDSegmentationLib.model_store import find_package
from HLFDSegmentationLib.tasks import TASKS
from HLFDSegmentationLib.volumes import AxialSlices

TASK = TASKS["abdomen"]
LIVER, KIDNEY, LIVER_TUMOR, KIDNEY_TUMOR = 1, 2, 3, 4


@pytest.mark.parametrize(
    ("shape", "spacing", "told"),
    [
        ((80, 512, 512), (0.8, 0.8, 2.5), []),
        ((1, 256, 256), (1.5, 1.5, 90.0), ["single slice of 90 mm"]),
        ((80, 512, 512), (0.008, 0.008, 2.5), ["show only 4.1 x 4.1 mm"]),
        ((3, 1, 1), (0.8, 0.8, 2.5), ["show only 0.8 x 0.8 mm"]),
        ((20, 512, 512), (0.8, 0.8, 90.0), ["90 mm apart"]),
        ((400, 20, 512), (0.8, 20.0, 0.8), ["voxels are 20 mm wide within axial slices"]),
    ],
)
def test_geometry(shape, spacing, told):
    doubts = geometry_doubts(shape, spacing, spacing[2] if shape[0] == 1 else None)
    assert len(doubts) == len(told)
    assert all(words in doubt for words, doubt in zip(told, doubts))


@pytest.mark.parametrize(("degrees", "told"), [(0.0, False), (9.0, False), (12.0, True), (30.0, True)])
@pytest.mark.parametrize("orientation", ["LPS", "RAI", "SLP"])
def test_tilted_slices_are_told_with_their_angle(degrees, told, orientation, untrained_package):
    ct = sitk.GetImageFromArray(np.zeros((12, 24, 24), np.float32))
    ct.SetSpacing((3.0, 3.0, 5.0))
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    ct.SetDirection((1.0, 0.0, 0.0, 0.0, cosine, -sine, 0.0, sine, cosine))
    notes = Segmenter(read_package(untrained_package), "cpu").segment(sitk.DICOMOrient(ct, orientation)).notes
    assert any(f"tilted by {degrees:.0f}°" in note for note in notes) == told
    assert any("straight slices were cut" in note for note in notes) == (degrees > 20)


def test_the_spacing_of_a_tilted_ct_is_told_and_not_that_of_the_slices_cut_from_it(untrained_package):
    ct = sitk.GetImageFromArray(np.zeros((8, 24, 24), np.float32))
    ct.SetSpacing((3.0, 3.0, 15.0))
    ct.SetDirection(sitk.Euler3DTransform((0, 0, 0), np.radians(25), 0, 0).GetMatrix())
    notes = Segmenter(read_package(untrained_package), "cpu").segment(ct).notes
    assert any("slices are 15 mm apart" in note for note in notes)


def test_slices_of_a_patient_who_is_turned_in_them_are_not_tilted():
    """Training turns its slices, too."""
    ct = sitk.GetImageFromArray(np.zeros((4, 8, 8), np.float32))
    ct.SetDirection((np.cos(0.3), -np.sin(0.3), 0.0, np.sin(0.3), np.cos(0.3), 0.0, 0.0, 0.0, 1.0))
    assert tilt_doubts(AxialSlices(ct, TASK).slice_tilt, cut_straight=False) == []


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_single_slice_in_any_direction_is_told(axis, untrained_package):
    """Its volumes are of this slice alone."""
    shape = [24, 24, 24]
    shape[axis] = 1
    ct = sitk.GetImageFromArray(np.zeros(shape, np.float32))
    ct.SetSpacing([5.0 if axis == 2 - direction else 3.0 for direction in range(3)])
    notes = Segmenter(read_package(untrained_package), device="cpu").segment(ct).notes
    assert any("single slice of 5 mm" in note for note in notes)


def test_looking_for_doubts_takes_no_more_memory_than_a_few_bytes_a_voxel():
    """It comes last, when labels and CT fill the memory of a large CT already."""
    labels = np.full((40, 100, 100), LIVER, np.uint8)
    labels[:, :50] = KIDNEY
    ct = tissue(labels.shape)
    tracemalloc.start()
    try:
        cut_doubts(labels, ct, TASK)
        contrast_cautions(ct.voxels, labels, TASK, ct.voxel_ml)
        assert tracemalloc.get_traced_memory()[1] < 5 * labels.size
    finally:
        tracemalloc.stop()


def tissue(shape, spacing=(1.0, 1.0, 5.0)):
    """A CT whose voxels all differ from those around them, as those of a patient do."""
    ct = sitk.GetImageFromArray(np.random.default_rng(0).integers(1, 100, shape).astype(np.int16))
    ct.SetSpacing(spacing)
    return AxialVolume(ct)


@pytest.mark.parametrize(
    ("first", "last", "told"),
    [
        (0, 0, []),
        (LIVER, 0, ["liver was found:"]),
        (0, KIDNEY_TUMOR, ["kidney was found:"]),
        (LIVER_TUMOR, KIDNEY, ["liver and kidney were found:"]),
    ],
)
def test_an_organ_that_is_cut_off_is_told(first, last, told):
    labels = np.zeros((4, 10, 10), np.uint8)
    labels[1:3] = LIVER
    labels[1:3, :, [0, -1]] = labels[1:3, [0, -1]] = 0
    labels[0, 5, 5], labels[-1, 5, 5] = first, last
    doubts = cut_doubts(labels, tissue(labels.shape), TASK)
    assert len(doubts) == len(told)
    assert all(f"begins or ends where {words}" in doubt for words, doubt in zip(told, doubts))
    assert cut_doubts(labels[:1], tissue((1, 10, 10)), TASK) == []


@pytest.mark.parametrize("side", [np.s_[:, 0], np.s_[:, -1], np.s_[:, :, 0], np.s_[:, :, -1]])
@pytest.mark.parametrize(("thick_mm", "told"), [(2.0, False), (4.0, True)])
def test_an_organ_that_the_sides_of_the_slices_cut_off_is_told(side, thick_mm, told):
    """From 1 cm2 on, with its tumors, and not as if the first or last slice cut it."""
    labels = np.zeros((5, 10, 10), np.uint8)
    labels[1:4][side] = LIVER
    labels[2][side[1:]] = LIVER_TUMOR
    doubts = cut_doubts(labels, tissue(labels.shape, (1.0, 1.0, thick_mm)), TASK)
    assert [doubt.split(":")[0] for doubt in doubts] == ["The sides of the CT's slices cut off liver"] * told


AT_ENDS, AT_SIDES = "The CT begins or ends where liver was found", "The sides of the CT's slices cut off liver"


def patient():
    """HU of fat in air, with noise, 3 x 3 x 3 mm, and a liver of 60 mm in its middle (z, y, x)."""
    rng = np.random.default_rng(0)
    hu = rng.normal(-1000, 20, (40, 50, 50))
    hu[:, 6:44, 6:44] = rng.normal(-100, 20, (40, 38, 38))
    liver = np.zeros(hu.shape, bool)
    liver[10:30, 15:35, 15:35] = True
    hu[liver] = rng.normal(100, 20, liver.sum())
    return hu, liver


def two_values_at_the_top(hu):
    """As around and in the circle that a scanner reconstructs."""
    y, x = np.indices(hu.shape[1:]) - 24.5
    hu[20:] = np.where(y**2 + x**2 < 25**2, -1024, -3024)


def box_around_a_part(hu):
    whole = hu.copy()
    hu[...] = -1024
    hu[5:35, 20:40, 10:40] = whole[5:35, 20:40, 10:40]


def circle(hu):
    y, x = np.indices(hu.shape[1:]) - 24.5
    hu[:, y**2 + x**2 > 8**2] = -2000


def turned_grid(hu):
    z, y, _ = np.indices(hu.shape)
    hu[z + 0.1 * y > 22] = 0


def turned_grid_of_a_window(hu):
    np.clip(hu, -200, 300, out=hu)
    turned_grid(hu)


def mixed_border(hu):
    """As where a CT is brought to another grid by a mean with what fills it up."""
    hu[:, :19] = -1024
    hu[:, 19] = -450


def window(hu):
    """The lungs above the liver have one value up to the last slice, and reach it, as the fat in front of it does."""
    hu[30:, 8:42, 8:42] = -800
    hu[:, :15] = -250
    np.clip(hu, -200, 300, out=hu)


def window_filled_up(hu):
    window(hu)
    hu[:, :, [0, 1, -2, -1]] = -1024


def window_in_8_bits(hu):
    window(hu)
    hu += 200


def lungs_cut_at_air(hu):
    """Those of emphysema, up to the last slice."""
    hu[30:, 8:42, 8:42] = np.random.default_rng(1).normal(-960, 20, (10, 34, 34))
    np.clip(hu, -1000, 1000, out=hu)


def gas_cut_at_air(hu):
    """Of bowel beside the liver: of one value, but not up to where the CT ends."""
    hu[15:25, 8:15, 15:35] = -1050
    hu[15:25, 15:35, 35:40] = -1050
    np.clip(hu, -1000, 1000, out=hu)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (two_values_at_the_top, [AT_ENDS]),
        (box_around_a_part, [AT_SIDES]),
        (circle, [AT_SIDES]),
        (turned_grid, [AT_ENDS, AT_SIDES]),
        (turned_grid_of_a_window, [AT_ENDS, AT_SIDES]),
        (mixed_border, [AT_SIDES]),
        (window, []),
        (window_filled_up, []),
        (window_in_8_bits, []),
        (lungs_cut_at_air, []),
        (gas_cut_at_air, []),
    ],
)
@pytest.mark.parametrize("orientation", ["LPS", "RAI", "SLP"])
def test_an_organ_that_ends_where_the_ct_is_filled_up_is_told(change, told, orientation):
    """As by padding, a circular field of view or a turned grid; gas, lungs and what a window makes even are none."""
    hu, liver = patient()
    change(hu)
    labels = np.where(liver & (hu > 0), LIVER, 0).astype(np.uint8)
    ct = sitk.GetImageFromArray(hu.astype(np.int16))
    ct.SetSpacing((3.0, 3.0, 3.0))
    volume = AxialVolume(sitk.DICOMOrient(ct, orientation))
    assert [doubt.split(":")[0] for doubt in cut_doubts(labels, volume, TASK)] == told


@pytest.mark.parametrize("mean", [0.0, -920.0], ids=["water", "lung"])
def test_voxels_that_have_the_value_of_a_filled_up_ct_by_chance_cut_no_organ(mean):
    """As in the two slices of 5 mm around a region, or above the dome of a liver."""
    hu = np.random.default_rng(0).normal(mean, 20, (12, 70, 70))
    hu[:, 0, 0] = -1000
    ct = sitk.GetImageFromArray(hu.astype(np.int16))
    ct.SetSpacing((2.0, 2.0, 5.0))
    labels = np.zeros(hu.shape, np.uint8)
    labels[2:10, 5:65, 5:65] = LIVER
    assert cut_doubts(labels, AxialVolume(ct), TASK) == []


def test_an_organ_that_is_cut_off_is_told_with_the_result(untrained_package, monkeypatch):
    monkeypatch.setattr(inference, "clean", lambda labels, *_: labels.fill(LIVER) or [])
    ct = sitk.GetImageFromArray(np.zeros((3, 24, 24), np.float32))
    ct.SetSpacing((3.0, 3.0, 5.0))
    notes = Segmenter(read_package(untrained_package), device="cpu").segment(ct).notes
    assert any("begins or ends where liver was found" in note for note in notes)


def test_slices_that_fill_up_a_ct_hold_nothing_and_do_not_hide_where_an_organ_is_cut(monkeypatch):
    """The network, or a slice beside it, may find something in a slice of one value."""
    monkeypatch.setattr(inference, "classify", lambda logits, *_: torch.full((1, *logits.shape[2:]), LIVER))
    hu = np.random.default_rng(0).integers(0, 100, (12, 40, 40)).astype(np.int16)
    hu[-3:], hu[0] = -1024, 0
    ct = sitk.GetImageFromArray(hu)
    ct.SetSpacing((3.0, 3.0, 5.0))
    result = Segmenter(find_package(), "cpu").segment(ct)
    found = sitk.GetArrayViewFromImage(result.labels).all(axis=(1, 2))
    assert found.tolist() == [False, *[True] * 8, *[False] * 3]
    assert any("begins or ends where liver was found" in note for note in result.notes)
    assert not any("blank" in note for note in result.notes)


def test_tumor_in_the_first_slice_that_shows_anything_is_kept_as_in_the_first_slice(monkeypatch):
    """The rest of it may lie beyond; within the CT, what one close slice shows alone is no lesion."""
    lesion = np.zeros((5, 40, 40), np.int64)
    lesion[:, 5:35, 5:35] = LIVER
    lesion[0, 10:20, 10:20] = LIVER_TUMOR

    def found(blank: int) -> int:
        slices = iter([*np.zeros((blank, 40, 40), np.int64), *lesion])
        monkeypatch.setattr(inference, "classify", lambda logits, *_: torch.from_numpy(next(slices))[None])
        hu = np.random.default_rng(0).integers(0, 100, (blank + 5, 40, 40)).astype(np.int16)
        hu[:blank] = -1024
        ct = sitk.GetImageFromArray(hu)
        ct.SetSpacing((3.0, 3.0, 2.5))
        result = Segmenter(find_package(), "cpu").segment(ct)
        return int((sitk.GetArrayViewFromImage(result.labels) == LIVER_TUMOR).sum())

    assert found(blank=0) == found(blank=3) == 100


def test_an_organ_that_the_end_of_a_tilted_ct_cuts_is_told(monkeypatch):
    """A CT that is cut anew is filled up to a box, and ends within it."""

    def column(labels: np.ndarray, *_) -> list[str]:
        """An organ in the middle of the box, where the CT ends a sixth of the height below its top."""
        sixth, middle = len(labels) // 6, [size // 2 for size in labels.shape[1:]]
        labels[sixth:-sixth, middle[0] - 9 : middle[0] + 9, middle[1] - 9 : middle[1] + 9] = LIVER
        return []

    monkeypatch.setattr(inference, "clean", column)
    ct = sitk.GetImageFromArray(np.random.default_rng(0).integers(0, 100, (20, 60, 60)).astype(np.int16))
    ct.SetSpacing((3.0, 3.0, 5.0))
    tilt = sitk.Euler3DTransform()
    tilt.SetRotation(np.radians(25), 0, 0)
    ct.SetDirection(tilt.GetMatrix())
    segmenter = Segmenter(find_package(), "cpu")
    found = segmenter.segment(ct)
    for result in (found, segmenter.explain(ct, found.labels)):
        assert any("begins or ends where liver was found" in note for note in result.notes)


def test_pieces_that_the_end_of_a_tilted_ct_cuts_apart_are_kept(monkeypatch):
    z, y, x = np.indices((20, 60, 60))
    lobes = np.zeros(z.shape, np.uint8)
    for middle, radius in ((15, 12), (45, 9)):
        lobes[(x - middle) ** 2 + (y - 30) ** 2 + z**2 < radius**2] = LIVER
    monkeypatch.setattr(AxialSlices, "to_own", lambda slices, labels: lobes.copy())
    ct = sitk.GetImageFromArray(np.random.default_rng(0).integers(0, 100, z.shape).astype(np.int16))
    ct.SetSpacing((3.0, 3.0, 3.0))
    ct.SetDirection(sitk.Euler3DTransform((0, 0, 0), np.radians(25), 0, 0).GetMatrix())
    found = Segmenter(find_package(), "cpu").segment(ct).labels
    assert np.array_equal(sitk.GetArrayFromImage(found), lobes)


def test_hardly_anything_of_an_organ():
    """With its tumors; nothing at all is told elsewhere."""
    labels = np.zeros((2, 10, 10), np.uint8)
    assert little_doubts(class_voxels(labels, TASK), TASK, 1.0) == []
    labels[0, :2] = LIVER
    labels[0, 2] = LIVER_TUMOR
    (doubt,) = little_doubts(class_voxels(labels, TASK), TASK, 1.0)
    assert "Only 30.0 mL of liver with liver tumor was found" in doubt
    assert little_doubts(class_voxels(labels, TASK), TASK, 2.0) == []


def test_an_organ_that_was_not_found_is_told():
    """A measure of 0 mL beside "0 lesions" reads as if it were healthy."""
    labels = np.zeros((2, 10, 10), np.uint8)
    (caution,) = absence_cautions(class_voxels(labels, TASK), TASK, of_region=False)
    assert "No liver and no kidney was found" in caution
    labels[0, 0, 0] = LIVER
    (caution,) = absence_cautions(class_voxels(labels, TASK), TASK, of_region=False)
    assert "No kidney was found, so" in caution and "Where the CT shows it, the model has missed it" in caution
    (caution,) = absence_cautions(class_voxels(labels, TASK), TASK, of_region=True)
    assert "No kidney was found in the slices around the region" in caution and "Where these slices show it" in caution
    labels[0, 0, 1] = KIDNEY_TUMOR
    assert absence_cautions(class_voxels(labels, TASK), TASK, of_region=False) == []


def test_a_few_voxels_of_an_organ_are_not_told_as_none():
    [told] = little_doubts(np.array([1000, *[5] * (TASK.num_classes - 1)]), TASK, 0.001)
    assert told.startswith("Only less than 0.1 mL of liver")


def kidneys():
    """Two of 108 mL, in a CT of 30 slices: its image and its labels (z, y, x)."""
    ct = sitk.GetImageFromArray(np.random.default_rng(0).integers(0, 100, (30, 60, 80)).astype(np.int16))
    ct.SetSpacing((4.0, 4.0, 5.0))
    labels = np.zeros((30, 60, 80), np.uint8)
    labels[8:23, 40:49, 10:20] = labels[8:23, 40:49, 60:70] = KIDNEY
    return ct, labels


def tumor_in_place_of_one(labels):
    labels[9:23, :, 60:] *= 2


def in_front(labels):
    """By 80 mm."""
    labels[..., 60:] = np.roll(labels[..., 60:], -20, axis=1)


def little(labels):
    labels[11:, :, 60:] = 0


def little_at_the_end_of_the_ct(labels):
    labels[:11, :, 60:] = KIDNEY * (labels[8:19, :, 60:] > 0)
    labels[3:, :, 60:] = 0


def speck(labels):
    labels[8:, :, 61:] = labels[9:, :, 60:] = 0


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ((), None),
        ((tumor_in_place_of_one,), "is mostly tumor:"),
        ((in_front,), "lies 80 mm in front of the other:"),
        ((tumor_in_place_of_one, in_front), "is mostly tumor and lies 80 mm in front of the other:"),
        ((little,), "is small for one:"),
        ((little_at_the_end_of_the_ct,), None),
        ((speck,), None),
    ],
)
@pytest.mark.parametrize("orientation", ["LPS", "RAI", "SLP"])
def test_a_second_kidney_that_may_be_none_is_told(changes, told, orientation):
    ct, labels = kidneys()
    for change in changes:
        change(labels)
    volume = AxialVolume(sitk.DICOMOrient(ct, orientation))
    cautions = second_kidney_cautions(labels, TASK, volume)
    assert len(cautions) == (told is not None)
    if told:
        z, y, x = np.argwhere(labels[..., 60:]).mean(axis=0)
        where, ml = volume.place(np.array([z, y, 60 + x])), np.count_nonzero(labels[..., 60:]) * 0.08
        start = f"One of the two pieces taken for kidney ({ml:.1f} mL at {where}) {told} in a patient"
        assert cautions[0].startswith(start)


@pytest.mark.parametrize(("value", "told"), [(-50, True), (-1024, False)])
def test_a_kidney_that_ends_where_the_ct_is_filled_up_is_not_small(value, told):
    ct, labels = kidneys()
    little(labels)
    hu = sitk.GetArrayFromImage(ct)
    hu[11:, :, 60:] = value
    filled = sitk.GetImageFromArray(hu)
    filled.CopyInformation(ct)
    assert bool(second_kidney_cautions(labels, TASK, AxialVolume(filled))) == told


def test_a_large_tumor_of_a_kidney_and_other_tasks_say_nothing_of_a_second_one():
    ct, labels = kidneys()
    labels[14:23, :, 60:] *= 2  # 43 mL of kidney are left
    assert second_kidney_cautions(labels, TASK, AxialVolume(ct)) == []
    assert second_kidney_cautions(np.minimum(labels, 2), TASKS["liver-tumor"], AxialVolume(ct)) == []


def blank_at(z, ct, labels):
    """The same CT and labels with a blank slice, as a scanner's error leaves one."""
    hu = sitk.GetArrayFromImage(ct)
    hu[z] = labels[z] = 0
    blank = sitk.GetImageFromArray(hu)
    blank.CopyInformation(ct)
    return AxialVolume(blank)


def test_a_blank_slice_hides_no_second_kidney_that_is_none():
    ct, labels = kidneys()
    little(labels)
    (caution,) = second_kidney_cautions(labels, TASK, blank_at(15, ct, labels))
    assert "is small for one" in caution


def test_a_blank_slice_makes_no_second_kidney_of_a_pole():
    ct, labels = kidneys()
    labels[..., 60:] = 0
    assert second_kidney_cautions(labels, TASK, blank_at(10, ct, labels)) == []


def test_kidneys_of_a_small_child_are_alike():
    ct, labels = kidneys()
    labels[12:, :, 10:20] = labels[11:, :, 60:] = 0  # 29 and 22 mL
    assert second_kidney_cautions(labels, TASK, AxialVolume(ct)) == []


def test_kidneys_are_not_doubted_where_the_position_of_the_patient_is(monkeypatch):
    ct, found = kidneys()
    in_front(found)
    monkeypatch.setattr(inference, "clean", lambda labels, *_: np.copyto(labels, found) or [])
    monkeypatch.setattr(inference, "side_cautions", lambda slices: ["The CT seems turned."])
    cautions = Segmenter(find_package(), "cpu").segment(ct).cautions
    assert cautions[0] == "The CT seems turned." and not any("two pieces" in caution for caution in cautions)


def test_a_second_kidney_that_may_be_none_is_told_with_the_result(monkeypatch):
    ct, found = kidneys()
    tumor_in_place_of_one(found)
    monkeypatch.setattr(inference, "clean", lambda labels, *_: np.copyto(labels, found) or [])
    segmenter = Segmenter(find_package(), "cpu")
    assert sum("is mostly tumor: in a patient with one" in told for told in segmenter.segment(ct).cautions) == 1
    around = segmenter.segment(ct, region=np.s_[5:25, :, :40]).cautions
    assert sum(told.startswith("In the slices around the region: One of the two pieces") for told in around) == 1


def test_more_tumor_than_organ():
    labels = np.zeros((2, 10, 10), np.uint8)
    labels[0, :5] = LIVER
    labels[0, 5, :4] = LIVER_TUMOR
    assert anatomy_doubts(class_voxels(labels, TASK), TASK, 1.0) == []
    labels[1, :6] = KIDNEY_TUMOR
    labels[1, 6] = KIDNEY
    (doubt,) = anatomy_doubts(class_voxels(labels, TASK), TASK, 1.0)
    assert "kidney tumor (60.0 mL)" in doubt and "kidney (10.0 mL)" in doubt


@pytest.mark.parametrize(("kidney_hu", "told"), [(12, True), (40, True), (90, False), (180, False)])
def test_a_ct_without_contrast_medium_is_told_by_its_kidneys(kidney_hu, told):
    """Whatever the liver's HU are, and the tumors'."""
    labels = np.zeros((2, 10, 10), np.uint8)
    labels[0, :6], labels[1, 0], labels[1, 1:6] = KIDNEY, KIDNEY_TUMOR, LIVER
    hu = np.where(labels == KIDNEY, kidney_hu, 30)
    doubts = contrast_cautions(hu, labels, TASK, 1.0)
    assert len(doubts) == told
    for doubt in doubts:
        assert f"median is {kidney_hu} HU, as in a CT without contrast" in doubt
        assert "liver tumor and kidney tumor" in doubt


def test_a_few_voxels_of_kidney_and_a_task_without_one_say_nothing_of_contrast_medium():
    labels = np.full((2, 10, 10), KIDNEY, np.uint8)
    hu = np.full(labels.shape, 20)
    assert contrast_cautions(hu, labels, TASK, 1.0) and not contrast_cautions(hu, labels, TASK, 0.1)
    assert contrast_cautions(hu, np.full_like(labels, 1), TASKS["liver-tumor"], 1.0) == []


def test_kidneys_that_are_mostly_called_tumor_do_not_hide_that_contrast_medium_is_missing():
    """As models call them without it."""
    labels = np.full((2, 10, 10), KIDNEY_TUMOR, np.uint8)
    labels[0, 0] = KIDNEY
    assert contrast_cautions(np.full(labels.shape, 30), labels, TASK, 1.0)
    assert contrast_cautions(np.where(labels == KIDNEY, 120, 30), labels, TASK, 1.0) == []
    assert contrast_cautions(np.full(labels.shape, 30), np.full_like(labels, KIDNEY_TUMOR), TASK, 1.0) == []


@pytest.mark.parametrize(("organ", "name"), [(LIVER, "liver"), (KIDNEY, "kidney")])
@pytest.mark.parametrize(("organ_hu", "told"), [(-90, True), (-15, False), (240, False), (500, True)])
def test_an_organ_of_hu_that_none_has_is_told(organ, name, organ_hu, told):
    """In place of what these HU would say of contrast medium."""
    labels = np.full((2, 10, 10), organ, np.uint8)
    cautions = contrast_cautions(np.full(labels.shape, organ_hu), labels, TASK, 1.0)
    words = f"median of what was found is {organ_hu} HU for {name}, which no such organ has"
    assert [words in caution for caution in cautions if "without contrast" not in caution] == [True] * told
    assert not told or len(cautions) == 1
    assert contrast_cautions(np.full(labels.shape, 500), labels, TASK, 0.1) == []  # too little of it to tell


def test_a_few_voxels_of_fat_beside_a_large_tumor_do_not_condemn_a_ct():
    labels = np.full((2, 10, 10), KIDNEY_TUMOR, np.uint8)
    labels[0, 0, :3] = KIDNEY
    assert contrast_cautions(np.where(labels == KIDNEY, 120, 45), labels, TASK, 1.0) == []
    (caution,) = contrast_cautions(np.where(labels == KIDNEY, -100, 45), labels, TASK, 1.0)
    assert "without contrast medium" in caution and "Do not rely" not in caution


@pytest.mark.parametrize("hu", [-1000, 1500])
def test_an_organ_of_hu_that_none_has_is_told_where_most_of_it_is_called_tumor(hu):
    labels = np.full((2, 10, 10), KIDNEY_TUMOR, np.uint8)
    labels[0, :2] = KIDNEY
    (caution,) = contrast_cautions(np.full(labels.shape, hu), labels, TASK, 1.0)
    assert f"{hu} HU for kidney, which no such organ has" in caution and "Do not rely" in caution


def test_a_ct_without_contrast_medium_is_told_with_the_result(monkeypatch):
    monkeypatch.setattr(inference, "clean", lambda labels, *_: labels.fill(KIDNEY) or [])
    ct = sitk.GetImageFromArray(np.full((3, 24, 24), 30, np.int16))
    ct.SetSpacing((5.0, 5.0, 5.0))
    cautions = Segmenter(find_package(), device="cpu").segment(ct).cautions
    assert sum("without contrast medium" in caution for caution in cautions) == 1


@pytest.mark.parametrize("voxel_ml", [0.5, 2.0])
def test_an_organ_that_is_only_tumor_is_told_once(voxel_ml):
    """And not both as little of the organ, tumor and all, and as none of it."""
    voxels = np.array([1000, 0, 0, 0, 60])
    doubts = little_doubts(voxels, TASK, voxel_ml) + anatomy_doubts(voxels, TASK, voxel_ml)
    assert len(doubts) == 1
    assert ("Only 30.0 mL of kidney with kidney tumor" if voxel_ml < 1 else "than kidney (0.0 mL)") in doubts[0]


def test_a_model_is_weak_at_what_it_found_and_at_the_tumor_that_it_did_not_find():
    labels = np.zeros((1, 4, 4), np.uint8)
    metrics = {
        "kidney": {"dice": 0.66, "dice_with_tumors": 0.81},
        "kidney tumor": {"dice": 0.65, "patients": 1},
        "liver": {"dice": None},
    }
    assert model_cautions(class_voxels(labels, TASK), TASK, metrics) == []
    labels[0, 2] = LIVER
    assert model_cautions(class_voxels(labels, TASK), TASK, metrics) == []
    labels[0, 0] = KIDNEY
    (missing,) = model_cautions(class_voxels(labels, TASK), TASK, metrics)
    assert missing.startswith("No kidney tumor was marked. That does not mean that there is none")
    assert "Dice measured is 0.65 (1 patient)" in missing and "liver" not in missing and "0.81" not in missing
    labels[0, 1] = KIDNEY_TUMOR
    (found,) = model_cautions(class_voxels(labels, TASK), TASK, metrics)
    assert found.startswith("Do not rely on what was found of kidney tumor.") and "0.65 (1 patient)" in found


@pytest.mark.parametrize(
    ("measured", "told"),
    [
        ({"test_dice": 0.8, "validation_dice": 0.9}, ""),
        ({"validation_dice": 0.6, "validation_patients": 2}, "0.60 (2 patients)"),
        # As where most cases to test on have no tumor.
        ({"test_dice": 0.94, "test_patients": 3, "validation_dice": 0.4, "validation_patients": 1}, "0.40 (1 p"),
    ],
)
def test_a_model_of_ones_own_is_judged_by_the_lower_of_test_and_validation(measured, told):
    labels = np.full((1, 4, 4), LIVER, np.uint8)
    doubts = "".join(model_cautions(class_voxels(labels, TASK), TASK, {"liver": measured}))
    assert told in doubts and bool(doubts) == bool(told)


def test_doubts_come_with_the_result(default_package):
    ct = sitk.GetImageFromArray(np.random.default_rng(0).choice([-90, 20, 60, 110], (3, 20, 20)).astype(np.int16))
    ct.SetSpacing((0.1, 0.1, 40.0))
    notes = Segmenter(default_package, "cpu").segment(ct).notes
    assert any("show only 2 x 2 mm" in note for note in notes)
    assert any("40 mm apart" in note for note in notes)


@pytest.mark.parametrize(("shape", "told"), [((80, 50, 50), True), ((80, 64, 64), False)])
def test_slices_of_less_than_50_mm_are_told(shape, told):
    assert bool(geometry_doubts(shape, (0.8, 0.8, 2.5), None)) == told


def test_a_piece_of_one_and_a_half_ml_beside_a_kidney_is_told():
    ct, labels = kidneys()
    labels[10:, :, 60:] = labels[..., 61:] = 0
    assert np.count_nonzero(labels[..., 60:]) * 0.08 == pytest.approx(1.44)
    (caution,) = second_kidney_cautions(labels, TASK, AxialVolume(ct))
    assert "is small for one:" in caution


def test_a_second_kidney_that_is_three_quarters_tumor_is_called_so():
    ct, labels = kidneys()
    labels[12:23, :, 60:] *= 2
    (caution,) = second_kidney_cautions(labels, TASK, AxialVolume(ct))
    assert "is mostly tumor:" in caution


@pytest.mark.parametrize(("organ_hu", "told"), [(-40, True), (-25, False), (340, False), (360, True)])
def test_the_limits_of_an_organs_hu(organ_hu, told):
    labels = np.full((2, 10, 10), LIVER, np.uint8)
    cautions = contrast_cautions(np.full(labels.shape, organ_hu), labels, TASK, 1.0)
    assert any("which no such organ has" in caution for caution in cautions) == told


def test_a_task_without_tumors_says_nothing_of_tumors_that_differ_little():
    task = replace(TASK, labels=TASK.labels[:2])
    assert not task.tumors
    labels = np.full((2, 10, 10), KIDNEY, np.uint8)
    assert contrast_cautions(np.full(labels.shape, 30), labels, TASK, 1.0)
    assert contrast_cautions(np.full(labels.shape, 30), labels, task, 1.0) == []


@pytest.mark.parametrize(("own", "stones", "told"), [(40, 900, True), (120, -800, False)])
def test_stones_and_gas_do_not_make_up_for_contrast_medium(own, stones, told):
    labels = np.full((2, 10, 10), 2, np.uint8)
    hu = np.full(labels.shape, own)
    hu[0, :2] = stones
    cautions = contrast_cautions(hu, labels, TASK, 1.0)
    assert any(f"median is {own} HU, as in a CT without contrast" in caution for caution in cautions) == told
