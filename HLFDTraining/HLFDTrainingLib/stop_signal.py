"""Stopping a command that trains, by Ctrl-C or SIGTERM, without losing what it has done."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from types import FrameType

STOPPING = "Stopping at the next step, with a checkpoint. Ctrl-C again ends at once, without one."


class StopSignal:
    """Turns the first SIGINT or SIGTERM into a request to stop at the next step; a second one ends at once."""

    def __init__(self) -> None:
        self.requested = False

    def __enter__(self) -> StopSignal:
        self._before = {number: signal.signal(number, self._request) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _request(self, number: int, _frame: FrameType | None) -> None:
        self.requested = True
        signal.signal(number, signal.SIG_DFL)
        if number == signal.SIGINT:
            # Not by print, which the signal may have interrupted; a new line, as there may be a bar.
            with suppress(OSError, ValueError):
                os.write(sys.stderr.fileno(), f"\n{STOPPING}\n".encode())
