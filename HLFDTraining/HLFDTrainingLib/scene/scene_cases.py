"""The table of cases that are annotated in a scene: plain data in, plain data out."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field, replace

from HLFDSegmentationLib.tasks import Task

from ..annotations.segment_roles import SceneSegment, guess_roles
from .scene_pairs import SceneImage, SceneSegmentation, suggest_pairs
from .scene_patients import patient_key, patient_names

NOT_USED = ""
"""The role of a segment that the user has said is none of the task's labels; none is one that nobody has said yet."""


@dataclass(frozen=True)
class CaseRow:
    """A row of the table.

    Attributes:
        name: of the case.
        patient: cases of one patient are never split apart.
        image: the CT; none where it is to be chosen.
        segmentation: none where it is to be chosen or drawn.
        roles: label name, `NOT_USED` or none by segment id.
        part: "train", "validation" or "test"; none before the split.
        reason: why CT and segmentation belong together, or why one is missing.
        sure: whether the segmentation was drawn on the CT when they were found, or the user has paired them.
        patient_by_user: whether the user has said whose case it is; otherwise the CT's patient is followed.
    """

    name: str
    patient: str
    image: SceneImage | None
    segmentation: SceneSegmentation | None
    roles: dict[str, str | None] = field(default_factory=dict)
    part: str | None = None
    reason: str = ""
    sure: bool = False
    patient_by_user: bool = False

    @property
    def guessed(self) -> bool:
        """Whether nothing but a guess says that CT and segmentation belong together."""
        if self.image is None or self.segmentation is None or self.image.of_file:
            return False
        return not self.sure and self.segmentation.reference_image_id != self.image.id

    @property
    def parts(self) -> list[SceneImage | SceneSegmentation]:
        """The CT and the segmentation, as far as they are there."""
        return [one for one in (self.image, self.segmentation) if one]

    @property
    def segments(self) -> tuple[SceneSegment, ...]:
        """Those of the segmentation; none without one."""
        return self.segmentation.segments if self.segmentation else ()

    def segments_of(self, label: str) -> list[SceneSegment]:
        """The segments that are taken for a label."""
        return [segment for segment in self.segments if self.roles.get(segment.id) == label]

    def shows(self, label: str) -> bool:
        """Whether something is drawn for a label."""
        return any(not segment.empty for segment in self.segments_of(label))


def case_rows(images: Sequence[SceneImage], segmentations: Sequence[SceneSegmentation], task: Task) -> list[CaseRow]:
    """A row for each pair that `suggest_pairs` finds, with guessed roles."""
    image_of = {image.id: image for image in images}
    segmentation_of = {segmentation.id: segmentation for segmentation in segmentations}
    patients = patient_names(images)
    rows: list[CaseRow] = []
    for pair in suggest_pairs(images, segmentations):
        image = image_of.get(pair.image_id or "")
        segmentation = segmentation_of.get(pair.segmentation_id or "")
        name = unused_name(
            image.name if image else segmentation.name if segmentation else "", {row.name for row in rows}
        )
        roles = guess_roles(segmentation.segments, task) if segmentation else {}
        patient = patients.get(patient_key(image), name) if image else name
        sure = bool(image and segmentation and segmentation.reference_image_id == image.id)
        rows.append(CaseRow(name, patient, image, segmentation, roles, reason=pair.reason, sure=sure))
    return rows


def remember_roles(rows: Iterable[CaseRow], segment_name: str, role: str | None) -> list[CaseRow]:
    """The rows in which every segment of this name, however it is written, has this role."""
    wanted = plain(segment_name)
    return [
        replace(row, roles=row.roles | {one.id: role for one in row.segments if plain(one.name) == wanted})
        for row in rows
    ]


def move_patient(rows: Iterable[CaseRow], patient: str, part: str) -> list[CaseRow]:
    """The rows with every case of a patient in this part."""
    return [replace(row, part=part) if row.patient == patient else row for row in rows]


def plain(name: str) -> str:
    """A segment's name as it is compared, however it is written."""
    return " ".join(name.split()).casefold()


def unused_name(name: str, used: Container[str]) -> str:
    """The name, with a number where it is used already."""
    number, candidate = 1, name
    while candidate in used:
        number += 1
        candidate = f"{name} ({number})"
    return candidate
