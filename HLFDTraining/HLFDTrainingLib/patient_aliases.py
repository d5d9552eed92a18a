"""Patients in files that others may see: by numbers in place of the names and IDs that the hospital knows them by."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace

from .scene_cases import CaseRow

DIGITS = 12


def with_aliases(rows: Sequence[CaseRow]) -> list[CaseRow]:
    """The rows as files hold them: a patient who is named as in the images gets a number, the same in every run.

    What the user or an earlier run called a patient stays as it is.
    """
    images = [row.image for row in rows if row.image and not row.image.of_run]
    known = {text for image in images for text in (image.patient, image.patient_id) if text}
    return [replace(row, patient=_alias(row.patient, known)) for row in rows]


def _alias(patient: str, known: Iterable[str]) -> str:
    if not any(text in patient for text in known):
        return patient
    return f"patient-{hashlib.sha256(patient.encode()).hexdigest()[:DIGITS]}"
