"""A training run's student as a model package."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from HLFDSegmentationLib.model_package import INTENDED_USE, ModelPackage, read_package, write_package

from .run_folder import RunFolder

Metrics = Mapping[str, Mapping[str, float | None]]


def package_run(
    run: RunFolder,
    destination: Path,
    *,
    name: str,
    title: str | None = None,
    license: str = "not stated",
    license_text: str | None = None,
    training_data: Sequence[Mapping[str, Any]] | None = None,
    metrics: Metrics | None = None,
    card: str | None = None,
    authors: str = "not stated",
) -> Path:
    """Packages the best student of a finished run.

    Args:
        run: the run.
        destination: new .zip file or folder.
        name: of the model.
        title: what users read; from the task by default.
        license: of the model.
        license_text: its text.
        training_data: see `ModelPackage`; the number of training patients by default.
        metrics: measured figures; the validation Dice by default.
        card: the model card; one filled in from the run by default.
        authors: who made the model.

    Raises:
        TrainingError: the run is not finished.
        OutputError, PackageError: see `write_package`.
    """
    plan = run.plan()
    result = run.result()
    patients = len({case.patient for case in run.split(plan).train})
    metrics = metrics or {label: {"validation_dice": dice} for label, dice in result["validation_dice"].items()}
    title = title or f"{plan.task.title} ({plan.student}, {plan.method})"
    return write_package(
        destination,
        network=run.network("student"),
        network_name=plan.student,
        task=plan.task,
        name=name,
        title=title,
        license=license,
        license_text=license_text,
        training_data=training_data
        or [{"name": "own cases", "source": "not stated", "license": "not stated", "patients": patients}],
        metrics=metrics,
        card=card or model_card(run, title, metrics),
        method=plan.method,
        seeds={"training": plan.seed},
        authors=authors,
    )


def model_card(run: RunFolder, title: str, metrics: Metrics) -> str:
    """A model card, Markdown, of what the run knows."""
    plan, result = run.plan(), run.result()
    split = run.split(plan)
    counts = ", ".join(
        f"{len(getattr(split, part))} for {purpose}"
        for part, purpose in (("train", "training"), ("validation", "choosing the model"), ("test", "testing"))
    )
    low, high = plan.task.window
    figures = [
        f"- {label}: " + ", ".join(f"{name.replace('_', ' ')} {_figure(value)}" for name, value in values.items())
        for label, values in metrics.items()
    ]
    return "\n".join(
        [
            f"# {title}",
            "",
            INTENDED_USE,
            "",
            "## How it was made",
            "",
            f"- Network: {plan.student}, distilled from {plan.teacher} by the method {plan.method}.",
            f"- Input: axial slices of CT, {plan.task.spacing:g} mm pixels, window {low:g} to {high:g} HU.",
            f"- Cases, split by patient: {counts}.",
            f"- {plan.student_epochs} epochs, seed {plan.seed}; epoch {result['best_epoch']} was the best by the "
            f"{result['chosen_by']}.",
            "",
            "## Measured",
            "",
            *figures,
            "",
        ]
    )


def _figure(value: float | None) -> str:
    return "not measured" if value is None or math.isnan(value) else f"{value:.3f}"


@contextmanager
def student_as_package(run: RunFolder) -> Iterator[ModelPackage]:
    """The student of a finished run as a package in a private folder, which is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="hlfd-") as folder:
        yield read_package(package_run(run, Path(folder) / "student", name="student"))
