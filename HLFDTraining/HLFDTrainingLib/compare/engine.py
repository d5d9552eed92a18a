"""Jobs on several processes or computers, by dask.distributed."""

from __future__ import annotations

import logging
import os
import queue
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from HLFDSegmentationLib.command_text import quoted
from HLFDSegmentationLib.devices import choose_device
from HLFDSegmentationLib.errors import HLFDError, InputError, TrainingError
from HLFDSegmentationLib.output.private_folder import PrivateFolder

if TYPE_CHECKING:
    from distributed import Client, Future

POLL_SECONDS = 0.3
CONNECT_SECONDS = 30
LOOK_FOR_WORKERS_SECONDS = 10
TOPIC = "hlfd"
"""Of the events by which workers tell that they begin a job."""

SETTINGS = {
    # dask has glibc give memory back at once, for which a step of training takes up to 2.8 times as long.
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None,
    # A lost process that is not back after 15 s would never be replaced: importing torch can take longer.
    "distributed.deploy.lost-worker-timeout": "3650d",
    # A process that is lost counts as a failure of each job that it was given: it is given none to wait with it.
    "distributed.scheduler.worker-saturation": 1.0,
}
"""Of dask, for processes on this computer."""


@dataclass(frozen=True)
class Job:
    """Something to be done by one process.

    Attributes:
        name: of the job; no two have the same.
        work: called with `arguments`, and with the results of the jobs that are needed.
        arguments: of the work.
        needs: names of jobs that must be done before.
    """

    name: str
    work: Callable[..., float]
    arguments: tuple[Any, ...] = ()
    needs: tuple[str, ...] = ()


def check_installed(scheduler: str | None) -> None:
    """Raises InputError where packages are missing that the processes need, see `cluster`."""
    # The owner's processes on this computer keep others out by encryption.
    needed = ["distributed"] if scheduler else ["distributed", "cryptography"]
    if missing := [name for name in needed if find_spec(name) is None]:
        raise InputError(
            f"Comparing methods needs {' and '.join(missing)} (of dask), not installed here. Install them as "
            f"docs/compare.md tells, or: {quoted(Path(sys.executable))} -m pip install {' '.join(missing)}"
        )


@contextmanager
def cluster(scheduler: str | None, workers: int | None, threads: int, device: str = "auto") -> Iterator[Client]:
    """The processes that do the jobs: those of a scheduler, or new ones on this computer, which end with the block.

    Args:
        scheduler: its address, "tcp://HOST:8786"; none starts processes here.
        workers: how many processes are started here; by default as many as the processor's cores allow, and one for a
            GPU.
        threads: of each job.
        device: of each job, see `choose_device`.

    Raises:
        InputError: nobody answers at the address.
    """
    with _of_scheduler(scheduler) if scheduler else _here(workers, threads, device) as client:
        yield client


def _of_scheduler(scheduler: str) -> Client:
    from distributed import Client

    try:
        return Client(scheduler, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise InputError(
            f"No dask scheduler answers at {scheduler}: {error}. Start one with 'dask scheduler', and workers as "
            "docs/compare.md tells; or leave out --scheduler."
        ) from error


@contextmanager
def _here(workers: int | None, threads: int, device: str) -> Iterator[Client]:
    """Processes on this computer."""
    import dask
    from distributed import Client, LocalCluster

    with (
        PrivateFolder() as folder,  # What dask leaves there goes with it.
        dask.config.set(SETTINGS),
        LocalCluster(
            security=True,  # Without it, every user of this computer could run programs as whoever compares.
            n_workers=workers or workers_here(threads, device),
            threads_per_worker=1,
            processes=True,
            local_directory=str(folder.path),
            memory_limit=None,  # A job takes what memory it needs; the operating system is the judge of it.
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
            preload=["HLFDTrainingLib.compare.worker_setup"],
        ) as here,
        Client(here, security=here.security) as client,
    ):
        yield client


def workers_here(threads: int, device: str) -> int:
    """How many processes this computer has room for: one for a GPU, or as many as the cores allow."""
    if choose_device(device).type != "cpu":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // threads)


def run_jobs(
    client: Client,
    jobs: Sequence[Job],
    token: str,
    *,
    tell: Callable[[str, str, Any], None],
    stopping: Callable[[], bool],
    no_workers: Callable[[], None],
) -> None:
    """Does the jobs, each after those that it needs. One whose worker is lost is done again by another.

    Args:
        client: of the processes.
        jobs: each after those that it needs.
        token: makes the jobs others than those of an earlier call.
        tell: receives a job's name, "begun", "done" or "failed", and its result or its exception.
        stopping: asked several times a second: whether the jobs were told to stop. They are waited for, unless nobody
            is left to do them.
        no_workers: called when nobody is there to do the jobs, once until somebody comes.

    Raises:
        InputError: the connection to the scheduler was lost.
    """
    try:
        _do_jobs(client, jobs, token, tell, stopping, _Absence(client, no_workers))
    except CancelledError as error:
        raise InputError(
            "The connection to the dask scheduler was lost. What is finished is kept: start the scheduler and its "
            "workers again, and repeat the command to go on."
        ) from error


def _do_jobs(
    client: Client,
    jobs: Sequence[Job],
    token: str,
    tell: Callable[[str, str, Any], None],
    stopping: Callable[[], bool],
    absence: _Absence,
) -> None:
    from distributed import TimeoutError as NotYet
    from distributed import wait

    begun: queue.SimpleQueue[str] = queue.SimpleQueue()
    client.subscribe_topic(TOPIC, lambda event: begun.put(event[1]["job"]))
    try:
        futures: dict[str, Future] = {}
        for number, job in enumerate(jobs):
            futures[job.name] = client.submit(
                job.work,
                *job.arguments,
                *(futures[name] for name in job.needs if name in futures),
                key=f"{job.name}-{token}",
                pure=False,
                priority=-number,
            )
        names = {future.key: name for name, future in futures.items()}
        order = list(futures)
        pending = set(futures.values())
        while pending and not (stopping() and not client.scheduler_info()["workers"]):
            try:
                done, pending = wait(pending, timeout=POLL_SECONDS, return_when="FIRST_COMPLETED")
            except NotYet:
                done = set()
            while not begun.empty():
                tell(begun.get(), "begun", None)
            # What a job failed by is told before that of those which need it.
            for future in sorted(done, key=lambda one: order.index(names[one.key])):
                _tell_end(names[future.key], future, tell)
            absence.look()
    finally:
        client.unsubscribe_topic(TOPIC)


class _Absence:
    """Tells once, each time that no worker is there, until one is."""

    def __init__(self, client: Client, tell: Callable[[], None]) -> None:
        self._client = client
        self._tell = tell
        self._told = False
        self._next = time.monotonic() + LOOK_FOR_WORKERS_SECONDS

    def look(self) -> None:
        if time.monotonic() < self._next:
            return
        self._next += LOOK_FOR_WORKERS_SECONDS
        absent = not self._client.scheduler_info()["workers"]
        if absent and not self._told:
            self._tell()
        self._told = absent


def _tell_end(name: str, future: Future, tell: Callable[[str, str, Any], None]) -> None:
    from distributed.scheduler import KilledWorker

    if future.status == "finished":
        tell(name, "done", future.result())
        return
    error = future.exception()
    if isinstance(error, KilledWorker):
        error = TrainingError(
            "The processes that were given it were lost four times, as when memory runs out: let fewer work at a time "
            "on one computer (--workers; with --scheduler see docs/compare.md)."
        )
    elif error is None:
        error = TrainingError("The scheduler has dropped it.")
    tell(name, "failed", error)


def sentence_of(error: BaseException) -> str:
    """What a user reads of a job's error."""
    if isinstance(error, HLFDError):
        return str(error)
    return f"{type(error).__name__}: {error}".rstrip(".") + "."
