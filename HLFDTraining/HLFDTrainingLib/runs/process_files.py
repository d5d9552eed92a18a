"""Where a run folder keeps what concerns its process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from HLFDSegmentationLib.errors import InputError
from HLFDSegmentationLib.output.safe_files import waiting

WAIT_SECONDS = 0.05

PROCESS, LOG, OLD_LOG = "process", "log.txt", "log.old.txt"
"""Names of what a process that trains keeps in a run folder: a folder, and two files beside it."""


class ProcessFiles:
    """Paths in a run folder, and of what a process that trains there keeps beside it; of the standard library alone.

    Attributes:
        run: the folder.
        plan: what is to be done; there once the run is begun.
        events: the progress.
        result: what was achieved; there once the last stage is finished.
        stop: while it is there, training stops at the next step as after SIGTERM, which a process without a console
            does not get on Windows. `hlfd train` removes it when it begins.
        log, old_log: what the trainer printed last, and before that.
        lock: who trains here; there while somebody does.
        guard: locked by the operating system while the lock is changed.
        step: the last step of the trainer.
        end: how the last process ended.
    """

    def __init__(self, run: Path | str) -> None:
        self.run = Path(run)
        self.plan = self.run / "plan.json"
        self.events = self.run / "events.jsonl"
        self.result = self.run / "result.json"
        self.stop = self.run / "stop"
        self.log = self.run / LOG
        self.old_log = self.run / OLD_LOG
        self.folder = self.run / PROCESS
        self.lock = self.folder / "lock.json"
        self.guard = self.folder / "guard"
        self.step = self.folder / "step.json"
        self.end = self.folder / "end.json"

    @property
    def finished(self) -> bool:
        """Whether the last stage is finished; not by a result that a disk has damaged, which is made anew."""
        return there(self.result) and read_object(self.result) is not None


def there(path: Path) -> bool:
    """Whether a file or folder is seen now; one on a network disk that does not answer is not."""
    try:
        return path.exists()
    except OSError:
        return False


def object_in(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises OSError where it cannot be read, ValueError where it holds none."""
    content = json.loads(waiting(lambda: path.read_text(encoding="utf-8"), (WAIT_SECONDS,)))
    if not isinstance(content, dict):
        raise ValueError("no JSON object")
    return content


def not_now(path: Path, error: OSError) -> InputError:
    """What is raised of a file whose disk fails or is away, or that another program holds."""
    return InputError(
        f"{path} cannot be read now: {error.strerror or error}. Close the program that has it open, or connect its "
        "disk again, and continue: nothing says that it is damaged."
    )


def read_object(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file; none where it is missing or damaged."""
    try:
        return object_in(path)
    except (OSError, ValueError):
        return None
