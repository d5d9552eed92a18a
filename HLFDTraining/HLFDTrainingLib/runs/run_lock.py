"""At most one trainer in a run folder, also where several computers share the disk."""

from __future__ import annotations

import json
import os
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from HLFDSegmentationLib.errors import OutputError, TrainingError
from HLFDSegmentationLib.output.safe_files import unlink_waiting, waiting, write_json

from .process_files import ProcessFiles, read_object, there
from .process_identity import computer_name, is_running, start_of

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

HoldingProcesses = tuple[tuple[int, str], ...]
"""Number and start of each process (`process_identity.start_of`)."""

TOKEN_VARIABLE = "HLFD_RUN_LOCK"
"""The environment variable by which a trainer knows that the lock is held for it."""


@dataclass(frozen=True)
class Holder:
    """Who holds a lock.

    Attributes:
        token: who knows it may change the lock.
        computer: its name.
        processes: those that the lock is held for.
        place: the number that the file system gives the lock's folder, and its path.
    """

    token: str
    computer: str
    processes: HoldingProcesses
    place: tuple[int, str]

    @property
    def elsewhere(self) -> bool:
        """Whether the lock was taken on another computer, whose processes cannot be seen from here."""
        return self.computer != computer_name()

    @property
    def alive(self) -> bool:
        """Whether one of its processes is running. On another computer, they are taken to be."""
        return self.elsewhere or any(is_running(pid, start) for pid, start in self.processes)


class RunLock:
    """The lock of a run folder. A lock whose processes have all ended is taken over by the next one to ask.

    Args:
        run_folder: of the run.
    """

    def __init__(self, run_folder: Path | str) -> None:
        self.files = ProcessFiles(run_folder)

    def holder(self) -> Holder | None:
        """Who holds the lock, alive or not; none when it is free, or cannot be read at this moment."""
        return self._holder_by(read_object(self.files.lock))

    def _owner(self) -> Holder | None:
        """As `holder`, for whoever is about to change the lock: one that cannot be read is not free."""
        try:
            content = json.loads(waiting(lambda: self.files.lock.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except ValueError:
            return None  # Emptied by a power failure: nobody is at work any more.
        return self._holder_by(content)

    def _holder_by(self, content: Any) -> Holder | None:
        """Who holds the lock by its file's JSON; none where that is damaged, or came with a copy of a run's folder."""
        holder = _holder_in(content)
        return None if holder is None or (not holder.elsewhere and self._is_copied(holder)) else holder

    def _is_copied(self, holder: Holder) -> bool:
        # A folder that is renamed keeps its number. On a file system that makes its numbers up, as exFAT, one that is
        # not renamed keeps its path.
        try:
            return all(was != now for was, now in zip(holder.place, self._place()))
        except OSError:
            return False

    def _place(self) -> tuple[int, str]:
        return self.files.folder.stat().st_ino, os.path.abspath(self.files.folder)

    def take(self, *, new: bool = True) -> str:
        """Takes the lock for this process, forgets how the one before ended, and returns the token.

        Args:
            new: the run folder is made where it is missing. One that was there before may have been moved.

        Raises:
            TrainingError: a trainer is at work here.
            OutputError: the run folder cannot be read or written.
        """
        with self._alone(make=new):
            holder = self._owner()
            if holder is not None and holder.alive:
                raise TrainingError(_busy(self.files, holder))
            for path in (self.files.stop, self.files.end, self.files.step):
                unlink_waiting(path)
            token = uuid.uuid4().hex
            self._write(Holder(token, computer_name(), (_this_process(),), self._place()))
        return token

    def hand_to_this_process(self, token: str) -> bool:
        """Makes this process the only one that the lock is held for; false where the token is no longer the lock's."""
        return self._change(token, lambda _processes: (_this_process(),))

    def add(self, token: str, pid: int) -> bool:
        """Holds the lock for one more process; false where the token is no longer the lock's."""
        start = start_of(pid)
        return self._change(token, lambda processes: (*processes, (pid, start)) if start else processes)

    def release(self, token: str) -> None:
        """Frees the lock, unless somebody else has taken it over. Raises OutputError where it cannot be removed."""
        if not there(self.files.lock):
            return
        with self._alone():
            holder = self._owner()
            if holder is not None and holder.token == token:
                unlink_waiting(self.files.lock)

    def break_elsewhere(self) -> None:
        """Frees a lock taken on another computer, once the user has said that nothing is trained there any more.

        Raises:
            OutputError: the run folder cannot be written.
        """
        with self._alone():
            holder = self._owner()
            if holder is not None and holder.elsewhere:
                unlink_waiting(self.files.lock)

    def _change(self, token: str, change: Callable[[HoldingProcesses], HoldingProcesses]) -> bool:
        if not there(self.files.run):
            return False  # It was moved or deleted.
        with self._alone():
            holder = self._owner()
            if holder is None or holder.token != token:
                return False
            self._write(replace(holder, processes=change(holder.processes)))
        return True

    def _write(self, holder: Holder) -> None:
        write_json(self.files.lock, asdict(holder))

    @contextmanager
    def _alone(self, *, make: bool = False) -> Iterator[None]:
        """Only one process at a time gets in; the operating system lets go of the guard of one that is killed.

        Args:
            make: make the run folder where it is missing.
        """
        try:
            self.files.folder.mkdir(parents=make, exist_ok=True)
            guard = open(self.files.guard, "a+b")  # noqa: SIM115  closed below
        except OSError as error:
            raise OutputError(
                f"{self.files.folder} cannot be written: {error.strerror}. Choose a folder that you may write to, "
                "on a disk with free space."
            ) from error
        with guard:
            # Some network disks know no such locks: there, two starts would have to meet within a millisecond.
            with suppress(OSError):
                _lock_file(guard.fileno())
            try:
                yield
            except OSError as error:
                raise OutputError(
                    f"{error.filename or self.files.folder} cannot be read, changed or removed: {error.strerror}. "
                    "Close the program that has it open, or choose a folder that you may write to."
                ) from error


@contextmanager
def training_in(run_folder: Path | str, *, new: bool = True) -> Iterator[None]:
    """What a trainer does in this block, it does alone in its run folder.

    Args:
        run_folder: of the run.
        new: see `RunLock.take`.

    Raises:
        TrainingError: another trainer is at work here.
        OutputError: the run folder cannot be written.
    """
    lock = RunLock(run_folder)
    if lock.add(os.environ.get(TOKEN_VARIABLE, ""), os.getpid()):
        # Whoever started this trainer took the lock, and frees it.
        yield
        return
    token = lock.take(new=new)
    try:
        remove_leftovers(Path(run_folder))
        yield
    finally:
        lock.release(token)


def remove_leftovers(run: Path) -> None:
    """Removes files of checkpoints that a killed trainer had begun to write beside the finished ones."""
    with suppress(OSError):  # A network disk that does not answer now; the next start removes them.
        for part in run.glob("*/.*.part"):
            shutil.rmtree(part, ignore_errors=True)


def _holder_in(content: Any) -> Holder | None:
    """Who holds a lock by its file's JSON; none where that is damaged."""
    try:
        processes = tuple((int(pid), str(start)) for pid, start in content["processes"])
        number, path = content["place"]
        return Holder(str(content["token"]), str(content["computer"]), processes, (int(number), str(path)))
    except (KeyError, IndexError, TypeError, ValueError):
        return None


def _this_process() -> tuple[int, str]:
    return os.getpid(), start_of(os.getpid()) or ""


def _lock_file(descriptor: int) -> None:
    if sys.platform == "win32":
        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def _busy(files: ProcessFiles, holder: Holder) -> str:
    if holder.elsewhere:
        return (
            f"This run is being trained on the computer {holder.computer}, as the file {files.lock} says. Stop it "
            "there first. If nothing is trained there any more, delete that file and continue here."
        )
    return f"In {files.run}, training is going on already. Wait until it has finished, or stop it first."
