"""What the header of a NIfTI file says."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from .image_headers import RIGHT_ANGLE

HEADER_BYTES = 348

# What ITK multiplies spacing and origin with, by the code of their unit.
MM_IN_UNIT = {1: 1000.0, 3: 0.001}

# Two ways to say how the patient lies may differ by this much, as by rounding: neither the network nor an outline
# suffers from it.
SMALL_DEGREES = 5.0
SMALL_MM = 5.0


@dataclass(frozen=True)
class NiftiHeader:
    """What a NIfTI file says of itself, by the NIfTI-1.1 data format (nifti.nimh.nih.gov). Lengths are in mm.

    A form (3, 4) has the directions of the axes in its first three columns, and the place of the first voxel in the
    last one. Where its code is 0 it is not set. What is told of forms holds for files of three axes or more.
    """

    magic: bytes
    sizes: tuple[int, ...]
    spacing: tuple[float, ...]
    bits: int
    floating: np.dtype | None
    offset: int
    qform_code: int
    sform_code: int
    qform: np.ndarray
    sform: np.ndarray

    @classmethod
    def of(cls, header: bytes) -> NiftiHeader:
        """Raises struct.error where it is too short."""
        order = "<" if struct.unpack_from("<i", header)[0] == HEADER_BYTES else ">"

        def read(form: str, place: int) -> tuple[Any, ...]:
            return struct.unpack_from(order + form, header, place)

        dimensions, pixdim = read("8h", 40), read("8f", 76)
        kind, bits = read("2h", 70)
        mm = MM_IN_UNIT.get(read("B", 123)[0] & 7, 1.0)
        qform_code, sform_code = read("2h", 252)
        b, c, d, *origin = read("6f", 256)
        return cls(
            magic=read("4s", 344)[0],
            sizes=dimensions[1 : 1 + dimensions[0]],
            spacing=tuple(mm * value for value in pixdim[1 : 1 + min(dimensions[0], 3)]),
            bits=bits,
            floating={16: np.dtype(f"{order}f4"), 64: np.dtype(f"{order}f8")}.get(kind),
            offset=int(read("f", 108)[0]),
            qform_code=qform_code,
            sform_code=sform_code,
            qform=np.column_stack([_rotation(b, c, d, pixdim[0]), mm * np.array(origin)]),
            sform=mm * np.reshape(read("12f", 280), (3, 4)),
        )

    @property
    def damaged(self) -> bool:
        """Whether a form that is set holds what is no number."""
        forms = (self.qform_code, self.qform), (self.sform_code, self.sform)
        return any(code and not np.isfinite(form).all() for code, form in forms)

    @property
    def tells_two_spacings(self) -> bool:
        """Whether its pixdim and its sform give different ones."""
        return bool(self.sform_code) and not np.allclose(
            np.linalg.norm(self.sform[:, :3], axis=0), self.spacing, rtol=0.01
        )

    @property
    def sheared(self) -> bool:
        """Whether its sform has axes that are not at right angles."""
        axes = self.sform[:, :3]
        lengths = np.linalg.norm(axes, axis=0)
        off_right_angle = np.abs(axes.T @ axes - np.diag(lengths**2)) > RIGHT_ANGLE * np.outer(lengths, lengths)
        return bool(self.sform_code and off_right_angle.any())

    @property
    def degrees_apart(self) -> float:
        """How far the two forms turn an axis against each other; 0 where one of them is not set."""
        if not (self.qform_code and self.sform_code):
            return 0.0
        cosines = (_unit_axes(self.qform) * _unit_axes(self.sform)).sum(axis=0)
        return float(np.degrees(np.arccos(np.clip(cosines, -1, 1))).max())

    @property
    def mm_apart(self) -> float:
        """How far from each other the two forms place the first voxel; 0 where one of them is not set."""
        if not (self.qform_code and self.sform_code):
            return 0.0
        return float(np.linalg.norm(self.qform[:, 3] - self.sform[:, 3]))

    @property
    def differs(self) -> bool:
        """Whether the two forms do, by more than what nobody suffers from."""
        return self.degrees_apart > SMALL_DEGREES or self.mm_apart > SMALL_MM

    @property
    def difference(self) -> str:
        """Of the two forms, in words."""
        return f"{self.degrees_apart:.0f}° and {self.mm_apart:.0f} mm"

    @property
    def data_bytes(self) -> int:
        """How long the voxels are."""
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


def _unit_axes(form: np.ndarray) -> np.ndarray:
    return form[:, :3] / np.linalg.norm(form[:, :3], axis=0)
