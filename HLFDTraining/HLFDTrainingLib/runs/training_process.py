"""A trainer as a process of its own, which goes on when Slicer is closed and is found again later.

Loads nothing but the standard library, so that a panel can use it before torch is installed.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import HLFDSegmentationLib
from HLFDSegmentationLib.child_process.child_environment import child_environment
from HLFDSegmentationLib.child_process.process_tree import own_group
from HLFDSegmentationLib.errors import OutputError, TrainingError
from HLFDSegmentationLib.output.safe_files import write_json

import HLFDTrainingLib

from .process_files import ProcessFiles, read_object
from .run_events import EventFollower, end_of
from .run_lock import RunLock
from .run_state import RunState, state_of
from .training_watch import Orders

TERMINATE_AFTER = 30.0
KILL_AFTER = 300.0
LOG_SHOWN = 20_000

LIBRARY_FOLDERS = tuple(
    str(Path(path).resolve().parent) for path in (*HLFDTrainingLib.__path__, *HLFDSegmentationLib.__path__)
)
"""Folders that Python finds both libraries in."""


class TrainingProcess:
    """The trainer of a run folder: the one at work there, or the last one.

    Args:
        run_folder: of the run.
    """

    def __init__(self, run_folder: Path | str) -> None:
        self.run_folder = Path(run_folder)
        self._files = ProcessFiles(run_folder)
        self.events = EventFollower(self._files.events)
        """Call it to get the events that were added since the last call (docs/training.md); it never waits."""
        self._child: subprocess.Popen[bytes] | None = None
        self._token = ""

    @classmethod
    def start(
        cls,
        run_folder: Path | str,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        terminate_after: float = TERMINATE_AFTER,
        kill_after: float = KILL_AFTER,
    ) -> TrainingProcess:
        """Starts a trainer and returns at once.

        Args:
            run_folder: of the run; made where it is missing.
            command: an interpreter and its arguments: [PYTHON, "-m", "HLFDTrainingLib.cli", "train", ..., "--json"].
            environment: variables of the process, with ways to find both libraries added. In Slicer, give
                `slicer.util.startupEnvironment()`.
            terminate_after, kill_after: seconds from `stop` until a trainer that does not stop gets SIGTERM, and until
                it is killed.

        Raises:
            TrainingError: a trainer is at work in this folder, or the interpreter cannot be started.
            OutputError: the folder cannot be written.
        """
        process = cls(run_folder)
        run = str(process.run_folder.absolute())
        process._start(Orders("", run, tuple(command), terminate_after, kill_after), environment)
        return process

    @property
    def state(self) -> RunState:
        """Whether it is running, stopped, crashed or finished, and the sentence for the user."""
        self._forget_lost_watch()
        return state_of(self.run_folder)

    @property
    def step(self) -> dict[str, Any] | None:
        """The event of about the last step, which `events` leaves out; none before the first one."""
        return read_object(self._files.step)

    @property
    def log(self) -> str:
        """The end of what the trainer printed, single steps left out."""
        content = end_of(self._files.log, LOG_SHOWN)
        text = content.decode("utf-8", errors="replace")
        return text if len(content) < LOG_SHOWN else text.partition("\n")[2]

    def stop(self) -> None:
        """Asks the trainer to leave a checkpoint and end; returns at once. Works from another computer, too.

        Raises:
            OutputError: the run folder cannot be written.
        """
        if self.state.name != "running":
            return
        try:
            self._files.stop.touch()
        except OSError as error:
            raise OutputError(
                f"{self._files.stop} could not be written ({error.strerror}), so the trainer cannot be asked to stop. "
                "Make that file yourself where you may."
            ) from error

    def _start(self, orders: Orders, environment: Mapping[str, str]) -> None:
        lock = RunLock(self.run_folder)
        self._token = lock.take()
        command = [orders.command[0], "-m", "HLFDTrainingLib.runs.training_watch"]
        try:
            with open(self._files.log, "ab") as log:
                self._child = subprocess.Popen(
                    [*command, replace(orders, token=self._token).to_argument()],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=child_environment(LIBRARY_FOLDERS, environment),
                    **own_group(),
                )
        except OSError as error:
            lock.release(self._token)
            raise TrainingError(
                f"The trainer could not be started with {orders.command[0]}: {error.strerror}. "
                "Check that Python is installed there and that the run folder can be written."
            ) from error

    def _forget_lost_watch(self) -> None:
        """Frees the lock where the process that should have taken it from this one ended before it did."""
        if self._child is None or self._child.poll() is None:
            return
        lock = RunLock(self.run_folder)
        holder = lock.holder()
        if holder is None or holder.token != self._token or holder.processes[0][0] != os.getpid():
            return
        last_line = next(reversed(self.log.strip().splitlines()), None)
        write_json(self._files.end, {"status": self._child.returncode, "last_line": last_line})
        lock.release(self._token)
