"""What one process of a comparison does at a time: train the teacher, the head or a row, and measure it."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from HLFDSegmentationLib.networks.network import SegmentationNetwork
from HLFDSegmentationLib.output.safe_files import write_json

from ..learning.stage import Stopped
from ..runs.process_files import there
from ..runs.run_events import all_events
from ..runs.run_folder import RunFolder
from ..runs.run_lock import RunLock, training_in
from ..runs.software import software_versions
from .engine import TOPIC
from .folder import ComparisonFolder
from .measuring import measure_network
from .rows import Row
from .shared_runs import HeadRun, RowRun, TeacherRun, teacher_network

TEACHER, HEAD = "teacher", "head"
"""Names of the jobs that are no rows; `TEACHER` is also the method of the teacher's figures."""

FORMER_SECONDS = 600.0
"""How long a job waits for another process that trains in its run. A step, or segmenting a test case, takes less."""

LOOK_SECONDS = 2.0

_ONE_AT_A_TIME = threading.Lock()
"""Random numbers and the number of threads are those of the whole process."""


@dataclass(frozen=True)
class Jobs:
    """The jobs of a comparison, for processes that share its folder.

    Each returns how many seconds its epochs took: without reading and measuring, and with epochs that were trained
    again. It does nothing where it was done before.

    Attributes:
        path: the folder.
        token: of the process that leads the comparison; a job stops when another one leads it, or none.
        threads: of each job, on a CPU.
    """

    path: Path
    token: str
    threads: int

    def teacher(self, *_needed: object) -> float:
        """Trains the teacher and measures it on the test cases."""
        folder = ComparisonFolder(self.path)
        with self._alone(TEACHER, folder, folder.teacher) as stop:
            if not folder.is_measured(folder.teacher):
                TeacherRun(folder.teacher, **self._options(folder, folder.teacher, stop)).run()
                plan = folder.teacher.plan()
                about = {"method": TEACHER, "student": plan.teacher, "seed": plan.seed}
                self._measure(folder, folder.teacher, teacher_network(folder.teacher), about, stop)
        return self._seconds(folder.teacher)

    def head(self, *_needed: object) -> float:
        """Trains the head that reads the teacher's unified layers."""
        folder = ComparisonFolder(self.path)
        with self._alone(HEAD, folder, folder.head) as stop:
            HeadRun(folder.head, **self._options(folder, folder.head, stop)).run()
            _forget_given(folder.head)
        return self._seconds(folder.head)

    def row(self, row: Row, *_needed: object) -> float:
        """Trains a row's student and measures it on the test cases."""
        folder = ComparisonFolder(self.path)
        run = folder.row(row)
        with self._alone(row.name, folder, run) as stop:
            if not folder.is_measured(run):
                RowRun(run, head=folder.head, **self._options(folder, run, stop)).run()
                _forget_given(run)
                self._measure(folder, run, run.network("student"), asdict(row), stop)
        return self._seconds(run)

    @contextmanager
    def _alone(self, name: str, folder: ComparisonFolder, run: RunFolder) -> Iterator[Callable[[], bool]]:
        """Yields a function that tells whether the job has to stop, which it has to before it begins, too."""

        def stop() -> bool:
            return there(folder.stop_file) or folder.token() != self.token

        with _ONE_AT_A_TIME:
            if stop():
                raise Stopped
            _tell_begun(name)
            torch.set_num_threads(self.threads)
            # Of a worker that was lost: only this comparison gives out its runs, and each to one worker.
            RunLock(run.path).break_elsewhere()
            _wait_for_former(run, stop)
            with training_in(run.path):
                yield stop

    def _options(self, folder: ComparisonFolder, run: RunFolder, stop: Callable[[], bool]) -> dict[str, Any]:
        return {
            "report": run.logging(lambda event: None),
            "stop_requested": stop,
            "slices": folder.slices,
            "constants": folder.constants,
        }

    def _measure(
        self,
        folder: ComparisonFolder,
        run: RunFolder,
        network: SegmentationNetwork,
        about: dict[str, Any],
        stop: Callable[[], bool],
    ) -> None:
        def before_each() -> None:
            if stop():
                raise Stopped

        plan = run.plan()
        test = run.split(plan).test
        folder.check_files(test)
        name = plan.teacher if about["method"] == TEACHER else plan.student
        chosen = folder.focus_slices() or {}
        started = time.monotonic()
        figures = measure_network(network, name, plan.task, test, chosen, device=plan.device, before_each=before_each)
        seconds = round(time.monotonic() - started, 1)
        measured = {**about, "measuring_seconds": seconds, "software": software_versions(), **figures}
        write_json(folder.figures_file(run), measured)

    def _seconds(self, run: RunFolder) -> float:
        return sum(event["seconds"] for event in all_events(run.events) if event["event"] == "epoch")


def _wait_for_former(run: RunFolder, stop: Callable[[], bool]) -> None:
    """Waits for a worker whose comparison was killed, which ends by itself at its next step. Raises Stopped."""
    end = time.monotonic() + FORMER_SECONDS
    while (holder := RunLock(run.path).holder()) and holder.alive and time.monotonic() < end:
        time.sleep(LOOK_SECONDS)
        if stop():
            raise Stopped


def _forget_given(run: RunFolder) -> None:
    """Removes the run's copy of the teacher, which lies in the comparison's folder."""
    shutil.rmtree(run.path / "given", ignore_errors=True)


def _tell_begun(name: str) -> None:
    """Tells the process that leads the comparison, where there is one, which job begins here."""
    from distributed import get_worker

    try:
        get_worker().log_event(TOPIC, {"job": name})
    except ValueError:  # no worker: called directly
        return
