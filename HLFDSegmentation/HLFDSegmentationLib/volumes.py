"""A CT as the network's axial slices, and the network's results back on the CT."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import permutations

import numpy as np
import SimpleITK as sitk
import torch
from scipy import ndimage
from torch.nn import functional as F

from .ct_files import AIR_HU
from .errors import InputError
from .tasks import Task

STRIDE = 32
"""One pixel of the networks' deepest layer stands for this many pixels of a slice."""

# Networks learn from slices that lie straight in the patient. A few degrees, as from a gantry or a head rest, are
# within what augmentation shows them; slices further off are no axial slices any more and are cut anew.
MAX_TILT_DEGREES = 20.0

MAX_FIELD_OF_VIEW_MM = 3000.0

# Cuts what joins the patient to the table: about this many mm thick on either side.
TABLE_MARGIN_MM = 3.0

COARSE_MM = 8.0
COARSE_HU = (-200.0, 300.0)
"""Show how a CT changes from slice to slice, without its noise, and hardly by bowel gas and metal."""


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


class AxialSlices:
    """A CT as network slices, made slab by slab.

    Slices are resampled in their plane to the task's pixel spacing (bilinear, averaging where pixels get larger) and
    padded below and to the right with the lowest value of the window to a canvas whose sides are multiples of 32.
    Along z nothing is resampled. The pixel spacing is off the task's by up to half a pixel over the whole width, so
    that canvas and CT share their edges exactly.

    A CT tilted by more than 20 degrees against the patient's axes is first cut anew into straight slices. The whole
    geometry here (`count`, `shape`, `grid_shape`, `layer_image`) is then that of the straight slices, and
    `labels_on_ct` goes back to the CT's own grid.

    Attributes:
        count: number of axial slices.
        shape: rows and columns (H, W) of the network's canvas.
        shown: rows and columns of the canvas that show the CT; the rest is padding.
        pixel_mm: height and width of the canvas's pixels.
        grid_shape: (Z, Y, X), the voxels of the CT in axial order.
        spacing: mm along x, y and z of the CT in axial order.
        slice_tilt: angle in degrees between the CT's slices, as they were given, and the plane across the patient.
        cut_straight: whether the CT was cut anew.

    Raises:
        InputError: the field of view is larger than any CT's.
    """

    def __init__(self, ct: sitk.Image, task: Task) -> None:
        self._ct = ct
        self._window = task.window
        self._ct_order = AxialOrder(ct)
        self.slice_tilt = self._ct_order.slice_tilt
        self.cut_straight = self._ct_order.tilt > MAX_TILT_DEGREES
        self._grid = _cut_straight(ct, task.spacing) if self.cut_straight else ct
        self._order = AxialOrder(self._grid)
        self._voxels = self._order.view(sitk.GetArrayViewFromImage(self._grid))
        self.grid_shape: tuple[int, int, int] = self._voxels.shape
        self.count = self.grid_shape[0]
        self.spacing = self._order.spacing
        extent = np.array(self.grid_shape[1:]) * self.spacing[1::-1]
        _check_extent(extent)
        rows, columns = (max(1, round(float(mm) / task.spacing)) for mm in extent)
        self.shown = (rows, columns)
        self.pixel_mm: tuple[float, float] = tuple(extent / self.shown)
        self.shape = tuple(-(-side // STRIDE) * STRIDE for side in self.shown)

    def place(self, index: np.ndarray) -> str:
        """Where a voxel (z, y, x) in axial order, whole or not, lies: mm to the right, anterior and superior."""
        left, posterior, superior = self._order.origin + self._order.direction @ (index[::-1] * self.spacing)
        right, anterior, superior = (f"{round(mm) + 0}".replace("-", "−") for mm in (-left, -posterior, superior))
        return f"R {right}, A {anterior}, S {superior} mm"

    def images(self, start: int, stop: int) -> np.ndarray:
        """Slices start..stop-1 as float32 (n, 1, H, W), the task's window scaled to 0..1."""
        low, high = self._window
        # Cut to the window first, as the training slices were: metal and air do not bleed into their neighbors.
        slab = np.clip(self._voxels[start:stop].astype(np.float32), low, high)
        slab -= low
        slab /= high - low
        # Averaging rounds to a little more than 1.
        return self._on_canvas(slab).clip(0, 1)[:, None]

    def body(self, start: int, stop: int) -> np.ndarray:
        """The patient's body in slices start..stop-1, bool (n, H, W): with lungs and bowel gas, without table and air.

        It is the largest piece of each slice that is denser than -300 HU, after cutting thin bridges to the table,
        with its holes filled. In a CT that was cut to a window above that, what the window shows counts as dense: its
        body ends where the fat under the skin begins.
        """
        slab = self._on_canvas(np.clip(self._voxels[start:stop].astype(np.float32), -1024.0, 1024.0))
        rows, columns = self.shown
        body = np.zeros(slab.shape, dtype=bool)
        margin = max(1, round(TABLE_MARGIN_MM / max(self.pixel_mm)))
        for one, hu in zip(body, slab):
            one[:rows, :columns] = _body(hu[:rows, :columns] > self._densest_air, margin)
        return body

    @cached_property
    def blank(self) -> np.ndarray:
        """Which slices hold one value alone, as those that fill up a CT, beside others: bool (count,)."""
        return _blank(self._voxels)

    @property
    def between_blank(self) -> slice:
        """From the first to the last slice that is not blank."""
        return _between(self.blank)

    @cached_property
    def copies(self) -> np.ndarray:
        """Which slices are the same as the one below, to the last voxel, but for those of one value: bool (count,)."""
        same = (np.array_equal(plane, below) for plane, below in zip(self._voxels[1:], self._voxels[:-1]))
        return np.array([False, *same]) & ~_even(self._voxels)

    def coarse(self) -> np.ndarray:
        """All slices with pixels of about `COARSE_MM`, cut to `COARSE_HU`: float32 (count, h, w)."""
        rows, columns = (
            max(1, round(size * mm / COARSE_MM)) for size, mm in zip(self.grid_shape[1:], self.spacing[1::-1])
        )
        coarse = np.zeros((self.count, rows, columns), np.float32)
        for target, plane in zip(coarse, self._voxels):
            hu = torch.from_numpy(np.clip(plane.astype(np.float32), *COARSE_HU))
            target[...] = F.adaptive_avg_pool2d(hu[None], (rows, columns))[0]
        return coarse

    @cached_property
    def _densest_air(self) -> float:
        lowest = float(self._voxels.min())
        return max(AIR_HU, lowest) if self._voxels.max() > lowest else AIR_HU

    def to_grid(self, values: torch.Tensor) -> torch.Tensor:
        """Values (n, C, H, W) on the canvas, bilinear at the CT's voxels: (n, C, Y, X) in axial order."""
        rows, columns = self.shown
        return _resize(values[..., :rows, :columns], self.grid_shape[1:])

    def to_canvas(self, labels: np.ndarray) -> np.ndarray:
        """Labels (Z, Y, X) in axial order at the nearest pixels of the canvas: (Z, H, W), 0 in the padding."""
        rows, columns = (
            ((np.arange(shown) + 0.5) * size / shown).astype(int)
            for shown, size in zip(self.shown, self.grid_shape[1:])
        )
        canvas = np.zeros((len(labels), *self.shape), dtype=labels.dtype)
        canvas[:, : len(rows), : len(columns)] = labels[:, rows[:, None], columns]
        return canvas

    def labels_of(self, image: sitk.Image) -> np.ndarray:
        """An annotation on the CT's grid as labels (Z, Y, X) in axial order: the way back of `labels_on_ct`."""
        if self._grid is not self._ct:
            image = sitk.Resample(image, self._grid, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
        return self._order.view(sitk.GetArrayFromImage(image))

    def labels_on_ct(self, labels: np.ndarray) -> sitk.Image:
        """Labels (Z, Y, X) in axial order, uint8, as an image on exactly the CT's own grid."""
        own_order = np.empty(self._grid.GetSize()[::-1], dtype=np.uint8)
        self._order.view(own_order)[...] = labels
        image = sitk.GetImageFromArray(own_order)
        image.CopyInformation(self._grid)
        if self._grid is not self._ct:
            image = sitk.Resample(image, self._ct, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
        return image

    def own_slices(self, labels: sitk.Image) -> tuple[np.ndarray, tuple[float, float, float]]:
        """Labels on the CT's grid in its own slices, also of a CT that is cut anew, which itself ends within its box.

        Returns:
            uint8 (Z, Y, X) in axial order, without the blank slices at the ends, and their spacing in mm along x, y, z.
        """
        order = self._ct_order
        shown = _between(_blank(order.view(sitk.GetArrayViewFromImage(self._ct))))
        return order.view(sitk.GetArrayViewFromImage(labels))[shown], order.spacing

    def volumes_to_fill(self, on_ct: Sequence[np.ndarray]) -> list[np.ndarray]:
        """For arrays in the shape of the CT's own, those (Z, Y, X) in axial order that are to be filled for them.

        They are views of the given arrays, or, for a CT that is cut anew, float32 arrays of their own.
        """
        if self._grid is self._ct:
            return [self._order.view(array) for array in on_ct]
        return [np.zeros(self.grid_shape, np.float32) for _ in on_ct]

    def filled_to_ct(self, filled: Sequence[np.ndarray], on_ct: Sequence[np.ndarray]) -> None:
        """Brings what `volumes_to_fill` gave, and was filled since, to the CT's own arrays (linear, 0 outside)."""
        if self._grid is self._ct:
            return
        for volume, array in zip(filled, on_ct, strict=True):
            own_order = np.empty(self._grid.GetSize()[::-1], dtype=np.float32)
            self._order.view(own_order)[...] = volume
            image = sitk.GetImageFromArray(own_order)
            image.CopyInformation(self._grid)
            resampled = sitk.Resample(image, self._ct, sitk.Transform(), sitk.sitkLinear, 0.0)
            array[...] = sitk.GetArrayViewFromImage(resampled)

    def layer_image(self, maps: np.ndarray) -> sitk.Image:
        """Maps (Z, h, w) of a layer as an image whose cells cover the canvas, placed on the CT in mm."""
        cells = np.array(maps.shape[:0:-1])
        canvas_mm = np.array(self.shape[::-1]) * self.pixel_mm[::-1]
        cell_mm = np.array([*(canvas_mm / cells), self.spacing[2]])
        corner_to_center = (cell_mm - self.spacing) / 2
        image = sitk.GetImageFromArray(maps)
        image.SetSpacing(cell_mm.tolist())
        image.SetOrigin((self._order.origin + self._order.direction @ corner_to_center).tolist())
        image.SetDirection(self._order.direction.ravel().tolist())
        return image

    def _on_canvas(self, slab: np.ndarray) -> np.ndarray:
        """A slab (n, Y, X) at the canvas's pixels, (n, H, W), padded with 0."""
        canvas = np.zeros((len(slab), *self.shape), dtype=np.float32)
        rows, columns = self.shown
        canvas[:, :rows, :columns] = _resize(torch.from_numpy(slab)[:, None], self.shown)[:, 0].numpy()
        return canvas


def _even(voxels: np.ndarray) -> np.ndarray:
    """Which slices of (Z, Y, X) hold one value alone, bool (Z,)."""
    return np.array([plane.min() == plane.max() for plane in voxels])


def _blank(voxels: np.ndarray) -> np.ndarray:
    even = _even(voxels)
    return even & ~even.all()


def _between(blank: np.ndarray) -> slice:
    shown = np.flatnonzero(~blank)
    return slice(int(shown[0]), int(shown[-1]) + 1)


def _resize(values: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    # Pixels are areas, and both grids cover the same area: this is what align_corners=False means.
    return F.interpolate(values, size=shape, mode="bilinear", align_corners=False, antialias=True)


def _check_extent(extent: np.ndarray) -> None:
    if extent.max() > MAX_FIELD_OF_VIEW_MM:
        raise InputError(
            f"The CT's slices are {extent.max() / 1000:.1f} m wide, so its voxel spacing must be wrong. "
            "Export it again with the right spacing."
        )


def _cut_straight(ct: sitk.Image, pixel_mm: float) -> sitk.Image:
    """The CT on a grid along the patient's axes that holds all of it; outside of the CT lies its lowest value.

    Pixels are the network's. Slices lie as close as the CT's own planes follow each other along z.
    """
    size = np.array(ct.GetSize(), dtype=float)
    corners = np.array(
        [ct.TransformContinuousIndexToPhysicalPoint(np.array(i) * size - 0.5) for i in np.ndindex(2, 2, 2)]
    )
    low, high = corners.min(axis=0), corners.max(axis=0)
    _check_extent(high - low)  # before memory is asked for
    steps_a_mm = np.array(ct.GetDirection()).reshape(3, 3)[2] / ct.GetSpacing()
    spacing = np.array([pixel_mm, pixel_mm, 1 / np.linalg.norm(steps_a_mm)])
    voxels = np.ceil((high - low) / spacing - 1e-6).astype(int)
    origin = (low + high - (voxels - 1) * spacing) / 2
    outside = sitk.GetArrayViewFromImage(ct).min()
    return sitk.Resample(
        ct,
        voxels.tolist(),
        sitk.Transform(),
        sitk.sitkLinear,
        origin.tolist(),
        spacing.tolist(),
        np.eye(3).ravel().tolist(),
        float(outside),
    )


def _body(dense: np.ndarray, margin: int) -> np.ndarray:
    core = ndimage.binary_erosion(dense, iterations=margin, border_value=1)
    pieces, found = ndimage.label(core)
    if not found:
        return dense
    largest = pieces == np.bincount(pieces.ravel())[1:].argmax() + 1
    return ndimage.binary_fill_holes(ndimage.binary_dilation(largest, iterations=margin) & dense)
