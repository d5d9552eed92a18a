"""Slices that are lost, doubled, in the wrong order or at a wrong distance are told beside the result."""

import re

import numpy as np
import pytest
import SimpleITK as sitk
from HLFDSegmentationLib.axial_volume import AxialVolume
from HLFDSegmentationLib.cautions.slice_stack import SliceStack, spacing_cautions
from HLFDSegmentationLib.ct_files import read_ct
from HLFDSegmentationLib.inference import Segmenter
from HLFDSegmentationLib.model_store import find_package
from HLFDSegmentationLib.tasks import TASKS
from scipy.ndimage import gaussian_filter

TASK = TASKS["abdomen"]
KIDNEY, KIDNEY_TUMOR = 2, 4
COUNT = 60
SPACING = (5.0, 5.0, 3.0)
WRONG_ORDER = "the slices seem to be in the wrong order"


def body() -> np.ndarray:
    """HU (Z, Y, X) that change slowly along all axes, with noise."""
    rng = np.random.default_rng(3)
    smooth = gaussian_filter(rng.normal(size=(COUNT, 40, 40)), 5)
    return (60 + 80 * smooth / smooth.std() + rng.normal(0, 10, smooth.shape)).astype(np.int16)


def image(hu: np.ndarray) -> sitk.Image:
    ct = sitk.GetImageFromArray(np.ascontiguousarray(hu))
    ct.SetSpacing(SPACING)
    return ct


def tilted(ct: sitk.Image, degrees: float) -> sitk.Image:
    ct.SetDirection(sitk.Euler3DTransform((0, 0, 0), np.radians(degrees), 0, 0).GetMatrix())
    return ct


def stack(hu: np.ndarray) -> SliceStack:
    return SliceStack(AxialVolume(image(hu)))


@pytest.mark.parametrize("orientation", ["LPS", "RAI", "SLP"])
def test_slices_of_one_body_are_not_doubted(orientation):
    found = SliceStack(AxialVolume(sitk.DICOMOrient(image(body()), orientation)))
    assert found.cautions() == [] and found.doubts() == []


def test_slices_that_differ_by_noise_alone_are_in_order():
    hu = np.random.default_rng(0).normal(50, 20, (COUNT, 40, 40)).astype(np.int16)
    assert stack(hu).cautions() == []


@pytest.mark.parametrize(
    "order", [sorted(range(COUNT), key=str), np.random.default_rng(0).permutation(COUNT)], ids=["alphabet", "shuffled"]
)
def test_slices_in_the_wrong_order_are_told(order):
    (caution,) = stack(body()[order]).cautions()
    assert WRONG_ORDER in caution


def test_two_series_in_turns_are_told():
    hu = body()
    hu[1::2] += 60
    assert WRONG_ORDER in stack(hu).cautions()[0]


def test_where_slices_are_missing_is_told_with_its_place():
    found = stack(np.delete(body(), np.s_[30:38], axis=0))
    (doubt,) = found.doubts()
    assert "changes abruptly at L 97.5, P 97.5, S 88.5 mm:" in doubt and found.cautions() == []


@pytest.mark.parametrize(
    ("left_posterior_superior", "words"),
    [
        ((44.4, 13.2, -109.8), "L 44.4, P 13.2, I 109.8 mm"),
        ((-75.0, -50.0, 201.0), "R 75.0, A 50.0, S 201.0 mm"),
        ((0.04, -0.04, -0.04), "R 0.0, A 0.0, S 0.0 mm"),
    ],
)
def test_a_place_has_the_letter_of_its_side_and_no_sign(left_posterior_superior, words):
    ct = image(body())
    ct.SetOrigin(left_posterior_superior)
    assert AxialVolume(ct).place(np.zeros(3)) == words


@pytest.mark.parametrize("mm", [0.5, 0.625, 0.7, 1.0])
def test_a_place_tells_its_slice_also_in_thin_slices(mm):
    """One slice beside it, a reader sees nothing of a place in one slice alone."""
    ct = image(body())
    ct.SetSpacing((0.7, 0.7, mm))
    ct.SetOrigin((0.0, 0.0, -620.5))
    volume = AxialVolume(ct)
    for number in range(volume.count):
        inferior = re.search(r"I ([\d.]+) mm", volume.place(np.array([number, 0, 0])))
        assert (620.5 - float(inferior[1])) / mm == pytest.approx(number, abs=0.25)


def test_where_the_body_begins_nothing_is_missing():
    """A vertex in noisy air, whose slices are no copies of each other either."""
    z, y, x = np.indices((COUNT, 40, 40))
    air = np.random.default_rng(1).normal(-1000, 10, z.shape).astype(np.int16)
    vertex = (y - 20) ** 2 + (x - 20) ** 2 + (z.clip(30) - 30) ** 2 < 18**2
    assert stack(np.where(vertex, body(), air)).doubts() == []


def test_copies_are_told():
    hu = body()
    (doubt,) = stack(np.insert(hu, 20, hu[20], axis=0)).doubts()
    assert doubt.startswith("1 slice of the CT is the same as the slice below")
    (doubt,) = stack(np.repeat(hu, 2, axis=0)).doubts()
    assert doubt.startswith(f"{COUNT - 2} slices of the CT are the same")
    (doubt,) = stack(np.repeat(hu[:1], 9, axis=0)).doubts()
    assert doubt.startswith("8 slices of the CT are the same")


def test_first_and_last_slices_that_resampling_repeats_are_not_told():
    assert stack(np.pad(body(), ((2, 3), (0, 0), (0, 0)), mode="edge")).doubts() == []


def test_blank_slices_are_told_only_between_others():
    hu = body()
    hu[:4] = hu[-4:] = -1024
    assert stack(hu).doubts() == []
    hu[30:33] = 0
    (doubt,) = stack(hu).doubts()
    assert doubt.startswith("3 slices of the CT are blank")


def kidneys(height_mm: float, width_mm: float = 50.0) -> np.ndarray:
    """Labels of two ellipsoids, one with a tumor, whole within the slices."""
    z, y, x = np.indices((COUNT, 40, 60)) * np.reshape(SPACING[::-1], (3, 1, 1, 1))
    labels = np.zeros((COUNT, 40, 60), np.uint8)
    for middle in (75, 225):
        inside = ((z - 90) * 2 / height_mm) ** 2 + (((y - 100) ** 2 + (x - middle) ** 2) * 4 / width_mm**2) <= 1
        labels[inside] = KIDNEY
    labels[(labels > 0) & (z > 100) & (x > 200)] = KIDNEY_TUMOR
    return labels


def test_kidneys_tell_a_wrong_distance_between_slices():
    labels = kidneys(height_mm=95)
    assert spacing_cautions(labels, SPACING, TASK) == []
    (flat,) = spacing_cautions(labels, (5.0, 5.0, 1.25), TASK)
    (tall,) = spacing_cautions(labels, (5.0, 5.0, 6.0), TASK)
    assert "flatter than kidneys" in flat and "between the slices, 1.25 mm by the file, or the size" in flat
    assert "taller than kidneys" in tall and "between the slices, 6 mm by the file, or the size" in tall
    (narrow,) = spacing_cautions(labels, (3.0, 3.0, 3.0), TASK)
    assert "taller than kidneys" in narrow and "the size of the pixels, 3 mm by the file, is wrong" in narrow
    assert spacing_cautions(labels, (5.0, 5.0, 6.0), TASKS["liver-tumor"]) == []


def test_kidneys_that_the_ct_cuts_tell_nothing_of_its_spacing():
    labels = kidneys(height_mm=95)
    assert spacing_cautions(labels[30:], (5.0, 5.0, 1.25), TASK) == []


def test_kidneys_that_the_sides_of_a_region_cut_tell_nothing_of_its_spacing():
    """Half a kidney is high for its width."""
    strip = kidneys(height_mm=95)[:, :, 16:]
    strip[:, :, 20:] = 0
    assert spacing_cautions(strip, SPACING, TASK) == []
    assert len(spacing_cautions(np.pad(strip, ((0, 0), (0, 0), (1, 0))), SPACING, TASK)) == 1


def test_blank_slices_do_not_make_a_kidney_whole_that_the_ct_cuts(monkeypatch):
    labels = kidneys(height_mm=95)
    labels[30:] = 0
    hu = np.full(labels.shape, -1000, np.int16)
    hu[:30] = np.random.default_rng(0).normal(100, 20, hu[:30].shape)
    monkeypatch.setattr("HLFDSegmentationLib.inference.clean", lambda found, *_: np.copyto(found, labels[:30]) or [])
    monkeypatch.setattr("HLFDSegmentationLib.cautions.body_orientation.LEFT_MM", 1e9)
    ct = image(hu)
    ct.SetSpacing((5.0, 5.0, 1.25))
    assert not any("than kidneys" in told for told in Segmenter(find_package(), "cpu").segment(ct).cautions)


def test_a_tilted_ct_that_cuts_the_kidneys_does_not_make_them_whole(monkeypatch):
    """In the box around the straight slices they do not reach the border."""
    labels = kidneys(height_mm=95)[:30]
    monkeypatch.setattr("HLFDSegmentationLib.inference.clean", lambda found, *_: np.copyto(found, labels) or [])
    ct = tilted(image(body()[:30, :, :1].repeat(60, axis=2)), 25)
    ct.SetSpacing((5.0, 5.0, 1.25))
    segmenter = Segmenter(find_package(), "cpu")
    found = segmenter.segment(ct)
    assert found.labels.GetSize() == ct.GetSize() and (sitk.GetArrayViewFromImage(found.labels) == labels).all()
    for result in (found, segmenter.explain(ct, found.labels)):
        assert not any("than kidneys" in told for told in result.cautions)


def test_one_odd_kidney_beside_a_good_one_tells_nothing():
    """As where a part of it was found."""
    labels = kidneys(height_mm=95)
    labels[(np.abs(np.arange(COUNT) - 30) > 5), :, :30] = 0
    assert spacing_cautions(labels, SPACING, TASK) == []


def test_a_flat_piece_of_tumor_alone_tells_nothing_of_the_spacing():
    """As bowel that is called tumor in a patient whose kidneys the CT cuts."""
    labels = kidneys(height_mm=95)
    labels[labels > 0] = KIDNEY_TUMOR
    assert spacing_cautions(labels, (5.0, 5.0, 1.25), TASK) == []
    labels[:, :, 30:] = kidneys(height_mm=95)[:, :, 30:]
    assert len(spacing_cautions(labels, (5.0, 5.0, 1.25), TASK)) == 1


@pytest.mark.parametrize("degrees", [0, 25])
def test_the_order_is_told_with_the_result(degrees):
    """Also of a CT that is cut anew: straight slices show some of several of its own."""
    segmenter = Segmenter(find_package(), "cpu")
    shuffled = tilted(image(body()[np.random.default_rng(0).permutation(COUNT)][:30]), degrees)
    labels = sitk.Image(shuffled.GetSize(), sitk.sitkUInt8)
    labels.CopyInformation(shuffled)
    for result in (segmenter.segment(shuffled), segmenter.explain(shuffled, labels)):
        assert any(WRONG_ORDER in caution for caution in result.cautions)


@pytest.mark.parametrize("name", ["hcc_011_acq1", "totalseg_dicom20", "totalseg_example_3mm"])
def test_the_slices_of_real_cts_are_not_doubted(name, data):
    found = SliceStack(AxialVolume(read_ct(data / "volumes" / name / "ct.nii.gz")))
    assert found.cautions() == [] and found.doubts() == []


def test_kidneys_in_few_slices_tell_a_wrong_distance_too():
    labels = kidneys(height_mm=24)
    assert np.count_nonzero(labels.any(axis=(1, 2))) == 9
    (flat,) = spacing_cautions(labels, SPACING, TASK)
    assert "flatter than kidneys" in flat


def test_the_width_of_kidneys_goes_by_both_sides_of_a_pixel():
    labels = kidneys(height_mm=95)
    for spacing in ((10.0, 2.5, 3.0), (2.5, 10.0, 3.0)):
        assert spacing_cautions(labels, spacing, TASK) == []
