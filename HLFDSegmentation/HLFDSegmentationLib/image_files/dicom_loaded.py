"""A CT that another program has read from DICOM files: what these tell of it, and its voxels do not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..hounsfield import MODALITY
from .dicom_mixture import mixture_cautions, number_doubts
from .dicom_slice import (
    IMAGE_TYPE,
    NO_HU,
    PROJECTION,
    RESCALE_TYPE,
    SERIES_DESCRIPTION,
    DicomSlice,
    name_doubts,
    other_unit,
    projection_words,
    slice_of,
    tag,
)
from .dicom_stack import along_normal, gap_doubts
from .image_headers import GDCM, read_header


def modality_problem(files: Sequence[str]) -> str | None:
    """A sentence why what was read from such files is no CT, or nothing where they do not say so, or cannot be read."""
    try:
        modality = tag(Path(files[0]), MODALITY) if files else ""  # A series has one.
    except InputError:
        return None
    if modality in ("CT", ""):
        return None
    return f"The DICOM files of this image say that it is {modality}, not CT. Choose a CT."


def series_cautions_and_doubts(files: Sequence[str]) -> tuple[list[str], list[str]]:
    """Why nothing in such a CT may be right, and what makes it doubtful; no sentence names a file.

    Nothing is refused, as the program may have read rightly what cannot be read here. Of files that are no longer
    there, whose headers cannot be read, or that hold no slices, nothing is told.
    """
    try:
        headers = [read_header(Path(file), GDCM) for file in files]
    except InputError:
        return [], []
    if any(header.GetDimension() != 3 for header in headers):
        return [], []
    slices = [slice_of(header, Path(file)) for header, file in zip(headers, files)]
    projection = _projection_cautions(slices)
    cautions = projection + _unit_cautions(slices)
    doubts = [] if projection else name_doubts(one.entries[SERIES_DESCRIPTION] for one in slices)
    if len(slices) < 2:
        return cautions, doubts
    slices = along_normal(slices)
    step = float(np.median(np.diff([one.origin @ slices[0].direction[:, 2] for one in slices])))
    return cautions + mixture_cautions(slices), doubts + number_doubts(slices) + gap_doubts(slices, step)


def _projection_cautions(slices: Sequence[DicomSlice]) -> list[str]:
    words = next((words for one in slices if (words := projection_words(one.entries[IMAGE_TYPE]))), "")
    if not words:
        return []
    return [f"By its DICOM files this CT is a projection ({words}): {PROJECTION}. Segment the slices it was made from."]


def _unit_cautions(slices: Sequence[DicomSlice]) -> list[str]:
    unit = next((unit for one in slices if (unit := other_unit(one.entries[RESCALE_TYPE]))), "")
    if not unit:
        return []
    return [f"The values of this CT's DICOM files are {unit}, not HU, {NO_HU}. Segment the series of this scan in HU."]
