"""A comparison from beginning to end: check, train, measure, tell."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from HLFDSegmentationLib.devices import choose_device
from HLFDSegmentationLib.errors import HLFDError, InputError, TrainingError
from HLFDSegmentationLib.model_store import is_installed
from HLFDSegmentationLib.output.safe_files import unlink_waiting

from ..cases import Case
from ..distillers import needs_teacher, needs_unified_head
from ..learning.stage import Stopped
from ..plan import TrainingPlan
from ..runs.earlier_runs import run_of_weights
from ..runs.given_weights import check_patients, find_weights, warn_of_unfinished
from ..runs.process_files import there
from ..runs.run_events import Report
from ..runs.run_lock import training_in
from ..split import Split
from .costs import measure_costs
from .engine import Job, check_installed, cluster, run_jobs, sentence_of
from .focus import choose_focus_slices
from .folder import ComparisonFolder, check_test_part
from .jobs import HEAD, TEACHER, Jobs
from .rows import Row, check_rows, read_method
from .tables import write_tables

WITH_TEACHER, WITH_HEAD = "kd", "hlfd"
"""Methods that stand for any with a teacher, and for any with a head, which is trained alike for all of them."""

WAITING = (
    "No worker is at {scheduler}; waiting for one. Start it on any computer that sees the same disk: "
    "dask worker --nthreads 1 --memory-limit 0 {scheduler}"
)
LOST = (
    "The processes that train here were lost; waiting for new ones. Where none comes, stop and repeat the command: "
    "what is finished is kept."
)


def check_comparison(
    folder: Path, plan: TrainingPlan, split: Split, rows: Sequence[Row], scheduler: str | None
) -> None:
    """Refuses in seconds what `compare` could not do: its cases are read for minutes.

    Raises:
        InputError, TrainingError: as `compare` does.
        PackageError: the given teacher is of a package that cannot be read.
        OutputError: the folder holds other things.
    """
    check_installed(scheduler)
    check_rows(rows, plan)
    if scheduler is None:
        choose_device(plan.device)
    check_test_part(split)
    files = ComparisonFolder(folder)
    if plan.teacher_weights and not files.teacher.given("teacher").is_file():
        find_weights(plan.teacher_weights, "teacher", plan)
        check_patients(Path(plan.teacher_weights), "teacher", split)
    files.check_unused()
    measured_anew = {files.row(row).path for row in rows}
    if any(needs_teacher(*read_method(row.method)) for row in rows):
        measured_anew.add(files.teacher.path)
    for run in files.measured_runs():
        if run.path not in measured_anew:
            files.figures(run)


def compare(
    folder: Path,
    plan: TrainingPlan,
    cases: Sequence[Case],
    split: Split,
    rows: Sequence[Row],
    *,
    scheduler: str | None = None,
    workers: int | None = None,
    threads: int = 1,
    report: Report = lambda event: None,
    stop_requested: Callable[[], bool] = lambda: False,
) -> None:
    """Trains the teacher once and the student of every row, measures all on the test cases, and writes the tables.

    What was finished before stays; what was stopped, or lost with its worker, goes on from its checkpoint. Called with
    more rows later, it adds them: the tables are of all finished rows in the folder, also when it was stopped or a row
    failed.

    Args:
        folder: new, or of a comparison that was begun with the same plan, cases and split.
        plan: what all rows share; its seed is the teacher's. Each row has a method, student and seed of its own.
        cases: all that the split divides.
        split: the same for all rows.
        rows: see `rows.rows_of`.
        scheduler, workers, threads: see `engine.cluster`.
        report: receives the events of docs/compare.md.
        stop_requested: asked several times a second; when true, every row stops with a checkpoint.

    Raises:
        InputError: this computer has no such device, packages are missing, see `engine.check_installed`, or what was
            measured before cannot be read now.
        TrainingError: the rows or the plan cannot be used, the given teacher has learned from a test patient, what was
            measured of other rows is damaged, or rows failed; the others are finished then.
        CasesError: a case cannot be used.
        Stopped: stopping was asked for.
    """
    check_comparison(folder, plan, split, rows, scheduler)
    files = ComparisonFolder(folder)
    if plan.teacher_weights and not files.begun:
        warn_of_unfinished(Path(plan.teacher_weights), "teacher")
    with training_in(files.path):
        files.begin(plan, cases, split)
        if files.focus_slices() is None:
            files.keep_focus_slices(choose_focus_slices(split.test, plan.task))
        jobs = _jobs(files, _for_workers(plan), cases, split, rows, threads)
        report({"event": "comparison", "rows": len(rows), "to_do": [job.name for job in jobs]})
        if jobs:
            try:
                _Course(files, jobs, report, stop_requested).run(scheduler, workers, threads, plan.device)
            except (HLFDError, Stopped):
                # Those of before stay while damaged figures are still to be measured anew.
                with suppress(InputError, TrainingError):
                    write_tables([files.path], files.path)
                raise
        measure_costs(files, threads)
        write_tables([files.path], files.path)
        report({"event": "compared", "table": str(files.path / "table.md"), "report": str(files.path / "report.html")})


def _for_workers(plan: TrainingPlan) -> TrainingPlan:
    """The plan with the whole path of the teacher's weights: workers may have been started in another folder.

    What is stored is as it was typed, so that all may be moved. The name of an installed model stays a name.
    """
    source = plan.teacher_weights
    if not source or not Path(source).exists() or (is_installed(source) and run_of_weights(source) is None):
        return plan
    return replace(plan, teacher_weights=os.path.abspath(source))


def _jobs(
    files: ComparisonFolder,
    plan: TrainingPlan,
    cases: Sequence[Case],
    split: Split,
    rows: Sequence[Row],
    threads: int,
) -> list[Job]:
    """What is still to be done, with the runs' folders begun."""
    from_teacher = replace(plan, teacher_weights=str(files.teacher.path))
    work = Jobs(files.path, files.token(), threads)
    taught, with_head = (
        {row for row in rows if needs(*read_method(row.method))} for needs in (needs_teacher, needs_unified_head)
    )
    jobs = []
    if taught and not files.is_measured(files.teacher):
        files.start_run(files.teacher, replace(plan, method=WITH_TEACHER, method_options={}), cases, split)
        jobs.append(Job(TEACHER, work.teacher))
    if with_head and not files.head.finished:
        files.start_run(files.head, replace(from_teacher, method=WITH_HEAD, method_options={}), cases, split)
        jobs.append(Job(HEAD, work.head, needs=(TEACHER,)))
    for row in rows:
        run = files.row(row)
        files.start_run(run, row.plan(from_teacher), cases, split)
        if not files.is_measured(run):
            needs = (TEACHER,) * (row in taught) + (HEAD,) * (row in with_head)
            jobs.append(Job(row.name, work.row, (row,), needs))
    return jobs


class _Course:
    """How the jobs get on."""

    def __init__(
        self, files: ComparisonFolder, jobs: Sequence[Job], report: Report, stop_requested: Callable[[], bool]
    ) -> None:
        self.files = files
        self.jobs = jobs
        self.report = report
        self.stop_requested = stop_requested
        self.done: set[str] = set()
        self._needs = {job.name: job.needs for job in jobs}
        self.begun: set[str] = set()
        self.failed: dict[str, BaseException] = {}
        self.stopped: list[str] = []

    def run(self, scheduler: str | None, workers: int | None, threads: int, device: str) -> None:
        """Returns when every job is done; raises as `compare` does."""

        def no_workers() -> None:
            self.report({"event": "waiting", "message": WAITING.format(scheduler=scheduler) if scheduler else LOST})

        with cluster(scheduler, workers, threads, device) as client:
            run_jobs(
                client,
                self.jobs,
                self.files.token(),
                tell=self._tell,
                stopping=self._stopping,
                no_workers=no_workers,
            )
        if there(self.files.stop_file):
            unlink_waiting(self.files.stop_file)
            raise Stopped
        if self.failed:
            name, error = next(iter(self.failed.items()))
            raise TrainingError(
                f"{len(self.failed)} of {len(self.jobs)} jobs failed, first {name}: {sentence_of(error)} "
                "What is finished is kept; repeat the command to go on."
            ) from error
        if self.stopped:
            raise TrainingError(
                f"{', '.join(self.stopped)}: the worker does not see that a comparison runs in {self.files.path}, and "
                "has not begun. CASES and DIR must lie on a disk that all computers see under the same path. What is "
                "finished is kept; repeat the command to go on."
            )

    def _stopping(self) -> bool:
        if self.stop_requested():
            self.files.stop_file.touch()
        return there(self.files.stop_file)

    def _tell(self, name: str, what: str, result: Any) -> None:
        if name in self.done:
            return  # Asked for again, as its answer was lost with a worker: nothing is left to do, and all was told.
        if what == "begun":
            state = "begun again" if name in self.begun else "begun"
            self.begun.add(name)
            self._report(name, state)
        elif what == "done":
            self.done.add(name)
            self._report(name, "done", seconds=round(result, 1))
        elif isinstance(result, Stopped):
            self.stopped.append(name)
            self._report(name, "stopped")
        else:
            missing = next((need for need in self._needs[name] if need in self.failed), None)
            error = TrainingError(f"It needs the {missing}, which failed.") if missing else result
            self.failed[name] = error
            self._report(name, "failed", message=sentence_of(error))

    def _report(self, name: str, state: str, **more: Any) -> None:
        self.report({"event": "job", "job": name, "state": state, "done": len(self.done), "of": len(self.jobs), **more})
