"""The measured figures of a model in words, alike wherever they are told.

Names of figures: `dice` or `dice_with_tumors`, and others, after the part of the cases that they were measured on:
`test_`, `validation_`, or nothing where the package does not say.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

DICE = "dice"

PATIENTS = "patients"
"""Among the figures of a label, how many patients were measured; after the part, as in `test_patients`."""

SLICES = "slices"
"""Among the figures of a label, of how many single slices Dice is the mean, where it is not of whole CTs."""


@dataclass(frozen=True)
class Measured:
    """What a Dice is the mean of: so many patients' CTs, or single slices of them."""

    patients: int
    slices: int | None = None


def figures_in_words(figures: Mapping[str, float | None]) -> str:
    """The figures of a label, as in "dice 0.667 (9 slices of 4 patients)"."""
    names = [name for name in figures if not name.endswith((PATIENTS, SLICES))]
    behind = measured_behind(names, figures)
    return ", ".join(
        f"{name.replace('_', ' ')} {_figure(figures[name])}{in_brackets(behind.get(name))}" for name in names
    )


def measured_behind(names: Iterable[str], figures: Mapping[str, float | None]) -> dict[str, Measured]:
    """Behind which of some figures it is told what was measured: behind the last Dice of each part."""
    last = {_part(name): name for name in names if DICE in name}
    return {name: measured for name in last.values() if (measured := measured_of(name, figures)) is not None}


def measured_of(name: str, figures: Mapping[str, float | None]) -> Measured | None:
    """What a Dice is the mean of; none where that is not known."""
    number, slices = (figures.get(_part(name) + kind) for kind in (PATIENTS, SLICES))
    return Measured(int(number), None if slices is None else int(slices)) if number else None


def in_brackets(measured: Measured | None) -> str:
    """What was measured, after a space; nothing where it is not known."""
    if measured is None:
        return ""
    if measured.slices is None:
        return f" ({patients(measured.patients)})"
    slices = "1 slice" if measured.slices == 1 else f"{measured.slices} slices"
    return f" ({slices} of {patients(measured.patients)})"


def patients(number: int) -> str:
    """So many patients."""
    return "1 patient" if number == 1 else f"{number} patients"


def _part(name: str) -> str:
    return name.partition(DICE)[0]


def _figure(value: float | None) -> str:
    return "not measured" if value is None or math.isnan(value) else f"{value:.3f}"
