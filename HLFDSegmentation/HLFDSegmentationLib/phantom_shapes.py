"""Shapes in millimetres, and the canvas on which the generated CT is painted with them.

A shape is an array of signed distances to a surface in mm, negative inside. Distances of curved bodies are right to
first order near the surface, which is where they are used.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter

Array = np.ndarray
Coordinates = tuple[Array, Array, Array]
Point = tuple[float, float, float]
Box = tuple[slice, slice, slice]
Path = tuple[Sequence[Point], Sequence[float]]

EVERYWHERE: Box = (slice(None), slice(None), slice(None))
WARP_MM = 3.0

WAVES = 24
"""That a smooth field is a sum of."""

GRAIN_SIZE = 64
"""Of the texture's cube, in voxels."""


def overlap(first: Array, second: Array, rounding: float) -> Array:
    """What lies in both shapes, the edge between them rounded over about `rounding` mm."""
    blend = np.maximum(rounding - np.abs(first - second), 0)
    return np.maximum(first, second) + blend * blend * (0.25 / rounding)


def without(first: Array, second: Array, rounding: float) -> Array:
    """The first shape less the second."""
    return overlap(first, -second, rounding)


def ellipsoid(at: Coordinates, center: Point, radii: Point) -> Array:
    """An ellipsoid whose axes lie along those of the coordinates."""
    parts = [(axis - middle) / radius for axis, middle, radius in zip(at, center, radii)]
    norm = np.sqrt(sum(part * part for part in parts))
    slope = np.sqrt(sum((part / radius) ** 2 for part, radius in zip(parts, radii)))
    return norm * (norm - 1) / np.maximum(slope, 1e-4)


def capsule(at: Coordinates, start: Point, end: Point, start_radius: float, end_radius: float) -> Array:
    """A straight piece of tube with round ends and a radius that changes along it."""
    axis = [b - a for a, b in zip(start, end)]
    length2 = max(sum(step * step for step in axis), 1e-6)
    offset = [coordinate - a for coordinate, a in zip(at, start)]
    along = np.clip(sum(o * step for o, step in zip(offset, axis)) * (1 / length2), 0, 1)
    distance2 = sum((o - along * step) ** 2 for o, step in zip(offset, axis))
    return np.sqrt(distance2) - (start_radius + along * (end_radius - start_radius))


def rotated(at: Coordinates, center: Point, axes: Sequence[Point]) -> Coordinates:
    """Coordinates along three unit vectors, from a center."""
    offset = [coordinate - middle for coordinate, middle in zip(at, center)]
    return tuple(sum(o * component for o, component in zip(offset, axis)) for axis in axes)  # type: ignore[return-value]


def smooth_path(points: Sequence[Point], radii: Sequence[float], step: float = 10.0) -> Path:
    """A curve through points (Catmull-Rom), with radii between theirs, in pieces of about `step` mm."""
    knots = np.asarray([points[0], *points, points[-1]], dtype=float)
    curve, widths = [points[0]], [float(radii[0])]
    for i, (before, start, end, after) in enumerate(zip(knots, knots[1:], knots[2:], knots[3:])):
        pieces = max(1, round(float(np.sqrt(((end - start) ** 2).sum())) / step))
        t = np.arange(1, pieces + 1)[:, None] / pieces
        bend = 2 * before - 5 * start + 4 * end - after, 3 * start - before - 3 * end + after
        piece = start + 0.5 * ((end - before) * t + bend[0] * t**2 + bend[1] * t**3)
        curve += [tuple(point) for point in piece.tolist()]
        widths += (radii[i] + t[:, 0] * (radii[i + 1] - radii[i])).tolist()
    return curve, widths


def smooth_field(rng: np.random.Generator, axes: Coordinates, wavelength: float) -> Array:
    """A smooth random field of standard deviation 1, the same in mm on every grid.

    A sum of products of one cosine for each axis, so that the whole grid costs one matrix product.
    Shape: (Z, Y, X) for axes z, y, x of these lengths.
    """
    waves = rng.normal(0, 2 * np.pi / wavelength / np.sqrt(3), (3, WAVES))
    phases = rng.uniform(0, 2 * np.pi, (3, WAVES))
    z, y, x = (
        np.cos(np.outer(axis, wave) + phase).astype(np.float32) for axis, wave, phase in zip(axes, waves, phases)
    )
    in_plane = (y[:, None, :] * x[None, :, :]).reshape(-1, WAVES)
    field = z @ in_plane.T * np.float32(np.sqrt(8 / WAVES))
    return field.reshape(len(z), len(y), len(x))


def _grain_tile(rng: np.random.Generator) -> Array:
    """A cube of fine texture of standard deviation 1 that repeats without a seam."""
    tile = gaussian_filter(rng.standard_normal((GRAIN_SIZE,) * 3, dtype=np.float32), 1.3, mode="wrap")
    return tile / tile.std()


class Canvas:
    """HU and labels on a grid in the body's coordinates, which bend smoothly against the grid.

    The bending makes every outline irregular and different for each seed, while neighbours stay neighbours.

    Args:
        axes: grid positions in mm along z, y, x, rising.
        step: usual distance of neighbors in mm; edges are as soft.
        rng: draws the bending and the texture.

    Attributes:
        axes: grid positions in mm along z, y, x, before bending.
        hu: (Z, Y, X) float32.
        labels: (Z, Y, X) uint8.
        grain: (Z, Y, X) float32, texture of standard deviation 1.
    """

    def __init__(self, axes: Coordinates, step: float, rng: np.random.Generator) -> None:
        self.axes = axes
        z, y, x = (axis.astype(np.float32) for axis in axes)
        bend = [WARP_MM * smooth_field(rng, axes, 150) + 0.25 * WARP_MM * smooth_field(rng, axes, 45) for _ in range(3)]
        self._at = (bend[0] + x, bend[1] + y[:, None], bend[2] + z[:, None, None])
        self._reach = [float(np.abs(field).max()) + 2 for field in bend]
        self.hu = np.full(bend[0].shape, -1000, np.float32)
        self.labels = np.zeros(bend[0].shape, np.uint8)
        self._edge = max(1.0, step)
        tile = _grain_tile(rng)
        self.grain = tile[np.ix_(*(np.round(axis / 1.5).astype(int) % len(tile) for axis in axes))]

    def at(self, box: Box = EVERYWHERE) -> Coordinates:
        """The body's coordinates x, y, z in a box."""
        return tuple(axis[box] for axis in self._at)  # type: ignore[return-value]

    def box(self, low: Point, high: Point) -> Box:
        """The part of the grid that holds everything between two corners (x, y, z)."""
        slices = []
        for axis, start, end, reach in zip(self.axes, low[::-1], high[::-1], self._reach[::-1]):
            first, last = np.searchsorted(axis, [start - reach, end + reach])
            slices.append(slice(int(first), int(last)))
        return tuple(slices)  # type: ignore[return-value]

    def around(self, center: Point, reach: float) -> Box:
        """The part of the grid within a reach of a point."""
        return self.box(tuple(c - reach for c in center), tuple(c + reach for c in center))  # type: ignore[arg-type]

    def paint(self, shape: Array, hu: Array | float, *, box: Box = EVERYWHERE, label: int | None = 0) -> None:
        """Fills a shape with HU, mixing at its edge; label None keeps the label that was there."""
        cover = np.clip(0.5 - shape * (1 / self._edge), 0, 1)
        part = self.hu[box]
        part += cover * (hu - part)
        if label is not None:
            self.labels[box][cover > 0.5] = label

    def paint_tube(
        self,
        path: Path,
        hu: float,
        *,
        inside: Array | None = None,
        grain: float = 0.0,
        label: int | None = 0,
    ) -> None:
        """Fills a tube along a path, where it lies inside another shape of the whole canvas."""
        points, radii = path
        for start, end, first, last in zip(points, points[1:], radii, radii[1:]):
            reach = max(first, last)
            box = self.box(
                tuple(min(a, b) - reach for a, b in zip(start, end)),  # type: ignore[arg-type]
                tuple(max(a, b) + reach for a, b in zip(start, end)),  # type: ignore[arg-type]
            )
            if not self.hu[box].size:
                continue
            shape = capsule(self.at(box), start, end, first, last)
            if inside is not None:
                shape = np.maximum(shape, inside[box])
            self.paint(shape, hu + grain * self.grain[box], box=box, label=label)
