"""End a process together with those that it started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
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
        # There is no other way without a library; it takes too long to wait for.
        subprocess.Popen(
            ["taskkill", "/F", "/T", "/PID", str(pid)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            creationflags=subprocess.CREATE_NO_WINDOW,
        )
        return
    # Where nothing is left of it; macOS says so with a PermissionError.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
