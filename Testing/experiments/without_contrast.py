"""Slices as they might look without contrast medium, computed from enhanced ones: there are no others to learn from."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

KIDNEY_HU = (22.0, 40.0)
LIVER_HU = (40.0, 68.0)
TISSUE_HU = (35.0, 60.0)
NOISE_HU = (6.0, 18.0)
CONTRAST_LEFT = 0.25
BONE_HU = 190.0
EDGE_PX = 0.8
CUT_OFF_HU = 8.0


def without_contrast(hu: np.ndarray, liver: np.ndarray, kidneys: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A slice (H, W) in HU with liver and kidneys (H, W), bool, at unenhanced values, and all else hardly above muscle.

    What is darker than soft tissue stays, and so does compact bone. Inside of each tissue a quarter of its contrast is
    left.
    """
    smooth = ndimage.gaussian_filter(hu.astype(np.float32), 1.0)
    bone = ndimage.binary_opening(smooth > BONE_HU, iterations=1) & ~kidneys & ~liver
    tissue = rng.uniform(*TISSUE_HU)
    result = np.where(smooth > tissue, tissue + CONTRAST_LEFT / 2 * (smooth - tissue), smooth)
    for organ, (low, high) in ((liver, LIVER_HU), (kidneys, KIDNEY_HU)):
        if organ.any():
            level = rng.uniform(low, high)
            inside = level + CONTRAST_LEFT * (smooth - np.median(smooth[organ]))
            share = ndimage.gaussian_filter(organ.astype(np.float32), EDGE_PX)
            # At the border to fat the slice's own mixture of the two is kept.
            result += share * (np.where(smooth > level, inside, np.minimum(smooth, level)) - result)
    result = np.where(bone, hu, result)
    noise = ndimage.gaussian_filter(rng.normal(0, 1, hu.shape), 0.6) * 2 * rng.uniform(*NOISE_HU)
    # Fat and air were cut off below the window; so would be their noise.
    return result + noise * (smooth > CUT_OFF_HU)
