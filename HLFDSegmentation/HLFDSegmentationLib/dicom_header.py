"""What the header of one DICOM file says, and what it may not be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .errors import InputError
from .image_headers import SPACING_LIMITS_MM, read_header

SERIES_DESCRIPTION = "0008|103e"
PIXEL_SPACING = "0028|0030"
SERIES, ACQUISITION = "0020|000e", "0020|0012"
IMAGE_TYPE = "0008|0008"
POSITION, ORIENTATION = "0020|0032", "0020|0037"
PHOTOMETRIC = "0028|0004"
RESCALE_INTERCEPT, RESCALE_SLOPE = "0028|1052", "0028|1053"
SLICE_SPACING, SLICE_THICKNESS = "0018|0088", "0018|0050"

NO_SLICES = {
    "LOCALIZER": "a scout view (localizer)",
    "MIP": "a projection of many slices (MIP)",
    "MINIP": "a projection of many slices (MinIP)",
}
"""What an image of a CT series is that its type calls so."""


@dataclass(frozen=True)
class DicomImage:
    """What the header of one DICOM file says about its place, and how its values become HU.

    Attributes:
        path: the file.
        size: columns, rows and one slice.
        spacing: mm along columns and rows.
        origin: center of the first pixel, mm in LPS.
        direction: (3, 3), columns are the directions of x, y and z.
        rescale: intercept and slope as the file has them, "" where it has none.
        acquisition: the number of the acquisition; "" where the file has none.
    """

    path: str
    size: tuple[int, ...]
    spacing: tuple[float, ...]
    origin: np.ndarray
    direction: np.ndarray
    rescale: tuple[str, str]
    acquisition: str

    @classmethod
    def of(cls, file: str) -> DicomImage:
        """Raises InputError where the file cannot be read, or see `check_dicom`."""
        header = read_header(Path(file))
        check_dicom(header, Path(file))
        return cls(
            file,
            header.GetSize(),
            header.GetSpacing()[:2],
            np.array(header.GetOrigin()),
            np.array(header.GetDirection()).reshape(3, 3),
            (entry(header, RESCALE_INTERCEPT), entry(header, RESCALE_SLOPE)),
            entry(header, ACQUISITION),
        )


def check_dicom(header: sitk.ImageFileReader, path: Path) -> None:
    """Raises InputError for a file whose places or values would be read wrongly.

    These are a file of many slices, one without pixel size, position or orientation, one of inverted values, and
    a scout view or a projection.
    """
    if header.GetDimension() > 2 and header.GetSize()[2] > 1:
        raise InputError(
            f"{path} is a DICOM file of many slices (Enhanced CT), whose places cannot be read here. Load it in 3D "
            "Slicer and give the volume saved there."
        )
    if header.GetNumberOfComponents() == 1 and not entry(header, PIXEL_SPACING):
        raise InputError(f"{path} does not say how large its pixels are. Export the series again from its source.")
    if header.GetNumberOfComponents() == 1 and not (entry(header, POSITION) and entry(header, ORIENTATION)):
        raise InputError(
            f"{path} does not say where its slice lies in the patient, so left and right could be exchanged. Export "
            "the series again from its source."
        )
    if entry(header, PHOTOMETRIC) == "MONOCHROME1":
        raise InputError(
            f"{path} holds inverted values (MONOCHROME1), from which no HU can be told. Export the series again as "
            "MONOCHROME2, as scanners store CT."
        )
    kinds = {kind.strip().upper() for kind in entry(header, IMAGE_TYPE).split("\\")}
    if kind := next((kind for kind in NO_SLICES if kind in kinds), None):
        raise InputError(f"{path} is {NO_SLICES[kind]}, not a slice. Give the series with the axial slices alone.")


def tell_thickness(slice_: sitk.Image, path: Path) -> None:
    """Gives a single slice the thickness of which ITK reads nothing where no distance between slices is told.

    Raises:
        InputError: the thickness that the file tells cannot be one.
    """
    if tag(str(path), SLICE_SPACING):
        return
    try:
        thickness = float(tag(str(path), SLICE_THICKNESS))
    except ValueError:
        thickness = 0.0
    if not SPACING_LIMITS_MM[0] <= thickness <= SPACING_LIMITS_MM[1]:
        raise InputError(f"{path} does not say how thick its slice is. Give the folder with all slices of the series.")
    slice_.SetSpacing((*slice_.GetSpacing()[:2], thickness))


def tag(file: str, key: str) -> str:
    """The entry of a DICOM file, "" where it has none."""
    return entry(read_header(Path(file)), key)


def entry(header: sitk.ImageFileReader, key: str) -> str:
    """The entry of a header that was read, "" where it has none."""
    return header.GetMetaData(key).strip() if header.HasMetaDataKey(key) else ""
