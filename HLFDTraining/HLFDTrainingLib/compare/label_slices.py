"""Figures on the slices that hold a label, as papers on slice-wise networks report them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
from HLFDSegmentationLib.tasks import Task

from ..metrics import METRICS, LabelMetrics, agreement, class_masks, measured_classes

SLICE_METRICS = tuple(f"slices_{metric}" for metric in METRICS)
"""`metrics.METRICS` on these slices."""


def on_label_slices(
    prediction: np.ndarray, truth: np.ndarray, spacing: Sequence[float], groups: Sequence[int], task: Task
) -> dict[str, dict[str, float]]:
    """`SLICE_METRICS` of each label (and organ with its tumors) on the axial slices whose annotation shows it.

    What is predicted in other slices does not count: the Dice is never lower than that of the whole volume.

    Args:
        prediction: predicted classes (Z, Y, X) in axial order.
        truth: annotated classes (Z, Y, X), see `metrics.measure_case`.
        spacing: voxel size in mm (z, y, x).
        groups: see `cases.case_groups`.
        task: what the classes are.

    Returns:
        NaN where no slice shows the label, or where it is not known.
    """
    tumor_names = {tumor.name for tumor in task.tumors}
    figures = {}
    for name, classes in measured_classes(task).items():
        masks = class_masks(classes, prediction, truth, groups)
        found = _on_its_slices(*masks, spacing, lesions=name in tumor_names) if masks else None
        figures[name] = {f"slices_{metric}": value for metric, value in asdict(found or LabelMetrics()).items()}
    return figures


def _on_its_slices(
    predicted: np.ndarray, annotated: np.ndarray, spacing: Sequence[float], *, lesions: bool
) -> LabelMetrics | None:
    shown = np.any(annotated, axis=(1, 2))
    if not shown.any():
        return None
    if shown.sum() == 1:
        return agreement(predicted[shown], annotated[shown], spacing, across=0, lesions=lesions)
    # The slices stay where they are: distances and lesions reach from one to the next.
    return agreement(predicted & shown[:, None, None], annotated, spacing, across=None, lesions=lesions)
