"""The segments that a `.seg.nrrd` of 3D Slicer tells of, besides its voxels."""

from __future__ import annotations

from pathlib import Path

import SimpleITK as sitk
from HLFDSegmentationLib.given_segmentation import segment_entry, segment_keys

from .segment_roles import SceneSegment

TERMINOLOGY = "TerminologyEntry"


def stored_segments(label: sitk.Image, path: Path) -> dict[int, SceneSegment]:
    """The segments by their values, each with its value as ID; empty for other files.

    Args:
        label: what was read from the file.
        path: of the file.

    Raises:
        InputError: a segment's value is no whole number.
    """
    return {
        value: SceneSegment(str(value), segment_entry(label, segment, "Name"), _terminology(label, segment))
        for value, segment in segment_keys(label, path).items()
    }


def _terminology(label: sitk.Image, segment: str) -> str:
    """The codes among a segment's tags, which are written as `NAME:TEXT|NAME:TEXT|`; empty where there are none."""
    tags = segment_entry(label, segment, "Tags").split("|")
    return dict(tag.split(":", 1) for tag in tags if ":" in tag).get(TERMINOLOGY, "")
