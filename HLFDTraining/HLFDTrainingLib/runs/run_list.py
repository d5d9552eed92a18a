"""The training runs in a folder, as a table shows them. Loads nothing but the standard library."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from HLFDSegmentationLib.errors import InputError
from HLFDSegmentationLib.output.safe_files import write_text

from .outcome_table import COMPARISON
from .process_files import ProcessFiles, read_object, there
from .run_state import StateName, state_of

NAME_FILE = "name.txt"


@dataclass(frozen=True)
class RunRow:
    """One run.

    Attributes:
        folder: of the run.
        name: the user's, or the folder's.
        state: "damaged" where its plan is.
        sentence: what the state means, and what to do next.
    """

    folder: Path
    name: str
    state: StateName | Literal["damaged"]
    sentence: str


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
    name = run_name(folder)
    # There may be no plan yet: the cases are checked before it is written.
    if there(files.plan) and not _is_plan(read_object(files.plan) or {}):
        sentence = (
            "The plan.json of this run is damaged, so it cannot go on. Restore it from a copy, or delete the folder."
        )
        return RunRow(folder, name, "damaged", sentence)
    state = state_of(folder)
    return RunRow(folder, name, state.name, state.sentence)


def _is_plan(content: dict[str, Any]) -> bool:
    return isinstance(content.get("task"), dict) and "student" in content and "method" in content


def run_name(folder: Path) -> str:
    """The name that the user gave a run, otherwise its folder's."""
    try:
        return (folder / NAME_FILE).read_text(encoding="utf-8").strip() or folder.name
    except (OSError, ValueError):
        return folder.name


def rename_run(folder: Path, name: str) -> None:
    """Gives a run a name to be listed by; the folder stays where it is. Raises OutputError if it cannot be written."""
    write_text(folder / NAME_FILE, " ".join(name.split()))


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
