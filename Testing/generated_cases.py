"""Small annotated CTs that a network learns within seconds: a body, a bright liver and a darker tumor in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from HLFDSegmentationLib.tasks import TASKS

TASK = replace(TASKS["liver-tumor"], input_size=(64, 64), spacing=5.0)
SIZE = 64
SPACING_MM = (5.0, 5.0, 8.0)


def blob_case(seed: int, slices: int = 6) -> tuple[sitk.Image, sitk.Image]:
    """A CT in HU and its label (1 liver, 2 tumor); the upper slices hold neither."""
    rng = np.random.default_rng(seed)
    z, y, x = np.mgrid[:slices, :SIZE, :SIZE]
    middle = SIZE / 2
    ct = np.full(z.shape, -1000.0)
    body = ((y - middle) / 22) ** 2 + ((x - middle) / 28) ** 2 < 1
    ct[body] = 30.0
    row, column = rng.uniform(-4, 4, 2)
    liver = (((y - middle - row) / 13) ** 2 + ((x - middle + 10 - column) / 12) ** 2 < 1) & (z < slices - 1)
    tumor = ((y - middle - row) ** 2 + (x - middle + 10 - column) ** 2 < 5**2) & (z > 0) & liver
    ct[liver] = 120.0
    ct[tumor] = 65.0
    ct[:, 0, :] = -90.0
    ct[body & ~liver & (np.abs(y - middle) > 17)] = -90.0
    ct += rng.normal(0, 8, ct.shape)
    label = liver.astype(np.uint8) + tumor
    images = [sitk.GetImageFromArray(ct.astype(np.int16)), sitk.GetImageFromArray(label.astype(np.uint8))]
    for image in images:
        image.SetSpacing(SPACING_MM)
    return images[0], images[1]


def write_cases(folder: Path, count: int, slices: int = 6) -> Path:
    """Cases in the layout NAME/ct.nii.gz, NAME/label.nii.gz."""
    for number in range(count):
        ct, label = blob_case(number, slices)
        case = folder / f"case{number}"
        case.mkdir(parents=True)
        sitk.WriteImage(ct, str(case / "ct.nii.gz"))
        sitk.WriteImage(label, str(case / "label.nii.gz"))
    return folder
