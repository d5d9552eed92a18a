"""The child process that does the heavy work for Slicer: `python -m HLFDSegmentationLib.worker`.

It reads requests from its standard input and tells events on its standard output, one JSON object a line
(docs/worker.md). A thread listens all the time, so that a job can be cancelled while it runs, and so that the process
ends as soon as its input is closed, which the system does when Slicer dies.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
import threading
import time
import traceback
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from .child_process.busy_processor import wait_asleep
from .child_process.process_tree import end_tree, lead_own_group
from .child_process.worker_forecast import Forecast
from .child_process.worker_protocol import (
    OTHER_VERSION,
    Cancelled,
    CancelRequest,
    Event,
    Failed,
    FailureKind,
    Finished,
    Progress,
    ProtocolError,
    Ready,
    ReportRequest,
    Request,
    SegmentRequest,
    event_line,
    parse_request,
)
from .errors import HLFDError, InputError, MemoryShortError, NotHUError, OutputError, PackageError
from .output.private_folder import is_abandoned, remove_tree
from .phases import EXPLAINING, LOADING, MEASURING, SEGMENTING, STARTING, WRITING
from .torch_loading import MissingError, explaining_torch

if TYPE_CHECKING:
    from .child_process.worker_jobs import Jobs

PROGRESS_SECONDS = 0.1
"""Progress within a phase is not told more often."""

ABANDONED_SECONDS = 1.0
"""How long it may take until the lock of a parent that has died is free."""

OUT_OF_MEMORY = (
    "The memory does not suffice for this CT. Close other programs, segment fewer slices of it (in 3D Slicer, a low "
    "Region under Advanced), or use a computer with more memory."
)


class JobStoppedError(Exception):
    """The job that is being done is no longer wanted."""


class Worker:
    """Takes requests and does one after the other.

    Args:
        requests: lines that ask for something.
        events: takes the lines that tell something.
        folder: the parent's private folder, which is removed when the parent dies.
    """

    def __init__(self, requests: BinaryIO, events: BinaryIO, folder: Path | None) -> None:
        self._requests = requests
        self._events = events
        self._folder = folder
        self._telling = threading.Lock()
        self._changed = threading.Condition()
        self._waiting: deque[tuple[int, Request]] = deque()
        self._current: int | None = None
        self._stop_current = False
        self._forecast = Forecast()
        self._jobs: Jobs | None = None
        self._spoiled = False

    def run(self, idle_seconds: float) -> None:
        """Works until there has been nothing to do for so long, or the graphics card has failed."""
        self._tell(Ready(os.getpid()))
        threading.Thread(target=self._listen, daemon=True).start()
        try:
            self._load_library()
        except MissingError as error:
            # Told when it is needed; until then it may have been installed.
            _log(error)
        while not self._spoiled and (job := self._next(idle_seconds)):
            event = self._do(*job)
            with self._changed:
                self._current = None
                self._tell(event)
            self._rest()

    def _rest(self) -> None:
        """Leaves memory to others. After a job's end: what a failed one had made goes with its error."""
        if self._jobs is None or self._spoiled:
            return
        try:
            self._jobs.rest()
        except Exception as error:  # of a graphics card that was lost since, as while the computer slept
            _log(error)
            self._spoiled = True

    # The thread that listens

    def _listen(self) -> None:
        for line in self._requests:
            try:
                number, request = parse_request(line)
            except ProtocolError as error:
                print(error, file=sys.stderr, flush=True)
                self._tell(Failed(error.job or 0, "input", str(error) if error.job is None else OTHER_VERSION))
            else:
                self._take(number, request)
        self._parent_gone()

    def _take(self, number: int, request: Request) -> None:
        with self._changed:
            if not isinstance(request, CancelRequest):
                self._waiting.append((number, request))
                self._tell(Progress(number, STARTING, 0.0, None))
                self._changed.notify()
            elif number == self._current:
                self._stop_current = True
            elif any(number == waiting for waiting, _ in self._waiting):
                self._waiting = deque(job for job in self._waiting if job[0] != number)
                self._tell(Cancelled(number))

    def _parent_gone(self) -> None:
        """Ends this process and its children at once, whatever they are doing."""
        end = time.monotonic() + ABANDONED_SECONDS
        with suppress(OSError):
            while self._folder and self._folder.exists() and time.monotonic() < end:
                if is_abandoned(self._folder):
                    remove_tree(self._folder)
                time.sleep(0.01)
        end_tree(os.getpid())
        os._exit(0)

    # The thread that works

    def _next(self, idle_seconds: float) -> tuple[int, Request] | None:
        with self._changed:
            if not self._changed.wait_for(lambda: self._waiting, idle_seconds):
                return None
            number, request = self._waiting.popleft()
            self._current, self._stop_current = number, False
            return number, request

    def _do(self, number: int, request: Request) -> Event:
        self._forecast.begin(_phases(request))
        self._told_at, self._told_phase = 0.0, STARTING
        try:
            answer = self._load_library().do(request, lambda phase, share: self._progress(number, phase, share))
        except JobStoppedError:
            return Cancelled(number)
        except Exception as error:
            return self._failed(number, error)
        self._forecast.end()
        return Finished(number, answer)

    def _progress(self, number: int, phase: str, share: float) -> None:
        if self._stop_current:
            raise JobStoppedError
        fraction, seconds_left = self._forecast.update(phase, share)
        now = time.monotonic()
        if phase != self._told_phase or now - self._told_at > PROGRESS_SECONDS:
            self._told_at, self._told_phase = now, phase
            self._tell(Progress(number, phase, fraction, seconds_left))

    def _load_library(self) -> Jobs:
        """The jobs, with all that takes seconds to import."""
        if self._jobs is None:
            try:
                with explaining_torch():
                    from .child_process.worker_jobs import Jobs
            except (ImportError, OSError) as error:
                raise MissingError(
                    f"What the segmentation needs is not installed completely: {error}. Install it and try again."
                ) from error
            self._jobs = Jobs()
        return self._jobs

    def _failed(self, number: int, error: Exception) -> Failed:
        _log(error)
        if _is_out_of_memory(error):
            return Failed(number, "memory", OUT_OF_MEMORY)
        if isinstance(error, HLFDError):
            return Failed(number, _kind(error), str(error))
        if _is_card_fault(error):
            # The next job gets a new process.
            self._spoiled = True
            return Failed(
                number,
                "unexpected",
                f"The graphics card failed ({type(error).__name__}). Try again; if it fails once more, choose CPU "
                "as the device, or install a PyTorch that fits the card. Nothing in the scene was changed.",
            )
        return Failed(
            number,
            "unexpected",
            f"Something unexpected happened ({type(error).__name__}). The log tells more (in 3D Slicer, View > Error "
            "Log). Nothing in the scene was changed.",
        )

    def _tell(self, event: Event | Ready) -> None:
        try:
            with self._telling:
                self._events.write(event_line(event))
                self._events.flush()
        except OSError:
            self._parent_gone()


def _phases(request: Request) -> list[str]:
    match request:
        case SegmentRequest():
            explaining = [EXPLAINING] if request.attention else []
            return [LOADING, SEGMENTING, *explaining, MEASURING, WRITING]
        case ReportRequest():
            return [WRITING]
    return [LOADING]


def _kind(error: HLFDError) -> FailureKind:
    kinds: dict[type[HLFDError], FailureKind] = {
        NotHUError: "not_hu",
        MissingError: "missing",
        PackageError: "model",
        OutputError: "output",
        InputError: "input",
        MemoryShortError: "memory",
    }
    return next((name for kind, name in kinds.items() if isinstance(error, kind)), "unexpected")


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if isinstance(error, HLFDError) or "torch" not in sys.modules:
        return isinstance(error, MemoryError)
    from .devices import is_out_of_memory

    return is_out_of_memory(error)


def _is_card_fault(error: Exception) -> bool:
    if "torch" not in sys.modules:
        return False
    from .devices import is_card_fault

    return is_card_fault(error)


def _log(error: BaseException) -> None:
    """Writes where an error came from, without what could name the user's files."""
    names_files = isinstance(error, OSError) or (isinstance(error, HLFDError) and not isinstance(error, MissingError))
    print(type(error).__name__ if names_files else f"{type(error).__name__}: {error}", file=sys.stderr)
    if not isinstance(error, HLFDError) or _kind(error) == "unexpected":
        print("".join(traceback.format_tb(error.__traceback__)), file=sys.stderr)


def _own_streams() -> tuple[BinaryIO, BinaryIO]:
    """Input and output for the protocol alone: what libraries and children print goes to the log."""
    requests, events = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    return requests, events


def main() -> None:
    """Runs the worker until it is idle for too long or its input is closed."""
    parser = argparse.ArgumentParser(prog="HLFDSegmentationLib.worker", description="The segmentation worker.")
    parser.add_argument("--folder", type=Path, help="private folder of the parent, removed when the parent dies")
    parser.add_argument("--idle-seconds", type=float, required=True, help="end after so long without a request")
    options = parser.parse_args()
    lead_own_group()
    wait_asleep()
    Worker(*_own_streams(), options.folder).run(options.idle_seconds)
    # The thread that listens is still reading: an ordinary end would wait for it.
    os._exit(0)


if __name__ == "__main__":
    main()
