"""Stopping a command that trains, by Ctrl-C, SIGTERM or SIGHUP, without losing what it has done."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

STOPPING = "Stopping at the next step, with a checkpoint. Ctrl-C again ends at once, without one."


def ending_signals() -> list[signal.Signals]:
    """What a scheduler, a logout or a closed terminal sends: SIGTERM, and SIGHUP, which Windows does not have."""
    return [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class StopSignal:
    """Turns the first SIGINT, the first SIGTERM and every SIGHUP into a request to stop at the next step.

    A second SIGINT, or a second SIGTERM, ends at once; a closed terminal may send SIGHUP twice. A SIGTERM or SIGHUP
    that the process was told to ignore, as by nohup, stays so.
    """

    def __init__(self) -> None:
        self.requested = False

    def __enter__(self) -> StopSignal:
        heard = [number for number in ending_signals() if signal.getsignal(number) != signal.SIG_IGN]
        # Shells start what runs in the background with SIGINT ignored; it is asked to stop by it all the same.
        self._before = {number: signal.signal(number, self._request) for number in (signal.SIGINT, *heard)}
        return self

    def __exit__(self, *_error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _request(self, number: int, _frame: FrameType | None) -> None:
        self.requested = True
        if number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        if number == signal.SIGINT:
            # Not by print, which the signal may have interrupted; a new line, as there may be a bar.
            with suppress(OSError, ValueError):
                os.write(sys.stderr.fileno(), f"\n{STOPPING}\n".encode())


@contextmanager
def ending_as_interrupted() -> Iterator[None]:
    """Lets SIGTERM and SIGHUP end the block as Ctrl-C does, so that it removes what it has begun to write.

    A signal that the process was told to ignore, as by nohup, or handles otherwise stays as it is. So do all in a
    process beside the first one of torchrun: it writes nothing, and would not hear them while it waits for the others.
    """
    may = threading.current_thread() is threading.main_thread() and os.environ.get("RANK", "0") == "0"
    taken = [number for number in ending_signals() if may and signal.getsignal(number) == signal.SIG_DFL]
    for number in taken:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)
