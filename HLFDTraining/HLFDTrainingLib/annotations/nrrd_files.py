"""Writes voxels as compressed NRRD files, which carry a grid in full precision and nothing of a patient."""

from __future__ import annotations

import gzip
from concurrent.futures import CancelledError
from pathlib import Path
from threading import Event

import numpy as np
from HLFDSegmentationLib.output.safe_files import replacing

QUICK = 1
"""Level of compression. Higher ones take many times as long, and make CT hardly any smaller."""

TYPES = {"float32": "float", "float64": "double"}
"""What NRRD calls numpy's types; the others have the same names."""


def write_nrrd(voxels: np.ndarray, voxel_to_lps: np.ndarray, path: Path, stopped: Event) -> None:
    """Writes a volume. The file is complete, or not there.

    Args:
        voxels: [k, j, i], whole or real numbers.
        voxel_to_lps: (4, 4), from voxels (i, j, k) to mm in LPS.
        path: ends in `.nrrd`.
        stopped: set it from another thread to end the writing soon; nothing is left then.

    Raises:
        OutputError: the file cannot be written.
        CancelledError: it was stopped.
    """
    little_endian = voxels.dtype.newbyteorder("<")
    with replacing(path) as part, open(part, "wb") as file:
        file.write(_header(voxels, voxel_to_lps).encode("ascii"))
        with gzip.GzipFile(fileobj=file, filename="", mode="wb", compresslevel=QUICK, mtime=0) as packed:
            for plane in voxels:
                if stopped.is_set():
                    raise CancelledError
                packed.write(np.ascontiguousarray(plane, little_endian).data)


def _header(voxels: np.ndarray, voxel_to_lps: np.ndarray) -> str:
    fields = {
        "type": TYPES.get(voxels.dtype.name, voxels.dtype.name),
        "dimension": "3",
        "space": "left-posterior-superior",
        "sizes": " ".join(str(size) for size in reversed(voxels.shape)),
        "space directions": " ".join(_vector(axis) for axis in voxel_to_lps[:3, :3].T),
        "kinds": "domain domain domain",
        "endian": "little",
        "encoding": "gzip",
        "space origin": _vector(voxel_to_lps[:3, 3]),
    }
    return "NRRD0004\n" + "".join(f"{key}: {value}\n" for key, value in fields.items()) + "\n"


def _vector(numbers: np.ndarray) -> str:
    return f"({','.join(repr(number) for number in numbers.tolist())})"
