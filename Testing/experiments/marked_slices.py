"""What was marked for this project in the slices, because their own masks do not tell it.

`marked_slices.json` holds the marks in the liver slices: for each slice the kidneys (with their tumors and cysts) and
the liver tumors as runs of pixels, start and length in the flattened slice; null where it was not possible to tell.
`marked_livers.json` holds the liver (with its tumors) in slices of KiTS19 that are learned from; where a slice is not
in it, it was not possible to tell. All were made from proposals (regions of one brightness, and an earlier model's
output) that were accepted, rejected or redrawn slice by slice by eye, by no radiologist. They are works derived from
slices under CC BY-SA 4.0 and CC BY-NC-SA 4.0, and have these licences.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

MARKS = Path(__file__).with_name("marked_slices.json")
LIVERS = Path(__file__).with_name("marked_livers.json")


@dataclass(frozen=True)
class Marks:
    """What was marked in a slice (H, W), bool; None where it could not be told."""

    kidneys: np.ndarray | None
    tumors: np.ndarray | None


def marks_of(name: str, shape: tuple[int, int]) -> Marks:
    """The marks of the slice with that name, `patientNNNNN_zZZZ`."""
    told = _read(MARKS)[name]
    return Marks(*(None if told[what] is None else from_runs(told[what], shape) for what in ("kidneys", "tumors")))


def liver_of(name: str, shape: tuple[int, int]) -> np.ndarray | None:
    """The liver (H, W) of the KiTS19 slice with that name, `caseNNNNN_zZZZ`; None where nobody looked for it."""
    runs = _read(LIVERS).get(name)
    return None if runs is None else from_runs(runs, shape)


def from_runs(runs: Sequence[int], shape: tuple[int, int]) -> np.ndarray:
    """A mask (H, W) of start, length, start, length ... in the flattened array."""
    mask = np.zeros(shape, bool)
    for start, length in zip(runs[::2], runs[1::2], strict=True):
        mask.reshape(-1)[start : start + length] = True
    return mask


def to_runs(mask: np.ndarray) -> list[int]:
    """The reverse of `from_runs`."""
    steps = np.flatnonzero(np.diff(mask.reshape(-1).astype(np.int8), prepend=0, append=0))
    starts, ends = steps[::2], steps[1::2]
    return np.stack([starts, ends - starts], axis=1).reshape(-1).tolist()


@cache
def _read(marks: Path) -> dict[str, Any]:
    return json.loads(marks.read_text(encoding="utf-8"))["slices"]
