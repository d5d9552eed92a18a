"""The folder of a training run: everything needed to go on with it, to repeat it and to package its student."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from HLFDSegmentationLib.command_text import quoted
from HLFDSegmentationLib.errors import InputError, OutputError, TrainingError
from HLFDSegmentationLib.networks import build_network
from HLFDSegmentationLib.output.safe_files import LONG_WAITS, waiting, write_json

from ..cases import find_cases
from ..plan import TrainingPlan
from ..split import Split
from .outcome_table import COMPARISON
from .process_files import ProcessFiles, object_in
from .run_events import Event, Report
from .weights_files import read_weights, writing

if TYPE_CHECKING:
    from HLFDSegmentationLib.networks.network import SegmentationNetwork

PREVIEW = "preview.npz"
"""In the folder of a stage: what its network makes of one validation slice; see `preview`."""


class RunFolder:
    """A run's files.

    `plan.json`, `cases.json`, `split.json`, `earlier.json`, `origins.json` and `fingerprints.json` are written at the
    start, see `run_start`; `given` holds the weights that the plan brings; `teacher`, `head`,
    `student` and `undistilled` hold a stage's `last.pt`, `best.pt` and `preview.npz`; `events.jsonl` is the progress;
    `cache` holds the slices and is removed at the end; `result.json` is written when the last stage is finished.

    Attributes:
        comparison: figures of all networks on the test cases, written by `comparison_table`.
        events, stop_file: see `ProcessFiles`.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._files = ProcessFiles(path)
        self.cache = self.path / "cache"
        self.events = self._files.events
        self.comparison = self.path / COMPARISON
        self.stop_file = self._files.stop

    def stage(self, name: str) -> Path:
        """The folder of a stage."""
        return self.path / name

    def preview(self, stage: str) -> Path:
        """The file that shows what a stage's network makes of one validation slice; see `preview`."""
        return self.stage(stage) / PREVIEW

    def given(self, role: str) -> Path:
        """The weights that the plan brings for the teacher or the student, copied here at the start of training."""
        return self.path / "given" / f"{role}.pt"

    @property
    def started(self) -> bool:
        """Whether a run was begun here. Raises InputError where nobody may look, or a disk fails."""
        try:
            return self._files.plan.is_file()
        except OSError as error:
            raise InputError(f"{self.path} cannot be read: {error.strerror}. Choose another folder.") from error

    @property
    def finished(self) -> bool:
        """Whether the last stage was finished here."""
        return self._files.finished

    def plan(self) -> TrainingPlan:
        """The plan that the run was started with."""
        return TrainingPlan.from_dict(self.read(self._files.plan.name))

    def write_plan(self, plan: TrainingPlan) -> None:
        """Writes the plan; from then on the run is `started`. Raises OutputError."""
        write_json(self._files.plan, plan.to_dict())

    def split(self, plan: TrainingPlan) -> Split:
        """The cases, as they were split at the start."""
        cases = find_cases(self.path / "cases.json", plan.task)
        return Split.from_dict(self.read("split.json"), cases, f"The split {self.path / 'split.json'}")

    def logging(self, report: Report) -> Report:
        """The report that also appends each event to `events.jsonl`, single steps left out."""

        def log(event: Event) -> None:
            if event["event"] != "step":
                with writing(self.events), waiting(self._open_events, LONG_WAITS) as stream:
                    stream.write(json.dumps(event) + "\n")
            report(event)

        return log

    def _open_events(self) -> TextIO:
        return open(self.events, "a", encoding="utf-8")

    def write(self, name: str, content: Any) -> None:
        """Writes a JSON file of the run. Raises OutputError."""
        write_json(self.path / name, content)

    def read(self, name: str) -> dict[str, Any]:
        """Reads a JSON object of the run. Raises TrainingError where it is missing or damaged."""
        path = self.path / name
        try:
            return object_in(path)
        except FileNotFoundError as error:
            if self.started:
                raise TrainingError(f"{path} is missing. Put it back from a copy.") from error
            raise TrainingError(f"There is no training run in {self.path}. Check the path.") from error
        except (OSError, ValueError) as error:
            raise TrainingError(
                f"{path} cannot be read: {error}. {self.path} is not the folder of a training run, or it is damaged."
            ) from error

    def result(self) -> dict[str, Any]:
        """What the finished run achieved. Raises TrainingError where it is not finished."""
        if not self.finished:
            raise TrainingError(
                f"The training run in {self.path} is not finished. Go on with it: hlfd train -o {quoted(self.path)} "
                "--resume"
            )
        return self.read(self._files.result.name)

    def write_result(self, result: dict[str, Any]) -> None:
        """Writes what was achieved; from then on the run is `finished`. Raises OutputError."""
        write_json(self._files.result, result)

    def best(self, stage: str) -> dict[str, Any]:
        """The best network of a stage, with its epoch and criterion. Raises TrainingError where there is none."""
        return read_weights(self.stage(stage) / "best.pt")

    def network(self, stage: str) -> SegmentationNetwork:
        """The best network so far of "teacher", "student" or "undistilled", in evaluation mode.

        Raises:
            TrainingError: there is none, or it is another network than the plan's.
        """
        plan = self.plan()
        name = plan.teacher if stage == "teacher" else plan.student
        network = build_network(name, plan.task.num_classes)
        try:
            network.load_state_dict(self.best(stage)["network"])
        except RuntimeError as error:
            raise TrainingError(
                f"{self.stage(stage) / 'best.pt'} holds no {name} for the task '{plan.task.name}', which the run's "
                "plan.json names. Restore the file that the training wrote, or train anew."
            ) from error
        return network.eval()


def check_no_comparison(path: Path, inside: str = "rows/NAME") -> None:
    """Raises TrainingError with the way to a run where a path is the folder of a comparison, which holds runs."""
    if (path / COMPARISON).is_file() and not RunFolder(path).started:
        raise TrainingError(
            f"{path} is the folder of a comparison, not of one training. Give a run in it: {path / inside}."
        )


def check_unused(folder: Path, allowed: Sequence[str] = ()) -> None:
    """Refuses a folder to work in that holds other things: files in it would be overwritten or removed.

    Args:
        folder: may be absent.
        allowed: names of files that may be in it, such as the findings of an attempt before.

    Raises:
        OutputError: something else is there.
    """
    present = sorted(path.name for path in folder.iterdir() if path.name not in allowed) if folder.is_dir() else []
    if present or (folder.exists() and not folder.is_dir()):
        what = f"already holds {present[0]}" if present else "is a file"
        raise OutputError(f"{folder} {what}. Choose a new folder: what is there would be overwritten.")
