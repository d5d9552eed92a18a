"""Connected pieces of a mask: organs, lesions and specks."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from scipy import ndimage

Box = tuple[slice, ...]
"""A part of an array `(z, y, x)`."""

NEIGHBORS = np.ones((3, 3, 3), dtype=bool)
"""Voxels that share a face, an edge or a corner belong to one piece (26-connected), and its pixels that share an edge
or a corner to one piece of it in a slice (8-connected: `NEIGHBORS[1]`)."""


def find_pieces(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The number of the piece that each voxel of a mask `(Z, Y, X)` belongs to, and `piece_sizes` of them."""
    pieces, count = ndimage.label(mask, structure=NEIGHBORS)
    return pieces, piece_sizes(pieces, count)


def piece_sizes(pieces: np.ndarray, count: int) -> np.ndarray:
    """How many voxels each of so many numbered pieces has `(count + 1,)`; 0, what is outside, has none."""
    sizes = value_counts(pieces, count + 1)
    sizes[0] = 0
    return sizes


def value_counts(values: np.ndarray, count: int) -> np.ndarray:
    """How many voxels of `(Z, Y, X)` have each of the values from 0 on, so many in all: `(count,)`."""
    # Counted by slices: a count of all at once would make a copy with 8 bytes a voxel.
    return sum((np.bincount(plane.ravel(), minlength=count) for plane in values), np.zeros(count, np.intp))


def among(labels: np.ndarray, values: Collection[int]) -> np.ndarray:
    """Which voxels have one of these values, bool in the labels' shape."""
    found = np.zeros(labels.shape, dtype=bool)
    for value in values:  # np.isin takes many bytes a voxel
        found |= labels == value
    return found


def label_boxes(labels: np.ndarray, count: int) -> list[Box | None]:
    """For each of the values 1 to `count` the smallest box in `(Z, Y, X)` that holds it, none where it is absent."""
    around = _filled_box(labels)
    if around is None:
        return [None] * count
    boxes = ndimage.find_objects(labels[around], count)
    return [_moved(box, around) if box else None for box in boxes]


def _filled_box(labels: np.ndarray) -> Box | None:
    """The smallest box that holds all but 0: far less than `find_objects` would go through."""
    filled = [np.flatnonzero(labels.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    return tuple(slice(int(along[0]), int(along[-1]) + 1) for along in filled) if filled[0].size else None


def _moved(box: Box, around: Box) -> Box:
    """A box in a part of an array, in the whole."""
    return tuple(slice(outer.start + side.start, outer.start + side.stop) for side, outer in zip(box, around))


def values_box(labels: np.ndarray, values: Collection[int]) -> Box | None:
    """The smallest box that holds all of these values; none where all are absent."""
    boxes = enumerate(label_boxes(labels, max(values, default=0)), start=1)
    own = [box for value, box in boxes if box and value in values]
    if not own:
        return None
    return tuple(slice(min(one.start for one in axis), max(one.stop for one in axis)) for axis in zip(*own))
