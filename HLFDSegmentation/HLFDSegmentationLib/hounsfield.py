"""Do the values of an image look like Hounsfield units?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import SimpleITK as sitk

MODALITY = "0008|0060"
"""The DICOM tag, as SimpleITK has it among an image's metadata."""

DRAWN_HU = (-150.0, 250.0)
"""A CT is drawn from black to white between these, so that soft tissue can be told apart."""

# Fat lies in the first range, muscle, organs and blood with or without contrast medium in the second (HU). The range
# between lung and fat is nearly empty in a CT, and full in an image that only happens to reach that far.
FAT = (-200, -20)
SOFT_TISSUE = (-20, 250)
BETWEEN = (-650, -200)
# Of fat alone, and of what lies between it and soft tissue.
FAT_PEAK = (-150, -60)
FAT_TO_SOFT_TISSUE = (-60, -20)
AIR = (-1100, -700)
INVERTED_AIR = (700, 1100)

MIN_FAT = 0.003
MIN_SOFT_TISSUE = 0.01
MIN_FAT_PEAK = 1.5
"""Times what lies between fat and soft tissue."""

HEAPS = range(-220, 261, 40)
"""Edges between which values are counted, to see where most of them lie."""
# Bone and metal fill less of any CT.
MIN_INVERTED_AIR = 0.1

# Raw CT values are usually stored as HU + 1024. They are HU - 1024 where it was taken off twice.
SHIFTS = {1024: "1024 must be subtracted from them", -1024: "1024 must be added to them"}
# Where most of a CT lies: air, fat, and muscle, organs and blood. They tell how far it is shifted; fat and soft tissue
# alone do not, as lung, noise and bone may lie in their place.
PEAKS = ((-1050, -900), (-130, -60), (0, 120))
TRIED_SHIFTS = np.arange(-1600, 1601, 20)
ABOUT = 60

# Where HU were multiplied, air, fat and soft tissue still lie at 10 : 1 : -0.5. Of three real CTs that were scaled, 0.3
# or more of the values lie near air, none beyond it, and 0.89 of the body where fat and soft tissue are. Where a CT was
# cut to a window, noise and resampling make such a peak of the window's edge, but 0.85 or less lie there.
TRIED_AIR = np.geomspace(20.0, 60000.0, 400)
NEAR = 1.08
BEYOND = 1.1
MIN_NEAR_AIR = 0.1
MAX_BEYOND_AIR = 0.02
# What pads a CT may lie at such values, too, but its air is there beside it. From this factor on, fat lies there.
MAX_AIR_BESIDE = 0.25
FAT_AT_AIR = 3.0
BODY = (-150, 200)
MIN_BODY = 0.85
SCALED_FAT = (-135, -60)
SCALED_SOFT_TISSUE = (-10, 115)
# Lungs and bowel have their peak in this range, too, and nothing tells them from air that is scaled by so little.
AIR_OR_LUNG = (-1100.0, -760.0)
# Between these, `hounsfield_offset` tells it beside the result.
SURELY_SCALED = (0.6, 1.4)

INT8 = (-128.0, 127.0)

MOST_LABELS = 20

ADVICE = "Give the CT in HU, where air is about -1000, fat -100 and water 0."

FEW_VOXELS = 1000
SAMPLES_AN_AXIS = 128


def hu_problem(ct: sitk.Image) -> str | None:
    """A sentence why an image does not look like CT in HU, or nothing where it does; see `voxels_problem`."""
    # Here, because Slicer looks at values and does not want to wait for it.
    import SimpleITK as sitk

    if ct.HasMetaDataKey(MODALITY) and ct.GetMetaData(MODALITY) not in ("CT", ""):
        return f"The DICOM files say that this is {ct.GetMetaData(MODALITY)}, not CT. Give a CT."
    return voxels_problem(sitk.GetArrayViewFromImage(ct))


def voxels_problem(voxels: np.ndarray) -> str | None:
    """A sentence why values (Z, Y, X) do not look like HU, or nothing where they do.

    A CT shows fat and soft tissue at their HU, whatever is cropped away or padded around; MR, photographs and scaled
    images have no negative values there. A few voxels are too few to tell and pass.
    """
    if voxels.size < FEW_VOXELS:
        return None
    low, high = float(voxels.min()), float(voxels.max())
    if (low, high) == INT8:
        return f"{_range(low, high)}, all that 8 bits can tell, and HU do not fit into them. {ADVICE}"
    sample = sample_of(voxels)
    # Fat and soft tissue of the opposite sign stand in for each other.
    if _reaches_tissue(sample) and _share(sample, INVERTED_AIR) > max(MIN_INVERTED_AIR, _share(sample, AIR)):
        return (
            "The values look like HU of the opposite sign, with air at about 1000, or like MR. "
            "Give the CT with air at -1000."
        )
    if (factor := scale_factor(sample)) and not SURELY_SCALED[0] <= factor <= SURELY_SCALED[1]:
        return (
            f"The values look like HU that were multiplied by about {factor:.2g}: air lies at {-1000 * factor:.0f} in "
            f"place of -1000. {ADVICE}"
        )
    if _has_tissue(sample):
        return None
    if any(_has_tissue(sample - shift) for shift in SHIFTS):
        return _shifted(sample) or _tissue_elsewhere(low, high)
    # A phantom has no fat.
    if _share(sample, AIR) > MIN_SOFT_TISSUE and _share(sample, SOFT_TISSUE) > MIN_SOFT_TISSUE:
        return None
    if _looks_like_labels(voxels):
        return "The values are few whole numbers from 0 on, like a label map. Give the CT that it was drawn on."
    return _what_it_looks_like(low, high)


def sample_of(voxels: np.ndarray) -> np.ndarray:
    """Some of the values (Z, Y, X), evenly, which tell as much as all."""
    steps = tuple(slice(None, None, -(-size // SAMPLES_AN_AXIS)) for size in voxels.shape)
    return np.asarray(voxels[steps], dtype=np.float32)


def scale_factor(sample: np.ndarray) -> float | None:
    """What HU were multiplied with to become these values; none where they are HU, or where that cannot be told.

    Only a CT with a lot of the air around the patient tells it.
    """
    inner = sample[sample > sample.min()]  # what is padded or cut off lies at the lowest value
    depths = np.sort(-inner[inner < 0])
    near = np.searchsorted(depths, TRIED_AIR * NEAR) - np.searchsorted(depths, TRIED_AIR / NEAR)
    if near.max() < MIN_NEAR_AIR * inner.size or not near.any():
        return None
    tried = TRIED_AIR[near.argmax()]
    air = float(np.median(depths[(depths > tried / NEAR) & (depths < tried * NEAR)]))
    beyond = np.count_nonzero(depths > BEYOND * air)
    if AIR_OR_LUNG[0] <= -air <= AIR_OR_LUNG[1] or beyond > MAX_BEYOND_AIR * near.max():
        return None
    factor = air / 1000
    if 1 < factor < FAT_AT_AIR and _share(inner, PEAKS[0]) * inner.size > MAX_AIR_BESIDE * near.max():
        return None
    hu = inner[inner > -air / 2] / factor
    body = hu.size and _share(hu, BODY) >= MIN_BODY
    fat_and_soft_tissue = (
        body
        and SCALED_FAT[0] < _fullest(hu, FAT) < SCALED_FAT[1]
        and SCALED_SOFT_TISSUE[0] < _fullest(hu, SOFT_TISSUE) < SCALED_SOFT_TISSUE[1]
    )
    return factor if fat_and_soft_tissue else None


def _fullest(values: np.ndarray, limits: tuple[int, int]) -> float:
    """The middle of the ten units, within limits, that hold most of the values."""
    counts, edges = np.histogram(values, np.arange(limits[0], limits[1] + 1, 10))
    return float(edges[counts.argmax()]) + 5


def _share(values: np.ndarray, limits: tuple[int, int]) -> float:
    return float(np.mean((values >= limits[0]) & (values < limits[1])))


def _reaches_tissue(values: np.ndarray) -> bool:
    fat, soft_tissue = _share(values, FAT), _share(values, SOFT_TISSUE)
    return fat >= MIN_FAT and soft_tissue >= MIN_SOFT_TISSUE and fat + soft_tissue > _share(values, BETWEEN)


def _has_tissue(values: np.ndarray) -> bool:
    # Fat has a peak. What resampling and noise make of an MR's zeros falls off from 0, and reaches to fat as well. A CT
    # that was cropped or cut to a window may show no peak of fat, but most of it is not at 0.
    fat_peak = _share(values, FAT_PEAK) > MIN_FAT_PEAK * _share(values, FAT_TO_SOFT_TISSUE)
    return _reaches_tissue(values) and (fat_peak or not _most_are_about_zero(values))


def _most_are_about_zero(values: np.ndarray) -> bool:
    counts, _edges = np.histogram(values, HEAPS)
    fullest = HEAPS[int(counts.argmax())]
    return fullest < 0 <= fullest + HEAPS.step


def _shifted(values: np.ndarray) -> str | None:
    likely = _likely_shift(values)
    for shift, remedy in SHIFTS.items():
        if abs(likely - shift) <= ABOUT:
            return (
                f"The values look like HU that are shifted by about {shift}: {remedy}. "
                "Export the CT with its rescale intercept applied."
            )
    return None


def _likely_shift(values: np.ndarray) -> int:
    """By how much the values are shifted against HU if they are a CT's."""
    # What is padded or cut off lies at the lowest and the highest value, and tells nothing.
    inner = np.sort(values[(values > values.min()) & (values < values.max())])
    at_peaks = sum(
        np.searchsorted(inner, TRIED_SHIFTS + high) - np.searchsorted(inner, TRIED_SHIFTS + low) for low, high in PEAKS
    )
    return int(TRIED_SHIFTS[np.argmax(at_peaks)])


def _looks_like_labels(voxels: np.ndarray) -> bool:
    return voxels.min() == 0 and voxels.max() <= MOST_LABELS and not np.any(voxels % 1)


def _what_it_looks_like(low: float, high: float) -> str:
    if low >= 0 and high <= 255:
        return f"{_range(low, high)}, like a picture or a CT that was cut to a window, not like HU. {ADVICE}"
    if low >= 0:
        return (
            f"{_range(low, high)}: without negative values they are not HU, but look like MR or another modality. "
            f"{ADVICE}"
        )
    return _tissue_elsewhere(low, high)


def _tissue_elsewhere(low: float, high: float) -> str:
    return f"{_range(low, high)}, but fat and soft tissue are not where they lie in HU. {ADVICE}"


def _range(low: float, high: float) -> str:
    return f"The values go from {low:g} to {high:g}"
