"""What a network's labels are rid of: pieces apart from an organ, and specks of tumor."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from .tasks import BACKGROUND, Label, Task

MIN_NOTED_ML = 1.0

SMALLEST_LESION_MM = 5.0
"""Diameter of the ball that the smallest piece of tumor must fill. A smaller one cannot be told from noise: lesions
are measured from 10 mm on (RECIST 1.1, Eisenhauer et al. 2009)."""

SMALLEST_PIECE = 0.1


def clean(labels: np.ndarray, task: Task, spacing: tuple[float, float, float]) -> list[str]:
    """Gives specks of tumor to their organ, then drops what lies apart from an organ. Changes the labels.

    Args:
        labels: uint8 (Z, Y, X).
        task: says what they mean.
        spacing: mm along x, y and z.

    Returns:
        Sentences for the user about what was changed.
    """
    specks = [absorb_specks(labels, task, tumor, spacing) for tumor in task.tumors]
    voxel_ml = float(np.prod(spacing)) / 1000
    apart = [keep_largest_pieces(labels, task, organ, voxel_ml) for organ in task.organs]
    return [note for note in (*specks, *apart) if note]


def absorb_specks(labels: np.ndarray, task: Task, tumor: Label, spacing: tuple[float, float, float]) -> str | None:
    """Gives pieces of a tumor smaller than a ball of `SMALLEST_LESION_MM` to its organ, in place.

    In a CT of a single slice, those smaller than a disk of this diameter. A tumor without an organ loses them to the
    background. Voxels that touch at a corner belong together.

    Returns:
        A sentence for the user, where there were any.
    """
    box = ndimage.find_objects(labels, tumor.value)[tumor.value - 1]
    if box is None:
        return None
    pieces, sizes = _pieces(labels[box] == tumor.value)
    single = len(labels) == 1
    smallest = np.pi / 4 * SMALLEST_LESION_MM**2 if single else np.pi / 6 * SMALLEST_LESION_MM**3
    specks = (sizes > 0) & (sizes * np.prod(spacing[:2] if single else spacing) < smallest)
    if not specks.any():
        return None
    labels[box][specks[pieces]] = tumor.organ or BACKGROUND
    goes_to = task.label(tumor.organ).name if tumor.organ else "background"
    found = "1 speck" if specks.sum() == 1 else f"{specks.sum()} specks"
    return (
        f"{found} that the network took for {tumor.name} went to the {goes_to}: smaller than a "
        f"{'disk' if single else 'ball'} of {SMALLEST_LESION_MM:g} mm, and so not to be told from noise."
    )


def keep_largest_pieces(labels: np.ndarray, task: Task, organ: Label, voxel_ml: float) -> str | None:
    """Sets all but the largest pieces of an organ with its tumors to background, in place.

    As many pieces are kept as a body has of the organ. Voxels that touch at a corner belong together. In a CT of a
    single slice every piece of at least `SMALLEST_PIECE` of the largest is kept: an organ that is one piece in the body
    may be cut into several there.

    Returns:
        A sentence for the user, where more than 1 mL was dropped, or any tumor: it may be a lesion.
    """
    values = [organ.value, *(tumor.value for tumor in task.tumors_of(organ))]
    boxes = [
        box
        for value, box in enumerate(ndimage.find_objects(labels, len(task.labels)), start=1)
        if box and value in values
    ]
    if organ.parts is None or not boxes:
        return None
    box = tuple(slice(min(side.start for side in axis), max(side.stop for side in axis)) for axis in zip(*boxes))
    pieces, sizes = _pieces(np.isin(labels[box], values))
    dropped = sizes < SMALLEST_PIECE * sizes.max() if len(labels) == 1 else np.ones(len(sizes), dtype=bool)
    dropped[np.argsort(sizes, kind="stable")[-organ.parts :]] = False
    dropped[0] = False
    lost = np.bincount(labels[box][dropped[pieces]], minlength=task.num_classes) * voxel_ml
    labels[box][dropped[pieces]] = BACKGROUND
    if lost.sum() <= MIN_NOTED_ML and not any(lost[value] for value in values if value != organ.value):
        return None
    kept = "the largest piece" if organ.parts == 1 else f"the {organ.parts} largest pieces"
    what = " and ".join(
        f"{lost[value]:.1f} mL that the network took for {task.label(value).name}" for value in values if lost[value]
    )
    return f"{what} were left out, because they lie apart from {kept} of the {organ.name}."


def _pieces(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The number of the piece that each voxel belongs to, and how many voxels each piece has; piece 0 is outside."""
    pieces, found = ndimage.label(mask, structure=np.ones((3, 3, 3)))
    # Counted by slices: a count of all at once would make a copy with 8 bytes a voxel.
    sizes = sum(np.bincount(plane.ravel(), minlength=found + 1) for plane in pieces)
    sizes[0] = 0
    return pieces, sizes
