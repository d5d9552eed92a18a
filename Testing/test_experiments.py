"""The experiments: what they paint, how they divide patients, and that each of them runs."""

from __future__ import annotations

import csv
import re
import shutil
import sys
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from generated_public_data import CYST, KIDNEY, PATIENTS, TUMOR, ellipse, label_volume, write_public_data
from HLFDSegmentationLib.errors import CasesError
from HLFDSegmentationLib.tasks import TASKS
from HLFDTrainingLib.compare.wording import HOW_TO_READ, HOW_TO_READ_FOCUS, SIGNIFICANT
from HLFDTrainingLib.distillers import DISTILLERS
from HLFDTrainingLib.distillers.edges import PIXEL_WEIGHT
from scipy import ndimage

sys.path.append(str(Path(__file__).parent / "experiments"))

import experiments
import experiments_pictures
import experiments_results
import kept_differences
import limits_of_p
import where_cells_look
from experiment_cases import Extent, folds_of, kidney_slices, painted_liver_lesions, stored_cases
from lesions_in_volumes import with_balls, with_balls_on_kidneys
from painted_kidney_tumors import with_kidney_tumor
from painted_kidney_volumes import PIXELS, SPACING_MM, painted_volume
from painted_liver_lesions import LESION, with_lesions
from painted_metastases import KINDS, with_metastases
from slice_cases import patient_of
from tuning_chart import tuning_charts


@pytest.fixture(scope="module")
def public_data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_public_data(folder)
    return folder


@pytest.fixture(scope="module")
def volume(public_data):
    return painted_volume(public_data / "kits23_labels/case_00000.nii.gz", seed=3, slices=16)


def test_painted_volume_keeps_the_places_and_sizes_of_its_label_map(volume):
    assert volume.hu.shape == volume.label.shape == (16, PIXELS, PIXELS)
    assert volume.hu.dtype == np.int16
    voxel, painted_voxel = 5 * 1.6 * 1.6, np.prod(volume.spacing)
    for value in (KIDNEY, TUMOR, CYST):
        expected = (label_volume() == value).sum() * voxel
        assert (volume.label == value).sum() * painted_voxel == pytest.approx(expected, rel=0.15)
    _, _, tumor = np.nonzero(volume.label == TUMOR)
    _, _, cyst = np.nonzero(volume.label == CYST)
    # The columns go to the patient's left, in the label map and here.
    assert (cyst.mean() - tumor.mean()) * SPACING_MM == pytest.approx((172 - 90) * 1.6, abs=6)


@pytest.mark.parametrize("slices", [3, 8, 20])
def test_painted_volume_has_slices_without_kidneys_at_both_ends(public_data, slices):
    shown = painted_volume(public_data / "kits23_labels/case_00000.nii.gz", 3, slices).label.any(axis=(1, 2))
    assert not shown[0] and not shown[-1]
    assert shown.any()


def test_painted_volume_is_ct_that_runs_on_through_the_slices(volume):
    assert volume.hu.min() < -950
    assert np.percentile(volume.hu[volume.label == KIDNEY], 50) > 20
    still = np.corrcoef(volume.hu[7].ravel(), volume.hu[8].ravel())[0, 1]
    far = np.corrcoef(volume.hu[1].ravel(), volume.hu[14].ravel())[0, 1]
    assert still > 0.9 and still > far


def test_painted_volume_depends_on_its_seed_alone(public_data, volume):
    path = public_data / "kits23_labels/case_00000.nii.gz"
    again, other = painted_volume(path, seed=3, slices=16), painted_volume(path, seed=4, slices=16)
    np.testing.assert_array_equal(again.hu, volume.hu)
    np.testing.assert_array_equal(again.label, volume.label)
    np.testing.assert_array_equal(other.label, volume.label)
    assert (other.hu != volume.hu).mean() > 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_metastases_lie_in_the_liver_and_look_like_their_kind(kind):
    liver = ellipse((256, 256), (120, 100), (60, 55))
    hu = np.where(liver, 110.0, 40.0).astype(np.float32)
    darker = []
    for seed in range(20):
        painted, label = with_metastases(hu, liver, 1.5, kind, np.random.default_rng(seed))
        assert not (label[~liver]).any()
        away = ndimage.distance_transform_edt(~liver) > 4
        np.testing.assert_allclose(painted[away], hu[away], atol=0.5)
        if (label == 2).any():
            darker.append(110 - painted[label == 2].mean())
    assert 10 < len(darker) < 21
    brighter = KINDS[kind].contrast[0] > 0
    assert np.mean(np.array(darker) < 0) > 0.9 if brighter else np.mean(np.array(darker) > 0) > 0.9


def test_lesions_for_the_default_model_are_of_all_sizes_dark_and_bright_and_leave_liver_around_them():
    hu, liver = np.full((200, 200), 100.0, np.float32), ellipse((200, 200), (100, 100), (60, 80))
    areas, brighter = [], []
    for seed in range(60):
        painted, label = with_lesions(hu, liver, np.random.default_rng(seed))
        assert np.array_equal(label > 0, liver) and painted.min() >= 0 and painted.max() <= 250
        lesions, count = ndimage.label(label == LESION)
        areas += np.bincount(lesions.ravel())[1:].tolist()
        brighter += [painted[lesions == number].mean() > 100 for number in range(1, count + 1)]
        assert (label == LESION).sum() < 0.8 * liver.sum()
    assert max(areas) > np.pi * 20**2 and min(areas) < np.pi * 5**2
    assert 0.2 < np.mean(brighter) < 0.6
    again, _ = with_lesions(hu, liver, np.random.default_rng(59))
    assert np.array_equal(again, painted)


def test_kidney_tumors_for_the_default_model_grow_at_a_kidney_and_nowhere_else():
    body = ellipse((200, 200), (100, 100), (80, 95))
    kidneys = ellipse((200, 200), (120, 60), (18, 14)) | ellipse((200, 200), (120, 140), (18, 14))
    liver = ellipse((200, 200), (80, 40), (25, 20)) & ~kidneys
    spine = ellipse((200, 200), (125, 100), (12, 12))
    hu = np.where(body, 50.0, 0.0)
    hu[kidneys], hu[liver], hu[spine] = 160, 100, 240
    hu += np.random.default_rng(0).normal(0, 5, hu.shape)
    beside_kidney, areas, cysts = [], [], 0
    for seed in range(60):
        painted, label = with_kidney_tumor(hu, kidneys, liver, 1.5, np.random.default_rng(seed))
        tumor = label == 2
        assert painted.min() >= 0 and painted.max() <= 250
        assert not label[liver | spine | ~body].any() and label[kidneys].all()
        assert (tumor & kidneys).any() and ndimage.label(tumor | kidneys)[1] == 2
        far = ndimage.distance_transform_edt(~(label > 0)) > 6
        np.testing.assert_allclose(painted[far], hu[far].clip(0, 250), atol=1)
        areas.append(tumor.sum() * 1.5**2)
        beside_kidney.append((tumor & ~kidneys).sum() / tumor.sum())
        cysts += ((label == 1) & ~kidneys).any()
    assert min(areas) < np.pi * 10**2 and max(areas) > np.pi * 20**2
    assert min(beside_kidney) < 0.2 and max(beside_kidney) > 0.5
    assert 3 < cysts < 30
    again, _ = with_kidney_tumor(hu, kidneys, liver, 1.5, np.random.default_rng(59))
    assert np.array_equal(again, painted)
    assert with_kidney_tumor(hu, np.zeros_like(kidneys), liver, 1.5, np.random.default_rng(0)) is None


def test_every_patient_is_tested_on_in_one_fold(public_data, tmp_path):
    parts = kidney_slices(public_data, tmp_path, Extent())
    folds = folds_of(parts.train, 3)
    tested = [case.name for fold in folds for case in fold.test]
    assert sorted(tested) == sorted(case.name for case in parts.train)
    assert len(tested) == 2 * PATIENTS
    assert all(fold.train and fold.validation and fold.test for fold in folds)


def test_cases_are_made_once_and_not_mixed_with_others(public_data, tmp_path):
    task, extent = TASKS["liver-tumor"], Extent(patients=4)
    [first] = stored_cases(painted_liver_lesions, public_data, tmp_path, extent, task)
    stamps = {case.ct: case.ct.stat().st_mtime_ns for case in first.train}
    assert {case.patient for case in (*first.train, *first.validation, *first.test)} == {
        f"patient{number:05}" for number in range(4)
    }
    [again] = stored_cases(painted_liver_lesions, public_data, tmp_path, extent, task)
    assert again.to_dict() == first.to_dict()
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    with pytest.raises(CasesError, match="another extent"):
        stored_cases(painted_liver_lesions, public_data, tmp_path, replace(extent, patients=5), task)


def test_cases_of_an_interrupted_call_are_not_mixed_with_others(public_data, tmp_path):
    task, extent = TASKS["liver-tumor"], Extent(patients=4)

    def interrupted(data, folder, extent):
        painted_liver_lesions(data, folder, replace(extent, patients=2))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stored_cases(interrupted, public_data, tmp_path, extent, task)
    with pytest.raises(CasesError, match="another extent"):
        stored_cases(painted_liver_lesions, public_data, tmp_path, replace(extent, paintings=1), task)
    assert stored_cases(painted_liver_lesions, public_data, tmp_path, extent, task)


def test_balls_are_painted_into_the_liver_and_nowhere_else():
    liver = np.zeros((20, 60, 60), bool)
    liver[2:18, 5:55, 5:55] = True
    ct = sitk.GetImageFromArray(np.full(liver.shape, 100, np.int16))
    ct.SetSpacing((1.0, 1.0, 2.5))
    painted, balls = with_balls(ct, liver, 10.0, -50.0, np.random.default_rng(1))
    hu = sitk.GetArrayFromImage(painted)
    assert balls.max() >= 2 and not balls[~liver].any()
    assert (hu[~liver] == 100).all() and hu.min() == 50
    for number in range(1, balls.max() + 1):
        assert (balls == number).sum() * 2.5 == pytest.approx(np.pi / 6 * 10**3, rel=0.15)


def test_balls_on_kidneys_lie_half_in_fat_and_touch_no_other_organ():
    kidney = np.zeros((24, 80, 80), bool)
    kidney[4:20, 30:50, 30:50] = True
    hu = np.where(kidney, 150, -100).astype(np.int16)
    hu[:, :, 51:] = 60
    ct = sitk.GetImageFromArray(hu)
    ct.SetSpacing((1.0, 1.0, 2.5))
    for seed in range(10):
        painted, balls = with_balls_on_kidneys(ct, kidney, 15.0, 70.0, np.random.default_rng(seed))
        changed = sitk.GetArrayFromImage(painted)
        assert balls.max() >= 2 and sitk.GetArrayFromImage(ct).max() == 150
        for number in range(1, balls.max() + 1):
            ball = balls == number
            assert 0.1 < kidney[ball].mean() < 0.8 and (hu[ball] == 60).mean() < 0.15
            assert changed[ndimage.binary_erosion(ball)].mean() == pytest.approx(70, abs=5)
        away = ndimage.distance_transform_edt(balls == 0) > 3
        assert (changed[away] == hu[away]).all()


def test_person_with_several_numbers_is_one_patient():
    numbers = {"patient10084", "patient10095", "patient10106"}
    assert len({patient_of(Path(f"{number}_z040.npz")) for number in numbers}) == 1
    assert patient_of(Path("patient10083_z040.npz")) == "patient10083"


def test_the_students_of_the_comparison_are_those_that_are_promised():
    rows = experiments.PAYABLE
    for method in ("none", "kd", "at", "emkd", "hlfd"):
        assert {row.seed for row in rows if (row.method, row.student) == (method, "mobilenetv2-unet")} == {0, 1, 2}
    assert {row.method for row in rows if row.student == "resnet18-unet"} == {"none", "kd", "hlfd"}
    assert len({row.method for row in rows}) == 10
    ablated = {row.method for row in experiments.ABLATION}
    terms = ("ufd", "ifd", "upd", "ipd")
    left_out = {"+".join(one for one in terms if one != term) for term in terms}
    assert {f"hlfd:terms={term}" for term in (*terms, *left_out)} < ablated


def test_rows_that_an_experiment_does_not_have_are_refused():
    for wanted in (["--methods", "none,skd"], ["--seeds", "1"], ["--students", "resnet18-unet"]):
        with pytest.raises(SystemExit, match=f"longer_kidney_slices has no .* {wanted[1].split(',')[-1]}"):
            experiments.chosen_experiment(experiments.parsed(["longer_kidney_slices", "DATA", "WORK", *wanted]))


def test_some_rows_of_an_experiment_can_be_run_alone():
    command = ["liver_slices", "DATA", "WORK", "--methods", "none,hlfd:full", "--seeds", "0"]
    rows = experiments.chosen_experiment(experiments.parsed(command)).budget.rows
    assert [(row.method, row.student) for row in rows] == [
        ("none", "mobilenetv2-unet"),
        ("hlfd:full", "mobilenetv2-unet"),
        ("none", "resnet18-unet"),
    ]
    rows = experiments.chosen_experiment(experiments.parsed([*command, "--students", "resnet18-unet"])).budget.rows
    assert [row.name for row in rows] == ["none_resnet18-unet_seed0"]


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("work")


@pytest.mark.slow
@pytest.mark.parametrize("name", experiments.EXPERIMENTS)
def test_experiment_runs_from_data_to_tables(public_data, work, name):
    experiments.main([name, str(public_data), str(work), "--small", "--device", "cpu", "--workers", "1"])
    with open(work / experiments.EXPERIMENTS[name].folder / "comparison/table.csv", encoding="utf-8") as stream:
        assert {"teacher", "none", "hlfd"} <= {row["method"] for row in csv.DictReader(stream)}


@pytest.mark.slow
def test_pictures_of_all_experiments(work, tmp_path, monkeypatch):
    """After the experiments above."""
    monkeypatch.setattr(sys, "argv", ["experiments_pictures.py", str(work), str(tmp_path)])
    experiments_pictures.main()
    expected = {f"{name}_examples.png" for name in experiments.EXPERIMENTS}
    painted = {"painted_liver_lesions_painted.png", "painted_kidney_volumes_painted.png"}
    assert {path.name for path in tmp_path.iterdir()} == expected | painted
    with open(work / "kidney_slices/comparison/cases.csv", encoding="utf-8") as stream:
        assert len({row["patient"] for row in csv.DictReader(stream)}) == PATIENTS


@pytest.mark.slow
@pytest.mark.parametrize("name", experiments.EXPERIMENTS)
def test_figures_of_an_experiment_are_kept_and_told(name, work, tmp_path, monkeypatch):
    """After the experiments above."""
    command = ["experiments_results.py", str(tmp_path), "--keep", name, str(work), "--about", "Very small."]
    monkeypatch.setattr(sys, "argv", command)
    experiments_results.main()
    kept = (tmp_path / f"experiments/{name}.zip").read_bytes()
    page = (tmp_path / f"experiments/{name}.md").read_text(encoding="utf-8")
    assert "| hlfd |" in page and "Very small." in page
    assert ("terms=ufd" in page) == (name == "ablation")
    images = {path.name for path in (tmp_path / "images/experiments").glob(f"{name}_*.svg")}
    assert {f"{name}_{kind}.svg" for kind in ("dice", "focus", "learning")} <= images
    experiments_results.main()
    assert (tmp_path / f"experiments/{name}.zip").read_bytes() == kept


def test_where_a_cell_looks_from_is_told_in_cells():
    change = torch.zeros(8, 8)
    change[4, 5] = -2.0
    change[0, 0] = 5.0  # too far away to come from that place
    assert where_cells_look.offset(change, (4 * 16 + 12, 5 * 16 - 4), 16) == (0.75, -0.25)


def test_kept_figures_are_not_replaced_by_those_of_fewer_rows(tmp_path):
    docs = Path(__file__).parents[1] / "docs"
    kept = shutil.copy(docs / "experiments/kidney_slices.zip", tmp_path / "kidney_slices.zip")
    (tmp_path / "experiments").mkdir()
    shutil.move(kept, tmp_path / "experiments")
    work = tmp_path / "work" / experiments.EXPERIMENTS["kidney_slices"].folder
    with zipfile.ZipFile(tmp_path / "experiments/kidney_slices.zip") as archive:
        names = [name for name in archive.namelist() if "rows/none" in name or "rows/" not in name]
        archive.extractall(work, names)
    with pytest.raises(SystemExit, match="Remove that file first"):
        experiments_results.keep("kidney_slices", tmp_path / "work", "Small.", tmp_path)


DOCS = Path(__file__).parents[1] / "docs"
KEPT = [
    name
    for name, result in experiments_results.RESULTS.items()
    if experiments_results.kept_file(result.kept, DOCS).is_file()
]


def printed(script, monkeypatch, capsys) -> str:
    monkeypatch.setattr(sys, "argv", [script.__name__, str(DOCS)])
    script.main()
    return capsys.readouterr().out


def test_what_the_docs_say_of_two_seeds_and_of_all_tables_is_what_the_figures_say(monkeypatch, capsys):
    told = printed(limits_of_p, monkeypatch, capsys)
    assert "Dice, all: 31 of 240 pairs of seeds have a p below 0.05 (13%)" in told
    assert "focus, all: 489 of 1008 pairs of seeds have a p below 0.05 (49%)" in told
    assert "489 of 1008 pairs (49 %; of Dice in 13 %)" in HOW_TO_READ_FOCUS
    assert "of 93 differences of three seeds with an adjusted p below 0.05, all seeds agree in 46" in told
    page, of_compare = (
        " ".join((DOCS / name).read_text(encoding="utf-8").split()) for name in ("experiments.md", "compare.md")
    )
    for text in (page, of_compare):
        assert "31 of 240 pairs" in text and "489 of 1008" in text
    assert "46 of the 93 of three seeds with an adjusted p below 0.05" in page
    assert "adjusted p 0.045, and 0.082 over all tables" in page
    assert "51 arrows in the tables; by the median over the cases 48, 6 of them others, and 9 of those now" in told
    assert "6 of the 48 arrows in the tables were others, and 9 of the 51 there now (five of them of two seeds)" in page
    assert "intervals of 10 patients hold the mean in 72 to 94 of 100 samples" in told
    for text in (of_compare, HOW_TO_READ):
        assert "with ten patients it does so in about 70 to 95" in text
    for row, found, said in (
        ("longer_kidney_volumes, kidney, none", "2: +1.0 ± 0.4, p 0.027", "by 1.0 point, with a p of 0.027"),
        ("longer_kidney_volumes, kidney, skd", "2: -0.5 ± 0.8, p 0.330", "0.3 to 0.5 points below it"),
        ("longer_kidney_volumes, kidney, hlfd:full", "2: -0.3 ± 0.7, p 0.756", "which is nothing (p 0.33 and more;"),
        ("ablation, kidney, hlfd:beta=9", "2: -1.2 ± 0.5, p 0.033", "(−1.2 points, p 0.033, not adjusted)"),
        ("ablation, kidney, hlfd:released", "2: -1.0 ± 0.6, p 0.123", "0.0 to 1.0 points below it (p 0.12 and more;"),
        ("ablation, kidney with tumors, hlfd:beta=9", "1: -3.1 ± 1.2, p 0.002", "(1.6 to 3.1 points, p 0.002"),
        ("ablation, kidney with tumors, hlfd:released", "1: -2.2 ± 1.3, p 0.017", "p 0.002 to 0.017)"),
    ):
        assert f"{row} of seed 0 less the student alone of seed {found}\n" in told and said in page
    for row, p in (
        ("liver_slices, liver, mobilenetv2-unet, hlfd: +0.038", 0.044),
        ("painted_liver_lesions, liver with tumors, mobilenetv2-unet, hlfd: +0.045", 0.050),
        ("larger_networks, liver, resnet18-unet, kd: +0.022", 0.038),
        ("painted_kidney_volumes, kidney, mobilenetv2-unet, hlfd: -0.014", 0.082),
        ("painted_kidney_volumes, kidney with tumors, mobilenetv2-unet, hlfd:released: -0.021", 0.060),
    ):
        assert re.search(rf"{re.escape(row)}, .* and {p:.3f} of all 225 differences", told)


def test_weights_of_the_other_methods_are_said_to_be_those_of_the_authors_of_hlfd():
    """And not those of each method's own paper."""
    (attention,), (prediction,) = DISTILLERS["at"].edges, DISTILLERS["kd"].edges
    assert (attention.student, attention.weight, prediction.weight) == ("encoder5", 1.0, PIXEL_WEIGHT)
    page, methods = (
        " ".join((DOCS / name).read_text(encoding="utf-8").split()) for name in ("experiments.md", "distillation.md")
    )
    assert "the weights are those of the code of HLFD's authors" in page
    assert "AT's authors compare three layers" in page and "Its authors' code compares three layers" in methods


def table_cells(page: str) -> Iterator[tuple[str, str, str, str]]:
    """Each cell of a page's tables: the experiment whose section it is in, its row's and column's title, its text."""
    for section in re.split(r"^#{2,3} ", page, flags=re.MULTILINE):
        experiment = re.search(r"^Tables: \[experiments/(\w+)\.md\]", section, re.MULTILINE)
        for table in re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE):
            heading, _, *rows = ([cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines())
            for row in rows:
                for column, cell in zip(heading, row, strict=True):
                    yield experiment[1] if experiment else "", row[0], column, cell


def test_what_the_docs_say_of_folds_longer_training_and_tumors_is_what_the_figures_say(monkeypatch, capsys):
    told = printed(kept_differences, monkeypatch, capsys)
    text = (DOCS / "experiments.md").read_text(encoding="utf-8")
    folds = 0
    for experiment, row, column, cell in table_cells(text):
        if re.fullmatch(r"([+−]\d+\.\d,? ?){5}", cell):
            assert f"{experiment}, {column}, {row.lower()}, by fold: {cell.replace('−', '-')}\n" in told
            folds += 1
        if column == "Dice below 0.1 in":
            assert re.search(rf"^{row[1:-1]}, .* below 0.1 in {cell.replace(' ', '')};", told, re.MULTILINE)
        if column == "median Dice":
            assert re.search(rf"^{row[1:-1]}, .*, median Dice {cell},", told, re.MULTILINE)
        if column.startswith("standard error of HLFD"):
            assert re.search(rf"^{row[1:-1]}, .* of HLFD's difference {cell}$", told, re.MULTILINE)
    assert folds == 21
    errors = defaultdict(list)
    for experiment, error in re.findall(r"^(\w+), .* of HLFD's difference ([\d.]+)$", told, re.MULTILINE):
        if experiment in experiments.EXPERIMENTS:
            errors[experiment.endswith("kidney_slices")].append(float(error))
    real, painted = (f"{2 * min(errors[of]):.0f} to {3 * max(errors[of]):.0f}" for of in (True, False))
    for said in ("points on real kidney tumors and {} on painted ones", "points on real ones, or {} on painted ones"):
        assert f"{real} {said.format(painted)}" in " ".join(text.split())
    for change, said in (
        (
            "longer_training less liver_slices, liver, hlfd: -5.2 ± 1.0, p < 0.001",
            "5.2 ± 1.0 points less than in the first training of 600 (p < 0.001,",
        ),
        (
            "repeated_liver_slices less liver_slices, liver, hlfd: -3.6 ± 0.8, p 0.008",
            "3.6 ± 0.8 less (p 0.008) in the repeat of 600 steps",
        ),
        (
            "longer_training less repeated_liver_slices, liver, hlfd: -1.6 ± 0.9, p 0.016",
            "against that it is 1.6 ± 0.9 less (p 0.016)",
        ),
        (
            "longer_painted_lesions less painted_liver_lesions, liver with tumors, hlfd: -3.2 ± 2.7, p 0.229",
            "(3.2 ± 2.7, p 0.23)",
        ),
        (
            "repeated_painted_lesions less painted_liver_lesions, liver with tumors, hlfd: -3.1 ± 2.7, p 0.561",
            "in the repeat 3.1 ± 2.7 (p 0.56;",
        ),
        ("longer_kidney_slices less kidney_slices, kidney, hlfd: -18.8 ± 7.7, p 0.079", "(−18.8 ± 7.7, p 0.079)"),
        (
            "liver_slices and repeated_liver_slices, liver, hlfd: +2.0 ± 0.9, p 0.014",
            "are +2.0 ± 0.9 and +3.0 ± 1.1 points",
        ),
        (
            "painted_liver_lesions and repeated_painted_lesions, liver with tumors, hlfd: +3.0 ± 1.1, p 0.012",
            "p of 0.014 and 0.012 that do not see the trainings",
        ),
        ("painted_lesions, liver tumor, hlfd: -1.3 ± 1.1, p 0.421", "and −1.3 ± 1.1 on tumors"),
        ("repeated_liver_slices, liver, hlfd less teacher: -2.1 ± 0.7, p 0.010", "2.1 ± 0.7 points below it (p 0.010)"),
        (
            "longer_kidney_slices and repeated_kidney_slices, kidney with tumors, hlfd: +2.2 ± 3.5, p 0.916",
            "+2.2 ± 3.5 points on the kidney with its tumors (p 0.92) and −0.3 ± 4.1 on the tumor",
        ),
        (
            "better_teacher, kidney tumor, none less teacher: -13.0 ± 4.5, p 0.005",
            "The teacher is 13.0 ± 4.5 points better on tumors (p 0.005), and nothing",
        ),
        ("longer_kidney_slices, kidney with tumors, hlfd less teacher: +3.4 ± 3.8,", "in the first run: +3.4 ± 3.8"),
        (
            "repeated_kidney_slices, kidney with tumors, hlfd less teacher: -12.9 ± 2.8, p < 0.001",
            "in the repeat it is 12.9 ± 2.8 points below it, p < 0.001",
        ),
        (
            "kidney, in a fold: the student alone changes by up to 13.9, hlfd's difference by up to 35.6",
            "the student alone changes by up to 14 points in a fold, and HLFD's difference by up to 36.",
        ),
    ):
        assert change in told and said in " ".join(text.split())


def test_differences_in_the_tables_of_the_docs_are_bold_where_their_adjusted_p_is_low():
    low = defaultdict(set)
    for name in KEPT:
        for row in experiments_results.kept_tables(name, DOCS)[0]:
            if found := row.difference:
                for factor, digits in ((1, 3), (100, 1)):
                    told = f"{factor * found.mean:+.{digits}f} ± {factor * found.standard_error:.{digits}f}"
                    for of, label in (name, row.label), (name, ""), ("", row.label), ("", ""):
                        low[of, label, told.replace("-", "−")].add(found.adjusted_p < SIGNIFICANT)
    checked = 0
    for experiment, row, column, cell in table_cells((DOCS / "experiments.md").read_text(encoding="utf-8")):
        # A row or column of another experiment, beside those of the section, tells its steps or that it was the first.
        if found := re.fullmatch(r"(\*\*)?(?:\w+ )?([+−][\d.]+ ± [\d.]+)(\*\*)?(?: \(one seed\))?", cell):
            name = "" if re.search("steps:|600 steps|first time", f"{row} {column}") else experiment
            label = column if column in {"kidney with tumors", "kidney", "kidney tumor", "liver with tumors"} else ""
            expected = low.get((name, label, found[2])) or low[name, "", found[2]]
            assert expected, f"{experiment}: no difference {cell} of {row}, {column} is kept"
            assert bool(found[1]) in expected, f"{experiment}: {row}, {column}: {cell}"
            checked += len(expected) == 1
    assert checked > 200


def test_what_tuning_gained_is_drawn_beside_the_teacher_and_each_seed_alone():
    records = experiments_results.read_kept(experiments_results.kept_file("ablation", DOCS))[1].cases
    lines = {"hlfd", "± standard error", "teacher", "none, seed 0", "none, seed 1", "none, seed 2"}
    tried = ({"0.3", "0.9", "2.7", "9"}, {"0.01", "0.1", "0.3", "1"}, {"1", "2", "4", "8"})
    for chart, values in zip(tuning_charts(records), tried, strict=True):
        assert lines | values < {text.text for text in chart.iter("text")}
    few = [one for one in records if one.method in ("teacher", "none", "hlfd") and one.seed not in (1, 2)]
    assert len(tuning_charts(few)) == 3


def test_pages_and_charts_of_the_docs_are_those_of_the_figures_that_are_kept(tmp_path):
    for folder in ("experiments", "images/experiments"):
        (tmp_path / folder).mkdir(parents=True)
    for name in KEPT:
        experiments_results.write_result(name, DOCS, tmp_path)
    for pattern in ("experiments/*.md", "images/experiments/*.svg"):
        written, in_docs = ({path.name: path.read_bytes() for path in one.glob(pattern)} for one in (tmp_path, DOCS))
        assert sorted(written) == sorted(in_docs)
        assert [name for name in written if written[name] != in_docs[name]] == []
