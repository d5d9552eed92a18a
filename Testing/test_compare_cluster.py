"""A comparison on the workers of a dask scheduler, in processes of their own, as on several computers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

import pytest
from comparison_runs import KillsWorkerOnce, epochs, figures
from generated_cases import TASK, write_cases
from HLFDSegmentationLib.errors import InputError, TrainingError
from HLFDTrainingLib.cases import find_cases
from HLFDTrainingLib.compare.comparison import compare
from HLFDTrainingLib.compare.engine import Job, cluster, run_jobs
from HLFDTrainingLib.compare.folder import ComparisonFolder
from HLFDTrainingLib.compare.jobs import Jobs
from HLFDTrainingLib.compare.rows import Row
from HLFDTrainingLib.plan import TrainingPlan
from HLFDTrainingLib.split import split_by_patient

pytestmark = pytest.mark.slow

NETWORK = "mobilenetv2-unet"
NONE = Row("none", NETWORK, 0)
PLAN = TrainingPlan(task=TASK, teacher=NETWORK, student_epochs=15, batch=4, device="cpu", augmentation="orientations")
DASK = (sys.executable, "-m", "dask")
WORKER = ("worker", "--nthreads", "1", "--memory-limit", "0", "--no-nanny", "--no-dashboard")


@contextmanager
def started(*line: str) -> Iterator[subprocess.Popen]:
    process = subprocess.Popen([*DASK, *line], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def scheduler(tmp_path):
    """The process of a scheduler and its address."""
    told = tmp_path / "scheduler.json"
    with started(
        "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(told)
    ) as one:
        address = None
        while not address:
            assert one.poll() is None
            time.sleep(0.1)
            with suppress(FileNotFoundError, json.JSONDecodeError):  # It is not written at once.
                address = json.loads(told.read_text())["address"]
        yield one, address


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    cases = find_cases(write_cases(tmp_path_factory.mktemp("cases"), 4, slices=3), TASK)
    split = split_by_patient(cases, fractions=(0.5, 0.25, 0.25))

    def compare_at(folder: Path, address: str | None, report=lambda event: None, **options) -> None:
        compare(folder, PLAN, cases, split, [NONE], scheduler=address, report=report, **options)

    return compare_at


def test_row_of_a_lost_computer_is_done_again_on_another_with_the_same_result(run, scheduler, tmp_path):
    _, address = scheduler
    states, kill_once = [], KillsWorkerOnce(tmp_path / "lost", NONE)

    def report(event: dict) -> None:
        if event["event"] == "job":
            states.append(event["state"])

    with started(*WORKER, address) as one, started(*WORKER, address) as other:
        run(tmp_path / "lost", address, report, stop_requested=kill_once)
        assert kill_once.killed in (one.pid, other.pid)
    assert states == ["begun", "begun again", "done"]
    run(tmp_path / "undisturbed", None, workers=1)
    assert figures(tmp_path / "lost", NONE) == figures(tmp_path / "undisturbed", NONE)


def test_a_job_that_always_loses_its_process_takes_no_other_one_with_it():
    told = []
    jobs = [Job("lost", os._exit, (1,)), Job("other", float, (7,))]
    with cluster(None, 1, 1, "cpu") as client:
        run_jobs(
            client,
            jobs,
            "token",
            tell=lambda *what: told.append(what),
            stopping=lambda: False,
            no_workers=lambda: None,
        )
    (_, failed, error), (_, done, result) = sorted(told)
    assert (failed, done, result) == ("failed", "done", 7) and "lost four times" in str(error)


HOLD = """
import sys, time
from HLFDTrainingLib.runs.run_lock import training_in
with training_in(sys.argv[1]):
    print("ready", flush=True)
    time.sleep(float(sys.argv[2]))
"""


@pytest.mark.parametrize(("held", "waited"), [(2, 60), (60, 0.5)])
def test_a_row_waits_for_the_worker_of_a_comparison_that_was_killed(held, waited, tmp_path, monkeypatch):
    """It ends at its next step; what holds the run for longer is another training."""
    monkeypatch.setattr("HLFDTrainingLib.compare.jobs.FORMER_SECONDS", waited)
    monkeypatch.setattr("HLFDTrainingLib.compare.jobs.LOOK_SECONDS", 0.1)
    folder = ComparisonFolder(tmp_path)
    row, jobs = folder.row(NONE), Jobs(folder.path, folder.token(), threads=1)
    row.path.mkdir(parents=True)
    folder.figures_file(row).write_text(json.dumps({**asdict(NONE), "cases": [], "focus": []}))
    with subprocess.Popen([sys.executable, "-c", HOLD, str(row.path), str(held)], stdout=subprocess.PIPE) as former:
        assert former.stdout.readline() == b"ready\n"
        if held < waited:
            assert jobs.row(NONE) == 0 and former.wait() == 0
        else:
            with pytest.raises(TrainingError, match="going on already"):
                jobs.row(NONE)
            former.kill()


def test_scheduler_without_workers_is_told_and_the_first_worker_begins(run, scheduler, tmp_path, monkeypatch):
    monkeypatch.setattr("HLFDTrainingLib.compare.engine.LOOK_FOR_WORKERS_SECONDS", 0.5)
    _, address = scheduler
    workers, events = [], []

    def report(event: dict) -> None:
        events.append(event)
        if event["event"] == "waiting":
            workers.append(subprocess.Popen([*DASK, *WORKER, address], stderr=subprocess.DEVNULL))

    try:
        run(tmp_path / "waiting", address, report)
    finally:
        for worker in workers:
            worker.kill()
    [waiting] = [event for event in events if event["event"] == "waiting"]
    assert f"dask worker --nthreads 1 --memory-limit 0 {address}" in waiting["message"]
    assert events[-1]["event"] == "compared"


def test_lost_scheduler_is_told_and_what_is_done_is_kept(run, scheduler, tmp_path):
    process, address = scheduler

    def kill() -> bool:
        if epochs(tmp_path / "lost", NONE):
            process.kill()
        return False

    with started(*WORKER, address), pytest.raises(InputError, match="connection to the dask scheduler was lost"):
        run(tmp_path / "lost", address, stop_requested=kill)
    done = epochs(tmp_path / "lost", NONE)
    assert done
    run(tmp_path / "lost", None, workers=1)
    assert (
        epochs(tmp_path / "lost", NONE)[: len(done)] == done
        and epochs(tmp_path / "lost", NONE)[-1] == PLAN.student_epochs
    )
