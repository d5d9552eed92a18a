"""A CT from DICOM files: one series, in order, evenly spaced."""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path

import SimpleITK as sitk

from ..errors import InputError
from ..hounsfield import MODALITY
from .dicom_mixture import check_one_scan, number_doubts
from .dicom_slice import (
    RESCALE_INTERCEPT,
    RESCALE_SLOPE,
    SERIES_DESCRIPTION,
    name_doubts,
    read_slice,
    tag,
    tell_thickness,
)
from .dicom_stack import check_rescale, gap_doubts, in_order
from .image_headers import GDCM, check_name, check_spacing, read_header, unreadable, voxels_of

SERIES = "0020|000e"

CT_IMAGE = b"1.2.840.10008.5.1.4.1.1.2"
"""Storage classes of DICOM files with CT images begin like this."""

MOST_FOLDERS_TOLD = 5

SOP_CLASS = b"\x02\x00\x02\x00UI"
"""Begins the entry of a DICOM file's own header that tells its storage class."""


def read_dicom_folder(folder: Path) -> tuple[sitk.Image, list[str]]:
    """The CT of the one series in a folder, and what makes it doubtful.

    Raises:
        InputError: there is no CT, more than one, or its slices are no even stack of one scan.
    """
    series = _image_series(folder)
    if len(series) > 1:
        found = ", ".join(
            f"'{_description(files[0])}' ({len(files)} images, such as {Path(files[0]).name})" for files in series
        )
        raise InputError(
            f"{folder} holds {len(series)} DICOM series: {found}. "
            "Copy the one to segment into a folder of its own and give that folder."
        )
    slices = [read_slice(Path(file)) for file in series[0]]
    check_rescale(slices, folder)
    if len(slices) > 1:
        slices = in_order(slices, folder)
        check_one_scan(slices, folder)
    reader = sitk.ImageSeriesReader()
    reader.SetImageIO(GDCM)
    reader.SetFileNames([str(one.path) for one in slices])
    if len({(one.entries[RESCALE_INTERCEPT], one.entries[RESCALE_SLOPE]) for one in slices}) > 1:
        # Each slice has its own scale, and the pixel type of the first may not hold the values of the others.
        reader.SetOutputPixelType(sitk.sitkFloat32)
    ct = voxels_of(reader, folder)
    if ct.GetDimension() != 3 or ct.GetNumberOfComponentsPerPixel() > 1:
        raise InputError(f"{folder} holds DICOM images in color, not CT slices. Give the folder of the CT series.")
    if len(slices) == 1:
        tell_thickness(ct, slices[0].path)
    check_spacing(ct.GetSpacing(), folder)
    ct.SetMetaData(MODALITY, tag(slices[0].path, MODALITY))
    doubts = name_doubts(one.entries[SERIES_DESCRIPTION] for one in slices) + number_doubts(slices)
    return ct, doubts + (gap_doubts(slices, ct.GetSpacing()[2]) if len(slices) > 1 else [])


def lone_slice_doubts(path: Path) -> list[str]:
    """About a DICOM file that was given alone: by its series' name no slice, or with other slices beside it."""
    doubts = name_doubts([tag(path, SERIES_DESCRIPTION)])
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(path.parent), tag(path, SERIES))
    if len(names) < 2:
        return doubts
    return [
        *doubts,
        f"The file given is one of {len(names)} slices of its DICOM series, and only this one was used. To segment all "
        "of them, give the folder in which they lie.",
    ]


def _image_series(folder: Path) -> list[tuple[str, ...]]:
    """The files of each series of images in a folder; reports and other DICOM objects without pixels are left out."""
    files = sorted(file for file in folder.iterdir() if file.is_file())
    if not files:
        below = ", ".join(sorted(path.name for path in folder.iterdir())[:MOST_FOLDERS_TOLD])
        raise InputError(
            f"The folder {folder} holds no files{f', only folders ({below})' if below else ''}. Give the folder that "
            "directly holds the CT's DICOM files."
        )
    series = [
        sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), identifier)
        for identifier in sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    ]
    for name in chain(*series):
        check_name(Path(name), InputError)
    known = {Path(file).name for names in series for file in names}
    for file in files:
        if known and file.name not in known and file.name.upper() != "DICOMDIR":
            _check_left_out(file, known)
    series = [names for names in series if any(map(_is_image, names))]
    if not series:
        zipped = [file.name for file in files if file.suffix.lower() == ".zip"]
        what = f", but the ZIP archive {zipped[0]}. Unpack it, and give" if zipped else ". Give"
        raise InputError(
            f"The folder {folder} holds no DICOM images{what} the folder that directly holds the CT's DICOM files, or "
            "give a NIfTI, NRRD or MetaImage file."
        )
    return series


def _is_image(file: str) -> bool:
    """ITK takes a DICOM file without its first 132 bytes for no image, unless it is told the reader."""
    if sitk.ImageFileReader.GetImageIOFromFileName(file):
        return True  # A damaged one gets its sentence later.
    try:
        read_header(Path(file), GDCM)
    except InputError:
        return False
    return True


def _check_left_out(file: Path, known: set[str]) -> None:
    """Raises InputError for a file that GDCM leaves out and that was a slice: without it, the CT would end early."""
    if _is_ct_slice(file):
        raise unreadable(file)
    if not _is_dicom(file) and _is_named_as(file, known):
        what = "is empty" if file.stat().st_size == 0 else "is no DICOM file, or damaged"
        raise InputError(
            f"{file} {what}, and has a name like the slices beside it, as an interrupted copy leaves them. Copy or "
            "export the series again; if this is none of its files, delete it."
        )


def _is_named_as(file: Path, known: set[str]) -> bool:
    """Whether its name is like those of files that are known to be DICOM, or has no ending, and the file no content."""
    if file.name.startswith("."):  # what file managers leave behind
        return False
    ending = _ending(file.name)
    if not ending and not any(_head(file)):
        return True
    endings, patterns = {_ending(name) for name in known}, {_pattern(name) for name in known}
    return (ending != "" and ending in endings) or _pattern(file.name) in patterns


def _ending(name: str) -> str:
    """As ".dcm"; "" where there is none, or just a part of a number."""
    suffix = Path(name).suffix.lower()
    return "" if suffix[1:].isdecimal() else suffix


def _pattern(name: str) -> str:
    """A name without its numbers, decimal or hexadecimal."""
    return re.sub(r"[a-f]*\d[\da-f]*", "0", name.lower())


def _is_ct_slice(file: Path) -> bool:
    """Whether it is a DICOM file of a CT, or of what cannot be told; not a report, a plan or a contour beside it."""
    _, found, rest = _head(file).partition(SOP_CLASS)
    return _is_dicom(file) and (not found or rest[2:].startswith(CT_IMAGE))


def _is_dicom(file: Path) -> bool:
    return _head(file)[128:132] == b"DICM"


def _head(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(1024)


def _description(file: str) -> str:
    return tag(Path(file), SERIES_DESCRIPTION) or "without description"
