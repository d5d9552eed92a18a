"""Texts that tell whether segments still are what they were."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from .tasks import Task

PLANES = 16

VERSION = "2:"
"""Texts of `fingerprint` begin with it. Others, of scenes of an older version, cannot be compared with these."""


def fingerprints(labels: np.ndarray, task: Task, first: Sequence[int] = (0, 0, 0)) -> dict[str, str]:
    """For each label with voxels, by its name, a text that changes with any of them.

    Args:
        labels: [k, j, i], values of the task's labels.
        task: of the labels.
        first: where the array's first voxel lies [k, j, i] in the image, so that a part of an image gives the same
            texts as the whole.
    """
    masks = ((label.name, labels == label.value) for label in task.labels)
    return {name: fingerprint(mask, first) for name, mask in masks if mask.any()}


def voxels_fingerprint(voxels: np.ndarray) -> str:
    """A text that changes with a CT [k, j, i] that is exchanged or moved within its voxels; of `PLANES` slices alone.

    So many take a few milliseconds, and no two moments of a sequence are alike in them.
    """
    digest = hashlib.blake2b(repr(voxels.shape).encode(), digest_size=8)
    for k in np.linspace(0, len(voxels) - 1, PLANES).round().astype(int):
        digest.update(np.ascontiguousarray(voxels[k]).tobytes())
    return digest.hexdigest()


def fingerprint(mask: np.ndarray, first: Sequence[int]) -> str:
    """The text for one label's voxels, bool [k, j, i]; see `fingerprints`."""
    digest = hashlib.blake2b(digest_size=8)
    for k in np.flatnonzero(mask.any(axis=(1, 2))):
        rows, columns = (np.flatnonzero(mask[k].any(axis=axis)) for axis in (1, 0))
        box = mask[k, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        place = np.array([k, rows[0], columns[0]]) + np.asarray(first)
        digest.update(np.array([*place, *box.shape], "<i4").tobytes())
        digest.update(np.packbits(box).tobytes())
    return VERSION + digest.hexdigest()
