"""The measured figures of a model in words, alike wherever they are told.

Names of figures: `dice` or `dice_with_tumors`, and others, after the part of the cases that they were measured on:
`test_`, `validation_`, or nothing where the package does not say.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

DICE = "dice"

PATIENTS = "patients"
"""Among the figures of a label, of how many patients Dice is the mean; after the part, as in `test_patients`."""


def figures_in_words(figures: Mapping[str, float | None]) -> str:
    """The figures of a label, as in "dice 0.667 (4 patients)"."""
    names = [name for name in figures if not name.endswith(PATIENTS)]
    numbers = numbers_behind(names, figures)
    return ", ".join(
        f"{name.replace('_', ' ')} {_figure(figures[name])}{in_brackets(numbers.get(name))}" for name in names
    )


def numbers_behind(names: Iterable[str], figures: Mapping[str, float | None]) -> dict[str, int]:
    """Behind which of some figures it is told of how many patients they are: behind the last Dice of each part."""
    last = {_part(name): name for name in names if DICE in name}
    return {name: number for name in last.values() if (number := number_of_patients(name, figures)) is not None}


def number_of_patients(name: str, figures: Mapping[str, float | None]) -> int | None:
    """Of how many patients a Dice is the mean; none where that is not known."""
    number = figures.get(_part(name) + PATIENTS)
    return None if number is None else int(number)


def in_brackets(number: int | None) -> str:
    """So many patients after a space; nothing where it is not known how many."""
    return "" if number is None else f" ({patients(number)})"


def patients(number: int) -> str:
    """So many patients."""
    return "1 patient" if number == 1 else f"{number} patients"


def _part(name: str) -> str:
    return name.partition(DICE)[0]


def _figure(value: float | None) -> str:
    return "not measured" if value is None or math.isnan(value) else f"{value:.3f}"
