"""How much memory training took at most, and how much it may take."""

from __future__ import annotations

import ctypes
import os
import sys

import torch


class DeviceMemory:
    """The memory in which a device's networks lie: that of the GPU for CUDA, this computer's otherwise.

    Args:
        device: where the networks are.

    Attributes:
        limit: bytes that this process may take, of what was free when this object was made.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        held = self._held()
        self.limit = held + (torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else available_memory())

    def _held(self) -> int:
        """Bytes that this process holds now."""
        return torch.cuda.memory_reserved(self.device) if self.device.type == "cuda" else held_memory()

    def begin(self) -> None:
        """Lets `peak` tell of what comes now: on a GPU, what is kept of before would count otherwise."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)

    def peak(self) -> int:
        """Most bytes that this process has held at a time: on a GPU since `begin`, else since it was started."""
        return torch.cuda.max_memory_reserved(self.device) if self.device.type == "cuda" else peak_memory()


def peak_memory() -> int:
    """Most bytes of this computer's memory that this process has held at a time."""
    if sys.platform == "win32":
        return _windows_memory().peak_working_set
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def held_memory() -> int:
    """Bytes of this computer's memory that this process holds; on a Mac, which does not tell, the most so far."""
    if sys.platform == "win32":
        return _windows_memory().working_set
    if sys.platform.startswith("linux"):
        with open("/proc/self/statm", encoding="ascii") as pages:
            return int(pages.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return peak_memory()


def available_memory() -> int:
    """Bytes of this computer's memory that programs can still take.

    A Mac does not tell: there, all that this process does not hold.
    """
    if sys.platform == "win32":
        return _windows_available()
    if sys.platform.startswith("linux"):
        with open("/proc/meminfo", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") - held_memory()


class _MemoryStatus(ctypes.Structure):
    """MEMORYSTATUSEX of the Windows API."""

    _fields_ = (
        ("length", ctypes.c_uint32),
        ("load", ctypes.c_uint32),
        *((name, ctypes.c_uint64) for name in ("total", "available", "total_page", "available_page")),
        *((name, ctypes.c_uint64) for name in ("total_virtual", "available_virtual", "available_extended")),
    )


class _ProcessMemory(ctypes.Structure):
    """PROCESS_MEMORY_COUNTERS of the Windows API."""

    _fields_ = (
        ("length", ctypes.c_uint32),
        ("page_faults", ctypes.c_uint32),
        ("peak_working_set", ctypes.c_size_t),
        ("working_set", ctypes.c_size_t),
        *((f"pool_{number}", ctypes.c_size_t) for number in range(4)),
        ("page_file", ctypes.c_size_t),
        ("peak_page_file", ctypes.c_size_t),
    )


if sys.platform == "win32":

    def _windows_available() -> int:
        status = _MemoryStatus(length=ctypes.sizeof(_MemoryStatus))
        ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))
        return status.available

    def _windows_memory() -> _ProcessMemory:
        counters = _ProcessMemory(length=ctypes.sizeof(_ProcessMemory))
        this_process = ctypes.windll.kernel32.GetCurrentProcess
        this_process.restype = ctypes.c_void_p
        ctypes.windll.psapi.GetProcessMemoryInfo(
            ctypes.c_void_p(this_process()), ctypes.byref(counters), ctypes.sizeof(counters)
        )
        return counters
