"""Perceptually uniform color maps, made by formula in CIELAB (CIE 15:2004, 2° observer, D65).

In every map the lightness L* rises by equal steps, so that equal steps of attention look equal, in grayscale print and
to color-blind readers too. The hue turns evenly; the chroma is a smooth curve that stays within what a screen (sRGB)
can show, so that no edge appears where there is none in the attention.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Course:
    """A course through CIELAB from weak to strong.

    Attributes:
        lightness: L* at the start and end.
        hue: in degrees, at the start and end.
        chroma: control points of its curve (cubic, Bernstein form).
    """

    lightness: tuple[float, float]
    hue: tuple[float, float]
    chroma: tuple[float, float, float, float]

    def colors(self, position: np.ndarray) -> np.ndarray:
        """The sRGB colors (n, 3), 0 to 1, at positions (n,) from 0 to 1."""
        t, rest = position, 1 - position
        light = rest * self.lightness[0] + t * self.lightness[1]
        hue = np.radians(rest * self.hue[0] + t * self.hue[1])
        chroma = np.stack([rest**3, 3 * t * rest**2, 3 * t**2 * rest, t**3], axis=-1) @ self.chroma
        return _lab_to_srgb(light, chroma * np.cos(hue), chroma * np.sin(hue))


COURSES: dict[str, Course] = {
    "meadow": Course(lightness=(15, 93), hue=(310, 105), chroma=(40, 18, 20, 88)),
    "ember": Course(lightness=(12, 95), hue=(-45, 100), chroma=(46, 61, 91, 34)),
    "ice": Course(lightness=(15, 95), hue=(295, 210), chroma=(45, 21, 59, 15)),
}
"""The maps from 0 to 1: violet, blue, green, yellow; violet, red, yellow; and blue to white. Scenes keep the names."""

DEFAULT = "meadow"
"""The outlines of organs and tumors stand out from it; the liver's melts into the orange of "ember"."""

AGAINST = Course(lightness=(10, 88), hue=(290, 220), chroma=(0, 49, 37, 28))
FOR = Course(lightness=(10, 88), hue=(30, 85), chroma=(0, 85, 81, 43))
"""The arms of the diverging map, from 0 to -1 and to 1. Blue and orange differ for every kind of color vision, and
equally strong attention for and against a label is equally light."""

STEPS = 256
"""Slicer maps the window of a volume to this many colors."""


def color_map(name: str) -> np.ndarray:
    """The sRGB colors (STEPS, 3), 0 to 1, of a map from weak to strong.

    Raises:
        KeyError: no such map; `COURSES` has the names.
    """
    return COURSES[name].colors(np.linspace(0, 1, STEPS))


def diverging_map() -> np.ndarray:
    """The sRGB colors (STEPS, 3), 0 to 1, from -1 (blue) over 0 (dark) to 1 (orange)."""
    position = np.linspace(-1, 1, STEPS)
    return np.where(position[:, None] < 0, AGAINST.colors(abs(position)), FOR.colors(abs(position)))


@dataclass(frozen=True)
class AttentionColors:
    """How attention is colored: one table for Slicer's views and for the mosaic.

    Attributes:
        name: the map of positive attention; a signed map always has the diverging one.
        signed: from -1 to 1, or from 0 to 1.
        threshold: weaker attention, in absolute value, is transparent. No attention always is.
    """

    name: str = DEFAULT
    signed: bool = False
    threshold: float = 0.0

    @property
    def range(self) -> tuple[float, float]:
        """The lowest and highest attention that have a color of their own."""
        return (-1.0, 1.0) if self.signed else (0.0, 1.0)

    @cached_property
    def table(self) -> np.ndarray:
        """RGBA (STEPS, 4), 0 to 1, evenly over `range`. What is transparent is black, so that a legend shows it."""
        rgb = diverging_map() if self.signed else color_map(self.name)
        step = np.arange(STEPS)
        # The steps of a signed map are even in number, so two of them hold the attention 0.
        strength = np.abs(step - (STEPS - 1) / 2) * 2 / (STEPS - 1) if self.signed else step / (STEPS - 1)
        holds_zero = (step == STEPS // 2) | (step == STEPS // 2 - 1) if self.signed else step == 0
        visible = (strength >= self.threshold) & ~holds_zero
        return np.concatenate([rgb, np.ones((STEPS, 1))], axis=1) * visible[:, None]

    @property
    def rgb(self) -> np.ndarray:
        """The colors (STEPS, 3) of `table`, 0 to 255."""
        return 255 * self.table[:, :3]

    def steps(self, values: np.ndarray) -> np.ndarray:
        """The row of `table` for each attention value, as uint8."""
        low, high = self.range
        return np.rint(np.clip((values - low) * ((STEPS - 1) / (high - low)), 0, STEPS - 1)).astype(np.uint8)

    def visible(self, values: np.ndarray) -> np.ndarray:
        """Whether each attention value has a color, and is not transparent."""
        return (self.table[:, 3] > 0)[self.steps(values)]


_RGB_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_WHITE = _RGB_TO_XYZ.sum(axis=1)


def _lab_to_srgb(light: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    middle = (light + 16) / 116
    f = np.stack([middle + a / 500, middle, middle - b / 200], axis=-1)
    xyz = _WHITE * np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))
    linear = np.clip(xyz @ np.linalg.inv(_RGB_TO_XYZ).T, 0, 1)
    return np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
