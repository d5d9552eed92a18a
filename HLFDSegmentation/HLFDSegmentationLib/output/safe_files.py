"""Files that are either complete or not there."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

from ..errors import OutputError

WAITS = (0.01, 0.05, 0.1, 0.2, 0.4, 0.4)

LONG_WAITS = (*WAITS, *[2.0] * 30) if sys.platform == "win32" else WAITS
"""For what days of work depend on, in a process that nobody waits for. Elsewhere a file that is refused stays so."""

Result = TypeVar("Result")


def make_aside(parent: Path) -> Path:
    """Makes a hidden folder in a user's folder, for what is not complete yet, and gives its path.

    Not one of `tempfile`: on Windows, that tries one name after the other for days where the user's folder may not be
    written, and what is moved out of its folders can be read by its owner alone.

    Raises:
        OSError: it cannot be made.
    """
    folder = parent / f".hlfd.{uuid.uuid4().hex[:8]}.part"
    folder.mkdir()
    return folder


@contextmanager
def replacing(path: Path, waits: Sequence[float] = WAITS) -> Iterator[Path]:
    """Yields a path to write to; what was written there takes the place of `path` when the block ends without an error.

    The yielded path lies in the same folder, which is made where it is missing, and ends with the same suffixes, so
    that libraries choose the same file format. When the block raises, `path` is as it was and nothing is left beside
    it.

    Args:
        path: of the file.
        waits: see `waiting`.

    Raises:
        OutputError: the folder or the file cannot be written; raised in place of any OSError of the block, and where it
            writes half a letter, as names of files may hold.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A folder of its own keeps apart two processes that write the same file.
        folder = make_aside(path.parent)
    except OSError as error:
        raise OutputError(not_written(path, error)) from error
    try:
        part = folder / path.name
        yield part
        replace_waiting(part, path, waits)
    except OSError as error:
        raise OutputError(not_written(path, error)) from error
    except UnicodeEncodeError as error:
        raise OutputError(
            f"{path} could not be written: {error.object[error.start : error.end]!r} is no letter. Take it out of the "
            "name that it is in."
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_space(folder: Path, size: int) -> None:
    """Raises OSError, that of a full disk, where a folder's disk has less than `size` bytes left."""
    disk = shutil.disk_usage(folder)
    # Some network shares do not tell, and seem to have no size at all.
    if disk.total and disk.free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def write_json(path: Path, content: Any) -> None:
    """Writes a JSON file, complete or not at all. Raises OutputError."""
    with replacing(path) as part, part.open("w", encoding="utf-8") as file:
        file.write(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
        write_through(file)


def write_text(path: Path, text: str) -> None:
    """Writes a text file, complete or not at all. Raises OutputError."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def write_through(file: IO[Any]) -> None:
    """Writes a file to the disk now: a power failure leaves none that is empty in the place of the former one.

    Raises:
        OSError: it could not be written.
    """
    file.flush()
    os.fsync(file.fileno())


def replace_waiting(part: Path, path: Path, waits: Sequence[float] = WAITS) -> None:
    """Renames a file or folder, after some tries where that is needed, see `waiting`.

    Raises:
        OSError: it could not be renamed in that time.
    """
    waiting(lambda: os.replace(part, path), waits)


def unlink_waiting(path: Path) -> None:
    """Removes a file that may be missing, after some tries where that is needed, see `waiting`.

    Raises:
        OSError: it could not be removed in about a second.
    """
    waiting(lambda: path.unlink(missing_ok=True))


def waiting(act: Callable[[], Result], waits: Sequence[float] = WAITS) -> Result:
    """Does what Windows refuses while somebody has a file open: a panel that looks at it twice a second, a scanner.

    Args:
        act: what to do.
        waits: seconds between one try and the next; together about a second where nothing else is said.

    Raises:
        OSError: it could not be done in that time.
    """
    for seconds in waits:
        try:
            return act()
        except PermissionError:
            time.sleep(seconds)
    return act()


def is_full(error: OSError) -> bool:
    """Whether the disk, or what a user may take of it, is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def not_written(path: Path, error: OSError) -> str:
    """The sentence that tells a user why a file could not be written, and what to do."""
    if is_full(error):
        return f"{path} could not be written: the disk is full. Free some space, or choose a folder on another disk."
    if sys.platform == "win32" and error.errno == errno.EACCES and path.is_file():
        return (
            f"{path} could not be written: another program, such as Excel, may have it open. Close it there and try "
            "again, or choose another name."
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{path} could not be written: it may not be changed. Choose a folder that you may write to."
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return f"{path} could not be written: a part of its folder's path is a file. Choose another folder."
    reason = error.strerror or str(error)
    return f"{path} could not be written: {reason}. Check the folder, or choose another one."
