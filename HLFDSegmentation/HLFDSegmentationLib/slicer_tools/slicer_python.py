"""The Python interpreter that works beside Slicer, so that Slicer goes on drawing and never loads PyTorch itself."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from ..child_process.child_environment import MODULE_FOLDER, child_environment
from ..child_process.process_tree import end_tree, own_group
from ..errors import OutputError
from ..output.private_folder import PrivateFolder

TEMPORARY_FOLDER = ("TMPDIR", "TEMP", "TMP")
"""The variables by which systems tell it."""

END_SECONDS = 2.0
"""How long Slicer waits for the end of a process that it has killed; one may hang in a driver."""


@dataclass(frozen=True)
class Finished:
    """How a program ended: its exit code, what it printed, and what it wrote to its log."""

    code: int
    said: str
    log: str


def interpreter() -> str:
    """Path of PythonSlicer, Slicer's own interpreter; outside of Slicer, of the interpreter that runs this."""
    return shutil.which("PythonSlicer") or sys.executable


def start_python(
    folders: Sequence[str | Path],
    module: str,
    *arguments: str,
    output: Path,
    log: Path | None = None,
    temporary: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Starts `python -m MODULE ARGUMENTS`, and comes back at once. `end_python` ends it.

    Args:
        folders: hold HLFD's libraries.
        module: of one of them.
        arguments: of its command line.
        output: file for what it prints, line by line.
        log: file for what it writes to standard error; without it, that goes to `output`, too.
        temporary: its temporary folder, which whoever ends it removes; without it, that of the system.

    Raises:
        OutputError: it cannot be started.
    """
    try:
        # Files and not pipes: nobody has to empty them, and reading them never waits.
        with ExitStack() as files:
            said = files.enter_context(open(output, "wb"))
            errors = files.enter_context(open(log, "wb")) if log else subprocess.STDOUT
            return subprocess.Popen(
                [interpreter(), "-u", "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=errors,
                env=child_environment(folders) | {name: str(temporary) for name in TEMPORARY_FOLDER if temporary},
                **own_group(),
            )
    except OSError as error:
        raise OutputError(
            _("A program could not be started ({reason}). Free some disk space, restart Slicer, try again.").format(
                reason=error.strerror
            )
        ) from error


def end_python(process: subprocess.Popen[bytes]) -> None:
    """Ends at once, with all that it started, a process whose end nobody has seen yet."""
    if process.returncode is None:
        end_tree(process.pid)
        with suppress(subprocess.TimeoutExpired):
            process.wait(END_SECONDS)


def run_python(module: str, *arguments: str) -> Finished:
    """Runs a module of HLFDSegmentationLib, and waits for its end while Slicer goes on drawing.

    Raises:
        OutputError: it cannot be started, or the temporary folder cannot be used.
    """
    with PrivateFolder() as folder:
        files = folder.path / "output.txt", folder.path / "log.txt"
        process = start_python([MODULE_FOLDER], module, *arguments, output=files[0], log=files[1])
        try:
            while process.poll() is None:
                slicer.app.processEvents()
                time.sleep(0.02)
        finally:
            end_python(process)
        try:
            said, log = (file.read_text(encoding="utf-8", errors="replace") for file in files)
        except OSError as error:
            raise OutputError(
                _("What a program has told could not be read ({reason}). Try again.").format(reason=error.strerror)
            ) from error
        return Finished(process.returncode, said, log)
