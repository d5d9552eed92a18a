"""The Python interpreter that works beside Slicer, so that Slicer goes on drawing and never loads PyTorch itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import slicer

from .process_tree import own_group

MODULE_FOLDER = Path(__file__).resolve().parents[1]


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
    """Runs a short program that may import HLFDSegmentationLib, and waits for its end while Slicer goes on drawing."""
    # Files and not pipes: nobody has to empty them while the program runs.
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [interpreter(), "-c", program, *arguments],
            env=_environment(),
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
        return Finished(process.returncode, said.read().decode("utf-8"), log.read().decode("utf-8", errors="replace"))


def _environment() -> dict[str, str]:
    paths = [str(MODULE_FOLDER), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "PYTHONIOENCODING": "utf-8",
        "PYTHONSAFEPATH": "1",
    }
