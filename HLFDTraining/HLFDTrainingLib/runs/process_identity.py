"""Tells a process from a later one that was given the same number."""

from __future__ import annotations

import ctypes
import platform
import subprocess
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path


@cache
def computer_name() -> str:
    """The name of this computer, without what changes with the network that a laptop is in."""
    return _name_of_mac() or platform.node().split(".")[0] or "unknown"


def _name_of_mac() -> str:
    """The name that the user gave a Mac; "" elsewhere. The one that `platform` tells there may be the network's."""
    if sys.platform != "darwin":
        return ""
    with suppress(OSError):
        command = ["/usr/sbin/scutil", "--get", "LocalHostName"]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    return ""


UNSEEN = "of another user"
"""The start of a process of another user on Windows, which cannot be asked for it."""

ACCESS_DENIED = 5
"""Of Windows' errors."""


def is_running(pid: int, start: str) -> bool:
    """Whether the process of this number and start is running, or may be: another user's is taken to be."""
    return start_of(pid) in (start, UNSEEN)


def start_of(pid: int) -> str | None:
    """When a process was started, as text that no later process of the same number has; none when it has ended."""
    if sys.platform == "linux":
        return _start_on_linux(pid)
    if sys.platform == "win32":
        return _start_on_windows(pid)
    return _start_by_ps(pid)


def _start_on_linux(pid: int) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name before the last parenthesis may hold anything. What follows starts with the state; 19 fields on is the
    # start, in ticks since the computer was started.
    fields = stat.rpartition(")")[2].split()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    return None if fields[0] in "ZX" else f"{boot} {fields[19]}"


def _start_by_ps(pid: int) -> str | None:
    command = ["ps", "-o", "stat=", "-o", "lstart=", "-p", str(pid)]
    # The date must read the same whatever the language, and wherever a laptop travels.
    environment = {"LC_ALL": "C", "TZ": "UTC0"}
    output = subprocess.run(command, capture_output=True, text=True, env=environment).stdout.split(maxsplit=1)
    return None if len(output) < 2 or output[0].startswith("Z") else output[1].strip()


def _start_on_windows(pid: int) -> str | None:
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined]
    kernel.OpenProcess.restype = ctypes.c_void_p
    query_limited_information = 0x1000
    handle = kernel.OpenProcess(query_limited_information, False, pid)
    if not handle:
        return UNSEEN if ctypes.get_last_error() == ACCESS_DENIED else None  # type: ignore[attr-defined]
    times = [ctypes.c_uint64() for _ in range(4)]
    try:
        kernel.GetProcessTimes(ctypes.c_void_p(handle), *map(ctypes.byref, times))
    finally:
        kernel.CloseHandle(ctypes.c_void_p(handle))
    created, ended, *_ = (time.value for time in times)
    return str(created) if created and not ended else None
