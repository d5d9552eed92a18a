"""A folder for results: it is made where nothing is yet, and appears only when it is complete."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import OutputError
from .safe_files import check_space, is_full, make_aside, replace_waiting

LITTLE_SPACE = 20_000_000
"""Bytes that must be free where more than a table will be written: the results of one CT would not fit into less."""

MEASURES = "segments.csv"
"""The file of a result's folder that tells volumes and lesions."""

REPORT = "report.html"
"""The file of a result's folder that is made for reading."""


def check_new(folder: Path) -> None:
    """Raises OutputError where there is something already that could be lost."""
    if folder.is_file():
        raise OutputError(f"{folder} is a file. Give the name of a new folder for the results.")
    if folder.is_dir() and any(folder.iterdir()):
        raise OutputError(f"The folder {folder} is not empty. Choose a new one, so that no earlier result is lost.")


def check_makeable(folder: Path, space: int = 0) -> None:
    """Raises OutputError where a folder or file could not be made, before minutes of work are spent on it.

    Args:
        folder: it, or the file.
        space: bytes that must be free.
    """
    for one in (folder.absolute(), *folder.absolute().parents):
        if one.is_symlink() and not one.exists():
            raise OutputError(
                f"{folder} cannot be made: {one} is a link to {os.readlink(one)}, which is not there. Connect its "
                "disk, or choose another folder."
            )
    above = folder if folder.is_dir() else next((one for one in folder.absolute().parents if one.exists()), None)
    if above is None:
        raise OutputError(
            f"{folder} cannot be made: there is no {folder.absolute().anchor} now. Connect the disk or the network "
            "share, or choose another folder."
        )
    if not above.is_dir():
        raise OutputError(f"{folder} cannot be made: {above} is a file. Choose another folder.")
    full = "its disk, or what you may take of it, is full"
    try:
        # Asking for the right would not do: on Windows, folders seem to have it always.
        make_aside(above).rmdir()
        full = f"its disk has less than {space / 1e6:.0f} MB free, and results take more"
        check_space(above, space)
    except OSError as error:
        if is_full(error):
            raise OutputError(
                f"{folder} cannot be made: {full}. Free some space, or choose a folder on another disk."
            ) from error
        raise OutputError(
            f"{folder} cannot be made: {above} may not be changed ({error.strerror}). Choose a folder that you may "
            "write to."
        ) from error


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yields a folder to fill; it becomes `folder` when the block ends without an error, and vanishes otherwise.

    Where only the last step fails, it stays, for it holds minutes of work, and the error says where it lies.

    An empty folder that is there already is kept, for it may be the current one, a link, or a disk: it is filled at the
    end.

    Raises:
        OutputError: the folder holds something already, or cannot be written.
    """
    check_new(folder)
    there = folder.is_dir()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = make_aside(folder if there else folder.parent)
    except OSError as error:
        raise OutputError(f"The folder {folder} cannot be made: {error.strerror}. Choose another one.") from error
    try:
        yield part
    except BaseException as error:
        shutil.rmtree(part, ignore_errors=True)
        if isinstance(error, OutputError):
            # The user knows the folder, and not the hidden one beside it.
            raise OutputError(str(error).replace(str(part), str(folder))) from error
        if isinstance(error, OSError):
            raise OutputError(f"{folder} could not be written: {error.strerror}. Choose another folder.") from error
        raise
    if there:
        _fill(folder, part)
        return
    try:
        replace_waiting(part, folder)
    except OSError as error:
        raise OutputError(
            f"{folder} could not be given its name: {error.strerror}. The results are complete and lie in {part}."
        ) from error


def _fill(folder: Path, part: Path) -> None:
    """Moves what is in `part`, which lies in the folder, into the folder itself.

    Raises:
        OutputError: there is something in the folder now, or something could not be moved.
    """
    others = [path.name for path in folder.iterdir() if path != part]
    if others:
        raise OutputError(f"{folder} was empty and now holds {others[0]}. The results are complete and lie in {part}.")
    for path in sorted(part.iterdir()):
        try:
            replace_waiting(path, folder / path.name)
        except OSError as error:
            raise OutputError(
                f"{path.name} could not be moved into {folder}: {error.strerror}. It lies in {part}, as does what "
                "else is missing of the results."
            ) from error
    shutil.rmtree(part, ignore_errors=True)
