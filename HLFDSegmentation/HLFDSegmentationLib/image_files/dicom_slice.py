"""What the header of one DICOM file says of its slice, and what it may not be."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from .image_headers import GDCM, SPACING_LIMITS_MM, check_spacing, read_header

IMAGE_TYPE, KIND = "0008|0008", "0008|0016"
PIXEL_SPACING = "0028|0030"
POSITION, ORIENTATION = "0020|0032", "0020|0037"
PHOTOMETRIC = "0028|0004"
RESCALE_INTERCEPT, RESCALE_SLOPE, RESCALE_TYPE = "0028|1052", "0028|1053", "0028|1054"
SLICE_SPACING, SLICE_THICKNESS = "0018|0088", "0018|0050"
ACQUISITION_NUMBER, ACQUISITION_TIME, INSTANCE_NUMBER = "0020|0012", "0008|0032", "0020|0013"
CONTRAST_AGENT, TUBE_VOLTAGE, KERNEL = "0018|0010", "0018|0060", "0018|1210"
SERIES_DESCRIPTION = "0008|103e"

COMPARED = (
    IMAGE_TYPE,
    RESCALE_INTERCEPT,
    RESCALE_SLOPE,
    RESCALE_TYPE,
    SLICE_THICKNESS,
    ACQUISITION_NUMBER,
    ACQUISITION_TIME,
    INSTANCE_NUMBER,
    CONTRAST_AGENT,
    TUBE_VOLTAGE,
    KERNEL,
    SERIES_DESCRIPTION,
)
"""Entries that are kept of each slice, for most of which the slices of a series are compared."""

ENHANCED_CT = {"1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2"}
"""Kinds of DICOM files that hold many slices, or one, and tell their places where ITK does not look."""

AXES_TOLERANCE = 0.02
"""Of the products of a slice's axes. Those of length 1 that are at right angles have 1 and 0."""

PROJECTIONS = {"MIP", "MINIP", "MAX_IP", "MIN_IP"}
"""Words of an image type, in DICOM and of makers (as in "CSA MIP"), for the brightest or darkest of many slices. An
average (AVERAGE, MEAN) has HU, as a thick slice has, and "PROJECTION IMAGE" says nothing of CT by itself."""

NAMED = re.compile(
    r"(?<![A-Z])(?:T?MIP|MAX[ _-]?IP|MIN[ _-]?IP)S?(?![A-Z])"
    r"|SCOUT|TOPOGRAM|SCANOGRAM|SURVIEW|LO[CK]ALI[SZ]+(?:ER|ATEUR|ATOR|ADOR)",
    re.IGNORECASE,
)
"""Words by which whoever names a series tells of a projection or a scout view, where the image type does not. The long
ones may be parts of others, as in German "Topogramm"."""

PROJECTION = "the highest or lowest values of many slices, laid over each other, from which nothing can be measured"

OTHER_UNITS = {
    "OD": "optical density",
    "MGML": "mg/mL",
    "Z_EFF": "effective atomic number",
    "ED": "electron density",
    "EDW": "electron density by that of water",
    "PCT": "percent",
}
"""What DICOM defines for a rescale type (PS3.3 C.11.1.1.2) besides HU, HU_MOD and US (unspecified). Scanners of
several energies make such images, as maps of iodine, in series that are CT."""

NO_HU = "by their rescale type. What is segmented, and measured, needs HU"


@dataclass(frozen=True)
class DicomSlice:
    """What the header of one DICOM file says about its place, how its values become HU, and where it comes from.

    Attributes:
        path: of the file.
        size: as ITK gives it.
        spacing: within the slice, x and y, in mm.
        origin: of the first pixel, in mm.
        direction: 3 x 3, as ITK gives it.
        entries: what stands under each tag of `COMPARED`, "" where nothing does.
    """

    path: Path
    size: tuple[int, ...]
    spacing: tuple[float, ...]
    origin: np.ndarray
    direction: np.ndarray
    entries: dict[str, str]


def read_slice(path: Path) -> DicomSlice:
    """Reads a header. Raises InputError where it cannot be read, or for what `check_dicom` refuses."""
    header = read_header(path, GDCM)
    check_dicom(header, path)
    return slice_of(header, path)


def slice_of(header: sitk.ImageFileReader, path: Path) -> DicomSlice:
    """What a header that was read says of its slice, whatever it is."""
    return DicomSlice(
        path,
        header.GetSize(),
        header.GetSpacing()[:2],
        np.array(header.GetOrigin()),
        np.array(header.GetDirection()).reshape(3, 3),
        {key: entry(header, key) for key in COMPARED},
    )


def check_dicom(header: sitk.ImageFileReader, path: Path) -> None:
    """Raises InputError for a file whose places or values would be read wrongly, or that holds no slice.

    These are a file of many slices, one without pixel size, position or orientation, one that tells a distance of 0 mm
    between slices, one of inverted values or of such that are no HU, a scout view and a projection.
    """
    if entry(header, KIND) in ENHANCED_CT or (header.GetDimension() > 2 and header.GetSize()[2] > 1):
        raise InputError(
            f"{path} is a DICOM file of the kind that holds many slices (Enhanced CT), whose places cannot be read "
            "here. Load the CT in 3D Slicer and give the volume saved there."
        )
    _check_image_type(entry(header, IMAGE_TYPE), path)
    if header.GetNumberOfComponents() == 1:
        _check_pixel_spacing(entry(header, PIXEL_SPACING), path)
    if header.GetNumberOfComponents() == 1 and not _tells_place(entry(header, POSITION), entry(header, ORIENTATION)):
        raise InputError(
            f"{path} does not say where its slice lies in the patient, so left and right could be exchanged. Export "
            "the series again from its source."
        )
    if _numbers(entry(header, SLICE_SPACING)) == [0]:
        raise InputError(
            f"{path} says that the next slice is 0 mm away (Spacing Between Slices), and cannot be read here for that. "
            "Export the series again without this entry, or convert it to NIfTI, and give that."
        )
    if entry(header, PHOTOMETRIC) == "MONOCHROME1":
        raise InputError(
            f"{path} holds inverted values (MONOCHROME1), from which no HU can be told. Export the series again as "
            "MONOCHROME2, as scanners store CT."
        )
    if unit := other_unit(entry(header, RESCALE_TYPE)):
        raise InputError(
            f"{path} holds values that are {unit}, not HU, {NO_HU}. Give the series of this scan that is in HU."
        )


def _tells_place(position: str, orientation: str) -> bool:
    """ITK takes a patient on the back, head first, for what is no orientation."""
    place, axes = _numbers(position), _numbers(orientation)
    if len(place) != 3 or len(axes) != 6 or not np.isfinite(place + axes).all():
        return False
    x_and_y = np.reshape(axes, (2, 3))
    return np.allclose(x_and_y @ x_and_y.T, np.eye(2), atol=AXES_TOLERANCE)


def _check_pixel_spacing(told: str, path: Path) -> None:
    """ITK takes 1 mm for a spacing of 0."""
    spacing = _numbers(told)
    if len(spacing) != 2:
        raise InputError(f"{path} does not say how large its pixels are. Export the series again from its source.")
    check_spacing(spacing, path)


def _numbers(told: str) -> list[float]:
    """What stands in an entry, apart from each other by backslashes; empty where it is not all numbers."""
    try:
        return [float(number) for number in told.split("\\")]
    except ValueError:
        return []


def other_unit(rescale_type: str) -> str:
    """What values are by their rescale type, and its term, where they are no HU; else ""."""
    unit = OTHER_UNITS.get(rescale_type.upper())
    return f"{unit} ({rescale_type.upper()})" if unit else ""


def projection_words(image_type: str) -> str:
    """The words of an image type that tell of a projection; "" where it is none."""
    return ", ".join(sorted(_words(image_type) & PROJECTIONS))


def _words(image_type: str) -> set[str]:
    return set(re.split(r"[\\\s]+", image_type.upper()))


def _check_image_type(image_type: str, path: Path) -> None:
    if "LOCALIZER" in _words(image_type):
        raise InputError(
            f"{path} is a scout view (LOCALIZER), not a slice. Give a folder with the axial slices of the CT alone."
        )
    if words := projection_words(image_type):
        raise InputError(
            f"{path} is a projection ({words}): {PROJECTION}. Give the axial slices that it was made from."
        )


def name_doubts(descriptions: Iterable[str]) -> list[str]:
    """About slices of a series with such descriptions, of which one tells of a projection or a scout view.

    Nothing else of a description is passed on: a patient's name may stand in it.
    """
    found = next((match for one in descriptions if (match := NAMED.search(one))), None)
    if found is None:
        return []
    return [
        f"The name of the CT's DICOM series holds '{found[0]}', as that of a projection or scout view does. If it is "
        "one, use no figure of this result: segment the axial slices it was made from."
    ]


def tell_thickness(slice_: sitk.Image, path: Path) -> None:
    """Gives a single slice its thickness, or, where none is told, the distance to the next, which alone ITK reads.

    Raises:
        InputError: neither can be the thickness of a slice.
    """
    low, high = SPACING_LIMITS_MM
    told = _numbers(tag(path, SLICE_THICKNESS)) + [abs(mm) for mm in _numbers(tag(path, SLICE_SPACING))]
    thickness = next((mm for mm in told if low <= mm <= high), None)
    if thickness is None:
        raise InputError(f"{path} does not say how thick its slice is. Give the folder with all slices of the series.")
    slice_.SetSpacing((*slice_.GetSpacing()[:2], thickness))


def tag(path: Path, key: str) -> str:
    """What stands under a tag of a file, "" where nothing does."""
    return entry(read_header(path, GDCM), key)


def entry(header: sitk.ImageFileReader, key: str) -> str:
    """What stands under a tag of a header, "" where nothing does. What is no UTF-8 is taken for Latin-1."""
    value = header.GetMetaData(key).strip() if header.HasMetaDataKey(key) else ""
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode(errors="surrogateescape").decode("latin-1")
    return value
