"""Figures as files and tables tell them: empty, null or a dash where one has no meaning."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from HLFDSegmentationLib.output.safe_files import replacing

from .metrics import METRICS, CaseMetrics, Summary


def write_metrics_csv(figures: Sequence[CaseMetrics], path: Path) -> None:
    """One row for each case and label that has a figure, with `METRICS` as columns, empty where one has no meaning.

    Raises OutputError.
    """
    with replacing(path) as part, open(part, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, ("case", "label", *METRICS))
        writer.writeheader()
        for case in figures:
            for label, metrics in case.labels.items():
                values = {name: "" if math.isnan(value) else f"{value:.5f}" for name, value in asdict(metrics).items()}
                if any(values.values()):
                    writer.writerow({"case": case.case, "label": label, **values})


def summary_table(
    summaries: dict[str, dict[str, Summary]], metrics: Sequence[str] = METRICS, *, of: str = "label"
) -> str:
    """Mean ± standard deviation (cases) of each label, or what else is summarized, and metric, as a Markdown table."""
    lines = [f"| {of} | {' | '.join(metrics)} |", "|---|" + "---|" * len(metrics)]
    for label, figures in summaries.items():
        cells = [summary_text(figures[metric]) for metric in metrics]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines)


def summary_text(summary: Summary) -> str:
    """Mean ± standard deviation (cases), or a dash."""
    if not summary.n:
        return "-"
    spread = "" if math.isnan(summary.sd) else f" ± {summary.sd:.3f}"
    return f"{summary.mean:.3f}{spread} ({summary.n})"


def without_nan(data: Any) -> Any:
    """Figures, in dictionaries and lists of any depth, as JSON holds them: null in place of NaN."""
    if isinstance(data, dict):
        return {key: without_nan(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [without_nan(value) for value in data]
    return None if isinstance(data, float) and math.isnan(data) else data
