"""Whether a task fits what was drawn: what training does not see of it, and what results would leave out."""

from __future__ import annotations

import numpy as np
from HLFDSegmentationLib.segmenting.cleaning import keep_largest_pieces
from HLFDSegmentationLib.tasks import BACKGROUND, Label, Task

MOST_UNSEEN = 0.05
"""Share of the drawn pixels that may lie beside the middle of the slices, which alone is learned from."""

MOST_LEFT_OUT = 0.1
"""Share of an organ that may lie apart from its largest pieces, as ends of it do that a border of the CT cuts off."""


def unseen_share(canvas_labels: np.ndarray, task: Task) -> float:
    """The share of labels (Z, H, W), on the network's canvas, that lie beside the middle part of the task's size."""
    size = np.array(task.input_size)
    low = np.maximum(0, (canvas_labels.shape[1:] - size) // 2)
    rows, columns = (slice(start, start + length) for start, length in zip(low, size))
    drawn = np.count_nonzero(canvas_labels)
    return 1 - np.count_nonzero(canvas_labels[:, rows, columns]) / drawn if drawn else 0.0


def left_out_share(labels: np.ndarray, task: Task, organ: Label) -> float:
    """The share of an organ with its tumors that `cleaning.clean` would take for errors, as beyond the task's `parts`.

    Args:
        labels: (Z, Y, X) in axial order.
        task: what the labels are.
        organ: one of its organs.
    """
    values = task.values_with_tumors(organ)
    drawn = np.full_like(labels, BACKGROUND)
    for source, plane in zip(labels, drawn):  # of all at once, this would take many bytes a voxel
        np.copyto(plane, source, where=np.isin(source, values))
    before = np.count_nonzero(drawn)
    keep_largest_pieces(drawn, task, organ, 1.0, lambda index: "")
    return 1 - np.count_nonzero(drawn) / before if before else 0.0
