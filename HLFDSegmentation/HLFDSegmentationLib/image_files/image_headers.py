"""The header of an image file, and what it and its voxels may not be, in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import HLFDError, InputError
from ..grids import Grid

# Voxels of a CT are between micrometers and centimeters wide; anything else is a header in wrong units.
SPACING_LIMITS_MM = (0.01, 100.0)

# Cosine of an angle that still counts as a right one.
RIGHT_ANGLE = 1e-3

# Axes without a turn: as ITK has them, and as programs do that count to the right and to the front.
NO_TURN = np.eye(3), np.diag([-1.0, -1.0, 1.0])

GDCM = "GDCMImageIO"
"""ITK's name of its reader of DICOM. It reads files without their first 132 bytes, too, which ITK takes for none."""

AS_AIR = "Set them to the value of air, -1024 HU, and save the CT again."


def check_name(path: Path, kind: type[HLFDError]) -> None:
    """Raises the kind of error where ITK, which takes UTF-8, would end the whole program over a path."""
    try:
        str(path.absolute()).encode()
    except UnicodeEncodeError as error:
        shown = str(path).encode(errors="replace").decode()
        raise kind(
            f"The name {shown} has letters that are no UTF-8 here. Rename the file or folder; if it looks "
            "right, set the terminal to UTF-8 (as by LANG=C.UTF-8)."
        ) from error


def read_header(path: Path, kind: str = "") -> sitk.ImageFileReader:
    """A reader, ITK's of this name or else the one that it finds, that has read the header.

    Raises:
        InputError: there is no header, or its axes are not at right angles.
    """
    reader = sitk.ImageFileReader()
    reader.SetImageIO(kind)
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        if "orthonormal" in str(error):
            raise sheared(path) from error
        raise unreadable(path) from error
    return reader


def sheared(path: Path) -> InputError:
    """What to tell of slices that are not at right angles to their stack."""
    return InputError(
        f"The slices of {path} are sheared against each other, as with a tilted gantry. "
        "Resample the CT to a grid with right angles, for example in 3D Slicer, and give that."
    )


def unreadable(path: Path) -> InputError:
    """What to tell of a damaged file."""
    return InputError(
        f"{path} cannot be read: the file is damaged, incomplete or has a wrong header. Copy or export it again."
    )


def check_header(header: sitk.ImageFileReader, path: Path) -> None:
    """Raises InputError where a header is not that of one volume with one value a voxel and the geometry of a CT."""
    size = header.GetSize()
    if header.GetDimension() == 2:
        raise InputError(
            f"{path} is a 2-D image. Give the whole CT as a 3-D file, or as a folder with its DICOM slices."
        )
    if 0 in size:
        raise InputError(f"{path} holds no voxels: its size is {_times(size)}. Export it again.")
    if header.GetDimension() > 4 or (header.GetDimension() == 4 and size[3] > 1):
        raise InputError(
            f"{path} is a series of {size[3]} volumes, over time or contrast phases. "
            "Save the one to segment as a 3-D file."
        )
    if header.GetNumberOfComponents() > 1:
        raise InputError(
            f"{path} has {header.GetNumberOfComponents()} values a voxel, such as red, green and blue. "
            "A CT has one, in HU. Give the CT itself, not a color picture of it."
        )
    check_spacing(header.GetSpacing()[:3], path)
    direction = np.reshape(header.GetDirection(), (header.GetDimension(),) * 2)[:3, :3]
    if not np.isfinite(header.GetOrigin()).all() or not np.isfinite(direction).all():
        raise unreadable(path)
    if not np.allclose(direction.T @ direction, np.eye(3), atol=RIGHT_ANGLE):
        raise sheared(path)


def check_spacing(spacing: Sequence[float], path: Path) -> None:
    """Raises InputError where a spacing in mm is none that a CT has."""
    low, high = SPACING_LIMITS_MM
    if not all(low <= value <= high for value in spacing):
        raise InputError(
            f"{path} gives a voxel spacing of {_times(f'{value:g}' for value in spacing)} mm, which no CT has. "
            "Export it again with the right spacing."
        )


def untold_grid_cautions(grid: Grid) -> list[str]:
    """About a CT on the grid that programs write which know none. DICOM files tell each part of it."""
    direction = np.reshape(grid.direction, (3, 3))
    plain = grid.spacing == (1.0, 1.0, 1.0) and not any(grid.origin)
    if not plain or not any(np.array_equal(direction, straight) for straight in NO_TURN):
        return []
    return [
        "The CT has a voxel spacing of 1 x 1 x 1 mm, its origin at 0 and axes without a turn, as programs write that "
        "do not know its geometry. If its voxels are larger or smaller or lie otherwise, volumes and diameters are "
        "wrong, left and right may be mistaken, and the model may have found the wrong things. Give the CT with its "
        "geometry, as its DICOM files have it."
    ]


def _times(values: Iterable[object]) -> str:
    return " x ".join(str(value) for value in values)


def voxels_of(reader: sitk.ImageFileReader | sitk.ImageSeriesReader, path: Path) -> sitk.Image:
    """The image of a reader. Raises InputError where its file is damaged, MemoryError where the memory is too small."""
    try:
        return reader.Execute()
    except RuntimeError as error:
        if is_allocation_failure(error):
            raise MemoryError from error
        raise unreadable(path) from error


def is_allocation_failure(error: RuntimeError) -> bool:
    """Whether ITK says by this error that the memory does not suffice."""
    return "allocate memory" in str(error)


def check_numbers(image: sitk.Image, name: str, remedy: str = AS_AIR) -> None:
    """Raises InputError, with the image's name and what to do, where voxels are no numbers."""
    voxels = sitk.GetArrayViewFromImage(image)
    if np.issubdtype(voxels.dtype, np.floating):
        bad = sum(int(np.count_nonzero(~np.isfinite(plane))) for plane in voxels)
        if bad:
            raise no_numbers(name, bad, remedy)


def no_numbers(name: str, count: int, remedy: str) -> InputError:
    """What to tell of voxels that are no number."""
    voxels = "1 voxel that is" if count == 1 else f"{count} voxels that are"
    return InputError(f"{name} has {voxels} no number (NaN or infinite). {remedy}")
