"""Patients in files that others may see: by numbers in place of the names and IDs that the hospital knows them by."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace

from .scene_cases import CaseRow
from .scene_pairs import SceneImage
from .scene_patients import known_patient, patient_key

DIGITS = 12

TELLING = 4
"""Letters of a name or an ID that hardly stand in another one by chance."""


def with_aliases(rows: Sequence[CaseRow]) -> list[CaseRow]:
    """The rows as files hold them: a patient who is named as in the images gets a number, the same in every run.

    The number is made of the ID where the scene knows it, so that it does not hang on how the name is written or on who
    else is in the table. What the user or an earlier run called a patient stays as it is.
    """
    images = [row.image for row in rows if row.image and not row.image.of_run]
    known = {text for image in images for text in (image.patient, image.patient_id) if text}
    by_user = {row.patient for row in rows if row.patient_by_user}
    keys: dict[str, str] = {}
    for row in rows:
        image = row.image
        if image is None or not known_patient(image) or image.of_run or row.patient_by_user:
            continue
        # Whom the user has joined to a patient of the scene gets that one's number; a name of the user's own stays.
        if row.patient not in by_user or _is_called_by(image, row.patient):
            keys.setdefault(row.patient, patient_key(image)[1])
    return [
        replace(row, patient=_alias(keys.get(row.patient, row.patient)))
        if row.patient in keys or _is_named(row, known)
        else row
        for row in rows
    ]


def _is_called_by(image: SceneImage, patient: str) -> bool:
    told = image.patient or image.patient_id
    return patient == told or patient.startswith(f"{told} (")


def _is_named(row: CaseRow, known: Iterable[str]) -> bool:
    """Whether the row's patient is called as in the images, or by a name that the user has made of that.

    A short ID such as "1" stands in names by chance, in those of an earlier run ("patient-3f1a...") above all; "0001"
    does in those of public data ("case_00010").
    """
    if row.patient in known:
        return True
    of_scene = row.image is not None and not (row.image.of_run or row.image.of_file)
    return of_scene and any(len(text) >= TELLING and text in row.patient for text in known)


def _alias(patient: str) -> str:
    return f"patient-{hashlib.sha256(patient.encode()).hexdigest()[:DIGITS]}"
