"""The pictures of a report: axial CT slices with outlines of segments, and with the attention of a layer."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from ..color_maps import AttentionColors
from ..ct_files import BODY_HU
from ..hounsfield import DRAWN_HU
from ..image_points import image_like, point_at
from ..measures import Point
from ..tasks import Label, Task

SCALE_BAR_MM = 50.0
WHITE = (255, 255, 255)

ANATOMY_WIDTH = 360
ATTENTION_WIDTH = 240
"""Of the longer side of a picture, in pixels of a page."""

VISIBLE_FROM = 0.3
OPACITY = 0.65
"""From this attention on colors have their full opacity; weaker attention lets more of the CT through."""


@dataclass(frozen=True)
class Picture:
    """A PNG and the size in pixels at which a page shows it (it holds more pixels, for sharp screens and print)."""

    png: bytes
    width: int
    height: int


class AxialPictures:
    """Draws axial slices of a CT: patient's right at the left, anterior up, true proportions, cut to the body.

    Everything is placed by its geometry in mm, so the CT may store its axes in any order.

    Args:
        ct: the CT in HU.
        labels: label values on the CT's grid.
        task: says which value is which label.
    """

    def __init__(self, ct: sitk.Image, labels: sitk.Image, task: Task) -> None:
        self._ct = ct
        self._labels = sitk.DICOMOrient(labels, "LPS")
        self._task = task
        array = sitk.GetArrayViewFromImage(self._labels)
        self._areas = np.stack([np.bincount(s.ravel(), minlength=task.num_classes)[: task.num_classes] for s in array])
        self._box = self._body_box(z for z in map(self.largest_slice, task.labels) if z is not None)

    def largest_slice(self, label: Label) -> int | None:
        """The axial slice, counted from inferior, that holds most of a label; none where the label is absent."""
        areas = self._areas[:, label.value]
        return int(areas.argmax()) if areas.any() else None

    def slice_at(self, point: Point) -> int:
        """The axial slice that holds a point."""
        return self._labels.TransformPhysicalPointToIndex(point)[2]

    def center_in(self, z: int, label: Label) -> Point:
        """The center of gravity of a label in an axial slice that holds it."""
        mask = sitk.GetArrayViewFromImage(self._labels)[z] == label.value
        return point_at(self._labels, (z, *np.mean(np.nonzero(mask), axis=1)))

    def anatomy(self, z: int, diameter: tuple[Point, Point] | None = None) -> Picture:
        """A slice with outlines, a bar of `SCALE_BAR_MM` where it fits, and a diameter's line.

        All segments are outlined, an organ together with its tumors.
        """
        panel = self._panel(z, 2 * ANATOMY_WIDTH)
        pixels = panel.gray(self._ct)
        for label in (*self._task.organs, *self._task.tumors):
            mask = panel.mask(self._one_slice(z), self._task.values_with_tumors(label))
            pixels[_outline(mask, 3)] = label.color
        if diameter:
            pixels[panel.line(diameter)] = WHITE
        _draw_scale_bar(pixels, panel.pixel_mm)
        return _picture(pixels, 2)

    def attention(self, z: int, label: Label, layer: sitk.Image, colors: AttentionColors) -> Picture:
        """A slice in the colors of a layer's attention (an image placed on the CT), a segment's outline and the bar."""
        panel = self._panel(z, 3 * ATTENTION_WIDTH // 2)
        pixels = panel.gray(self._ct)
        pixels = laid_over(pixels, np.clip(panel.sample(layer), -1.0, 1.0), colors)
        pixels[_outline(panel.mask(self._one_slice(z), (label.value,)), 2)] = WHITE
        _draw_scale_bar(pixels, panel.pixel_mm)
        return _picture(pixels, 1.5)

    def _one_slice(self, z: int) -> sitk.Image:
        return self._labels[:, :, z : z + 1]

    def _panel(self, z: int, width: int) -> _Panel:
        """The slice cut to the body; its longer side has this many pixels."""
        first, last = self._box
        pixel_mm = float(((last - first) * self._labels.GetSpacing()[:2]).max()) / width
        return _Panel.of(self._labels, z, first, last, pixel_mm)

    def _body_box(self, slices: Iterable[int]) -> tuple[np.ndarray, np.ndarray]:
        """Two corners, as continuous indices (x, y), of the part of these slices that shows the body."""
        size, spacing = np.array(self._labels.GetSize()[:2]), np.array(self._labels.GetSpacing()[:2])
        first, last = np.full(2, -0.5), size - 0.5
        coarse_mm = max(3.0, float((size * spacing).max()) / 512)
        corners = []
        for z in slices:
            hu = _Panel.of(self._labels, z, first, last, coarse_mm).sample(self._ct)
            body = ndimage.binary_opening(hu > BODY_HU, iterations=3)  # parts the body from table and clothes
            pieces, count = ndimage.label(body)
            if count:
                largest = np.bincount(pieces.ravel())[1:].argmax()
                rows, columns = ndimage.find_objects(pieces)[largest]
                corners.append(((columns.start, rows.start), (columns.stop, rows.stop)))
        if not corners:
            return first, last
        margin = 2  # coarse pixels
        scale = coarse_mm / spacing
        box_first = first + (np.min([corner[0] for corner in corners], axis=0) - margin) * scale
        box_last = first + (np.max([corner[1] for corner in corners], axis=0) + margin) * scale
        return np.maximum(box_first, first), np.minimum(box_last, last)


def level(point: Sequence[float]) -> str:
    """How far superior or inferior a point is, in words. In a tilted slice that differs within it."""
    superior = round(point[2], 1)
    return f"{'S' if superior >= 0 else 'I'} {abs(superior):.1f} mm"


def laid_over(pixels: np.ndarray, attention: np.ndarray, colors: AttentionColors) -> np.ndarray:
    """Pixels (..., 3) with the colors of attention (...) over them; what is weak lets more of the pixels through."""
    opacity = OPACITY * np.minimum(np.abs(attention) / VISIBLE_FROM, 1.0)[..., None]
    return (1 - opacity) * pixels + opacity * colors.rgb[colors.steps(attention)]


@dataclass(frozen=True)
class _Panel:
    """Square pixels in an axial slice, as a grid of one slice in the patient's mm."""

    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    origin: Point
    direction: tuple[float, ...]

    @classmethod
    def of(cls, axial: sitk.Image, z: int, first: np.ndarray, last: np.ndarray, pixel_mm: float) -> _Panel:
        """The part of slice z between two continuous indices (x, y)."""
        column_mm, row_mm, slice_mm = axial.GetSpacing()
        extent = (last - first) * (column_mm, row_mm)
        columns, rows = (max(1, round(mm / pixel_mm)) for mm in extent)
        start = first + 0.5 * pixel_mm / np.array([column_mm, row_mm])
        origin = axial.TransformContinuousIndexToPhysicalPoint([*map(float, start), float(z)])
        return cls((columns, rows, 1), (pixel_mm, pixel_mm, slice_mm), origin, axial.GetDirection())

    @property
    def pixel_mm(self) -> float:
        return self.spacing[0]

    def sample(self, image: sitk.Image) -> np.ndarray:
        """Linearly interpolated values of an image, float32 (rows, columns)."""
        sampled = sitk.Resample(
            image,
            self.size,
            sitk.Transform(),
            sitk.sitkLinear,
            self.origin,
            self.spacing,
            self.direction,
            0.0,
            sitk.sitkFloat32,
        )
        return sitk.GetArrayFromImage(sampled)[0]

    def gray(self, ct: sitk.Image) -> np.ndarray:
        """The CT in the soft-tissue window, float32 (rows, columns, 3) from 0 to 255."""
        low, high = DRAWN_HU
        gray = np.clip((self.sample(ct) - low) / (high - low), 0.0, 1.0) * 255
        return np.repeat(gray[..., None], 3, axis=2)

    def mask(self, labels: sitk.Image, values: Sequence[int]) -> np.ndarray:
        """Which pixels lie in one of these labels, with smooth borders."""
        chosen = np.isin(sitk.GetArrayViewFromImage(labels), values).astype(np.float32)
        return self.sample(image_like(chosen, labels)) >= 0.5

    def line(self, ends: tuple[Point, Point]) -> np.ndarray:
        """Which pixels lie on the line between two points."""
        grid = sitk.Image(self.size, sitk.sitkUInt8)
        grid.SetOrigin(self.origin)
        grid.SetSpacing(self.spacing)
        grid.SetDirection(self.direction)
        start, stop = (np.array(grid.TransformPhysicalPointToContinuousIndex(end))[1::-1] for end in ends)
        steps = np.linspace(0, 1, 2 * max(self.size))[:, None]
        rows, columns = np.rint(start + steps * (stop - start)).astype(np.intp).T
        mask = np.zeros(self.size[1::-1], dtype=bool)
        inside = (rows >= 0) & (rows < mask.shape[0]) & (columns >= 0) & (columns < mask.shape[1])
        mask[rows[inside], columns[inside]] = True
        return mask


def _outline(mask: np.ndarray, thickness: int) -> np.ndarray:
    return mask & ~ndimage.binary_erosion(mask, iterations=thickness)


def _draw_scale_bar(pixels: np.ndarray, pixel_mm: float) -> None:
    rows, columns, _ = pixels.shape
    length, margin, thickness = round(SCALE_BAR_MM / pixel_mm), 20, 4
    if length + 2 * margin <= columns and 2 * margin <= rows:
        bottom, right = rows - margin, columns - margin
        pixels[bottom - thickness : bottom + 1, right - length - 1 : right + 1] = 0
        pixels[bottom - thickness + 1 : bottom, right - length : right] = 255


def _picture(pixels: np.ndarray, density: float) -> Picture:
    rows, columns, _ = pixels.shape
    return Picture(_png(np.rint(pixels).astype(np.uint8)), round(columns / density), round(rows / density))


def _png(pixels: np.ndarray) -> bytes:
    """A PNG (ISO/IEC 15948) of colors, uint8 (rows, columns, 3).

    Made in memory: a file in the system's temporary folder would stay there where this process is ended.
    """
    rows, columns, _ = pixels.shape
    # Each row tells first how it is filtered: 1, by differences to the pixel on the left, makes files smaller.
    lines = np.ones((rows, 1 + 3 * columns), np.uint8)
    lines[:, 1:] = np.diff(pixels, axis=1, prepend=np.zeros((rows, 1, 3), np.uint8)).reshape(rows, -1)
    header = struct.pack(">IIBBBBB", columns, rows, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes())), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_png_part(*part) for part in parts)


def _png_part(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
