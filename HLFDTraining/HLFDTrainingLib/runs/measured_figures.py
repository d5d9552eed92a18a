"""How good a run has found its networks to be: the figures that a package tells."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from HLFDSegmentationLib.errors import TrainingError
from HLFDSegmentationLib.model_files.model_figures import PATIENTS

from ..metrics import METRICS, with_tumors
from .counted_cases import Figures, counted_values, shows_label
from .run_folder import RunFolder

ROW_FIGURES = "figures.json"
"""What `hlfd compare` has measured of a row's student; see `compare.measuring`."""


def measured_figures(run: RunFolder, stage: str) -> dict[str, dict[str, float | None]]:
    """Figures of a stage's best network by label, and of how many patients they are the mean.

    `validation_dice` and `validation_patients`; where it was measured, also `test_patients`, a mean over the test cases
    for each of `METRICS`, as `test_dice`, and `test_dice_with_tumors` of an organ that has tumors in the task. Both are
    of the cases whose annotation shows the label. Where none does, Dice is None, and there are no patients.

    Raises:
        TrainingError: the run has no such network, or one of its files is missing or damaged.
    """
    best, tested = run.best(stage), _tested(run, stage)
    return {
        label: {
            "validation_dice": dice,
            **({f"validation_{PATIENTS}": patients} if (patients := best[PATIENTS][label]) else {}),
            **tested.get(label, {}),
            **_whole(tested.get(with_tumors(label), {})),
        }
        for label, dice in best["dice"].items()
    }


def _whole(organ: Mapping[str, float | None]) -> dict[str, float | None]:
    return {"test_dice_with_tumors": organ["test_dice"]} if "test_dice" in organ else {}


def _tested(run: RunFolder, stage: str) -> dict[str, dict[str, float | None]]:
    patient = {case.name: case.patient for case in run.split(run.plan()).test}
    by_label = defaultdict(list)
    try:
        for case, label, figures in _of_cases(run, stage):
            by_label[label].append((patient[case], figures))
    except (KeyError, TypeError) as error:
        file = run.comparison if run.comparison.is_file() else run.path / ROW_FIGURES
        raise TrainingError(
            f"{file} is damaged: it does not hold the figures of this run's test cases. Put it back from a copy, or "
            "delete it and measure them again, as docs/training.md tells."
        ) from error
    return {label: _means(of_cases) for label, of_cases in by_label.items()}


def _means(of_cases: Sequence[tuple[str, Figures]]) -> dict[str, float | None]:
    values = {metric: counted_values(metric, [figures for _patient, figures in of_cases]) for metric in METRICS}
    means = {f"test_{metric}": fmean(known) for metric, known in values.items() if known}
    patients = {patient for patient, figures in of_cases if shows_label(figures)}
    return {"test_dice": None, **means, **({f"test_{PATIENTS}": len(patients)} if patients else {})}


def _of_cases(run: RunFolder, stage: str) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Case, label and figures, as `hlfd evaluate RUN --all` or `hlfd compare` measured them; nothing where none did."""
    if run.comparison.is_file():
        for model in run.read(run.comparison.name)["models"]:
            if model["stage"] == stage:
                for case in model["cases"]:
                    for label, figures in case["labels"].items():
                        yield case["case"], label, figures
    elif stage == "student" and (run.path / ROW_FIGURES).is_file():
        for row in run.read(ROW_FIGURES)["cases"]:
            yield row["case"], row["label"], row
