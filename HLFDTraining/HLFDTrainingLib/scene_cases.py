"""The table of cases that are annotated in a scene: plain data in, plain data out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from HLFDSegmentationLib.tasks import Task

from .scene_pairs import Pair, SceneImage, SceneSegmentation, share_inside, suggest_pairs
from .segment_roles import SceneSegment, guess_roles, looks_like_tumor
from .split import PARTS, USES, label_gap, split_by_patient

__all__ = [
    "NOT_USED",
    "CaseRow",
    "Pair",
    "RowProblem",
    "SceneImage",
    "SceneSegment",
    "SceneSegmentation",
    "case_rows",
    "check_row",
    "check_rows",
    "guess_roles",
    "remember_roles",
    "split_rows",
    "suggest_pairs",
]

NOT_USED = ""
"""The role of a segment that the user has said is none of the task's labels; none is one that nobody has said yet."""

LARGELY_INSIDE = 0.5
MOST_NAMES = 4


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
        patient_by_user: whether the user has said whose case it is; otherwise the CT's patient is followed.
    """

    name: str
    patient: str
    image: SceneImage | None
    segmentation: SceneSegmentation | None
    roles: dict[str, str | None] = field(default_factory=dict)
    part: str | None = None
    reason: str = ""
    patient_by_user: bool = False

    def segments_of(self, label: str) -> list[SceneSegment]:
        """The segments that are taken for a label."""
        segments = self.segmentation.segments if self.segmentation else ()
        return [segment for segment in segments if self.roles.get(segment.id) == label]

    def shows(self, label: str) -> bool:
        """Whether something is drawn for a label."""
        return any(not segment.empty for segment in self.segments_of(label))


@dataclass(frozen=True)
class RowProblem:
    """What is wrong and how to mend it, in one text. An error keeps the case, or all of them, from being trained with.

    Attributes:
        severity: a warning is for the user to judge.
        sentence: for the user.
    """

    severity: Literal["error", "warning"]
    sentence: str


# Making and changing rows


def case_rows(images: Sequence[SceneImage], segmentations: Sequence[SceneSegmentation], task: Task) -> list[CaseRow]:
    """A row for each pair that `suggest_pairs` finds, with guessed roles."""
    image_of = {image.id: image for image in images}
    segmentation_of = {segmentation.id: segmentation for segmentation in segmentations}
    patients = _patients(images)
    rows: list[CaseRow] = []
    for pair in suggest_pairs(images, segmentations):
        image = image_of.get(pair.image_id or "")
        segmentation = segmentation_of.get(pair.segmentation_id or "")
        name = unused_name(
            image.name if image else segmentation.name if segmentation else "", {row.name for row in rows}
        )
        roles = guess_roles(segmentation.segments, task) if segmentation else {}
        patient = patients.get(patient_key(image), name) if image else name
        rows.append(CaseRow(name, patient, image, segmentation, roles, reason=pair.reason))
    return rows


def remember_roles(rows: Iterable[CaseRow], segment_name: str, role: str | None) -> list[CaseRow]:
    """The rows in which every segment of this name, however it is written, has this role."""
    wanted = plain(segment_name)

    def remembered(row: CaseRow) -> CaseRow:
        segments = row.segmentation.segments if row.segmentation else ()
        return replace(row, roles=row.roles | {one.id: role for one in segments if plain(one.name) == wanted})

    return [remembered(row) for row in rows]


def split_rows(rows: Sequence[CaseRow], seed: int = 0) -> list[CaseRow]:
    """The rows with their parts, by patient, as `hlfd train` splits cases of these names and patients.

    Raises:
        CasesError: there are no rows.
    """
    split = split_by_patient(rows, seed=seed)
    part_of = {row.name: part for part in PARTS for row in getattr(split, part)}
    return [replace(row, part=part_of[row.name]) for row in rows]


def move_patient(rows: Iterable[CaseRow], patient: str, part: str) -> list[CaseRow]:
    """The rows with every case of a patient in this part."""
    return [replace(row, part=part) if row.patient == patient else row for row in rows]


def plain(name: str) -> str:
    """A segment's name as it is compared, however it is written."""
    return " ".join(name.split()).casefold()


def patient_key(image: SceneImage) -> tuple[str, str]:
    """What the scene knows a patient by: the ID, without one the name."""
    return ("id", image.patient_id) if image.patient_id else ("name", image.patient)


def _patients(images: Iterable[SceneImage]) -> dict[tuple[str, str], str]:
    """What each known patient is called: by name, with the ID where two patients share it."""
    names: dict[tuple[str, str], str] = {}
    for image in images:
        if image.patient_id or image.patient:
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


def unused_name(name: str, used: Container[str]) -> str:
    """The name, with a number where it is used already."""
    number, candidate = 1, name
    while candidate in used:
        number += 1
        candidate = f"{name} ({number})"
    return candidate


# Checking


def check_row(row: CaseRow, rows: Sequence[CaseRow], task: Task) -> list[RowProblem]:
    """What is wrong with a row among all of them, errors first; empty when it is fine."""
    problems = [*_check_image(row), *_check_segmentation(row, task), *_check_against(row, rows)]
    return sorted(problems, key=lambda problem: problem.severity)


def check_rows(rows: Sequence[CaseRow], task: Task) -> list[RowProblem]:
    """What is wrong with the rows together, errors first; empty when they are fine."""
    return sorted(_check_together(rows, task), key=lambda problem: problem.severity)


def _error(sentence: str) -> RowProblem:
    return RowProblem("error", sentence)


def _warning(sentence: str) -> RowProblem:
    return RowProblem("warning", sentence)


def _check_image(row: CaseRow) -> Iterator[RowProblem]:
    if row.image is None:
        yield _error(row.reason or "This segmentation has no CT. Choose the one that it was drawn on.")
    elif not row.image.is_ct:
        yield _error(f"'{row.image.name}' is no CT. Choose a CT, or remove the row.")
    elif min(row.image.shape) < 1:
        yield _error("The CT holds no image. Load it again, or remove the row.")


def _check_segmentation(row: CaseRow, task: Task) -> Iterator[RowProblem]:
    if row.segmentation is None:
        # A reason tells what to do about it as well.
        missing = "No segmentation was chosen. Draw one in the Segment Editor, or remove the row."
        yield _error((row.image and row.reason) or missing)
        return
    yield from _check_roles(row, task)
    if row.image and row.image.bounds and row.segmentation.bounds:
        inside = share_inside(row.segmentation.bounds, row.image.bounds)
        if inside == 0:
            yield _error("The segmentation does not lie in this CT. Choose the CT that it was drawn on.")
        elif inside < LARGELY_INSIDE:
            yield _warning(
                "Most of the segmentation lies outside this CT and will be cut off. Check that it is the right one."
            )


def _check_roles(row: CaseRow, task: Task) -> Iterator[RowProblem]:
    labels = {label.name for label in task.labels}
    used = [label for label in task.labels if row.segments_of(label.name)]
    segments = row.segmentation.segments if row.segmentation else ()
    open_ = [segment for segment in segments if row.roles.get(segment.id) not in {*labels, NOT_USED}]
    for segment in filter(looks_like_tumor, open_):
        yield _error(
            f"Say what the segment '{segment.name}' is: it looks like a tumor, but of which organ is not plain."
        )
    if not segments:
        yield _error("The segmentation has no segments. Draw organ and tumor in the Segment Editor.")
    elif not used:
        yield _error(
            f"Say which segments are {_named(labels)}: none of {_named(one.name for one in segments)} is known."
        )
    elif all(segment.empty for label in used for segment in row.segments_of(label.name)):
        yield _warning(
            "All segments are empty: training takes this CT for one without any of the labels. Draw them, or choose "
            "the segmentation that was meant; keep it only if that is true."
        )
    else:
        yield from _check_missing(row, task)
    if used and (others := [segment.name for segment in open_ if not looks_like_tumor(segment)]):
        yield _warning(
            f"Not used, and background in training: {_named(others)}. Choose what they are if that is wrong."
        )


def _check_missing(row: CaseRow, task: Task) -> Iterator[RowProblem]:
    for organ in task.organs:
        tumors = task.tumors_of(organ)
        if not row.segments_of(organ.name) and any(row.segments_of(tumor.name) for tumor in tumors):
            yield _warning(f"No segment is the {organ.name}, so training does not learn from this case what it is.")
        for tumor in tumors if row.segments_of(organ.name) else ():
            if not row.segments_of(tumor.name):
                yield _warning(
                    f"No segment is the {tumor.name}, so training cannot tell it from the rest here. Choose or draw "
                    f"it; if the patient has none, add an empty segment '{tumor.name}'."
                )
    for label in task.labels:
        if row.segments_of(label.name) and not row.shows(label.name):
            yield _warning(
                f"The segment for {label.name} is empty: training takes it that there is none. Draw it if there is one."
            )


def _check_against(row: CaseRow, rows: Sequence[CaseRow]) -> Iterator[RowProblem]:
    others = [other for other in rows if other is not row]
    if any(other.name == row.name for other in others):
        yield _error(f"Another case is called '{row.name}', too. Give each its own name.")
    if row.image and any(other.image and other.image.id == row.image.id for other in others):
        yield _error("This CT is in two rows. Remove one of them.")
    if row.segmentation and any(
        other.segmentation and other.segmentation.id == row.segmentation.id for other in others
    ):
        yield _error("This segmentation is in two rows. Choose another one in one of them.")
    yield from _check_patient(row, others)


def _check_patient(row: CaseRow, others: Sequence[CaseRow]) -> Iterator[RowProblem]:
    if row.image is None or not known_patient(row.image):
        return
    name, id_ = row.image.patient, row.image.patient_id
    if id_ and any(o.image and o.image.patient_id == id_ and o.patient != row.patient for o in others):
        yield _warning(
            f"Another CT has this one's patient ID ('{id_}'), and the table gives it another patient. If they are one "
            "person, give both rows the same patient, so that training and test never share one."
        )
    namesakes = [other for other in others if other.image and other.image.patient == name]
    if name and any(o.patient != row.patient and o.image.patient_id != id_ for o in namesakes if o.image):
        yield _warning(
            f"Two patients are called '{name}' and have different IDs. If they are one person, give both rows the same "
            "patient, so that training and test never share one."
        )
    elif name and not id_ and any(other.patient == row.patient for other in namesakes):
        yield _warning(
            f"Several cases are of '{name}' and stay together in the split. If these are different people of one name, "
            "give each row its own patient."
        )


def _check_together(rows: Sequence[CaseRow], task: Task) -> Iterator[RowProblem]:
    if not rows:
        yield _error("There are no cases yet. Load CTs with their segmentations, or draw some in the Segment Editor.")
        return
    if len(rows) == 1:
        yield _error(
            "One case is not enough: training needs one to learn from and one to choose with. Add another patient."
        )
    elif len({row.patient for row in rows}) == 1:
        yield _error(
            f"All cases are of one patient, '{rows[0].patient}'. Add other patients, or give each row its own patient "
            "if they are different people."
        )
    yield from _check_labels(rows, task)
    yield from _check_parts(rows)
    yield from _check_labels_of_parts(rows, task)


def _check_labels(rows: Sequence[CaseRow], task: Task) -> Iterator[RowProblem]:
    missing = [label for label in task.labels if not any(row.shows(label.name) for row in rows)]
    tumors = [tumor for tumor in task.tumors if tumor in missing]
    if tumors and len(tumors) == len(task.tumors):
        yield _error(
            f"No case shows a tumor ({_named(tumor.name for tumor in tumors)}), so none can be learned. Check which "
            "segments are tumors, or draw them."
        )
        missing = [label for label in missing if label.role == "organ"]
    for label in missing:
        yield _warning(f"No case shows {label.name}, so it cannot be learned. Add such cases, or choose another task.")


def _check_parts(rows: Sequence[CaseRow]) -> Iterator[RowProblem]:
    parts = {row.part for row in rows}
    if None in parts or len(rows) == 1:
        return
    for part in ("train", "validation"):
        if part not in parts:
            yield _error(f"No case is left to {USES[part]}. Move a patient to the part '{part}'.")
    if "test" not in parts:
        yield _warning(f"No case is left to {USES['test']}. Add patients, or move one to the part 'test'.")


def _check_labels_of_parts(rows: Sequence[CaseRow], task: Task) -> Iterator[RowProblem]:
    for part in PARTS:
        shown = [row for row in rows if row.part == part]
        for label in task.labels if shown else ():
            if any(row.shows(label.name) for row in rows) and not any(row.shows(label.name) for row in shown):
                yield _warning(f"{label_gap(part, label.name)} Move a patient who has it to the part '{part}'.")


def _named(names: Iterable[str]) -> str:
    """The first names, and how many more there are."""
    every = list(names)
    more = f" and {len(every) - MOST_NAMES} more" if len(every) > MOST_NAMES else ""
    return ", ".join(f"'{name}'" for name in every[:MOST_NAMES]) + more
