"""The table of a comparison: each method and student, label by label (and layer by layer)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..metrics import NAN
from .jobs import TEACHER
from .records import Record
from .rows import BASELINE
from .statistics import BySeed, Difference, Spread, adjusted, by_seed, difference, mean_difference, spread

_Key = tuple[str, str, str, str]
"""Label, layer, student and method."""


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
        rank: 1 and one more for each method with the same student whose leading figure is higher; none for the teacher.
        behind: of the leading figure to the method that is the farthest ahead; none where none is.
        behind_method: that method; "" where none is.
    """

    label: str
    layer: str
    student: str
    method: str
    figures: dict[str, Spread]
    seeds: dict[int, float]
    difference: Difference | None
    rank: int | None = None
    behind: Difference | None = None
    behind_method: str = ""

    @property
    def title(self) -> str:
        """What a reader reads of it."""
        return f"{self.method} ({self.student})"


def summarize_records(records: Sequence[Record], figures: Sequence[str]) -> list[TableRow]:
    """The table of the records, in their order; differences and ranks are of the first figure, the leading one."""
    groups: dict[_Key, list[Record]] = {}
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
    return [_ranked(row, leading, patient_of) for row in _adjusted(rows)]


def _adjusted(rows: Sequence[TableRow]) -> list[TableRow]:
    """The rows with each p adjusted for all tests of the table: of every label, layer, student and method."""
    ps = adjusted([row.difference.p if row.difference else NAN for row in rows])
    return [
        replace(row, difference=replace(row.difference, adjusted_p=p)) if row.difference else row
        for row, p in zip(rows, ps)
    ]


def _alone(method: str) -> bool:
    """Whether nobody has taught the network."""
    return method in (TEACHER, BASELINE)


def _ranked(row: TableRow, leading: Mapping[_Key, BySeed], patient_of: Mapping[str, str]) -> TableRow:
    """The row with its place among the methods of its student.

    Two methods are compared over the seeds that both have: a mean of one lucky seed does not beat one of several.
    """
    own = leading[row.label, row.layer, row.student, row.method]
    if row.method == TEACHER or not own:
        return row
    rivals = {
        method: values
        for (label, layer, student, method), values in leading.items()
        if (label, layer, student) == (row.label, row.layer, row.student) and method != TEACHER and values is not own
    }
    behind = {method: mean for method, rival in rivals.items() if (mean := mean_difference(own, rival)) < 0}
    if not behind:
        return replace(row, rank=1)
    farthest = min(behind, key=lambda method: behind[method])
    gap = difference(own, rivals[farthest], patient_of)
    return replace(row, rank=1 + len(behind), behind=gap, behind_method=farthest)
