"""Which painted tumors are found in whole CTs, and what averaging over neighboring slices does to liver tumors.

    python Testing/experiments/lesions_in_volumes.py DATA [--model NAME|FOLDER]

DATA is the folder with volumes. Balls are painted into the livers and onto the kidneys of its contrast-enhanced CTs,
where the model itself finds these organs. CTs with balls in the liver are segmented slice by slice, and as users
get it; those with balls on the kidneys as users get it. docs/default_model.md tells the result.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from HLFDSegmentationLib.ct_files import read_ct
from HLFDSegmentationLib.image_points import image_like
from HLFDSegmentationLib.inference import Segmenter
from HLFDSegmentationLib.model_store import find_package
from HLFDSegmentationLib.pieces import find_pieces
from HLFDSegmentationLib.segmenting import neighboring_slices
from scipy import ndimage

CTS = ("totalseg_dicom20", "hcc_011_acq1")
CT_WITH_KIDNEYS = "hcc_011_acq1"
LIVER, KIDNEY, LIVER_TUMOR, KIDNEY_TUMOR = 1, 2, 3, 4
BALLS = 6
DIAMETERS_MM = (10, 15, 20, 30)
CONTRASTS_HU = (-50, -30, 40)
KIDNEY_BALLS_MM = (15, 20, 30, 40)
# Darker than a kidney in the arterial phase, and not as dark as a cyst.
KIDNEY_BALLS_HU = (40, 70, 100)
KIDNEY_BALLS_NOISE_HU = 12.0
# Of a ball on a kidney, what must be kidney or fat, so that no other organ is painted over.
SHARE_OF_KIDNEY_AND_FAT = 0.85
FAT_HU = (-150, 0)
EDGE_MM = 1.5
APART_MM = 8.0
ATTEMPTS = 200
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
        from_surface = _from_surface(hu.shape, spacing, center, diameter_mm)
        if number < BALLS and not balls[from_surface < APART_MM].any():
            number += 1
            hu += contrast_hu * (0.5 - from_surface / EDGE_MM).clip(0, 1)
            balls[from_surface < 0] = number
    return _like(ct, hu), balls


def with_balls_on_kidneys(
    ct: sitk.Image, kidneys: np.ndarray, diameter_mm: float, level_hu: float, rng: np.random.Generator
) -> tuple[sitk.Image, np.ndarray]:
    """The CT with up to `BALLS` balls half in a kidney [z, y, x] and half in fat, and their numbers [z, y, x]."""
    hu, spacing = sitk.GetArrayFromImage(ct).astype(np.float32), np.array(ct.GetSpacing()[::-1])
    room = kidneys | ((hu > FAT_HU[0]) & (hu < FAT_HU[1]))
    balls, number = np.zeros(hu.shape, np.uint8), 0
    centers = np.argwhere(kidneys & ~ndimage.binary_erosion(kidneys))
    for center in rng.permutation(centers)[:ATTEMPTS]:
        from_surface = _from_surface(hu.shape, spacing, center, diameter_mm)
        inside = from_surface < 0
        free = not balls[from_surface < APART_MM].any()
        if number < BALLS and free and room[inside].mean() > SHARE_OF_KIDNEY_AND_FAT:
            number += 1
            share = (0.5 - from_surface / EDGE_MM).clip(0, 1)
            look = level_hu + rng.normal(0, KIDNEY_BALLS_NOISE_HU, hu.shape)
            hu += share * (look - hu)
            balls[inside] = number
    return _like(ct, hu), balls


def _from_surface(
    shape: Sequence[int], spacing: Sequence[float], center: Sequence[int], diameter_mm: float
) -> np.ndarray:
    """How far (mm, negative inside) each voxel [z, y, x] is from a ball's surface."""
    offsets = (np.arange(size) - at for size, at in zip(shape, center))
    return np.sqrt(sum(np.ix_(*((offset * mm) ** 2 for offset, mm in zip(offsets, spacing))))) - diameter_mm / 2


def _like(ct: sitk.Image, hu: np.ndarray) -> sitk.Image:
    """HU [z, y, x] where the CT lies."""
    return image_like(hu.round().astype(np.int16), ct)


def found_on_kidneys(segmenter: Segmenter, ct: sitk.Image, kidneys: np.ndarray) -> None:
    """Prints how many balls on the kidneys are touched by what is called kidney tumor, and how much of them that is."""
    for diameter in KIDNEY_BALLS_MM:
        shares = []
        for kind, level in enumerate(KIDNEY_BALLS_HU):
            painted, balls = with_balls_on_kidneys(
                ct, kidneys, diameter, level, np.random.default_rng([diameter, kind])
            )
            called = sitk.GetArrayFromImage(segmenter.segment(painted).labels) == KIDNEY_TUMOR
            shares += [called[balls == number].mean() for number in range(1, balls.max() + 1)]
        touched = sum(share > 0 for share in shares)
        print(f"{diameter} mm on a kidney: {touched} of {len(shares)} found, {np.mean(shares):.0%} of them", flush=True)


def tumors(segmenter: Segmenter, ct: sitk.Image, sigma_mm: float) -> np.ndarray:
    """What is called liver tumor, bool [z, y, x]."""
    with averaging(sigma_mm):
        return sitk.GetArrayFromImage(segmenter.segment(ct).labels) == LIVER_TUMOR


def found_in_livers(segmenter: Segmenter, cts: dict[str, sitk.Image], livers: dict[str, np.ndarray]) -> None:
    """Prints what is called liver tumor, and how many balls in the livers it touches, slice by slice and averaged."""
    found: dict[tuple[int, str], list[bool]] = defaultdict(list)
    for name, ct in cts.items():
        for title, sigma_mm in MEANS.items():
            called = tumors(segmenter, ct, sigma_mm)
            ml = called.sum() * np.prod(ct.GetSpacing()) / 1000
            print(f"{name}, {title}: {len(find_pieces(called)[1]) - 1} places, {ml:.1f} mL", flush=True)
        for diameter in DIAMETERS_MM:
            for kind, contrast in enumerate(CONTRASTS_HU):
                rng = np.random.default_rng([diameter, kind])
                painted, balls = with_balls(ct, livers[name], diameter, contrast, rng)
                for title, sigma_mm in MEANS.items():
                    touched = set(balls[tumors(segmenter, painted, sigma_mm)])
                    found[diameter, title] += [number in touched for number in range(1, balls.max() + 1)]
    for (diameter, title), ones in found.items():
        print(f"{diameter} mm in a liver, {title}: {sum(ones)} of {len(ones)} found")


def main() -> None:
    """Prints everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", help="the one that ships by default")
    arguments = parser.parse_args()
    segmenter = Segmenter(find_package(arguments.model), "cpu")
    cts = {name: read_ct(arguments.data / "volumes" / name / "ct.nii.gz") for name in CTS}
    organs = {name: sitk.GetArrayFromImage(segmenter.segment(ct).labels) for name, ct in cts.items()}
    kidneys = np.isin(organs[CT_WITH_KIDNEYS], (KIDNEY, KIDNEY_TUMOR))
    found_on_kidneys(segmenter, cts[CT_WITH_KIDNEYS], kidneys)
    livers = {name: np.isin(labels, (LIVER, LIVER_TUMOR)) for name, labels in organs.items()}
    found_in_livers(segmenter, cts, livers)


if __name__ == "__main__":
    main()
