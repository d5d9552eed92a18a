"""What ITK passes over in silence in NIfTI files."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import numpy as np

from .errors import InputError
from .image_headers import AS_AIR, check_spacing, no_numbers, unreadable

NIFTI_HEADER_BYTES = 540
"""Of NIfTI-2; that of NIfTI-1 is shorter."""

BLOCK_BYTES = 1 << 20
"""Read at a time: whole voxels of any type."""


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
    forms_agree: bool

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

        forms, sform = read("2h", 252, "2i", 344), np.reshape(read("12f", 280, "12d", 400), (3, 4))[:, :3]
        dimensions, pixdim = read("8h", 40, "8q", 16), read("8f", 76, "8d", 104)
        b, c, d = read("3f", 256, "3d", 352)
        qform = _rotation(b, c, d, pixdim[0])
        kind = read("h", 70, "h", 12)[0]
        return cls(
            sizes=dimensions[1 : 1 + dimensions[0]],
            spacing=pixdim[1 : 1 + min(dimensions[0], 3)],
            bits=read("h", 72, "h", 14)[0],
            floating={16: np.dtype(f"{order}f4"), 64: np.dtype(f"{order}f8")}.get(kind),
            offset=int(read("f", 108, "q", 168)[0]),
            tells_orientation=any(forms),
            sform_spacing=np.linalg.norm(sform, axis=0) if forms[1] else None,
            forms_agree=not all(forms) or _agree(qform, sform),
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


def _rotation(b: float, c: float, d: float, handedness: float) -> np.ndarray:
    """The directions of the axes (3, 3) by the qform, one a column ("METHOD 2" in the NIfTI-1.1 format)."""
    a = math.sqrt(max(0.0, 1 - b * b - c * c - d * d))
    return np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    ) * [1, 1, -1 if handedness < 0 else 1]


def _agree(rotation: np.ndarray, matrix: np.ndarray) -> bool:
    """Whether two (3, 3) point the same way with every axis, to 60 degrees: one may have turned the patient upright."""
    return bool(((rotation * matrix).sum(axis=0) > 0.5 * np.linalg.norm(matrix, axis=0)).all())


def check_nifti(path: Path, *, orientation: bool = True, remedy: str = AS_AIR) -> None:
    """What ITK passes over in silence in a NIfTI file.

    It reads voxels that are missing or no number as 0, takes a spacing of 0 or NaN for 1 mm, and a file that does not
    say how the patient lies as if it did. Of two ways to say it that contradict each other it takes one.

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
        raise unreadable(path) from error
    check_spacing(header.spacing, path)
    if orientation and not header.agrees:
        raise InputError(
            f"{path} gives two different voxel spacings (in its pixdim and its sform). Export it again from its source."
        )
    if orientation and not header.forms_agree:
        raise InputError(
            f"{path} says in two ways how the patient lies in it (in its qform and its sform), which are opposite to "
            "each other, so left and right, or front and back, may be mistaken. Export it again from its source."
        )
    if length < header.data_bytes:
        raise unreadable(path)
    if bad:
        raise no_numbers(str(path), bad, remedy)
    if orientation and not header.tells_orientation:
        raise InputError(
            f"{path} does not say how the patient lies in it (neither its qform nor its sform is set), so left and "
            "right, or front and back, may be mistaken. Export it again with its orientation."
        )


def _read_data(file: BufferedIOBase, header: _NiftiHeader) -> tuple[int, int]:
    """How many bytes of voxels are there, and how many voxels are floating point values that are no number."""
    file.seek(header.offset)
    length = bad = 0
    while block := file.read(min(BLOCK_BYTES, header.data_bytes - length)):
        length += len(block)
        if header.floating:
            values = np.frombuffer(block, header.floating, count=len(block) // header.floating.itemsize)
            bad += int(np.count_nonzero(~np.isfinite(values)))
    return length, bad
