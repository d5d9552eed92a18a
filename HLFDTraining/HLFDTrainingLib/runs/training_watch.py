"""The process that starts a trainer, outlives Slicer with it, keeps its log, and writes down how it ended.

`training_process.TrainingProcess` starts it: `python -m HLFDTrainingLib.runs.training_watch ORDERS`, with its `Orders`
as JSON. It loads nothing but the standard library. Without it nobody would be there to see that the system ended the
trainer for lack of memory.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

from HLFDSegmentationLib.child_process.process_tree import end_tree, own_group
from HLFDSegmentationLib.errors import HLFDError, OutputError, TrainingError
from HLFDSegmentationLib.output.safe_files import unlink_waiting, write_json, write_text

from .process_files import ProcessFiles, there
from .run_events import event_of
from .run_lock import TOKEN_VARIABLE, RunLock, remove_leftovers
from .stop_signal import ending_signals

LOG_BYTES = 1_000_000
LONGEST_LINE = 64_000
SECONDS_BETWEEN_LOOKS = 0.2
SECONDS_GONE = 10.0
"""After which a run that is not seen any more counts as moved; a network drive may be away for a moment."""

SECONDS_AWAY = 1800.0
"""The same where what it lies in is not seen either: its disk is away, and a trainer needs it after an epoch alone."""

SECONDS_BETWEEN_STEPS = 0.5


@dataclass(frozen=True)
class Orders:
    """What a watch is to do.

    Attributes:
        token: of the run's lock.
        run: the run folder.
        command: starts the trainer. Its interpreter is also the watch's.
        terminate_after: seconds from a request to stop until the trainer is sent SIGTERM.
        kill_after: seconds from a request to stop until the trainer is killed.
    """

    token: str
    run: str
    command: tuple[str, ...]
    terminate_after: float
    kill_after: float

    def to_argument(self) -> str:
        """The orders as one argument of a command."""
        return json.dumps(asdict(self))

    @classmethod
    def from_argument(cls, text: str) -> Orders:
        """The orders that `to_argument` gave."""
        data = json.loads(text)
        return cls(**{**data, "command": tuple(data["command"])})


class Log:
    """Keeps what the trainer prints: single steps in a file that holds the last one, all else in a log of bounded size.

    Attributes:
        error: the sentence of the last error that the trainer told.
        last: the last line.
    """

    def __init__(self, files: ProcessFiles) -> None:
        self.files = files
        self.error: str | None = None
        self.last = ""
        self._next_step = 0.0

    def follow(self, output: BinaryIO) -> None:
        """Reads to the end of the output. A disk that is full does not end it: the trainer must be able to print."""
        while line := output.readline(LONGEST_LINE):
            text = line.decode("utf-8", errors="replace").strip()
            with suppress(OSError, OutputError):
                self._take(text)

    def _take(self, text: str) -> None:
        event = event_of(text)
        if event.get("event") == "step":
            self._keep_step(text)
            return
        if event.get("event") == "error":
            self.error = str(event.get("message"))
        elif text.startswith("hlfd: "):
            self.error = text.removeprefix("hlfd: ")
        if not event:  # which tells nothing of an end
            self.last = text or self.last
        if self.files.log.is_file() and self.files.log.stat().st_size > LOG_BYTES:
            # Not renamed: Windows refuses that while the log is this process's own output.
            shutil.copyfile(self.files.log, self.files.old_log)
            os.truncate(self.files.log, 0)
        with open(self.files.log, "a", encoding="utf-8") as log:
            log.write(text + "\n")

    def _keep_step(self, text: str) -> None:
        # Where the run was moved, no folder is made anew at its old place.
        if time.monotonic() < self._next_step or not there(self.files.folder):
            return
        self._next_step = time.monotonic() + SECONDS_BETWEEN_STEPS
        write_text(self.files.step, text)


class Watch:
    """Runs a trainer to its end.

    Args:
        orders: what to run, and where.
    """

    def __init__(self, orders: Orders) -> None:
        self.orders = orders
        self.files = ProcessFiles(orders.run)
        self.lock = RunLock(orders.run)
        self.log = Log(self.files)
        self.stop_asked_at: float | None = None
        self._seen = there(self.files.plan)
        self._missed_at: float | None = None
        self.moved = False

    def run(self) -> None:
        """Starts the trainer, waits for its end, and writes it down."""
        if not self.lock.hand_to_this_process(self.orders.token):
            return
        for number in ending_signals():
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._ask_to_stop)
        end: dict[str, Any] = {"status": None}
        try:
            remove_leftovers(self.files.run)
            end = self._train()
        except HLFDError as error:
            end["message"] = str(error)
        except OSError as error:
            end["message"] = f"Training was ended, as it could not be watched any more: {error}. Continue it."
        # At the old place of a run that was moved, nothing is made anew.
        if self.moved or not there(self.files.folder):
            return
        with suppress(HLFDError):
            write_json(self.files.end, {**end, "stop_asked": self.stop_asked_at is not None})
        with suppress(OSError):
            unlink_waiting(self.files.stop)
        with suppress(HLFDError):
            self.lock.release(self.orders.token)

    def _train(self) -> dict[str, Any]:
        trainer = self._started_trainer()
        reader = threading.Thread(target=self.log.follow, args=(trainer.stdout,), daemon=True)
        reader.start()
        try:
            self.lock.add(self.orders.token, trainer.pid)
            self._wait(trainer)
        finally:
            # What the trainer has started must not go on unseen.
            end_tree(trainer.pid)
        reader.join(timeout=5)
        return {"status": trainer.wait(), "message": self.log.error, "last_line": self.log.last}

    def _started_trainer(self) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                # Not PythonSlicer, which only starts Python: a signal would end it and not reach Python, and by its
                # exit code nobody could tell what ended Python.
                [sys.executable, *self.orders.command[1:]],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**os.environ, TOKEN_VARIABLE: self.orders.token},
                **own_group(),
            )
        except OSError as error:
            raise TrainingError(
                f"The trainer could not be started: {error}. Install the packages for training again."
            ) from error

    def _wait(self, trainer: subprocess.Popen[bytes]) -> None:
        terminated = False
        while True:
            with suppress(subprocess.TimeoutExpired):
                trainer.wait(timeout=SECONDS_BETWEEN_LOOKS)
                return
            if self.stop_asked_at is None and there(self.files.stop):
                self._ask_to_stop()
            waited = 0.0 if self.stop_asked_at is None else time.monotonic() - self.stop_asked_at
            # A second SIGTERM would end the trainer without a checkpoint.
            if waited > self.orders.terminate_after and not terminated:
                terminated = True
                _terminate(trainer)
            self._look_for_run()
            if waited > self.orders.kill_after or self.moved:
                end_tree(trainer.pid)

    def _look_for_run(self) -> None:
        """Sees whether the run was moved or deleted: what is written from then on would be found by nobody."""
        if there(self.files.plan):
            self._seen, self._missed_at = True, None
        elif self._seen and self._missed_at is None:
            # Not when it was seen last: a look at a drive that is away may take a minute, and a computer may sleep.
            self._missed_at = time.monotonic()
        seconds = SECONDS_GONE if there(self.files.run.parent) else SECONDS_AWAY
        self.moved = self._missed_at is not None and time.monotonic() - self._missed_at > seconds

    def _ask_to_stop(self, *_signal: object) -> None:
        if self.stop_asked_at is None:  # A signal that comes again must not put off the end.
            self.stop_asked_at = time.monotonic()
        with suppress(OSError):
            self.files.stop.touch()


def _terminate(trainer: subprocess.Popen[bytes]) -> None:
    if sys.platform == "win32":
        return  # there, it would be killed, and the stop file has asked it already
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(trainer.pid, signal.SIGTERM)


if __name__ == "__main__":
    Watch(Orders.from_argument(sys.argv[1])).run()
