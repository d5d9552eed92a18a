"""The results of a comparison as files: figures of each case, tables, charts and a page."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from HLFDSegmentationLib.output.safe_files import replacing, write_text

from .charts import dice_charts, focus_charts, learning_charts, write_svg
from .folder import ComparisonFolder, check_folds
from .jobs import TEACHER
from .markdown import markdown
from .measuring import FOCUS_FIGURES
from .page import write_page
from .records import CASE_FIGURES, read_records, write_records
from .statistics import Difference
from .summary import TableRow, summarize_records
from .wording import differences, measured_on, trained_by


def write_tables(folders: Sequence[Path], output: Path) -> None:
    """Writes what the finished rows of comparisons achieve.

    cases.csv and focus.csv have the figures of each case, table.csv and focus_table.csv their summaries, costs.csv what
    the networks cost; table.md has the tables for reading, report.html also the charts, which are dice.svg, focus.svg
    and learning.svg as well.

    Args:
        folders: one comparison, or several that divide the cases of an experiment between them (folds).
        output: where to write.

    Raises:
        InputError: a row's figures cannot be read now.
        TrainingError: a file is damaged, or two comparisons have the same case, or plans that differ in more than
            `folder.OF_A_FOLD`.
        OutputError: the files cannot be written.
    """
    comparisons = [ComparisonFolder(one) for one in folders]
    check_folds(comparisons)
    records = read_records(folders)
    if not records.cases:
        return
    table = summarize_records(records.cases, CASE_FIGURES)
    focus = summarize_records(records.focus, FOCUS_FIGURES)
    write_records(records.cases, CASE_FIGURES, output / "cases.csv")
    write_records(records.focus, FOCUS_FIGURES, output / "focus.csv")
    _write_csv([_cells(row) for row in table], output / "table.csv")
    _write_csv([_cells(row) for row in focus], output / "focus_table.csv")
    _write_csv([{"network": name, **cost} for name, cost in records.costs.items()], output / "costs.csv")
    taught = any(one.method == TEACHER for one in records.cases)
    about = f"{measured_on(records.cases)} {trained_by([one.plan for one in comparisons], taught=taught)}"
    about += differences(records)
    write_text(output / "table.md", markdown(table, focus, records.costs, about))
    charts = {
        "dice": dice_charts(table),
        "focus": focus_charts(focus),
        "learning": learning_charts(records.learning),
    }
    for name, drawn in charts.items():
        write_svg(drawn, output / f"{name}.svg")
    write_page(table, focus, records.costs, charts, about, output / "report.html")


def _cells(row: TableRow) -> dict[str, Any]:
    cells: dict[str, Any] = {"label": row.label, "layer": row.layer, "student": row.student, "method": row.method}
    for figure, found in row.figures.items():
        cells |= {f"{figure}_{name}": value for name, value in asdict(found).items()}
    cells |= _difference_cells("difference", row.difference)
    behind = {"behind_method": row.behind_method, **_difference_cells("behind", row.behind)}
    return {**cells, "rank": row.rank or "", **behind}


def _difference_cells(title: str, found: Difference | None) -> dict[str, Any]:
    told = asdict(found) if found else {}
    return {f"{title}_{field.name}": told.get(field.name, "") for field in fields(Difference)}


def _write_csv(rows: Sequence[dict[str, Any]], path: Path) -> None:
    with replacing(path) as part, open(part, "w", newline="", encoding="utf-8") as stream:
        if not rows:
            return
        writer = csv.DictWriter(stream, rows[0].keys())
        writer.writeheader()
        writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)


def _cell(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return "" if math.isnan(value) else f"{value:.6g}"
