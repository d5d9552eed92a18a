"""Figures on the slices that hold a label, as papers on slice-wise networks report them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from HLFDSegmentationLib.tasks import Task

from ..metrics import NAN, class_masks, measured_classes, overlap

SLICE_METRICS = ("slices_dice", "slices_voe", "slices_rvd", "slices_absolute_rvd")
"""Those of `metrics.METRICS` that follow from counting voxels."""


def on_label_slices(
    prediction: np.ndarray, truth: np.ndarray, groups: Sequence[int], task: Task
) -> dict[str, dict[str, float]]:
    """`SLICE_METRICS` of each label (and organ with its tumors) on the axial slices whose annotation shows it.

    What is predicted in other slices does not count: the Dice is never lower than that of the whole volume.

    Args:
        prediction: predicted classes (Z, Y, X) in axial order.
        truth: annotated classes (Z, Y, X), see `metrics.measure_case`.
        groups: see `cases.case_groups`.
        task: what the classes are.

    Returns:
        NaN where no slice shows the label, or where it is not known.
    """
    figures = {}
    for name, classes in measured_classes(task).items():
        figures[name] = dict.fromkeys(SLICE_METRICS, NAN)
        masks = class_masks(classes, prediction, truth, groups)
        if masks is None:
            continue
        predicted, annotated = masks
        shown = annotated.any(axis=(1, 2))
        if shown.any():
            found = overlap(predicted[shown], annotated[shown])
            figures[name] = {metric: getattr(found, metric.removeprefix("slices_")) for metric in SLICE_METRICS}
    return figures
