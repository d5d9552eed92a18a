"""The weights that a plan brings along: found, compared with the plan, and copied into the run's folder."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import torch
from HLFDSegmentationLib.devices import choose_device
from HLFDSegmentationLib.errors import TrainingError
from HLFDSegmentationLib.model_store import find_package
from HLFDSegmentationLib.networks import build_network
from HLFDSegmentationLib.output.safe_files import replacing, write_through
from HLFDSegmentationLib.tasks import Task, same_input, same_labels

from ..distillers import needs_teacher
from ..plan import TrainingPlan
from ..split import PARTS, Split
from .earlier_runs import parts_of, run_of_weights
from .given_models import epochs_of_unfinished
from .run_folder import RunFolder, check_no_comparison
from .weights_files import read_weights, writing

logger = logging.getLogger(__name__)

Weights = Mapping[str, torch.Tensor]


def check_plan(plan: TrainingPlan) -> None:
    """Looks whether this computer can do what a plan asks for, before anything is written.

    Warns of weights that have not learned as long as they were to.

    Raises:
        TrainingError: there is no such method, the slices are not for it, or the weights that the plan brings are
            missing or do not fit.
        InputError: there is no such device.
        PackageError: see `find_package`.
    """
    choose_device(plan.device)
    plan.check_input_size()
    for role, source in _brought(plan).items():
        find_weights(source, role, plan)
        warn_of_unfinished(Path(source), role)


def check_judged(plan: TrainingPlan, split: Split) -> None:
    """Refuses a split that judges the plan's teacher or student by whom it has learned from, see `check_patients`."""
    for role, source in _brought(plan).items():
        check_patients(Path(source), role, split)


def keep_given_weights(folder: RunFolder, plan: TrainingPlan, split: Split) -> None:
    """Copies the weights that the plan brings into the run's folder, which needs their source no more from then on.

    Raises:
        TrainingError: they are missing, of another network or task, or have learned from a patient whom this run
            judges the student by.
        PackageError: see `find_package`.
    """
    for role, source in _brought(plan).items():
        kept = folder.given(role)
        if not kept.is_file():
            weights = find_weights(source, role, plan)
            check_patients(Path(source), role, split)
            with replacing(kept) as aside, writing(kept), aside.open("wb") as file:
                torch.save({"network": weights}, file)
                write_through(file)


def read_given_weights(folder: RunFolder, plan: TrainingPlan, role: str) -> Weights:
    """What `keep_given_weights` has kept of the teacher or the student. Raises TrainingError where it is damaged."""
    try:
        return read_weights(folder.given(role))["network"]
    except TrainingError as error:
        raise TrainingError(
            f"{error} Put it back from a copy, or delete it and continue (in a terminal with --resume): it is copied "
            f"again from {_brought(plan)[role]}, whose {role} must be the same as then."
        ) from error


def _brought(plan: TrainingPlan) -> dict[str, str]:
    """Where the weights are that the plan brings, by role."""
    sources = {
        "teacher": plan.teacher_weights if needs_teacher(plan.method, plan.method_options) else None,
        "student": plan.student_weights,
    }
    return {role: source for role, source in sources.items() if source}


def find_weights(source: str, role: str, plan: TrainingPlan) -> Weights:
    """The role's weights from a run folder, a best.pt, or a model package.

    Raises:
        TrainingError: they are missing, or of another network or task than the plan's.
        PackageError: see `find_package`.
    """
    network_name = getattr(plan, role)
    run = RunFolder(Path(source))
    file = Path(source) / role / "best.pt"
    if trained := run_of_weights(Path(source)):
        _check_task(trained.plan().task, source, role, plan)
    if run.started or file.is_file():
        _check_own_teacher(run, role, file)
        weights = read_weights(file if file.is_file() or not run.given(role).is_file() else run.given(role))
    elif Path(source).suffix == ".pt":
        if not Path(source).is_file():
            raise TrainingError(f"There is no file {source} with weights of a {role}. Check the path.")
        weights = read_weights(Path(source))
    else:
        check_no_comparison(Path(source), "teacher" if role == "teacher" else "rows/NAME")
        package = find_package(source)
        _check_task(package.task, source, role, plan)
        weights = {"network": package.load_network().state_dict()}
    try:
        build_network(network_name, plan.task.num_classes).load_state_dict(weights["network"])
    except (RuntimeError, KeyError, TypeError) as error:
        raise TrainingError(
            f"The {role} in {source} is no {network_name} for the task '{plan.task.name}'. "
            f"Name its network with --{role}, or choose other weights."
        ) from error
    return weights["network"]


def warn_of_unfinished(source: Path, role: str) -> None:
    """Warns of weights that have not learned as long as they were to."""
    run = run_of_weights(source)
    stage = source.absolute().parent.name if source.suffix == ".pt" else role
    if run and (unfinished := epochs_of_unfinished(run, stage)):
        logger.warning(
            "The %s in %s has learned until epoch %d of %d alone. Go on with its training first, unless that is meant.",
            role,
            source,
            *unfinished,
        )


def _check_own_teacher(run: RunFolder, role: str, file: Path) -> None:
    """Raises TrainingError where a run was taught by a teacher that it does not hold, as a row of a comparison."""
    if role != "teacher" or file.is_file() or run.given(role).is_file():
        return
    if taught_by := run.plan().teacher_weights:
        raise TrainingError(
            f"The training in {run.path} has no teacher of its own: it was taught by that in {taught_by}. Give that."
        )


def _check_task(task: Task, source: str, role: str, plan: TrainingPlan) -> None:
    if not same_labels(task, plan.task):
        told, wanted = (", ".join(label.name for label in one.labels) for one in (task, plan.task))
        raise TrainingError(
            f"The {role} in {source} tells {told}, and this run is for {wanted}. "
            "Choose weights that were trained for the same labels, or the task that they were trained for."
        )
    # A student gets used to other slices while it learns; a teacher would go on telling what it sees in strange ones.
    if role == "teacher" and not same_input(task, plan.task):
        raise TrainingError(
            f"The {role} in {source} has learned from slices with {_seen(task)}, and this run has {_seen(plan.task)}. "
            "Choose another teacher, or the task that it was trained for: in a terminal, --task takes the name of a "
            "model, too."
        )


def _seen(task: Task) -> str:
    low, high = task.window
    return f"pixels of {task.spacing:g} mm and a window of {low:g} to {high:g} HU"


def check_patients(source: Path, role: str, split: Split) -> None:
    """Refuses a network that would be judged on what it has learned from, where its run tells who that was.

    Nor may those help to judge it now by whom it was chosen. That run's own first weights count too.

    Args:
        source: of the weights.
        role: "teacher" or "student".
        split: of the run that gets them.

    Raises:
        TrainingError: the network has learned from a patient who is not among those to learn from, or was chosen by
            one who is among those to test on.
    """
    run = run_of_weights(source)
    before = parts_of(run) if run else {}
    judged = {case.patient: part for part in ("validation", "test") for case in getattr(split, part)}
    for patient in sorted(judged.keys() & before.keys()):
        if PARTS.index(before[patient]) < PARTS.index(judged[patient]):
            done = "has learned from" if before[patient] == "train" else "was chosen by"
            raise TrainingError(
                f"The {role} in {source} {done} patient {patient}, whom this run would judge it by. "
                f"Leave the patient in the part '{before[patient]}', or take another {role}."
            )
