"""What ITK passes over in silence in NIfTI files."""

from __future__ import annotations

import gzip
import struct
import zlib
from io import BufferedIOBase
from pathlib import Path

import numpy as np

from ..errors import InputError
from .image_headers import AS_AIR, check_spacing, no_numbers, unreadable
from .nifti_header import HEADER_BYTES, NiftiHeader

IN_ONE_FILE = b"n+1\0"
MAGIC = IN_ONE_FILE, b"ni1\0"
FIRST_VOXEL = 352
"""At least so many bytes come before the voxels that follow their header."""

MAGIC_AT = 344
NIFTI2_MAGIC = b"n+2", b"ni2"

BLOCK_BYTES = 1 << 20
"""Read at a time: whole voxels of any type."""

BLOCKS_BEHIND = 16
"""So much is read behind the voxels, where nothing need be, to come to the checksum at the end of a compressed file."""

GZIP = b"\x1f\x8b"
"""Begins a compressed file."""

NO_GZIP = "Not a gzipped file"
"""How Python begins to tell of bytes that are no compressed file."""

OPPOSITE_DEGREES = 60.0
"""No movement of a patient in a scanner, and no alignment with another image, turns an axis by more."""

SCANNER = 1
"""The code of a form that places the patient as the scanner did."""


def check_nifti_version(path: Path) -> None:
    """Raises InputError for a NIfTI-2 file, or one under a wrong name, which ITK takes for no image, or for damaged."""
    _check_ending(path)
    try:
        with _open_header(path) as file:
            magic = file.read(7)[4:]
    except (OSError, EOFError, zlib.error):
        return
    if magic in NIFTI2_MAGIC:
        raise InputError(
            f"{path} is a NIfTI-2 file, which can be read neither here nor in 3D Slicer. Save it as NIfTI-1 or NRRD "
            "with the program that made it."
        )


def check_nifti(path: Path, *, orientation: bool = True, remedy: str = AS_AIR) -> None:
    """What ITK passes over in silence in a NIfTI file.

    It reads voxels that are missing or no number as 0, begins to read them within the header where the file says so,
    does not look at the checksum of a compressed file, takes a spacing of 0 or NaN for 1 mm, and a file that does not
    say how the patient lies as if it did. Of two ways to say it that contradict each other it takes one: the sform
    where its code is the scanner's, otherwise the qform. It forgets an sform that is sheared beside a qform.

    Args:
        path: the file.
        orientation: whether the file must say how the patient lies.
        remedy: what to do about voxels that are no number.

    Raises:
        InputError: the file is one of these.
    """
    try:
        with _open_header(path) as file:
            header = NiftiHeader.of(file.read(HEADER_BYTES))
        with _open_voxels(path) as file:
            length, bad = _read_data(file, header)
    # A damaged header has sizes below 0, or an offset that is no number.
    except (OSError, EOFError, ValueError, OverflowError, zlib.error, struct.error) as error:
        raise unreadable(path) from error
    if orientation and header.magic not in MAGIC:
        raise InputError(
            f"{path} is an Analyze 7.5 file, which does not say how the patient lies in it, so left and right may be "
            "mistaken. Export the CT again, as NIfTI or NRRD."
        )
    if header.magic == IN_ONE_FILE and header.offset < FIRST_VOXEL:
        raise InputError(
            f"{path} says that its voxels begin within its header (vox_offset {header.offset}), so where they begin is "
            "not known: read from the wrong place, they are shifted. Export it again from its source, or save it again "
            "with the program that made it."
        )
    check_spacing(header.spacing, path)
    if orientation and len(header.spacing) == 3:
        _check_forms(header, path)
    if length < header.data_bytes:
        raise unreadable(path)
    if bad:
        raise no_numbers(str(path), bad, remedy)
    if orientation and not (header.qform_code or header.sform_code):
        raise InputError(
            f"{path} does not say how the patient lies in it (neither its qform nor its sform is set), so left and "
            "right, or front and back, may be mistaken. Export it again with its orientation."
        )


def place_doubts(path: Path) -> list[str]:
    """About a NIfTI file that `check_nifti` accepts although it places the patient in two ways.

    These are ways of different meaning, such as the scanner's and one that is aligned with another image. The voxels
    are the same in both, but other programs may place the CT, and what is saved beside it, in the other way.
    """
    with _open_header(path) as file:
        header = NiftiHeader.of(file.read(HEADER_BYTES))
    if not header.differs:
        return []
    used, other = ("sform", "qform") if header.sform_code == SCANNER else ("qform", "sform")
    return [
        f"The CT's file places the patient in two ways, which differ by {header.difference}. Its {used} was used, as "
        f"in 3D Slicer. A program that uses its {other} shows the results beside the CT, not on it."
    ]


def _check_ending(path: Path) -> None:
    """Raises InputError for a NIfTI file whose name says wrongly whether it is compressed."""
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        return
    packed = _starts(path, packed=False).startswith(GZIP)
    named_packed = path.suffix.lower() == ".gz"
    if packed == named_packed or not _starts(path, packed=packed)[MAGIC_AT:].startswith(MAGIC):
        return
    is_, ending = ("compressed", ".nii.gz") if packed else ("not compressed", ".nii")
    raise InputError(
        f"{path} is {is_}, though its name says otherwise, so it cannot be read. Rename it, so that its name ends in "
        f"{ending}."
    )


def _starts(path: Path, *, packed: bool) -> bytes:
    """The first bytes of a file, unpacked; none where it cannot be read."""
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            return file.read(HEADER_BYTES)
    except (OSError, EOFError, zlib.error):
        return b""


def _in_pair(path: Path) -> bool:
    return path.suffix.lower() in (".hdr", ".img")


def _open_header(path: Path) -> BufferedIOBase:
    """The file that has the header, and, but for a pair, the voxels; unpacked."""
    if path.suffix.lower() == ".gz":
        return gzip.open(path)
    return (path.with_suffix(".hdr") if _in_pair(path) else path).open("rb")


def _open_voxels(path: Path) -> BufferedIOBase:
    """The file that has the voxels, unpacked."""
    if not _in_pair(path):
        return _open_header(path)
    voxels, packed = path.with_suffix(".img"), path.with_suffix(".img.gz")
    return gzip.open(packed) if packed.is_file() and not voxels.is_file() else voxels.open("rb")


def _check_forms(header: NiftiHeader, path: Path) -> None:
    if header.damaged:
        raise unreadable(path)
    # ITK, and so 3D Slicer, takes a qform beside it and forgets the shear; without one neither opens the file.
    if header.sheared:
        raise InputError(
            f"The slices of {path} are sheared against each other (in its sform), as with a tilted gantry. Load the "
            "CT's DICOM series in 3D Slicer, which puts it under a transform that corrects this, harden the transform, "
            "and give the volume saved then."
        )
    if header.tells_two_spacings:
        raise InputError(
            f"{path} gives two different voxel spacings (in its pixdim and its sform). Export it again from its source."
        )
    if header.degrees_apart > OPPOSITE_DEGREES:
        raise InputError(
            f"{path} says in two ways how the patient lies in it (in its qform and its sform), which are opposite to "
            "each other, so left and right, or front and back, may be mistaken. Export it again from its source."
        )
    if header.differs and header.qform_code == header.sform_code:
        raise InputError(
            f"{path} says in two ways where the patient lies (in its qform and its sform), which differ by "
            f"{header.difference}, so the patient may be tilted, and other programs may show the results beside the "
            "CT. Export it again from its source."
        )


def _read_data(file: BufferedIOBase, header: NiftiHeader) -> tuple[int, int]:
    """How many bytes of voxels are there, and how many voxels are floating point values that are no number."""
    file.seek(header.offset)
    length = bad = 0
    while block := file.read(min(BLOCK_BYTES, header.data_bytes - length)):
        length += len(block)
        if header.floating:
            values = np.frombuffer(block, header.floating, count=len(block) // header.floating.itemsize)
            bad += int(np.count_nonzero(~np.isfinite(values)))
    _read_to_the_end(file)
    return length, bad


def _read_to_the_end(file: BufferedIOBase) -> None:
    """Raises OSError where the checksum there does not fit."""
    try:
        for _block in range(BLOCKS_BEHIND):
            if not file.read(BLOCK_BYTES):
                return
    except gzip.BadGzipFile as error:
        # What follows the compressed voxels and is not compressed does no harm.
        if NO_GZIP not in str(error):
            raise
