"""Cases for training, validation and test, divided by patient."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from HLFDSegmentationLib.errors import CasesError

if TYPE_CHECKING:  # `scene_checks` is to load without numpy.
    from .cases import Case

PARTS = ("train", "validation", "test")
FRACTIONS = (0.7, 0.1, 0.2)
USES = {"train": "learn from", "validation": "choose the best model with", "test": "measure the result on"}
"""What the cases of each part are for."""
_WITHOUT_LABEL = {
    "train": "it cannot be learned",
    "validation": "the best model is chosen without regard to it",
    "test": "it will not be known how well it is found",
}


def label_gap(part: str, label: str) -> str:
    """For the user: what it means that no case of a part shows a label that cases of other parts do."""
    return f"None of the cases to {USES[part]} shows {label}, so {_WITHOUT_LABEL[part]}."


class OfPatient(Protocol):
    """What is split: a case, or the row of one that is still being made."""

    @property
    def name(self) -> str:
        """No two have the same."""

    @property
    def patient(self) -> str:
        """Whose it is."""


@dataclass(frozen=True)
class Split:
    """Cases by what they are used for: to learn from, to choose the best model with, and to report figures of.

    Raises:
        CasesError: a patient is in two parts.
    """

    train: tuple[Case, ...]
    validation: tuple[Case, ...]
    test: tuple[Case, ...]
    seed: int = 0

    def __post_init__(self) -> None:
        counts = Counter(patient for part in PARTS for patient in {case.patient for case in getattr(self, part)})
        shared = sorted(patient for patient, count in counts.items() if count > 1)
        if shared:
            raise CasesError(
                f"Patient {shared[0]} is in more than one part of the split, so the model would be judged on what it "
                "has learned from. Split the cases anew."
            )

    @property
    def cases(self) -> tuple[Case, ...]:
        """All of them."""
        return (*self.train, *self.validation, *self.test)

    def to_dict(self) -> dict[str, Any]:
        """The split as JSON holds it, by case names."""
        return {"seed": self.seed, **{part: [case.name for case in getattr(self, part)] for part in PARTS}}

    @classmethod
    def from_dict(cls, data: dict[str, Any], cases: Sequence[Case], name: str = "The stored split") -> Split:
        """The split that `to_dict` stored, of the same cases; its name is told where it is not.

        Raises:
            CasesError: it is no split, a case is missing, new, or listed twice, or a patient is in two parts.
        """
        by_name = {case.name: case for case in cases}
        try:
            names = {part: [str(name) for name in data[part]] for part in PARTS}
            seed = int(data["seed"])
        except (KeyError, TypeError, ValueError) as error:
            raise CasesError(
                f"{name} is damaged: it must hold a seed and the names of the cases of {', '.join(PARTS)}. Correct or "
                "restore the file, or begin a new run."
            ) from error
        stored = Counter(name for part in PARTS for name in names[part])
        differing = sorted({*(by_name.keys() ^ stored.keys()), *(name for name, count in stored.items() if count > 1)})
        if differing:
            raise CasesError(
                f"{name} and the cases differ in {len(differing)} cases, first {differing[0]}: every case must stand "
                "in one part. Restore the cases or the split, or begin a new run."
            )
        train, validation, test = (tuple(by_name[name] for name in names[part]) for part in PARTS)
        return cls(train, validation, test, seed)


def read_split(path: Path, cases: Sequence[Case]) -> Split:
    """The split of cases that a file holds, as the split.json of a run.

    Raises:
        CasesError: it cannot be read, or is not of these cases.
    """
    try:
        return Split.from_dict(json.loads(path.read_text(encoding="utf-8-sig")), cases, f"The split {path}")
    except (OSError, ValueError) as error:
        raise CasesError(f"The split {path} cannot be read: {error}. Give the split.json of a training run.") from error


def split_by_patient(
    cases: Sequence[Case], *, fractions: tuple[float, float, float] = FRACTIONS, seed: int = 0
) -> Split:
    """Divides cases into training, validation and test, every patient whole in one of them.

    The result depends on the patients' names and the seed alone, not on the order of the cases. From two patients on,
    training and validation have at least one each.

    Args:
        cases: the cases to divide.
        fractions: shares of the patients for training, validation and test; their sum is 1.
        seed: another seed gives another division.

    Raises:
        CasesError: there are no cases, or the fractions are not shares.
    """
    return _split(cases, parts_by_patient(cases, fractions=fractions, seed=seed), seed)


def parts_by_patient(
    cases: Sequence[OfPatient], *, fractions: tuple[float, float, float] = FRACTIONS, seed: int
) -> dict[str, str]:
    """The part of each patient, as `split_by_patient` divides them. Raises CasesError as it does."""
    if not cases:
        raise CasesError("There are no cases to split. Give a folder with annotated cases.")
    if len(fractions) != len(PARTS) or min(fractions) < 0 or not abs(sum(fractions) - 1) <= 1e-6:
        raise CasesError(f"The shares {fractions} for training, validation and test must be 0 or more and add up to 1.")
    patients = sorted({case.patient for case in cases}, key=lambda patient: _shuffle_key(patient, seed))
    validation, test = _counts(len(patients), fractions)
    return {
        **dict.fromkeys(patients[:validation], "validation"),
        **dict.fromkeys(patients[validation : validation + test], "test"),
        **dict.fromkeys(patients[validation + test :], "train"),
    }


def split_onward(cases: Sequence[Case], before: Mapping[str, str], *, seed: int) -> Split:
    """Divides cases for a student that goes on learning, so that it is never judged by whom it has learned from.

    Patients whom it has met stay in their part; the new ones are divided among themselves.

    Args:
        cases: the cases to divide.
        before: part of each patient whom the student has met.
        seed: of the new patients' division.

    Raises:
        CasesError: there are no cases.
    """
    part_of = dict(before)
    new = [case for case in cases if case.patient not in part_of]
    if new:
        part_of |= parts_by_patient(new, seed=seed)
    elif not cases:
        raise CasesError("There are no cases to split. Give a folder with annotated cases.")
    return _split(cases, part_of, seed)


def _split(cases: Sequence[Case], part_of: Mapping[str, str], seed: int) -> Split:
    ordered = sorted(cases, key=lambda case: case.name)
    train, validation, test = (tuple(case for case in ordered if part_of[case.patient] == part) for part in PARTS)
    return Split(train, validation, test, seed)


def _shuffle_key(patient: str, seed: int) -> str:
    """A hash, so that a patient's place does not hang on a generator's version or on the other patients."""
    return hashlib.sha256(f"{seed}/{patient}".encode(errors="surrogateescape")).hexdigest()


def _counts(patients: int, fractions: tuple[float, float, float]) -> tuple[int, int]:
    """How many of the patients are for validation and for test."""
    if patients < 2:
        return 0, 0
    validation = min(max(1, round(patients * fractions[1])), patients - 1)
    test = min(round(patients * fractions[2]), patients - 1 - validation)
    return validation, test
