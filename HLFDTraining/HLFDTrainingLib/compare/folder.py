"""The folder of a comparison: what is compared, the runs of all rows, and the tables."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from HLFDSegmentationLib.errors import TrainingError
from HLFDSegmentationLib.output.safe_files import write_json

from ..annotations.case_files import Looked, look_at
from ..annotations.checked_cases import CHECKS
from ..cases import CASES_FILE, Case, write_cases_json
from ..plan import TrainingPlan
from ..runs.measured_figures import ROW_FIGURES
from ..runs.outcome_table import COMPARISON
from ..runs.process_files import PROCESS, ProcessFiles, not_now, object_in
from ..runs.run_folder import RunFolder, check_unused
from ..runs.run_lock import RunLock
from ..runs.run_start import start_run
from ..split import Split
from .rows import Row

ALLOWED = (CHECKS, PROCESS)
"""What may be in the folder before anything was begun: the findings in the cases, and the lock."""

FIGURES = {"method", "student", "seed", "cases", "focus"}
"""What is told of every row that was measured."""

OF_A_FOLD = ("teacher_epochs", "head_epochs", "student_epochs", "device", "precision")
"""What the plans of an experiment's folds may differ in: the tables tell it."""


def check_test_part(split: Split) -> None:
    """Raises TrainingError where there is nothing to measure students on."""
    if not split.test:
        raise TrainingError(
            "There are no test cases to measure the students on: too few patients, or a split without a test "
            "part. Give more patients or another split."
        )


class ComparisonFolder:
    """A comparison's files; docs/compare.md lists them.

    Attributes:
        path: the folder.
        teacher: the run that trains the teacher of all rows.
        head: the run that trains the head which HLFD reads the teacher's unified layers with.
        slices: slices that were read once, for all rows.
        constants: what the losses need of the teacher, for all rows.
        stop_file: while it is there, every row stops at its next step.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path).absolute()
        self.teacher = RunFolder(self.path / "teacher")
        self.head = RunFolder(self.path / "head")
        self.slices = self.path / "slices"
        self.constants = self.path / "constants"
        self.stop_file = ProcessFiles(self.path).stop
        self._stored = self.path / COMPARISON
        self._focus_slices = self.path / "focus_slices.json"
        self._costs = self.path / "costs.json"

    def row(self, row: Row) -> RunFolder:
        """The run of a row."""
        return RunFolder(self.path / "rows" / row.name)

    def figures_file(self, run: RunFolder) -> Path:
        """What was measured of a run's network."""
        return run.path / ROW_FIGURES

    def is_measured(self, run: RunFolder) -> bool:
        """Whether a row is finished. One whose figures were damaged since is not: they are measured anew.

        Raises InputError where they cannot be read now.
        """
        try:
            return self.figures_file(run).is_file() and bool(self.figures(run))
        except TrainingError:
            return False

    def check_unused(self) -> None:
        """Refuses a folder where no comparison was begun and that holds other things, see `run_folder.check_unused`."""
        if not self.begun:
            check_unused(self.path, ALLOWED)

    @property
    def begun(self) -> bool:
        """Whether a comparison was begun here. A run has a file of the same name, with its own figures."""
        return self._stored.is_file() and "plan" in read_json(self._stored)

    def begin(self, plan: TrainingPlan, cases: Sequence[Case], split: Split) -> None:
        """Writes what all rows share, or compares it with what the comparison was begun with.

        Raises:
            TrainingError: plan, cases or split are not those that the comparison was begun with.
            CasesError: the files of a case are not those that the comparison was begun with.
        """
        wanted: dict[str, Any] = {
            "plan": plan.to_dict(),
            "cases": [_identity(case) for case in cases],
            "split": split.to_dict(),
        }
        if not self.begun:
            write_json(self._stored, {**wanted, "files": look_at(cases, {})})
            return
        stored = read_json(self._stored)
        before = TrainingPlan.from_dict(stored["plan"])
        # Where the teacher is given, none is trained.
        unused = {"teacher_epochs"} if plan.teacher_weights else set()
        if name := _first_difference(before, plan, unused):
            raise TrainingError(
                f"{self.path} holds a comparison with another plan: its {name.replace('_', ' ')} is "
                f"{_told(before, name)}, and now it is {_told(plan, name)}. Repeat the command that it was begun "
                "with, or choose another folder."
            )
        for part in ("cases", "split"):
            if stored[part] != json.loads(json.dumps(wanted[part])):
                raise TrainingError(
                    f"{self.path} holds a comparison with another list of cases or another split. Give those that it "
                    "was begun with, or choose another folder."
                )
        write_json(self._stored, {**stored, "files": look_at(cases, stored["files"])})

    def check_files(self, cases: Sequence[Case]) -> None:
        """Raises CasesError where the files of a case are not those that the comparison was begun with."""
        look_at(cases, self._files)

    @property
    def _files(self) -> dict[str, Looked]:
        return read_json(self._stored)["files"]

    @property
    def plan(self) -> TrainingPlan:
        """What all rows share. Raises TrainingError where no comparison was begun."""
        return TrainingPlan.from_dict(read_json(self._stored)["plan"])

    def start_run(self, run: RunFolder, plan: TrainingPlan, cases: Sequence[Case], split: Split) -> None:
        """Begins one of the comparison's runs, unless it was begun with this plan before.

        Where the teacher and the cases lie is no part of what was begun: the folder, or the cases, may have been moved.

        Args:
            run: of the comparison.
            plan: of the run.
            cases, split: those that `begin` took.

        Raises:
            TrainingError: the run was begun with another plan.
            OutputError: the folder cannot be written.
        """
        if not run.started:
            start_run(run, plan, cases, split, self._files)
            return
        before = run.plan()
        if replace(before, teacher_weights=plan.teacher_weights) != plan:
            raise TrainingError(
                f"{run.path} was begun with another plan than the comparison has now. Delete this folder to train the "
                "row anew, or choose another folder for the comparison."
            )
        if before != plan:
            run.write_plan(plan)
        write_cases_json(cases, run.path / CASES_FILE)

    def token(self) -> str:
        """By what the rows know the process that leads the comparison; "" while there is none."""
        holder = RunLock(self.path).holder()
        return holder.token if holder else ""

    def focus_slices(self) -> dict[str, dict[str, list[int]]] | None:
        """The slices that focus is measured on, by case and label; none before they are chosen."""
        return read_json(self._focus_slices, made_anew=True) if self._focus_slices.is_file() else None

    def keep_focus_slices(self, chosen: dict[str, dict[str, list[int]]]) -> None:
        """Stores the choice, so that every row is measured on the same slices. Raises OutputError."""
        write_json(self._focus_slices, chosen)

    def costs(self) -> dict[str, dict[str, Any]]:
        """What the networks cost, as far as it was measured, by network."""
        return read_json(self._costs, made_anew=True) if self._costs.is_file() else {}

    def keep_costs(self, costs: dict[str, dict[str, Any]]) -> None:
        """Stores what the networks cost. Raises OutputError."""
        write_json(self._costs, costs)

    def measured_runs(self) -> list[RunFolder]:
        """The runs whose networks were measured: the teacher, and the rows by name; also where figures were damaged."""
        runs = [self.teacher, *(RunFolder(path) for path in sorted((self.path / "rows").glob("*")))]
        return [run for run in runs if self.figures_file(run).is_file()]

    def trained_runs(self) -> list[RunFolder]:
        """The runs that have trained what was measured: the rows, the head, the teacher where it was not given."""
        given = self.teacher.path if self.plan.teacher_weights else None
        runs = [run for run in self.measured_runs() if run.path != given]
        return [*runs, self.head] if self.head.finished else runs

    def figures(self, run: RunFolder) -> dict[str, Any]:
        """What was measured of a run's network.

        Raises:
            InputError: it cannot be read now, which says nothing of what is in it.
            TrainingError: it is damaged.
        """
        path = self.figures_file(run)
        try:
            found = object_in(path)
            if not found.keys() >= FIGURES:
                raise ValueError("no figures of a row")
        except OSError as error:
            raise not_now(path, error) from error
        except ValueError as error:
            raise TrainingError(
                f"{path} is damaged: {error}. Repeat `hlfd compare` with the method, student and seed of this row (for "
                "the teacher: with a method that learns from one), and they are measured anew."
            ) from error
        return found


def check_folds(folders: Sequence[ComparisonFolder]) -> None:
    """Raises TrainingError where comparisons are no folds of one experiment, by their plans."""
    # Each fold may be given a teacher of its own, which has not learned from its test patients.
    plans = [replace(one.plan, teacher_weights=one.plan.teacher_weights and "given") for one in folders]
    for folder, plan in zip(folders[1:], plans[1:]):
        if name := _first_difference(plans[0], plan, OF_A_FOLD):
            raise TrainingError(
                f"{folders[0].path} and {folder.path} hold comparisons with different plans: the "
                f"{name.replace('_', ' ')} is {_told(plans[0], name)} in the first, and {_told(plan, name)} in the "
                "second. What is told as one may differ in its epochs, device and precision alone: write the tables of "
                "each by itself."
            )


def read_json(path: Path, *, made_anew: bool = False) -> dict[str, Any]:
    """The JSON object in a file of a comparison.

    Args:
        path: of the file.
        made_anew: what it holds is found again where the file is not there.

    Raises:
        TrainingError: it is missing or damaged.
    """
    try:
        return object_in(path)
    except (OSError, ValueError) as error:
        remedy = (
            "Delete this file and repeat the command: what it held is found again."
            if made_anew
            else f"{path.parent} is not the folder of a comparison, or it is damaged."
        )
        raise TrainingError(f"{path} cannot be read: {error}. {remedy}") from error


def _identity(case: Case) -> dict[str, Any]:
    """What makes a case the same one, wherever its files lie."""
    return {
        "name": case.name,
        "patient": case.patient,
        "labels": {str(value): list(names) for value, names in case.labels.items()},
        "repeat": case.repeat,
    }


def _first_difference(one: TrainingPlan, other: TrainingPlan, aside: Collection[str]) -> str | None:
    """The name of the first entry in which two plans differ, beside those that are left aside."""
    names = (field.name for field in fields(one) if field.name not in aside)
    return next((name for name in names if getattr(one, name) != getattr(other, name)), None)


def _told(plan: TrainingPlan, name: str) -> Any:
    value = getattr(plan, name)
    return f"'{value.name}' (or one of its settings)" if name == "task" else value
