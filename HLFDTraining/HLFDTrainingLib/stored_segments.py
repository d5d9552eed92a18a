"""The segments that a `.seg.nrrd` of 3D Slicer tells of, besides its voxels."""

from __future__ import annotations

from pathlib import Path

import SimpleITK as sitk
from HLFDSegmentationLib.given_segmentation import segment_names

from .segment_roles import SceneSegment

VALUE = "_LabelValue"
TAGS = "_Tags"
TERMINOLOGY = "TerminologyEntry"


def stored_segments(label: sitk.Image, path: Path) -> dict[int, SceneSegment]:
    """The segments by their values, each with its value as ID; empty for other files.

    Args:
        label: what was read from the file.
        path: of the file.

    Raises:
        InputError: the file gives a name to what is no value.
    """
    names = segment_names(label, path)
    keys = [key for key in label.GetMetaDataKeys() if key.startswith("Segment") and key.endswith(VALUE)]
    codes = {int(label.GetMetaData(key)): _terminology(label, key.removesuffix(VALUE)) for key in keys}
    return {value: SceneSegment(str(value), name, codes[value]) for value, name in names.items()}


def _terminology(label: sitk.Image, segment: str) -> str:
    """The codes among a segment's tags, which are written as `NAME:TEXT|NAME:TEXT|`; empty where there are none."""
    key = segment + TAGS
    tags = label.GetMetaData(key).split("|") if key in label else []
    return dict(tag.split(":", 1) for tag in tags if ":" in tag).get(TERMINOLOGY, "")
