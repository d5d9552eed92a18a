"""The annotated cases of each experiment, made once from the public data and divided by patient.

What is painted is called painted: the names of such cases begin with it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from HLFDSegmentationLib.errors import CasesError
from HLFDSegmentationLib.tasks import Task
from HLFDTrainingLib.cases import Case, find_cases, write_cases_json
from HLFDTrainingLib.split import Split, split_by_patient
from painted_kidney_volumes import painted_volume
from painted_liver_lesions import is_even
from painted_metastases import draw_kind, with_metastases
from scipy import ndimage
from slice_cases import patient_of, read_slice, write_case, write_slice

SEED = 20261123
FRACTIONS = (0.7, 0.1, 0.2)
# Within a fold, validation has this share of the patients that are not tested on.
FOLD_FRACTIONS = (0.85, 0.15, 0.0)

# What the liver slices show as well.
FIELD_MM = 400.0

LIVER = {1: ("liver",)}
LIVER_AND_TUMORS = {1: ("liver",), 2: ("liver tumor",)}
# A cyst is no tumor, and the kidney's outline goes around it.
KIDNEY_AND_TUMORS = {1: ("kidney",), 2: ("kidney tumor",), 3: ("kidney",)}


@dataclass(frozen=True)
class Extent:
    """How much of the data an experiment takes.

    Attributes:
        patients: at most so many; none takes all.
        paintings: how often a slice is painted, each time with other lesions.
        training_slices: slices of a painted volume to learn from or to choose the best model with.
        test_slices: slices of a painted volume to report figures of.
        folds: every patient is in the test part of one of so many; 1 is a single division.
        teacher_paintings: how often volumes to learn from are painted anew for the teacher alone.
    """

    patients: int | None = None
    paintings: int = 2
    training_slices: int = 8
    test_slices: int = 20
    folds: int = 1
    teacher_paintings: int = 0


Maker = Callable[[Path, Path, Extent], Split]
"""Makes cases from the data folder in a folder, and divides them."""


def liver_slices(data: Path, folder: Path, extent: Extent) -> Split:
    """Real slices of LiTS: the liver with whatever tumors it has."""
    cases = [
        write_slice(folder / path.stem, *read_slice(path), patient_of(path), LIVER)
        for path in of_patients(slice_files(data / "msd_liver_slices"), extent)
    ]
    return split_by_patient(cases, fractions=FRACTIONS, seed=SEED)


def kidney_slices(data: Path, folder: Path, extent: Extent) -> Split:
    """Real slices of KiTS19, each with a tumor. They are divided into folds later, so all are for training here."""
    cases = [
        write_slice(folder / path.stem, *around_body(*read_slice(path)), patient_of(path), KIDNEY_AND_TUMORS)
        for path in of_patients(slice_files(data / "kits19_slices"), extent)
    ]
    return Split(tuple(cases), (), (), seed=SEED)


def painted_liver_lesions(data: Path, folder: Path, extent: Extent) -> Split:
    """Real slices of LiTS with an even liver, with lesions painted into it: one kind for each patient."""
    paths = [path for path in slice_files(data / "msd_liver_slices") if is_even(*read_slice(path)[:2])]
    cases = []
    for path in of_patients(paths, extent):
        hu, label, spacing = read_slice(path)
        patient = patient_of(path)
        kind = draw_kind(np.random.default_rng([SEED, *patient.encode()]))
        for painting in range(extent.paintings):
            rng = np.random.default_rng([SEED, painting, *path.stem.encode()])
            painted = with_metastases(hu, label > 0, spacing, kind, rng)
            name = folder / f"painted_{kind}_{path.stem}_{painting}"
            cases.append(write_slice(name, *painted, spacing, patient, LIVER_AND_TUMORS))
    return split_by_patient(cases, fractions=FRACTIONS, seed=SEED)


def painted_kidney_volumes(data: Path, folder: Path, extent: Extent) -> Split:
    """CT painted on label maps of KiTS23: whole volumes to test on, fewer slices of each to learn from."""
    paths = sorted((data / "kits23_labels").glob("case*.nii.gz"))[: extent.patients]
    named = [NamedPatient(path.name, path.name.removesuffix(".nii.gz")) for path in paths]
    parts = split_by_patient(named, fractions=FRACTIONS, seed=SEED)
    tested = {case.name for case in parts.test}
    cases = []
    for path in paths:
        slices = extent.test_slices if path.name in tested else extent.training_slices
        cases.append(painted_kidney_volume(path, folder, slices))
    return divided_like(parts, cases)


def painted_kidney_volume(path: Path, folder: Path, slices: int, painting: int = 0) -> Case:
    """One painted CT of a label map; another `painting` has another trunk, phase and noise around the same kidneys."""
    patient = path.name.removesuffix(".nii.gz")
    volume = painted_volume(path, SEED + painting, slices)
    target = folder / f"painted_{volume.phase}_{patient}{f'_{painting}' if painting else ''}"
    return write_case(target, volume.hu, volume.label, volume.spacing, patient=patient, labels=KIDNEY_AND_TUMORS)


@dataclass(frozen=True)
class NamedPatient:
    """What is divided before it is made."""

    name: str
    patient: str


def slice_files(folder: Path) -> list[Path]:
    """The slices of a data set, by name."""
    paths = sorted(folder.glob("*.npz"))
    if not paths:
        raise CasesError(f"{folder} holds no slices (*.npz). Give the folder that holds {folder.name}.")
    return paths


def around_body(hu: np.ndarray, label: np.ndarray, spacing: float) -> tuple[np.ndarray, np.ndarray, float]:
    """The `FIELD_MM` around the patient's middle: the scanners' fields of view differ, and the table is not wanted."""
    middle = ndimage.center_of_mass(ndimage.binary_opening(hu > 0, iterations=3))
    side = round(FIELD_MM / spacing)
    first = [round(at - side / 2) + side for at in middle]
    window = tuple(slice(start, start + side) for start in first)
    return np.pad(hu, side)[window], np.pad(label, side)[window], spacing


def of_patients(paths: Sequence[Path], extent: Extent) -> list[Path]:
    """The slices of the first patients, as many as wanted."""
    patients = list(dict.fromkeys(map(patient_of, paths)))[: extent.patients]
    return [path for path in paths if patient_of(path) in patients]


def divided_like(parts: Split, cases: Sequence[Case]) -> Split:
    """The cases in the parts in which their patients are."""
    patients = [{case.patient for case in part} for part in (parts.train, parts.validation, parts.test)]
    return Split(*(tuple(case for case in cases if case.patient in part) for part in patients), seed=parts.seed)


def folds_of(cases: Sequence[Case], count: int) -> list[Split]:
    """As many divisions, in which every patient is tested on once."""
    folds = []
    tested: set[str] = set()
    for number in range(count):
        left = [case for case in cases if case.patient not in tested]
        share = 1 / (count - number)
        test = split_by_patient(left, fractions=(1 - share, 0.0, share), seed=SEED).test if share < 1 else tuple(left)
        patients = {case.patient for case in test}
        tested |= patients
        rest = [case for case in cases if case.patient not in patients]
        parts = split_by_patient(rest, fractions=FOLD_FRACTIONS, seed=SEED)
        folds.append(Split(parts.train, parts.validation, tuple(test), seed=SEED))
    return folds


def stored_cases(make: Maker, data: Path, folder: Path, extent: Extent, task: Task) -> list[Split]:
    """The experiment's divisions of its cases, made at the first call and read from the folder after that.

    Raises:
        CasesError: the folder holds cases of another extent.
    """
    told, listed, split = folder / "extent.json", folder / "cases.json", folder / "split.json"
    if told.is_file() and json.loads(told.read_text(encoding="utf-8")) != asdict(extent):
        raise CasesError(f"{folder} holds cases of another extent. Delete it, or choose another folder to work in.")
    if split.is_file():
        parts = Split.from_dict(json.loads(split.read_text(encoding="utf-8")), find_cases(listed, task))
    else:
        # Told first: cases that an interrupted call has made are of this extent, too.
        folder.mkdir(parents=True, exist_ok=True)
        told.write_text(json.dumps(asdict(extent), indent=2) + "\n", encoding="utf-8")
        parts = make(data, folder, extent)
        write_cases_json([*parts.train, *parts.validation, *parts.test], listed)
        split.write_text(json.dumps(parts.to_dict(), indent=2) + "\n", encoding="utf-8")
    return [parts] if extent.folds == 1 else folds_of(parts.train, extent.folds)
