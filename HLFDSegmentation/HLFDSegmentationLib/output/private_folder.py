"""A folder for files that only this process and its children may see, and that never outlives them for long."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from ..errors import OutputError

PREFIX = "hlfd-private-"
OWNER = "owner.lock"

NEW_SECONDS = 60
"""A folder without a lock may be one that is being made just now, and is left alone for so long."""

REMOVAL_SECONDS = 5


class PrivateFolder:
    """A folder in the system's temporary folder that nobody else can read. Write `with`, or call `remove` at the end.

    Folders that dead processes left behind are removed at the same time. A lock file that its owner keeps open tells
    the living from the dead; a process number would not, because it is given again.

    Attributes:
        path: the folder.

    Raises:
        OutputError: the temporary folder cannot be written.
    """

    def __init__(self) -> None:
        try:
            remove_stale()
            # Readable by its owner only.
            self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
            self._lock = self._new_lock()
        except OSError as error:
            # None is known where the system finds none that can be written to.
            name = f"The temporary folder {tempfile.tempdir}" if tempfile.tempdir else "The temporary folder"
            raise OutputError(
                f"{name} cannot be used: {error.strerror}. Free some space there, or check that you may write to it."
            ) from error

    def __enter__(self) -> PrivateFolder:
        return self

    def __exit__(self, *_error: object) -> None:
        self.remove()

    def new_folder(self) -> Path:
        """A new, empty folder inside.

        Raises:
            OutputError: it cannot be made.
        """
        try:
            return Path(tempfile.mkdtemp(dir=self.path))
        except OSError as error:
            raise OutputError(
                f"The temporary folder {tempfile.gettempdir()} cannot be used: {error.strerror}. Free some space there."
            ) from error

    def is_kept(self) -> bool:
        """Whether the folder is still there. Where its lock file alone is gone, a new one says that the owner lives.

        Systems clean up what is old in their temporary folders, also while its owner lives and works there.
        """
        with suppress(OSError):
            if not (self.path / OWNER).exists():
                old, self._lock = self._lock, self._new_lock()
                os.close(old)
        return self.path.is_dir()

    def _new_lock(self) -> int:
        lock = os.open(self.path / OWNER, os.O_CREAT | os.O_RDWR, 0o600)
        _try_lock(lock)
        return lock

    def remove(self) -> None:
        """Removes the folder and all that is in it."""
        with suppress(OSError):
            os.close(self._lock)
        remove_tree(self.path)


def remove_tree(folder: Path) -> None:
    """Removes a folder even while a process that is just ending still writes to it or holds its files."""
    end = time.monotonic() + REMOVAL_SECONDS
    while True:
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists() or time.monotonic() > end:
            return
        time.sleep(0.05)


def remove_stale() -> None:
    """Removes the folders whose owners are dead."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):  # Another user's, or removed just now by another process.
            if time.time() - folder.lstat().st_mtime > NEW_SECONDS and is_abandoned(folder):
                shutil.rmtree(folder, ignore_errors=True)


def is_abandoned(folder: Path) -> bool:
    """The owner of a private folder is dead. Raises OSError where that cannot be told."""
    try:
        lock = os.open(folder / OWNER, os.O_RDWR)
    except FileNotFoundError:
        return not folder.is_symlink()
    try:
        return _try_lock(lock)
    finally:
        os.close(lock)


def _try_lock(descriptor: int) -> bool:
    """Locks a file until it is closed or the process ends; says whether that was possible."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
