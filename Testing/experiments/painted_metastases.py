"""Metastases painted into real livers, to compare methods on: no public slice here has its liver tumors outlined.

    hu, label = with_metastases(hu, liver, spacing, draw_kind(rng), rng)

The lesions of one patient are of one kind, as those of one primary are, and differ in size, contrast and sharpness.
Only livers that are even (`painted_liver_lesions.is_even`) should be painted: a real tumor in another one has no label.
Nothing measured on such lesions says how well a network finds real ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from painted_liver_lesions import EDGE_PX, LESION
from scipy import ndimage

SMALLEST_MM, LARGEST_MM = 3.0, 28.0
MOST_LESIONS = 7
WOBBLE = 0.14
WITHOUT_LESION = 0.1

Range = tuple[float, float]


@dataclass(frozen=True)
class Kind:
    """How a kind of metastasis looks.

    Attributes:
        share: how often it is drawn.
        contrast: HU that it is brighter than the liver.
        rim: HU that its edge is brighter than its middle.
        necrosis: how often a larger one has a dark middle.
        blur: width of its edge in mm.
        texture: deviation of its HU.
    """

    share: float
    contrast: Range
    rim: Range
    necrosis: float
    blur: Range
    texture: Range


KINDS = {
    "hypovascular": Kind(0.45, (-45, -12), (0, 10), 0.2, (1.0, 3.5), (3, 9)),
    "rim-enhancing": Kind(0.2, (-50, -20), (20, 60), 0.5, (0.8, 2.0), (3, 9)),
    "hypervascular": Kind(0.25, (12, 50), (-10, 15), 0.25, (0.8, 2.5), (4, 12)),
    "cystic": Kind(0.1, (-90, -55), (0, 20), 0.0, (0.6, 1.2), (1, 4)),
}


def with_metastases(
    hu: np.ndarray, liver: np.ndarray, spacing: float, kind: str, rng: Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A slice (H, W) with lesions of a kind in its liver, at times without any, and its label: 1 liver, 2 lesion.

    Args:
        hu: the slice.
        liver: where the liver is.
        spacing: pixel size in mm.
        kind: one of `KINDS`.
        rng: draws number, places, sizes and looks.
    """
    painted, label = hu.astype(np.float32), liver.astype(np.uint8)
    places = np.argwhere(ndimage.binary_erosion(liver, iterations=EDGE_PX))
    number = 0 if rng.random() < WITHOUT_LESION else min(rng.geometric(0.35), MOST_LESIONS)
    # What is added leaves the liver's own grain in the lesion.
    for row, column in places[rng.integers(len(places), size=number)]:
        radius = float(np.exp(rng.uniform(np.log(SMALLEST_MM), np.log(LARGEST_MM))))
        depth = lobulated((row, column), radius, hu.shape, spacing, rng)
        share = soft_edge(depth, rng.uniform(*KINDS[kind].blur)) * ndimage.gaussian_filter(
            liver.astype(np.float32), 0.7
        )
        painted += share * look(depth, radius, spacing, KINDS[kind], rng)
        label[(share > 0.5) & liver] = LESION
    return painted, label


def draw_kind(rng: Generator) -> str:
    """One of `KINDS`, as often as its share says."""
    return str(rng.choice(list(KINDS), p=[kind.share for kind in KINDS.values()]))


def lobulated(
    center: tuple[float, float],
    radius: float,
    shape: tuple[int, int],
    spacing: float,
    rng: Generator,
    wobble: float = WOBBLE,
) -> np.ndarray:
    """How deep (mm, negative outside) each pixel lies in a lobulated ellipse of about this radius in mm.

    Args:
        center: row and column.
        radius: in mm.
        shape: of the slice (H, W).
        spacing: pixel size in mm.
        rng: draws angle, width and outline.
        wobble: how uneven the outline is, as a share of the radius.
    """
    y, x = ((np.arange(length) - middle) * spacing for length, middle in zip(shape, center))
    y, x = y[:, None], x[None]
    angle, stretch = rng.uniform(0, np.pi), rng.uniform(0.65, 1.0)
    along, across = y * np.cos(angle) + x * np.sin(angle), x * np.cos(angle) - y * np.sin(angle)
    around = np.arctan2(across, along)
    outline = 1 + sum(rng.normal(0, wobble / n) * np.cos(n * around + rng.uniform(0, 2 * np.pi)) for n in (2, 3, 4, 5))
    return (outline.clip(0.5, 1.5) - np.hypot(along, across / stretch) / radius) * radius


def soft_edge(depth: np.ndarray, width: float) -> np.ndarray:
    """From 0 outside to 1 inside, over about this many mm."""
    return 1 / (1 + np.exp(-np.clip(4 * depth / width, -20, 20)))


def look(depth: np.ndarray, radius: float, spacing: float, kind: Kind, rng: Generator) -> np.ndarray:
    """HU that the lesion adds at each pixel (H, W)."""
    contrast = rng.uniform(*kind.contrast)
    noise = ndimage.gaussian_filter(rng.standard_normal(depth.shape), 2.5 / spacing)
    hu = contrast + noise / noise.std() * rng.uniform(*kind.texture)
    hu += soft_edge(rng.uniform(1.5, 4.0) - depth, 1.5) * rng.uniform(*kind.rim)
    if radius > 8 and rng.random() < kind.necrosis:
        hu += soft_edge(depth - radius * rng.uniform(0.4, 0.7), 3.0) * rng.uniform(-35, -10)
    return hu
