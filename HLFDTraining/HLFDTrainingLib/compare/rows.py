"""The rows of a comparison: which method teaches which student, with which seed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any

from HLFDSegmentationLib.errors import TrainingError
from HLFDSegmentationLib.networks import build_network

from ..distillers import build_distiller, find_distiller, written
from ..distillers.unified_head import UnifiedHead
from ..plan import TrainingPlan

BASELINE = "none"
"""The method that all others are compared with: the student alone."""

NUMBERS = {"temperature", "beta", "lambda_"}
"""Options of methods that are numbers."""

WRITTEN = re.compile(r"[A-Za-z0-9_.+-]+(:[A-Za-z0-9_.+=-]+)*")


@dataclass(frozen=True)
class Row:
    """One student of a comparison.

    Attributes:
        method: as a user writes it: a method, its variant and its options, "hlfd:full:beta=0.5". A plus stands for
            the comma in a list, "hlfd:terms=ufd+ifd".
        student: network name.
        seed: of the student's first weights, the order of the slices and their random changes.
    """

    method: str
    student: str
    seed: int

    @property
    def name(self) -> str:
        """Of the row, and of its folder."""
        return f"{self.method.replace(':', '-')}_{self.student}_seed{self.seed}"

    def plan(self, shared: TrainingPlan) -> TrainingPlan:
        """The row's plan, by what all rows share. Raises TrainingError for a method or student that there is not."""
        method, options = read_method(self.method)
        return replace(shared, method=method, method_options=options, student=self.student, seed=self.seed)


def rows_of(methods: Sequence[str], students: Sequence[str], seeds: Sequence[int]) -> list[Row]:
    """Every combination, seed by seed, so that one that was stopped can be read already."""
    return [Row(method, student, seed) for seed in seeds for student in students for method in methods]


def read_method(written: str) -> tuple[str, dict[str, Any]]:
    """Name (with its variant) and options of a method, as `TrainingPlan` takes them.

    Raises:
        TrainingError: it is not written as `Row.method` says.
    """
    if not WRITTEN.fullmatch(written):
        raise TrainingError(
            f"'{written}' is no distillation method. Write a method, its variant and its options with colons between "
            "them, for example hlfd:full:beta=0.5."
        )
    parts = written.split(":")
    options = dict(part.split("=", 1) for part in parts if "=" in part)
    name = ":".join(part for part in parts if "=" not in part)
    return name, {option: _value(text) for option, text in options.items()}


def _value(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text.replace("+", ",")


def check_rows(rows: Sequence[Row], shared: TrainingPlan) -> None:
    """Makes every method once, with untrained networks, so that a wrong one is told before anything is trained.

    Raises:
        TrainingError: there are no rows, one is there twice, or a method, option or network is unknown.
    """
    if not rows:
        raise TrainingError("There is nothing to compare. Name at least one method, one student and one seed.")
    meant: dict[tuple[object, ...], Row] = {}
    for row in rows:
        if first := meant.get(_meaning(row)):
            twice = row.method if first.method == row.method else f"{first.method}, also written {row.method},"
            raise TrainingError(f"The method {twice} for {row.student} with seed {row.seed} is there twice.")
        meant[_meaning(row)] = row
    for row in rows:
        row.plan(shared).check_input_size()
    classes = shared.task.num_classes
    teacher = build_network(shared.teacher, classes)
    head = UnifiedHead(teacher, classes)
    students = {name: build_network(name, classes) for name in dict.fromkeys(row.student for row in rows)}
    for method, student in dict.fromkeys((row.method, row.student) for row in rows):
        name, options = read_method(method)
        _check_numbers(method, options)
        try:
            build_distiller(name, students[student], teacher, classes, unified_head=head, **options)
        except (AttributeError, TypeError, ValueError) as error:
            raise TrainingError(f"An option of the method '{method}' cannot be used: {error}.") from error


def _meaning(row: Row) -> tuple[object, ...]:
    """The same for two rows that would train the same, however their methods are written."""
    name, options = read_method(row.method)
    changed = (part for part in written(name, options).split(":") if "=" in part)
    return find_distiller(name, options.get("variant")), tuple(sorted(changed)), row.student, row.seed


def _check_numbers(method: str, options: Mapping[str, Any]) -> None:
    """Refuses what would be found out of when the teacher is trained only. Words are left to the method itself."""
    for option in NUMBERS & options.keys():
        value = options[option]
        if isinstance(value, str) or not 0 <= value < inf or (option == "temperature" and value == 0):
            least = "greater than 0" if option == "temperature" else "0 or more"
            raise TrainingError(
                f"An option of the method '{method}' cannot be used: {option} must be a number, {least}; it is {value}."
            )
