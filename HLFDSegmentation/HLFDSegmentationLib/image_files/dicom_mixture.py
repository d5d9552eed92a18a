"""Whether the slices of one DICOM series come from two scans or reconstructions, such as two contrast phases."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np

from ..errors import InputError
from .dicom_slice import (
    ACQUISITION_NUMBER,
    ACQUISITION_TIME,
    CONTRAST_AGENT,
    INSTANCE_NUMBER,
    KERNEL,
    TUBE_VOLTAGE,
    DicomSlice,
)

NAMES = {
    ACQUISITION_NUMBER: "acquisition number",
    CONTRAST_AGENT: "contrast agent",
    TUBE_VOLTAGE: "tube voltage",
    KERNEL: "convolution kernel",
    ACQUISITION_TIME: "acquisition time",
}

SAME_IN_A_SCAN = (ACQUISITION_NUMBER, CONTRAST_AGENT, TUBE_VOLTAGE, KERNEL)
"""Entries that stay the same, or change from one block of slices to the next where a scan has several parts. The
current, which follows the patient's thickness, and the time of the file's making, which several computers share, do
not."""

PAUSE_S = 5.0
"""A scan goes along the patient and through time in one direction. Its times may jitter, but by less than this; two
phases are farther apart."""

AT_A_SEAM = 2
"""Two parts of a scan that overlap may exchange a slice where they meet: so often one of them may come back."""

LEAST_NUMBERS = 10
"""Of fewer numbers any order may look like two scans by chance."""


def check_one_scan(slices: list[DicomSlice], folder: Path) -> None:
    """Raises InputError where slices, in order, come by turns from two scans or reconstructions."""
    if key := mixed_entry(slices):
        # A time that cannot be read told nothing.
        telling = [one for one in slices if key != ACQUISITION_TIME or _seconds(one.entries[key]) is not None]
        one, other = next(pair for pair in pairwise(telling) if pair[0].entries[key] != pair[1].entries[key])
        found = " and ".join(f"{each.path.name}: {each.entries[key] or 'none'}" for each in (one, other))
        raise InputError(
            f"The DICOM series in {folder} mixes slices of two scans or reconstructions, such as two contrast phases: "
            f"from slice to slice the {NAMES[key]} changes to and fro ({found}). Export one of them alone, and give "
            "that folder."
        )


def mixture_cautions(slices: list[DicomSlice]) -> list[str]:
    """About a CT that was read from such slices all the same. No file is named: the sentence may be passed on."""
    if not (key := mixed_entry(slices)):
        return []
    return [
        "The DICOM series of this CT mixes slices of two scans or reconstructions, such as two contrast phases: from "
        f"slice to slice the {NAMES[key]} changes to and fro. Do not rely on anything of this result. Load one of them "
        "alone, and segment that."
    ]


def mixed_entry(slices: list[DicomSlice]) -> str | None:
    """The tag that tells that slices, in order, come by turns from two scans or reconstructions; none where none does.

    Many series lack an entry, or have it made alike or random when patients' names are taken out: only what comes back
    again and again counts.
    """
    for key in SAME_IN_A_SCAN:
        values = [one.entries[key] for one in slices]
        if _returns(values) > AT_A_SEAM * (len(set(values)) - 1):
            return key
    times = [seconds for one in slices if (seconds := _seconds(one.entries[ACQUISITION_TIME])) is not None]
    return ACQUISITION_TIME if _turns(np.array(times), PAUSE_S) > AT_A_SEAM else None


def number_doubts(slices: list[DicomSlice]) -> list[str]:
    """About slices, in order, whose numbers jump between two or three rows that each go one way.

    DICOM lets a number be anything, so that this alone proves nothing; but numbers in no order do not look so.
    """
    told = [one.entries[INSTANCE_NUMBER] for one in slices]
    if len(told) < LEAST_NUMBERS or not all(number.isdecimal() for number in told):
        return []
    numbers = np.array(told, float)
    far = len(numbers) / 4
    if _turns(numbers, far) < far or not any(_rows_go_one_way(numbers, rows) for rows in (2, 3)):
        return []
    return [
        "The numbers of the CT's DICOM files jump to and fro from slice to slice, as when two contrast phases are "
        "mixed in one series. Scroll through the CT: if its slices are by turns brighter and darker, use no figure of "
        "this result, and export one phase alone."
    ]


def _returns(values: list[str]) -> int:
    """How often a value comes back after another one."""
    runs = 1 + sum(one != other for one, other in pairwise(values))
    return runs - len(set(values))


def _turns(values: np.ndarray, least: float) -> int:
    """How often values rise and fall again from one to the next, by more than this."""
    steps = np.diff(values)
    return min(int(np.count_nonzero(steps > least)), int(np.count_nonzero(steps < -least)))


def _rows_go_one_way(numbers: np.ndarray, rows: int) -> bool:
    steps = [np.diff(numbers[start::rows]) for start in range(rows)]
    return all(bool(np.all(row > 0) or np.all(row < 0)) for row in steps)


def _seconds(time: str) -> float | None:
    """Of a time of day as DICOM writes it, HHMMSS.FFFFFF, and as it did long ago, with colons."""
    digits, _, fraction = time.replace(":", "").partition(".")
    if len(digits) != 6 or not f"{digits}{fraction}".isdecimal():
        return None
    return int(digits[:2]) * 3600 + int(digits[2:4]) * 60 + float(f"{digits[4:]}.{fraction}")
