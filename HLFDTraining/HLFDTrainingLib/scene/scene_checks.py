"""What keeps the cases of a scene from being trained with, or may be wrong with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from HLFDSegmentationLib.tasks import Task

from ..annotations.scan_names import ONE_PATIENT, names_alike_problem
from ..annotations.segment_roles import looks_like_tumor
from ..split import PARTS, USES, label_gap
from .patient_aliases import with_aliases
from .scene_cases import NOT_USED, CaseRow
from .scene_pairs import share_inside
from .scene_patients import known_patient

LARGELY_INSIDE = 0.5
MOST_NAMES = 4


@dataclass(frozen=True)
class RowProblem:
    """What is wrong and how to mend it, in one text. An error keeps the case, or all of them, from being trained with.

    Attributes:
        severity: a warning is for the user to judge.
        sentence: for the user.
    """

    severity: Literal["error", "warning"]
    sentence: str


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
    if row.guessed:
        yield _warning(
            f"{row.reason} That is a guess: check that the segmentation was drawn on this CT, and choose it in the "
            "table to confirm that."
        )
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
    open_ = [segment for segment in row.segments if row.roles.get(segment.id) not in {*labels, NOT_USED}]
    for segment in filter(looks_like_tumor, open_):
        yield _error(
            f"Say what the segment '{segment.name}' is: it may be a tumor, but that, or of which organ, is not plain."
        )
    if not row.segments:
        yield _error("The segmentation has no segments. Draw organ and tumor in the Segment Editor.")
    elif not used:
        yield _error(
            f"Say which segments are {_named(labels)}: none of {_named(one.name for one in row.segments)} is known."
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
        yield _error("This segmentation is in two rows. Choose another one in one of them, or remove that row.")
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
    if alike := names_alike_problem(with_aliases(rows)):
        yield _warning(f"{alike} {ONE_PATIENT}")
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
