"""The cases that the user has gathered, and what was decided about them: plain data, whatever shows it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from HLFDSegmentationLib.tasks import TASKS, Task

from ..annotations.segment_roles import SceneSegment, guess_roles
from ..cases import ALL_CASES, Case
from ..split import parts_by_patient
from .patient_aliases import with_aliases
from .scene_cases import NOT_USED, CaseRow, move_patient, plain, remember_roles, unused_name
from .scene_checks import RowProblem, check_row, check_rows
from .scene_pairs import SceneImage, SceneSegmentation
from .scene_patients import known_patient, patient_among, same_patient


class CaseList:
    """Rows of cases.

    Roles that the user chose hold for all rows, also for those that are added later, and so do the parts that the user
    moved a patient to.

    Attributes:
        rows: the cases, in the order in which they came.
        task: what is learned from them.
        seed: of the split.
        files: the cases that are files, by the key of their image.
        findings: what reading the voxels has shown, by case name or `ALL_CASES`; forgotten when something changes.
    """

    def __init__(self) -> None:
        self.rows: list[CaseRow] = []
        self.task: Task = next(iter(TASKS.values()))
        self.seed = 0
        self.files: dict[str, Case] = {}
        self.findings: dict[str, list[RowProblem]] = {}
        self._roles: dict[str, str] = {}
        self._moved: dict[str, str] = {}
        self._met: dict[str, str] = {}

    # Rows come and go

    def add(self, rows: Iterable[CaseRow]) -> int:
        """Adds rows, apart from those whose CT or segmentation is there already. Gives how many were added.

        A CT that is there without a segmentation gets the one that is found now, and counts as added.
        """
        added = sum(self._add(row) for row in self._with_unused_names(rows))
        if added:
            self._recall_roles()
            self.split()
            self.findings.clear()
        return added

    def _with_unused_names(self, rows: Iterable[CaseRow]) -> list[CaseRow]:
        """Rows that come together, each with a name of its own.

        Where a case gave its name to a patient of whom nothing else is known, all cases of that patient follow.
        """
        used = {row.name for row in self.rows}
        # A case may have been renamed since it gave its name to its patient. What files say of patients is meant so.
        made_up = {row.patient for row in self.rows if not (known_patient(row.image) or self.is_file(row))}
        named, patients = [], {}
        for row in rows:
            new = not self._there(row)
            of_itself = row.patient == row.name and not known_patient(row.image)
            taken = used | made_up if of_itself and not self.is_file(row) else used
            name = unused_name(row.name, taken) if new else row.name
            used |= {name} if new else set()
            if of_itself and name != row.name:
                patients[row.patient] = name
            named.append(replace(row, name=name))
        return [
            row if known_patient(row.image) else replace(row, patient=patients.get(row.patient, row.patient))
            for row in named
        ]

    def _there(self, row: CaseRow) -> list[int]:
        """The rows that have the row's CT or segmentation."""
        known = {one.id: index for index, other in enumerate(self.rows) for one in other.parts}
        return [known[one.id] for one in row.parts if one.id in known]

    def _add(self, row: CaseRow) -> bool:
        there = self._there(row)
        if not there:
            self.rows.append(replace(row, patient=patient_among(row, self.rows)))
            return True
        waiting = len(there) == 1 and self.rows[there[0]].segmentation is None and row.segmentation is not None
        if waiting:
            found = {name: getattr(row, name) for name in ("segmentation", "roles", "reason", "sure")}
            self._change(there[0], **found)
        return waiting

    def add_files(self, cases: Iterable[Case]) -> int:
        """Adds cases that are files. Gives how many were added."""
        rows = [_row_of_file(case) for case in cases]
        in_table = {row.image.id for row in self.rows if row.image}
        # Of several cases of one CT the first one is in the table.
        self.files |= {row.image.id: case for row, case in reversed(rows) if row.image and row.image.id not in in_table}
        return self.add(row for row, _case in rows)

    def remove(self, indices: Iterable[int]) -> None:
        """Takes rows out."""
        gone = set(indices)
        self.rows = [row for index, row in enumerate(self.rows) if index not in gone]
        self.split()
        self.findings.clear()

    def forget(self, indices: Iterable[int]) -> None:
        """Takes rows out whose scene was closed, with what was decided about their patients."""
        self.remove(indices)
        patients = {row.patient for row in self.rows}
        self._moved = {patient: part for patient, part in self._moved.items() if patient in patients}

    def file_cases(self) -> dict[str, Case]:
        """`files`, as the rows describe their labels now."""
        return {
            row.image.id: replace(self.files[row.image.id], labels=_labels_of_file(row))
            for row in self.rows
            if row.image and row.image.id in self.files
        }

    def is_file(self, row: CaseRow) -> bool:
        """Whether a row is of files and not of a scene."""
        return row.image is not None and row.image.of_file

    # Changes

    def set_task(self, task: Task) -> None:
        """Learns something else from the same cases: the roles are guessed anew."""
        self.task = task
        self._roles = {name: role for name, role in self._roles.items() if role in _roles_of(task)}
        self.rows = [replace(row, roles=self._guess(row.segmentation)) for row in self.rows]
        self._recall_roles()
        self.findings.clear()

    def set_role(self, segment_name: str, role: str | None) -> None:
        """What every segment of this name is, in all rows; none where it is to be said."""
        if role is None:
            self._roles.pop(plain(segment_name), None)
        else:
            self._roles[plain(segment_name)] = role
        self.rows = remember_roles(self.rows, segment_name, role)
        self.findings.clear()

    def rename(self, index: int, name: str) -> None:
        """Calls a case otherwise; it keeps its name where that is empty. A used one is refused by the check."""
        self._change(index, name=name.strip() or self.rows[index].name)
        self.split()

    def set_patient(self, index: int, patient: str) -> None:
        """Says whose case it is; the case is a patient of its own where that is empty."""
        self._change(index, patient_by_user=True)
        self._call_patient(index, patient or self.rows[index].name)
        self.split()

    def set_image(self, index: int, image: SceneImage) -> None:
        """Chooses another CT, and with it its patient, unless the user has said whose case it is."""
        self._change_image(index, image)
        self._change(index, sure=True)
        self.split()

    def set_segmentation(self, index: int, segmentation: SceneSegmentation) -> None:
        """Chooses another segmentation."""
        self._change(index, segmentation=segmentation, roles=self._guess(segmentation), sure=True)
        self._recall_roles()

    def update(self, index: int, image: SceneImage | None, segmentation: SceneSegmentation | None) -> bool:
        """Takes in what has changed in the nodes of a row, and says whether something has.

        Roles stay; those of new segments are guessed.
        """
        row = self.rows[index]
        if (image, segmentation) == (row.image, row.segmentation):
            self.rows[index] = replace(row, segmentation=segmentation)  # Its bounds may be others.
            return False
        names = {segment.id: segment.name for segment in row.segments}
        segments = segmentation.segments if segmentation else ()
        kept = {one.id: row.roles.get(one.id) for one in segments if names.get(one.id) == one.name}
        self._change(index, segmentation=segmentation, roles=self._guess(segmentation) | kept)
        if image is not None:
            self._change_image(index, image)
        self._recall_roles()
        if self.rows[index].patient != row.patient:
            self.split()
        return True

    def split_again(self) -> None:
        """Divides the patients anew; what was moved by hand is forgotten."""
        self.seed += 1
        self._moved.clear()
        self.split()

    def move(self, index: int, part: str) -> None:
        """Moves a patient, with all cases, to a part of the split."""
        in_files = [row.patient for row in with_aliases(self.rows)]
        # One patient may have two names here, and one in the files.
        for patient in {row.patient for row, one in zip(self.rows, in_files) if one == in_files[index]}:
            self._moved[patient] = part
            self.rows = move_patient(self.rows, patient, part)

    def keep_parts(self, parts: Mapping[str, str]) -> bool:
        """Keeps patients in the part in which a student met them, by their names in its files. Says whether it matters.

        The other patients are divided among themselves.
        """
        before = [row.part for row in self.rows]
        self._met = dict(parts)
        self.split()
        return before != [row.part for row in self.rows]

    def split(self) -> None:
        """Gives each row its part, as `hlfd train` splits the files that are written of them."""
        part_of = dict(self._met)
        in_files = with_aliases(self.rows)
        new = [row for row in in_files if row.patient not in part_of]
        if new:
            part_of |= parts_by_patient(new, seed=self.seed)
        moved = [(one.patient, self._moved.get(row.patient)) for row, one in zip(self.rows, in_files)]
        part_of |= {patient: part for patient, part in moved if part}
        self.rows = [replace(row, part=part_of[one.patient]) for row, one in zip(self.rows, in_files)]

    # Questions

    @property
    def moved_by_hand(self) -> bool:
        """Whether the user has moved a patient of one of the rows to a part of the split."""
        return any(row.patient in self._moved for row in self.rows)

    def segment_roles(self) -> dict[str, str | None]:
        """The role of each segment name of all rows; none where it is not known in some row."""
        roles: dict[str, tuple[str, str | None]] = {}
        for row in self.rows:
            for segment in row.segments:
                shown, known = roles.get(plain(segment.name), (segment.name, row.roles.get(segment.id)))
                roles[plain(segment.name)] = shown, known if known == row.roles.get(segment.id) else None
        return dict(roles.values())

    def problems(self, index: int) -> list[RowProblem]:
        """What is wrong with a row, errors first; empty when it is fine."""
        row = self.rows[index]
        found = check_row(row, self.rows, self.task) + self.findings.get(row.name, [])
        return sorted(dict.fromkeys(found), key=lambda problem: problem.severity)

    def problems_together(self) -> list[RowProblem]:
        """What is wrong with all rows together, errors first.

        Of what the voxels have shown, only what the rows cannot tell: files show what is in them when they are read.
        """
        found = self.findings.get(ALL_CASES, []) if any(map(self.is_file, self.rows)) else []
        together = dict.fromkeys([*check_rows(self.rows, self.task), *found])
        return sorted(together, key=lambda problem: problem.severity)

    def _change(self, index: int, **fields: Any) -> None:
        self.rows[index] = replace(self.rows[index], **fields)
        self.findings.clear()

    def _change_image(self, index: int, image: SceneImage) -> None:
        before = self.rows[index]
        self._change(index, image=image)
        if not (before.patient_by_user or same_patient(before.image, image)):
            row = self.rows[index]
            others = [other for other in self.rows if other is not row]
            self._call_patient(index, patient_among(replace(row, patient=row.name), others))

    def _call_patient(self, index: int, patient: str) -> None:
        """Calls a row's patient otherwise, who stays in the part that the user chose, but does not move others."""
        part = self._moved.get(self.rows[index].patient)
        if part and all(row.patient != patient for row in self.rows):
            self._moved[patient] = part
        self._change(index, patient=patient)

    def _guess(self, segmentation: SceneSegmentation | None) -> dict[str, str | None]:
        return guess_roles(segmentation.segments, self.task) if segmentation else {}

    def _recall_roles(self) -> None:
        for name, role in self._roles.items():
            self.rows = remember_roles(self.rows, name, role)


def _roles_of(task: Task) -> Sequence[str]:
    return (NOT_USED, *(label.name for label in task.labels))


# Files


def _row_of_file(case: Case) -> tuple[CaseRow, Case]:
    """A case that is files as a row, in which each label that a value may stand for is a segment."""
    found = [(value, name) for value, names in case.labels.items() for name in names or (NOT_USED,)]
    segments = {f"{value} {name}": SceneSegment(f"{value} {name}", name or f"value {value}") for value, name in found}
    image = SceneImage(f"file {case.ct}", case.ct.name, shape=(1, 1, 1), of_file=True)
    segmentation = SceneSegmentation(f"file {case.label}", case.label.name, tuple(segments.values()))
    roles: dict[str, str | None] = {f"{value} {name}": name for value, name in found}
    return CaseRow(case.name, case.patient, image, segmentation, roles), case


def _labels_of_file(row: CaseRow) -> dict[int, tuple[str, ...]]:
    labels: dict[int, tuple[str, ...]] = {}
    for segment in row.segments:
        value = int(segment.id.split(maxsplit=1)[0])
        role = row.roles.get(segment.id)
        labels[value] = labels.get(value, ()) + ((role,) if role else ())
    return labels
