"""The one worker of this Slicer, shared by the panel and by scripts, and the timer that listens to it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import qt
import slicer
from slicer.i18n import tr as _

from ..child_process.worker_client import WorkerClient, worker_command
from ..child_process.worker_protocol import (
    Answer,
    Cancelled,
    DevicesRequest,
    Event,
    Failed,
    Finished,
    Progress,
    Request,
)
from ..errors import HLFDError
from ..slicer_tools.slicer_python import interpreter
from ..slicer_tools.slicer_status_bar import tell

LOGGED = ("unexpected", "start", "died")
"""Kinds of failures that are no matter of the user's."""

LISTEN_MS = 30
THREADS_SECONDS = 0.003
WAIT_SECONDS = 0.01


_shared: list[SlicerWorker] = []


def shared_worker() -> SlicerWorker:
    """The worker of this Slicer; it is made when it is first asked for."""
    if not _shared:
        _shared.append(SlicerWorker())
    return _shared[0]


def close_shared_worker() -> None:
    """Ends it. Asking for it again makes a new one."""
    while _shared:
        _shared.pop().close()


class Task(Protocol):
    """Something that goes on for a while in steps that do not hold up Slicer."""

    @property
    def running(self) -> bool:
        """Whether it has not come to its end yet."""

    def advance(self) -> None:
        """Does one short step."""

    def abandon(self) -> None:
        """Is called in place of further steps: what was done by half is taken back."""


class SlicerWorker:
    """The worker process, and what is under way with it. The timer runs only while something is.

    >>> worker = SlicerWorker()
    >>> worker.add(Question(worker.desk(), DevicesRequest(), on_answer=print, on_failed=print))
    """

    def __init__(self) -> None:
        self._client = WorkerClient(worker_command(interpreter()))
        self._desks: list[Desk] = []
        self._tasks: list[Task] = []
        self._advancing = False
        self._timer = qt.QTimer()
        self._timer.setInterval(LISTEN_MS)
        self._timer.connect("timeout()", self._advance)
        slicer.app.connect("aboutToQuit()", self.close)

    def desk(self) -> Desk:
        """Where one task asks and is answered; other tasks have desks of their own."""
        return Desk(self._client, self._deliver, self._desks)

    @property
    def advancing(self) -> bool:
        """Whether a task is in one of its steps just now, and what is called was called by it."""
        return self._advancing

    def add(self, task: Task) -> None:
        """Sees to it that a task goes on until its end."""
        self._tasks.append(task)
        self._timer.start()

    def has(self, task: Task) -> bool:
        """Whether a task is under way."""
        return task in self._tasks

    def close(self) -> None:
        """Ends the worker process. What was under way is abandoned; its files are removed."""
        self._timer.stop()
        tasks, self._tasks = self._tasks, []
        self._desks.clear()
        self._client.close()  # First, so that no process stays whatever comes of the rest.
        for task in tasks:
            task.abandon()

    def _advance(self) -> None:
        if self._advancing:  # A task opened a dialog, which keeps the timer going.
            return
        self._advancing = True
        try:
            # Slicer's event loop never lets go of Python's lock: other threads go on only while Python runs, or sleeps.
            time.sleep(THREADS_SECONDS)
            self._advance_tasks()
        finally:
            self._advancing = False

    def _advance_tasks(self) -> None:
        for task in list(self._tasks):
            try:
                task.advance()
            except Exception:
                # A fault in one task must neither stop the others nor come back with every tick of the timer.
                logging.exception("HLFD: a task failed")
                tell(_("A mistake in the program. Try again; View > Error Log tells more."))
                self._tasks.remove(task)
        self._tasks = [task for task in self._tasks if task.running]
        if not self._tasks:
            self._desks.clear()
            self._timer.stop()

    def _deliver(self) -> None:
        """Takes what the worker told, and lays it on the desks that asked."""
        for event in self._client.poll():
            if isinstance(event, Failed) and event.kind in LOGGED:
                # Slicer's log is the one that users can look into; the worker's holds no names of files.
                logging.error("HLFD: %s\n%s", event.kind, self._client.log)
            for desk in self._desks:
                desk.receive(event)


class Desk:
    """The worker as one task sees it: it hears only of its own jobs."""

    def __init__(self, client: WorkerClient, deliver: Callable[[], None], listening: list[Desk]) -> None:
        self._client = client
        self._deliver = deliver
        self._listening = listening
        self._jobs: set[int] = set()
        self._events: list[Event] = []

    def private_folder(self) -> Path:
        """As `WorkerClient.private_folder`."""
        return self._client.private_folder()

    def submit(self, request: Request) -> int:
        """As `WorkerClient.submit`."""
        job = self._client.submit(request)
        self._jobs.add(job)
        # Not before: a worker that has nothing left to do clears its desks.
        if self not in self._listening:
            self._listening.append(self)
        return job

    def cancel(self, job: int) -> None:
        """As `WorkerClient.cancel`."""
        self._client.cancel(job)

    def poll(self) -> list[Event]:
        """What has happened to this desk's jobs since the last call."""
        self._deliver()
        events, self._events = self._events, []
        return events

    def receive(self, event: Event) -> None:
        """Keeps an event for `poll` where it is about one of this desk's jobs."""
        if event.job in self._jobs:
            self._events.append(event)


class Question:
    """One request to the worker, and what to do with its answer.

    Args:
        desk: where to ask.
        request: what to ask.
        on_answer: called with the answer.
        on_failed: called with a sentence.
    """

    def __init__(
        self,
        desk: Desk,
        request: Request,
        on_answer: Callable[[Answer], None],
        on_failed: Callable[[str], None],
    ) -> None:
        self._desk = desk
        self._job: int | None = desk.submit(request)
        self._on_answer = on_answer
        self._on_failed = on_failed

    @property
    def running(self) -> bool:
        """Whether the answer has not come yet."""
        return self._job is not None

    def advance(self) -> None:
        """Looks for the answer."""
        for event in self._desk.poll():
            if isinstance(event, Progress):
                continue
            self._job = None
            if isinstance(event, Finished):
                self._on_answer(event.result)
            elif isinstance(event, Failed):
                self._on_failed(event.message)
            elif isinstance(event, Cancelled):
                self._on_failed(_("Cancelled."))

    def abandon(self) -> None:
        """Nobody waits for the answer any more."""
        self._job = None


def ask_devices(on_answer: Callable[[Any], None], on_unknown: Callable[[str], None]) -> None:
    """Asks the worker where networks can run; it is started for that where there is none.

    Args:
        on_answer: called with the `DevicesResult`.
        on_unknown: called with a sentence where they cannot be known.
    """
    worker = shared_worker()
    try:
        worker.add(Question(worker.desk(), DevicesRequest(), on_answer, on_unknown))
    except HLFDError as error:
        on_unknown(str(error))


class Ending:
    """How something came to its end, for those who wait for it and for those who want to be called."""

    def __init__(self) -> None:
        self._outcome: Any = None
        self._problem: str | None = None

    def good(self, tell: Callable[[Any], None] | None) -> Callable[[Any], None]:
        """What is to be called with the outcome."""

        def keep(outcome: Any) -> None:
            self._outcome = outcome
            (tell or ignore)(outcome)

        return keep

    def bad(self, tell: Callable[[str], None] | None) -> Callable[[str], None]:
        """What is to be called with the sentence why there is no outcome."""

        def keep(problem: str) -> None:
            self._problem = problem
            (tell or ignore)(problem)

        return keep

    def wait(self, worker: SlicerWorker, task: Task) -> Any:
        """Waits for the end of a task. Returns the outcome, None where it was cancelled; raises HLFDError."""
        if worker.advancing:
            raise HLFDError(
                _("Within a call that tells of one task, the end of another cannot be waited for. Use wait=False.")
            )
        while worker.has(task):
            slicer.app.processEvents()
            time.sleep(WAIT_SECONDS)
        if self._problem is not None:
            raise HLFDError(self._problem)
        return self._outcome


def ignore(*_arguments: Any) -> None:
    """For those who do not want to be called."""
