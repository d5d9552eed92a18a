"""Reads CT files, and says in plain sentences what is wrong with those that cannot be used."""

from __future__ import annotations

import gzip
import os
import struct
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import SimpleITK as sitk

from .errors import HLFDError, InputError
from .text_headers import check_text_header

MODALITY = "0008|0060"
SERIES_DESCRIPTION = "0008|103e"
PIXEL_SPACING = "0028|0030"
SLICE_SPACING, SLICE_THICKNESS = "0018|0088", "0018|0050"

CT_IMAGE = b"1.2.840.10008.5.1.4.1.1.2"
"""Storage classes of DICOM files with CT images begin like this."""

SOP_CLASS = b"\x02\x00\x02\x00UI"
"""Begins the entry of a DICOM file's own header that tells its storage class."""

# ITK's names of the readers whose files hold a CT with its geometry.
READERS = {"NiftiImageIO", "NrrdImageIO", "MetaImageIO", "GDCMImageIO"}

AIR_HU = -300.0
"""A CT in which nothing is denser than this holds no patient."""

# Voxels of a CT are between micrometers and centimeters wide; anything else is a header in wrong units.
SPACING_LIMITS_MM = (0.01, 100.0)

# Cosine of an angle that still counts as a right one.
RIGHT_ANGLE = 1e-3

# A slice may lie this share of the slice distance away from its place in an even row.
EVENNESS = 0.2

AS_AIR = "Set them to the value of air, -1024 HU, and save the CT again."

NIFTI_HEADER_BYTES = 540
"""Of NIfTI-2; that of NIfTI-1 is shorter."""

BLOCK_BYTES = 1 << 20
"""Read at a time: whole voxels of any type."""


def read_ct(path: str | Path) -> sitk.Image:
    """A CT from a NIfTI, NRRD or MetaImage file, or from a folder with the slices of one DICOM series.

    Of the file's metadata only the DICOM modality is kept, so that nothing about the patient travels on.

    Returns:
        A three-dimensional image with one real value a voxel, on the file's own grid.

    Raises:
        InputError: the path holds no such CT; the text says why and what to do.
    """
    path = Path(path)
    check_name(path, InputError)
    if not path.exists():
        raise InputError(f"There is no file or folder {path}. Check the path.")
    with quiet():
        ct = _read_dicom_folder(path) if path.is_dir() else _read_file(path)
    check_voxels(ct, str(path))
    for key in ct.GetMetaDataKeys():
        if key != MODALITY:
            ct.EraseMetaData(key)
    return ct


def check_name(path: Path, kind: type[HLFDError]) -> None:
    """Raises the kind of error where ITK, which takes UTF-8, would end the whole program over a path."""
    try:
        str(path.absolute()).encode()
    except UnicodeEncodeError as error:
        shown = str(path).encode(errors="replace").decode()
        raise kind(f"The name {shown} has letters that are no UTF-8. Rename the file or folder.") from error


# Files


def _read_file(path: Path) -> sitk.Image:
    kind = sitk.ImageFileReader.GetImageIOFromFileName(str(path))
    if kind not in READERS:
        what = "is a picture, not a CT" if kind else "is damaged, or not an image file"
        raise InputError(
            f"{path} {what}. Give a CT as NIfTI (.nii, .nii.gz), NRRD (.nrrd), MetaImage (.mha), or a DICOM folder."
        )
    if kind == "NiftiImageIO":
        check_nifti(path)
    header = _read_header(path)
    _check_header(header, path)
    check_text_header(path, kind)
    if kind == "GDCMImageIO":
        _check_dicom(header, path)
    ct = _voxels(header, path)
    if kind == "GDCMImageIO":
        _tell_thickness(ct, path)
    return ct[:, :, :, 0] if ct.GetDimension() == 4 else ct


def _voxels(reader: sitk.ImageFileReader | sitk.ImageSeriesReader, path: Path) -> sitk.Image:
    try:
        return reader.Execute()
    except RuntimeError as error:
        if "allocate memory" in str(error):
            raise MemoryError from error
        raise _unreadable(path) from error


def _read_header(path: Path) -> sitk.ImageFileReader:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        if "orthonormal" in str(error):
            raise _sheared(path) from error
        raise _unreadable(path) from error
    return reader


def _sheared(path: Path) -> InputError:
    return InputError(
        f"The slices of {path} are sheared against each other, as with a tilted gantry. "
        "Resample the CT to a grid with right angles, for example in 3D Slicer, and give that."
    )


def _unreadable(path: Path) -> InputError:
    return InputError(
        f"{path} cannot be read: the file is damaged, incomplete or has a wrong header. Copy or export it again."
    )


def _check_header(header: sitk.ImageFileReader, path: Path) -> None:
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
    _check_spacing(header.GetSpacing()[:3], path)
    direction = np.reshape(header.GetDirection(), (header.GetDimension(),) * 2)[:3, :3]
    if not np.isfinite(header.GetOrigin()).all() or not np.isfinite(direction).all():
        raise _unreadable(path)
    if not np.allclose(direction.T @ direction, np.eye(3), atol=RIGHT_ANGLE):
        raise _sheared(path)


def _check_spacing(spacing: Sequence[float], path: Path) -> None:
    low, high = SPACING_LIMITS_MM
    if not all(low <= value <= high for value in spacing):
        raise InputError(
            f"{path} gives a voxel spacing of {_times(f'{value:g}' for value in spacing)} mm, which no CT has. "
            "Export it again with the right spacing."
        )


def _times(values: Sequence[object] | Iterator[object]) -> str:
    return " x ".join(str(value) for value in values)


@dataclass(frozen=True)
class _NiftiHeader:
    """What a NIfTI file says of itself, by the NIfTI-1.1 and NIfTI-2 data formats (nifti.nimh.nih.gov)."""

    sizes: tuple[int, ...]
    spacing: tuple[float, ...]
    bits: int
    floating: np.dtype | None
    offset: int
    tells_orientation: bool
    sform_spacing: np.ndarray | None

    @classmethod
    def of(cls, header: bytes) -> _NiftiHeader:
        """Raises struct.error where it is too short."""
        order = "<" if struct.unpack_from("<i", header)[0] in (348, 540) else ">"
        second = struct.unpack_from(order + "i", header)[0] == 540

        def read(form: str, first_place: int, second_form: str, second_place: int) -> tuple[Any, ...]:
            return (
                struct.unpack_from(order + second_form, header, second_place)
                if second
                else struct.unpack_from(order + form, header, first_place)
            )

        forms, sform = read("2h", 252, "2i", 344), np.reshape(read("12f", 280, "12d", 400), (3, 4))
        dimensions = read("8h", 40, "8q", 16)
        kind = read("h", 70, "h", 12)[0]
        return cls(
            sizes=dimensions[1 : 1 + dimensions[0]],
            spacing=read("8f", 76, "8d", 104)[1 : 1 + min(dimensions[0], 3)],
            bits=read("h", 72, "h", 14)[0],
            floating={16: np.dtype(f"{order}f4"), 64: np.dtype(f"{order}f8")}.get(kind),
            offset=int(read("f", 108, "q", 168)[0]),
            tells_orientation=any(forms),
            sform_spacing=np.linalg.norm(sform[:, :3], axis=0) if forms[1] else None,
        )

    @property
    def agrees(self) -> bool:
        """Whether its two ways to tell the spacing do."""
        if self.sform_spacing is None or len(self.spacing) < 3:
            return True
        return np.allclose(self.sform_spacing, self.spacing, rtol=0.01)

    @property
    def data_bytes(self) -> int:
        return int(np.prod(self.sizes, dtype=np.int64)) * self.bits // 8


def check_nifti(path: Path, *, orientation: bool = True, remedy: str = AS_AIR) -> None:
    """What ITK passes over in silence in a NIfTI file.

    It reads voxels that are missing or no number as 0, takes a spacing of 0 or NaN for 1 mm, and a file that does not
    say how the patient lies as if it did.

    Args:
        path: the file.
        orientation: whether the file must say how the patient lies.
        remedy: what to do about voxels that are no number.

    Raises:
        InputError: the file is one of these.
    """
    in_pair = path.suffix.lower() in (".hdr", ".img")
    open_file = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with open_file(path.with_suffix(".hdr") if in_pair else path, "rb") as file:
            header = _NiftiHeader.of(file.read(NIFTI_HEADER_BYTES))
            length, bad = (header.data_bytes, 0) if in_pair else _read_data(file, header)
    # A damaged header has sizes below 0, or an offset that is no number.
    except (OSError, EOFError, ValueError, OverflowError, zlib.error, struct.error) as error:
        raise _unreadable(path) from error
    _check_spacing(header.spacing, path)
    if orientation and not header.agrees:
        raise InputError(
            f"{path} gives two different voxel spacings (in its pixdim and its sform). Export it again from its source."
        )
    if length < header.data_bytes:
        raise _unreadable(path)
    if bad:
        raise _no_numbers(str(path), bad, remedy)
    if orientation and not header.tells_orientation:
        raise InputError(
            f"{path} does not say how the patient lies in it (neither its qform nor its sform is set), so left and "
            "right, or front and back, may be mistaken. Export it again with its orientation."
        )


def _read_data(file: IO[bytes], header: _NiftiHeader) -> tuple[int, int]:
    """How many bytes of voxels are there, and how many voxels are floating point values that are no number."""
    file.seek(header.offset)
    length = bad = 0
    while block := file.read(min(BLOCK_BYTES, header.data_bytes - length)):
        length += len(block)
        if header.floating:
            values = np.frombuffer(block, header.floating, count=len(block) // header.floating.itemsize)
            bad += int(np.count_nonzero(~np.isfinite(values)))
    return length, bad


# DICOM


@dataclass(frozen=True)
class _DicomImage:
    """What the header of one DICOM file says about its place."""

    path: str
    size: tuple[int, ...]
    spacing: tuple[float, ...]
    origin: np.ndarray
    direction: np.ndarray


def _read_dicom_folder(folder: Path) -> sitk.Image:
    series = _image_series(folder)
    if len(series) > 1:
        found = ", ".join(f"'{_description(files[0])}' ({len(files)} images)" for files in series)
        raise InputError(
            f"{folder} holds {len(series)} DICOM series: {found}. "
            "Copy the one to segment into a folder of its own and give that folder."
        )
    images = [_dicom_image(file) for file in series[0]]
    if len(images) > 1:
        images = _in_order(images, folder)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([image.path for image in images])
    ct = _voxels(reader, folder)
    if ct.GetDimension() != 3 or ct.GetNumberOfComponentsPerPixel() > 1:
        raise InputError(f"{folder} holds DICOM images in color, not CT slices. Give the folder of the CT series.")
    if len(images) == 1:
        _tell_thickness(ct, Path(images[0].path))
    _check_spacing(ct.GetSpacing(), folder)
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
            raise _unreadable(file)
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


def _check_dicom(header: sitk.ImageFileReader, path: Path) -> None:
    """Raises InputError for a file of many slices, whose places ITK does not read, and for one without a pixel size."""
    if header.GetDimension() > 2 and header.GetSize()[2] > 1:
        raise InputError(
            f"{path} is a DICOM file of many slices (Enhanced CT), whose places cannot be read here. Load it in 3D "
            "Slicer and give the volume saved there."
        )
    if header.GetNumberOfComponents() == 1 and not _entry(header, PIXEL_SPACING):
        raise InputError(f"{path} does not say how large its pixels are. Export the series again from its source.")


def _tell_thickness(slice_: sitk.Image, path: Path) -> None:
    """Gives a single slice the thickness of which ITK reads nothing where no distance between slices is told."""
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
    header = _read_header(Path(file))
    _check_dicom(header, Path(file))
    return _DicomImage(
        file,
        header.GetSize(),
        header.GetSpacing()[:2],
        np.array(header.GetOrigin()),
        np.array(header.GetDirection()).reshape(3, 3),
    )


def _tag(file: str, key: str) -> str:
    return _entry(_read_header(Path(file)), key)


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
            "Load the series in 3D Slicer, which corrects this when it imports DICOM, and give the volume saved there."
        )
    return images


# Voxels


def check_voxels(ct: sitk.Image, name: str) -> None:
    """Raises InputError, with the CT's name in the sentence, where the voxels are no numbers or nothing but air."""
    voxels = sitk.GetArrayViewFromImage(ct)
    if np.issubdtype(voxels.dtype, np.complexfloating):
        raise InputError(f"{name} holds complex numbers, not HU. Give the CT itself.")
    check_numbers(ct, name)
    if voxels.max() <= AIR_HU:
        raise InputError(
            f"{name} holds nothing but air: its highest value is {voxels.max():g} HU. Check that it is the right CT."
        )


def check_numbers(image: sitk.Image, name: str, remedy: str = AS_AIR) -> None:
    """Raises InputError, with the image's name and what to do, where voxels are no numbers."""
    voxels = sitk.GetArrayViewFromImage(image)
    if np.issubdtype(voxels.dtype, np.floating):
        bad = sum(int(np.count_nonzero(~np.isfinite(plane))) for plane in voxels)
        if bad:
            raise _no_numbers(name, bad, remedy)


def _no_numbers(name: str, count: int, remedy: str) -> InputError:
    return InputError(f"{name} has {count} voxels that are no number (NaN or infinite). {remedy}")


# Messages


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps what ITK's readers print to the process's own streams from the user: the sentences here replace it."""
    warnings = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        saved = [(stream, os.dup(stream)) for stream in (1, 2)]
    except OSError:
        # A windowed process may have no streams; then nothing can be printed to them either.
        saved = []
    try:
        with open(os.devnull, "wb") as nowhere:
            for stream, _ in saved:
                os.dup2(nowhere.fileno(), stream)
            yield
    finally:
        for stream, copy in saved:
            os.dup2(copy, stream)
            os.close(copy)
        sitk.ProcessObject.SetGlobalWarningDisplay(warnings)
