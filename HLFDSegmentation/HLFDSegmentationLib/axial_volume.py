"""An image's voxels in axial order, whatever order they are stored in, and how they follow each other there."""

from __future__ import annotations

from functools import cached_property
from itertools import permutations

import numpy as np
import SimpleITK as sitk
import torch
from torch.nn import functional as F

from .image_points import image_like

COARSE_MM = 8.0
COARSE_HU = (-200.0, 300.0)
"""Show how a CT changes from slice to slice, without its noise, and hardly by bowel gas and metal."""

FILLER_HU = -900.0
"""Values up to this one, and 0 where the CT goes down to `FAT_HU`, fill a CT up. Others are not told from tissue in a
CT that was cut to a window: there fat, lungs or bone have one value, too."""

LEAST_FILLED = 3
"""So many voxels of one value fill a line up. Fewer may be alike by chance: lungs, gas and water have such values."""

FAT_HU = -100.0
"""A CT that does not go down to it was cut to a window, and 0 may be its air."""

BESIDE_FILLER = 2
"""So many voxels of a line are its end beside what fills it up: the outermost one may be a mixture of both."""


class AxialOrder:
    """The order of an image's axes and voxels in which slices are axial.

    `[z, y, x]` then runs from inferior to superior, anterior to posterior and the patient's right to left (LPS), as
    nearly as the image's own axes do. Nothing is resampled or copied.

    Attributes:
        tilt: largest angle in degrees between an axis of the image and the patient's axis that it stands for.
        slice_tilt: that of the slices alone, between their normal and the patient's superior-inferior axis.
        spacing: mm along x, y and z.
        origin: center of the first voxel in the new order, mm in LPS.
        direction: (3, 3), columns are the directions of x, y and z.
    """

    def __init__(self, image: sitk.Image) -> None:
        own = np.array(image.GetDirection()).reshape(3, 3)
        patient_axes = range(3)
        axes = max(permutations(range(3)), key=lambda order: sum(abs(own[i, order[i]]) for i in patient_axes))
        cosines = np.array([own[i, axes[i]] for i in patient_axes])
        first = [0, 0, 0]
        for axis, cosine in zip(axes, cosines):
            first[axis] = 0 if cosine > 0 else image.GetSize()[axis] - 1
        tilts = np.degrees(np.arccos(np.clip(np.abs(cosines), 0, 1)))
        self.tilt = float(tilts.max())
        self.slice_tilt = float(tilts[2])
        self.spacing = tuple(image.GetSpacing()[axis] for axis in axes)
        self.origin = np.array(image.TransformIndexToPhysicalPoint(first))
        self.direction = own[:, list(axes)] * np.sign(cosines)
        self._axes = axes
        self._backwards = cosines < 0

    def view(self, array: np.ndarray) -> np.ndarray:
        """A view `[z, y, x]` of an array that holds the image's voxels in the image's own order."""
        ordered = array.transpose([2 - axis for axis in reversed(self._axes)])
        return ordered[tuple(slice(None, None, -1 if backwards else 1) for backwards in reversed(self._backwards))]


def by_slices(voxels: np.ndarray) -> np.ndarray:
    """Voxels (Z, Y, X), the pixels of each row side by side in memory: themselves, or a copy where they lie apart.

    Of a CT that is stored with its slices' axis first, as those of KiTS, each look at a slice would read the whole CT.
    """
    if abs(voxels.strides[2]) == voxels.itemsize:
        return voxels
    copy = np.empty(voxels.shape, voxels.dtype)
    _fill(copy, voxels)
    return copy


def _fill(target: np.ndarray, values: np.ndarray) -> None:
    """Copies values (Z, Y, X): by rows where either is stored with the slices' axis first, and else by slices.

    All at once takes two to three times as long where the orders in memory differ.
    """
    slices_first = target.itemsize in np.abs([target.strides[0], values.strides[0]])
    target, values = (np.moveaxis(array, int(slices_first), 0) for array in (target, values))
    for part, own in zip(target, values):
        part[...] = own


class AxialVolume:
    """An image's own voxels in axial order. Nothing is resampled.

    Attributes:
        order: the axes and their directions.
        shape: (Z, Y, X).
        count: number of axial slices.
        spacing: mm along x, y and z.
    """

    def __init__(self, image: sitk.Image) -> None:
        self._image = image
        self.order = AxialOrder(image)
        self._view = self.order.view(sitk.GetArrayViewFromImage(image))
        self.shape: tuple[int, int, int] = self._view.shape
        self.count = self.shape[0]
        self.spacing = self.order.spacing

    @cached_property
    def voxels(self) -> np.ndarray:
        """The voxels (Z, Y, X), read-only or a copy, see `by_slices`."""
        return by_slices(self._view)

    @property
    def voxel_ml(self) -> float:
        """The volume of a voxel."""
        return float(np.prod(self.spacing)) / 1000

    def point(self, index: np.ndarray) -> np.ndarray:
        """Where a voxel (z, y, x), whole or not, lies: mm to the left, posterior and superior."""
        return self.order.origin + self.order.direction @ (index[::-1] * self.spacing)

    def place(self, index: np.ndarray) -> str:
        """The same as "L 44.4, P 13.2, I 109.8 mm" (left, posterior, inferior), as in Slicer's Data Probe."""
        left, posterior, superior = (round(float(mm), 1) for mm in self.point(index))
        letters = "L" if left > 0 else "R", "P" if posterior > 0 else "A", "S" if superior >= 0 else "I"
        across, deep, high = (f"{letter} {abs(mm)}" for letter, mm in zip(letters, (left, posterior, superior)))
        return f"{across}, {deep}, {high} mm"

    def image_of(self, values: np.ndarray) -> sitk.Image:
        """Values (Z, Y, X) in axial order as an image on exactly this one's grid."""
        own_order = np.empty(self._image.GetSize()[::-1], dtype=values.dtype)
        _fill(self.order.view(own_order), values)
        return image_like(own_order, self._image)

    def within(self, values: np.ndarray, region: tuple[slice, ...]) -> np.ndarray:
        """Values (Z, Y, X) in axial order, 0 outside of a part [z, y, x] of the image's own array."""
        inside = np.zeros(self._image.GetSize()[::-1], dtype=bool)
        inside[region] = True
        return values * self.order.view(inside)

    @cached_property
    def blank(self) -> np.ndarray:
        """Which slices hold one value alone, as those that fill up a CT, beside others: bool (count,)."""
        even = _even(self.voxels)
        return even & ~even.all()

    @property
    def not_blank(self) -> slice | np.ndarray:
        """The slices that are not blank; a slice where they follow each other, so that nothing needs to be copied."""
        shown = np.flatnonzero(~self.blank)
        between = self.between_blank
        return between if len(shown) == between.stop - between.start else shown

    @property
    def between_blank(self) -> slice:
        """From the first to the last slice that is not blank."""
        shown = np.flatnonzero(~self.blank)
        return slice(int(shown[0]), int(shown[-1]) + 1)

    @cached_property
    def copies(self) -> np.ndarray:
        """Which slices are the same as the one below, to the last voxel, but for those of one value: bool (count,)."""
        same = (np.array_equal(plane, below) for plane, below in zip(self.voxels[1:], self.voxels[:-1]))
        return np.array([False, *same]) & ~_even(self.voxels)

    def cut_cm2(self, mask: np.ndarray) -> np.ndarray:
        """How much of the surface of a mask, bool (Z, Y, X), lies where the CT ends, in cm² across z, y and x: (3,).

        The CT ends with its first and last slice that is not blank and with its first and last row and column; where
        one value fills a line up from there on, see `FILLER_HU`, with the `BESIDE_FILLER` voxels beside it.
        """
        shown = self.between_blank
        lines_mm2 = np.prod(self.spacing) / np.array(self.spacing[::-1])
        return lines_mm2 / 100 * [self._cut_lines(mask[shown], self.voxels[shown], axis) for axis in range(3)]

    def _cut_lines(self, mask: np.ndarray, voxels: np.ndarray, axis: int) -> int:
        """How many lines along an axis the CT ends with a mask, at either end."""
        mask, voxels = (np.moveaxis(values, axis, 0) for values in (mask, voxels))
        lines = np.nonzero(mask.any(axis=0))
        cut = 0
        for step in (1, -1):
            depths = self._filled(voxels[::step], lines)
            ends = depths + np.arange(BESIDE_FILLER)[:, None] * (depths > 0)
            outermost = (np.minimum(ends, len(mask) - 1), *lines)
            cut += int(mask[::step][outermost].any(axis=0).sum())
        return cut

    def _filled(self, voxels: np.ndarray, lines: tuple[np.ndarray, ...]) -> np.ndarray:
        """How many voxels at the start of the first axis one value fills up, in each of these lines along it."""
        border = voxels[0][lines]
        filled = (border <= FILLER_HU) | ((border == 0) & (self._lowest <= FAT_HU))
        depths = np.zeros(filled.shape, int)
        for plane in voxels:
            filled &= plane[lines] == border
            if not filled.any():
                break
            depths += filled
        return np.where(depths >= LEAST_FILLED, depths, 0)

    @cached_property
    def _lowest(self) -> float:
        return float(self.voxels.min())

    def coarse(self) -> np.ndarray:
        """All slices with pixels of about `COARSE_MM`, cut to `COARSE_HU`: float32 (count, h, w)."""
        rows, columns = (max(1, round(size * mm / COARSE_MM)) for size, mm in zip(self.shape[1:], self.spacing[1::-1]))
        coarse = np.zeros((self.count, rows, columns), np.float32)
        for target, plane in zip(coarse, self.voxels):
            hu = torch.from_numpy(np.clip(plane.astype(np.float32), *COARSE_HU))
            target[...] = F.adaptive_avg_pool2d(hu[None], (rows, columns))[0]
        return coarse


def _even(voxels: np.ndarray) -> np.ndarray:
    """Which slices of (Z, Y, X) hold one value alone, bool (Z,)."""
    return np.array([plane.min() == plane.max() for plane in voxels])
