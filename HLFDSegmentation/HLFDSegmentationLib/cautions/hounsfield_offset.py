"""Are a CT's values shifted by some ten HU, scaled, cut to a window, or padded with what is taken for tissue?

What is taken for tumor depends on less than that.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

from ..hounsfield import SURELY_SCALED, sample_of, scale_factor

AIR_HU = -1000.0
FAT_HU = -100.0
BIN_HU = 5.0
SMOOTHED_BINS = 2.0

# Where the peaks of air and fat are looked for.
AIR = (-1300.0, -700.0)
FAT = (-200.0, 0.0)

# Lungs and bowel have a broad range in place of a peak. The air around a patient fills more of a CT, at one value.
MIN_AIR = 0.1
NEAR_PEAK_HU = 30.0
MIN_NEAR_PEAK = 0.4

# Measured: -998 (with noise of 30 HU more -1012 to -988), and fat of -102 to -78. Fat alone cannot tell: muscle takes
# its place in lean patients and in noise.
MAX_AIR_OFFSET = 35.0
FAT_TOO_HIGH = -65.0
FAT_TOO_LOW = -130.0

# The most that 12 bits hold. Metal, and no bone, reaches it, and has 0.001 of a CT or less; two hips of metal have some
# 0.01 of a short one.
HIGHEST_HU = 3071.0
MAX_HIGHEST = 0.02

# Of three real CTs, 0.0001 or less lie at the highest value or, of parts without air, at the lowest one. 0.01 or more
# lie above 290 HU, and heap up where a CT is cut there; of parts without bone less does, which may not be found.
MIN_AT_END = 0.003
AT_END_HU = 0.5
BESIDE_END_HU = 5.5
END_TOLERANCE_HU = 1.0


def offset_cautions(voxels: np.ndarray) -> list[str]:
    """About values (Z, Y, X) in HU that a conversion has changed; the first of what was found.

    They are scaled, many are higher than those of metal, or air and fat both lie too high, or both too low. In a CT
    that shows little of the air around the patient only the second is found.
    """
    sample = sample_of(voxels)
    if factor := scale_factor(sample):
        return _scale_cautions(factor)
    return _padding_cautions(sample) or _shift_cautions(sample)


def window_cautions(voxels: np.ndarray, window: tuple[float, float]) -> list[str]:
    """About values (Z, Y, X) that were cut to fewer HU than a window of a task, (lowest, highest), shows."""
    sample = sample_of(voxels)
    lowest, highest = float(voxels.min()), float(voxels.max())
    low, high = max(window[0], AIR_HU), window[1]  # Nothing in a body has less than air.
    below = lowest > low + END_TOLERANCE_HU and _is_cut(sample - lowest)
    above = highest < high - END_TOLERANCE_HU and _is_cut(highest - sample)
    if lowest == highest or not (below or above):
        return []
    return [
        f"The CT looks cut to {lowest:g} to {highest:g} HU, and the model distinguishes {window[0]:g} to {window[1]:g} "
        "HU: what lies beyond looks the same to it, so that it may take one for another, and miss tumors. Give the CT "
        "as the scanner stored it."
    ]


def _is_cut(from_end: np.ndarray) -> bool:
    """Whether values, by how far they are from the lowest or highest one, heap up there."""
    at_end, with_beside = (float(np.mean(from_end < limit)) for limit in (AT_END_HU, BESIDE_END_HU))
    return at_end > max(MIN_AT_END, with_beside - at_end)


def _scale_cautions(factor: float) -> list[str]:
    if not SURELY_SCALED[0] <= factor <= SURELY_SCALED[1]:
        return []  # `hounsfield.voxels_problem` tells that it is no HU
    return [
        f"The CT's values look scaled, by about {factor:.2g}: air lies at {-1000 * factor:.0f} HU in place of -1000, "
        "and fat and organs are off as much. Do not rely on anything of this result. Give the CT as the scanner stored "
        "it: a conversion has changed its values."
    ]


def _padding_cautions(sample: np.ndarray) -> list[str]:
    highest = sample[sample >= HIGHEST_HU]
    if highest.size < MAX_HIGHEST * sample.size:
        return []
    share, middle = highest.size / sample.size, np.median(highest)
    return [
        f"{share:.0%} of the CT's voxels have {HIGHEST_HU:.0f} HU or more ({middle:.0f} by the median), and metal in a "
        "patient fills less. They may be what pads the CT, after its value lost its sign, and are taken for tissue "
        "here. Set them to the value of air, -1024 HU, or export the CT again."
    ]


def _shift_cautions(sample: np.ndarray) -> list[str]:
    inner = sample[sample > sample.min()]  # what is padded or cut off lies at the lowest value
    air, fat = _peak(inner, AIR), _peak(inner, FAT)
    if air is None or fat is None or not _is_around_patient(inner, air):
        return []
    if air > AIR_HU + MAX_AIR_OFFSET and fat > FAT_TOO_HIGH:
        direction = "high"
    elif air < AIR_HU - MAX_AIR_OFFSET and fat < FAT_TOO_LOW:
        direction = "low"
    else:
        return []
    return [
        f"The CT's values seem to be too {direction}, by about {abs(air - AIR_HU):.0f} HU: air lies at {air:.0f} HU in "
        f"place of {AIR_HU:.0f}, fat at {fat:.0f} in place of about {FAT_HU:.0f}. Tumors differ from their organ by "
        "less, so nothing here may be right. Give the CT as the scanner stored it: a conversion has changed its values."
    ]


def _peak(values: np.ndarray, limits: tuple[float, float]) -> float | None:
    """The most frequent value within limits; none where there are no values."""
    counts, edges = np.histogram(values, np.arange(limits[0], limits[1] + BIN_HU, BIN_HU))
    if not counts.any():
        return None
    smooth = gaussian_filter1d(counts.astype(float), SMOOTHED_BINS)
    return float(edges[smooth.argmax()] + BIN_HU / 2)


def _is_around_patient(values: np.ndarray, peak: float) -> bool:
    air = values[(values >= AIR[0]) & (values < AIR[1])]
    return air.size > MIN_AIR * values.size and float(np.mean(np.abs(air - peak) < NEAR_PEAK_HU)) > MIN_NEAR_PEAK
