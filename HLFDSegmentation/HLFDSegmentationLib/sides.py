"""Which piece of an organ that a body has two of, as the kidney, is the patient's right one, and which the left one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from .ct_files import BODY_HU
from .image_points import point_at
from .measures import Point, Side
from .pieces import Box, among, find_pieces, values_box
from .tasks import KIDNEY, Label, Task

NUMBERS: dict[Side, int] = {"right": 1, "left": 2}

LEAST_ML = 20.0
"""Less is no kidney of an adult, not even a shrunken one, but a part of one, or of something else."""

LEAST_KIDNEY_ML = 30.0
"""Of a kidney alone, without its tumors. Those of the label maps of 98 patients (KiTS23) have 43 mL and more."""

MOST_APART_MM = 60.0
"""Of the centers of two kidneys, from front to back. In these patients they are at most 51 mm apart."""

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


@dataclass(frozen=True)
class Piece:
    """A connected piece (26 neighbors) of an organ with its tumors.

    Attributes:
        mask: bool, in the box of its `Pair`.
        size: in voxels.
        own_size: without tumors.
        center: of gravity, as array index (z, y, x).
        box: the part of the labels' array that holds it.
    """

    mask: np.ndarray
    size: int
    own_size: int
    center: np.ndarray
    box: Box


@dataclass(frozen=True)
class Pair:
    """The two largest pieces of an organ with its tumors.

    Attributes:
        box: the part of the labels' array (z, y, x) that holds the organ.
        two: the smaller and the larger piece.
        share: of all voxels of the organ and its tumors, those in the two.
    """

    box: Box
    two: tuple[Piece, Piece]
    share: float


def find_pair(labels: np.ndarray, task: Task, organ: Label) -> Pair | None:
    """The two largest pieces of an organ in labels (z, y, x); none where it has fewer."""
    values = task.values_with_tumors(organ)
    box = values_box(labels, values)
    if box is None:
        return None
    pieces, sizes = find_pieces(among(labels[box], values))
    if len(sizes) < 3:  # with what is outside
        return None
    starts, boxes = [along.start for along in box], ndimage.find_objects(pieces)

    def piece(number: int) -> Piece:
        mask = pieces == number
        return Piece(
            mask=mask,
            size=int(sizes[number]),
            own_size=int(np.count_nonzero(labels[box][mask] == organ.value)),
            center=np.mean(np.nonzero(mask), axis=1) + starts,
            box=tuple(slice(s + along.start, s + along.stop) for s, along in zip(starts, boxes[number - 1])),
        )

    smaller, larger = map(int, np.argsort(sizes, kind="stable")[-2:])
    return Pair(box, (piece(smaller), piece(larger)), float((sizes[smaller] + sizes[larger]) / sizes.sum()))


def find_sides(labels: sitk.Image, ct: sitk.Image, task: Task, organ: Label) -> Sides | None:
    """The right and the left piece of an organ with its tumors.

    They are its two largest ones, see `Pair`. None where that is not clear: where one has less than 20 mL, both
    together less than 0.9 of the organ, or they do not lie on both sides of the middle of the body, its center 15 mm
    from there or more. Of kidneys each must also have, without its tumors, 30 mL or more, or half of the other's, and
    their centers must not be more than 60 mm apart from front to back.

    Args:
        labels: label values on the CT's grid.
        ct: the CT in HU.
        task: what the values mean.
        organ: one of the task's.
    """
    pair = find_pair(sitk.GetArrayViewFromImage(labels), task, organ)
    voxel_ml = np.prod(labels.GetSpacing()) / 1000
    if pair is None or pair.two[0].size * voxel_ml < LEAST_ML or pair.share < LEAST_SHARE:
        return None
    centers = [piece.center for piece in pair.two]
    lefts, posteriors, _ = np.transpose([point_at(labels, center) for center in centers])
    smaller, larger = sorted(piece.own_size for piece in pair.two)
    too_small = smaller * voxel_ml < LEAST_KIDNEY_ML and smaller < larger / 2
    if organ.type == KIDNEY and (too_small or np.ptp(posteriors) > MOST_APART_MM):
        return None
    middle = _middle_of_body(ct, point_at(labels, np.mean(centers, axis=0)))
    if middle is None or lefts.min() > middle - LEAST_MM or lefts.max() < middle + LEAST_MM:
        return None
    right, left = (pair.two[i].mask for i in np.argsort(lefts))
    numbers = np.zeros(right.shape, np.uint8)
    numbers[right], numbers[left] = NUMBERS["right"], NUMBERS["left"]
    return Sides(pair.box, numbers)


def _middle_of_body(ct: sitk.Image, point: Point) -> float | None:
    """How far to the left the middle of what is denser than air lies, in mm, in the axial slice that holds a point."""
    toward = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(ct.GetDirection())
    axis = next(i for i, letter in enumerate(toward) if letter in "SI")
    start = ct.TransformPhysicalPointToIndex(point)[axis]
    part: list[slice] = [slice(None)] * 3
    part[axis] = slice(start, start + 1)
    slab = ct[tuple(part)]
    dense = sitk.GetArrayViewFromImage(slab) > BODY_HU
    return point_at(slab, np.mean(np.nonzero(dense), axis=1))[0] if dense.any() else None
