"""From a finished run to a model that segments, by the commands that a user types."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
import zipfile
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from generated_cases import TASK, blob_case, write_cases
from HLFDSegmentationLib.cautions.doubts import model_cautions
from HLFDSegmentationLib.errors import TrainingError
from HLFDSegmentationLib.model_package import read_package
from HLFDSegmentationLib.model_store import shipped_folder
from HLFDTrainingLib.annotations.layouts import labels_of_pairs
from HLFDTrainingLib.cli import main
from HLFDTrainingLib.commands.evaluating import HOW_TO_READ
from HLFDTrainingLib.evaluation import evaluate
from HLFDTrainingLib.metrics import METRICS
from HLFDTrainingLib.packaging import package_run, stage_as_package
from HLFDTrainingLib.runs.origins import Origins, origins_for
from HLFDTrainingLib.runs.run_folder import RunFolder

TOLD = ("--title", "Livers of our own", "--license", "CC0-1.0")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that was trained with the command."""
    folder = tmp_path_factory.mktemp("training")
    (folder / "task.json").write_text(json.dumps(TASK.to_dict()))
    cases = write_cases(folder / "cases", 5, slices=4)
    options = ["--task", folder / "task.json", "--method", "none", "--epochs", "12", "--batch", "2"]
    arguments = ["train", cases, "-o", folder / "run", *options, "--learning-rate", "5e-3", "--device", "cpu", "--json"]
    assert main([str(argument) for argument in arguments]) == 0
    return folder / "run"


def test_student_is_packaged_imported_and_segments(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HLFD_MODELS", str(tmp_path / "models"))
    assert main(["package", str(run), "-o", str(tmp_path / "my-model.zip"), *TOLD]) == 0
    assert main(["models", "import", str(tmp_path / "my-model.zip")]) == 0
    ct, label = blob_case(99)
    sitk.WriteImage(ct, str(tmp_path / "ct.nrrd"))
    options = ["--model", "my-model", "--device", "cpu"]
    assert main(["segment", str(tmp_path / "ct.nrrd"), "-o", str(tmp_path / "result"), *options]) == 0
    labels = sitk.ReadImage(str(tmp_path / "result" / "segmentation.nii.gz"))
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(labels > 0, label > 0)
    assert overlap.GetDiceCoefficient() > 0.8
    report = (tmp_path / "result" / "report.html").read_text(encoding="utf-8")
    assert "CC0-1.0" in report and "Livers of our own" in report


def test_card_tells_how_the_model_was_made(run, tmp_path):
    assert main(["package", str(run), "-o", str(tmp_path / "model")]) == 0
    card = (tmp_path / "model" / "docs" / "README.md").read_text(encoding="utf-8")
    for words in ("Research only", "mobilenetv2-unet", "seed 0", "split by patient", "validation dice", " (1 patient)"):
        assert words in card


def test_a_package_may_end_in_capitals(run, tmp_path):
    assert main(["package", str(run), "-o", str(tmp_path / "Model.ZIP")]) == 0
    assert zipfile.is_zipfile(tmp_path / "Model.ZIP")


def test_measured_organs_with_their_tumors_are_told(run, tmp_path):
    whole = shutil.copytree(run.parent, tmp_path / "training") / "run"
    assert main(["evaluate", str(whole), "--all", "--device", "cpu"]) == 0
    package = read_package(package_run(RunFolder(whole), tmp_path / "model", name="measured"))
    models = json.loads((whole / "comparison.json").read_text(encoding="utf-8"))["models"]
    (student,) = [model for model in models if model["stage"] == "student"]
    assert package.metrics["liver"]["test_dice_with_tumors"] == student["labels"]["liver with tumors"]["dice"]["mean"]
    number = student["labels"]["liver"]["dice"]["n"]
    assert package.metrics["liver"]["test_patients"] == number
    assert f" ({number} patient" in package.card.partition("test dice with tumors")[2]
    assert "0 patients" not in package.card


def test_the_row_of_a_comparison_is_packaged_with_its_test_figures(run, tmp_path, capsys):
    row = shutil.copytree(run, tmp_path / "comparison" / "rows" / "none_seed0")
    one, *others = json.loads((row / "split.json").read_text())["test"]
    unknown = dict.fromkeys(METRICS)
    figures = [
        {"case": one, "label": "liver", **unknown, "dice": 0.8, "rvd": 0.2},
        {"case": one, "label": "liver", **unknown, "dice": 0.6, "rvd": -0.2},
        *({"case": other, "label": "liver", **unknown} for other in others),
    ]
    (row / "figures.json").write_text(json.dumps({"cases": figures}), encoding="utf-8")
    package = read_package(package_run(RunFolder(row), tmp_path / "model", name="measured"))
    assert package.metrics["liver"]["test_dice"] == pytest.approx(0.7)
    assert "test dice 0.700 (1 patient)" in package.card
    (tmp_path / "comparison" / "comparison.json").write_text("{}", encoding="utf-8")
    assert main(["package", str(tmp_path / "comparison"), "-o", str(tmp_path / "other")]) == 1
    assert "rows" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["figures.json", "comparison.json"])
@pytest.mark.parametrize("held", [{}, {"cases": [{}], "models": [{}]}])
def test_damaged_figures_of_a_run_are_told(name, held, run, tmp_path):
    row = shutil.copytree(run, tmp_path / "run")
    (row / name).write_text(json.dumps(held), encoding="utf-8")
    with pytest.raises(TrainingError, match=f"{name} is damaged"):
        package_run(RunFolder(row), tmp_path / "model", name="measured")


@pytest.mark.parametrize(("with_tumor", "told"), [(1, "test dice 0.060 (1 patient)"), (0, "test dice not measured")])
def test_patients_without_a_tumor_do_not_flatter_a_model_that_misses_tumors(with_tumor, told, run, tmp_path):
    """Of two empty segmentations Dice is 1."""
    row = shutil.copytree(run, tmp_path / "run")
    split = json.loads((row / "split.json").read_text())
    names = split["train"] + split["test"]
    (row / "split.json").write_text(json.dumps({**split, "train": [], "test": names}))
    unknown = dict.fromkeys(METRICS)
    missed = {**unknown, "dice": 0.06, "rvd": -0.9, "false_positive_lesions": 0.0}
    empty = {**unknown, "dice": 1.0, "voe": 0.0, "false_positive_lesions": 1.0}
    figures = [
        {"case": name, "label": "liver tumor", **(missed if number < with_tumor else empty)}
        for number, name in enumerate(names)
    ]
    (row / "figures.json").write_text(json.dumps({"cases": figures}), encoding="utf-8")
    package = read_package(package_run(RunFolder(row), tmp_path / "model", name="measured"))
    of_tumor = package.metrics["liver tumor"]
    assert of_tumor["test_dice"] == (0.06 if with_tumor else None)
    assert of_tumor.get("test_patients") == (1 if with_tumor else None)
    assert of_tumor["test_false_positive_lesions"] == 1 - with_tumor / len(names)
    assert "test_voe" not in of_tumor
    (line,) = [line for line in package.card.splitlines() if line.startswith("- liver tumor:")]
    assert told in line and "0 patients" not in line
    voxels = np.array([0, 1000, 10])
    cautions = "".join(model_cautions(voxels, TASK, {"liver tumor": {**of_tumor, "validation_dice": 0.9}}))
    assert ("0.06 (1 patient)" in cautions) is bool(with_tumor)


def test_a_label_that_no_validation_patient_shows_is_packaged_as_not_measured(run, tmp_path):
    row = shutil.copytree(run, tmp_path / "run")
    best = torch.load(row / "student" / "best.pt", weights_only=True)
    best["patients"]["liver tumor"], best["dice"]["liver tumor"] = 0, None
    torch.save(best, row / "student" / "best.pt")
    package = read_package(package_run(RunFolder(row), tmp_path / "model", name="measured"))
    assert package.metrics["liver tumor"] == {"validation_dice": None}
    assert "0 patients" not in package.card and "validation dice not measured" in package.card


def test_card_and_package_tell_all_methods_of_a_student_that_went_on(run, tmp_path):
    method = "hlfd, then labels alone"
    package = read_package(package_run(RunFolder(run), tmp_path / "model", name="went-on", method=method))
    assert package.method == method
    assert "trained by hlfd, then labels alone." in package.card and "trained on the labels alone" not in package.card


DATA = [
    {"name": "KiTS19", "source": "https://kits19.grand-challenge.org", "license": "CC-BY-NC-SA-4.0", "patients": 210}
]


@pytest.fixture(scope="module")
def kits(run, tmp_path_factory):
    """A model of others that is installed, with its license and data."""
    folder = tmp_path_factory.mktemp("others")
    told = {"license": "CC-BY-NC-SA-4.0", "training_data": DATA, "method": "hlfd:full"}
    package_run(RunFolder(run), folder / "kits", name="kits", **told)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HLFD_MODELS", str(folder / "models"))
        assert main(["models", "import", str(folder / "kits")]) == 0
        yield "kits"


@pytest.fixture(scope="module")
def taught(run, kits, tmp_path_factory):
    """A run whose student it taught, beside one that nobody taught."""
    teacher = ["--teacher", "mobilenetv2-unet", "--teacher-weights", kits]
    return train_more(run, tmp_path_factory.mktemp("taught") / "run", *teacher, "--method", "kd", "--undistilled")


def train_more(run, folder, *options):
    """A run of one epoch on the cases of another one."""
    common = ["--task", str(run.parent / "task.json"), "--epochs", "1", "--batch", "2", "--device", "cpu", "--json"]
    assert main(["train", str(run.parent / "cases"), "-o", str(folder), *common, *map(str, options)]) == 0
    return folder


def test_a_student_that_went_on_from_a_package_names_its_data_license_and_method(run, kits, tmp_path):
    first = train_more(run, tmp_path / "first", "--student-weights", kits, "--method", "none")
    second = train_more(run, tmp_path / "second", "--student-weights", first, "--method", "none")
    for folder in (first, second):
        package = read_package(package_run(RunFolder(folder), tmp_path / f"{folder.name}-model", name="went-on"))
        assert [data["name"] for data in package.training_data] == ["own cases", "KiTS19"]
        assert package.license == "not stated (it comes from: CC-BY-NC-SA-4.0 of kits)"
        assert package.method == "hlfd:full, then labels alone"
        assert "went on from the model kits (license CC-BY-NC-SA-4.0)" in package.card
        assert "is not known" in package.card
    told = package_run(RunFolder(first), tmp_path / "told", name="told", license="CC0-1.0", training_data=DATA[:0])
    assert read_package(told).license == "CC0-1.0"


def test_a_training_that_goes_on_is_begun_without_torch_and_before_anything_is_written(run, kits, tmp_path):
    """3D Slicer begins trainings, and would stand still while torch is imported."""
    begin = (
        "import sys; from pathlib import Path; from dataclasses import replace\n"
        "from HLFDTrainingLib.runs.run_folder import RunFolder; from HLFDTrainingLib.runs.run_start import start_run\n"
        "earlier = RunFolder(Path(sys.argv[1])); plan = earlier.plan(); split = earlier.split(plan)\n"
        "new = RunFolder(Path(sys.argv[2])); new.path.mkdir()\n"
        "cases = [*split.train, *split.validation, *split.test]\n"
        "start_run(new, replace(plan, student_weights=sys.argv[3]), cases, split)\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    for source, status in ((str(run), 0), (kits, 0), ("no-such-model", 1)):
        new = tmp_path / f"from-{Path(source).name}"
        done = subprocess.run([sys.executable, "-c", begin, run, new, source], capture_output=True, text=True)
        assert done.returncode == status, done.stderr
        assert new.is_dir() and bool(list(new.iterdir())) == (status == 0)


def test_weights_that_are_no_package_and_those_of_a_student_alone_have_their_own_history(run, taught, tmp_path):
    plan = RunFolder(run).plan()
    kept = tmp_path / "kept" / "student"
    kept.mkdir(parents=True)
    shutil.copy(run / "student" / "best.pt", kept)
    assert origins_for(replace(plan, student_weights=str(kept.parent))) == Origins()
    alone = origins_for(replace(plan, student_weights=str(taught / "undistilled" / "best.pt")))
    assert alone == Origins(methods=["none"])
    student = origins_for(replace(plan, student_weights=str(taught)))
    assert [origin.name for origin in student.first_weights] == ["kits"] and student.methods[0]["name"] == "kd"
    # What taught the student before is in all that goes on from it, and did not teach a later teacher.
    assert [origin.name for origin in student.of("undistilled")] == ["kits"] and student.of("teacher") == []
    teacher = origins_for(replace(plan, method="kd", teacher_weights=str(taught)))
    assert [(origin.name, origin.taught) for origin in teacher.of("student")] == [("kits", True)]
    assert [(origin.name, origin.taught) for origin in teacher.of("teacher")] == [("kits", False)]
    assert teacher.of("undistilled") == [] == teacher.methods


def test_a_student_that_a_package_taught_names_it(taught, tmp_path):
    package = read_package(package_run(RunFolder(taught), tmp_path / "student", name="taught"))
    assert "Taught by the model kits" in package.card and package.method == "kd"
    assert [data["name"] for data in package.training_data] == ["own cases", "KiTS19"]
    alone = read_package(package_run(RunFolder(taught), tmp_path / "alone", name="alone", stage="undistilled"))
    assert alone.license == "not stated" and "kits" not in alone.card


def test_evaluate_measures_the_test_cases_of_a_run(run, tmp_path, capsys, monkeypatch):
    """Also where little space is left, which is plenty for a table."""
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(total=10**12, free=15_000_000))
    assert main(["evaluate", str(run), "-o", str(tmp_path / "figures.csv"), "--device", "cpu"]) == 0
    with open(tmp_path / "figures.csv", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    test_cases = json.loads((run / "split.json").read_text())["test"]
    assert {row["case"] for row in rows} == set(test_cases)
    assert {row["label"] for row in rows} == {"liver", "liver tumor", "liver with tumors"}
    said = capsys.readouterr().out
    assert "| liver with tumors |" in said and HOW_TO_READ in said
    assert f"the student of the training run in {run}." in said
    folder = RunFolder(run)
    with stage_as_package(folder, "student") as package:
        measured = {one.case: one.labels for one in evaluate(package, folder.split(folder.plan()).test, device="cpu")}
    assert len(rows) == 3 * len(measured)
    for row in rows:
        figures = asdict(measured[row["case"]][row["label"]])
        told = {metric: float(row[metric] or "nan") for metric in METRICS}
        assert told == pytest.approx(figures, abs=1e-5, nan_ok=True)


def test_evaluate_leaves_a_file_that_appeared_while_it_measured(run, tmp_path, capsys, monkeypatch):
    figures = tmp_path / "figures.csv"

    def meanwhile(*arguments, **named):
        figures.write_text("mine")
        return evaluate(*arguments, **named)

    monkeypatch.setattr("HLFDTrainingLib.evaluation.evaluate", meanwhile)
    assert main(["evaluate", str(run), "-o", str(figures), "--device", "cpu"]) == 1
    said = capsys.readouterr()
    assert figures.read_text() == "mine" and "there already" in said.err and "| liver with tumors |" in said.out


def test_evaluate_keeps_figures_that_cannot_be_printed(run, tmp_path, monkeypatch):
    def nowhere(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("HLFDTrainingLib.commands.evaluating.print", nowhere, raising=False)
    assert main(["evaluate", str(run), "-o", str(tmp_path / "figures.csv"), "--device", "cpu"]) == 1
    assert len((tmp_path / "figures.csv").read_text(encoding="utf-8").splitlines()) > 1


@pytest.mark.parametrize("written", [["--all"], ["-o", "figures.csv"]], ids=["all", "student"])
def test_evaluate_refuses_test_cases_that_are_no_longer_those_of_the_run(written, run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = shutil.copytree(run.parent, tmp_path / "training") / "run"
    name = json.loads((own / "split.json").read_text())["test"][0]
    path = own.parent / "cases" / name / "label.nii.gz"
    label = sitk.ReadImage(str(path))
    mirrored = sitk.Flip(label, (True, False, False))
    mirrored.CopyInformation(label)
    sitk.WriteImage(mirrored, str(path))
    command = ["evaluate", str(own), *written, "--device", "cpu"]
    assert main(command) == 1
    assert f"Case {name}: the label in" in capsys.readouterr().err
    assert not (own / "comparison.json").exists() and not (tmp_path / "figures.csv").exists()

    # The run does not know any more what its files were.
    (own / "fingerprints.json").unlink()
    mirrored.SetSpacing((5.0, 5.0, 9.0))
    sitk.WriteImage(mirrored, str(path))
    assert main(command) == 1
    assert f"Case {name}: The spacing of the CT is (5, 5, 8) mm, and of the label" in capsys.readouterr().err
    # Or it knows its CTs alone, as where its labels were headers.
    (own / "fingerprints.json").write_text(json.dumps({"files": {name: {"ct": "of another CT"}}}))
    assert main(command) == 1
    assert f"Case {name}: the CT in" in capsys.readouterr().err
    (own / "fingerprints.json").unlink()
    sitk.WriteImage(label, str(path))
    assert main(command) == 0


def test_evaluate_leads_from_weights_to_the_run_that_knows_their_patients(run, tmp_path, capsys):
    ct = run / json.loads((run / "cases.json").read_text())["cases"][0]["ct"]
    weights, output = str(run / "student" / "best.pt"), str(tmp_path / "figures.csv")
    assert main(["evaluate", weights, str(ct.parents[1]), "-o", output, "--device", "cpu"]) == 1
    said = capsys.readouterr().err
    assert f"`hlfd evaluate {run} -o FILE`" in said and "hlfd package" not in said


def test_evaluate_refuses_cases_that_the_run_has_learned_from(run, tmp_path, capsys):
    figures = tmp_path / "figures.csv"
    ct = run / json.loads((run / "cases.json").read_text())["cases"][0]["ct"]
    assert main(["evaluate", str(run), str(ct.parents[1]), "-o", str(figures), "--device", "cpu"]) == 1
    assert "has learned from" in capsys.readouterr().err
    assert not figures.exists()


def test_evaluate_refuses_a_renamed_copy_of_what_the_run_has_learned_from(run, tmp_path, capsys):
    split = json.loads((run / "split.json").read_text())
    entries = {case["name"]: case for case in json.loads((run / "cases.json").read_text())["cases"]}
    options = ["-o", str(tmp_path / "figures.csv"), "--device", "cpu"]
    for part, code in (("train", 1), ("validation", 1), ("test", 0)):
        cases = tmp_path / part / "somebody_else"
        cases.mkdir(parents=True)
        for kind in ("ct", "label"):
            shutil.copy(run / entries[split[part][0]][kind], cases)
        assert main(["evaluate", str(run), str(cases.parent), *options]) == code
        assert ("has learned from 1 of these cases" in capsys.readouterr().err) is (code == 1)


def test_evaluate_says_when_a_run_has_no_test_cases(run, tmp_path, capsys):
    copy = tmp_path / "run"
    copy.mkdir()
    for name in ("cases.json", "plan.json", "result.json", "earlier.json", "origins.json"):
        shutil.copy(run / name, copy)
    shutil.copytree(run / "student", copy / "student")
    split = json.loads((run / "split.json").read_text())
    content = json.loads((run / "cases.json").read_text())
    for case in content["cases"]:
        case |= {key: str((run / case[key]).resolve()) for key in ("ct", "label")}
    (copy / "cases.json").write_text(json.dumps(content))
    (copy / "split.json").write_text(json.dumps({**split, "train": split["train"] + split["test"], "test": []}))
    assert main(["evaluate", str(copy), "-o", str(tmp_path / "figures.csv"), "--device", "cpu"]) == 1
    assert "has no test cases" in capsys.readouterr().err
    assert not (tmp_path / "figures.csv").exists()


@pytest.mark.parametrize("wrong", ["grid", "values", "shifted", "truncated"])
def test_evaluate_refuses_cases_whose_figures_would_be_wrong(wrong, run, tmp_path, capsys):
    case = write_cases(tmp_path / "cases", 1) / "case0"
    ct, label = (sitk.ReadImage(str(case / f"{name}.nii.gz")) for name in ("ct", "label"))
    if wrong == "grid":
        label.SetSpacing((5.0, 5.0, 9.0))
    elif wrong == "values":
        label = label * 7
    elif wrong == "shifted":
        ct = sitk.Cast(ct + 1024, sitk.sitkUInt16)
    for name, image in (("ct", ct), ("label", label)):
        sitk.WriteImage(image, str(case / f"{name}.nii.gz"))
    if wrong == "truncated":
        content = (case / "label.nii.gz").read_bytes()
        (case / "label.nii.gz").write_bytes(content[: len(content) // 2])
    figures = tmp_path / "figures.csv"
    assert main(["evaluate", str(run), str(tmp_path / "cases"), "-o", str(figures), "--device", "cpu"]) == 1
    error = capsys.readouterr().err
    assert "Case case0 cannot be used" in error and "Traceback" not in error
    assert not figures.exists()


def test_evaluate_of_a_model_asks_what_the_values_of_pairs_stand_for(run, tmp_path, capsys):
    """The value 2 is a tumor in these pairs, and a kidney to the model that ships."""
    cases = write_cases(tmp_path / "cases", 1)
    figures = tmp_path / "figures.csv"
    command = ["evaluate", "abdomen-mobilenetv2-hlfd", str(cases), "-o", str(figures), "--device", "cpu"]
    assert main(command) == 1
    assert "Name it with --task" in capsys.readouterr().err and not figures.exists()
    assert main([*command, "--task", "liver-tumor"]) == 0
    told = capsys.readouterr().out
    assert "which patients this model has learned from is not known here" in told and "KiTS19" in told
    assert f"the model 'abdomen-mobilenetv2-hlfd' in {shipped_folder()}" in told
    with open(figures, encoding="utf-8") as stream:
        assert {row["label"] for row in csv.DictReader(stream)} == {"liver", "liver tumor", "liver with tumors"}


def test_evaluate_takes_pairs_of_which_the_model_knows_a_part(run, tmp_path, capsys):
    """What it does not know is background; the value 2 is a kidney in the task of these pairs."""
    model = package_run(RunFolder(run), tmp_path / "model", name="livers")
    for folder in ("liver-tumor", "abdomen"):
        write_cases(tmp_path / folder, 1)
    path = str(tmp_path / "abdomen" / "case0" / "label.nii.gz")
    label = sitk.ReadImage(path)
    of_abdomen = sitk.ChangeLabel(label, {2: 3})
    of_abdomen[50:55, 30:35, 1:4] = 2
    of_abdomen[56:58, 30:35, 1:4] = 4
    sitk.WriteImage(of_abdomen, path)
    figures = {}
    for task in ("liver-tumor", "abdomen"):
        command = ["evaluate", str(model), str(tmp_path / task), "--task", task, "--device", "cpu"]
        assert main([*command, "-o", str(tmp_path / f"{task}.csv")]) == 0
        figures[task] = (tmp_path / f"{task}.csv").read_text()
    assert figures["abdomen"] == figures["liver-tumor"]

    command = ["evaluate", str(model), str(tmp_path / "liver-tumor"), "--task", "kidney-tumor", "--device", "cpu"]
    assert main([*command, "-o", str(tmp_path / "kidneys.csv")]) == 1
    assert "annotates kidney, kidney tumor, and none of it is a label of the task" in capsys.readouterr().err


def test_tumors_of_pairs_are_part_of_an_organ_that_has_none_in_the_model(tmp_path):
    liver_alone = replace(TASK, labels=TASK.labels[:1])
    assert labels_of_pairs(tmp_path, TASK, liver_alone) == {1: ("liver",), 2: ("liver",)}


def test_evaluate_measures_on_one_ct_of_two_readers(run, tmp_path):
    """To train with, the same CT of two patients would be refused."""
    cases = write_cases(tmp_path / "cases", 1)
    (cases / "case0").rename(cases / "first_reader")
    shutil.copytree(cases / "first_reader", cases / "second_reader")
    figures = tmp_path / "figures.csv"
    assert main(["evaluate", str(run), str(cases), "-o", str(figures), "--device", "cpu", "--task", "liver-tumor"]) == 0
    with open(figures, encoding="utf-8") as stream:
        assert {row["case"] for row in csv.DictReader(stream)} == {"first_reader", "second_reader"}


@pytest.mark.parametrize("what", ["run", "weights", "comparison"])
@pytest.mark.parametrize("command", [["models", "import"], ["segment", "ct.nii.gz", "-o", "result", "--model"]])
def test_who_gives_a_run_for_a_model_is_told_how_to_make_one(command, what, run, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HLFD_MODELS", str(tmp_path / "models"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "comparison").mkdir()
    (tmp_path / "comparison" / "comparison.json").write_text("{}")
    given = {"run": run, "weights": run / "student" / "best.pt", "comparison": tmp_path / "comparison"}[what]
    assert main([*command, str(given)]) == 1
    told = capsys.readouterr().err
    assert "`hlfd package " in told and "`hlfd models import NAME.zip`" in told


def test_a_name_that_no_model_can_have_is_told_with_the_option(run, tmp_path, capsys):
    assert main(["package", str(run), "-o", str(tmp_path / "Mein Modell.zip")]) == 1
    assert "--name" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.zip"))


def test_unfinished_run_is_not_packaged(run, tmp_path, capsys):
    unfinished = tmp_path / "run"
    unfinished.mkdir()
    for name in ("plan.json", "cases.json", "split.json"):
        (unfinished / name).write_text((run / name).read_text())
    assert main(["package", str(unfinished), "-o", str(tmp_path / "model")]) == 1
    assert "not finished" in capsys.readouterr().err
    assert not (tmp_path / "model").exists()
