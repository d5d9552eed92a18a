"""A segmentation that somebody else made, a corrected one for example, on the CT's grid and in a task's values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .errors import InputError
from .image_files.label_files import read_label
from .image_points import image_like
from .tasks import BACKGROUND, Task

SMALLEST_SHARE = 0.5
"""A segmentation of which less lies on the CT was made on another one."""

SPACING_TOLERANCE = 1e-3
"""Of a segmentation whose voxels differ more from the CT's, that is told."""

TURN_TOLERANCE = 1e-3
"""Cosine of an angle between axes of a segmentation and the CT that counts as a right one."""

PLACE_TOLERANCE = 0.05
"""Of a segmentation whose voxels lie by more of a voxel beside the CT's, that is told. Rounding does less."""

ROUNDING = 1e-3
"""Values of real numbers that are so near to a whole one are taken for it."""

WHOLE = 0.995
"""Of a segmentation of which less lies on the CT, that is told."""

NAME, VALUE = "_Name", "_LabelValue"


def read_segmentation(path: str | Path, ct: sitk.Image, task: Task) -> tuple[sitk.Image, list[str], list[str]]:
    """Labels, uint8 on exactly the CT's grid, of a file on any grid, and what to tell of that: cautions and notes.

    Segments of a `.seg.nrrd` are known by their names, values of other files by the task. 3D Slicer stores a
    segmentation cut to what it shows, so voxels outside of the file are background.

    Args:
        path: NIfTI, NRRD or MetaImage file with one value a voxel.
        ct: the CT.
        task: what may be segmented.

    Raises:
        InputError: the file cannot be read, shows nothing or what the task does not have, or lies mostly outside of the
            CT.
    """
    path = Path(path)
    labels = read_label(path, orientation=True)
    values = _rounded(sitk.GetArrayFromImage(labels))
    shown = sorted(set().union(*(np.unique(plane).tolist() for plane in values)) - {BACKGROUND})
    names = {value: segment_entry(labels, segment, "Name") for value, segment in segment_keys(labels, path).items()}
    meaning = _meaning(names, task)
    if broken := [value for value in shown if value != round(value)]:
        raise InputError(
            f"{path} shows the value {broken[0]!r}, which is no whole number, as where labels were interpolated. Give "
            "the segmentation as it was drawn, or one that was resampled to the nearest voxel."
        )
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
    image = image_like(of_task, labels)
    on_ct = sitk.Resample(image, ct, sitk.Transform(), sitk.sitkNearestNeighbor, BACKGROUND)
    share = _share_on(ct, image)
    if share < SMALLEST_SHARE or not sitk.GetArrayViewFromImage(on_ct).any():
        raise InputError(
            f"{path} shows nothing on the CT, or little: {share:.0%} of it lie there. Give the segmentation that was "
            "made on this CT."
        )
    notes = [f"{1 - share:.0%} of the segmentation lies outside of the CT and does not count."] if share < WHOLE else []
    value_cautions, value_notes = ([], []) if names else _told_of_values(shown, task)
    notes += _resampling_notes(labels, ct) + value_notes
    return on_ct, _moved_cautions(labels, ct) + value_cautions, notes


def _rounded(values: np.ndarray) -> np.ndarray:
    """Makes real numbers whole that are so but for rounding, as programs that compute with labels store them."""
    if not np.issubdtype(values.dtype, np.floating):
        return values
    for plane in values:
        whole = np.rint(plane)
        near = np.abs(plane - whole) <= ROUNDING
        plane[near] = whole[near]
    return values


def _told_of_values(shown: Sequence[float], task: Task) -> tuple[list[str], list[str]]:
    """Cautions and notes about values of a file that does not name them: nothing but their order tells them.

    Where some of the task's are missing, and it has several organs, the file may count otherwise.
    """
    taken = [f"{label.value} for {label.name}" for label in task.labels if label.value in shown]
    told = f"The segmentation's file has no names, so its values were taken: {', '.join(taken)}."
    if len(taken) == len(task.labels) or len(task.organs) == 1:
        return [], [told]
    others = (
        "LiTS and KiTS files use 1 and 2 for an organ and its tumor. Where this is not what the values mean, change "
        "them, or give a .seg.nrrd whose segments have the names of the model's labels."
    )
    return [f"{told} {others}"], []


def _moved_cautions(labels: sitk.Image, ct: sitk.Image) -> list[str]:
    """About a segmentation that was drawn on the CT's voxels, by their number, and does not lie on them."""
    if sorted(labels.GetSize()) != sorted(ct.GetSize()):
        return []
    begins_there = np.abs(_lowest_corner(labels, ct)).max() < PLACE_TOLERANCE
    if begins_there and not _resampling_notes(labels, ct):
        return []
    apart = np.linalg.norm(np.subtract(_center(labels), _center(ct)))
    return [
        "The segmentation has as many voxels as the CT, but they do not lie on the CT's (the centers of both are "
        f"{apart:.1f} mm apart): one of the two files has lost its place, or they are of different scans. Every figure "
        "here may be of the wrong part. Look at where it lies, and give both files as one program saved them."
    ]


def _resampling_notes(labels: sitk.Image, ct: sitk.Image) -> list[str]:
    """About a segmentation whose voxels are none of the CT's."""
    cosines = np.abs(np.transpose(_axes(ct)) @ _axes(labels))
    between = _lowest_corner(labels, ct) - np.round(_lowest_corner(labels, ct))
    if not np.allclose(sorted(labels.GetSpacing()), sorted(ct.GetSpacing()), rtol=SPACING_TOLERANCE):
        how = f"has voxels of {_size(labels)} mm, and the CT of {_size(ct)} mm"
    elif not np.allclose(cosines, np.round(cosines), atol=TURN_TOLERANCE):
        how = "has axes that are turned against the CT's"
    elif np.abs(between).max() >= PLACE_TOLERANCE:
        how = f"has voxels that lie between the CT's, by {np.abs(between).max():.2f} of a voxel"
    else:
        return []
    return [f"The segmentation {how}, so it was resampled. Look at where it lies before you use any figure of it."]


def _axes(image: sitk.Image) -> np.ndarray:
    return np.reshape(image.GetDirection(), (3, 3))


def _lowest_corner(labels: sitk.Image, ct: sitk.Image) -> np.ndarray:
    """The place of the corner voxel that comes first in the CT, in voxels of the CT along its axes."""
    corners = np.ndindex(2, 2, 2)
    last = np.subtract(labels.GetSize(), 1)
    points = [labels.TransformIndexToPhysicalPoint((last * corner).tolist()) for corner in corners]
    return np.min([ct.TransformPhysicalPointToContinuousIndex(point) for point in points], axis=0)


def _center(image: sitk.Image) -> tuple[float, ...]:
    return image.TransformContinuousIndexToPhysicalPoint([(size - 1) / 2 for size in image.GetSize()])


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
        InputError: a segment's value is no whole number, or is not told.
    """
    keys = [key for key in sorted(labels.GetMetaDataKeys()) if re.fullmatch(rf"Segment\d+({NAME}|{VALUE})", key)]
    segments = list(dict.fromkeys(key.rpartition("_")[0] for key in keys))
    if untold := [segment for segment in segments if f"{segment}{VALUE}" not in keys]:
        raise InputError(
            f"{path} does not say which value its segment '{segment_entry(labels, untold[0], 'Name')}' has, as files "
            "of old versions of 3D Slicer do not. Load it in 3D Slicer and save it again."
        )
    return {_whole_number(labels.GetMetaData(f"{segment}{VALUE}"), path): segment for segment in segments}


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
