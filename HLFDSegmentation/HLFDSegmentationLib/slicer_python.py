"""The Python interpreter that works beside Slicer, so that Slicer goes on drawing and never loads PyTorch itself."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from .child_environment import child_environment
from .errors import OutputError
from .process_tree import own_group

MODULE_FOLDER = Path(__file__).resolve().parents[1]

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


def run_python(program: str, *arguments: str) -> Finished:
    """Runs a short program that may import HLFDSegmentationLib, and waits for its end while Slicer goes on drawing.

    Raises:
        OutputError: it cannot be started.
    """
    try:
        # Files and not pipes: nobody has to empty them while the program runs.
        with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as log:
            process = subprocess.Popen(
                [interpreter(), "-c", program, *arguments],
                env=child_environment([MODULE_FOLDER]),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=log,
                **own_group(),
            )
            while process.poll() is None:
                slicer.app.processEvents()
                time.sleep(0.02)
            said.seek(0)
            log.seek(0)
            texts = (stream.read().decode("utf-8", errors="replace") for stream in (said, log))
            return Finished(process.returncode, *texts)
    except OSError as error:
        raise OutputError(not_started(error)) from error


def not_started(error: OSError) -> str:
    """For the user: a program beside Slicer could not be started."""
    return _("A program could not be started ({reason}). Free some disk space, restart Slicer, try again.").format(
        reason=error.strerror
    )
