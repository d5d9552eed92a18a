"""Points in the patient, places in an array, and arrays on an image's grid."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import SimpleITK as sitk

from .measures import Point, RasPoint


def point_at(image: sitk.Image, index: Iterable[float]) -> Point:
    """The point in mm (LPS) at an array index (z, y, x) of an image, whole or not."""
    z, y, x = map(float, index)
    return image.TransformContinuousIndexToPhysicalPoint([x, y, z])


def voxel_at(image: sitk.Image, point: Point) -> tuple[int, int, int]:
    """The array index (z, y, x) of the voxel that holds a point (LPS)."""
    return image.TransformPhysicalPointToIndex(point)[::-1]


def image_like(values: np.ndarray, grid: sitk.Image) -> sitk.Image:
    """Values [z, y, x] in the own order of an image, on its grid."""
    image = sitk.GetImageFromArray(values)
    image.CopyInformation(grid)
    return image


def to_ras(point: Point) -> RasPoint:
    """The same point as Slicer counts."""
    left, posterior, superior = point
    return -left, -posterior, superior
