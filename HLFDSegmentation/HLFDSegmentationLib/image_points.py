"""Points in the patient and places in an array."""

from __future__ import annotations

from collections.abc import Iterable

import SimpleITK as sitk

from .measures import Point, RasPoint


def point_at(image: sitk.Image, index: Iterable[float]) -> Point:
    """The point in mm (LPS) at an array index (z, y, x) of an image, whole or not."""
    z, y, x = map(float, index)
    return image.TransformContinuousIndexToPhysicalPoint([x, y, z])


def voxel_at(image: sitk.Image, point: Point) -> tuple[int, int, int]:
    """The array index (z, y, x) of the voxel that holds a point (LPS)."""
    return image.TransformPhysicalPointToIndex(point)[::-1]


def to_ras(point: Point) -> RasPoint:
    """The same point as Slicer counts."""
    left, posterior, superior = point
    return -left, -posterior, superior
