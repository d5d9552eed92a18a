"""The networks of a run beside each other, and what of it gets into the model's package."""

from __future__ import annotations

import csv
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from generated_cases import TASK, write_cases
from HLFDSegmentationLib.errors import TrainingError
from HLFDSegmentationLib.inference import Segmenter
from HLFDSegmentationLib.model_package import read_package
from HLFDTrainingLib import comparison_table
from HLFDTrainingLib.cases import Case, find_cases
from HLFDTrainingLib.cli import main
from HLFDTrainingLib.commands.evaluating import HOW_TO_READ
from HLFDTrainingLib.comparison_table import compare_run, comparison_text
from HLFDTrainingLib.evaluation import SegmentedCase, evaluate
from HLFDTrainingLib.metrics import METRICS, summarize
from HLFDTrainingLib.packaging import package_run, stage_as_package
from HLFDTrainingLib.plan import TrainingPlan
from HLFDTrainingLib.runs.run_folder import RunFolder
from HLFDTrainingLib.runs.run_start import start_run
from HLFDTrainingLib.split import split_by_patient
from HLFDTrainingLib.trainer import TrainingRun

PLAN = TrainingPlan(
    task=TASK,
    teacher="resnet18-unet",
    method="kd",
    teacher_epochs=6,
    student_epochs=12,
    undistilled=True,
    batch=2,
    learning_rate=5e-3,
    device="cpu",
)
LABELS = ["liver", "liver tumor", "liver with tumors"]


def trained(folder, plan: TrainingPlan, fractions) -> RunFolder:
    run = RunFolder(folder / "run")
    cases = find_cases(write_cases(folder / "cases", 6, slices=4), TASK)
    start_run(run, plan, cases, split_by_patient(cases, fractions=fractions))
    TrainingRun(run).run()
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("training"), PLAN, (0.5, 0.17, 0.33))


@pytest.fixture(scope="module")
def comparison(run):
    return compare_run(run, "cpu")


def test_teacher_and_both_students_are_compared(comparison, run):
    assert [(model.stage, model.network, model.method) for model in comparison] == [
        ("teacher", "resnet18-unet", "none"),
        ("student", "mobilenetv2-unet", "kd"),
        ("undistilled", "mobilenetv2-unet", "none"),
    ]
    measured = [[case.case for case in model.cases] for model in comparison]
    assert measured == [run.read("split.json")["test"]] * 3 and len(measured[0]) == 2
    teacher, student, undistilled = comparison
    assert teacher.parameters > student.parameters == undistilled.parameters
    assert teacher.gmacs > student.gmacs == undistilled.gmacs > 0
    for model in comparison:
        assert list(model.labels) == LABELS
        assert model.seconds.n == 2 and model.seconds.mean > 0


def test_each_network_is_measured_by_itself(comparison, run):
    teacher, student, undistilled = comparison
    assert teacher.labels["liver"]["dice"].mean > 0.5
    assert len({repr(model.labels) for model in (teacher, student, undistilled)}) == 3
    with stage_as_package(run, "student") as package:
        expected = summarize(evaluate(package, run.split(run.plan()).test, device="cpu"))
    assert repr(student.labels) == repr(expected)  # NaN equals no NaN


def test_files_hold_mean_and_deviation_of_every_figure(comparison, run):
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    stored = json.loads(run.comparison.read_text(encoding="utf-8"), parse_constant=refuse)
    with open(run.comparison.with_suffix(".csv"), encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["stage"], row["label"]) for row in rows] == [
        (model.stage, label) for model in comparison for label in LABELS
    ]
    for model, of_model in zip(comparison, stored["models"]):
        assert [case["case"] for case in of_model["cases"]] == [case.case for case in model.cases]
        for label in LABELS:
            row = next(row for row in rows if (row["stage"], row["label"]) == (model.stage, label))
            for metric in METRICS:
                summary = model.labels[label][metric]
                for part, value in vars(summary).items():
                    unknown = math.isnan(value)
                    told, cell = of_model["labels"][label][metric][part], row[f"{metric}_{part}"]
                    assert (told is None) == (cell == "") == unknown
                    assert unknown or (told == value and float(cell) == pytest.approx(value, abs=1e-5))


def test_text_has_a_row_for_each_network(comparison):
    lines = comparison_text(comparison).splitlines()
    for model in comparison:
        assert sum(line.startswith(f"| {model.stage} ({model.network})") for line in lines) == 1 + len(LABELS)
    assert "nan" not in "\n".join(lines)


def test_package_and_card_tell_the_figures_of_the_test_cases(comparison, run, tmp_path):
    for model in comparison:
        package = read_package(package_run(run, tmp_path / model.stage, name=model.stage, stage=model.stage))
        assert (package.network_name, package.method) == (model.network, model.method)
        dice = model.labels["liver"]["dice"].mean
        assert package.metrics["liver"]["test_dice"] == pytest.approx(dice)
        assert f"test dice {dice:.3f}" in package.card
        origin = "distilled from resnet18-unet by kd" if model.stage == "student" else "trained on the labels alone"
        assert origin in package.card


def test_command_compares_and_prints(comparison, run, capsys):
    assert main(["evaluate", str(run.path), "--all", "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert "| undistilled (mobilenetv2-unet) |" in said and HOW_TO_READ in said


def test_command_says_where_figures_belong(run, tmp_path, capsys):
    for options in ([], ["--all", "-o", str(tmp_path / "f.csv")]):
        with pytest.raises(SystemExit) as left:
            main(["evaluate", str(run.path), *options])
        assert left.value.code == 2
        said = capsys.readouterr().err
        assert "-o OUTPUT | --all" in said and "-o/--output" in said.splitlines()[-1]
    assert main(["evaluate", str(run.path), str(tmp_path), "--all"]) == 1
    assert "its own test cases" in capsys.readouterr().err


@pytest.mark.parametrize("metric", METRICS)
def test_the_command_explains_every_column(metric):
    assert re.search(rf"^  {metric} +\S", HOW_TO_READ, re.MULTILINE)


def test_a_case_that_the_processor_had_to_finish_is_told(run, monkeypatch):
    """The memory of the graphics card was too small for it, and its seconds are not the card's."""
    usual, told = Segmenter.segment, iter([None, "cuda:0", "cpu"] * 3)

    def on_card(self, ct):
        device = next(told)
        found = usual(self, ct)
        return replace(found, device=device) if device else found

    monkeypatch.setattr(Segmenter, "segment", on_card)
    found = compare_run(run, "cpu")
    assert found[1].devices == ("cuda:0", "cpu")
    assert "(cuda:0, cpu) |" in comparison_text(found)


def test_measuring_that_was_ended_goes_on_with_the_next_case(comparison, run, monkeypatch):
    """Hours were lost where the last of many cases failed, or the user cancelled."""
    begun, measure = [], comparison_table.segment_case

    def ending(last: int):
        def segment(segmenter, case):
            begun.append(case.name)
            if len(begun) == last:
                raise KeyboardInterrupt
            return measure(segmenter, case)

        return segment

    monkeypatch.setattr(comparison_table, "segment_case", ending(4))
    with pytest.raises(KeyboardInterrupt):
        compare_run(run, "cpu")
    begun.clear()
    monkeypatch.setattr(comparison_table, "segment_case", ending(9))
    found = compare_run(run, "cpu")
    first, second = (case.case for case in comparison[0].cases)
    assert begun == [second, first, second]
    assert repr([model.cases for model in found]) == repr([model.cases for model in comparison])
    assert not (run.path / "measuring").exists()


def test_run_without_test_cases_is_told_so(tmp_path):
    plan = TrainingPlan(task=TASK, method="none", student_epochs=1, device="cpu")
    with pytest.raises(TrainingError, match="no test cases"):
        compare_run(trained(tmp_path, plan, (0.8, 0.2, 0.0)), "cpu")


def test_test_case_that_is_gone_is_named(tmp_path):
    plan = TrainingPlan(task=TASK, method="none", student_epochs=1, device="cpu")
    run = trained(tmp_path, plan, (0.5, 0.17, 0.33))
    gone = run.split(run.plan()).test[0]
    gone.label.unlink()
    assert main(["evaluate", str(run.path), "--all", "--device", "cpu"]) == 1
    assert not run.comparison.exists()


def test_surface_distance_of_a_case_is_in_its_ct_s_mm():
    ct = sitk.Image(40, 30, 8, sitk.sitkInt16)
    ct.SetSpacing((1.0, 1.0, 5.0))
    truth = np.zeros((8, 30, 40), np.uint8)
    truth[3, 5:25, 5:35] = 1
    case = Case("one", "P1", Path("ct"), Path("label"), {1: ("liver",), 2: ("liver tumor",)})
    found = SegmentedCase(case, TASK, ct, np.roll(truth, 1, axis=0), truth, 0.0, "cpu").figures()
    assert found.labels["liver"].hd95_mm == pytest.approx(5.0)


def test_too_much_that_is_segmented_is_told_of_the_segmentation_and_not_of_the_annotation():
    ct = sitk.Image(40, 30, 8, sitk.sitkInt16)
    truth = np.zeros((8, 30, 40), np.uint8)
    truth[2:5, 5:10, 5:10] = 2
    prediction = truth.copy()
    prediction[2:5, 5:10, 25:30] = 2  # a lesion of the same size, which nobody has annotated
    case = Case("one", "P1", Path("ct"), Path("label"), {1: ("liver",), 2: ("liver tumor",)})
    tumor = SegmentedCase(case, TASK, ct, prediction, truth, 0.0, "cpu").figures().labels["liver tumor"]
    assert (tumor.rvd, tumor.false_positive_lesions, tumor.lesion_sensitivity) == (1.0, 1, 1)
