"""Training that goes on from an earlier student, is compared, watched and stopped from outside."""

from __future__ import annotations

import errno
import gc
import json
import re
import shutil
import weakref
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from generated_cases import TASK, write_cases
from HLFDSegmentationLib.ct_files import read_ct
from HLFDSegmentationLib.errors import CasesError, OutputError, TrainingError
from HLFDSegmentationLib.model_store import find_package
from HLFDSegmentationLib.tasks import TASKS
from HLFDTrainingLib.cases import Case, find_cases
from HLFDTrainingLib.cli import main
from HLFDTrainingLib.distillers import DISTILLERS
from HLFDTrainingLib.distillers.none import NoDistillation
from HLFDTrainingLib.learning import stage as stage_file
from HLFDTrainingLib.learning import stored_slices
from HLFDTrainingLib.learning.slices import SliceDataset
from HLFDTrainingLib.learning.stage import Stage, Stopped, autocast_type
from HLFDTrainingLib.plan import TrainingPlan
from HLFDTrainingLib.runs.earlier_runs import keep_patients_by_ct, parts_met, parts_of, patients_by_ct, split_for
from HLFDTrainingLib.runs.event_sentences import readable_log
from HLFDTrainingLib.runs.given_weights import check_patients, check_plan
from HLFDTrainingLib.runs.run_events import all_events
from HLFDTrainingLib.runs.run_folder import RunFolder
from HLFDTrainingLib.runs.run_start import start_run
from HLFDTrainingLib.runs.training_curves import epochs_of
from HLFDTrainingLib.runs.weights_files import read_weights, writing
from HLFDTrainingLib.split import PARTS, Split, split_by_patient, split_onward
from HLFDTrainingLib.trainer import TrainingRun
from training_runs import assert_same, begin, begin_run

PLAN = TrainingPlan(
    task=TASK,
    teacher="mobilenetv2-unet",
    student="mobilenetv2-unet",
    teacher_epochs=1,
    head_epochs=1,
    student_epochs=1,
    batch=3,
    seed=3,
    device="cpu",
)
ALONE = replace(PLAN, method="none")


@pytest.fixture(scope="module")
def cases_folder(tmp_path_factory):
    return write_cases(tmp_path_factory.mktemp("cases"), 3, slices=4)


def train(folder: RunFolder) -> list[dict]:
    events = []
    TrainingRun(folder, report=events.append).run()
    return events


@pytest.fixture(scope="module")
def finished(tmp_path_factory, cases_folder):
    """A run with a student that was distilled and one that was not, and its events."""
    folder = begin(tmp_path_factory.mktemp("runs") / "run", cases_folder, replace(PLAN, undistilled=True))
    return folder, train(folder)


def weights(folder: RunFolder, stage: str) -> dict[str, torch.Tensor]:
    return folder.best(stage)["network"]


# The student without distillation


def test_undistilled_student_is_trained_last_and_has_its_figures(finished):
    folder, events = finished
    stages = ["teacher", "head", "student", "undistilled"]
    assert list(folder.plan().stages) == stages
    assert [event["stage"] for event in events if event["event"] == "epoch"] == stages
    assert folder.result()["undistilled"].keys() == {"best_epoch", "validation_dice", "criterion"}


def test_undistilled_student_is_the_one_that_the_method_none_trains(finished, cases_folder, tmp_path):
    alone = begin(tmp_path / "run", cases_folder, ALONE)
    train(alone)
    assert_same(weights(finished[0], "undistilled"), weights(alone, "student"))


def test_distilled_student_is_the_same_with_and_without_the_undistilled_one(finished, cases_folder, tmp_path):
    folder = begin(tmp_path / "run", cases_folder, replace(PLAN, teacher_weights=str(finished[0].path)))
    events = train(folder)
    assert_same(weights(finished[0], "student"), weights(folder, "student"))
    assert "undistilled" not in events[-1]


def test_comparing_no_distillation_with_itself_is_refused():
    with pytest.raises(TrainingError, match="another method"):
        replace(ALONE, undistilled=True)


# Learning goes on


def test_student_starts_from_the_weights_that_it_is_given(finished, cases_folder, tmp_path):
    plan = replace(ALONE, student_weights=str(finished[0].path), learning_rate=1e-12)
    folder = begin(tmp_path / "run", cases_folder, plan)
    train(folder)
    given, learned = weights(finished[0], "student"), weights(folder, "student")
    for name, _ in folder.network("student").named_parameters():
        torch.testing.assert_close(learned[name], given[name], atol=1e-6, rtol=0)


def test_given_weights_are_needed_at_the_start_only(finished, cases_folder, tmp_path):
    source = shutil.copytree(finished[0].path, tmp_path / "earlier")
    folder = begin(tmp_path / "run", cases_folder, replace(ALONE, student_weights=str(source)))
    with pytest.raises(Stopped):
        TrainingRun(folder, stop_requested=lambda: True).run()
    shutil.rmtree(source)
    assert train(folder)[-1]["event"] == "finished"


def test_student_of_a_package_is_taken(untrained_package, cases_folder, tmp_path):
    plan = replace(ALONE, student_weights=str(untrained_package), learning_rate=1e-12)
    folder = begin(tmp_path / "run", cases_folder, plan)
    train(folder)
    given = find_package(str(untrained_package)).load_network().state_dict()
    learned = weights(folder, "student")
    for name, _ in folder.network("student").named_parameters():
        torch.testing.assert_close(learned[name], given[name], atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"student": "resnet18-unet"}, "is no resnet18-unet"),
        ({"student_weights": "missing.pt"}, "missing.pt"),
        ({"task": replace(TASKS["kidney-tumor"], input_size=(64, 64), spacing=5.0)}, "liver tumor, and this run"),
    ],
)
def test_weights_that_do_not_fit_are_told_before_any_training(change, told, finished, cases_folder, tmp_path):
    plan = replace(PLAN, **{"student_weights": str(finished[0].path), **change})
    cases = find_cases(cases_folder, TASK)
    if "task" in change:
        cases = [replace(case, labels={1: ("kidney",), 2: ("kidney tumor",)}) for case in cases]
    folder = RunFolder(tmp_path / "run")
    start_run(folder, plan, cases, split_by_patient(cases, seed=plan.seed))
    with pytest.raises(TrainingError, match=told):
        TrainingRun(folder).run()
    assert not folder.cache.exists() and not folder.stage("teacher").exists()


@pytest.mark.parametrize("role", ["student", "teacher"])
def test_a_stages_own_file_is_compared_with_the_task_as_its_run_is(role, finished):
    kidneys = replace(TASKS["kidney-tumor"], input_size=TASK.input_size, spacing=TASK.spacing, window=TASK.window)
    file = finished[0].stage(role) / "best.pt"
    check_plan(replace(PLAN, **{f"{role}_weights": str(file)}))
    with pytest.raises(TrainingError, match="tells liver, liver tumor, and this run is for kidney"):
        check_plan(replace(PLAN, task=kidneys, **{f"{role}_weights": str(file)}))


def test_whoever_chose_a_student_is_not_tested_on_later(finished, cases_folder):
    before = finished[0].split(PLAN)
    with pytest.raises(TrainingError, match=f"was chosen by patient {before.validation[0].patient}"):
        check_patients(finished[0].path, "student", Split(before.train, (), (*before.validation, *before.test)))
    check_patients(finished[0].path, "student", Split((*before.train, *before.test), before.validation, ()))


def test_where_nothing_can_be_measured_the_student_that_has_learned_longest_is_kept(tmp_path):
    """The only validation case shows neither organ nor tumor: the first epoch is no better than the last."""
    cases_folder = write_cases(tmp_path / "cases", 3, slices=4)
    folder = begin(tmp_path / "run", cases_folder, replace(ALONE, student_epochs=3))
    label = folder.split(folder.plan()).validation[0].label
    sitk.WriteImage(sitk.ReadImage(str(label)) * 0, str(label))
    train(folder)
    assert folder.result()["criterion"] in (None, 0.0)
    assert folder.result()["best_epoch"] == 3


def flip(path: Path) -> None:
    """As a worn disk does, or a copy over a bad cable."""
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 0x40
    path.write_bytes(whole)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def blank(path: Path) -> None:
    path.write_bytes(b"\0" * 5000)


def remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("damage", [empty, cut, blank, flip])
def test_a_damaged_checkpoint_is_named_and_deleting_what_is_named_helps(damage, cases_folder, tmp_path, capsys):
    folder = begin(tmp_path / "run", cases_folder, replace(ALONE, student_epochs=2))
    last = folder.stage("student") / "last.pt"
    with pytest.raises(Stopped):
        TrainingRun(folder, stop_requested=last.is_file).run()
    damage(last)
    assert main(["train", "-o", str(folder.path), "--resume"]) == 1
    told = capsys.readouterr().err
    assert str(last) in told and "damaged" in told and "Traceback" not in told
    assert f"delete {last.parent}, " in told
    shutil.rmtree(last.parent)
    assert main(["train", "-o", str(folder.path), "--resume"]) == 0
    assert folder.finished


@pytest.mark.parametrize("name", ["last.pt", "best.pt"])
def test_a_checkpoint_that_somebody_has_open_is_not_called_damaged(name, cases_folder, tmp_path, capsys, monkeypatch):
    """As a scanner or a backup has it on Windows: whoever deletes it loses days."""
    folder = begin(tmp_path / "run", cases_folder, replace(ALONE, student_epochs=2))
    file = folder.stage("student") / name
    with pytest.raises(Stopped):
        TrainingRun(folder, stop_requested=(folder.stage("student") / "last.pt").is_file).run()
    real = Path.open

    def refuse(path, *arguments, **named):
        if path == file:
            raise PermissionError(13, "Permission denied")
        return real(path, *arguments, **named)

    for waits in ("HLFDTrainingLib.learning.stage.LONG_WAITS", "HLFDTrainingLib.runs.weights_files.WAITS"):
        monkeypatch.setattr(waits, ())
    monkeypatch.setattr(Path, "open", refuse)
    assert main(["train", "-o", str(folder.path), "--resume"]) == 1
    told = capsys.readouterr().err
    assert f"{file} cannot be read now: Permission denied" in told and "elete" not in told


def test_a_checkpoint_on_a_disk_that_fails_is_not_called_damaged(cases_folder, tmp_path, capsys, monkeypatch):
    """It can be opened, and its disk goes away while hundreds of MB are read."""
    folder = begin(tmp_path / "run", cases_folder, replace(ALONE, student_epochs=2))
    last = folder.stage("student") / "last.pt"
    with pytest.raises(Stopped):
        TrainingRun(folder, stop_requested=last.is_file).run()

    def away(content):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("zipfile.ZipFile.testzip", away)
    assert main(["train", "-o", str(folder.path), "--resume"]) == 1
    told = capsys.readouterr().err
    assert f"{last} cannot be read now: Input/output error" in told and "elete" not in told


def test_a_damaged_file_of_tensors_that_sends_its_reader_nowhere_is_called_damaged(tmp_path):
    file = tmp_path / "last.pt"
    torch.save({"network": {}}, file)
    content = bytearray(file.read_bytes())
    content[-45] = 0xFF  # of where the list of what is in the file begins
    file.write_bytes(content)
    with pytest.raises(TrainingError, match="it is damaged"):
        read_weights(file)


@pytest.mark.parametrize(
    ("stage", "name", "lose"),
    [
        ("teacher", "best.pt", remove),
        ("student", "best.pt", flip),
        ("student", "last.pt", remove),
    ],
)
def test_a_lost_network_is_named_and_deleting_what_depends_on_it_helps(
    stage, name, lose, cases_folder, tmp_path, capsys
):
    """The student would go on with another teacher, or end without the network that its figures are told of."""
    folder = begin(tmp_path / "run", cases_folder, replace(PLAN, method="kd", student_epochs=2))
    with pytest.raises(Stopped):
        TrainingRun(folder, stop_requested=(folder.stage("student") / "best.pt").is_file).run()
    last = folder.stage("student") / "last.pt"
    checkpoint = torch.load(last, weights_only=True)
    checkpoint["state"]["best"] = 2.0  # No later epoch comes up to it.
    torch.save(checkpoint, last)
    lose(folder.stage(stage) / name)
    for _ in range(2):
        assert main(["train", "-o", str(folder.path), "--resume"]) == 1
        told = capsys.readouterr().err
        assert str(folder.stage(stage) / name) in told and "--resume" in told and "Traceback" not in told
    named = [name for name in ("teacher", "student") if re.search(f"{re.escape(str(folder.stage(name)))}[, ]", told)]
    assert named == {"teacher": ["teacher", "student"], "student": ["student"]}[stage]
    for name in named:
        shutil.rmtree(folder.stage(name))
    assert main(["train", "-o", str(folder.path), "--resume"]) == 0
    assert folder.network("student") and len(folder.best("student")["dice"])


def test_a_teacher_whose_last_checkpoint_is_lost_stays_the_students(cases_folder, tmp_path):
    """It is finished: whoever trained it anew would lose days, and teach the student by another one from then on."""
    folder = begin(tmp_path / "run", cases_folder, replace(PLAN, method="kd"))
    with pytest.raises(Stopped):
        TrainingRun(folder, stop_requested=(folder.stage("student") / "last.pt").is_file).run()
    before = (folder.stage("teacher") / "best.pt").read_bytes()
    (folder.stage("teacher") / "last.pt").unlink()
    events = train(folder)
    assert {event["stage"] for event in events if event["event"] == "epoch"} == {"student"}
    assert folder.finished and (folder.stage("teacher") / "best.pt").read_bytes() == before


@pytest.mark.parametrize("saved", [True, False])
def test_an_epoch_is_told_though_the_trainer_is_killed_at_its_last_checkpoint(
    saved, cases_folder, tmp_path, monkeypatch
):
    folder = begin(tmp_path / "run", cases_folder, replace(ALONE, student_epochs=2))
    save, calls = Stage.save, []

    def killed(stage: Stage) -> None:
        calls.append(1)
        if len(calls) != 2 or saved:  # The first one is before the validation.
            save(stage)
        if len(calls) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as changed:
        changed.setattr(Stage, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            TrainingRun(folder, report=folder.logging(lambda event: None)).run()
    TrainingRun(folder, report=folder.logging(lambda event: None)).run()
    assert [event["epoch"] for event in epochs_of(all_events(folder.events))["student"]] == [1, 2]


def test_a_result_that_a_power_failure_emptied_is_made_anew(finished):
    folder = finished[0]
    file = folder.path / "result.json"
    before = file.read_text()
    file.write_text("")
    events = train(folder)
    assert file.read_text() == before and not folder.cache.exists()
    assert not any(event["event"] == "step" for event in events)


def test_damaged_weights_that_a_run_was_given_are_told_with_a_remedy(finished, cases_folder, tmp_path, capsys):
    folder = begin(tmp_path / "run", cases_folder, replace(ALONE, student_weights=str(finished[0].path)))
    with pytest.raises(Stopped):
        TrainingRun(folder, stop_requested=folder.given("student").is_file).run()
    flip(folder.given("student"))
    assert main(["train", "-o", str(folder.path), "--resume"]) == 1
    told = capsys.readouterr().err
    assert str(folder.given("student")) in told and "delete it and continue (in a terminal with --resume)" in told
    assert str(finished[0].path) in told and "Traceback" not in told
    folder.given("student").unlink()
    assert main(["train", "-o", str(folder.path), "--resume"]) == 0


def test_slices_are_removed_before_a_run_is_called_finished(cases_folder, tmp_path, monkeypatch):
    """Whoever is killed between the two leaves no gigabytes with a run that nobody goes on with any more."""
    folder = begin(tmp_path / "run", cases_folder, ALONE)

    def killed(_self: RunFolder, _result: dict) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as changed:
        changed.setattr(RunFolder, "write_result", killed)
        with pytest.raises(KeyboardInterrupt):
            train(folder)
    assert not folder.cache.exists()
    train(folder)
    assert folder.finished and not folder.cache.exists()


def test_a_best_network_that_is_lost_while_its_stage_goes_on_is_told_at_the_end(cases_folder, tmp_path, monkeypatch):
    dice = iter((0.9, 0.2))
    monkeypatch.setattr(stage_file, "mean_dice", lambda counts: np.full(3, next(dice)))
    folder = begin(tmp_path / "run", cases_folder, replace(ALONE, student_epochs=2))
    best = folder.stage("student") / "best.pt"
    with pytest.raises(TrainingError, match=rf"{re.escape(str(best))}.* is lost or damaged"):
        TrainingRun(folder, report=lambda event: best.unlink(missing_ok=True)).run()
    assert not folder.finished


def test_checkpoints_of_the_head_hold_no_teacher(finished):
    learner = torch.load(finished[0].stage("head") / "last.pt", weights_only=True)["learner"]
    assert learner and all(name.startswith("student.head.") for name in learner)


@pytest.mark.parametrize("role", ["student", "teacher"])
def test_student_is_not_judged_by_a_patient_that_it_or_its_teacher_has_learned_from(
    role, finished, cases_folder, tmp_path
):
    plan = replace(PLAN, **{f"{role}_weights": str(finished[0].path)})
    before = finished[0].split(plan)
    folder = RunFolder(tmp_path / "run")
    start_run(folder, plan, find_cases(cases_folder, TASK), Split(before.test, before.train, before.validation))
    with pytest.raises(TrainingError, match=f"The {role} .* has learned from patient {before.train[0].patient}"):
        TrainingRun(folder).run()


@pytest.mark.parametrize("change", [{"spacing": 2.5}, {"window": (-500.0, 500.0)}])
def test_teacher_that_knows_other_slices_is_refused_and_a_student_gets_used_to_them(change, finished):
    plan = replace(PLAN, task=replace(TASK, **change))
    with pytest.raises(TrainingError, match="has learned from slices with pixels of"):
        check_plan(replace(plan, teacher_weights=str(finished[0].path)))
    check_plan(replace(plan, student_weights=str(finished[0].path)))


@pytest.mark.parametrize("role", ["student_weights", "teacher_weights"])
def test_cases_are_divided_as_those_were_that_the_weights_come_from(role, finished, cases_folder):
    plan = replace(PLAN, seed=PLAN.seed + 1, **{role: str(finished[0].path)})
    cases = find_cases(cases_folder, TASK)
    parts = finished[0].read("split.json")
    assert {**split_for(plan, cases).to_dict(), "seed": PLAN.seed} == parts
    assert split_for(replace(PLAN, seed=plan.seed), cases) == split_by_patient(cases, seed=plan.seed)


@pytest.fixture
def renamed_folder(cases_folder, tmp_path):
    """The cases, whose patients all have other names."""
    for case in cases_folder.iterdir():
        shutil.copytree(case, tmp_path / "renamed" / f"another_{case.name}")
    return tmp_path / "renamed"


def test_learning_does_not_go_on_with_patients_of_other_names(finished, cases_folder, renamed_folder, tmp_path, capsys):
    first = sorted(case.name for case in cases_folder.iterdir())[0]
    arguments = ["train", renamed_folder, "-o", tmp_path / "run", "--student-weights", finished[0].path]
    assert main([str(argument) for argument in (*arguments, "--task", "liver-tumor")]) == 1
    said = capsys.readouterr().err
    assert f"another_{first}" in said and f"Call the patient '{first}'" in said
    assert not (tmp_path / "run").exists()


def test_nor_where_the_cases_were_divided_by_someone_else(finished, renamed_folder, tmp_path):
    """As in Slicer, whose table of cases is divided before their files are there."""
    folder = begin(tmp_path / "run", renamed_folder, replace(ALONE, student_weights=str(finished[0].path)))
    with pytest.raises(CasesError, match="in the training that this one goes on from"):
        train(folder)


def test_patients_of_earlier_runs_are_known_by_their_cts_when_those_runs_are_gone(finished, cases_folder, tmp_path):
    first = shutil.copytree(finished[0].path, tmp_path / "first")
    cases = json.loads((first / "cases.json").read_text())
    for case in cases["cases"]:
        case |= {key: str((finished[0].path / case[key]).resolve()) for key in ("ct", "label")}
    (first / "cases.json").write_text(json.dumps(cases))
    run = RunFolder(tmp_path / "run")
    known = patients_by_ct(RunFolder(first))
    assert sorted(known.values()) == sorted(case.name for case in cases_folder.iterdir())
    others = find_cases(write_cases(tmp_path / "others", 3, slices=1), TASK)
    start_run(run, replace(ALONE, student_weights=str(first)), others, split_by_patient(others))
    shutil.rmtree(first)
    assert patients_by_ct(run) == known


def test_student_and_teacher_that_know_a_patient_by_two_names_are_refused(
    finished, cases_folder, renamed_folder, tmp_path
):
    other = begin(tmp_path / "other", renamed_folder, ALONE)
    keep_patients_by_ct(other, other.split(ALONE))
    sources = {"student_weights": str(finished[0].path), "teacher_weights": str(other.path)}
    with pytest.raises(TrainingError, match="call one patient"):
        split_for(replace(PLAN, **sources), find_cases(cases_folder, TASK))


@pytest.mark.parametrize("stored", [None, "", "{}", "null"])
def test_cts_that_were_gone_or_forgotten_are_known_after_the_next_start(stored, cases_folder, tmp_path):
    folder = begin(tmp_path / "run", shutil.copytree(cases_folder, tmp_path / "cases"), ALONE)
    split = folder.split(ALONE)
    away = shutil.move(split.train[0].ct, tmp_path)
    keep_patients_by_ct(folder, split)
    assert split.train[0].patient not in patients_by_ct(folder).values()
    shutil.move(away, split.train[0].ct)
    if stored is not None:
        (folder.path / "fingerprints.json").write_text(stored)
    keep_patients_by_ct(folder, split)
    assert sorted(patients_by_ct(folder).values()) == sorted(case.name for case in cases_folder.iterdir())


def test_patients_stay_in_their_part_when_learning_goes_on(tmp_path):
    cases = find_cases(write_cases(tmp_path / "cases", 12, slices=1), TASK)
    before = split_by_patient(cases[:6], seed=1)
    parts = {case.patient: part for part in PARTS for case in getattr(before, part)}
    for seed in range(5):
        after = split_onward(cases, parts, seed=seed)
        for part in ("train", "validation", "test"):
            assert set(names(getattr(before, part))) <= set(names(getattr(after, part)))
        assert sorted(names((*after.train, *after.validation, *after.test))) == names(cases)


def test_whom_any_earlier_run_has_learned_from_is_never_judged_by(tmp_path):
    """A student that goes on learning twice, from other patients at the second time, and back to the first ones."""
    cases = find_cases(write_cases(tmp_path / "cases", 12, slices=1), TASK)
    runs = [RunFolder(tmp_path / name) for name in ("first", "second", "third")]
    start_run(runs[0], PLAN, cases[:6], split_by_patient(cases[:6], seed=1))
    of_first = parts_of(runs[0])
    onward = replace(PLAN, student_weights=str(runs[0].path))
    start_run(runs[1], onward, cases[6:], split_for(onward, cases[6:]))
    shutil.rmtree(runs[0].path)
    for seed in range(5):
        again = replace(PLAN, student_weights=str(runs[1].path), seed=seed)
        split = split_for(again, cases)
        parts = {case.patient: part for part in PARTS for case in getattr(split, part)}
        assert of_first.items() <= parts.items()
    learned = next(case for case in cases if of_first[case.patient] == "train")
    rest = tuple(case for case in cases if case is not learned)
    with pytest.raises(TrainingError, match=f"has learned from patient {learned.patient}"):
        check_patients(runs[1].path, "student", Split(rest, (), (learned,)))


def test_part_that_weighs_more_counts_where_student_and_teacher_differ(tmp_path):
    cases = find_cases(write_cases(tmp_path / "cases", 3, slices=1), TASK)
    for name, split in (
        ("student", Split(*((case,) for case in cases))),
        ("teacher", Split(*((case,) for case in cases[::-1]))),
    ):
        start_run(RunFolder(tmp_path / name), PLAN, cases, split)
    met = parts_met([str(tmp_path / "student"), str(tmp_path / "teacher"), "abdomen-mobilenetv2-hlfd", None])
    assert [met[case.patient] for case in cases] == ["train", "validation", "train"]


def names(cases) -> list[str]:
    return [case.name for case in cases]


def test_command_goes_on_from_a_student_with_its_split(finished, cases_folder, tmp_path):
    task = tmp_path / "task.json"
    task.write_text(json.dumps(TASK.to_dict()))
    options = ["--task", task, "--method", "none", "--epochs", 1, "--batch", 3, "--device", "cpu", "--seed", 8]
    arguments = ["train", cases_folder, "-o", tmp_path / "run", "--student-weights", finished[0].path, *options]
    assert main([str(argument) for argument in arguments]) == 0
    run = RunFolder(tmp_path / "run")
    assert run.read("split.json") == {**finished[0].read("split.json"), "seed": 8}


# What can be watched


def test_plan_event_tells_what_is_ahead_before_anything_is_read(finished):
    events = finished[1]
    assert events[0]["event"] == "plan"
    steps = {(event["stage"], event["steps"]) for event in events if event["event"] == "step"}
    assert {(stage["stage"], stage["steps"]) for stage in events[0]["stages"]} == steps
    assert [stage["epochs"] for stage in events[0]["stages"]] == [1, 1, 1, 1]


def test_epochs_tell_how_long_they_took(finished):
    seconds = [event["seconds"] for event in finished[1] if event["event"] == "epoch"]
    assert len(seconds) == 4 and min(seconds) > 0


def test_steps_tell_how_long_their_epoch_took_so_far_also_over_a_stop(cases_folder, tmp_path):
    folder, events = begin(tmp_path / "run", cases_folder, replace(ALONE, batch=1)), []

    def steps() -> list[dict]:
        return [event for event in events if event["event"] == "step"]

    with pytest.raises(Stopped):
        TrainingRun(folder, report=events.append, stop_requested=lambda: len(steps()) == 2).run()
    events += train(folder)
    seconds = [event["seconds"] for event in steps()]
    assert len(seconds) == steps()[-1]["steps"] > 2
    assert seconds[0] > 0 and seconds == sorted(seconds)
    assert seconds[-1] <= next(event["seconds"] for event in events if event["event"] == "epoch")


def test_preview_shows_the_validation_slice_with_most_tumor(finished):
    folder = finished[0]
    for stage in folder.plan().stages:
        with np.load(folder.preview(stage)) as preview:
            assert set(preview) == {"image", "truth", "prediction"}
            image, truth, prediction = (preview[name] for name in ("image", "truth", "prediction"))
        assert image.dtype == truth.dtype == prediction.dtype == np.uint8
        assert image.shape == truth.shape == prediction.shape == (64, 64)
        assert (truth == 2).sum() > 0
        liver, body = image[truth == 1].mean(), image[truth == 0].mean()
        assert liver > body + 20  # the picture and its truth lie on each other


def test_preview_is_of_the_best_network_after_a_single_epoch(finished):
    """What the picture shows is what the saved student makes of it."""
    folder = finished[0]
    with np.load(folder.preview("student")) as preview:
        image = torch.from_numpy(preview["image"]).float()[None, None] / 255
        shown = preview["prediction"]
    with torch.no_grad():
        expected = folder.network("student")(image).argmax(1)[0].numpy()
    assert (expected == shown).mean() > 0.95  # the picture is rounded to 256 grays


# Stopping and memory


def test_stop_file_leaves_a_checkpoint_and_the_command_goes_on(finished, cases_folder, tmp_path):
    folder = begin(tmp_path / "run", cases_folder, ALONE)

    def touch_at_first_step(event: dict) -> None:
        if event["event"] == "step":
            folder.stop_file.touch()

    with pytest.raises(Stopped):
        TrainingRun(folder, report=touch_at_first_step).run()
    assert (folder.stage("student") / "last.pt").is_file()
    assert main(["train", "-o", str(folder.path), "--resume"]) == 0
    assert not folder.stop_file.exists()
    assert_same(weights(folder, "student"), weights(finished[0], "undistilled"))


def test_run_with_one_step_an_epoch_can_be_stopped(cases_folder, tmp_path):
    folder = begin(tmp_path / "run", cases_folder, replace(ALONE, batch=100, student_epochs=50))
    events = []

    def report(event: dict) -> None:
        events.append(event)
        if event["event"] == "step":
            folder.stop_file.touch()

    with pytest.raises(Stopped):
        TrainingRun(folder, report=report).run()
    assert len(events) == 1 + [event["event"] for event in events].index("step")


def test_a_stop_while_an_epoch_is_validated_is_obeyed_at_once_and_keeps_its_steps(
    finished, cases_folder, tmp_path, monkeypatch
):
    folder = begin(tmp_path / "run", cases_folder, ALONE)
    slices, events, validated = SliceDataset.__getitem__, [], []

    def read(self: SliceDataset, request: tuple[int, int]) -> tuple:
        if self.augmentation is None and events and events[-1]["event"] == "step":
            validated.append(request)
            folder.stop_file.touch()
        return slices(self, request)

    monkeypatch.setattr(SliceDataset, "__getitem__", read)
    with pytest.raises(Stopped):
        TrainingRun(folder, report=events.append).run()
    monkeypatch.undo()

    assert len(validated) == 1
    steps = [event for event in events if event["event"] == "step"]
    assert steps[-1]["step"] == steps[-1]["steps"]
    folder.stop_file.unlink()
    after = train(folder)
    assert [event["event"] for event in after if event["event"] in ("step", "epoch")] == ["epoch"]
    assert_same(weights(folder, "student"), weights(finished[0], "undistilled"))


def test_a_stop_while_labels_are_read_is_obeyed_after_the_case(tmp_path, monkeypatch):
    """Each may take seconds, and a training has hundreds."""
    folder, read, read_label = begin_run(tmp_path / "run", cases=6), [], stored_slices.read_label

    def counted(path: Path) -> sitk.Image:
        read.append(path)
        return read_label(path)

    monkeypatch.setattr(stored_slices, "read_label", counted)
    with pytest.raises(Stopped):
        TrainingRun(folder, stop_requested=lambda: bool(read)).run()
    assert len(read) == 1


def test_checkpoint_of_a_cpu_is_gone_on_with_in_half_precision(cases_folder, tmp_path):
    """As on a computer with CUDA, whose scaler of the gradients has a state and the CPU's has none."""
    folder = begin(tmp_path / "run", cases_folder, ALONE)
    with pytest.raises(Stopped):
        TrainingRun(folder, stop_requested=lambda: folder.stage("student").is_dir()).run()
    folder.write_plan(replace(ALONE, precision="float16"))
    assert train(folder)[-1]["event"] == "finished"


def test_a_gpu_never_trains_in_float16_unless_it_is_asked_for(monkeypatch):
    """A teacher of an experiment grew beyond float16's largest number in its twelfth epoch."""
    used = []

    @contextmanager
    def using(device: torch.device):
        used.append(device)
        yield

    monkeypatch.setattr(torch.cuda, "device", using)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: used[-1].index == 1)
    assert autocast_type("auto", torch.device("cuda:1")) == torch.bfloat16
    assert autocast_type("auto", torch.device("cuda:0")) is None
    assert autocast_type("auto", torch.device("cpu")) is None
    assert autocast_type("float16", torch.device("cuda:0")) == torch.float16


def test_epoch_begun_by_several_processes_is_gone_on_with_at_the_same_slice(cases_folder, tmp_path):
    folder = begin(tmp_path / "run", cases_folder, replace(ALONE, batch=1))
    with pytest.raises(Stopped):
        TrainingRun(folder, stop_requested=lambda: folder.stage("student").is_dir()).run()
    last = folder.stage("student") / "last.pt"
    checkpoint = torch.load(last, weights_only=True)
    assert (checkpoint["state"]["step"], checkpoint["world"]) == (1, 1)
    torch.save({**checkpoint, "world": 2}, last)  # a step of two processes is two slices
    assert next(event["step"] for event in train(folder) if event["event"] == "step") == 3


def test_case_that_is_taken_away_is_named_and_training_goes_on_when_it_is_back(tmp_path):
    folder = begin(tmp_path / "run", write_cases(tmp_path / "cases", 3, slices=4), ALONE)
    case = folder.split(ALONE).validation[0]  # read after those that are learned from
    aside = tmp_path / "aside.nii.gz"

    def take_away(event: dict) -> None:
        if event["event"] == "reading" and case.label.exists():
            case.label.rename(aside)

    with pytest.raises(CasesError, match=f"{case.name}.*no longer there"):
        TrainingRun(folder, report=take_away).run()
    aside.rename(case.label)
    assert train(folder)[-1]["event"] == "finished"


def test_each_case_is_read_once_and_none_stays_in_memory(tmp_path, monkeypatch):
    """Slices without a label follow those of all cases with one; reading a CT takes longer than learning from it."""
    folder, read, kept = begin_run(tmp_path / "run", cases=6), [], []

    def counted(path):
        gc.collect()
        kept.append(sum(reference() is not None for reference in alive))
        read.append(path)
        image = read_ct(path)
        alive.append(weakref.ref(image))
        return image

    alive: list[weakref.ref] = []
    monkeypatch.setattr(stored_slices, "read_ct", counted)
    run = TrainingRun(folder)
    run.read_slices()
    split = folder.split(run.plan)
    assert sorted(read) == sorted(case.ct for case in [*split.train, *split.validation])
    gc.collect()
    assert not any(kept) and not any(reference() for reference in alive)
    TrainingRun(folder).read_slices()
    assert len(read) == len(alive) == len(kept) == len(split.train) + len(split.validation)


def test_case_that_is_taken_away_when_it_was_read_does_not_stop_a_training(tmp_path):
    """As with a network disk that is away for a while."""
    folder = begin(tmp_path / "run", write_cases(tmp_path / "cases", 3, slices=4), ALONE)
    case = folder.split(ALONE).train[0]

    def take_away(event: dict) -> None:
        if event["event"] == "step":
            case.label.unlink(missing_ok=True)

    TrainingRun(folder, report=take_away).run()
    assert not case.label.exists() and folder.finished


@pytest.mark.parametrize("full_for", [2, 100])
def test_memory_that_is_full_while_an_epoch_is_validated_is_waited_for_and_costs_no_step(
    full_for, finished, cases_folder, tmp_path, monkeypatch
):
    count, tries = stage_file.count_overlaps, []

    def crowded(*arguments):
        tries.append(1)
        if len(tries) <= full_for:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return count(*arguments)

    folder = begin(tmp_path / "run", cases_folder, ALONE)
    with monkeypatch.context() as changed:
        changed.setattr(stage_file, "count_overlaps", crowded)
        changed.setattr(stage_file, "MEMORY_WAITS", (0, 0))
        if full_for == 2:
            train(folder)
        else:
            with pytest.raises(TrainingError, match="smaller batch"):
                train(folder)
    assert ["step" for event in train(folder) if event["event"] == "step"] == []
    assert_same(weights(folder, "student"), weights(finished[0], "undistilled"))


@pytest.mark.parametrize("full_for", [2, 100])
def test_full_memory_of_a_gpu_is_waited_for_and_then_told(full_for, finished, cases_folder, tmp_path, monkeypatch):
    """Segmenting on the same GPU fills its memory for a while."""
    tries = []

    class Crowded(NoDistillation):
        def forward(self, images, target):
            tries.append(1)
            if len(tries) <= full_for:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().forward(images, target)

    monkeypatch.setitem(DISTILLERS, "none", Crowded)
    monkeypatch.setattr(stage_file, "MEMORY_WAITS", (0, 0))
    folder = begin(tmp_path / "run", cases_folder, ALONE)
    if full_for == 2:
        train(folder)
        assert_same(weights(folder, "student"), weights(finished[0], "undistilled"))
    else:
        with pytest.raises(TrainingError, match="smaller batch"):
            train(folder)


@pytest.mark.parametrize("full_for", [2, 100])
def test_memory_that_is_full_before_the_first_step_is_waited_for(full_for, cases_folder, tmp_path, monkeypatch):
    tries, move = [], NoDistillation.to

    def crowded(self, *arguments, **named):
        tries.append(1)
        if len(tries) <= full_for:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return move(self, *arguments, **named)

    monkeypatch.setattr(NoDistillation, "to", crowded)
    monkeypatch.setattr(stage_file, "MEMORY_WAITS", (0, 0))
    folder = begin(tmp_path / "run", cases_folder, ALONE)
    if full_for == 2:
        train(folder)
        assert folder.finished
    else:
        with pytest.raises(TrainingError, match="smaller batch"):
            train(folder)


def test_a_card_that_fails_while_a_checkpoint_is_written_is_no_full_disk(tmp_path):
    for told in ("CUDA error: an illegal memory access was encountered", "CUDA out of memory"):
        with pytest.raises(RuntimeError, match=told), writing(tmp_path / "last.pt"):
            raise RuntimeError(told)
    with pytest.raises(OutputError, match=r"last\.pt could not be written"), writing(tmp_path / "last.pt"):
        raise RuntimeError("[enforce fail at inline_container.cc:659] . unexpected pos 64 vs 0")


def test_only_a_full_disk_is_called_one(tmp_path):
    for error in (
        FileNotFoundError(errno.ENOENT, "No such file or directory"),
        PermissionError(errno.EACCES, "Permission denied"),
        OSError(errno.EROFS, "Read-only file system"),
    ):
        with pytest.raises(OutputError, match=r"last\.pt could not be written") as told, writing(tmp_path / "last.pt"):
            raise error
        assert "disk is full" not in str(told.value) and "--resume" in str(told.value)
    with pytest.raises(OutputError, match="the disk is full"), writing(tmp_path / "last.pt"):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_an_error_is_told_though_the_events_cannot_be_written(cases_folder, tmp_path, capsys):
    folder = begin(tmp_path / "run", cases_folder, replace(ALONE, student_weights="missing.pt"))
    folder.events.mkdir()
    assert main(["train", "-o", str(folder.path), "--resume"]) == 1
    told = capsys.readouterr().err
    assert "missing.pt" in told and "events.jsonl" not in told


def test_a_run_tells_where_and_how_it_computes(finished):
    plan = next(event for event in finished[1] if event["event"] == "plan")
    assert (plan["device"], plan["precision"], plan["unusable"]) == ("cpu", "float32", None)
    assert readable_log(json.dumps(plan)).endswith(f"; on {plan['device_title']}, in float32")


def test_patients_stay_in_their_part_whatever_their_cases_are_called():
    cases = [Case(f"scan{number}", f"P{number}", Path("ct"), Path("label"), {1: ("liver",)}) for number in range(12)]
    before = {f"P{number}": part for number, part in enumerate(PARTS * 3)}
    for seed in range(5):
        split = split_onward(cases, before, seed=seed)
        parts = {case.patient: part for part in PARTS for case in getattr(split, part)}
        assert before.items() <= parts.items() and len(parts) == 12


def test_a_split_that_judges_a_student_by_whom_it_has_learned_from_begins_no_run(
    finished, cases_folder, tmp_path, capsys
):
    earlier = finished[0]
    given = earlier.read("split.json")
    given["train"], given["test"] = given["test"], given["train"]
    (tmp_path / "mine.json").write_text(json.dumps(given))
    (tmp_path / "task.json").write_text(json.dumps(TASK.to_dict()))
    command = ["train", str(cases_folder), "-o", str(tmp_path / "run"), "--task", str(tmp_path / "task.json")]
    command += ["--method", "none", "--student-weights", str(earlier.path), "--split", str(tmp_path / "mine.json")]
    assert main(command) == 1
    assert "has learned from" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
