"""The generated CT: is it plausible anatomy, the same in mm on every grid, the same for a seed?"""

import sys

import numpy as np
import pytest
import SimpleITK as sitk
from HLFDSegmentationLib import phantom as program
from HLFDSegmentationLib.phantom import make_phantom, write_phantom
from HLFDSegmentationLib.tasks import TASKS
from scipy.ndimage import binary_dilation, binary_fill_holes, label

SMALL = {"size": (96, 96, 24), "spacing": (4.0, 4.0, 8.0)}
LIVER, KIDNEY, LIVER_TUMOR, KIDNEY_TUMOR = 1, 2, 3, 4
SEEDS = (0, 1, 2)


class Volume:
    """Arrays (Z, Y, X) of a phantom and measures of them."""

    def __init__(self, phantom):
        self.phantom = phantom
        self.hu = sitk.GetArrayFromImage(phantom.ct)
        self.labels = sitk.GetArrayFromImage(phantom.labels)

    def ml(self, *values):
        return np.isin(self.labels, values).sum() * np.prod(self.phantom.ct.GetSpacing()) / 1000

    def center(self, mask):
        """Center of a mask in mm: x to the left, y to the back, z up."""
        index = np.argwhere(mask).mean(axis=0)[::-1]
        return np.array(self.phantom.ct.TransformContinuousIndexToPhysicalPoint(index.tolist()))

    def kidney_masks(self):
        """Right and left kidney with their tumors."""
        both = np.isin(self.labels, (KIDNEY, KIDNEY_TUMOR))
        left = np.arange(both.shape[2]) >= both.shape[2] / 2
        return both & ~left, both & left


@pytest.fixture(scope="module")
def volumes():
    return {seed: Volume(make_phantom(seed, **SMALL)) for seed in SEEDS}


@pytest.fixture(scope="module")
def healthy():
    return Volume(make_phantom(0, lesions=False, **SMALL))


def test_ct_and_labels_share_one_lps_grid(volumes):
    ct, labels = volumes[0].phantom.ct, volumes[0].phantom.labels
    assert ct.GetPixelID() == sitk.sitkInt16
    assert labels.GetPixelID() == sitk.sitkUInt8
    assert ct.GetSize() == labels.GetSize() == SMALL["size"]
    assert ct.GetSpacing() == labels.GetSpacing() == SMALL["spacing"]
    assert ct.GetOrigin() == labels.GetOrigin()
    assert ct.GetDirection() == labels.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)


def test_labels_are_those_of_the_abdomen_task(volumes):
    names = {label.name: label.value for label in TASKS["abdomen"].labels}
    assert names == {
        "liver": LIVER,
        "kidney": KIDNEY,
        "liver tumor": LIVER_TUMOR,
        "kidney tumor": KIDNEY_TUMOR,
    }
    for volume in volumes.values():
        assert set(np.unique(volume.labels)) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("seed", SEEDS)
def test_organs_have_plausible_volumes(volumes, seed):
    volume = volumes[seed]
    assert 1200 < volume.ml(LIVER, LIVER_TUMOR) < 2000
    assert 5 < volume.ml(LIVER_TUMOR) < 120
    assert 8 < volume.ml(KIDNEY_TUMOR) < 60
    for kidney in volume.kidney_masks():
        assert 120 < kidney.sum() * np.prod(SMALL["spacing"]) / 1000 < 220


@pytest.mark.parametrize("seed", SEEDS)
def test_organs_attenuate_as_in_the_portal_venous_phase(volumes, seed):
    hu, labels = volumes[seed].hu, volumes[seed].labels
    assert 95 < np.median(hu[labels == LIVER]) < 120
    assert 145 < np.median(hu[labels == KIDNEY]) < 200
    assert 40 < np.median(hu[labels == LIVER_TUMOR]) < np.median(hu[labels == LIVER]) - 10
    assert 50 < np.median(hu[labels == KIDNEY_TUMOR]) < np.median(hu[labels == KIDNEY]) - 30
    assert np.median(hu[:, :3, :]) == pytest.approx(-1000, abs=10), "air before the patient"


@pytest.mark.parametrize("seed", SEEDS)
def test_organs_lie_where_they_belong(volumes, seed):
    volume = volumes[seed]
    liver, right, left = (volume.center(mask) for mask in (volume.labels == LIVER, *volume.kidney_masks()))
    bone = volume.center((volume.hu > 350) & (np.abs(np.arange(96) - 47.5) < 8))
    assert liver[0] < -20, "on the patient's right"
    assert 45 < -right[0] < 90 and 45 < left[0] < 90, "beside the spine"
    assert liver[2] > right[2] < left[2], "the right kidney lower, below the liver"
    assert abs(bone[0]) < 10 and bone[1] > 30, "the spine in the midline, at the back"
    assert bone[1] > right[1] > liver[1]


def test_there_are_two_kidneys_and_one_liver(volumes):
    for volume in volumes.values():
        for values, parts in (((LIVER, LIVER_TUMOR), 1), ((KIDNEY, KIDNEY_TUMOR), 2)):
            pieces, count = label(np.isin(volume.labels, values))
            large = np.bincount(pieces.ravel())[1:] * np.prod(SMALL["spacing"]) / 1000 > 10
            assert large.sum() == parts, f"{count} pieces"


def test_labels_lie_inside_the_body_and_off_the_border(volumes):
    for volume in volumes.values():
        labeled = volume.labels > 0
        body = np.stack([binary_fill_holes(slice_hu > -300) for slice_hu in volume.hu])
        assert body[labeled].all()
        assert (volume.hu[labeled] > -150).mean() > 0.99
        for axis in range(3):
            assert not np.take(labeled, [0, -1], axis=axis).any()


def test_lesions_lie_in_or_on_their_organ(volumes):
    for volume in volumes.values():
        for tumor, organ, share in ((LIVER_TUMOR, LIVER, 0.75), (KIDNEY_TUMOR, KIDNEY, 0.08)):
            pieces, count = label(volume.labels == tumor)
            assert count >= 1
            for number in range(1, count + 1):
                piece = pieces == number
                rim = binary_dilation(piece) & ~piece
                assert (volume.labels[rim] == organ).mean() > share, f"label {tumor}, piece {number}"


def test_kidney_tumor_grows_out_of_the_kidney(volumes):
    for volume in volumes.values():
        tumor = volume.labels == KIDNEY_TUMOR
        outside = binary_dilation(tumor) & (volume.labels == 0)
        assert outside.sum() > 0.2 * (binary_dilation(tumor) & ~tumor).sum()


def test_without_lesions_it_is_the_same_patient(volumes, healthy):
    volume = volumes[0]
    assert set(np.unique(healthy.labels)) == {0, LIVER, KIDNEY}
    assert healthy.ml(LIVER) == pytest.approx(volume.ml(LIVER, LIVER_TUMOR), rel=0.01)
    far = ~binary_dilation(np.isin(volume.labels, (LIVER_TUMOR, KIDNEY_TUMOR)), iterations=3)
    assert np.abs(volume.hu.astype(int) - healthy.hu)[far].max() < 20


@pytest.mark.parametrize(("size", "spacing"), [((160, 160, 40), (2.4, 2.4, 5.0)), ((96, 128, 20), (4.0, 3.0, 10.0))])
def test_sizes_in_mm_do_not_depend_on_the_grid(volumes, size, spacing):
    finer = Volume(make_phantom(0, size=size, spacing=spacing))
    assert finer.ml(LIVER, LIVER_TUMOR) == pytest.approx(volumes[0].ml(LIVER, LIVER_TUMOR), rel=0.03)
    assert finer.ml(KIDNEY, KIDNEY_TUMOR) == pytest.approx(volumes[0].ml(KIDNEY, KIDNEY_TUMOR), rel=0.04)
    assert finer.ml(LIVER_TUMOR) == pytest.approx(volumes[0].ml(LIVER_TUMOR), rel=0.15)
    offset = finer.center(finer.labels == LIVER) - volumes[0].center(volumes[0].labels == LIVER)
    assert np.abs(offset).max() < 2


def test_one_seed_gives_the_same_bytes_and_another_gives_another_patient(volumes):
    again = Volume(make_phantom(0, **SMALL))
    assert again.hu.tobytes() == volumes[0].hu.tobytes()
    assert again.labels.tobytes() == volumes[0].labels.tobytes()
    zero, one = (volumes[seed].labels == LIVER for seed in (0, 1))
    dice = 2 * (zero & one).sum() / (zero.sum() + one.sum())
    assert 0.6 < dice < 0.97


def test_noise_is_grainy_and_as_strong_as_in_a_clinical_ct(healthy):
    core = ~binary_dilation(healthy.labels != LIVER, iterations=2)
    values = healthy.hu[core].astype(float)
    assert core.sum() > 1000
    assert 8 < 1.4826 * np.median(np.abs(values - np.median(values))) < 16


def test_a_single_slice_works():
    phantom = make_phantom(0, size=(64, 64, 1), spacing=(6.0, 6.0, 5.0))
    assert phantom.ct.GetSize() == (64, 64, 1)
    assert {LIVER, KIDNEY} <= set(np.unique(sitk.GetArrayFromImage(phantom.labels)))


@pytest.mark.slow
def test_written_files_hold_a_phantom_of_the_default_size(tmp_path):
    ct_path, label_path = write_phantom(tmp_path / "patient", seed=3)
    assert sorted(path.name for path in (tmp_path / "patient").iterdir()) == ["ct.nii.gz", "label.nii.gz"]
    ct, labels = sitk.ReadImage(str(ct_path)), sitk.ReadImage(str(label_path))
    assert ct.GetSize() == labels.GetSize() == (256, 256, 80)
    assert ct.GetSpacing() == labels.GetSpacing() == pytest.approx((1.5, 1.5, 3.0))
    assert set(np.unique(sitk.GetArrayViewFromImage(labels))) == {0, 1, 2, 3, 4}
    hu = sitk.GetArrayViewFromImage(ct)
    assert hu.min() < -950 and hu.max() > 300


def test_the_program_of_sample_data_writes_the_ct(volumes, tmp_path, monkeypatch):
    monkeypatch.setattr(program, "make_phantom", lambda: volumes[0].phantom)
    monkeypatch.setattr(sys, "argv", ["phantom", str(tmp_path / "sample.nii.gz")])
    program.main()
    written = sitk.ReadImage(str(tmp_path / "sample.nii.gz"))
    assert np.array_equal(sitk.GetArrayViewFromImage(written), volumes[0].hu)
