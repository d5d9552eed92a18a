"""A segmentation that somebody else made, a corrected one for example, on the CT's grid and in a task's values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .errors import InputError
from .label_files import read_label
from .tasks import BACKGROUND, Task

SMALLEST_SHARE = 0.5
"""A segmentation of which less lies on the CT was made on another one."""

SPACING_TOLERANCE = 1e-3
"""Of a segmentation whose voxels differ more from the CT's, that is told."""

WHOLE = 0.995
"""Of a segmentation of which less lies on the CT, that is told."""

VALUE = "_LabelValue"


def read_segmentation(path: str | Path, ct: sitk.Image, task: Task) -> tuple[sitk.Image, list[str]]:
    """Labels, uint8 on exactly the CT's grid, of a file on any grid, and sentences about what the CT does not show.

    Segments of a `.seg.nrrd` are known by their names, values of other files by the task. 3D Slicer stores a
    segmentation cut to what it shows, so voxels outside of the file are background.

    Args:
        path: NIfTI, NRRD or MetaImage file with one value a voxel.
        ct: the CT.
        task: what may be segmented.

    Raises:
        InputError: the file cannot be read, shows what the task does not have, or lies mostly outside of the CT.
    """
    path = Path(path)
    labels = read_label(path, orientation=True)
    values = sitk.GetArrayFromImage(labels)
    shown = sorted(set().union(*(np.unique(plane).tolist() for plane in values)) - {BACKGROUND})
    names = {value: segment_entry(labels, segment, "Name") for value, segment in segment_keys(labels, path).items()}
    meaning = _meaning(names, task)
    if unknown := [value for value in shown if value not in meaning]:
        raise InputError(
            f"{path} shows the value {unknown[0]:g}{_named(names, unknown[0])}, which is no label of the model. Its "
            f"labels are {', '.join(f'{label.name} ({label.value})' for label in task.labels)}."
        )
    if not shown:
        raise InputError(f"{path} is empty: no voxel has a label. Give a segmentation that shows something.")
    of_task = np.zeros(values.shape, np.uint8)
    for value in shown:
        of_task[values == value] = meaning[value]
    image = sitk.GetImageFromArray(of_task)
    image.CopyInformation(labels)
    on_ct = sitk.Resample(image, ct, sitk.Transform(), sitk.sitkNearestNeighbor, BACKGROUND)
    share = _share_on(ct, image)
    if share < SMALLEST_SHARE or not sitk.GetArrayViewFromImage(on_ct).any():
        raise InputError(
            f"{path} shows nothing on the CT, or little: {share:.0%} of it lie there. Give the segmentation that was "
            "made on this CT."
        )
    notes = [f"{1 - share:.0%} of the segmentation lies outside of the CT and does not count."] if share < WHOLE else []
    if not np.allclose(sorted(labels.GetSpacing()), sorted(ct.GetSpacing()), rtol=SPACING_TOLERANCE):
        notes.append(
            f"The segmentation has voxels of {_size(labels)} mm, and the CT of {_size(ct)} mm, so it was resampled. "
            "Look at where it lies before you use any figure of it."
        )
    return on_ct, notes


def _size(image: sitk.Image) -> str:
    return " x ".join(f"{spacing:.3g}" for spacing in image.GetSpacing())


def _share_on(ct: sitk.Image, labels: sitk.Image) -> float:
    """Which share of the labelled voxels the CT shows."""
    of_ct = sitk.Image(ct.GetSize(), sitk.sitkUInt8) + 1
    of_ct.CopyInformation(ct)
    inside = sitk.GetArrayFromImage(sitk.Resample(of_ct, labels, sitk.Transform(), sitk.sitkNearestNeighbor, 0))
    labelled = sitk.GetArrayViewFromImage(labels) > 0
    return float((inside[labelled] > 0).mean()) if labelled.any() else 0.0


def segment_keys(labels: sitk.Image, path: Path) -> dict[int, str]:
    """What the keys of each segment of a `.seg.nrrd` begin with, as "Segment0", by its value; empty for other files.

    Args:
        labels: what was read from the file.
        path: of the file.

    Raises:
        InputError: a segment's value is no whole number.
    """
    keys = [key for key in sorted(labels.GetMetaDataKeys()) if key.startswith("Segment") and key.endswith(VALUE)]
    return {_whole_number(labels.GetMetaData(key), path): key.removesuffix(VALUE) for key in keys}


def segment_entry(labels: sitk.Image, segment: str, name: str) -> str:
    """An entry of a segment, such as its "Name", whose keys begin as `segment_keys` gives; empty where it has none."""
    key = f"{segment}_{name}"
    return labels.GetMetaData(key) if key in labels else ""


def _whole_number(text: str, path: Path) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise InputError(
            f"{path} gives a segment the value '{text}', which is no whole number. Save the segmentation again in 3D "
            "Slicer."
        ) from error


def _meaning(names: Mapping[int, str], task: Task) -> dict[int, int]:
    """Value in the file -> value in the task, for those that the task has."""
    if not names:
        return {label.value: label.value for label in task.labels}
    of_task = {label.name: label.value for label in task.labels}
    return {value: of_task[name] for value, name in names.items() if name in of_task}


def _named(names: Mapping[int, str], value: float) -> str:
    name = next((name for known, name in names.items() if known == value), "")
    return f" ('{name}')" if name else ""
