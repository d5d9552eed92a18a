"""Teachers and students that are there already: installed models, and those of earlier runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from HLFDSegmentationLib.errors import HLFDError
from HLFDSegmentationLib.model_package import ModelPackage
from HLFDSegmentationLib.model_store import list_packages, title_among
from HLFDSegmentationLib.networks import NETWORKS, STUDENTS
from HLFDSegmentationLib.tasks import Task, same_input, same_labels

from .installed_note import noted_model
from .process_files import there
from .run_events import last_events
from .run_folder import RunFolder
from .run_list import run_folders, run_name

Role = Literal["teacher", "student"]


@dataclass(frozen=True)
class GivenModel:
    """Weights that a plan can bring.

    Attributes:
        source: name of a package or folder of a run, by which the user's choice is kept.
        weights: what `TrainingPlan.teacher_weights` takes: the source, or a run's best.pt of which a package was made.
        title: what the user reads.
        network: its name.
        patients_known: whether the run is known in which it was trained, so that its patients stay in their parts.
        unfinished: see `epochs_of_unfinished`.
    """

    source: str
    weights: str
    title: str
    network: str
    patients_known: bool = True
    unfinished: tuple[int, int] | None = None


def given_models(role: Role, task: Task, runs_folder: Path) -> list[GivenModel]:
    """What can be taken as teacher or student of a task: runs first, the newest before the others."""
    runs = run_folders(runs_folder)
    found = (_of_run(role, task, run) for run in runs)
    return [*(model for model in found if model), *_installed(role, task, runs)]


def _of_run(role: Role, task: Task, folder: Path) -> GivenModel | None:
    """What a run can give; none where it has not got so far, is damaged, or is for other labels."""
    run = RunFolder(folder)
    if not any(there(path) for path in (run.stage(role) / "best.pt", run.given(role))):
        return None
    try:
        plan = run.plan()
    except HLFDError:
        return None
    if not _fits(role, plan.task, task):
        return None
    unfinished = epochs_of_unfinished(run, role)
    return GivenModel(str(folder), str(folder), run_name(folder), getattr(plan, role), unfinished=unfinished)


def epochs_of_unfinished(run: RunFolder, stage: str) -> tuple[int, int] | None:
    """Of a network that was to learn longer, how many epochs it has learned and of how many; none for all others."""
    # The stages after it begin when it is finished.
    last = next((event for event in reversed(last_events(run.events)) if event["event"] == "epoch"), {})
    unfinished = last.get("stage") == stage and last.get("epoch") != last.get("epochs")
    return (last["epoch"], last["epochs"]) if unfinished else None


def _installed(role: Role, task: Task, runs: Iterable[Path]) -> list[GivenModel]:
    run_of = {noted_model(run): run for run in runs}
    networks = NETWORKS if role == "teacher" else STUDENTS
    stored = list_packages()
    packages = (one.package for one in stored if one.package)
    return [
        _of_package(package, title_among(package, stored), run_of.get((package.name, package.weights_sha256)))
        for package in packages
        if package.network_name in networks and _fits(role, package.task, task)
    ]


def _of_package(package: ModelPackage, title: str, run: Path | None) -> GivenModel:
    """A package; by its run's file, which tells the patients, where that is there."""
    best = RunFolder(run).stage("student") / "best.pt" if run else None
    known = best is not None and there(best)
    weights = str(best) if known else package.name
    return GivenModel(package.name, weights, title, package.network_name, patients_known=known)


def _fits(role: Role, one: Task, other: Task) -> bool:
    """Whether what learned one task can be used for another, as `given_weights` asks for it."""
    return same_labels(one, other) and (role == "student" or same_input(one, other))
