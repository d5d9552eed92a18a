"""Tensors that are computed once and kept in files, which several processes fill at the same time."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import BinaryIO
from zlib import crc32

import numpy as np
import torch
from HLFDSegmentationLib.output.safe_files import check_space, make_aside
from numpy.lib.format import open_memmap

from ..runs.weights_files import writing

WRITTEN = 1 << 32
"""Added to a row's CRC-32, so that no row that was written has the check 0 of one that was not."""

KEPT_FREE = 4_000_000_000
"""Bytes of the disk that are left to who needs them: a run could do without what is kept here, but not without its
checkpoints. Those of a student, with their copies aside, take 0.06 GB (mobilenetv2-unet) to 1.2 GB (unet++), and
several students are trained at a time."""


class ConstantStore:
    """A file NAME.npy for each kind of tensor, with a row for each thing that it is computed from.

    A row is `check` and `value`. The check is the CRC-32 of the value and of what it was computed from. So a row is not
    there while another process is writing it, when a killed one left it half written, when it was damaged, or when it
    was computed from something else. Processes that compute the same write the same.

    Rows that were never written take no space on most file systems; on Windows, they do.

    Args:
        folder: of the files; made when something is written.
        rows: in each file.
    """

    def __init__(self, folder: Path, rows: int) -> None:
        self.folder = Path(folder)
        self.rows = rows
        self._files: dict[str, _Rows] = {}

    def read(self, name: str, row: int, source: int) -> torch.Tensor | None:
        """A value, or None where it is not there. `source` is the CRC-32 of what it is computed from."""
        rows = self._files.get(name) or self._open(name)
        return rows.read(row, source) if rows else None

    def write(self, name: str, row: int, source: int, value: torch.Tensor) -> None:
        """Keeps a value. Raises OutputError where it cannot be written, or only `KEPT_FREE` of the disk is left."""
        array = _to_array(value)
        with writing(self.folder):
            self._check_space()
            rows = self._files.get(name) or self._open(name)
            if rows is None or rows.dtype != _row_type(array):
                rows = self._make(name, array)
            rows.write(row, source, array)

    def _check_space(self, needed: int = 0) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        check_space(self.folder, KEPT_FREE + needed)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.npy"

    def _open(self, name: str) -> _Rows | None:
        """The file's rows, unless it is missing, damaged, or another file of the same name."""
        try:
            rows = _Rows(self._path(name))
        except (OSError, ValueError):
            return None
        if rows.count != self.rows:
            return None
        self._files[name] = rows
        return rows

    def _make(self, name: str, value: np.ndarray) -> _Rows:
        """Rows for values like this one, in the place of a file that is of no use."""
        if sys.platform == "win32":  # where the file takes the space of all its rows at once
            self._check_space(self.rows * _row_type(value).itemsize)
        path = self._path(name)
        aside = make_aside(self.folder)
        part = aside / path.name
        try:
            open_memmap(part, "w+", _row_type(value), (self.rows,)).flush()
            try:
                os.link(part, path)  # Unlike a renamed file, it never takes the place of one that is being filled.
            except FileExistsError:
                rows = self._open(name)
                if rows is None or rows.dtype != _row_type(value):
                    os.replace(part, path)
            except OSError:  # a file system without links
                os.replace(part, path)
        finally:
            # Windows does not let go of the name aside while another process has opened the file by its own.
            shutil.rmtree(aside, ignore_errors=True)
        rows = self._open(name)
        if rows is None:
            raise OSError(f"{path} is being changed by another program")
        return rows


class _Rows:
    """An open file of checked rows."""

    def __init__(self, path: Path) -> None:
        rows = open_memmap(path, "r")
        if rows.ndim != 1 or rows.dtype.names != ("check", "value"):
            raise ValueError(f"{path} holds no checked rows")
        self.rows = rows
        self.count = len(rows)
        self.dtype = rows.dtype
        # Written through a stream: writing to a memory map ends the process where the disk is full.
        self.stream: BinaryIO = open(path, "r+b", buffering=0)  # noqa: SIM115

    def read(self, row: int, source: int) -> torch.Tensor | None:
        check, value = self.rows["check"][row], np.array(self.rows["value"][row])
        return _to_tensor(value) if int(check) == _check(value, source) else None

    def write(self, row: int, source: int, value: np.ndarray) -> None:
        content = np.empty((), self.dtype)
        content["check"], content["value"] = _check(value, source), value
        self.stream.seek(self.rows.offset + row * self.dtype.itemsize)
        self.stream.write(content.tobytes())


def _row_type(value: np.ndarray) -> np.dtype:
    return np.dtype([("check", np.uint64), ("value", value.dtype, value.shape)])


def _check(value: np.ndarray, source: int) -> int:
    return WRITTEN + crc32(value.data, source)


def _to_array(value: torch.Tensor) -> np.ndarray:
    value = value.detach().cpu().contiguous()
    # numpy has no bfloat16, and nothing else here is of 16-bit integers.
    return (value.view(torch.int16) if value.dtype == torch.bfloat16 else value).numpy()


def _to_tensor(value: np.ndarray) -> torch.Tensor:
    tensor = torch.from_numpy(value)
    return tensor.view(torch.bfloat16) if tensor.dtype == torch.int16 else tensor
