"""A CT whose values are all some ten HU too high or too low is told beside the result."""

import re

import numpy as np
import pytest
import SimpleITK as sitk
from HLFDSegmentationLib.ct_files import read_ct
from HLFDSegmentationLib.hounsfield import voxels_problem
from HLFDSegmentationLib.hounsfield_offset import offset_cautions
from HLFDSegmentationLib.inference import Segmenter
from HLFDSegmentationLib.model_store import find_package

SHAPE = (20, 100, 100)


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


def test_a_ct_of_one_value_has_no_peaks():
    assert offset_cautions(np.zeros(SHAPE)) == []


def test_the_offset_is_told_with_the_result():
    ct = sitk.GetImageFromArray(body() + 50)
    ct.SetSpacing((4.0, 4.0, 4.0))
    labels = sitk.Image(ct.GetSize(), sitk.sitkUInt8)
    labels.CopyInformation(ct)
    segmenter = Segmenter(find_package(), "cpu")
    for result in (segmenter.segment(ct), segmenter.explain(ct, labels)):
        assert any("too high" in caution for caution in result.cautions)


@pytest.mark.parametrize(
    ("name", "both_ways"), [("hcc_011_acq1", True), ("totalseg_dicom20", False), ("totalseg_example_3mm", True)]
)
def test_real_ct_is_told_when_it_is_shifted_and_not_as_it_is(data, name, both_ways):
    """The second one shows little fat: with 50 HU less, muscle lies where its fat is looked for."""
    hu = sitk.GetArrayFromImage(read_ct(data / "volumes" / name / "ct.nii.gz"))
    assert offset_cautions(hu) == []
    assert "too high" in offset_cautions(hu + 50)[0]
    assert bool(offset_cautions(hu - 50)) == both_ways
