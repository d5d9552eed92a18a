"""Which piece of an organ that a body has two of, as the kidney, is the patient's right one, and which the left one."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from .ct_files import AIR_HU
from .image_points import point_at
from .measures import Point, Side
from .pieces import Box, find_pieces

NUMBERS: dict[Side, int] = {"right": 1, "left": 2}

LEAST_ML = 20.0
"""Less is no kidney of an adult, not even a shrunken one, but a part of one, or of something else."""

LEAST_SHARE = 0.9
"""Of an organ that lies in its two largest pieces. Where a blank slice cuts both, neither side is told as a whole."""

LEAST_MM = 15.0
"""What lies nearer to the middle of the body may be of either side, as a part of a horseshoe kidney."""


@dataclass(frozen=True)
class Sides:
    """Where the two pieces of an organ with its tumors lie.

    Attributes:
        box: the part of the labels' array (z, y, x) that holds the organ.
        numbers: uint8, in this box: 1 in the right piece, 2 in the left one, 0 elsewhere.
    """

    box: Box
    numbers: np.ndarray

    def voxels(self, labels: np.ndarray, value: int, side: Side) -> int:
        """How many voxels of the labels (z, y, x) have this value on this side."""
        return int(np.count_nonzero((labels[self.box] == value) & (self.numbers == NUMBERS[side])))

    def at(self, index: tuple[int, int, int]) -> Side | None:
        """The side of the piece that a voxel (z, y, x) lies in; none where it lies in neither."""
        number = self.numbers[tuple(i - along.start for i, along in zip(index, self.box))]
        return next((side for side, own in NUMBERS.items() if own == number), None)


def find_sides(labels: sitk.Image, ct: sitk.Image, values: Collection[int], box: Box) -> Sides | None:
    """The right and the left piece of an organ, told by its own value and its tumors' ones.

    They are its two largest connected pieces (26 neighbors). None where that is not clear: where one has less than
    20 mL, both together less than 0.9 of the organ, or they do not lie on both sides of the middle of the body, its
    center 15 mm from there or more.

    Args:
        labels: label values on the CT's grid.
        ct: the CT in HU.
        values: of the organ and its tumors.
        box: the part of the labels' array (z, y, x) that holds them.
    """
    organ = np.isin(sitk.GetArrayViewFromImage(labels)[box], list(values))
    pieces, sizes = find_pieces(organ)
    if len(sizes) < 3:  # with what is outside
        return None
    two = np.argsort(sizes, kind="stable")[-2:]
    too_small = sizes[two].min() * np.prod(labels.GetSpacing()) / 1000 < LEAST_ML
    if too_small or sizes[two].sum() < LEAST_SHARE * organ.sum():
        return None
    starts = [along.start for along in box]
    centers = [np.mean(np.nonzero(pieces == piece), axis=1) + starts for piece in two]
    lefts = [point_at(labels, center)[0] for center in centers]
    middle = _middle_of_body(ct, point_at(labels, np.mean(centers, axis=0)))
    if middle is None or min(lefts) > middle - LEAST_MM or max(lefts) < middle + LEAST_MM:
        return None
    right, left = two[np.argsort(lefts)]
    numbers = np.zeros(pieces.shape, np.uint8)
    numbers[pieces == right], numbers[pieces == left] = NUMBERS["right"], NUMBERS["left"]
    return Sides(box, numbers)


def _middle_of_body(ct: sitk.Image, point: Point) -> float | None:
    """How far to the left the middle of what is denser than air lies, in mm, in the axial slice that holds a point."""
    toward = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(ct.GetDirection())
    axis = next(i for i, letter in enumerate(toward) if letter in "SI")
    start = ct.TransformPhysicalPointToIndex(point)[axis]
    part: list[slice] = [slice(None)] * 3
    part[axis] = slice(start, start + 1)
    slab = ct[tuple(part)]
    dense = sitk.GetArrayViewFromImage(slab) > AIR_HU
    return point_at(slab, np.mean(np.nonzero(dense), axis=1))[0] if dense.any() else None
