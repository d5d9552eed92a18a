"""The training runs in a folder, as a table shows them. Loads nothing but the standard library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from HLFDSegmentationLib.errors import InputError
from HLFDSegmentationLib.safe_files import replacing

from .outcome_table import COMPARISON
from .process_files import ProcessFiles, read_object, there
from .run_events import Event, all_events, last_events
from .run_progress import seconds_left
from .run_state import StateName, state_of

NAME_FILE = "name.txt"


@dataclass(frozen=True)
class RunRow:
    """One run.

    Attributes:
        folder: of the run.
        name: the user's, or the folder's.
        state: "damaged" where the folder is not complete.
        sentence: what the state means, and what to do next.
        task: its title.
        student: network name.
        method: of the distillation.
        stage: the one that it is in or ended in; empty before the first.
        epoch, epochs: the last whole epoch of the stage, and how many there are.
        started, changed: time of the start and of the last sign of life, in seconds since 1970.
        seconds_left: about; none where it cannot be told, or nothing is left.
    """

    folder: Path
    name: str
    state: StateName | Literal["damaged"]
    sentence: str
    task: str = ""
    student: str = ""
    method: str = ""
    stage: str = ""
    epoch: int = 0
    epochs: int = 0
    started: float | None = None
    changed: float | None = None
    seconds_left: float | None = None


def list_runs(folder: Path | str) -> list[RunRow]:
    """The runs right under a folder, the one that changed last first; none where the folder is not there yet.

    Raises:
        InputError: the folder cannot be read.
    """
    return list(map(describe_run, run_folders(folder)))


def run_folders(folder: Path | str) -> list[Path]:
    """The folders of `list_runs`, in the same order; much faster, as no run is read. Raises InputError as that."""
    try:
        found = [path for path in Path(folder).iterdir() if _is_run(path)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {error.strerror}. Choose another folder for the runs.") from error
    return sorted(found, key=lambda path: _changed(ProcessFiles(path)) or 0, reverse=True)


def describe_run(folder: Path | str) -> RunRow:
    """The row of one run."""
    folder = Path(folder)
    files = ProcessFiles(folder)
    name, state = run_name(folder), state_of(folder)
    started, changed = _time_of(files.plan), _changed(files)
    if not there(files.plan):  # the cases are checked before the plan is written
        return RunRow(folder, name, state.name, state.sentence, started=started, changed=changed)
    try:
        details = _details(files, running=state.name == "running", finished=state.name == "finished")
    except (KeyError, TypeError):
        sentence = (
            "The files of this run are damaged, so it cannot go on. Restore plan.json and events.jsonl from a copy, or "
            "delete the folder."
        )
        return RunRow(folder, name, "damaged", sentence, started=started, changed=changed)
    return RunRow(folder, name, state.name, state.sentence, started=started, changed=changed, **details)


def _details(files: ProcessFiles, *, running: bool, finished: bool) -> dict[str, Any]:
    """What plan and events say. Raises KeyError or TypeError where they are damaged."""
    plan = read_object(files.plan) or {}
    # Of a training that has ended nothing but its last epoch is told.
    events = last_events(files.events) if finished else all_events(files.events)
    step = read_object(files.step) if running else None
    return {
        "task": plan["task"]["title"],
        "student": plan["student"],
        "method": plan["method"],
        "seconds_left": None if finished else seconds_left(events, step),
        **_progress(events),
    }


def run_name(folder: Path) -> str:
    """The name that the user gave a run, otherwise its folder's."""
    try:
        return (folder / NAME_FILE).read_text(encoding="utf-8").strip() or folder.name
    except (OSError, ValueError):
        return folder.name


def rename_run(folder: Path, name: str) -> None:
    """Gives a run a name to be listed by; the folder stays where it is. Raises OutputError if it cannot be written."""
    with replacing(folder / NAME_FILE) as part:
        part.write_text(" ".join(name.split()), encoding="utf-8")


def _progress(events: Sequence[Event]) -> dict[str, Any]:
    last = next((event for event in reversed(events) if event["event"] == "epoch"), None)
    return {} if last is None else {key: last[key] for key in ("stage", "epoch", "epochs")}


def _is_run(path: Path) -> bool:
    files = ProcessFiles(path)
    # Of a comparison, too, a process may be alive, but it has no plan of its own. Its rows are runs, one folder deeper.
    is_comparison = there(path / COMPARISON)
    return there(files.plan) or (there(files.folder) and not is_comparison)


def _changed(files: ProcessFiles) -> float | None:
    """The time of a run's last sign of life."""
    paths = (files.plan, files.events, files.step, files.log, files.end, files.result)
    return max(filter(None, map(_time_of, paths)), default=None)


def _time_of(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None
