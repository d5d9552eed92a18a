"""Images as the raw files of the worker's protocol."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError, OutputError
from ..grids import Grid
from ..output.safe_files import check_space
from .raw_voxels import open_voxels, stored_type
from .worker_protocol import RawImage, VoxelType

CHUNK_BYTES = 1 << 24


def read_raw(raw: RawImage) -> sitk.Image:
    """The image in a raw file.

    Raises:
        InputError: the file is missing, has another length than its grid says, or the grid is impossible.
    """
    try:
        length = Path(raw.file).stat().st_size
    except OSError as error:
        raise InputError(f"The voxels of an image cannot be read: {error.strerror}. Try again.") from error
    if length != raw.size_bytes or length == 0:
        raise InputError(
            f"The voxels of an image have {length} bytes instead of {raw.size_bytes}. Check that the disk of the "
            "temporary folder is not full, and try again."
        )
    image = sitk.GetImageFromArray(open_voxels(raw))
    try:
        image.SetSpacing(raw.grid.spacing)
        image.SetOrigin(raw.grid.origin)
        image.SetDirection(raw.grid.direction)
    except RuntimeError as error:
        raise InputError(
            "The image's spacing or axes are impossible: the spacing must be more than 0, and the axes must point in "
            "three different directions. Export the CT again."
        ) from error
    return image


def write_raw(image: sitk.Image, file: Path) -> RawImage:
    """Writes an image of type uint8, int16 or float32 and tells what was written.

    Raises:
        OutputError: the file cannot be written.
    """
    voxels = sitk.GetArrayViewFromImage(image)
    with _telling_why(file.parent), open(file, "wb") as stream:
        for plane in voxels:
            stream.write(np.ascontiguousarray(plane, stored_type(voxels.dtype.name)).data)
    return RawImage(str(file), voxels.dtype.name, grid_of(image))


def new_raw(like: sitk.Image, voxels: VoxelType, file: Path) -> tuple[RawImage, np.memmap]:
    """A new file of zeros of this type on an image's grid, and its voxels to be filled.

    Raises:
        OutputError: the file cannot be written.
    """
    raw = RawImage(str(file), voxels, grid_of(like))
    with _telling_why(file.parent), open(file, "wb") as stream:
        # Written and not left out: where the disk is full, filling a file with holes would end the process.
        for start in range(0, raw.size_bytes, CHUNK_BYTES):
            stream.write(bytes(min(CHUNK_BYTES, raw.size_bytes - start)))
    return raw, open_voxels(raw, "r+")


def check_results_fit(folder: Path, size: int) -> None:
    """Raises OutputError where the disk of a folder has less than `size` bytes left."""
    with _telling_why(folder):
        check_space(folder, size)


def grid_of(image: sitk.Image) -> Grid:
    """Where an image's voxels lie."""
    return Grid(image.GetSize()[::-1], image.GetSpacing(), image.GetOrigin(), image.GetDirection())


@contextmanager
def _telling_why(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"The results cannot be written to the temporary folder {folder}: {error.strerror}. "
            "Free some space on its disk and try again."
        ) from error
