"""Whom a run's networks have met: the patients of its own cases, and of the runs that its first weights come from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from HLFDSegmentationLib.errors import TrainingError

from ..annotations.case_files import look_at
from ..annotations.ct_fingerprints import check_patients_named_alike, ct_fingerprints
from ..cases import Case
from ..plan import TrainingPlan
from ..split import PARTS, Split, split_by_patient, split_onward
from .process_files import read_object
from .run_folder import RunFolder

EARLIER = "earlier.json"
"""File with the patients whom the plan's weights have met: their runs may be moved or removed."""

FINGERPRINTS = "fingerprints.json"
"""File with what the `files` of the run's cases were (`case_files.Looked`), by the case's name, and the patients by CT
of `earlier` runs."""


def parts_of(run: RunFolder) -> dict[str, str]:
    """Part of the split by patient, in this run and in those that its first weights come from.

    A patient whom any of them has learned from is one to learn from; whom any has chosen its model by, and none
    has learned from, is one to choose by.
    """
    split = run.split(run.plan())
    own = {case.patient: part for part in PARTS for case in getattr(split, part)}
    return _merged(own, run.read(EARLIER))


def keep_patients_by_ct(run: RunFolder, split: Split) -> None:
    """Keeps whose CTs these are, for those who measure the student later, and sees that none was exchanged.

    Raises:
        CasesError: a CT that an earlier training has met under the name of another patient; or one, or a label,
            that is another than when the run was begun.
    """
    stored = _fingerprints(run)
    files = look_at(split.cases, known_files(run))
    own = {name: looked["ct"] for name, looked in files.items() if looked["ct"]}
    check_patients_named_alike(split.cases, own, stored["earlier"])
    run.write(FINGERPRINTS, {**stored, "files": files})


def known_files(run: RunFolder) -> dict[str, dict[str, Any]]:
    """What the run knows of its cases' files, for `case_files.look_at`."""
    return _fingerprints(run)["files"]


def patients_by_ct(run: RunFolder) -> dict[str, str]:
    """The patient of each CT by its `image_fingerprint`, in this run and in those that its first weights come from."""
    stored = _fingerprints(run)
    cases = run.split(run.plan()).cases
    own = {ct: case.patient for case in cases if (ct := stored["files"].get(case.name, {}).get("ct"))}
    return {**stored["earlier"], **own}


def _fingerprints(run: RunFolder) -> dict[str, dict[str, Any]]:
    # A power failure may have emptied the file: a training can go on without it.
    return {"earlier": {}, "files": {}, **(read_object(run.path / FINGERPRINTS) or {})}


def run_of_weights(source: str | Path) -> RunFolder | None:
    """The run that weights come from: a run's folder, or the best.pt of one of its stages; none for all else."""
    path = Path(source)
    run = RunFolder(path.absolute().parent.parent if path.suffix == ".pt" else path)
    return run if run.started else None


def parts_met(sources: Iterable[str | None]) -> dict[str, str]:
    """Part of the split by patient in the runs that weights come from, see `parts_of`; none for other weights.

    Raises:
        CasesError: the cases of such a run are gone.
        TrainingError: such a run's folder is damaged.
    """
    parts: dict[str, str] = {}
    for source in sources:
        if source and (run := run_of_weights(source)):
            parts = _merged(parts, parts_of(run))
    return parts


def patients_met_by_ct(sources: Iterable[str | None]) -> dict[str, str]:
    """`patients_by_ct` of all the runs that weights come from.

    Raises:
        TrainingError: two of them call the patient of one CT differently.
    """
    met: dict[str, str] = {}
    for run in filter(None, (run_of_weights(source) for source in sources if source)):
        for ct, patient in patients_by_ct(run).items():
            if met.setdefault(ct, patient) != patient:
                raise TrainingError(
                    f"Student and teacher come from trainings that call one patient '{met[ct]}' and '{patient}', so "
                    "that a network could be judged by what it has learned from. Take both from one training, or train "
                    "the teacher anew."
                )
    return met


def _merged(one: Mapping[str, str], other: Mapping[str, str]) -> dict[str, str]:
    """Both; where they differ about a patient, the part that weighs more: learned from, chosen by, tested on."""
    both = {patient: min(one[patient], other[patient], key=PARTS.index) for patient in one.keys() & other.keys()}
    return {**one, **other, **both}


def check_named_as_met(plan: TrainingPlan, cases: Sequence[Case]) -> None:
    """Refuses a copy of a CT, under another patient's name, that the plan's student or teacher has learned from.

    Raises:
        CasesError: there is one.
    """
    if patients := patients_met_by_ct([plan.student_weights, plan.teacher_weights]):
        check_patients_named_alike(cases, ct_fingerprints(cases), patients)


def split_for(plan: TrainingPlan, cases: Sequence[Case]) -> Split:
    """Divides the cases by patient, as the runs did from which the plan's student and teacher come.

    Raises:
        CasesError: there are no cases, those of an earlier run are gone, or its patient has another name here.
        TrainingError: an earlier run's folder is damaged.
    """
    check_named_as_met(plan, cases)
    before = parts_met([plan.student_weights, plan.teacher_weights])
    return split_onward(cases, before, seed=plan.seed) if before else split_by_patient(cases, seed=plan.seed)
