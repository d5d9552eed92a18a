"""What a finished run achieved, as texts for a table: plain data in, plain data out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from .counted_cases import Figures, counted_values, shows_label
from .process_files import read_object

COMPARISON = "comparison.json"
"""In the folder of a run: the figures of its networks. In that of a comparison of methods: what all its rows share."""

DISTANCE = "hd95_mm"
"""There is none where nothing was found, so it flatters a network that misses much: its cases are counted."""

FIGURES = (
    ("dice", 3),
    (DISTANCE, 1),
    ("rvd", 3),
    ("voe", 3),
    ("lesion_sensitivity", 2),
    ("false_positive_lesions", 2),
)
"""Those that the table has of each label, and with how many digits."""

NOTHING = "–"


@dataclass(frozen=True)
class OutcomeRow:
    """What one network achieves on one label.

    Attributes:
        stage: "teacher", "student" or "undistilled".
        network: its name.
        label: what is measured.
        figures: the texts of `FIGURES`: mean ± standard deviation over the test cases that count, see `counted_cases`.
        parameters, gmacs, seconds: what the network costs.
    """

    stage: str
    network: str
    label: str
    figures: tuple[str, ...]
    parameters: str
    gmacs: str
    seconds: str


def read_comparison(run: Path) -> dict[str, Any] | None:
    """The figures of a run's networks on its test cases; none before they are measured, or where they are damaged."""
    return read_object(run / COMPARISON)


def outcome_rows(comparison: Mapping[str, Any]) -> list[OutcomeRow]:
    """The rows, label by label, so that the networks stand below each other.

    Raises KeyError or TypeError where the comparison is damaged.
    """
    models = comparison["models"]
    labels = dict.fromkeys(label for model in models for label in model["labels"])
    return [_row(model, label) for label in labels for model in models]


def _row(model: Mapping[str, Any], label: str) -> OutcomeRow:
    of_cases = _of_cases(model, label)
    return OutcomeRow(
        model["stage"],
        model["network"],
        label,
        tuple(_figure_text(name, digits, of_cases) for name, digits in FIGURES),
        f"{model['parameters'] / 1e6:.2f} M",
        f"{model['gmacs']:.2f}",
        spread_text(model["seconds"], 2),
    )


def _figure_text(name: str, digits: int, of_cases: Sequence[Figures]) -> str:
    values, shown = counted_values(name, of_cases), sum(map(shows_label, of_cases))
    missing = name == DISTANCE and len(values) < shown
    return spread_text(_summary(values), digits) + (f" ({len(values)} of {shown})" if missing else "")


def _of_cases(model: Mapping[str, Any], label: str) -> list[Figures]:
    return [case["labels"][label] for case in model["cases"]]


def _summary(values: Sequence[float]) -> dict[str, Any]:
    mean, sd = fmean(values) if values else None, stdev(values) if len(values) > 1 else None
    return {"mean": mean, "sd": sd, "n": len(values)}


def spread_text(summary: Mapping[str, Any], digits: int) -> str:
    """Mean ± standard deviation; the mean alone of a single case, and a dash for none."""
    if not summary["n"] or summary["mean"] is None:
        return NOTHING
    spread = "" if summary["sd"] is None else f" ± {summary['sd']:.{digits}f}"
    return f"{summary['mean']:.{digits}f}{spread}"


def mean_dice(comparison: Mapping[str, Any], label: str) -> dict[str, float]:
    """Of a label by stage, over the test cases that show it. Raises KeyError or TypeError where they are damaged."""
    values = {model["stage"]: counted_values("dice", _of_cases(model, label)) for model in comparison["models"]}
    return {stage: fmean(known) for stage, known in values.items() if known}


def cases_with(comparison: Mapping[str, Any], label: str) -> int:
    """How many test cases show a label. Raises as `mean_dice`."""
    return max((sum(map(shows_label, _of_cases(model, label))) for model in comparison["models"]), default=0)


def found_without(comparison: Mapping[str, Any], label: str) -> dict[str, tuple[int, int]]:
    """Of the test cases in which a label was looked for and is not, by stage: in how many it was found, and all.

    Raises as `mean_dice`.
    """
    found = {}
    for model in comparison["models"]:
        without = [one["dice"] for one in _of_cases(model, label) if not shows_label(one) and one["dice"] is not None]
        # It is 1 where nothing was found either.
        found[model["stage"]] = sum(dice < 1 for dice in without), len(without)
    return found


def dice_of_case(comparison: Mapping[str, Any], case: str) -> dict[str, float]:
    """The student's, of each label in a test case, where it was measured.

    Raises KeyError or TypeError where the comparison is damaged.
    """
    cases: Sequence[Mapping[str, Any]] = next(m["cases"] for m in comparison["models"] if m["stage"] == "student")
    labels: Mapping[str, Any] = next((each["labels"] for each in cases if each["case"] == case), {})
    return {label: figures["dice"] for label, figures in labels.items() if figures["dice"] is not None}
