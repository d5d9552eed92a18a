"""The model packages that a run's networks come from, also by way of earlier runs: their data and licenses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from HLFDSegmentationLib.model_store import find_package

from ..plan import TrainingPlan
from .earlier_runs import run_of_weights
from .run_folder import RunFolder

ORIGINS = "origins.json"

Method = str | Mapping[str, Any]
"""What a package tells, or the "name" and "options" of a run, which only a program with torch can write out."""


@dataclass(frozen=True)
class Origin:
    """A package whose weights a network began with, or was taught by.

    Attributes:
        name: of the package.
        license, training_data: see `ModelPackage`.
        taught: whether it was, or taught, a teacher of the network.
    """

    name: str
    license: str
    training_data: list[dict[str, Any]]
    taught: bool


@dataclass(frozen=True)
class Origins:
    """Where a run's networks come from.

    Attributes:
        first_weights: packages that the student's first weights come from.
        teacher: packages that the teacher comes from.
        methods: by which the student's first weights had learned, in order.
    """

    first_weights: Sequence[Origin] = field(default_factory=list)
    teacher: Sequence[Origin] = field(default_factory=list)
    methods: Sequence[Method] = field(default_factory=list)

    def of(self, stage: str) -> list[Origin]:
        """The packages that the network of a stage comes from, each once; "undistilled" has no teacher."""
        if stage == "teacher":
            return list(self.teacher)
        taught = [] if stage == "undistilled" else [replace(origin, taught=True) for origin in self.teacher]
        return list({(origin.name, origin.taught): origin for origin in (*self.first_weights, *taught)}.values())

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it; `origins_of` reads it back."""
        return asdict(self)


def origins_of(run: RunFolder) -> Origins:
    """Where a run's networks come from.

    Raises:
        TrainingError: the file is missing or damaged.
    """
    kept = run.read(ORIGINS)
    first_weights, teacher = ([Origin(**origin) for origin in kept[name]] for name in ("first_weights", "teacher"))
    return Origins(first_weights, teacher, kept["methods"])


def origins_for(plan: TrainingPlan) -> Origins:
    """Where the networks of a planned run will come from.

    Raises:
        PackageError: the plan's weights are of a package that cannot be read.
        TrainingError: the folder of an earlier run is damaged.
    """
    first_weights, methods = _of_weights(plan.student_weights, "student")
    teacher, _ = _of_weights(plan.teacher_weights if plan.method != "none" else None, "teacher")
    return Origins(first_weights, teacher, methods)


def _of_weights(source: str | None, role: str) -> tuple[list[Origin], list[Method]]:
    """The packages that weights come from, and the methods by which they have learned."""
    if not source:
        return [], []
    is_file = Path(source).suffix == ".pt"
    if run := run_of_weights(source):
        stage = Path(source).absolute().parent.name if is_file else role
        known, plan = origins_of(run), run.plan()
        own: Method = {"name": plan.method, "options": plan.method_options} if stage == "student" else "none"
        return known.of(stage), [] if stage == "teacher" else [*known.methods, own]
    if is_file or (Path(source) / role / "best.pt").is_file():
        return [], []
    package = find_package(source)
    return [Origin(package.name, package.license, package.training_data, taught=False)], [package.method]
