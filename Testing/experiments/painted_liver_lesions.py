"""Lesions painted into real livers, because the liver slices hold their tumors undivided in the liver's mask.

Only livers without a dark spot of their own are painted: in the others a real tumor would be taught as liver.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

LESION = 2
EDGE_PX = 3
DARK_HU = 20.0
MOST_DARK_SHARE = 0.01
# A large bright mass is what a hepatocellular carcinoma in the arterial phase looks like.
HYPERVASCULAR = 0.35
WITH_RIM = 0.3
SMALLEST_PX, LARGEST_PX = 2.5, 28.0
# Times the square root of the liver's area: a larger lesion would leave no liver around it.
LARGEST_SHARE = 0.4
# Lesions from here on are uneven in coarse patches.
PATCHY_PX = 10.0


def is_even(hu: np.ndarray, liver: np.ndarray) -> bool:
    """Whether a liver (H, W), away from its edge, has hardly any pixel that is much darker than its median."""
    inside = ndimage.binary_erosion(liver, iterations=EDGE_PX)
    if inside.sum() < 200:
        return False
    smooth = ndimage.gaussian_filter(hu.astype(np.float32), 1.5)[inside]
    return float((smooth < np.median(smooth) - DARK_HU).mean()) < MOST_DARK_SHARE


def with_lesions(hu: np.ndarray, liver: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A slice (H, W) with one to four lesions in its liver, and the label: 1 liver, 2 lesion."""
    painted, label = hu.astype(np.float32), liver.astype(np.uint8)
    rows, columns = np.nonzero(ndimage.binary_erosion(liver, iterations=EDGE_PX))
    largest = max(SMALLEST_PX, min(LARGEST_PX, LARGEST_SHARE * liver.sum() ** 0.5))
    for _ in range(rng.integers(1, 5)):
        place = rng.integers(len(rows))
        radius = np.exp(rng.uniform(np.log(SMALLEST_PX), np.log(largest)))
        shape = _shape((rows[place], columns[place]), radius, liver, rng)
        sign = 1.0 if rng.random() < HYPERVASCULAR else -1.0
        contrast = sign * rng.uniform(15, 55)
        texture = ndimage.gaussian_filter(rng.normal(0, 1, hu.shape), 2.0) * 25
        if radius > PATCHY_PX:
            texture += _patches(radius, hu.shape, rng) * rng.uniform(0, 12)
        painted += shape * (contrast + texture)
        if rng.random() < WITH_RIM:
            painted += shape * (1 - shape) * 4 * rng.uniform(10, 40)
        label[(shape > 0.5) & liver] = LESION
    return painted.clip(0, 250), label


def _patches(radius: float, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Patches (H, W) a quarter of a lesion's radius wide, with a deviation of 1."""
    patches = ndimage.gaussian_filter(rng.normal(0, 1, shape), radius / 4)
    return patches / patches.std()


def _shape(center: tuple[int, int], radius: float, liver: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """How much each pixel (H, W) belongs to a lobulated lesion, 0 to 1, with soft edges."""
    y, x = np.mgrid[: liver.shape[0], : liver.shape[1]]
    angle, stretch = rng.uniform(0, np.pi), rng.uniform(0.7, 1.0)
    along = (y - center[0]) * np.cos(angle) + (x - center[1]) * np.sin(angle)
    across = (x - center[1]) * np.cos(angle) - (y - center[0]) * np.sin(angle)
    wobble = ndimage.gaussian_filter(rng.normal(0, 1, liver.shape), radius / 3 + 1)
    wobble *= 0.12 / max(wobble.std(), 1e-6)
    inside = np.hypot(along, across / stretch) / radius + wobble < 1
    return ndimage.gaussian_filter((inside & liver).astype(np.float32), rng.uniform(0.6, 1.4))
