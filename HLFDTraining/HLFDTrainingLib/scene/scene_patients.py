"""Whose the cases of a scene are, and what their patients are called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from .scene_pairs import SceneImage

if TYPE_CHECKING:
    from .scene_cases import CaseRow


def patient_key(image: SceneImage) -> tuple[str, str]:
    """What the scene knows a patient by: the ID, without one the name."""
    return ("id", image.patient_id) if image.patient_id else ("name", image.patient)


def patient_names(images: Iterable[SceneImage]) -> dict[tuple[str, str], str]:
    """What each known patient is called: by name, with the ID where two patients share it."""
    names: dict[tuple[str, str], str] = {}
    for image in images:
        if known_patient(image):
            names.setdefault(patient_key(image), image.patient or image.patient_id)
    shared = {name for name, count in Counter(names.values()).items() if count > 1}
    return {key: f"{name} ({key[1] or 'no ID'})" if name in shared else name for key, name in names.items()}


def known_patient(image: SceneImage | None) -> bool:
    """Whether the scene tells whose image it is."""
    return image is not None and bool(image.patient_id or image.patient)


def same_patient(one: SceneImage | None, other: SceneImage | None) -> bool:
    """Whether the scene tells the same of whose images they are; also where it tells nothing of either."""
    return one is not None and other is not None and patient_key(one) == patient_key(other)


def patient_among(row: CaseRow, others: Iterable[CaseRow]) -> str:
    """What a row's patient is called beside others, which may have come earlier.

    Whoever has the same ID is called the same; whoever has the same name and another ID is not.
    """
    image = row.image
    if image is None or not known_patient(image):
        return row.patient
    known = sorted((other for other in others if known_patient(other.image)), key=lambda one: one.patient_by_user)
    for other in known:
        if same_patient(other.image, image):
            return other.patient
    called = row.patient if row.patient != row.name else image.patient or image.patient_id
    if any(other.patient == called and not other.patient_by_user for other in known):
        return f"{called} ({image.patient_id or 'no ID'})"
    return called
