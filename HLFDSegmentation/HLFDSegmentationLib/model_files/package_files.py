"""The files of a model package: copied without trust, checked against their manifest, zipped.

A package is exactly the files of `SIZE_LIMITS`. Copying opens files of these names and no others, so a name such as
`../x` can never decide where something is written. Every PackageError here gives a reason only; `naming` puts the
package's name before it.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import PackageError

SCHEMA_VERSION = 1

MANIFEST = "manifest.json"
METADATA = "configs/metadata.json"
WEIGHTS = "models/model.pt"
CARD = "docs/README.md"
LICENSE = "LICENSE"

MB = 1_000_000
SIZE_LIMITS = {MANIFEST: MB, METADATA: MB, CARD: MB, LICENSE: MB, WEIGHTS: 500 * MB}
"""Every file of a package, and how many bytes it may have: the largest network of this project has 80 MB."""

OWN_NAMES = {name.rpartition("/")[2] for name in SIZE_LIMITS}
FOLDERS = {"configs", "docs", "models"}
LEFT_BY_FILE_MANAGERS = {".ds_store", "thumbs.db", "desktop.ini"}
"""Names in lower case, to be compared with such."""

BESIDE_FILES = "._"
"""How names begin that macOS gives to what it keeps beside each file, on disks of other systems."""
# JSON of long lists deflates about 30 times; weights hardly at all.
LARGEST_COMPRESSION = 200
# A package has five files and four folders. More entries than this are not worth looking at one by one.
LARGEST_ENTRY_COUNT = 100
ENCRYPTED = 0x1  # bit of a zip entry's flags

GET_AGAIN = "Get the package again from where it came from."

_NAME = re.compile(r"(?!(con|prn|aux|nul|com\d|lpt\d)$)[a-z0-9][a-z0-9_-]{0,63}")
"""Windows makes no folder that is named as one of its devices."""


def is_package_name(name: str) -> bool:
    """Whether a package may have this name: at most 64 lowercase letters, digits, - and _, usable as a folder."""
    return _NAME.fullmatch(name) is not None


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Turns the reason why a package is refused, or cannot be read, into a sentence that names the package."""
    try:
        yield
    except PackageError as error:
        raise PackageError(f"The model package {name} cannot be used: {error}") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise PackageError(
            f"The model package {name} could not be read or copied: {reason}. Check that you may read it and that the "
            "disk has space."
        ) from error


def write_files(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Writes a package's files and their manifest into a new folder."""
    for name in FOLDERS:
        (folder / name).mkdir(parents=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    files = {name: _fingerprint(content) for name, content in contents.items()}
    (folder / MANIFEST).write_bytes(to_json({"schema_version": SCHEMA_VERSION, "files": files}))


def check_files(folder: Path) -> dict[str, str]:
    """SHA-256 of every file that the manifest lists, after comparing the whole folder with the manifest.

    Raises:
        PackageError: a file is missing, changed, too large, a link or not part of a package, or the manifest is wrong.
    """
    _check_names(folder)
    manifest = read_json(folder / MANIFEST)
    check_schema(manifest.get("schema_version"))
    listed = manifest.get("files")
    if not isinstance(listed, dict) or set(listed) != set(SIZE_LIMITS) - {MANIFEST}:
        raise PackageError(f"{MANIFEST} does not list the files of a model package. {GET_AGAIN}")
    for name, fingerprint in listed.items():
        if fingerprint != _fingerprint((folder / name).read_bytes()):
            raise changed(name)
    return {name: fingerprint["sha256"] for name, fingerprint in listed.items()}


def _fingerprint(content: bytes) -> dict[str, int | str]:
    return {"bytes": len(content), "sha256": sha256(content)}


def check_schema(version: Any) -> None:
    """Raises PackageError where a package was made for another version of this layout."""
    if version != SCHEMA_VERSION:
        told = version if isinstance(version, int) else "unknown"
        raise PackageError(
            f"it has schema version {told}, and this HLFD reads version {SCHEMA_VERSION}. Update HLFD, or get a "
            "package that was made for this version."
        )


def changed(name: str) -> PackageError:
    """What is raised for a file that is not what the manifest says."""
    return PackageError(f"{name} is not the file that {MANIFEST} lists; it was changed or damaged. {GET_AGAIN}")


def _check_names(folder: Path) -> None:
    found: set[str] = set()
    for parent, folders, files in os.walk(folder):
        for name in folders + files:
            path = Path(parent, name)
            inside = path.relative_to(folder).as_posix()
            if _is_left_behind(name):
                continue
            mode = path.lstat().st_mode
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                raise _link(inside)
            if inside not in (FOLDERS if stat.S_ISDIR(mode) else SIZE_LIMITS):
                if (path / MANIFEST).is_file():
                    raise PackageError(f"the package lies in its folder {inside!r}. Import that folder.")
                raise _stranger(inside)
            if inside in SIZE_LIMITS:
                _check_size(inside, path.stat().st_size)
                found.add(inside)
    _check_complete(found)


def _is_left_behind(name: str) -> bool:
    return name.lower() in LEFT_BY_FILE_MANAGERS or name.startswith(BESIDE_FILES)


def _check_complete(found: set[str]) -> None:
    for name in SIZE_LIMITS:
        if name not in found:
            raise PackageError(f"{name} is missing. {GET_AGAIN}")


def _check_size(name: str, size: int) -> None:
    if size > SIZE_LIMITS[name]:
        raise PackageError(f"{name} is larger than {SIZE_LIMITS[name] // MB} MB, which no model needs. {GET_AGAIN}")


def _stranger_in_zip(name: str) -> PackageError:
    if name.startswith("__MACOSX/"):
        return PackageError("it was zipped by a Mac's Finder, which adds files. Unpack it, and import the folder.")
    last = name.replace("\\", "/").rpartition("/")[2]
    if ".." not in name and (last in OWN_NAMES or _is_left_behind(last)):
        return PackageError(
            f"it is not as `hlfd package` made it ({name!r}), as after it was unpacked and zipped again. Unpack it, "
            f"and import the folder that holds {MANIFEST}."
        )
    return _stranger(name)


def _stranger(name: str) -> PackageError:
    return PackageError(
        f"it holds {name!r}, which is no file of a model package that this HLFD reads. {GET_AGAIN} If it was made by a "
        "newer HLFD, update yours."
    )


def _link(name: str) -> PackageError:
    return PackageError(f"{name!r} is a link or a special file, and a model package has plain files only. {GET_AGAIN}")


def copy_files(source: Path, folder: Path) -> None:
    """Copies a package that nobody has checked yet, from a folder or a zip, into a new folder.

    Raises:
        PackageError: the source is no package, or holds anything that could do harm.
    """
    for name in FOLDERS:
        (folder / name).mkdir(parents=True)
    if source.is_dir():
        _check_names(source)
        for name in SIZE_LIMITS:
            shutil.copyfile(source / name, folder / name, follow_symlinks=False)
    elif _is_zip(source):
        _unzip(source, folder)
    elif source.exists():
        raise PackageError(
            "it is neither a folder nor a zip file, or it is damaged, as after a download that broke off. Give the zip "
            "file that `hlfd package` made."
        )
    else:
        raise PackageError("there is no such file or folder. Check the path.")


def _is_zip(source: Path) -> bool:
    if source.is_file():
        # `is_zipfile` takes a file that may not be read for one that is no zip.
        try:
            source.open("rb").close()
        except OSError as error:
            raise PackageError(f"it cannot be opened: {error.strerror}. Ask for the right to read it.") from error
    return zipfile.is_zipfile(source)


def zip_files(folder: Path, destination: Path) -> None:
    """Zips a package under its folder's name. The same files give the same bytes, whenever and wherever."""
    with zipfile.ZipFile(destination, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(SIZE_LIMITS):
            entry = zipfile.ZipInfo(f"{folder.name}/{name}", date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3  # Unix, whose file modes follow
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(entry, (folder / name).read_bytes())


def _unzip(source: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(source) as archive:
            for name, entry in _checked_entries(archive.infolist()).items():
                # zipfile gives no more bytes than the zip's directory declares, and those have been checked.
                with archive.open(entry) as stream, (folder / name).open("wb") as file:
                    shutil.copyfileobj(stream, file)
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, RuntimeError) as error:
        raise PackageError(f"the zip file is damaged. {GET_AGAIN}") from error


def _checked_entries(entries: list[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    """The entries by their name in the package, without the folder that holds them all."""
    if entries and not any(entry.orig_filename.endswith(MANIFEST) for entry in entries):
        raise PackageError(
            f"it holds no {MANIFEST}, so it is no model package. A CT is not imported here: 3D Slicer loads it by Add "
            "DICOM Data, once it is unpacked."
        )
    if not entries or len(entries) > LARGEST_ENTRY_COUNT:
        raise PackageError(f"the zip file has {len(entries)} entries, and a model package has five. {GET_AGAIN}")
    # The names of files tell more of what is wrong than those of the folders that they lie in.
    entries = sorted(entries, key=lambda entry: entry.orig_filename.endswith("/"))
    # `filename` is what zipfile made of the name; `orig_filename` is what the zip file says.
    top = entries[0].orig_filename.partition("/")[0]
    found: dict[str, zipfile.ZipInfo] = {}
    for entry in entries:
        outer, _, name = entry.orig_filename.partition("/")
        if outer != top or not is_package_name(outer):
            raise _stranger_in_zip(entry.orig_filename)
        if name.rstrip("/") in {"", *FOLDERS} and entry.is_dir():
            continue
        if name not in SIZE_LIMITS:
            raise _stranger_in_zip(entry.orig_filename)
        if name in found:
            raise PackageError(f"the zip file holds {name} twice. {GET_AGAIN}")
        _check_entry(name, entry)
        found[name] = entry
    _check_complete(set(found))
    return found


def _check_entry(name: str, entry: zipfile.ZipInfo) -> None:
    if entry.flag_bits & ENCRYPTED or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise PackageError(
            f"{name} is encrypted, or compressed in an unusual way. Unpack the zip file and import the folder."
        )
    if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG):
        raise _link(name)
    _check_size(name, entry.file_size)
    if entry.file_size > LARGEST_COMPRESSION * max(entry.compress_size, 1):
        raise PackageError(f"{name} would grow more than {LARGEST_COMPRESSION} times when unpacked. {GET_AGAIN}")


def sha256(content: bytes) -> str:
    """SHA-256 in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def to_json(data: dict[str, Any]) -> bytes:
    """JSON whose bytes depend on the data alone. Raises ValueError for NaN and infinity."""
    return (json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of finite numbers. Raises PackageError where the file holds something else."""
    try:
        data = json.loads(path.read_bytes(), parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError) as error:
        raise PackageError(f"{path.name} is not valid JSON ({error}). {GET_AGAIN}") from error
    if not isinstance(data, dict):
        raise PackageError(f"{path.name} must hold one JSON object. {GET_AGAIN}")
    return data


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no number")
    return number
