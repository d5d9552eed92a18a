"""The measured figures of a model in words, alike wherever they are told."""

from __future__ import annotations

import math
from collections.abc import Mapping

PATIENTS = "patients"
"""Among the figures of a label, of how many patients the others are the mean."""


def figures_in_words(figures: Mapping[str, float | None]) -> str:
    """The figures of a label, as in "dice 0.667 (4 patients)"."""
    told = ", ".join(f"{name.replace('_', ' ')} {_figure(x)}" for name, x in figures.items() if name != PATIENTS)
    return told + of_patients(figures)


def of_patients(figures: Mapping[str, float | None]) -> str:
    """Of how many patients they are, in brackets after a space; nothing where that is not known."""
    number = figures.get(PATIENTS)
    return f" ({patients(int(number))})" if number is not None else ""


def patients(number: int) -> str:
    """So many patients."""
    return "1 patient" if number == 1 else f"{number} patients"


def _figure(value: float | None) -> str:
    return "not measured" if value is None or math.isnan(value) else f"{value:.3f}"
