"""Computed slices without any organ of the task: head, chest, pelvis, thigh and air, for there are no real ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

AIR_HU = -1000.0
FAT_HU = -95.0
LUNG_HU = (-880.0, -720.0)
BONE_HU = (250.0, 900.0)


def empty_slice(shape: tuple[int, int], rng: np.random.Generator, part: str | None = None) -> np.ndarray:
    """A slice (H, W) in HU of a part of the body where none of the organs is; of a random one if none is named."""
    slice_ = Slice(shape, rng)
    PARTS[part or OFTEN[rng.integers(len(OFTEN))]](slice_)
    return slice_.scanned()


class Slice:
    """A slice that is painted on; lengths are shares of half its width, from its middle, y to the back."""

    def __init__(self, shape: tuple[int, int], rng: np.random.Generator) -> None:
        self.rng = rng
        self.hu = np.full(shape, AIR_HU, np.float32)
        size = rng.uniform(0.75, 1.1) * shape[1] / 2
        y, x = np.mgrid[: shape[0], : shape[1]]
        shift = rng.normal(0, 0.05, 2)
        self.y, self.x = (y - shape[0] / 2) / size - shift[0], (x - shape[1] / 2) / size - shift[1]
        wobble = ndimage.gaussian_filter(rng.normal(0, 1, shape), shape[1] / 16)
        self.wobble = wobble * 0.04 / wobble.std()

    def ellipse(self, center: tuple[float, float], radii: tuple[float, float]) -> np.ndarray:
        """A wobbly ellipse, bool; center and radii are (y, x)."""
        distance = np.hypot((self.y - center[0]) / radii[0], (self.x - center[1]) / radii[1])
        return distance + self.wobble / max(radii) < 1

    def paint(self, where: np.ndarray, hu: float, texture: float = 0.0) -> None:
        """Fills a region with a value and a soft texture of that deviation, both in HU."""
        self.hu[where] = hu
        if texture:
            grain = ndimage.gaussian_filter(self.rng.normal(0, 1, self.hu.shape), 3.0)
            self.hu[where] += (grain * texture / grain.std())[where]

    def scanned(self) -> np.ndarray:
        """The slice with the scanner's blur and noise."""
        blurred = ndimage.gaussian_filter(self.hu, self.rng.uniform(0.5, 1.0))
        noise = ndimage.gaussian_filter(self.rng.normal(0, 1, self.hu.shape), 0.6) * 2
        return blurred + noise * self.rng.uniform(5, 20)

    def between(self, low: float, high: float) -> float:
        """A random number."""
        return float(self.rng.uniform(low, high))


def _head(s: Slice) -> None:
    outer = s.ellipse((0, 0), (s.between(0.45, 0.6), s.between(0.35, 0.48)))
    s.paint(outer, s.between(20, 60))
    s.paint(ndimage.binary_erosion(outer, iterations=3), s.between(600, 1200))
    brain = ndimage.binary_erosion(outer, iterations=int(s.rng.integers(6, 10)))
    s.paint(brain, s.between(28, 48), 5)
    for side in (-1, 1):
        s.paint(s.ellipse((-0.05, side * 0.07), (s.between(0.08, 0.18), s.between(0.02, 0.05))) & brain, 5)
    if s.rng.random() < 0.4:
        s.paint(s.ellipse((-0.3, 0), (0.1, 0.1)) & brain, AIR_HU)


def _chest(s: Slice) -> None:
    body = s.ellipse((0, 0), (s.between(0.55, 0.75), s.between(0.8, 0.95)))
    s.paint(body, FAT_HU, 10)
    wall = ndimage.binary_erosion(body, iterations=int(s.rng.integers(5, 18)))
    s.paint(wall, s.between(35, 65), 15)
    cavity = ndimage.binary_erosion(wall, iterations=int(s.rng.integers(6, 12)))
    s.paint(cavity, FAT_HU)
    enhanced = s.rng.random() < 0.6
    blood = s.between(120, 320) if enhanced else s.between(35, 55)
    for side in (-1, 1):
        lung = s.ellipse((0, side * 0.38), (s.between(0.4, 0.6), s.between(0.25, 0.38))) & cavity
        s.paint(lung, s.between(*LUNG_HU), 40)
        for _ in range(12):
            place = (s.between(-0.4, 0.4), side * s.between(0.15, 0.6))
            s.paint(s.ellipse(place, (0.015, 0.015)) & lung, blood)
    if s.rng.random() < 0.6:
        heart = s.ellipse((-0.1, s.between(0.0, 0.15)), (s.between(0.2, 0.35), s.between(0.25, 0.38)))
        s.paint(heart & cavity, s.between(60, 120) if enhanced else s.between(35, 50), 8)
        for _ in range(3):
            place = (s.between(-0.3, 0.05), s.between(-0.1, 0.3))
            s.paint(s.ellipse(place, (s.between(0.07, 0.14), s.between(0.07, 0.14))) & heart, blood)
    s.paint(s.ellipse((0.2, 0.1), (0.06, 0.06)), blood)
    _spine(s, 0.42)
    for angle in np.linspace(0.2, 2 * np.pi - 0.2, int(s.rng.integers(8, 14))):
        s.paint(s.ellipse((0.62 * np.cos(angle), 0.78 * np.sin(angle)), (0.03, 0.05)) & wall, s.between(*BONE_HU))


def _pelvis(s: Slice) -> None:
    body = s.ellipse((0, 0), (s.between(0.5, 0.65), s.between(0.75, 0.95)))
    s.paint(body, FAT_HU, 10)
    s.paint(ndimage.binary_erosion(body, iterations=int(s.rng.integers(10, 22))), s.between(40, 65), 18)
    s.paint(s.ellipse((0, 0), (0.35, 0.45)), FAT_HU, 8)
    for side in (-1, 1):
        s.paint(s.ellipse((0.05, side * 0.5), (s.between(0.08, 0.2), s.between(0.06, 0.12))), s.between(*BONE_HU), 60)
    s.paint(s.ellipse((-0.15, s.between(-0.05, 0.05)), (s.between(0.1, 0.22), s.between(0.12, 0.25))), s.between(0, 15))
    for _ in range(int(s.rng.integers(2, 7))):
        loop = s.ellipse((s.between(-0.3, 0.2), s.between(-0.35, 0.35)), (s.between(0.04, 0.09), s.between(0.05, 0.1)))
        s.paint(loop, s.between(10, 90), 15)
    _spine(s, 0.35)


def _thighs(s: Slice) -> None:
    for side in (-1, 1):
        leg = s.ellipse((0, side * 0.45), (s.between(0.35, 0.45), s.between(0.33, 0.42)))
        s.paint(leg, FAT_HU, 10)
        s.paint(ndimage.binary_erosion(leg, iterations=int(s.rng.integers(5, 12))), s.between(45, 65), 15)
        s.paint(s.ellipse((0, side * 0.45), (0.08, 0.08)), s.between(500, 1000))
        s.paint(s.ellipse((0, side * 0.45), (0.04, 0.04)), s.between(-60, 40))


def _air(s: Slice) -> None:
    if s.rng.random() < 0.5:
        s.paint(s.ellipse((0.5, 0), (0.05, 0.8)), s.between(-200, 100))


def _spine(s: Slice, back: float) -> None:
    s.paint(s.ellipse((back, 0), (s.between(0.1, 0.14), s.between(0.12, 0.17))), s.between(150, 300), 30)
    s.paint(s.ellipse((back + 0.16, 0), (0.05, 0.05)), s.between(10, 40))


PARTS: dict[str, Callable[[Slice], None]] = {
    "head": _head,
    "chest": _chest,
    "pelvis": _pelvis,
    "thighs": _thighs,
    "air": _air,
}
# The chest is what most CTs of the abdomen begin with, and where organs were found most often that are not there.
OFTEN = ("head", "chest", "chest", "chest", "pelvis", "thighs", "air")
