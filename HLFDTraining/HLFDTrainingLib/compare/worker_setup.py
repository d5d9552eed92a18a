"""Run by dask in each worker process of this computer when it starts."""

from __future__ import annotations

import signal
from typing import Any


def dask_setup(_worker: Any) -> None:
    """Leaves Ctrl-C, which a terminal sends to all processes, to the one that leads: it asks for a checkpoint first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
