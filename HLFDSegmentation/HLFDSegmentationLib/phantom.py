"""A realistic abdominal CT made by computation, for the demo, for samples and for tests.

It is not, and must never become, the generator of any training data: a network that has learned from these pictures
would look better in the demo than it is. Nothing that makes, reads or augments training data may import this file; in
HLFDTrainingLib only the command does, for its demo.

`python -m HLFDSegmentationLib.phantom FILE` writes a CT, as Slicer's Sample Data ask for it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter

from .output.segmentation_files import write_image
from .phantom_anatomy import paint_patient
from .phantom_shapes import Canvas
from .tasks import TASKS

TASK = TASKS["abdomen"]
"""What the values of the labels mean."""

FINEST_MM = 2.8
SLAB_VOXELS = 3_000_000
POINT_SPREAD_MM = 0.8
NOISE_HU = 11.0


@dataclass(frozen=True)
class Phantom:
    """A generated CT with its labels, on one grid.

    Attributes:
        ct: int16, HU, axes along left, posterior, superior.
        labels: uint8, the values of task "abdomen": 1 liver, 2 kidney, 3 liver tumor, 4 kidney tumor.
    """

    ct: sitk.Image
    labels: sitk.Image


def make_phantom(
    seed: int = 0,
    *,
    size: tuple[int, int, int] = (256, 256, 80),
    spacing: tuple[float, float, float] = (1.5, 1.5, 3.0),
    lesions: bool = True,
) -> Phantom:
    """The portal-venous CT of an upper abdomen, a different patient for each seed.

    Anatomy is defined in mm: size and spacing only choose how it is sampled, around the same middle. Lengths of
    384 x 384 x 192 mm or more hold the whole of liver and kidneys.

    Args:
        seed: same seed, same bytes (on one platform).
        size: voxels along x, y, z.
        spacing: mm along x, y, z.
        lesions: with liver metastases and a kidney tumor, or the same patient without them.
    """
    # Every voxel is the mean of finer ones where it is large: partial volume as in a scanner.
    parts = [max(1, int(np.ceil(step / FINEST_MM))) for step in spacing]
    fine = [step / part for step, part in zip(spacing, parts)]
    x, y, z = (
        (np.arange(count * part) - (count * part - 1) / 2) * step for count, step, part in zip(size, fine, parts)
    )
    hu, labels = np.empty(size[::-1], np.float32), np.empty(size[::-1], np.uint8)
    slab = max(1, SLAB_VOXELS // (len(x) * len(y) * parts[2]))
    for start in range(0, size[2], slab):
        stop = min(start + slab, size[2])
        # The same draws for every slab: one patient.
        rng = np.random.default_rng([seed, 0])
        canvas = Canvas((z[start * parts[2] : stop * parts[2]], y, x), sum(fine) / 3, rng)
        paint_patient(canvas, rng, lesions=lesions)
        hu[start:stop] = _block_mean(canvas.hu, parts[::-1])
        labels[start:stop] = _block_majority(canvas.labels, parts[::-1])
    ct = _scanned(hu, spacing, np.random.default_rng([seed, 1]))
    return Phantom(*(_image(values, spacing) for values in (ct, labels)))


def write_phantom(folder: str | Path, seed: int = 0) -> tuple[Path, Path]:
    """Writes a phantom of the default size as ct.nii.gz and label.nii.gz into a folder, and returns the two paths.

    Raises:
        OutputError: the folder or a file cannot be written.
    """
    phantom = make_phantom(seed)
    paths = Path(folder) / "ct.nii.gz", Path(folder) / "label.nii.gz"
    for image, path in zip((phantom.ct, phantom.labels), paths):
        write_image(image, path)
    return paths


def _blocks(values: np.ndarray, parts: list[int]) -> np.ndarray:
    split = [n for length, part in zip(values.shape, parts) for n in (length // part, part)]
    return values.reshape(split)


def _block_mean(values: np.ndarray, parts: list[int]) -> np.ndarray:
    return _blocks(values, parts).mean(axis=(1, 3, 5))


def _block_majority(labels: np.ndarray, parts: list[int]) -> np.ndarray:
    shares = [_block_mean(labels == value, parts) for value in range(int(labels.max()) + 1)]
    return np.argmax(shares, axis=0).astype(np.uint8)


def _scanned(hu: np.ndarray, spacing: tuple[float, float, float], rng: np.random.Generator) -> np.ndarray:
    """What a scanner makes of the true HU: point spread and the grainy noise of filtered back projection."""
    spread = [0, POINT_SPREAD_MM / spacing[1], POINT_SPREAD_MM / spacing[0]]
    noise = rng.standard_normal(hu.shape, dtype=np.float32)
    # Reconstruction suppresses the lowest and the highest frequencies within a slice.
    noise = gaussian_filter(noise, (0.3, 0.6, 0.6)) - 0.7 * gaussian_filter(noise, (0.3, 2.0, 2.0))
    hu = gaussian_filter(hu, spread) + noise * (NOISE_HU / noise.std())
    return np.clip(np.round(hu), -1024, 3071).astype(np.int16)


def _image(values: np.ndarray, spacing: tuple[float, float, float]) -> sitk.Image:
    image = sitk.GetImageFromArray(values)
    image.SetSpacing(spacing)
    image.SetOrigin([-(count - 1) / 2 * step for count, step in zip(image.GetSize(), spacing)])
    return image


def main() -> None:
    """Writes a CT of the default size into the file that the command line names."""
    write_image(make_phantom().ct, Path(sys.argv[1]))


if __name__ == "__main__":
    main()
