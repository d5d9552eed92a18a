"""Comparing methods: what is trained, measured and written, and that stopping and lost workers cost nothing."""

from __future__ import annotations

import csv
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import dask
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from comparison_runs import KillsWorkerOnce, epochs, figures
from distributed import Client, LocalCluster
from distributed.security import Security
from generated_cases import TASK, write_cases
from HLFDSegmentationLib import __version__
from HLFDSegmentationLib.errors import CasesError, InputError, OutputError, TrainingError
from HLFDSegmentationLib.networks import build_network
from HLFDTrainingLib.cases import Case, find_cases
from HLFDTrainingLib.cli import main
from HLFDTrainingLib.commands.comparing import _tell_of_missing_none
from HLFDTrainingLib.compare.comparison import _Course, compare
from HLFDTrainingLib.compare.costs import measure_costs
from HLFDTrainingLib.compare.engine import Job, cluster, workers_here
from HLFDTrainingLib.compare.folder import ComparisonFolder, check_folds
from HLFDTrainingLib.compare.jobs import Jobs, RowRun
from HLFDTrainingLib.compare.measuring import measure_network
from HLFDTrainingLib.compare.records import read_records
from HLFDTrainingLib.compare.rows import Row, rows_of
from HLFDTrainingLib.compare.tables import write_tables
from HLFDTrainingLib.compare.wording import trained_by
from HLFDTrainingLib.evaluation import SegmentedCase
from HLFDTrainingLib.learning.stage import Stopped
from HLFDTrainingLib.plan import TrainingPlan
from HLFDTrainingLib.runs.given_weights import check_plan
from HLFDTrainingLib.runs.run_events import all_events
from HLFDTrainingLib.runs.run_state import STOPPED_STATUS
from HLFDTrainingLib.split import Split, split_by_patient
from training_runs import take_away

NETWORK = "mobilenetv2-unet"
PLAN = TrainingPlan(
    task=TASK,
    teacher=NETWORK,
    teacher_epochs=1,
    head_epochs=1,
    student_epochs=2,
    batch=4,
    learning_rate=5e-3,
    device="cpu",
    augmentation="orientations",
)
# So many epochs that no machine is done before a test has seen the first one.
LONG_PLAN = replace(PLAN, student_epochs=8)
ROWS = rows_of(["none", "hlfd"], [NETWORK], [0])
NONE, HLFD = ROWS


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    return find_cases(write_cases(tmp_path_factory.mktemp("cases"), 4, slices=3), TASK)


@pytest.fixture(scope="module")
def split(cases):
    return split_by_patient(cases, fractions=(0.5, 0.25, 0.25))


@pytest.fixture(scope="module")
def scheduler():
    """Workers without processes of their own, which would take seconds to start."""
    threads = torch.get_num_threads()
    with LocalCluster(
        1, threads_per_worker=1, processes=False, memory_limit=None, dashboard_address="127.0.0.1:0"
    ) as here:
        yield here.scheduler_address
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def compare_here(cases, split, scheduler):
    def run(folder: Path, rows=ROWS, plan=PLAN, events=None, **options) -> list[dict]:
        events = [] if events is None else events
        compare(folder, plan, cases, split, rows, scheduler=scheduler, report=events.append, **options)
        return events

    return run


@pytest.fixture(scope="module")
def finished(tmp_path_factory, compare_here):
    """A comparison that was never interrupted."""
    folder = tmp_path_factory.mktemp("compared") / "whole"
    compare_here(folder)
    return folder


@pytest.fixture(scope="module")
def finished_long(tmp_path_factory, compare_here):
    """A longer one of the student alone."""
    folder = tmp_path_factory.mktemp("compared") / "long"
    compare_here(folder, [NONE], LONG_PLAN)
    return folder


def test_a_run_whose_networks_were_compared_is_no_comparison_to_go_on_with(tmp_path):
    """It has a file of the same name."""
    for name, content in (("comparison.json", {"device": "cpu"}), ("plan.json", {}), ("checks.csv", {})):
        (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(OutputError, match="already holds"):
        ComparisonFolder(tmp_path).check_unused()
    assert (tmp_path / "checks.csv").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="dask sets it for Linux's memory only")
def test_workers_on_this_computer_keep_their_memory_for_the_next_step(monkeypatch):
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    with cluster(None, 1, 1) as client:
        assert client.submit(os.environ.get, "MALLOC_TRIM_THRESHOLD_").result() is None


def assert_same_student(folder: Path, reference: Path, row: Row) -> None:
    """The same weights to the last bit, and the same figures."""
    last = [ComparisonFolder(one).row(row).stage("student") / "last.pt" for one in (folder, reference)]
    ours, theirs = (torch.load(path, weights_only=True)["learner"] for path in last)
    assert [name for name in theirs if not torch.equal(ours[name], theirs[name])] == []
    assert figures(folder, row) == figures(reference, row)


def first_segmentation_loss(folder: Path, row: Row) -> float:
    events = all_events(ComparisonFolder(folder).row(row).events)
    return next(event["terms"]["segmentation"] for event in events if event["event"] == "epoch")


def read_csv(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


# What comes out


def test_every_row_and_the_teacher_are_measured_on_the_test_cases(finished, split):
    rows = read_csv(finished / "cases.csv")
    tested = {case.name for case in split.test}
    assert {row["row"] for row in rows} == {"teacher", NONE.name, HLFD.name}
    assert {row["case"] for row in rows} == tested
    assert {row["label"] for row in rows} == {"liver", "liver tumor", "liver with tumors"}
    assert all(0 <= float(row["dice"]) <= 1 for row in rows)


def test_focus_is_measured_on_the_tumor_in_every_layer_of_every_network(finished):
    rows = read_csv(finished / "focus.csv")
    assert {row["label"] for row in rows} == {"liver tumor"}
    assert {(row["method"], row["layer"]) for row in rows} >= {(m, "encoder1") for m in ("teacher", "none", "hlfd")}
    assert len({row["layer"] for row in rows}) == 9


def test_surface_distances_on_slices_are_in_the_ct_s_mm(tmp_path, monkeypatch):
    (case,) = find_cases(write_cases(tmp_path, 1, slices=3), TASK)
    ct = sitk.Image(40, 30, 8, sitk.sitkInt16)
    ct.SetSpacing((1.0, 1.0, 5.0))
    truth = np.zeros((8, 30, 40), np.uint8)
    truth[3, 5:25, 5:35] = 1
    moved = SegmentedCase(case, TASK, ct, np.roll(truth, 2, axis=2), truth, 0.0, "cpu")
    monkeypatch.setattr("HLFDTrainingLib.compare.measuring.segment_case", lambda _segmenter, _case: moved)
    network = build_network(NETWORK, TASK.num_classes).eval()
    measured = measure_network(network, NETWORK, TASK, [case], {}, device="cpu", before_each=lambda: None)
    (liver,) = [one for one in measured["cases"] if one["label"] == "liver"]
    assert liver["slices_hd95_mm"] == pytest.approx(2.0)


def test_teacher_and_head_are_trained_once_for_all_rows(finished):
    files = ComparisonFolder(finished)
    assert (files.teacher.stage("teacher") / "best.pt").is_file()
    assert (files.head.stage("head") / "best.pt").is_file()
    stages = {path.name for path in files.row(HLFD).path.iterdir() if path.is_dir()}
    assert stages == {"student", "process"}
    assert files.constants.is_dir()


def test_students_of_a_seed_begin_with_the_same_weights_and_see_the_same_slices(tmp_path, compare_here):
    # AdamW makes whole steps of what rounding leaves of a gradient; at this rate no step changes the loss.
    plan = replace(PLAN, student_epochs=1, learning_rate=1e-9)
    weightless, other = Row("hlfd:beta=0:lambda_=0", NETWORK, 0), Row("none", NETWORK, 1)
    compare_here(tmp_path / "compared", [NONE, weightless, other], plan)
    first = {row: first_segmentation_loss(tmp_path / "compared", row) for row in (NONE, weightless, other)}
    assert first[weightless] == pytest.approx(first[NONE], rel=1e-5)
    assert first[other] != pytest.approx(first[NONE], rel=1e-3)


def test_the_epochs_of_folds_that_differ_are_told_as_a_range():
    longer = replace(PLAN, teacher_epochs=PLAN.teacher_epochs + 2)
    told = trained_by([longer, PLAN], taught=True)
    assert f"{PLAN.teacher_epochs} to {longer.teacher_epochs} epochs. Students {PLAN.student_epochs} epochs," in told


def test_tables_and_page_are_written(finished):
    table = read_csv(finished / "table.csv")
    assert {row["method"] for row in table} == {"teacher", "none", "hlfd"}
    of_hlfd = next(row for row in table if row["method"] == "hlfd" and row["label"] == "liver")
    dice = {row["method"]: float(row["dice"]) for row in read_csv(finished / "cases.csv") if row["label"] == "liver"}
    assert float(of_hlfd["dice_mean"]) == pytest.approx(dice["hlfd"], abs=1e-5)
    assert float(of_hlfd["difference_mean"]) == pytest.approx(dice["hlfd"] - dice["none"], abs=2e-5)
    assert {row["network"] for row in read_csv(finished / "costs.csv")} == {NETWORK}
    text = (finished / "table.md").read_text(encoding="utf-8")
    assert "| hlfd | mobilenetv2-unet |" in text and "## Focus by layer" in text
    page = (finished / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 3 + 1 + 1  # Dice of three labels, focus of one, learning of one student
    about = "Measured on 1 test case of 1 patient. With so few patients p cannot fall below 0.05"
    for told in (text, page):
        assert about in told and "Teacher mobilenetv2-unet, 1 epoch. Students 2 epochs" in told
    assert "Research only" in page
    assert "Whether two methods differ their bars do not tell" in page
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    for name in ("dice", "focus", "learning"):
        assert (finished / f"{name}.svg").read_text(encoding="utf-8").startswith("<svg")


# Going on


def test_a_row_whose_figures_were_damaged_is_measured_anew(finished, tmp_path, compare_here):
    folder = ComparisonFolder(shutil.copytree(finished, tmp_path / "comparison"))
    folder.figures_file(folder.row(NONE)).write_text('{"cases": [', encoding="utf-8")
    events = compare_here(folder.path)
    assert events[0]["to_do"] == [NONE.name]
    assert figures(folder.path, NONE) == figures(finished, NONE)


@pytest.mark.parametrize("damaged", ['{"cases": [', "{}"])
@pytest.mark.parametrize("place", ["teacher", f"rows/{HLFD.name}"])
def test_a_finished_row_with_damaged_figures_is_never_left_out_of_the_tables(
    place, damaged, finished, tmp_path, compare_here
):
    folder = shutil.copytree(finished, tmp_path / "comparison")
    file = folder / place / "figures.json"
    file.write_text(damaged, encoding="utf-8")
    told = f"{re.escape(str(file))} is damaged.*Repeat `hlfd compare` with the method, student and seed"
    for tell in (
        lambda: compare_here(folder, [Row("none", NETWORK, 1)]),
        lambda: write_tables([folder], folder),
        lambda: write_tables([folder], tmp_path / "folds"),
    ):
        with pytest.raises(TrainingError, match=told):
            tell()
    assert not ComparisonFolder(folder).row(Row("none", NETWORK, 1)).started  # It is told before hours of training.
    assert (folder / "table.md").read_bytes() == (finished / "table.md").read_bytes()


def test_stopping_is_told_also_where_damaged_figures_are_still_to_be_measured_anew(finished, tmp_path, compare_here):
    folder = ComparisonFolder(shutil.copytree(finished, tmp_path / "comparison"))
    folder.figures_file(folder.row(NONE)).write_text("{", encoding="utf-8")
    with pytest.raises(Stopped):
        compare_here(folder.path, stop_requested=lambda: True)
    assert (folder.path / "table.md").read_bytes() == (finished / "table.md").read_bytes()


def test_figures_that_cannot_be_read_for_a_moment_are_not_measured_anew(finished, tmp_path, compare_here, monkeypatch):
    """As while a network disk does not answer."""
    folder = ComparisonFolder(shutil.copytree(finished, tmp_path / "comparison"))
    file, real = folder.figures_file(folder.row(NONE)), Path.read_text

    def away(path, *arguments, **named):
        if path == file:
            raise OSError(errno.EIO, "Input/output error")
        return real(path, *arguments, **named)

    monkeypatch.setattr(Path, "read_text", away)
    for rows in ([NONE], [HLFD]):
        with pytest.raises(InputError, match=f"{re.escape(str(file))} cannot be read now.*nothing says that it is dam"):
            compare_here(folder.path, rows)


def test_finished_rows_are_not_trained_again_and_new_ones_are_added(finished, tmp_path, compare_here):
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    events = compare_here(folder, [*ROWS, Row("kd", NETWORK, 0)])
    assert events[0]["to_do"] == ["kd_mobilenetv2-unet_seed0"]
    assert figures(folder, HLFD) == figures(finished, HLFD)
    assert {row["method"] for row in read_csv(folder / "table.csv")} == {"teacher", "none", "kd", "hlfd"}


def test_a_comparison_that_the_users_file_stopped_goes_on_where_it_was(finished_long, tmp_path, compare_here):
    """docs/compare.md names the file, for who has no terminal at hand. It stops once."""
    folder = tmp_path / "stopped"

    def asked() -> bool:
        if epochs(folder, NONE):
            (folder / "stop").touch()
        return False

    with pytest.raises(Stopped):
        compare_here(folder, [NONE], LONG_PLAN, stop_requested=asked)
    assert 1 <= len(epochs(folder, NONE)) < LONG_PLAN.student_epochs
    compare_here(folder, [NONE], LONG_PLAN)
    assert epochs(folder, NONE) == list(range(1, LONG_PLAN.student_epochs + 1))
    assert_same_student(folder, finished_long, NONE)


def test_row_of_a_killed_worker_is_done_again_with_the_same_result(finished_long, tmp_path, cases, split):
    folder, states = tmp_path / "killed", []
    kill_once = KillsWorkerOnce(folder, NONE)

    def report(event: dict) -> None:
        if event["event"] == "job":
            states.append(event["state"])

    # As on a computer on which a process takes longer to start than dask waits for one that was lost.
    with dask.config.set({"distributed.deploy.lost-worker-timeout": "0.1s"}):
        compare(folder, LONG_PLAN, cases, split, [NONE], workers=1, report=report, stop_requested=kill_once)
    assert kill_once.killed
    assert states == ["begun", "begun again", "done"]
    assert_same_student(folder, finished_long, NONE)


@pytest.mark.parametrize("change", [{"batch": 2}, {"seed": 5}, {"task": replace(TASK, spacing=4.0)}])
def test_changed_plan_is_refused(finished, compare_here, change):
    with pytest.raises(TrainingError, match=r"another plan: its (batch|seed|task) is"):
        compare_here(finished, plan=replace(PLAN, **change))


def test_the_epochs_of_a_teacher_that_is_given_part_no_comparisons(tmp_path):
    found = find_cases(write_cases(tmp_path / "cases", 4, slices=3), TASK)
    folder = ComparisonFolder(tmp_path / "comparison")
    given = replace(PLAN, teacher_weights="/trainings/one")
    folder.begin(given, found, split_by_patient(found))
    folder.begin(replace(given, teacher_epochs=7), found, split_by_patient(found))


def test_a_label_that_was_corrected_meanwhile_is_refused(tmp_path):
    """Rows before and after would be measured against different truths."""
    found = find_cases(write_cases(tmp_path / "cases", 4, slices=3), TASK)
    split = split_by_patient(found)
    folder = ComparisonFolder(tmp_path / "comparison")
    folder.begin(PLAN, found, split)
    folder.begin(PLAN, found, split)
    label = split.test[0].label
    label.write_bytes(split.train[0].label.read_bytes())
    with pytest.raises(CasesError, match=f"Case {split.test[0].name}: the label"):
        folder.begin(PLAN, found, split)


@pytest.mark.parametrize("name", ["costs", "focus_slices"])
def test_a_damaged_file_that_is_found_again_may_be_deleted(name, finished, tmp_path):
    folder = ComparisonFolder(shutil.copytree(finished, tmp_path / "comparison"))
    (folder.path / f"{name}.json").write_text("{", encoding="utf-8")
    with pytest.raises(TrainingError, match="Delete this file and repeat the command"):
        getattr(folder, name)()


def test_other_cases_are_refused(finished, cases, split, scheduler):
    other = split_by_patient(cases, fractions=(0.5, 0.25, 0.25), seed=3)
    assert other.test != split.test
    with pytest.raises(TrainingError, match="another list of cases or another split"):
        compare(finished, PLAN, cases, other, ROWS, scheduler=scheduler)


def test_a_row_that_was_begun_with_another_plan_is_refused(cases, split, tmp_path):
    folder = ComparisonFolder(tmp_path / "comparison")
    folder.begin(PLAN, cases, split)
    run, plan = folder.row(NONE), replace(PLAN, method="none")
    for _ in range(2):
        folder.start_run(run, plan, cases, split)
    with pytest.raises(TrainingError, match="another plan than the comparison has now"):
        folder.start_run(run, replace(plan, student_epochs=3), cases, split)


def test_a_row_that_begins_or_is_measured_after_a_label_was_changed_is_refused(tmp_path, scheduler, monkeypatch):
    """A comparison takes days, in which somebody corrects a drawing."""
    cases = find_cases(write_cases(tmp_path / "cases", 4, slices=3), TASK)
    split = split_by_patient(cases, fractions=(0.5, 0.25, 0.25))
    folder, plan = ComparisonFolder(tmp_path / "compared"), replace(PLAN, student_epochs=1)
    compare(folder.path, plan, cases, split, [NONE], scheduler=scheduler)
    jobs, train = Jobs(folder.path, folder.token(), threads=1), RowRun.run
    measured, begun = (Row("none", NETWORK, seed) for seed in (1, 2))
    for row in (measured, begun):
        folder.start_run(folder.row(row), row.plan(plan), cases, split)

    def change_the_label_of(case: Case) -> None:
        sitk.WriteImage(sitk.ReadImage(str(case.label)) * 0, str(case.label))

    monkeypatch.setattr(RowRun, "run", lambda self: (train(self), change_the_label_of(split.test[0])))
    with pytest.raises(CasesError, match=r"the label in .* is not the one that was there"):
        jobs.row(measured)
    assert not folder.figures_file(folder.row(measured)).exists()
    with pytest.raises(CasesError, match=r"the label in .* is not the one that was there"):
        jobs.row(begun)
    assert not folder.row(begun).stage("student").exists()


def test_a_row_as_the_teacher_of_a_training_is_told_where_its_teacher_is(finished):
    with pytest.raises(TrainingError, match=r"no teacher of its own.*teacher"):
        check_plan(replace(PLAN, teacher_weights=str(finished / "rows" / HLFD.name)))


def test_row_that_fails_does_not_hold_up_the_others(tmp_path, compare_here):
    rows = [Row("at", NETWORK, 0), NONE]
    plan = replace(PLAN, student_epochs=1)
    wrong = Row("hlfd:beta=1e38", NETWORK, 0)
    with pytest.raises(TrainingError, match=r"1 of 5 jobs failed, first hlfd-beta=1e38.*no longer a number"):
        compare_here(tmp_path / "failing", [wrong, *rows], plan)
    assert {row["method"] for row in read_csv(tmp_path / "failing" / "table.csv")} == {"teacher", "none", "at"}


def test_rows_that_need_a_failed_teacher_say_so(tmp_path, compare_here, monkeypatch):
    def fail(self) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr("HLFDTrainingLib.compare.jobs.TeacherRun.run", fail)
    events = []
    with pytest.raises(TrainingError, match=r"3 of 3 jobs failed, first teacher: MemoryError: no room\. What is"):
        compare_here(tmp_path / "failing", rows_of(["kd", "at"], [NETWORK], [0]), events=events)
    told = {event["job"]: event["message"] for event in events if event.get("state") == "failed"}
    assert [message for name, message in told.items() if name != "teacher"] == [
        "It needs the teacher, which failed."
    ] * 2


def test_a_comparison_that_is_stopped_tells_what_is_finished(tmp_path, compare_here):
    folder = tmp_path / "stopped"
    first = ComparisonFolder(folder)
    with pytest.raises(Stopped):
        compare_here(
            folder,
            [NONE, Row("none", NETWORK, 1)],
            stop_requested=lambda: first.figures_file(first.row(NONE)).is_file(),
        )
    assert "| none | mobilenetv2-unet |" in (folder / "table.md").read_text(encoding="utf-8")


def test_worker_that_does_not_see_the_folder_is_no_success(tmp_path, compare_here, monkeypatch):
    def elsewhere(path: Path, token: str, threads: int) -> Jobs:
        return Jobs(tmp_path / "elsewhere", token, threads)

    monkeypatch.setattr("HLFDTrainingLib.compare.comparison.Jobs", elsewhere)
    with pytest.raises(TrainingError, match=r"none_mobilenetv2-unet_seed0: the worker does not see .* same path"):
        compare_here(tmp_path / "here", [NONE])


@pytest.mark.parametrize(("device", "workers"), [("cpu", 2), ("cuda:0", 1)])
def test_a_gpu_has_one_process_and_the_processor_one_for_each_core(device, workers, monkeypatch):
    monkeypatch.setattr("HLFDSegmentationLib.devices.available_devices", lambda: ["cuda:0", "cpu"])
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1}, raising=False)
    assert workers_here(1, device) == workers


def test_rows_that_learned_with_other_arithmetic_are_told(finished, tmp_path):
    """As where one worker of a cluster has a graphics card and another one has none."""
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    row = folder / "rows" / "none_mobilenetv2-unet_seed0"
    events = (row / "events.jsonl").read_text(encoding="utf-8")
    (row / "events.jsonl").write_text(
        events.replace('"device": "cpu"', '"device": "cuda:0"').replace('"float32"', '"bfloat16"'), encoding="utf-8"
    )
    write_tables([folder], folder)
    told = (folder / "table.md").read_text(encoding="utf-8")
    assert "same arithmetic" in told and "bfloat16 on cuda (none_mobilenetv2-unet_seed0);" in told
    assert "same arithmetic" not in (finished / "table.md").read_text(encoding="utf-8")


def test_rows_of_other_versions_are_told(finished, tmp_path):
    """As where HLFD or torch is updated before further rows are added, or before a row goes on."""
    folder, row = tmp_path / "copy", "none_mobilenetv2-unet_seed0"
    shutil.copytree(finished, folder)
    files = [folder / "rows" / row / name for name in ("events.jsonl", "figures.json")]
    before = {path: path.read_text(encoding="utf-8") for path in files}
    ours = f"HLFD {__version__} with torch {torch.__version__.partition('+')[0]}"

    def told(**changed) -> str:
        for path, text in before.items():
            path.write_text(changed.get(path.stem, lambda text: text)(text), encoding="utf-8")
        write_tables([folder], folder)
        texts = [(folder / name).read_text(encoding="utf-8") for name in ("table.md", "report.html")]
        assert ("same versions" in texts[0]) == ("same versions" in texts[1])
        return texts[0]

    def of_another(text: str) -> str:
        return re.sub(r'("hlfd": )"[^"]*"', r'\1"0.0.9"', text)

    def of_none(text: str) -> str:
        return text.replace('"software"', '"other"')

    assert "same versions" not in told()
    trained, measured = told(events=of_another), told(figures=of_another)
    for one in (trained, measured):
        assert re.search(rf"HLFD 0\.0\.9 with torch [0-9.]+ \({row}\); {re.escape(ours)} \(.*\bteacher\b.*\)", one)
    assert "same versions" not in told(events=of_none, figures=of_none)


def test_learning_is_that_of_the_network_that_is_measured(finished, tmp_path):
    """A row whose checkpoint was deleted begins anew; it may have had more epochs before, as of a longer comparison."""
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    path = ComparisonFolder(folder).row(NONE).events
    events = all_events(path)
    earlier = [{**event, "criterion": 0.99} for event in events if event["event"] == "epoch"]
    path.write_text("".join(json.dumps(event) + "\n" for event in [*earlier, *events[:-2]]), encoding="utf-8")
    learned = [event["criterion"] for event in events[:-2] if event["event"] == "epoch"]
    assert [dice for [dice] in read_records([folder]).learning[NONE].values()] == learned
    assert len(learned) < len(earlier)


def test_given_teacher_is_measured_and_not_trained(finished, tmp_path, compare_here):
    folder = tmp_path / "given"
    given = replace(PLAN, teacher_weights=str(finished / "teacher"), student_epochs=1)
    compare_here(folder, [Row("kd", NETWORK, 0)], given)
    assert not [event for event in all_events(folder / "teacher" / "events.jsonl") if event["event"] == "epoch"]
    of_teacher = [
        [row["dice"] for row in read_csv(one / "cases.csv") if row["row"] == "teacher"] for one in (finished, folder)
    ]
    assert of_teacher[0] == of_teacher[1]


def test_given_teacher_that_has_learned_from_a_test_patient_is_refused(finished, tmp_path, cases, split, scheduler):
    other = Split(split.test, split.validation, split.train)
    given = replace(PLAN, teacher_weights=str(finished / "teacher"))
    with pytest.raises(TrainingError, match=r"The teacher in .* has learned from patient"):
        compare(tmp_path / "leaking", given, cases, other, ROWS, scheduler=scheduler)


def test_folder_that_was_moved_takes_further_rows(finished, tmp_path, compare_here):
    before, moved = tmp_path / "before", tmp_path / "moved"
    shutil.copytree(finished, before)
    with pytest.raises(Stopped):
        compare_here(before, [Row("kd", NETWORK, 0)], stop_requested=lambda: True)
    before.rename(moved)
    shutil.move(finished / "teacher", tmp_path / "aside")
    try:
        compare_here(moved, [Row("kd", NETWORK, 0)])
    finally:
        shutil.move(tmp_path / "aside", finished / "teacher")
    assert figures(moved, Row("kd", NETWORK, 0))["cases"]


@pytest.mark.parametrize("what", ["cases", "comparison"])
def test_a_row_that_was_begun_goes_on_when_the_cases_or_the_folder_were_moved(what, tmp_path, scheduler):
    places = {"cases": tmp_path / "data" / "cases", "comparison": tmp_path / "compared" / "one"}
    plan = replace(PLAN, student_epochs=1)
    write_cases(places["cases"], 4, slices=3)

    def compare_there(**options) -> None:
        cases = find_cases(places["cases"], TASK)
        split = split_by_patient(cases, fractions=(0.5, 0.25, 0.25))
        compare(places["comparison"], plan, cases, split, [NONE], scheduler=scheduler, **options)

    with pytest.raises(Stopped):
        compare_there(stop_requested=lambda: True)
    assert ComparisonFolder(places["comparison"]).row(NONE).started
    moved = tmp_path / "elsewhere" / "deeper" / "one"
    moved.parent.mkdir(parents=True)
    places[what] = places[what].rename(moved)
    compare_there()
    assert figures(places["comparison"], NONE)["cases"]


def test_costs_are_measured_where_the_device_of_the_rows_is_not(finished, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    stored = json.loads((folder / "comparison.json").read_text())
    stored["plan"]["device"] = "cuda:99"
    (folder / "comparison.json").write_text(json.dumps(stored))
    (folder / "costs.json").unlink()
    measure_costs(ComparisonFolder(folder), threads=1)
    assert ComparisonFolder(folder).costs()[NETWORK]["device"] != "cuda:99"


def test_folds_are_told_as_one(finished, tmp_path):
    second = tmp_path / "second"
    shutil.copytree(finished, second)
    with pytest.raises(TrainingError, match="more than one of the comparisons"):
        write_tables([finished, second], tmp_path / "folds")
    for path in [*second.glob("rows/*/figures.json"), second / "teacher" / "figures.json"]:
        path.write_text(path.read_text().replace('"case": "case', '"case": "other'))
    write_tables([finished, second], tmp_path / "folds")
    assert {row["dice_cases"] for row in read_csv(tmp_path / "folds" / "table.csv")} == {"2"}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"student_epochs": 5, "teacher_epochs": 3, "head_epochs": 2}, None),
        ({"device": "cuda", "precision": "bfloat16"}, None),
        ({"learning_rate": 0.1}, "learning rate is 0.005 in the first, and 0.1 in the second"),
        ({"batch": 2}, "batch"),
        ({"augmentation": "anatomical"}, "augmentation"),
        ({"teacher": "unet++"}, "teacher"),
        ({"teacher_weights": "teacher.pt"}, "teacher weights is None"),
        ({"seed": 5}, "seed"),
    ],
)
def test_comparisons_of_different_trainings_are_not_told_as_one(changed, told, finished, tmp_path):
    """The tables tell one training for all."""
    second = tmp_path / "second"
    shutil.copytree(finished, second)
    for path in [*second.glob("rows/*/figures.json"), second / "teacher" / "figures.json"]:
        path.write_text(path.read_text().replace('"case": "case', '"case": "other'))
    stored = json.loads((second / "comparison.json").read_text())
    stored["plan"] |= changed
    (second / "comparison.json").write_text(json.dumps(stored))
    if told is None:
        write_tables([finished, second], tmp_path)
        assert (tmp_path / "table.md").exists()
        return
    with pytest.raises(TrainingError, match=told) as error:
        write_tables([finished, second], tmp_path)
    assert str(finished) in str(error.value) and str(second) in str(error.value)
    assert not (tmp_path / "table.md").exists()


def test_folds_with_a_given_teacher_of_their_own_are_told_as_one(finished, tmp_path):
    folders = [ComparisonFolder(shutil.copytree(finished, tmp_path / name)) for name in ("first", "second")]
    for folder in folders:
        stored = json.loads((folder.path / "comparison.json").read_text())
        stored["plan"]["teacher_weights"] = f"{folder.path.name}.pt"
        (folder.path / "comparison.json").write_text(json.dumps(stored))
    check_folds(folders)


def test_scheduler_that_is_not_there_is_told(monkeypatch):
    monkeypatch.setattr("HLFDTrainingLib.compare.engine.CONNECT_SECONDS", 0.5)
    nobody = "tcp://127.0.0.1:9"
    with pytest.raises(InputError, match=f"dask scheduler answers at {nobody}"), cluster(nobody, 1, 1):
        pass


# The command


@pytest.fixture
def command(tmp_path, cases, split):
    """The arguments that give `PLAN`, but for the folder and the methods."""
    (tmp_path / "task.json").write_text(json.dumps(TASK.to_dict()))
    (tmp_path / "split.json").write_text(json.dumps(split.to_dict()))
    options = {
        "--task": tmp_path / "task.json",
        "--split": tmp_path / "split.json",
        "--teacher": NETWORK,
        "--teacher-epochs": 1,
        "--head-epochs": 1,
        "--epochs": 2,
        "--batch": 4,
        "--learning-rate": 5e-3,
        "--device": "cpu",
        "--augmentation": "orientations",
    }
    written = [part for pair in options.items() for part in pair]
    return [str(part) for part in ("compare", cases[0].ct.parents[1], *written)]


def test_repeated_command_only_tells_what_is_finished(command, finished, capsys):
    assert main([*command, "-o", str(finished), "--methods", "none,hlfd", "--students", NETWORK]) == 0
    told = capsys.readouterr().out
    assert "2 rows; to do: nothing" in told
    assert (finished / "table.md").read_text(encoding="utf-8") in told


def test_programs_read_a_comparison_line_by_line(command, finished, capsys):
    assert main([*command, "-o", str(finished), "--methods", "none,hlfd", "--students", NETWORK, "--json"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert events[0] == {"event": "comparison", "rows": 2, "to_do": []}


def test_a_comparison_is_begun_as_its_options_say(command, tmp_path, monkeypatch):
    def begun(_folder, plan, _cases, _split, rows, *, threads, **_options):
        assert (plan.precision, plan.seed, threads) == ("bfloat16", 5, 3)
        assert [(row.student, row.seed) for row in rows] == [(NETWORK, 0), (NETWORK, 2)]
        raise Stopped

    monkeypatch.setattr("HLFDTrainingLib.compare.comparison.compare", begun)
    options = ["--precision", "bfloat16", "--teacher-seed", "5", "--threads", "3", "--seeds", "0,2"]
    assert main([*command, "-o", str(tmp_path / "new"), "--methods", "none", *options]) == STOPPED_STATUS


def test_a_teacher_that_cannot_be_read_is_refused_before_the_cases_are(command, tmp_path, monkeypatch, capsys):
    """Of many cases, that takes minutes."""
    monkeypatch.setattr(
        "HLFDTrainingLib.annotations.checked_cases.check_usable", lambda *arguments: pytest.fail("They were read.")
    )
    rubbish = tmp_path / "teacher.pt"
    rubbish.write_bytes(b"rubbish")
    epochs = command.index("--teacher-epochs")
    del command[epochs : epochs + 2]
    assert main([*command, "-o", str(tmp_path / "new"), "--methods", "kd", "--teacher-weights", str(rubbish)]) == 1
    assert str(rubbish) in capsys.readouterr().err and not (tmp_path / "new").exists()


@pytest.fixture
def teacher_of(tmp_path, cases, split, monkeypatch):
    """What the workers are told of a teacher's weights, by what was typed."""

    def stop(*_arguments):
        raise Stopped

    def told(weights: str) -> str:
        folder = tmp_path / f"new{len(list(tmp_path.iterdir()))}"
        plan = replace(PLAN, teacher_weights=weights)
        with pytest.raises(Stopped):
            compare(folder, plan, cases, split, [Row("kd", NETWORK, 0)])
        assert ComparisonFolder(folder).plan == plan  # as it was typed: all may be moved together
        return ComparisonFolder(folder).teacher.plan().teacher_weights

    monkeypatch.setattr("HLFDTrainingLib.compare.comparison._Course.run", stop)
    return told


def test_workers_that_were_started_in_another_folder_find_the_teacher(teacher_of, finished, monkeypatch):
    monkeypatch.chdir(finished)
    assert teacher_of("teacher") == str(finished / "teacher")
    monkeypatch.chdir(finished / "rows")
    assert teacher_of("../teacher/teacher/best.pt") == str(finished / "teacher" / "teacher" / "best.pt")


def test_table_is_told_where_the_output_knows_few_characters(command, finished, tmp_path, monkeypatch):
    with open(tmp_path / "told.txt", "w", encoding="ascii") as output:
        monkeypatch.setattr(sys, "stdout", output)
        assert main([*command, "-o", str(finished), "--methods", "none", "--students", NETWORK]) == 0
    assert "| hlfd | mobilenetv2-unet |" in (tmp_path / "told.txt").read_text()


def test_rows_without_the_student_alone_are_told_unless_it_is_there(finished, tmp_path, capsys):
    _tell_of_missing_none(SimpleNamespace(methods=["hlfd"], output=tmp_path))
    assert "there will be no differences to it" in capsys.readouterr().out
    _tell_of_missing_none(SimpleNamespace(methods=["hlfd"], output=finished))
    _tell_of_missing_none(SimpleNamespace(methods=["none"], output=tmp_path))
    assert capsys.readouterr().out == ""


def test_epochs_of_a_teacher_that_is_given_are_refused(command, finished, tmp_path, capsys):
    unused = ["--teacher-weights", str(finished), "--teacher-epochs", "3"]
    assert main([*command, "-o", str(tmp_path / "new"), "--methods", "none", *unused]) == 1
    assert "--teacher-epochs would not be used" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (["--methods", "none,magic"], "no distillation method 'magic'"),
        (["--methods", "none,hlfd,hlfd:corrected"], "is there twice"),
        (["--methods", "none", "--device", "cuda:99"], "no device 'cuda:99'"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_a_case_is_read(command, tmp_path, capsys, monkeypatch, wrong, told):
    def read(*_arguments, **_options):
        pytest.fail("a case was read")

    monkeypatch.setattr("HLFDTrainingLib.annotations.checked_cases.check_usable", read)
    assert main([*command, "-o", str(tmp_path / "new"), *wrong]) == 1
    assert told in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_comparison_goes_on_while_its_network_disk_does_not_answer(tmp_path, monkeypatch):
    folder = ComparisonFolder(tmp_path)
    course = _Course(folder, [], print, lambda: False)
    folder.stop_file.touch()
    with monkeypatch.context() as away:
        take_away(away, folder.path)
        assert not course._stopping()
    assert course._stopping()


def test_processes_that_were_lost_here_are_told_without_a_scheduler(tmp_path, monkeypatch):
    monkeypatch.setattr("HLFDTrainingLib.compare.comparison.cluster", lambda *_: nullcontext())
    monkeypatch.setattr("HLFDTrainingLib.compare.comparison.run_jobs", lambda *_, no_workers, **__: no_workers())
    told = []
    _Course(ComparisonFolder(tmp_path), [], told.append, lambda: False).run(None, 1, 1, "cpu")
    [event] = told
    assert event["event"] == "waiting" and "The processes that train here were lost" in event["message"]


def test_a_job_that_is_asked_for_again_after_it_was_done_is_not_told_again(tmp_path):
    told = []
    course = _Course(ComparisonFolder(tmp_path), [Job("none", print), Job("kd", print)], told.append, lambda: False)
    for what in (
        ("none", "begun"),
        ("none", "done"),
        ("kd", "begun"),
        ("none", "begun"),
        ("kd", "begun"),
        ("none", "done"),
    ):
        course._tell(*what, 1.0)
    course._tell("kd", "done", 2.0)
    assert [(event["job"], event["state"], event["done"]) for event in told] == [
        ("none", "begun", 0),
        ("none", "done", 1),
        ("kd", "begun", 1),
        ("kd", "begun again", 1),
        ("kd", "done", 2),
    ]


@pytest.mark.slow
def test_nobody_else_reaches_the_processes_of_a_comparison():
    """Whoever does can run programs there, with the rights of whoever compares."""
    with cluster(None, 1, 1, "cpu") as client:
        assert client.submit(lambda: 1).result() == 1
        address = client.scheduler.address
        with pytest.raises(OSError):
            Client(address, security=Security.temporary(), timeout=3)
        with pytest.raises(OSError):
            Client(address.replace("tls://", "tcp://"), timeout=3)


@pytest.mark.slow
def test_interrupted_command_goes_on_when_it_is_repeated(command, tmp_path, finished):
    folder = tmp_path / "interrupted"
    line = [sys.executable, "-m", "HLFDTrainingLib.cli", *command, "-o", str(folder), "--methods", "none,hlfd"]
    line += ["--workers", "1"]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True, start_new_session=True)
    while not epochs(folder, NONE) and process.poll() is None:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does: to all processes of the terminal
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    assert "Repeat the command to go on" in output
    repeated = subprocess.run(line, capture_output=True, text=True, timeout=300)
    assert repeated.returncode == 0, repeated.stderr
    assert [figures(folder, row) for row in ROWS] == [figures(finished, row) for row in ROWS]
