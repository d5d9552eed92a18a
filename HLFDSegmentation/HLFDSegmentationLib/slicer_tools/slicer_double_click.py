"""Buttons that start something and then cancel it, under a double-click."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import slicer


def without_double_clicks(on_clicked: Callable[[bool], None]) -> Callable[[bool], None]:
    """The slot of a button that leaves out the second click of a double-click: it would cancel what the first began."""
    done = -math.inf

    def clicked(checked: bool) -> None:
        nonlocal done
        # A property: in PythonQt, the static getter of the class cannot be called.
        if 1000 * (time.monotonic() - done) < slicer.app.doubleClickInterval:
            return
        done = math.inf  # Slicer may deliver the second click while the first one is served.
        try:
            on_clicked(checked)
        finally:
            done = time.monotonic()

    return clicked
