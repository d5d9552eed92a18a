"""What the default model is trained on: the marks in the liver slices, and the computed slices."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

sys.path.append(str(Path(__file__).parent / "experiments"))

import averaged_student
import default_model
import torch
from default_model import arrays_of, without_known_people
from empty_slices import empty_slice
from HLFDTrainingLib.annotations.ct_fingerprints import check_patients_named_alike, ct_fingerprints
from HLFDTrainingLib.cases import Case
from HLFDTrainingLib.plan import TrainingPlan
from HLFDTrainingLib.runs.run_folder import RunFolder
from HLFDTrainingLib.split import Split, split_by_patient
from marked_slices import MARKS, from_runs, liver_of, marks_of, to_runs
from slice_cases import write_slice
from without_contrast import without_contrast

SHAPE = (64, 80)


def disk(center: tuple[int, int], radius: int) -> np.ndarray:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return np.hypot(y - center[0], x - center[1]) <= radius


@pytest.mark.parametrize("mask", [np.zeros(SHAPE, bool), np.ones(SHAPE, bool), disk((0, 0), 9), disk((30, 40), 12)])
def test_runs_hold_a_mask_exactly(mask):
    np.testing.assert_array_equal(from_runs(to_runs(mask), SHAPE), mask)


def test_no_ct_is_painted_on_a_patient_of_whom_there_is_a_real_slice(tmp_path, monkeypatch):
    """KiTS19 and KiTS23 write the number of one patient differently."""
    (tmp_path / "kits23_labels").mkdir()
    for name in ("case_00028", "case_00030"):
        (tmp_path / "kits23_labels" / f"{name}.nii.gz").touch()
    nothing = np.zeros(SHAPE)
    monkeypatch.setattr(default_model, "painted_slices", lambda *_: [(nothing, nothing, 1.0)])
    real = [Case("kidney_case00028_z027", "case00028", tmp_path, tmp_path, {})]
    painted = default_model.painted_cases(tmp_path, tmp_path / "cases", real)
    assert [case.patient for case in painted] == ["painted case_00030"]


@pytest.mark.parametrize(
    ("alone", "averaged", "kept"),
    [(0.5, 0.7, True), (0.5, 0.6, False), (0.8, 0.7, False)],
)
def test_a_mean_is_kept_only_where_it_is_better_than_what_it_is_made_of(alone, averaged, kept, tmp_path, monkeypatch):
    run = RunFolder(tmp_path)
    for name, value in (("student/best.pt", 0.0), ("given/student.pt", 2.0)):
        (tmp_path / name).parent.mkdir()
        torch.save({"network": {"w": torch.tensor(value)}, "criterion": 0.6, "dice": {}}, tmp_path / name)
    torch.save({"learner": {"student.w": torch.tensor(0.0)}}, tmp_path / "student" / "last.pt")
    run.write_result({"student": "mobilenetv2-unet"})
    measured = {0.0: 0.6, 1.0: averaged, 2.0: alone}
    monkeypatch.setattr(
        averaged_student, "validated", lambda _, weights: {"dice": {}, "criterion": measured[float(weights["w"])]}
    )
    averaged_student.keep_mean_if_better(run)
    assert averaged_student.is_mean(run) == kept
    assert float(run.best("student")["network"]["w"]) == (1.0 if kept else 0.0)
    averaged_student.keep_mean_if_better(run)
    assert averaged_student.is_mean(run) == kept


def test_runs_are_start_and_length():
    mask = np.zeros((2, 4), bool)
    mask[0, 1:3] = mask[1, 3] = True
    assert to_runs(mask) == [1, 2, 7, 1]


def test_every_liver_slice_has_marks_that_fit_its_liver(data):
    paths = sorted((data / "msd_liver_slices").glob("*.npz"))
    kidneys = tumors = 0
    for path in paths:
        liver = np.load(path)["label"] > 0
        marks = marks_of(path.stem, liver.shape)
        if marks.kidneys is not None:
            assert not (marks.kidneys & liver).any(), path.stem
            kidneys += bool(marks.kidneys.any())
        if marks.tumors is not None:
            assert (marks.tumors <= liver).all(), path.stem
            tumors += bool(marks.tumors.any())
    assert len(paths) == 511 and MARKS.stat().st_size < 1_000_000
    assert kidneys > 200 and tumors > 50


def test_marked_livers_lie_beside_the_kidneys_in_slices_that_are_learned_from(data, tmp_path):
    """At the patient's right, and in nobody by whom the model is chosen or measured."""
    cases = default_model.kidney_cases(data, tmp_path)
    split = split_by_patient(cases, fractions=default_model.FRACTIONS, seed=default_model.SEED)
    marked = {case.name for case in cases if default_model.MARKED_LIVER in case.labels}
    assert len(marked) == 40 and marked <= {case.name for case in split.train}
    shown = 0
    for name in marked:
        content = np.load(data / "kits19_slices" / f"{name.removeprefix('kidney_')}.npz")
        liver = liver_of(name.removeprefix("kidney_"), content["label"].shape)
        assert not (liver & (content["label"] > 0)).any(), name
        if liver.any():
            shown += 1
            assert np.nonzero(liver)[1].mean() < liver.shape[1] / 2
    assert shown == 21


def test_marked_kidneys_are_brighter_than_the_muscles_and_lie_in_the_back(data):
    """As kidneys in enhanced CT are; marks on a mirrored or shifted grid would not."""
    bright = behind = count = 0
    for path in sorted((data / "msd_liver_slices").glob("*.npz")):
        image = np.load(path)["image"]
        kidneys = marks_of(path.stem, image.shape).kidneys
        if kidneys is not None and kidneys.any():
            pieces, _ = ndimage.label(ndimage.binary_opening(ndimage.gaussian_filter(image, 2) > 8))
            body = pieces == np.bincount(pieces.ravel())[1:].argmax() + 1
            count += 1
            bright += np.median(image[kidneys]) > 75
            behind += np.nonzero(kidneys)[0].mean() > np.nonzero(body)[0].mean()
    assert bright > 0.95 * count and behind > 0.9 * count


def test_a_mirrored_slice_shows_its_kidney_tumor_on_the_other_side_and_tells_nothing_of_the_liver(tmp_path):
    """A liver taught on the left would spoil what the network knows of the right."""
    tumor, kidney, liver = disk((40, 60), 6), disk((40, 64), 10), disk((25, 20), 12)
    label = np.select([tumor, kidney, liver], [2, 1, default_model.MARKED_LIVER], 0)
    labels = default_model.KIDNEYS | default_model.LIVERS
    hu = np.where(tumor, 80.0, np.where(kidney, 180.0, np.where(liver, 110.0, 0.0)))
    case = replace(write_slice(tmp_path / "kidney_a_z001", hu, label, 0.8, "a", labels), repeat=5)
    (mirrored,) = default_model.mirrored_cases([case], tmp_path)
    shown, truth = arrays_of(mirrored)
    np.testing.assert_array_equal(truth, np.select([tumor, kidney], [2, 1], 0)[:, ::-1])
    np.testing.assert_array_equal(shown, hu[:, ::-1])
    assert mirrored.labels == default_model.KIDNEYS
    assert (mirrored.patient, mirrored.repeat, mirrored.window) == (case.patient, case.repeat, case.window)
    assert sitk.ReadImage(str(mirrored.ct)).GetSpacing() == pytest.approx((0.8, 0.8, 5.0))
    assert mirrored.ct != case.ct and arrays_of(case)[1].max() == default_model.MARKED_LIVER


def test_a_slice_takes_the_place_of_what_an_earlier_run_left_there(tmp_path):
    for value in (1, 2):
        hu, label = np.full(SHAPE, 50.0 * value), np.full(SHAPE, value)
        case = write_slice(tmp_path / "a", hu, label, 0.8, "a", default_model.KIDNEYS)
        assert [array.max() for array in arrays_of(case)] == [50 * value, value]


def test_a_slice_without_contrast_has_grey_organs_and_keeps_fat_and_bone():
    rng = np.random.default_rng(0)
    hu = np.where(disk((32, 40), 30), 60.0, 0.0)
    liver, kidney, bone, fat = disk((30, 25), 9), disk((40, 55), 7), disk((50, 40), 5), disk((20, 48), 5)
    hu[liver], hu[kidney], hu[bone], hu[fat] = 110, 190, 250, 0
    computed = without_contrast(hu + rng.normal(0, 5, SHAPE), liver, kidney, rng)
    assert 20 <= np.median(computed[kidney]) <= 42
    assert 38 <= np.median(computed[liver]) <= 70
    assert np.median(computed[disk((50, 40), 3)]) > 200
    assert abs(np.median(computed[disk((20, 48), 3)])) < 10


def test_empty_slices_are_seeded_and_show_bodies():
    slices = [empty_slice((128, 128), np.random.default_rng(seed)) for seed in range(12)]
    np.testing.assert_array_equal(slices[3], empty_slice((128, 128), np.random.default_rng(3)))
    tissue = [float(((hu > 0) & (hu < 120)).mean()) for hu in slices]
    assert sum(share > 0.02 for share in tissue) >= 8
    assert all(np.median(hu[0]) < -800 for hu in slices)


def test_a_run_that_goes_on_takes_computed_slices_for_what_they_were_though_two_are_alike(tmp_path, monkeypatch):
    monkeypatch.setattr(default_model, "EMPTY_SLICES", 2)
    monkeypatch.setattr(default_model, "empty_slice", lambda shape, rng: np.full(shape, -1000.0, np.float32))
    cases = default_model.empty_cases(tmp_path)
    before = {ct_fingerprints(cases)[case.name]: case.patient for case in cases}

    assert len(before) == 1
    check_patients_named_alike(cases, ct_fingerprints(cases), before)


def test_nobody_who_is_tested_under_another_number_is_learned_from():
    def cases(*patients: str) -> tuple[Case, ...]:
        return tuple(Case(name, name, Path(), Path(), {}) for name in patients)

    split = Split(
        train=cases("patient10084", "patient10001", "patient10003"),
        validation=cases("patient10106", "patient10002"),
        test=cases("patient10095", "patient10004"),
        seed=0,
    )
    kept = without_known_people(split)
    assert [case.patient for case in kept.train] == ["patient10001", "patient10003"]
    assert [case.patient for case in kept.validation] == ["patient10002"]
    assert kept.test == split.test


def method_of(plan: TrainingPlan) -> str:
    return default_model.method_of(SimpleNamespace(plan=lambda: plan))


def test_a_student_that_began_with_photographs_says_so_and_so_does_what_goes_on_from_it(monkeypatch):
    began = replace(
        default_model.PLAN, method="kd", method_options={}, teacher_weights="taught", student_weights="a/imagenet.pt"
    )
    went_on = replace(began, method="none", teacher_weights=None, student_weights="photographed")
    taught = SimpleNamespace(method="hlfd", training_data=[])
    photographed = SimpleNamespace(method="kd", training_data=default_model.training_data_of(began))
    packages = {"taught": taught, "photographed": photographed}
    monkeypatch.setattr(default_model, "find_package", packages.__getitem__)
    for plan in (began, went_on):
        assert default_model.PHOTOGRAPHS in default_model.training_data_of(plan)
    for plan in (default_model.PLAN, replace(went_on, student_weights="taught")):
        assert default_model.PHOTOGRAPHS not in default_model.training_data_of(plan)
    assert method_of(began) == "kd, from a teacher that was trained by hlfd"
    assert method_of(went_on) == "kd, then labels alone"
