"""A CT from DICOM files: one series, in order, evenly spaced."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .errors import InputError
from .hounsfield import MODALITY
from .image_headers import SPACING_LIMITS_MM, check_spacing, read_header, unreadable, voxels_of

SERIES_DESCRIPTION = "0008|103e"
PIXEL_SPACING = "0028|0030"
POSITION, ORIENTATION = "0020|0032", "0020|0037"
PHOTOMETRIC = "0028|0004"
RESCALE_INTERCEPT, RESCALE_SLOPE = "0028|1052", "0028|1053"
SLICE_SPACING, SLICE_THICKNESS = "0018|0088", "0018|0050"

CT_IMAGE = b"1.2.840.10008.5.1.4.1.1.2"
"""Storage classes of DICOM files with CT images begin like this."""

SOP_CLASS = b"\x02\x00\x02\x00UI"
"""Begins the entry of a DICOM file's own header that tells its storage class."""

# A slice may lie this share of the slice distance away from its place in an even row.
EVENNESS = 0.2


@dataclass(frozen=True)
class _DicomImage:
    """What the header of one DICOM file says about its place, and how its values become HU."""

    path: str
    size: tuple[int, ...]
    spacing: tuple[float, ...]
    origin: np.ndarray
    direction: np.ndarray
    rescale: tuple[str, str]


def read_dicom_folder(folder: Path) -> sitk.Image:
    """The CT of the one series in a folder. Raises InputError where there is none, or it is no even stack of slices."""
    series = _image_series(folder)
    if len(series) > 1:
        found = ", ".join(
            f"'{_description(files[0])}' ({len(files)} images, such as {Path(files[0]).name})" for files in series
        )
        raise InputError(
            f"{folder} holds {len(series)} DICOM series: {found}. "
            "Copy the one to segment into a folder of its own and give that folder."
        )
    images = [_dicom_image(file) for file in series[0]]
    if len(images) > 1:
        images = _in_order(images, folder)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([image.path for image in images])
    if len({image.rescale for image in images}) > 1:
        # Each slice has its own scale, and the pixel type of the first may not hold the values of the others.
        reader.SetOutputPixelType(sitk.sitkFloat32)
    ct = voxels_of(reader, folder)
    if ct.GetDimension() != 3 or ct.GetNumberOfComponentsPerPixel() > 1:
        raise InputError(f"{folder} holds DICOM images in color, not CT slices. Give the folder of the CT series.")
    if len(images) == 1:
        tell_thickness(ct, Path(images[0].path))
    check_spacing(ct.GetSpacing(), folder)
    ct.SetMetaData(MODALITY, _tag(images[0].path, MODALITY))
    return ct


def _image_series(folder: Path) -> list[tuple[str, ...]]:
    """The files of each series of images in a folder; reports and other DICOM objects without pixels are left out."""
    files = sorted(file for file in folder.iterdir() if file.is_file())
    if not files:
        raise InputError(
            f"The folder {folder} holds no files. Give the folder that directly holds the CT's DICOM files."
        )
    series = [
        sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), identifier)
        for identifier in sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    ]
    known = {Path(file).name for names in series for file in names}
    for file in files:
        # GDCM leaves out a file whose pixels are cut short, and the CT would have a gap.
        if file.name not in known and file.name.upper() != "DICOMDIR" and _is_ct_slice(file):
            raise unreadable(file)
    series = [names for names in series if sitk.ImageFileReader.GetImageIOFromFileName(names[0])]
    if not series:
        raise InputError(
            f"The folder {folder} holds no DICOM images. Give the folder that directly holds the CT's DICOM files, "
            "or give a NIfTI, NRRD or MetaImage file."
        )
    return series


def _is_ct_slice(file: Path) -> bool:
    """Whether it is a DICOM file of a CT, or of what cannot be told; not a report, a plan or a contour beside it."""
    with file.open("rb") as stream:
        header = stream.read(1024)
    _, found, rest = header.partition(SOP_CLASS)
    return header[128:132] == b"DICM" and (not found or rest[2:].startswith(CT_IMAGE))


def check_dicom(header: sitk.ImageFileReader, path: Path) -> None:
    """Raises InputError for a file whose places or values would be read wrongly.

    These are a file of many slices, one without pixel size, position or orientation, and one of inverted values.
    """
    if header.GetDimension() > 2 and header.GetSize()[2] > 1:
        raise InputError(
            f"{path} is a DICOM file of many slices (Enhanced CT), whose places cannot be read here. Load it in 3D "
            "Slicer and give the volume saved there."
        )
    if header.GetNumberOfComponents() == 1 and not _entry(header, PIXEL_SPACING):
        raise InputError(f"{path} does not say how large its pixels are. Export the series again from its source.")
    if header.GetNumberOfComponents() == 1 and not (_entry(header, POSITION) and _entry(header, ORIENTATION)):
        raise InputError(
            f"{path} does not say where its slice lies in the patient, so left and right could be exchanged. Export "
            "the series again from its source."
        )
    if _entry(header, PHOTOMETRIC) == "MONOCHROME1":
        raise InputError(
            f"{path} holds inverted values (MONOCHROME1), from which no HU can be told. Export the series again as "
            "MONOCHROME2, as scanners store CT."
        )


def tell_thickness(slice_: sitk.Image, path: Path) -> None:
    """Gives a single slice the thickness of which ITK reads nothing where no distance between slices is told.

    Raises:
        InputError: the thickness that the file tells cannot be one.
    """
    if _tag(str(path), SLICE_SPACING):
        return
    try:
        thickness = float(_tag(str(path), SLICE_THICKNESS))
    except ValueError:
        thickness = 0.0
    if not SPACING_LIMITS_MM[0] <= thickness <= SPACING_LIMITS_MM[1]:
        raise InputError(f"{path} does not say how thick its slice is. Give the folder with all slices of the series.")
    slice_.SetSpacing((*slice_.GetSpacing()[:2], thickness))


def _dicom_image(file: str) -> _DicomImage:
    header = read_header(Path(file))
    check_dicom(header, Path(file))
    return _DicomImage(
        file,
        header.GetSize(),
        header.GetSpacing()[:2],
        np.array(header.GetOrigin()),
        np.array(header.GetDirection()).reshape(3, 3),
        (_entry(header, RESCALE_INTERCEPT), _entry(header, RESCALE_SLOPE)),
    )


def _tag(file: str, key: str) -> str:
    return _entry(read_header(Path(file)), key)


def _entry(header: sitk.ImageFileReader, key: str) -> str:
    return header.GetMetaData(key).strip() if header.HasMetaDataKey(key) else ""


def _description(file: str) -> str:
    return _tag(file, SERIES_DESCRIPTION) or "without description"


def _in_order(images: list[_DicomImage], folder: Path) -> list[_DicomImage]:
    """The slices of a series from the first to the last along their normal; InputError where they are no even stack."""
    first = images[0]
    for image in images:
        same = image.size == first.size and np.allclose(image.spacing, first.spacing, rtol=1e-3)
        if not same or not np.allclose(image.direction, first.direction, atol=1e-3):
            raise InputError(
                f"The DICOM series in {folder} mixes images of different size or direction, such as a scout view "
                f"beside the slices ({Path(first.path).name}, {Path(image.path).name}). Keep the axial slices only."
            )
    normal = first.direction[:, 2]
    images = sorted(images, key=lambda image: float(image.origin @ normal))
    origins = np.array([image.origin for image in images])
    positions = origins @ normal
    steps = np.diff(positions)
    step = float(np.median(steps))
    nearest = int(np.argmin(steps))
    if steps[nearest] < 0.01:
        raise InputError(
            f"The DICOM series in {folder} has two images at the same position ({Path(images[nearest].path).name}, "
            f"{Path(images[nearest + 1].path).name}), as when two contrast phases are mixed. Keep one of them."
        )
    unevenness = np.abs(positions - np.linspace(positions[0], positions[-1], len(positions))).max()
    if unevenness > EVENNESS * step:
        widest = int(np.argmax(np.abs(steps - step)))
        raise InputError(
            f"The slices in {folder} are not evenly spaced: {steps[widest]:.2f} mm lie between "
            f"{Path(images[widest].path).name} and {Path(images[widest + 1].path).name}, "
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
    return images
