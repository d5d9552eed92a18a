"""The variables of a child process that finds this project's libraries."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

MODULE_FOLDER = Path(__file__).resolve().parents[2]
"""Holds HLFDSegmentationLib."""


def child_environment(folders: Sequence[str | Path], base: Mapping[str, str] | None = None) -> dict[str, str]:
    """Variables for a Python that imports from `folders` first.

    Args:
        folders: hold the libraries.
        base: what else the child gets; this process's own variables if none.
    """
    base = os.environ if base is None else base
    paths = [*map(str, folders), *filter(None, [base.get("PYTHONPATH")])]
    return {
        **base,
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
        # A file called random.py in the folder that Slicer was started from is not to be taken for Python's own.
        "PYTHONSAFEPATH": "1",
        # Else Windows writes and reads names in the language's own code page.
        "PYTHONUTF8": "1",
    }
