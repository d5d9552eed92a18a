"""Slicer's side of the segmentation worker: starts it, asks, listens, cancels, replaces it and ends it.

Nothing here waits: the pipes are served by threads, and `WorkerClient.poll`, called from a timer, gives what they
brought. Standard library only.
"""

from __future__ import annotations

import atexit
import subprocess
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO

from ..errors import OutputError
from ..output.private_folder import PrivateFolder
from .child_environment import MODULE_FOLDER, child_environment
from .process_tree import end_tree, ended_by_system, own_group
from .worker_protocol import (
    OTHER_VERSION,
    Cancelled,
    CancelRequest,
    Event,
    Failed,
    FailureKind,
    Progress,
    ProtocolError,
    Ready,
    Request,
    parse_event,
    request_line,
)

WORKER = "HLFDSegmentationLib.worker"

CANCEL_SECONDS = 0.7
"""How long the worker may take to answer a cancel before it is ended."""

END_SECONDS = 2.0
LOG_LINES = 200
LOG_LINE_LENGTH = 500


def worker_command(python: str) -> list[str]:
    """The command that runs the worker with a Python interpreter, such as Slicer's `PythonSlicer`."""
    return [python, "-m", WORKER]


class WorkerClient:
    """One worker process, which is started when it is needed and serves one job after the other.

    Its methods are for one thread. Only `close` may wait, for as long as the system takes to end a process.

    Args:
        command: what runs the worker, see `worker_command`.
        idle_seconds: the worker ends when it has had nothing to do for so long. The next request starts a new one.
    """

    def __init__(self, command: Sequence[str], idle_seconds: float = 600) -> None:
        self._command = list(command)
        self._idle_seconds = idle_seconds
        self._process: _Process | None = None
        self._folder: PrivateFolder | None = None
        self._log: deque[str] = deque(maxlen=LOG_LINES)
        self._last_job = 0
        self._requests: dict[int, Request] = {}
        self._accepted: set[int] = set()
        self._cancel_deadlines: dict[int, float] = {}
        self._told: list[Event] = []

    @property
    def alive(self) -> bool:
        """There is a worker, or one is being started."""
        return self._process is not None and self._process.alive

    @property
    def running(self) -> bool:
        """A job has been asked for and its end has not been told yet."""
        return bool(self._requests)

    @property
    def log(self) -> str:
        """The last lines that the worker wrote to its log."""
        return "\n".join(list(self._log))

    def private_folder(self) -> Path:
        """A new folder for one job's files, which only this user can read.

        Remove it when the job's files are no longer needed; `close`, the end of this process and, at the latest, the
        next use remove it, too.

        Raises:
            OutputError: the temporary folder cannot be used.
        """
        return self._private().new_folder()

    def submit(self, request: Request) -> int:
        """Asks for a job; it begins when those asked for before it have ended. Gives its number.

        Raises:
            OutputError: the temporary folder cannot be used.
        """
        self._collect()
        process = self._started()
        self._last_job += 1
        self._requests[self._last_job] = request
        process.send(request_line(self._last_job, request))
        return self._last_job

    def cancel(self, job: int) -> None:
        """Stops a job. The only event of it that follows is `Cancelled`, within a second.

        A worker that does not answer is ended and replaced; other jobs that were waiting begin anew.
        """
        if self._process and job in self._requests and job not in self._cancel_deadlines:
            self._process.send(request_line(job, CancelRequest()))
            self._cancel_deadlines[job] = time.monotonic() + CANCEL_SECONDS

    def poll(self) -> list[Event]:
        """What has happened since the last call. Call it every 20 to 50 ms while a job is running."""
        self._collect()
        now = time.monotonic()
        unanswered = [job for job, deadline in self._cancel_deadlines.items() if deadline < now]
        if self._process and unanswered:
            self._process.end()
            self._process = None
            for job in unanswered:
                self._tell(Cancelled(job))
            self._restart()
        told, self._told = self._told, []
        return told

    def close(self) -> None:
        """Ends the worker and all that it started, and removes the private folder. A later request starts anew."""
        atexit.unregister(self.close)
        if self._process:
            self._process.end()
            self._process.wait(END_SECONDS)
        if self._folder:
            self._folder.remove()
        self._process = self._folder = None
        self._requests.clear()
        self._accepted.clear()
        self._cancel_deadlines.clear()
        self._told.clear()

    def _private(self) -> PrivateFolder:
        if self._folder is not None and not self._folder.is_kept():
            self._folder.remove()
            self._folder = PrivateFolder()
        if self._folder is None:
            self._folder = PrivateFolder()
            atexit.register(self.close)
        return self._folder

    def _started(self) -> _Process:
        """The worker, which is started where there is none."""
        if self._process is None:
            options = ["--folder", str(self._private().path), "--idle-seconds", str(self._idle_seconds)]
            self._process = _Process([*self._command, *options], self._log)
        return self._process

    def _restart(self) -> None:
        """A new worker, which is asked anew for all that has not ended. Where there can be none, that has failed."""
        self._accepted.clear()
        try:
            process = self._started()
        except OutputError as error:
            for job in list(self._requests):
                self._tell(Failed(job, "start", str(error)))
            return
        for job, request in self._requests.items():
            process.send(request_line(job, request))
            if job in self._cancel_deadlines:
                process.send(request_line(job, CancelRequest()))

    def _collect(self) -> None:
        while self._process and (event := self._process.next_event()):
            if isinstance(event, _Ended):
                self._worker_ended(event)
            else:
                self._tell(event)

    def _worker_ended(self, ended: _Ended) -> None:
        self._process = None
        if not self._requests:
            return
        first = min(self._requests)  # Jobs run in the order of their numbers.
        if (first in self._accepted and not ended.willingly) or not ended.was_ready:
            self._tell(Failed(first, ended.kind, ended.sentence))
        if self._requests:
            self._restart()

    def _tell(self, event: Event) -> None:
        if event.job not in self._requests:
            return
        self._accepted.add(event.job)
        cancelled = event.job in self._cancel_deadlines
        if not isinstance(event, Progress):
            del self._requests[event.job]
            self._cancel_deadlines.pop(event.job, None)
            self._told.append(Cancelled(event.job) if cancelled else event)
        elif not cancelled:
            self._told.append(event)


class _Ended:
    """How a worker came to its end.

    Attributes:
        was_ready: it took requests before.
        willingly: it had told how its last job ended, and left those that wait to a new worker.
        kind: see `FailureKind`.
        sentence: for the user.
    """

    def __init__(
        self, code: int | None, was_ready: bool, error: OSError | None = None, *, by_system: bool = False
    ) -> None:
        self.was_ready = was_ready
        self.willingly = was_ready and code == 0
        if error is not None:
            self.kind: FailureKind = "start"
            self.sentence = (
                f"The segmentation process cannot be started: {error.strerror or error}. "
                "Restart 3D Slicer; if that does not help, install it again."
            )
        elif code in (-9, 137) or by_system:
            self.kind = "memory"
            self.sentence = (
                "The segmentation process was ended by the system, most likely because the memory did not suffice. "
                "Close other programs, choose a Region under Advanced that meets fewer slices, or use a computer with "
                "more memory."
            )
        elif not was_ready:
            self.kind = "start"
            self.sentence = (
                f"The segmentation process ended while it was starting (code {code}). View > Error Log tells why. "
                "Restart 3D Slicer; if that does not help, install the extension again."
            )
        else:
            self.kind = "died"
            self.sentence = (
                f"The segmentation process ended unexpectedly (code {code}). Try again; if it happens again, choose "
                "a Region or another device under Advanced. View > Error Log tells more."
            )


class _Process:
    """One worker process and the threads that serve its pipes.

    Attributes:
        alive: it has not ended yet, as far as is known.
    """

    def __init__(self, command: list[str], log: deque[str]) -> None:
        self.alive = True
        self._log = log
        self._events: SimpleQueue[Event | _Ended] = SimpleQueue()
        self._lines: SimpleQueue[bytes | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._popen: subprocess.Popen | None = None
        self._worker_pid: int | None = None
        self._unwanted = False
        variables = child_environment([MODULE_FOLDER])
        self._thread = threading.Thread(target=self._run, args=(command, variables), daemon=True)
        self._thread.start()

    def send(self, line: bytes) -> None:
        """Gives the worker a line, as soon as it takes one."""
        self._lines.put(line)

    def next_event(self) -> Event | _Ended | None:
        """The next of its events; none where there is none yet."""
        with suppress(Empty):
            return self._events.get_nowait()
        return None

    def end(self) -> None:
        """Ends it at once with all that it started. What it said and was not read is forgotten."""
        with self._lock:
            self._unwanted = True
            self.alive = False
            self._end_trees()
        self._lines.put(None)

    def wait(self, seconds: float) -> None:
        """Waits until nothing is left of it."""
        self._thread.join(seconds)

    def _end_trees(self) -> None:
        """Ends what is left of it; nothing once it is buried."""
        if self._popen is None:
            return
        # Of one that has ended as it should, another program may have the worker's number by now.
        ended_well = self._popen.poll() == 0
        end_tree(self._popen.pid)
        # A launcher, as Slicer's is, can end without the worker and the worker without the launcher.
        if not ended_well and self._worker_pid not in (None, self._popen.pid):
            end_tree(self._worker_pid)

    def _run(self, command: list[str], environment: dict[str, str]) -> None:
        try:
            popen = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                **own_group(),
            )
        except OSError as error:
            self.alive = False
            self._events.put(_Ended(None, False, error))
            return
        with self._lock:
            self._popen = popen
            if self._unwanted:
                self._end_trees()
        assert popen.stdin and popen.stdout and popen.stderr  # All are pipes.
        threading.Thread(target=self._write, args=(popen.stdin,), daemon=True).start()
        listener = threading.Thread(target=self._keep_log, args=(popen.stderr,), daemon=True)
        listener.start()
        with popen.stdout:
            for line in popen.stdout:
                self._hear(line)
        self._bury(popen, listener)

    def _hear(self, line: bytes) -> None:
        try:
            event = parse_event(line)
        except ProtocolError as error:
            self._log.append(str(error))
            if error.job is not None:
                self._events.put(Failed(error.job, "unexpected", OTHER_VERSION))
            return
        if not isinstance(event, Ready):
            self._events.put(event)
            return
        with self._lock:
            self._worker_pid = event.pid
            if self._unwanted:
                self._end_trees()

    def _bury(self, popen: subprocess.Popen, listener: threading.Thread) -> None:
        with suppress(subprocess.TimeoutExpired):
            popen.wait(END_SECONDS)
        with self._lock:
            # Of the worker's children, or of a launcher that hangs.
            self._end_trees()
            code = popen.returncode
            self._popen = None
            self.alive = False
        popen.wait()
        self._lines.put(None)
        listener.join(END_SECONDS)
        was_ready = self._worker_pid is not None
        # Slicer's launcher ends with 1 then, and says so.
        by_system = was_ready and code == 1 and ended_by_system("\n".join(list(self._log)[-2:]))
        self._events.put(_Ended(code, was_ready, by_system=by_system))

    def _write(self, requests: IO[bytes]) -> None:
        with suppress(OSError):
            while (line := self._lines.get()) is not None:
                requests.write(line)
                requests.flush()
        with suppress(OSError):
            requests.close()

    def _keep_log(self, log: IO[bytes]) -> None:
        while line := log.readline(LOG_LINE_LENGTH):
            self._log.append(line.decode("utf-8", errors="replace").rstrip())
        log.close()
