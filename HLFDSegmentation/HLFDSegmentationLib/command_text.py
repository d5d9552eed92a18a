"""Commands that a user is told to type."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path


def quoted(path: Path) -> str:
    """A path as a command line takes it."""
    return subprocess.list2cmdline([str(path)]) if sys.platform == "win32" else shlex.quote(str(path))
