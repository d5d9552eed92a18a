"""Teachers and students that are there already: installed models, and those of earlier runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from HLFDSegmentationLib.errors import HLFDError
from HLFDSegmentationLib.model_store import list_packages
from HLFDSegmentationLib.networks import NETWORKS, STUDENTS
from HLFDSegmentationLib.tasks import Task

from .run_folder import RunFolder
from .run_list import list_runs, run_name

Role = Literal["teacher", "student"]


@dataclass(frozen=True)
class GivenModel:
    """Weights that a plan can bring.

    Attributes:
        source: name of a package, or folder of a run; what `TrainingPlan.teacher_weights` takes.
        title: what the user reads.
        network: its name.
    """

    source: str
    title: str
    network: str


def given_models(role: Role, task: Task, runs_folder: Path) -> list[GivenModel]:
    """What can be taken as teacher or student of a task: runs first, the newest before the others."""
    return [*_of_runs(role, task, runs_folder), *_installed(role, task)]


def _of_runs(role: Role, task: Task, runs_folder: Path) -> list[GivenModel]:
    found = (_of_run(role, task, row.folder) for row in list_runs(runs_folder))
    return [model for model in found if model]


def _of_run(role: Role, task: Task, folder: Path) -> GivenModel | None:
    """What a run can give; none where it has not got so far, is damaged, or is for other labels."""
    run = RunFolder(folder)
    if not any(path.is_file() for path in (run.stage(role) / "best.pt", run.given(role))):
        return None
    try:
        plan = run.plan()
    except HLFDError:
        return None
    return GivenModel(str(folder), run_name(folder), getattr(plan, role)) if _fits(role, plan.task, task) else None


def _installed(role: Role, task: Task) -> list[GivenModel]:
    networks = NETWORKS if role == "teacher" else STUDENTS
    packages = (stored.package for stored in list_packages() if stored.package)
    return [
        GivenModel(package.name, package.title, package.network_name)
        for package in packages
        if package.network_name in networks and _fits(role, package.task, task)
    ]


def _fits(role: Role, one: Task, other: Task) -> bool:
    """Whether what learned one task can be used for another, as `given_weights` asks for it."""
    if role == "teacher" and (one.window, one.spacing) != (other.window, other.spacing):
        return False
    return [label.terminology for label in one.labels] == [label.terminology for label in other.labels]
