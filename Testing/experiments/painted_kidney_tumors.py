"""Tumors and cysts painted into real kidneys: real slices with an outlined kidney tumor are few.

    hu, label = with_kidney_tumor(hu, kidneys, forbidden, spacing, rng)

A tumor grows at the edge of a kidney, more or less out of it, over fat, bowel and vessels. Nothing measured on such
tumors says how well a network finds real ones.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from painted_metastases import lobulated, soft_edge
from scipy import ndimage

KIDNEY, TUMOR = 1, 2
SMALLEST_KIDNEY_MM2 = 500.0
SMALLEST_MM, LARGEST_MM = 6.0, 45.0
SMALLEST_CYST_MM, LARGEST_CYST_MM = 4.0, 20.0
WITH_CYST = 0.3
LIKE_KIDNEY = 0.25
BONE_HU = 200.0
TISSUE_HU = (20.0, 200.0)
WALL_MM = 15.0
# More of a tumor than this must lie where it may grow, or another place is tried.
LEAST_SHARE = 0.6
ATTEMPTS = 20


def with_kidney_tumor(
    hu: np.ndarray, kidneys: np.ndarray, forbidden: np.ndarray, spacing: float, rng: Generator
) -> tuple[np.ndarray, np.ndarray] | None:
    """A slice with a tumor, at times also a cyst, at one of its kidneys; None where there is no place for one.

    Args:
        hu: the slice (H, W), cut to 0 to 250 HU.
        kidneys: where they are (H, W), bool.
        forbidden: other organs (H, W), bool, into which nothing is painted.
        spacing: pixel size in mm.
        rng: draws place, size and look.

    Returns:
        The slice (H, W), and its label (H, W): 1 kidney with its cysts, 2 tumor.
    """
    kidney = _one_of(kidneys, spacing, rng)
    if kidney is None:
        return None
    painted, label = hu.astype(np.float32), np.where(kidneys, KIDNEY, 0).astype(np.uint8)
    allowed = _interior(hu, spacing) & ~forbidden & (~kidneys | kidney) & ~_bone(hu, kidneys)
    level, noise = float(np.median(hu[kidney])), _noise(hu)
    if rng.random() < WITH_CYST:
        depth, _ = _mass(kidney, allowed, (SMALLEST_CYST_MM, LARGEST_CYST_MM), 0.02, spacing, rng)
        if depth is not None:
            painted = _mixed(painted, rng.uniform(-10, 22), depth, allowed, noise, rng)
            label[(depth > 0) & allowed] = KIDNEY
    depth, radius = _mass(kidney, allowed, (SMALLEST_MM, LARGEST_MM), 0.14, spacing, rng)
    if depth is None:
        return None
    painted = _mixed(painted, _tumor(depth, radius, level, spacing, rng), depth, allowed, noise, rng)
    label[(depth > 0) & allowed] = TUMOR
    return painted.clip(0, 250), label


def _one_of(kidneys: np.ndarray, spacing: float, rng: Generator) -> np.ndarray | None:
    """One of the kidneys that are cut through well (H, W)."""
    pieces, number = ndimage.label(kidneys)
    large = [i for i in range(1, number + 1) if (pieces == i).sum() * spacing**2 >= SMALLEST_KIDNEY_MM2]
    return pieces == rng.choice(large) if large else None


def _interior(hu: np.ndarray, spacing: float) -> np.ndarray:
    """The body without its wall (H, W)."""
    closed = ndimage.binary_closing(np.pad(hu > 5, 20), iterations=12)[20:-20, 20:-20]
    pieces, _ = ndimage.label(ndimage.binary_opening(ndimage.binary_fill_holes(closed), iterations=3))
    body = pieces == np.bincount(pieces[pieces > 0], minlength=2).argmax()
    return ndimage.distance_transform_edt(body) * spacing > WALL_MM


def _bone(hu: np.ndarray, kidneys: np.ndarray) -> np.ndarray:
    """Compact bone with what it encloses, and a little around it (H, W)."""
    bright = ndimage.binary_opening((ndimage.gaussian_filter(hu.astype(np.float32), 1) > BONE_HU) & ~kidneys)
    return ndimage.binary_fill_holes(ndimage.binary_dilation(bright, iterations=3)) & ~kidneys


def _mass(
    kidney: np.ndarray,
    allowed: np.ndarray,
    radii: tuple[float, float],
    wobble: float,
    spacing: float,
    rng: Generator,
) -> tuple[np.ndarray | None, float]:
    """How deep (mm) each pixel lies in a mass at the kidney's edge, and its radius (mm); None where it has no place."""
    outside = ndimage.distance_transform_edt(~kidney) - ndimage.distance_transform_edt(kidney)
    away = np.stack(np.gradient(ndimage.gaussian_filter(outside, 2)))
    edge = np.argwhere(np.abs(outside) <= 1)
    for _ in range(ATTEMPTS):
        radius = float(np.exp(rng.uniform(*np.log(radii))))
        row, column = edge[rng.integers(len(edge))]
        direction = away[:, row, column] / max(float(np.hypot(*away[:, row, column])), 1e-3)
        center = np.array([row, column]) + direction * rng.uniform(-0.7, 0.6) * radius / spacing
        depth = lobulated(tuple(center), radius, kidney.shape, spacing, rng, wobble)
        inside = depth > 0
        reaches = (inside & kidney).sum() * spacing**2 > 0.15 * np.pi * min(radius, 15) ** 2
        if reaches and (inside & allowed).sum() > LEAST_SHARE * inside.sum():
            return depth, radius
    return None, 0.0


def _tumor(depth: np.ndarray, radius: float, level: float, spacing: float, rng: Generator) -> np.ndarray:
    """HU (H, W) of a tumor without noise: even or mottled, at times with a rim, larger ones often with necrosis."""
    solid = level * rng.uniform(0.8, 1.1) if rng.random() < LIKE_KIDNEY else rng.uniform(25, max(0.8 * level, 40))
    hu = solid + _mottle(depth.shape, rng.uniform(2, 6) / spacing, rng) * rng.uniform(2, 16)
    if rng.random() < 0.3:
        hu += soft_edge(rng.uniform(1.5, 5) - depth, 2) * rng.uniform(-15, 40)
    if rng.random() < min(radius / 40, 0.7):
        uneven = depth + _mottle(depth.shape, radius / 4 / spacing, rng) * radius * rng.uniform(0.05, 0.3)
        hu += soft_edge(uneven - radius * rng.uniform(0.2, 0.7), rng.uniform(2, 8)) * (rng.uniform(5, 35) - hu)
    return hu


def _mixed(
    hu: np.ndarray, look: np.ndarray | float, depth: np.ndarray, allowed: np.ndarray, noise: float, rng: Generator
) -> np.ndarray:
    """The slice (H, W) with what is painted, with a soft edge and the slice's own deviation of noise."""
    grain = _fine(ndimage.gaussian_filter(rng.normal(0, 1, hu.shape), 0.5))
    share = soft_edge(depth, rng.uniform(1.5, 4)) * ndimage.gaussian_filter(allowed.astype(np.float32), 0.7)
    return hu + share * (look + grain / grain.std() * noise - hu)


def _noise(hu: np.ndarray) -> float:
    """Deviation (HU) of what is finer than organs, from its median, which the edges of organs hardly change."""
    return float(np.median(np.abs(_fine(hu)[(hu > TISSUE_HU[0]) & (hu < TISSUE_HU[1])]))) * 1.4826


def _fine(hu: np.ndarray) -> np.ndarray:
    """What is finer than about two pixels (H, W)."""
    return hu - ndimage.gaussian_filter(hu.astype(np.float32), 1)


def _mottle(shape: tuple[int, ...], width_px: float, rng: Generator) -> np.ndarray:
    """Patches (H, W) of this width, with a deviation of 1."""
    patches = ndimage.gaussian_filter(rng.normal(0, 1, shape), max(width_px, 0.5))
    return patches / patches.std()
