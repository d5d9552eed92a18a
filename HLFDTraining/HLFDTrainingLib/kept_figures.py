"""Figures of single test cases, kept until all are measured: a measuring that was ended goes on where it was."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from HLFDSegmentationLib.output.safe_files import write_json

from .figure_tables import without_nan
from .metrics import CaseMetrics, LabelMetrics
from .runs.process_files import read_object


@dataclass(frozen=True)
class MeasuredCase:
    """What was measured of a network on a case.

    Attributes:
        figures: how well it segments the case.
        seconds: that this took, reading the files left out.
        device: where it ran to the end.
    """

    figures: CaseMetrics
    seconds: float
    device: str


def kept_or_measured(folder: Path, identity: Any, measure: Callable[[], MeasuredCase]) -> MeasuredCase:
    """What was measured of a case, and is kept from then on.

    Args:
        folder: keeps it.
        identity: network, case, and what else the figures hang on.
        measure: measures the case where that was not done yet.

    Raises:
        OutputError: the folder cannot be written.
    """
    # Short, as Windows cuts off long paths.
    path = folder / f"{sha256(repr(identity).encode()).hexdigest()[:32]}.json"
    if kept := read_object(path):
        return _from_json(kept)
    measured = measure()
    write_json(path, without_nan(asdict(measured)))
    return measured


def _from_json(kept: dict[str, Any]) -> MeasuredCase:
    labels = {label: LabelMetrics(**_with_nan(figures)) for label, figures in kept["figures"]["labels"].items()}
    return MeasuredCase(CaseMetrics(kept["figures"]["case"], labels), kept["seconds"], kept["device"])


def _with_nan(figures: dict[str, float | None]) -> dict[str, float]:
    return {name: math.nan if value is None else value for name, value in figures.items()}
