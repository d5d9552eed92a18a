"""What averaging over neighboring slices does to liver tumors in whole CTs: to those painted, and to all others.

    python Testing/experiments/lesions_in_volumes.py DATA

DATA is the folder with volumes. Balls are painted into the livers of its two contrast-enhanced CTs, where the model
finds the liver; each CT is then segmented slice by slice, and as users get it. docs/default_model.md tells the result.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from HLFDSegmentationLib import neighboring_slices
from HLFDSegmentationLib.inference import Segmenter
from HLFDSegmentationLib.model_store import find_package
from HLFDSegmentationLib.volumes import read_ct
from scipy import ndimage

CTS = ("totalseg_dicom20", "hcc_011_acq1")
MODEL = "abdomen-mobilenetv2-hlfd"
LIVER, LIVER_TUMOR = 1, 3
BALLS = 6
DIAMETERS_MM = (10, 15, 20, 30)
CONTRASTS_HU = (-50, -30, 40)
EDGE_MM = 1.5
APART_MM = 8.0
ATTEMPTS = 200
NEIGHBORS = np.ones((3, 3, 3), bool)
MEANS = {"slice by slice": 1e-6, "averaged": neighboring_slices.SIGMA_MM}


@contextmanager
def averaging(sigma_mm: float) -> Iterator[None]:
    """Segments meanwhile with another width of the mean."""
    usual, neighboring_slices.SIGMA_MM = neighboring_slices.SIGMA_MM, sigma_mm
    try:
        yield
    finally:
        neighboring_slices.SIGMA_MM = usual


def with_balls(
    ct: sitk.Image, liver: np.ndarray, diameter_mm: float, contrast_hu: float, rng: np.random.Generator
) -> tuple[sitk.Image, np.ndarray]:
    """The CT with up to `BALLS` balls that lie within the liver [z, y, x], and their numbers from 1 on [z, y, x]."""
    hu, spacing = sitk.GetArrayFromImage(ct).astype(np.float32), np.array(ct.GetSpacing()[::-1])
    balls, number = np.zeros(hu.shape, np.uint8), 0
    centers = np.argwhere(ndimage.distance_transform_edt(liver, sampling=spacing) > diameter_mm / 2 + 2)
    for center in rng.permutation(centers)[:ATTEMPTS]:
        offsets = (np.arange(size) - at for size, at in zip(hu.shape, center))
        squares = np.ix_(*((offset * mm) ** 2 for offset, mm in zip(offsets, spacing)))
        from_surface = np.sqrt(sum(squares)) - diameter_mm / 2
        if number < BALLS and not balls[from_surface < APART_MM].any():
            number += 1
            hu += contrast_hu * (0.5 - from_surface / EDGE_MM).clip(0, 1)
            balls[from_surface < 0] = number
    painted = sitk.GetImageFromArray(hu.round().astype(np.int16))
    painted.CopyInformation(ct)
    return painted, balls


def tumors(segmenter: Segmenter, ct: sitk.Image, sigma_mm: float) -> np.ndarray:
    """What is called liver tumor, bool [z, y, x]."""
    with averaging(sigma_mm):
        return sitk.GetArrayFromImage(segmenter.segment(ct).labels) == LIVER_TUMOR


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    arguments = parser.parse_args()
    segmenter = Segmenter(find_package(MODEL), "cpu")
    found: dict[tuple[int, str], list[bool]] = defaultdict(list)
    for name in CTS:
        ct = read_ct(arguments.data / "volumes" / name / "ct.nii.gz")
        for title, sigma_mm in MEANS.items():
            called = tumors(segmenter, ct, sigma_mm)
            ml = called.sum() * np.prod(ct.GetSpacing()) / 1000
            print(f"{name}, {title}: {ndimage.label(called, NEIGHBORS)[1]} places, {ml:.1f} mL", flush=True)
        liver = np.isin(sitk.GetArrayFromImage(segmenter.segment(ct).labels), (LIVER, LIVER_TUMOR))
        for diameter in DIAMETERS_MM:
            for kind, contrast in enumerate(CONTRASTS_HU):
                painted, balls = with_balls(ct, liver, diameter, contrast, np.random.default_rng([diameter, kind]))
                for title, sigma_mm in MEANS.items():
                    touched = set(balls[tumors(segmenter, painted, sigma_mm)])
                    found[diameter, title] += [number in touched for number in range(1, balls.max() + 1)]
    for (diameter, title), ones in found.items():
        print(f"{diameter} mm, {title}: {sum(ones)} of {len(ones)} found")


if __name__ == "__main__":
    main()
