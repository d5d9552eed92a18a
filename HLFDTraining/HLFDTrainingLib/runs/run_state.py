"""Whether a training run is going on, and if not, why it ended."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any, Literal, NamedTuple

from HLFDSegmentationLib.output.safe_files import check_space, is_full

from .process_files import ProcessFiles, read_object
from .run_events import last_event
from .run_lock import RunLock

StateName = Literal["running", "stopped", "crashed", "finished"]

LITTLE_SPACE = 50_000_000
"""Bytes. With less free than this, a checkpoint cannot be written."""

KEPT = "What was trained up to the last whole epoch is kept: continue the run."
STOPPED_STATUS = 130
"""Exit status of a command that was stopped, as a shell has it."""

STOPPED = "Training was stopped. Continue it when you like."
INTERRUPTED = "The training was interrupted: its program was ended, or the computer went down."
ENDED_FROM_OUTSIDE = {"SIGTERM", "SIGHUP", "SIGINT", "SIGPIPE"}

ENDED_ON_WINDOWS = 1
"""What the Task Manager gives to what it ends, and `taskkill`, by which a trainer that does not stop is ended."""

FIRST_FAULT_ON_WINDOWS = 0xC0000000


class RunState(NamedTuple):
    """The state of a run, and the sentence that tells it to the user: what happened, and what to do next."""

    name: StateName
    sentence: str


def state_of(run_folder: Path | str) -> RunState:
    """The state of the run in a folder."""
    files = ProcessFiles(run_folder)
    holder = RunLock(run_folder).holder()
    if holder is not None and holder.alive:
        place = f" on the computer {holder.computer}" if holder.elsewhere else ""
        return RunState("running", f"Training is going on{place}.")
    if files.finished:
        return RunState("finished", "Training is finished.")
    if holder is None and (end := read_object(files.end)) is not None:
        return _state_at(end, files)
    return _state_without_end(files, interrupted=holder is not None)


def _state_at(end: dict[str, Any], files: ProcessFiles) -> RunState:
    """The state after an end that was written down."""
    status, message, last_line = end.get("status"), end.get("message"), end.get("last_line") or ""
    ended_by = _signal_name(status)
    ended_on_windows = sys.platform == "win32" and status == ENDED_ON_WINDOWS and not last_line
    if status == STOPPED_STATUS:
        return RunState("stopped", STOPPED)
    if message:
        return RunState("crashed", message)
    if end.get("stop_asked") and (ended_by == "SIGKILL" or ended_on_windows):
        return _crash(files, "The training did not stop in time, or the system ended it.")
    if end.get("stop_asked") and not ended_by:
        return RunState("stopped", STOPPED)
    if status == 0:
        return _crash(files, "The training ended without a result. The log holds more.")
    if ended_on_windows:
        return _crash(files, INTERRUPTED)
    if ended_by == "SIGKILL":
        return _crash(
            files,
            "The system ended the training, as it does when memory runs out. Close other programs, or choose a "
            "smaller batch in a new run.",
        )
    if ended_by in ENDED_FROM_OUTSIDE:
        return _crash(files, INTERRUPTED)
    if ended_by:
        return _crash(files, f"The training ended by a fault in a program library ({ended_by}).")
    if "out of memory" in last_line.lower():
        return _crash(
            files,
            "The memory of the graphics card does not suffice. Close other programs that use it, or choose a smaller "
            "batch in a new run.",
        )
    return _crash(files, f"The training ended unexpectedly: {last_line or f'status {status}'}. The log holds more.")


def _state_without_end(files: ProcessFiles, *, interrupted: bool) -> RunState:
    """The state after an end that nobody could write down, or of a run that `hlfd train` ran in a terminal."""
    event = last_event(files.events) or {}
    if not interrupted and event.get("event") == "stopped":
        return RunState("stopped", STOPPED)
    if not interrupted and event.get("event") == "error":
        return RunState("crashed", str(event.get("message")))
    if not interrupted and not event:
        return RunState("stopped", "Training has not begun yet.")
    return _crash(files, INTERRUPTED)


def _crash(files: ProcessFiles, reason: str) -> RunState:
    try:
        check_space(files.run, LITTLE_SPACE)
    except OSError as error:
        if is_full(error):
            reason = "The training ended, and the disk is full. Free some space."
    return RunState("crashed", f"{reason} {KEPT}")


def _signal_name(status: int | None) -> str:
    """The signal, or Windows' fault, that ended a process; none for one that ended by itself.

    Shells and launchers add 128 to a signal.
    """
    if status is None or 0 <= status <= 128:
        return ""
    if status >= FIRST_FAULT_ON_WINDOWS:
        return hex(status)
    try:
        return signal.Signals(-status if status < 0 else status - 128).name
    except ValueError:
        return ""
