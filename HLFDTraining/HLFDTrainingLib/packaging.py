"""A training run's student, or another of its networks, as a model package."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

from HLFDSegmentationLib.model_files.model_figures import figures_in_words
from HLFDSegmentationLib.model_files.package_metadata import INTENDED_USE
from HLFDSegmentationLib.model_package import ModelPackage, read_package, write_package
from HLFDSegmentationLib.output.private_folder import PrivateFolder

from .distillers import written
from .plan import TrainingPlan
from .runs.measured_figures import measured_figures
from .runs.origins import Method, Origin, origins_of
from .runs.run_folder import RunFolder

Metrics = Mapping[str, Mapping[str, float | None]]

WENT_ON = "- It went on from an earlier student, which had learned from its cases before."
"""What a card says of a student whose first weights were given."""

MET_BEFORE = (
    "- Whether patients who chose it, or whom it was tested on, were among those that these models had learned from is "
    "not known. If so, the figures below flatter it."
)


def package_run(
    run: RunFolder,
    destination: Path,
    *,
    name: str,
    stage: str = "student",
    title: str | None = None,
    license: str | None = None,
    license_text: str | None = None,
    training_data: Sequence[Mapping[str, Any]] | None = None,
    metrics: Metrics | None = None,
    card: str | None = None,
    method: str | None = None,
    authors: str = "not stated",
) -> Path:
    """Packages the best network of a stage of a finished run.

    Args:
        run: the run.
        destination: new .zip file or folder.
        name: of the model.
        stage: "student", "teacher" or "undistilled".
        title: what users read; from the task by default.
        license: of the model; by default, that of the packages that it comes from is told to be theirs.
        license_text: its text.
        training_data: see `ModelPackage`; by default the number of training patients, and what the packages that it
            comes from had learned from.
        metrics: measured figures; by default the validation Dice, and the means over the test cases where the run's
            networks were compared.
        card: the model card; one filled in from the run by default.
        method: by which the network learned; by default the run's, after those of the students that it went on from.
        authors: who made the model.

    Raises:
        TrainingError: the run is not finished.
        OutputError, PackageError: see `write_package`.
    """
    plan = run.plan()
    run.result()  # which a run has when it is finished
    patients = len({case.patient for case in run.split(plan).train})
    metrics = metrics or measured_figures(run, stage)
    known = origins_of(run)
    origins = known.of(stage)
    network_name, run_method = _made(plan, stage)
    method = method or _in_order([*map(_written, [] if stage == "teacher" else known.methods), run_method])
    title = title or f"{plan.task.title} ({network_name}, {method})"
    return write_package(
        destination,
        network=run.network(stage),
        network_name=network_name,
        task=plan.task,
        name=name,
        title=title,
        license=license or _license(origins),
        license_text=license_text,
        training_data=training_data
        or [
            {"name": "own cases", "source": "not stated", "license": "not stated", "patients": patients},
            *_data_before(origins),
        ],
        metrics=metrics,
        card=card or model_card(run, title, metrics, stage, method),
        method=method,
        seeds={"training": plan.seed},
        authors=authors,
    )


def _made(plan: TrainingPlan, stage: str) -> tuple[str, str]:
    """Name of a stage's network, and the method by which it learned."""
    return (plan.teacher if stage == "teacher" else plan.student, plan.written_method if stage == "student" else "none")


def _written(method: Method) -> str:
    return method if isinstance(method, str) else written(method["name"], method["options"])


def _in_order(methods: Sequence[str]) -> str:
    """Methods as a reader takes them, those of one kind in a row once."""
    told = [method for method, _ in groupby(methods)]
    if len(told) > 1:
        told = ["labels alone" if method == "none" else method for method in told]
    return ", then ".join(told)


def _license(origins: Sequence[Origin]) -> str:
    theirs = [f"{origin.license} of {origin.name}" for origin in origins]
    return f"not stated (it comes from: {', '.join(theirs)})" if theirs else "not stated"


def _data_before(origins: Sequence[Origin]) -> list[dict[str, Any]]:
    """What the packages had learned from that a network comes from, each data set once."""
    data = {json.dumps(item, sort_keys=True): item for origin in origins for item in origin.training_data}
    return list(data.values())


def _told_origins(origins: Sequence[Origin]) -> list[str]:
    lines = [
        f"- {'Taught by' if origin.taught else 'It went on from'} the model {origin.name} (license {origin.license})."
        for origin in origins
    ]
    return [*lines, MET_BEFORE] if lines else []


def model_card(run: RunFolder, title: str, metrics: Metrics, stage: str, method: str) -> str:
    """A model card, Markdown, of what the run knows; see `package_run` for the method."""
    plan, best = run.plan(), run.best(stage)
    network_name, run_method = _made(plan, stage)
    origin = "trained on the labels alone" if run_method == "none" else f"distilled from {plan.teacher} by {run_method}"
    if method != run_method:
        origin = f"trained by {method}"
    epochs = plan.teacher_epochs if stage == "teacher" else plan.student_epochs
    split = run.split(plan)
    counts = ", ".join(
        f"{len(getattr(split, part))} for {purpose}"
        for part, purpose in (("train", "training"), ("validation", "choosing the model"), ("test", "testing"))
    )
    went_on = stage != "teacher" and plan.student_weights
    low, high = plan.task.window
    figures = [f"- {label}: {figures_in_words(values)}" for label, values in metrics.items()]
    return "\n".join(
        [
            f"# {title}",
            "",
            INTENDED_USE,
            "",
            "## How it was made",
            "",
            f"- Network: {network_name}, {origin}.",
            *([WENT_ON] if went_on else []),
            *_told_origins(origins_of(run).of(stage)),
            f"- Input: axial slices of CT, {plan.task.spacing:g} mm pixels, window {low:g} to {high:g} HU.",
            f"- Cases, split by patient: {counts}.",
            f"- {epochs} epochs, seed {plan.seed}; epoch {best['epoch']} was the best by the {best['chosen_by']}.",
            "",
            "## Measured",
            "",
            *figures,
            "",
        ]
    )


@contextmanager
def stage_as_package(run: RunFolder, stage: str) -> Iterator[ModelPackage]:
    """The best network of a finished run's stage as a package in a private folder, which is removed at the end."""
    with PrivateFolder() as folder:
        yield read_package(package_run(run, folder.path / stage, name=stage, stage=stage))
