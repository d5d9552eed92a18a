"""The figures of a comparison's finished rows, one case at a time."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from HLFDSegmentationLib.errors import TrainingError
from HLFDSegmentationLib.output.safe_files import replacing

from ..distillers import DISTILLERS
from ..metrics import METRICS, NAN
from ..runs.run_events import Event, all_events
from ..runs.training_curves import epochs_of
from .folder import ComparisonFolder
from .jobs import TEACHER
from .label_slices import SLICE_METRICS
from .measuring import FOCUS_FIGURES
from .rows import BASELINE, Row, read_method

CASE_FIGURES = (*METRICS, *SLICE_METRICS)


@dataclass(frozen=True)
class Record:
    """Figures of one network on one label of one test case.

    Attributes:
        method: as the row has it, or `jobs.TEACHER`.
        student: network name; the teacher's own for the teacher.
        seed: of the row.
        patient, case, label: where it was measured.
        layer: that it is about; "" for figures of the segmentation.
        values: by the figure's name; NaN for one that has no meaning.
    """

    method: str
    student: str
    seed: int
    patient: str
    case: str
    label: str
    layer: str
    values: dict[str, float]

    @property
    def row(self) -> str:
        """The name of the row."""
        return TEACHER if self.method == TEACHER else Row(self.method, self.student, self.seed).name


@dataclass(frozen=True)
class Records:
    """All figures of one comparison, or of several that divide an experiment's cases between them.

    Attributes:
        cases: of the segmentations, `CASE_FIGURES`.
        focus: of the layers, `FOCUS_FIGURES`.
        learning: by row and epoch, the validation Dice; one for each comparison that has the row.
        costs: by network, see `costs.measure_costs`.
        arithmetic: by row, and of the teacher and the head where they were trained, in what precision and on what kind
            of device they learned; more than one where it went on elsewhere, none where an earlier version did not
            note it.
        versions: by the same, of HLFD and torch that trained or measured it; none where they are not known.
    """

    cases: list[Record]
    focus: list[Record]
    learning: dict[Row, dict[int, list[float]]]
    costs: dict[str, dict[str, Any]]
    arithmetic: dict[str, set[str]]
    versions: dict[str, set[str]]


def read_records(folders: Sequence[Path]) -> Records:
    """What was measured in the folders of comparisons.

    Raises:
        InputError: a row's figures cannot be read now.
        TrainingError: a file is damaged, or two folders have the same case.
    """
    found = Records([], [], {}, {}, {}, {})
    for folder in map(ComparisonFolder, folders):
        found.costs.update({name: cost for name, cost in folder.costs().items() if name not in found.costs})
        for run in folder.measured_runs():
            figures = folder.figures(run)
            about = {name: figures[name] for name in ("method", "student", "seed")}
            found.cases.extend(_record(about, entry, CASE_FIGURES) for entry in figures["cases"])
            found.focus.extend(_record(about, entry, FOCUS_FIGURES) for entry in figures["focus"])
            if about["method"] != TEACHER:
                epochs = found.learning.setdefault(Row(**about), {})
                for epoch, dice in _learning(run.events).items():
                    epochs.setdefault(epoch, []).append(dice)
            found.versions.setdefault(run.path.name, set()).update(_versions([figures.get("software")]))
        for run in folder.trained_runs():
            starts = [event for event in all_events(run.events) if event["event"] == "plan"]
            found.arithmetic.setdefault(run.path.name, set()).update(_arithmetic(starts))
            found.versions.setdefault(run.path.name, set()).update(_versions(event.get("software") for event in starts))
    twice = [key for key, count in Counter((one.row, one.case, one.label) for one in found.cases).items() if count > 1]
    if twice:
        raise TrainingError(
            f"Case {twice[0][1]} is in more than one of the comparisons. Each case must be a test case of one alone."
        )
    for records in (found.cases, found.focus):
        records.sort(key=_order)
    return found


def _record(about: dict[str, Any], entry: dict[str, Any], figures: Sequence[str]) -> Record:
    # A row that an earlier version measured lacks the figures that came later.
    values = {name: NAN if entry.get(name) is None else float(entry[name]) for name in figures}
    place = {name: entry[name] for name in ("patient", "case", "label")}
    return Record(**about, **place, layer=entry.get("layer", ""), values=values)


def _learning(events: Path) -> dict[int, float]:
    """The criterion of each epoch of the student."""
    epochs = epochs_of(all_events(events)).get("student", [])
    return {event["epoch"]: event["criterion"] for event in epochs if event["criterion"] is not None}


def _arithmetic(starts: Iterable[Event]) -> set[str]:
    told = (event for event in starts if "precision" in event)
    return {f"{event['precision']} on {event['device'].partition(':')[0]}" for event in told}


def _versions(software: Iterable[Any]) -> set[str]:
    """Of HLFD and torch. For which kind of device torch was built ("+cpu") is told with the arithmetic."""
    known = (one for one in software if isinstance(one, dict) and {"hlfd", "torch"} <= one.keys())
    return {f"HLFD {one['hlfd']} with torch {str(one['torch']).partition('+')[0]}" for one in known}


def _order(record: Record) -> tuple[Any, ...]:
    return (record.method != TEACHER, record.student, *method_order(record.method), record.seed)


def method_order(method: str) -> tuple[int, str]:
    """Sorts the teacher first, then the student alone, then the methods as docs/distillation.md lists them."""
    known = [TEACHER, BASELINE, *DISTILLERS]
    return known.index(method if method == TEACHER else read_method(method)[0]), method


def write_records(records: Iterable[Record], figures: Sequence[str], path: Path) -> None:
    """A CSV file with a row for each record; empty where a figure has no meaning. Raises OutputError."""
    with replacing(path) as part, open(part, "w", newline="", encoding="utf-8") as stream:
        records = list(records)
        layer = ("layer",) if any(record.layer for record in records) else ()
        places = ("row", "method", "student", "seed", "patient", "case", "label", *layer)
        writer = csv.writer(stream)
        writer.writerow((*places, *figures))
        for record in records:
            values = [record.values[name] for name in figures]
            told = ("" if math.isnan(value) else f"{value:.5f}" for value in values)
            writer.writerow((*(getattr(record, place) for place in places), *told))
