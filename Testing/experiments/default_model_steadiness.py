"""How far the result of a model changes with what changes between scanners, and not in the patient.

    python Testing/experiments/default_model_steadiness.py DATA [--model NAME|FOLDER]

DATA is the folder with `volumes`. Each CT is segmented as it is and after each change; printed are the Dice of liver
and kidneys, with their tumors, between the two results, and the tumors' volumes. No annotation takes part: a result
that stays the same may be wrong.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from default_model_figures import KIDNEY_TUMOR, KIDNEYS, LIVER, dice_of_masks
from HLFDSegmentationLib.ct_files import read_ct
from HLFDSegmentationLib.image_points import image_like
from HLFDSegmentationLib.inference import Segmenter
from HLFDSegmentationLib.model_store import find_package
from scipy import ndimage

LIVER_TUMOR = 3
AIR_HU = -900
GRAIN_MM = 0.6
SEED = 1

Change = Callable[[np.ndarray, tuple[float, ...]], np.ndarray]


def blurred(hu: np.ndarray, spacing: tuple[float, ...], mm: float) -> np.ndarray:
    """A CT (z, y, x) smoothed within its slices by a Gaussian of this width."""
    return ndimage.gaussian_filter(hu, (0, mm / spacing[1], mm / spacing[0]))


def noisy(hu: np.ndarray, spacing: tuple[float, ...], noise_hu: float) -> np.ndarray:
    """A CT with grained noise of this standard deviation."""
    noise = blurred(np.random.default_rng(SEED).normal(size=hu.shape).astype(np.float32), spacing, GRAIN_MM)
    return hu + noise * (noise_hu / noise.std())


CHANGES: dict[str, Change] = {
    "noise of 15 HU": lambda hu, spacing: noisy(hu, spacing, 15),
    "noise of 30 HU": lambda hu, spacing: noisy(hu, spacing, 30),
    "noise of 50 HU": lambda hu, spacing: noisy(hu, spacing, 50),
    "smoothed by 1 mm": lambda hu, spacing: blurred(hu, spacing, 1.0),
    "smoothed by 1.5 mm": lambda hu, spacing: blurred(hu, spacing, 1.5),
    "sharpened": lambda hu, spacing: hu + 1.5 * (hu - blurred(hu, spacing, 0.7)),
    "20 HU darker": lambda hu, spacing: np.where(hu > AIR_HU, hu - 20, hu),
    "20 HU brighter": lambda hu, spacing: np.where(hu > AIR_HU, hu + 20, hu),
}


def print_changes(segmenter: Segmenter, ct: sitk.Image, name: str) -> None:
    """Prints a line for each change of a CT."""
    spacing, hu = ct.GetSpacing(), sitk.GetArrayFromImage(ct).astype(np.float32)
    before = sitk.GetArrayFromImage(segmenter.segment(ct).labels)
    print(f"{name}, as it is: {tumors(before, spacing)}")
    for title, change in CHANGES.items():
        changed = image_like(change(hu, spacing).clip(-1024, 3071).round().astype(np.int16), ct)
        found = sitk.GetArrayFromImage(segmenter.segment(changed).labels)
        same = [
            f"{organ} {dice_of_masks(np.isin(found, values), np.isin(before, values)):.3f}"
            for organ, values in (("liver", LIVER), ("kidneys", KIDNEYS))
            if np.isin(before, values).any()
        ]
        print(f"{name}, {title}: {', '.join(same)}; {tumors(found, spacing)}", flush=True)


def tumors(labels: np.ndarray, spacing: tuple[float, ...]) -> str:
    """The volumes of the tumors, in words."""
    liver, kidney = (
        np.count_nonzero(labels == tumor) * np.prod(spacing) / 1000 for tumor in (LIVER_TUMOR, KIDNEY_TUMOR)
    )
    return f"liver tumor {liver:.1f} mL, kidney tumor {kidney:.1f} mL"


def main() -> None:
    """Prints everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", help="the one that ships by default")
    arguments = parser.parse_args()
    segmenter = Segmenter(find_package(arguments.model), "cpu")
    for path in sorted((arguments.data / "volumes").glob("*/ct.nii.gz")):
        print_changes(segmenter, read_ct(path), path.parent.name)


if __name__ == "__main__":
    main()
