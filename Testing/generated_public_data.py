"""Public data sets in small, with generated content: what the experiments and the default model are made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

KIDNEY, TUMOR, CYST = 1, 2, 3
PATIENTS = 6


def ellipse(shape: tuple[int, ...], center: tuple[float, ...], radii: tuple[float, ...]) -> np.ndarray:
    """Whether each pixel or voxel lies inside."""
    grid = np.ogrid[tuple(slice(0, length) for length in shape)]
    return sum(((axis - middle) / radius) ** 2 for axis, middle, radius in zip(grid, center, radii)) < 1


def label_volume() -> np.ndarray:
    """Two kidneys, one with a tumor and a cyst: [z, y, x], voxels of 5 x 1.6 x 1.6 mm, to superior, posterior, left."""
    shape = (30, 256, 256)
    label = np.zeros(shape, np.uint8)
    for x in (88, 168):
        label[ellipse(shape, (15, 140, x), (9, 16, 12))] = KIDNEY
    label[ellipse(shape, (15, 124, 90), (5, 12, 14))] = TUMOR
    label[ellipse(shape, (12, 150, 172), (3, 8, 8))] = CYST
    return label


def write_label_volume(path: Path) -> None:
    """In the grid of KiTS: the file's first axis goes from superior to inferior."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(label_volume()[::-1].transpose(2, 1, 0)))
    image.SetSpacing((5.0, 1.6, 1.6))
    image.SetDirection((0, 0, 1, 0, 1, 0, -1, 0, 0))
    sitk.WriteImage(image, str(path))


def write_public_data(folder: Path) -> None:
    """The slices and label maps of six patients, in the folders and files of the data sets."""
    for name in ("msd_liver_slices", "kits19_slices", "kits23_labels"):
        (folder / name).mkdir()
    rng = np.random.default_rng(0)
    for patient in range(PATIENTS):
        for z in (40, 50):
            liver = ellipse((256, 256), (120, 90), (50 + patient, 45))
            image = np.where(liver, 110, np.where(ellipse((256, 256), (128, 128), (80, 110)), 40, 0))
            image = (image + rng.normal(0, 6, image.shape)).clip(0, 255).astype(np.uint8)
            np.savez(folder / f"msd_liver_slices/patient{patient:05}_z{z:03}.npz", image=image, label=liver)
            kidney = ellipse((256, 256), (150, 70), (25, 20)).astype(np.uint8)
            kidney[ellipse((256, 256), (140, 70), (10, 10 + patient))] = TUMOR
            np.savez(
                folder / f"kits19_slices/case{patient:05}_z{z:03}.npz", image=image, label=kidney, spacing=[1.5, 1.5]
            )
        write_label_volume(folder / f"kits23_labels/case_{patient:05}.nii.gz")
