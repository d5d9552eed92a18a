"""Patients in files that others may see: by numbers in place of the names and IDs that the hospital knows them by."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace

from .scene_cases import CaseRow

DIGITS = 12

TELLING = 4
"""Letters of a name or an ID that hardly stand in another one by chance."""


def with_aliases(rows: Sequence[CaseRow]) -> list[CaseRow]:
    """The rows as files hold them: a patient who is named as in the images gets a number, the same in every run.

    What the user or an earlier run called a patient stays as it is.
    """
    images = [row.image for row in rows if row.image and not row.image.of_run]
    known = {text for image in images for text in (image.patient, image.patient_id) if text}
    return [replace(row, patient=_alias(row.patient)) if _is_named(row, known) else row for row in rows]


def _is_named(row: CaseRow, known: Iterable[str]) -> bool:
    """Whether the row's patient is called as in the images, or by a name that the user has made of that.

    A short ID such as "1" stands in names by chance, in those of an earlier run ("patient-3f1a...") above all.
    """
    if row.patient in known:
        return True
    of_scene = row.image is not None and not row.image.of_run
    return of_scene and any(len(text) >= TELLING and text in row.patient for text in known)


def _alias(patient: str) -> str:
    return f"patient-{hashlib.sha256(patient.encode()).hexdigest()[:DIGITS]}"
