"""End a process together with those that it started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

LAUNCHED_ENDED = "exit abnormally"
"""What Slicer's launcher of Python says where the Python was ended by the system; it ends with 1 itself."""


def own_group() -> dict[str, Any]:
    """Arguments of `subprocess.Popen` for a process that `end_tree` can end: it leads a group, and has no window."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def lead_own_group() -> None:
    """Makes this process the leader of a group, so that `end_tree` can end it with all that it starts from now on."""
    if sys.platform != "win32" and os.getpgrp() != os.getpid():
        os.setpgid(0, 0)


def end_tree(pid: int) -> None:
    """Ends at once a process that leads a group, and all that it started, as far as they are still there."""
    if sys.platform == "win32":
        _end_tree_on_windows(pid)
        return
    # Where nothing is left of it; macOS says so with a PermissionError.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def ended_by_system(last_words: str) -> bool:
    """Whether Slicer's launcher says of its Python that the system ended it, most likely for lack of memory.

    Windows ends no program for that: there, the launcher says so of one that crashed.
    """
    return sys.platform != "win32" and LAUNCHED_ENDED in last_words


def _end_tree_on_windows(pid: int) -> None:
    # By its whole path: Windows looks for programs in the current folder, too, which may be that of a scene from
    # somebody else.
    taskkill = Path(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32" / "taskkill.exe"
    try:
        # There is no other way without a library; it takes too long to wait for.
        subprocess.Popen(
            [str(taskkill), "/F", "/T", "/PID", str(pid)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            creationflags=subprocess.CREATE_NO_WINDOW,  # type: ignore[attr-defined]
        )
    except OSError:  # An administrator may forbid it; then the process is ended without those that it started.
        with suppress(OSError):
            os.kill(pid, signal.SIGTERM)
