"""Public CT slices and painted CT as annotated cases on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from HLFDSegmentationLib.output.segmentation_files import write_image
from HLFDTrainingLib.annotations.layouts import LabelNames
from HLFDTrainingLib.cases import Case

# What the sources of the 8-bit slices were cut to is not recorded; this window puts fat, liver and kidney where they
# are in CT in HU.
WINDOW_HU = (0.0, 250.0)
# The liver slices come without spacing; a 400 mm field of view on 256 pixels is what such a CT usually has.
LIVER_SPACING_MM = 400 / 256
SLICE_MM = 5.0
# Numbers under which the liver slices seem to show one and the same person, seen while marking them.
SAME_PERSON = (frozenset({"patient10001", "patient10002"}), frozenset({"patient10084", "patient10095", "patient10106"}))


def read_slice(path: Path) -> tuple[np.ndarray, np.ndarray, float]:
    """An 8-bit slice: HU float32 and label uint8, both (H, W), and the pixel size in mm."""
    content = np.load(path)
    low, high = WINDOW_HU
    hu = content["image"].astype(np.float32) / 255 * (high - low) + low
    spacing = float(content["spacing"][0]) if "spacing" in content else LIVER_SPACING_MM
    return hu, content["label"].astype(np.uint8), spacing


def patient_of(path: Path) -> str:
    """Whose slice a file is: one name for each person, also for one who has several numbers."""
    number = path.stem.split("_")[0]
    return next((min(numbers) for numbers in SAME_PERSON if number in numbers), number)


def write_case(
    folder: Path,
    hu: np.ndarray,
    label: np.ndarray,
    spacing: Sequence[float],
    *,
    patient: str,
    labels: LabelNames,
    window: tuple[float, float] | None = None,
) -> Case:
    """Writes a CT and its label [z, y, x], with spacing in the same order."""
    case = Case(folder.name, patient, folder / "ct.nii.gz", folder / "label.nii.gz", labels, window)
    for path, array in ((case.ct, hu.round().astype(np.int16)), (case.label, label.astype(np.uint8))):
        image = sitk.GetImageFromArray(array)
        image.SetSpacing([float(step) for step in spacing[::-1]])
        write_image(image, path)
    return case


def write_slice(
    folder: Path, hu: np.ndarray, label: np.ndarray, spacing: float, patient: str, labels: LabelNames
) -> Case:
    """A single slice (H, W) as a case, cut to `WINDOW_HU`."""
    size = (SLICE_MM, spacing, spacing)
    hu = hu.clip(*WINDOW_HU)[None]
    return write_case(folder, hu, label[None], size, patient=patient, labels=labels, window=WINDOW_HU)
