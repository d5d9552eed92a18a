"""A CT as the network's axial slices, and the network's results back on the CT."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import SimpleITK as sitk
import torch
from scipy import ndimage
from torch.nn import functional as F

from .axial_volume import AxialVolume, by_slices
from .ct_files import BODY_HU
from .errors import InputError
from .networks import STRIDE
from .tasks import Task

# Networks learn from slices that lie straight in the patient. A few degrees, as from a gantry or a head rest, are
# within what augmentation shows them; slices further off are no axial slices any more and are cut anew.
MAX_TILT_DEGREES = 20.0

MAX_FIELD_OF_VIEW_MM = 3000.0

# Cuts what joins the patient to the table: about this many mm thick on either side.
TABLE_MARGIN_MM = 3.0


class AxialSlices:
    """A CT as network slices, made slab by slab.

    Slices are resampled in their plane to the task's pixel spacing (bilinear, averaging where pixels get larger) and
    padded below and to the right with the lowest value of the window to a canvas whose sides are multiples of 32.
    Along z nothing is resampled. The pixel spacing is off the task's by up to half a pixel over the whole width, so
    that canvas and CT share their edges exactly.

    A CT tilted by more than 20 degrees against the patient's axes is first cut anew into straight slices. The whole
    geometry here (`count`, `shape`, `grid_shape`, `layer_image`) is then that of the straight slices, which fill a box
    around the CT. `to_own` goes back to the CT's own slices: they alone tell where it ends and how far apart they
    are, and what one of them shows is spread over several straight ones.

    Attributes:
        own: the CT's own voxels.
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
        self.own = AxialVolume(ct)
        self.slice_tilt = self.own.order.slice_tilt
        self.cut_straight = self.own.order.tilt > MAX_TILT_DEGREES
        self._grid = _cut_straight(ct, task.spacing) if self.cut_straight else ct
        self._volume = AxialVolume(self._grid) if self.cut_straight else self.own
        self.grid_shape = self._volume.shape
        self.count = self._volume.count
        self.spacing = self._volume.spacing
        extent = np.array(self.grid_shape[1:]) * self.spacing[1::-1]
        _check_extent(extent)
        rows, columns = (max(1, round(float(mm) / task.spacing)) for mm in extent)
        self.shown = (rows, columns)
        self.pixel_mm: tuple[float, float] = tuple(extent / self.shown)
        self.shape = tuple(-(-side // STRIDE) * STRIDE for side in self.shown)

    def images(self, start: int, stop: int) -> np.ndarray:
        """Slices start..stop-1 as float32 (n, 1, H, W), the task's window scaled to 0..1."""
        low, high = self._window
        # Cut to the window first, as the training slices were: metal and air do not bleed into their neighbors.
        slab = np.clip(self._volume.voxels[start:stop].astype(np.float32), low, high)
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
        slab = self._on_canvas(np.clip(self._volume.voxels[start:stop].astype(np.float32), -1024.0, 1024.0))
        rows, columns = self.shown
        body = np.zeros(slab.shape, dtype=bool)
        margin = max(1, round(TABLE_MARGIN_MM / max(self.pixel_mm)))
        for one, hu in zip(body, slab):
            one[:rows, :columns] = _body(hu[:rows, :columns] > self._densest_air, margin)
        return body

    @property
    def blank(self) -> np.ndarray:
        """Which slices hold one value alone, see `AxialVolume.blank`."""
        return self._volume.blank

    @cached_property
    def _densest_air(self) -> float:
        lowest = float(self._volume.voxels.min())
        return max(BODY_HU, lowest) if self._volume.voxels.max() > lowest else BODY_HU

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
        # One axis after the other: both at once takes four times as long.
        canvas[:, : len(rows), : len(columns)] = labels.take(rows, axis=1).take(columns, axis=2)
        return canvas

    def labels_of(self, image: sitk.Image) -> np.ndarray:
        """An annotation on the CT's grid as labels (Z, Y, X) in axial order."""
        if self.cut_straight:
            image = sitk.Resample(image, self._grid, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
        return by_slices(self._volume.order.view(sitk.GetArrayFromImage(image)))

    def to_own(self, labels: np.ndarray) -> np.ndarray:
        """Labels (Z, Y, X) of these slices in the CT's own (`own.shape`): themselves, but for a CT that is cut anew."""
        if not self.cut_straight:
            return labels
        on_ct = sitk.Resample(self._volume.image_of(labels), self._ct, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
        return by_slices(self.own.order.view(sitk.GetArrayFromImage(on_ct)))

    def volumes_to_fill(self, on_ct: Sequence[np.ndarray]) -> list[np.ndarray]:
        """For arrays in the shape of the CT's own, those (Z, Y, X) in axial order that are to be filled for them.

        They are views of the given arrays, or, for a CT that is cut anew, float32 arrays of their own.
        """
        if not self.cut_straight:
            return [self._volume.order.view(array) for array in on_ct]
        return [np.zeros(self.grid_shape, np.float32) for _ in on_ct]

    def filled_to_ct(self, filled: Sequence[np.ndarray], on_ct: Sequence[np.ndarray]) -> None:
        """Brings what `volumes_to_fill` gave, and was filled since, to the CT's own arrays (linear, 0 outside)."""
        if not self.cut_straight:
            return
        for volume, array in zip(filled, on_ct, strict=True):
            image = self._volume.image_of(volume)
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
        order = self._volume.order
        image.SetOrigin((order.origin + order.direction @ corner_to_center).tolist())
        image.SetDirection(order.direction.ravel().tolist())
        return image

    def _on_canvas(self, slab: np.ndarray) -> np.ndarray:
        """A slab (n, Y, X) at the canvas's pixels, (n, H, W), padded with 0."""
        canvas = np.zeros((len(slab), *self.shape), dtype=np.float32)
        rows, columns = self.shown
        canvas[:, :rows, :columns] = _resize(torch.from_numpy(slab)[:, None], self.shown)[:, 0].numpy()
        return canvas


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
