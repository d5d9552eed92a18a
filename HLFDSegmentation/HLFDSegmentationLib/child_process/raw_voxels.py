"""The voxels in the raw files of the worker's protocol: for the worker, and for Slicer, without SimpleITK."""

from __future__ import annotations

from typing import Literal

import numpy as np

from .worker_protocol import RawImage, VoxelType


def stored_type(voxels: VoxelType) -> np.dtype:
    """What voxels of this type are in a file, whatever this computer's own order of bytes."""
    return np.dtype(voxels).newbyteorder("<")


def open_voxels(image: RawImage, mode: Literal["r", "r+"] = "r") -> np.memmap:
    """The voxels [z, y, x] of a raw image as a memory map; they are read when they are looked at.

    Args:
        image: the image.
        mode: "r+" to change them in the file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is shorter than the image.
    """
    return np.memmap(image.file, stored_type(image.dtype), mode, shape=image.grid.shape)
