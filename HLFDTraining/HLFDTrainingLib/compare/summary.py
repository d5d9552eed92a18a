"""The table of a comparison: each method and student, label by label (and layer by layer)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from .jobs import TEACHER
from .records import Record
from .rows import BASELINE
from .statistics import Difference, Spread, by_seed, difference, spread


@dataclass(frozen=True)
class TableRow:
    """One method with one student on one label.

    Attributes:
        label, layer: what it is about; the layer is "" for figures of the segmentation.
        student: network name.
        method: as the rows have it, or `jobs.TEACHER`.
        figures: by name.
        seeds: each seed's mean of the leading figure.
        difference: of the leading figure to the same student alone; none for the student alone and the teacher.
        rank: 1 for the method whose leading figure is the highest with this student; none for the teacher.
    """

    label: str
    layer: str
    student: str
    method: str
    figures: dict[str, Spread]
    seeds: dict[int, float]
    difference: Difference | None
    rank: int | None = None

    @property
    def title(self) -> str:
        """What a reader reads of it."""
        return f"{self.method} ({self.student})"


def summarize_records(records: Sequence[Record], figures: Sequence[str]) -> list[TableRow]:
    """The table of the records, in their order; differences and ranks are of the first figure, the leading one."""
    groups: dict[tuple[str, str, str, str], list[Record]] = {}
    for record in records:
        groups.setdefault((record.label, record.layer, record.student, record.method), []).append(record)
    patient_of = {record.case: record.patient for record in records}
    leading = {key: by_seed(group, figures[0]) for key, group in groups.items()}
    rows = []
    for key, group in groups.items():
        label, layer, student, method = key
        base = leading.get((label, layer, student, BASELINE))
        rows.append(
            TableRow(
                *key,
                figures={figure: spread(by_seed(group, figure), patient_of) for figure in figures},
                seeds={seed: sum(cases.values()) / len(cases) for seed, cases in leading[key].items()},
                difference=None if _alone(method) or base is None else difference(leading[key], base, patient_of),
            )
        )
    labels = list(dict.fromkeys((record.label, record.layer) for record in records))
    rows.sort(key=lambda row: labels.index((row.label, row.layer)))
    return [replace(row, rank=_rank(row, rows, figures[0])) for row in rows]


def _alone(method: str) -> bool:
    """Whether nobody has taught the network."""
    return method in (TEACHER, BASELINE)


def _rank(row: TableRow, rows: Sequence[TableRow], figure: str) -> int | None:
    mean = row.figures[figure].mean
    if row.method == TEACHER or math.isnan(mean):
        return None
    rivals = (
        other.figures[figure].mean
        for other in rows
        if (other.label, other.layer, other.student) == (row.label, row.layer, row.student) and other.method != TEACHER
    )
    return 1 + sum(rival > mean for rival in rivals)
