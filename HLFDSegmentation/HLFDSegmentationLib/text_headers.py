"""What ITK passes over in silence in NRRD and MetaImage files.

It takes 1 mm for what their headers leave out, and does not look at the checksum of compressed voxels.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from .errors import InputError
from .image_headers import unreadable

LONGEST_HEADER = 1 << 20
BLOCK_BYTES = 1 << 16

GZIP_OR_ZLIB = 47
"""What zlib calls a stream of either format, which it tells apart by itself."""

BYTES_OF_ELEMENTS = {
    "MET_CHAR": 1,
    "MET_UCHAR": 1,
    "MET_SHORT": 2,
    "MET_USHORT": 2,
    "MET_INT": 4,
    "MET_UINT": 4,
    "MET_FLOAT": 4,
    "MET_DOUBLE": 8,
}

HERE = "local"
"""What a MetaImage file calls the file of its voxels where they follow its header."""

# In other spaces of a NRRD file, such as a scanner's, ITK takes the axes for left, posterior and superior.
PATIENT_SPACES = {
    space + time
    for space in (
        "left-posterior-superior",
        "lps",
        "right-anterior-superior",
        "ras",
        "left-anterior-superior",
        "las",
    )
    for time in ("", "-time")
} | {"lpst", "rast", "last"}


def check_text_header(path: Path, reader: str) -> None:
    """Looks whether a file says how large its voxels are and how the patient lies.

    Formats: NRRD (teem.sourceforge.net/nrrd/format.html) and MetaImage (itk.org/Wiki/MetaIO/Documentation).

    Args:
        path: the file.
        reader: ITK's name of its reader; a file that is neither NRRD nor MetaImage is left to others.

    Raises:
        InputError: it does not, or its unit is not the millimeter.
    """
    if reader == "NrrdImageIO":
        _check_nrrd(_read_header(path, ":").fields, path)
    elif reader == "MetaImageIO":
        _check_meta_image(_read_header(path, "=").fields, path)


def check_checksum(path: Path, reader: str) -> None:
    """Raises InputError where the compressed voxels of a NRRD or MetaImage file were damaged, as by a bad copy.

    Args:
        path: the file.
        reader: see `check_text_header`.
    """
    unpacker, count = zlib.decompressobj(GZIP_OR_ZLIB), 0
    try:
        place = _compressed_voxels(path, reader)
        if place is None:
            return
        with open(place.file, "rb") as file:
            file.seek(place.start)
            while not unpacker.eof and (block := file.read(BLOCK_BYTES)):
                count += len(unpacker.decompress(block))
    except (OSError, ValueError, zlib.error) as error:  # A header may hold anything in place of a number.
        raise unreadable(path) from error
    if not unpacker.eof or count < place.least_bytes:
        raise unreadable(path)


class _Place(NamedTuple):
    """Where compressed voxels begin, and how many bytes there are unpacked, where that is known here."""

    file: Path
    start: int
    least_bytes: int = 0


class _Header(NamedTuple):
    """The entries, their names in lower case, and where the header ends."""

    fields: Mapping[str, str]
    end: int


def _compressed_voxels(path: Path, reader: str) -> _Place | None:
    """Where they begin; none where they are not compressed, or lie in several files."""
    if reader == "NrrdImageIO":
        fields, end = _read_header(path, ":")
        if fields.get("encoding", "").lower() not in ("gzip", "gz") or "line skip" in fields:
            return None
        name, start, least = fields.get("data file", fields.get("datafile")), 0, 0
    elif reader == "MetaImageIO":
        fields, end = _read_header(path, "=")
        if fields.get("compresseddata", "").lower()[:1] not in ("t", "1"):  # as MetaIO reads it
            return None
        name, start, least = fields.get("elementdatafile"), int(fields.get("headersize", 0)), _meta_image_bytes(fields)
        if name and name.lower() == HERE and "compresseddatasize" not in fields:
            raise unreadable(path)  # ITK would not know how much to read, and takes what lies in memory.
    else:
        return None
    if name is None or name.lower() == HERE:
        return _Place(path, end, least)
    beside = path.parent / name
    return _Place(beside, max(0, start), least) if beside.is_file() else None


def _meta_image_bytes(fields: Mapping[str, str]) -> int:
    """How many bytes its voxels have, of which ITK takes what lies in memory where they are fewer."""
    voxel = BYTES_OF_ELEMENTS.get(fields.get("elementtype", "").upper().removesuffix("_ARRAY"), 0)
    channels = int(fields.get("elementnumberofchannels", 1))
    return voxel * channels * math.prod(int(size) for size in fields.get("dimsize", "0").split())


def _read_header(path: Path, separator: str) -> _Header:
    fields = {}
    with open(path, "rb") as file:
        while file.tell() < LONGEST_HEADER:
            text = file.readline(LONGEST_HEADER).decode("utf-8", "replace").strip()
            if not text:
                break
            # A NRRD file's own entries have a colon; what programs add to it, as 3D Slicer does, has := instead.
            if separator in text and ":=" not in text:
                name, value = text.split(separator, 1)
                fields[name.strip().lower()] = value.strip()
            if text.lower().startswith("elementdatafile"):
                break
        return _Header(fields, file.tell())


def _check_nrrd(fields: Mapping[str, str], path: Path) -> None:
    space = fields.get("space", "").lower()
    if "space directions" not in fields or space not in PATIENT_SPACES:
        raise _untold(path, "no 'space directions' in one of the patient's spaces")
    units = fields.get("space units", "").replace('"', " ").split()
    if wrong := sorted({unit for unit in units if unit.lower() not in ("mm", "millimeter", "s", "ms", "")}):
        raise _not_in_mm(path, wrong[0])


def _check_meta_image(fields: Mapping[str, str], path: Path) -> None:
    if not {"elementspacing", "elementsize"} & fields.keys():
        raise _untold(path, "no 'ElementSpacing'")
    if not {"transformmatrix", "orientation", "rotation"} & fields.keys():
        raise _untold(path, "no 'TransformMatrix'")
    unit = fields.get("distanceunits", "mm")
    if unit.lower() not in ("mm", "?", ""):
        raise _not_in_mm(path, unit)


def _not_in_mm(path: Path, unit: str) -> InputError:
    return InputError(
        f"{path} gives its voxel spacing in {unit}. Save it again with a spacing in mm, for example in 3D Slicer."
    )


def _untold(path: Path, missing: str) -> InputError:
    return InputError(
        f"{path} does not say how large its voxels are or how the patient lies in it (its header has {missing}), so "
        "volumes would be wrong, or left and right mistaken. Export it again with spacing and orientation."
    )
