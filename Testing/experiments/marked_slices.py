"""Kidneys and liver tumors that were marked for this project in the liver slices, whose own mask does not tell them.

`marked_slices.json` holds the marks: for each slice the kidneys (with their tumors and cysts) and the liver tumors as
runs of pixels, start and length in the flattened slice; null where it was not possible to tell. They were made from
proposals (regions of one brightness, and an earlier model's output) that were accepted, rejected or redrawn slice by
slice by eye, by no radiologist. They are a work derived from slices under CC BY-SA 4.0 and have that licence.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

MARKS = Path(__file__).with_name("marked_slices.json")


@dataclass(frozen=True)
class Marks:
    """What was marked in a slice (H, W), bool; None where it could not be told."""

    kidneys: np.ndarray | None
    tumors: np.ndarray | None


def marks_of(name: str, shape: tuple[int, int]) -> Marks:
    """The marks of the slice with that name, `patientNNNNN_zZZZ`."""
    told = _all_marks()[name]
    return Marks(*(None if told[what] is None else from_runs(told[what], shape) for what in ("kidneys", "tumors")))


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
def _all_marks() -> dict[str, dict[str, list[int] | None]]:
    return json.loads(MARKS.read_text(encoding="utf-8"))["slices"]
