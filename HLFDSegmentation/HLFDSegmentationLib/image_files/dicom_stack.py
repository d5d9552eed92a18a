"""Whether DICOM slices are one stack: in order, evenly spaced, and without gaps between them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import InputError
from .dicom_slice import RESCALE_INTERCEPT, RESCALE_SLOPE, SLICE_THICKNESS, DicomSlice

EVENNESS = 0.2
"""A slice may lie this share of the slice distance away from its place in an even row."""

GAP = 1.5
"""Slices that are farther apart than so many times their thickness leave out what lies between them."""


def in_order(slices: list[DicomSlice], folder: Path) -> list[DicomSlice]:
    """The slices of a series from the first to the last along their normal; InputError where they are no even stack."""
    first = slices[0]
    for one in slices:
        same = one.size == first.size and np.allclose(one.spacing, first.spacing, rtol=1e-3)
        if not same or not np.allclose(one.direction, first.direction, atol=1e-3):
            raise InputError(
                f"The DICOM series in {folder} mixes images of different size or direction, such as a scout view "
                f"beside the slices ({first.path.name}, {one.path.name}). Keep the axial slices only."
            )
    normal = first.direction[:, 2]
    slices = along_normal(slices)
    origins = np.array([one.origin for one in slices])
    positions = origins @ normal
    steps = np.diff(positions)
    step = float(np.median(steps))
    nearest = int(np.argmin(steps))
    if steps[nearest] < 0.01:
        raise InputError(
            f"The DICOM series in {folder} has two images at the same position ({slices[nearest].path.name}, "
            f"{slices[nearest + 1].path.name}), as when two contrast phases are mixed. Keep one of them."
        )
    unevenness = np.abs(positions - np.linspace(positions[0], positions[-1], len(positions))).max()
    if unevenness > EVENNESS * step:
        widest = int(np.argmax(np.abs(steps - step)))
        raise InputError(
            f"The slices in {folder} are not evenly spaced: {steps[widest]:.2f} mm lie between "
            f"{slices[widest].path.name} and {slices[widest + 1].path.name}, "
            f"{step:.2f} mm between most others. "
            "Slices are missing or were taken at another distance: export the whole series again."
        )
    sideways = origins - origins[0] - np.outer(positions - positions[0], normal)
    shift = float(np.abs(sideways).max())
    if shift > max(first.spacing):
        raise InputError(
            f"The slices in {folder} are shifted against each other by up to {shift:.1f} mm, as with a tilted gantry. "
            "Load the series in 3D Slicer, which puts it under a transform that corrects this, harden the transform, "
            "and give the volume saved then."
        )
    return slices


def along_normal(slices: list[DicomSlice]) -> list[DicomSlice]:
    """Slices sorted along the normal of the first one."""
    normal = slices[0].direction[:, 2]
    return sorted(slices, key=lambda one: float(one.origin @ normal))


def check_rescale(slices: list[DicomSlice], folder: Path) -> None:
    """Raises InputError where some files say how their values become HU and others do not."""
    for key, name in ((RESCALE_INTERCEPT, "intercept"), (RESCALE_SLOPE, "slope")):
        telling = [one.path.name for one in slices if one.entries[key]]
        silent = [one.path.name for one in slices if not one.entries[key]]
        if telling and silent:
            raise InputError(
                f"In {folder} some files tell the rescale {name}, which makes HU of their values ({telling[0]}), and "
                f"others do not ({silent[0]}). The HU of those could be wrong by a thousand: export the whole series "
                "again from its source."
            )


def gap_doubts(slices: list[DicomSlice], step: float) -> list[str]:
    """About slices that are so many mm apart and, as all of their files tell, much thinner than that."""
    try:
        thickness = max(float(one.entries[SLICE_THICKNESS]) for one in slices)
    except ValueError:
        return []
    if not 0 < GAP * thickness < step:
        return []
    return [
        f"The CT's slices are {thickness:.3g} mm thick and {step:.3g} mm apart: it does not show what lies between "
        "them. Volumes are rough then, and small lesions can be missed. Give a series without gaps, if there is one."
    ]
