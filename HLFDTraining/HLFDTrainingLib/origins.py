"""The model packages that a run's networks come from, also by way of earlier runs: their data and licenses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from HLFDSegmentationLib.model_store import find_package

from .earlier_runs import run_of_weights
from .plan import TrainingPlan
from .run_folder import RunFolder

ORIGINS = "origins.json"


@dataclass(frozen=True)
class Origin:
    """A package whose weights a student began with, or was taught by.

    Attributes:
        name: of the package.
        license, training_data: see `ModelPackage`.
        taught: whether it was, or taught, the student's teacher.
    """

    name: str
    license: str
    training_data: list[dict[str, Any]]
    taught: bool


@dataclass(frozen=True)
class Origins:
    """Where a run's student comes from.

    Attributes:
        packages: each once.
        methods: by which its first weights had learned, in order: what a package tells, or the "name" and "options" of
            a run, which only a program with torch can write out.
    """

    packages: Sequence[Origin] = field(default_factory=list)
    methods: Sequence[str | Mapping[str, Any]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it; `origins_of` reads it back."""
        return asdict(self)


def origins_of(run: RunFolder) -> Origins:
    """Where a run's student comes from; nothing is known of runs that an older version began.

    Raises:
        TrainingError: the file is damaged.
    """
    if not (run.path / ORIGINS).is_file():
        return Origins()
    kept: Mapping[str, Any] = run.read(ORIGINS)
    return Origins([Origin(**origin) for origin in kept["packages"]], kept["methods"])


def origins_for(plan: TrainingPlan) -> Origins:
    """Where the student of a planned run will come from.

    Raises:
        PackageError: the plan's weights are of a package that cannot be read.
        TrainingError: the folder of an earlier run is damaged.
    """
    student = _of_weights(plan.student_weights, "student")
    teacher = _of_weights(plan.teacher_weights if plan.method != "none" else None, "teacher")
    taught = [replace(origin, taught=True) for origin in teacher.packages]
    once = {(origin.name, origin.taught): origin for origin in (*student.packages, *taught)}
    return Origins(list(once.values()), student.methods)


def of_stage(origins: Origins, stage: str) -> Origins:
    """What of a run's origins its teacher, student, or student without teacher ("undistilled") comes from."""
    if stage == "teacher":
        return Origins([origin for origin in origins.packages if origin.taught])
    if stage == "undistilled":
        return replace(origins, packages=[origin for origin in origins.packages if not origin.taught])
    return origins


def _of_weights(source: str | None, role: str) -> Origins:
    if not source:
        return Origins()
    if run := run_of_weights(source):
        stage = Path(source).absolute().parent.name if Path(source).suffix == ".pt" else role
        known = of_stage(origins_of(run), stage)
        if stage == "teacher":
            return known
        plan = run.plan()
        own = {"name": plan.method, "options": plan.method_options} if stage == "student" else "none"
        return replace(known, methods=[*known.methods, own])
    if Path(source).suffix == ".pt" or (Path(source) / role / "best.pt").is_file():
        return Origins()
    package = find_package(source)
    return Origins([Origin(package.name, package.license, package.training_data, taught=False)], [package.method])
