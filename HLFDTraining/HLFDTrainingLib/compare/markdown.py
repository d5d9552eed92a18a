"""The tables of a comparison as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .summary import TableRow
from .wording import (
    BEFORE_THE_TABLES,
    HOW_TO_READ,
    HOW_TO_READ_FOCUS,
    cost_table,
    figure_table,
    focus_table,
    labels_of,
)


def markdown(table: Sequence[TableRow], focus: Sequence[TableRow], costs: dict[str, dict[str, Any]], about: str) -> str:
    """All tables, each under a heading, after what they are about."""
    parts = [about, BEFORE_THE_TABLES]
    parts += [f"## {label}\n\n{_table(*figure_table(table, label))}" for label in labels_of(table)]
    parts.append(f"## How to read these tables\n\n{HOW_TO_READ}")
    if focus:
        parts.append(f"## Focus by layer\n\n{HOW_TO_READ_FOCUS}")
        parts += [f"### {label}\n\n{_table(*focus_table(focus, label))}" for label in labels_of(focus)]
    parts.append(f"## Networks\n\n{_table(*cost_table(costs, table))}")
    return "\n\n".join(parts) + "\n"


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
