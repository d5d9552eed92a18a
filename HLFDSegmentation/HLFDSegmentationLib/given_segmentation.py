"""A segmentation that somebody else made, a corrected one for example, on the CT's grid and in a task's values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .errors import InputError
from .label_files import read_label
from .tasks import BACKGROUND, Task


def read_segmentation(path: str | Path, ct: sitk.Image, task: Task) -> sitk.Image:
    """Labels, uint8 on exactly the CT's grid, of a file on any grid.

    Segments of a `.seg.nrrd` are known by their names, values of other files by the task. 3D Slicer stores a
    segmentation cut to what it shows, so voxels outside of the file are background.

    Args:
        path: NIfTI, NRRD or MetaImage file with one value a voxel.
        ct: the CT.
        task: what may be segmented.

    Raises:
        InputError: the file cannot be read, shows what the task does not have, or nothing on the CT.
    """
    path = Path(path)
    labels = read_label(path, orientation=True)
    values = sitk.GetArrayFromImage(labels)
    shown = sorted(set().union(*(np.unique(plane).tolist() for plane in values)) - {BACKGROUND})
    meaning = _meaning(labels, task)
    if unknown := [value for value in shown if value not in meaning]:
        raise InputError(
            f"{path} shows the value {unknown[0]:g}{_named(labels, unknown[0])}, which is no label of the model. Its "
            f"labels are {', '.join(f'{label.name} ({label.value})' for label in task.labels)}."
        )
    of_task = np.zeros(values.shape, np.uint8)
    for value in shown:
        of_task[values == value] = meaning[value]
    image = sitk.GetImageFromArray(of_task)
    image.CopyInformation(labels)
    on_ct = sitk.Resample(image, ct, sitk.Transform(), sitk.sitkNearestNeighbor, BACKGROUND)
    if not sitk.GetArrayViewFromImage(on_ct).any():
        raise InputError(f"{path} shows nothing on the CT. Give the segmentation that was made on this CT.")
    return on_ct


def segment_names(labels: sitk.Image) -> dict[int, str]:
    """The names that a `.seg.nrrd` gives to its values; empty for other files."""
    keys = [key for key in labels.GetMetaDataKeys() if key.startswith("Segment") and key.endswith("_LabelValue")]
    named = {}
    for key in sorted(keys):
        name_key = key.replace("_LabelValue", "_Name")
        named[int(labels.GetMetaData(key))] = labels.GetMetaData(name_key) if name_key in labels else ""
    return named


def _meaning(labels: sitk.Image, task: Task) -> dict[int, int]:
    """Value in the file -> value in the task, for those that the task has."""
    names = segment_names(labels)
    if not names:
        return {label.value: label.value for label in task.labels}
    of_task = {label.name: label.value for label in task.labels}
    return {value: of_task[name] for value, name in names.items() if name in of_task}


def _named(labels: sitk.Image, value: float) -> str:
    name = segment_names(labels).get(value)
    return f" ('{name}')" if name else ""
