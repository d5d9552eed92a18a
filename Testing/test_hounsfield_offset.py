"""A CT whose values are shifted, scaled, cut or padded with what is no air is told beside the result, or refused."""

import re

import numpy as np
import pytest
import SimpleITK as sitk
from HLFDSegmentationLib.cautions.hounsfield_offset import offset_cautions, window_cautions
from HLFDSegmentationLib.ct_files import read_ct
from HLFDSegmentationLib.hounsfield import voxels_problem
from HLFDSegmentationLib.inference import Segmenter
from HLFDSegmentationLib.model_store import find_package
from HLFDSegmentationLib.phantom import make_phantom
from HLFDSegmentationLib.tasks import TASKS
from scipy.ndimage import gaussian_filter

SHAPE = (20, 100, 100)
WINDOWS = [task.window for task in TASKS.values()]
ABDOMEN = TASKS["abdomen"].window


def body(air: float = -1000, air_noise: float = 15, fat: float = -100) -> np.ndarray:
    """HU (Z, Y, X): air around a ring of fat around muscle, with noise."""
    rng = np.random.default_rng(5)
    hu = np.full(SHAPE, air) + rng.normal(0, air_noise, SHAPE)
    hu[:, 20:80, 20:80] = rng.normal(fat, 20, (20, 60, 60))
    hu[:, 30:70, 30:70] = rng.normal(50, 20, (20, 40, 40))
    return hu.round()


@pytest.mark.parametrize("offset", [-30, -20, 0, 20, 30])
def test_a_ct_in_hu_is_not_doubted(offset):
    assert offset_cautions(body() + offset) == []


@pytest.mark.parametrize(("offset", "direction"), [(-50, "low"), (50, "high"), (100, "high")])
def test_values_that_are_shifted_are_told_with_how_much(offset, direction):
    (caution,) = offset_cautions(body() + offset)
    assert f"too {direction}" in caution
    told, air, _usual, fat, _usual_fat = map(int, re.findall(r"-?\d+", caution))
    assert (told, air, fat) == pytest.approx((abs(offset), -1000 + offset, -100 + offset), abs=8)


def test_a_shifted_ct_is_still_taken_for_a_ct():
    assert voxels_problem(body() + 50) is None


def test_lungs_around_a_lean_patient_are_not_the_air():
    assert offset_cautions(body(air=-850, air_noise=80, fat=-50)) == []
    assert offset_cautions(body(air=-950, fat=-50)) != []


def test_air_alone_does_not_tell():
    """Some scanners cut the air off at another value; fat lies where it does in every CT."""
    assert offset_cautions(np.where(body() < -700, -950 + np.arange(100) % 7, body())) == []


@pytest.mark.parametrize("factor", [0.65, 0.7, 1.2, 1.3])
def test_values_that_are_scaled_a_little_are_told(factor):
    (caution,) = offset_cautions(body() * factor)
    assert f"scaled, by about {factor:.2g}: air lies at -" in caution
    assert voxels_problem(body() * factor) is None


@pytest.mark.parametrize("factor", [0.05, 0.1, 0.5, 1.5, 2, 10])
def test_values_that_are_scaled_much_are_no_hu(factor):
    assert f"multiplied by about {factor:.2g}: air lies at -" in voxels_problem(body() * factor)
    assert offset_cautions(body() * factor) == []  # where such a CT is used all the same, one sentence is enough


@pytest.mark.parametrize("lung", [-900, -850, -800, -750])
@pytest.mark.parametrize("noise", [30, 60])
def test_lungs_that_fill_a_ct_are_not_scaled_air(lung, noise):
    chest = body(air=lung, air_noise=noise)
    assert voxels_problem(chest) is None and offset_cautions(chest) == []


@pytest.mark.parametrize("lowest", [-700, -500, -300, -200, -150])
def test_the_edge_of_a_window_is_not_scaled_air(lowest):
    """Also where noise and resampling have made a peak of it."""
    cut = body().clip(lowest, 300)
    for ct in (cut, cut + np.random.default_rng(0).normal(0, 10, SHAPE), gaussian_filter(cut, 1)):
        assert "multiplied" not in (voxels_problem(ct) or "") and offset_cautions(ct) == []


@pytest.mark.parametrize("value", [3071, 32767, 62512])
def test_padding_that_is_taken_for_tissue_is_told(value):
    ct = body()
    ct[:, :5] = value
    (caution,) = offset_cautions(ct)
    assert f"5% of the CT's voxels have 3071 HU or more ({value} by the median)" in caution


def test_padding_of_low_values_and_metal_are_not_told():
    for padding in (-1024, -2000, -3024, -32768):
        ct = body()
        ct[:, :5] = padding
        assert offset_cautions(ct) == []
        ct[:, -20:] = -1500  # not the lowest value
        assert offset_cautions(ct) == [] and voxels_problem(ct) is None
    ct = body()
    ct[:, 50:60, 50:60] = 30710
    assert offset_cautions(ct) == []


def test_a_ct_of_one_value_has_no_peaks():
    assert offset_cautions(np.zeros(SHAPE)) == []


@pytest.fixture(scope="module")
def phantom() -> np.ndarray:
    return sitk.GetArrayFromImage(make_phantom(size=(96, 96, 20), spacing=(4.0, 4.0, 6.0)).ct)


CUT_WITHIN = [(-75, 175), (-50, 150), (-30, 170), (-100, 200), (-160, 240), (-1024, 150), (20, 400)]


@pytest.mark.parametrize("limits", CUT_WITHIN)
def test_a_ct_that_was_cut_within_the_models_window_is_told(phantom, limits):
    """Bone, contrast medium and tissue look the same to the network then, and nothing else tells it."""
    (caution,) = window_cautions(phantom.clip(*limits), ABDOMEN)
    highest = min(limits[1], phantom.max())
    assert f"cut to {limits[0]} to {highest} HU, and the model distinguishes 0 to 250 HU" in caution


@pytest.mark.parametrize("kind", [np.int16, np.float32])
def test_a_ct_that_holds_the_models_window_is_not_told(phantom, kind):
    for padding in (-1024, -2000, -3024):
        padded = np.where(phantom < -900, padding, phantom).astype(kind)
        assert [window_cautions(padded, window) for window in WINDOWS] == [[], [], []]
    for limits in ((0, 250), (-200, 300), (-1024, 251)):
        assert window_cautions(phantom.clip(*limits).astype(kind), ABDOMEN) == []
    for window in ((-1350.0, 150.0), (-1024.0, 250.0)):  # beginning below air, as windows of lungs do
        assert window_cautions(phantom.clip(-1000, None), window) == []
    organ = phantom[6:14, 40:56, 20:40]  # neither air nor bone
    assert window_cautions(organ, (-2000.0, 3000.0)) == []
    assert window_cautions(np.zeros(SHAPE), ABDOMEN) == []


@pytest.mark.parametrize("changed", [lambda hu: hu.clip(-128, 127), lambda hu: hu.astype(np.int8)])
def test_hu_in_8_bits_are_refused(phantom, changed):
    """Cut off, or counted anew from the other end."""
    assert "from -128 to 127, all that 8 bits can tell" in voxels_problem(changed(phantom))
    assert voxels_problem(phantom) is None


@pytest.mark.parametrize(
    ("ct", "told"), [(body() + 50, "too high"), (body().clip(-30, 60), "cut to -30 to 60 HU")], ids=["offset", "cut"]
)
def test_what_was_done_to_the_values_is_told_with_the_result(ct, told):
    ct = sitk.GetImageFromArray(ct)
    ct.SetSpacing((4.0, 4.0, 4.0))
    labels = sitk.Image(ct.GetSize(), sitk.sitkUInt8)
    labels.CopyInformation(ct)
    segmenter = Segmenter(find_package(), "cpu")
    for result in (segmenter.segment(ct), segmenter.explain(ct, labels)):
        assert any(told in caution for caution in result.cautions)


@pytest.mark.parametrize(
    ("name", "both_ways"), [("hcc_011_acq1", True), ("totalseg_dicom20", False), ("totalseg_example_3mm", True)]
)
def test_real_ct_is_told_when_it_is_shifted_and_not_as_it_is(data, name, both_ways):
    """The second one shows little fat: with 50 HU less, muscle lies where its fat is looked for."""
    hu = sitk.GetArrayFromImage(read_ct(data / "volumes" / name / "ct.nii.gz"))
    assert offset_cautions(hu) == []
    assert "too high" in offset_cautions(hu + 50)[0]
    assert bool(offset_cautions(hu - 50)) == both_ways


@pytest.mark.parametrize("name", ["hcc_011_acq1", "totalseg_dicom20", "totalseg_example_3mm"])
def test_real_ct_is_told_when_it_is_scaled_and_not_as_it_is_or_in_parts(data, name):
    hu = sitk.GetArrayFromImage(read_ct(data / "volumes" / name / "ct.nii.gz"))[:, ::2, ::2].astype(np.float32)
    for factor in (0.1, 0.5, 1.5, 2, 10):
        assert "multiplied by about" in voxels_problem(hu * factor)
    for factor in (0.7, 1.3):
        assert "look scaled" in offset_cautions(hu * factor)[0]
    rows, columns = (slice(size // 4, size // 2) for size in hu.shape[1:])
    noisy = hu + np.random.default_rng(0).normal(0, 30, hu.shape)
    for fine in (hu, noisy, gaussian_filter(hu, 1), hu[:, rows, columns], hu.clip(-700, 1000), hu.clip(-160, 240)):
        assert voxels_problem(fine) is None
        assert offset_cautions(fine) == []


@pytest.mark.parametrize("name", ["hcc_011_acq1", "totalseg_dicom20", "totalseg_example_3mm"])
def test_real_ct_is_told_when_it_is_cut_and_not_as_it_is_or_in_parts(data, name):
    hu = sitk.GetArrayFromImage(read_ct(data / "volumes" / name / "ct.nii.gz"))
    for limits in CUT_WITHIN:
        assert window_cautions(hu.clip(*limits), ABDOMEN) != []
    slabs, rows, columns = (slice(size // 4, size // 2) for size in hu.shape)
    for fine in (hu, hu[slabs], hu[:, rows, columns], hu[slabs, rows, columns]):
        assert [window_cautions(fine, window) for window in WINDOWS] == [[], [], []]


def test_a_generated_ct_is_not_doubted(phantom):
    assert voxels_problem(phantom) is None and offset_cautions(phantom) == []


@pytest.mark.parametrize(("rows", "told"), [(1, False), (3, True)])
def test_so_much_padding_is_told(rows, told):
    ct = body()
    ct[:, :rows] = 32767
    assert ["3% of the CT's voxels have 3071 HU or more" in caution for caution in offset_cautions(ct)] == [True] * told


@pytest.mark.parametrize(("share", "told"), [(0.002, False), (0.0045, True)])
def test_a_cut_that_few_voxels_reach_is_told(share, told):
    """As in a series without contrast medium, of which bone and little else reaches the limit."""
    hu = body().clip(None, 120)
    hu.ravel()[np.random.default_rng(0).permutation(hu.size)[: round(share * hu.size)]] = 120
    assert ["cut to" in caution for caution in window_cautions(hu, ABDOMEN)] == [True] * told


def test_a_shifted_ct_with_little_air_around_the_patient_is_told():
    """A sixth of it."""
    assert "too high" in offset_cautions(body()[:, 17:83, 17:83] + 50)[0]
