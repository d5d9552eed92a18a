"""What ITK passes over in silence in NRRD and MetaImage files.

It takes 1 mm for what their headers leave out or spell otherwise, does not look at the checksum of compressed voxels,
and reads these, and those of a file of their own, from the first byte, however many there are.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Mapping
from io import BufferedIOBase
from pathlib import Path
from typing import NamedTuple

from ..errors import InputError
from .image_headers import unreadable

LONGEST_HEADER = 1 << 20
BLOCK_BYTES = 1 << 16

GZIP_OR_ZLIB = 47
"""What zlib calls a stream of either format, which it tells apart by itself."""

GZIP = b"\x1f\x8b"
"""Begins a stream of that format, of which several may follow each other in a file."""

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

BYTES_OF_TYPES = {
    name: size
    for size, names in (
        (1, "signed char|int8|int8_t|uchar|unsigned char|uint8|uint8_t"),
        (2, "short|short int|signed short|signed short int|int16|int16_t"),
        (2, "ushort|unsigned short|unsigned short int|uint16|uint16_t"),
        (4, "int|signed int|int32|int32_t|uint|unsigned int|uint32|uint32_t|float"),
        (8, "longlong|long long|int64|int64_t|ulonglong|unsigned long long|uint64|uint64_t|double"),
    )
    for name in names.split("|")
}
"""Of a NRRD file's voxels."""

SPACING = "ElementSpacing", "ElementSize"
AXES = "TransformMatrix", "Orientation", "Rotation"
ORIGIN = "Offset", "Position", "Origin"
UNIT = ("DistanceUnits",)
"""Names of a MetaImage file's entries, of which one is enough, and which ITK knows in this spelling alone."""

HERE = "local"
"""What a MetaImage file calls the file of its voxels where they follow its header."""

LIST = "LIST"
"""What stands for a file of voxels where the names of several follow."""

NUMBERED = re.compile(r"([^%]*%\d{0,2}d[^%]*) (\d{1,5}) (\d{1,5}) ([1-9]\d{0,4})(?: \d+)?")
"""Stands for several files: their name with a place for a number, the first and the last of these, and the step."""

NUMBERED_SOMEHOW = re.compile(r".*%.*(\s+-?\d+){3,}")
"""A stranger's header may hold any numbers, at some of which ITK would end the whole program."""

SPATIAL_AXES = 3

DIRECTION = re.compile(r"\([-+.,\deE\s]+\)")
"""Of an axis in a NRRD file. One of a list has "none", or numbers that are none, in its place."""

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
        InputError: it does not, its unit is not the millimeter, or a file of its voxels is longer than they are.
    """
    if reader not in ("NrrdImageIO", "MetaImageIO"):
        return
    try:
        if reader == "NrrdImageIO":
            header = _read_header(path, ":")
            _check_nrrd(header.fields, path)
            voxels = _raw_nrrd(header, path)
        else:
            header = _read_header(path, "=")
            _check_meta_image(header, path)
            voxels = _raw_meta_image(header, path)
    except ValueError as error:  # A header may hold anything in place of a number.
        raise unreadable(path) from error
    for place in voxels:
        # ITK passes over what a header tells it to, and says itself that a file is not there.
        if place.file.is_file() and not place.start:
            _check_length(place, place.file.stat().st_size, path)


def check_checksum(path: Path, reader: str) -> None:
    """Raises InputError where the compressed voxels of a NRRD or MetaImage file were damaged, as by a bad copy, or are
    more than its header tells of.

    Args:
        path: the file.
        reader: see `check_text_header`.
    """
    try:
        place = _compressed_voxels(path, reader)
        if place is None:
            return
        with open(place.file, "rb") as file:
            file.seek(place.start)
            count = _unpacked_bytes(file)
    except (OSError, ValueError, zlib.error) as error:  # A header may hold anything in place of a number.
        raise unreadable(path) from error
    if count is None or count < place.bytes:
        raise unreadable(path)
    _check_length(place, count, path)


def _unpacked_bytes(file: BufferedIOBase) -> int | None:
    """How many there are; none where the file ends before them."""
    unpacker, count, packed = zlib.decompressobj(GZIP_OR_ZLIB), 0, b""
    while packed or (packed := file.read(BLOCK_BYTES)):
        if unpacker.eof:
            if not packed.startswith(GZIP):
                break
            unpacker = zlib.decompressobj(GZIP_OR_ZLIB)
        count += len(unpacker.decompress(packed))
        packed = unpacker.unused_data
        if len(packed) == 1:  # of the two bytes by which the next stream is known
            packed += file.read(BLOCK_BYTES)
    return count if unpacker.eof else None


class _Place(NamedTuple):
    """Where voxels begin in a file, and how many bytes they have, unpacked; 0 where that is not known here."""

    file: Path
    start: int
    bytes: int


class _Header(NamedTuple):
    """The entries, their names in lower case, and as they are spelled, where they end, and the files of a list."""

    fields: Mapping[str, str]
    spelled: frozenset[str]
    end: int
    listed: list[str]


def _compressed_voxels(path: Path, reader: str) -> _Place | None:
    """Where they begin; none where they are not compressed, or lie in several files."""
    if reader == "NrrdImageIO":
        fields, _, end, _ = _read_header(path, ":")
        if fields.get("encoding", "").lower() not in ("gzip", "gz") or "line skip" in fields:
            return None
        # What is to be passed over is so after unpacking.
        size = 0 if _nrrd_skip(fields) else _nrrd_bytes(fields)
        name, start = _nrrd_data_file(fields), 0
    elif reader == "MetaImageIO":
        fields, _, end, _ = _read_header(path, "=")
        if not _is_compressed(fields):
            return None
        name, start, size = fields.get("elementdatafile"), int(fields.get("headersize", 0)), _meta_image_bytes(fields)
        if name and name.lower() == HERE and "compresseddatasize" not in fields:
            raise unreadable(path)  # ITK would not know how much to read, and takes what lies in memory.
    else:
        return None
    if name is None or name.lower() == HERE:
        return _Place(path, end, size)
    beside = path.parent / name
    return _Place(beside, max(0, start), size) if beside.is_file() else None


def _is_compressed(fields: Mapping[str, str]) -> bool:
    return _is_true(fields.get("compresseddata", ""))


def _is_true(told: str) -> bool:
    return told.lower()[:1] in ("t", "1")  # as MetaIO reads it


def _nrrd_data_file(fields: Mapping[str, str]) -> str | None:
    return fields.get("data file", fields.get("datafile"))


def _nrrd_bytes(fields: Mapping[str, str]) -> int:
    """How many bytes its voxels have; 0 where that is not known."""
    size = BYTES_OF_TYPES.get(fields.get("type", "").lower(), 0)
    return size * math.prod(int(side) for side in fields.get("sizes", "0").split())


def _nrrd_skip(fields: Mapping[str, str]) -> int:
    """How many bytes come before its voxels."""
    return int(fields.get("byte skip", fields.get("byteskip", 0)))


def _raw_nrrd(header: _Header, path: Path) -> list[_Place]:
    """Where voxels lie in files of their own, as they are; nothing otherwise."""
    fields = header.fields
    name = _nrrd_data_file(fields)
    if fields.get("encoding", "").lower() != "raw" or {"line skip", "lineskip"} & fields.keys() or not name:
        return []
    return _places(name, header, path, _nrrd_skip(fields), _nrrd_bytes(fields))


def _raw_meta_image(header: _Header, path: Path) -> list[_Place]:
    """As `_raw_nrrd`."""
    fields = header.fields
    name = fields.get("elementdatafile", HERE)
    if _is_compressed(fields) or not _is_true(fields.get("binarydata", "")) or name.lower() == HERE:
        return []
    return _places(name, header, path, int(fields.get("headersize", 0)), _meta_image_bytes(fields))


def _places(name: str, header: _Header, path: Path, start: int, size: int) -> list[_Place]:
    """Where voxels lie in the one file, or the several alike, that a name stands for. Raises ValueError for none."""
    if match := NUMBERED.fullmatch(name):
        first, last, step = map(int, match.groups()[1:])
        names = [match[1] % number for number in range(first, last + 1, step)]
    else:
        names = header.listed or [name]
    if not names or (not match and NUMBERED_SOMEHOW.fullmatch(name)):
        raise ValueError("no files can be numbered so")
    return [_Place(path.parent / name, start, size // len(names)) for name in names]


def _check_length(voxels: _Place, there: int, path: Path) -> None:
    """Raises InputError where more bytes are there than the voxels have by a header at this path."""
    more = there - voxels.bytes
    if voxels.bytes and more > 0:
        whose = "its header" if voxels.file == path else path
        raise InputError(
            f"{voxels.file} is {more} bytes longer than the voxels that {whose} tells of, so where these begin is not "
            "known: read from the wrong place, the CT is shifted. Export it again, or say in the header how many bytes "
            "come before them (byte skip in NRRD, HeaderSize in MetaImage)."
        )


def _meta_image_bytes(fields: Mapping[str, str]) -> int:
    """How many bytes its voxels have, of which ITK takes what lies in memory where they are fewer."""
    voxel = BYTES_OF_ELEMENTS.get(fields.get("elementtype", "").upper().removesuffix("_ARRAY"), 0)
    channels = int(fields.get("elementnumberofchannels", 1))
    return voxel * channels * math.prod(int(size) for size in fields.get("dimsize", "0").split())


def _read_header(path: Path, separator: str) -> _Header:
    fields, spelled = {}, set()
    with open(path, "rb") as file:
        while file.tell() < LONGEST_HEADER:
            text = file.readline(LONGEST_HEADER).decode("utf-8", "replace").strip()
            if not text:
                break
            # A NRRD file's own entries have a colon; what programs add to it, as 3D Slicer does, has := instead.
            if separator in text and ":=" not in text:
                name, value = text.split(separator, 1)
                spelled.add(name.strip())
                fields[name.strip().lower()] = value.strip()
            if text.lower().startswith("elementdatafile") or _is_list(fields):
                break
        end = file.tell()
        listed = file.read(LONGEST_HEADER).decode("utf-8", "replace").split("\n") if _is_list(fields) else []
        return _Header(fields, frozenset(spelled), end, [name.strip() for name in listed if name.strip()])


def _is_list(fields: Mapping[str, str]) -> bool:
    """Whether names of files of voxels follow."""
    name = fields.get("elementdatafile", _nrrd_data_file(fields)) or ""
    return name.split()[:1] == [LIST]


def _check_nrrd(fields: Mapping[str, str], path: Path) -> None:
    space = fields.get("space", "").lower()
    if "space directions" not in fields or space not in PATIENT_SPACES:
        raise _untold(path, "no 'space directions' in one of the patient's spaces")
    if len(DIRECTION.findall(fields["space directions"])) < SPATIAL_AXES:
        raise _untold(path, "'space directions' of fewer than three axes")
    units = fields.get("space units", "").replace('"', " ").split()
    if wrong := sorted({unit for unit in units if unit.lower() not in ("mm", "millimeter", "s", "ms", "")}):
        raise _not_in_mm(path, wrong[0])


def _check_meta_image(header: _Header, path: Path) -> None:
    for names in (SPACING, AXES, ORIGIN, UNIT):
        if header.spelled.isdisjoint(names):
            otherwise = [name for name in names if name.lower() in header.fields]
            if otherwise:
                raise _untold(path, f"'{otherwise[0]}' in another spelling, which is not read")
            if names in (SPACING, AXES):
                raise _untold(path, f"no '{names[0]}'")
    unit = header.fields.get("distanceunits", "mm")
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
