"""What tests ask of a comparison's rows, and how they take a row's worker away."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from HLFDTrainingLib.compare.folder import ComparisonFolder
from HLFDTrainingLib.compare.rows import Row
from HLFDTrainingLib.runs.run_events import all_events
from HLFDTrainingLib.runs.run_lock import RunLock


def figures(folder: Path, row: Row) -> dict:
    """All that was measured of a row, but for the time that it took."""
    files = ComparisonFolder(folder)
    found = json.loads(files.figures_file(files.row(row)).read_text())
    del found["measuring_seconds"]
    return found


def epochs(folder: Path, row: Row) -> list[int]:
    """The epochs that a row has finished."""
    events = all_events(ComparisonFolder(folder).row(row).events)
    return [event["epoch"] for event in events if event["event"] == "epoch"]


class KillsWorkerOnce:
    """Called again and again: kills the process that trains the row, once, when it has finished an epoch."""

    def __init__(self, folder: Path, row: Row) -> None:
        self.folder = folder
        self.row = row
        self.killed: int | None = None

    def __call__(self) -> bool:
        """Never asks the comparison to stop."""
        holder = RunLock(ComparisonFolder(self.folder).row(self.row).path).holder()
        if self.killed is None and holder and epochs(self.folder, self.row):
            ((pid, _),) = holder.processes
            os.kill(pid, signal.SIGKILL)
            self.killed = pid
        return False
