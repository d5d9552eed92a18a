"""What is done within one of Qt's next events, when Slicer has done what goes on now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer


def later(action: Callable[[], None], owner: Any = None) -> None:
    """Does something once, within Qt's next event, and keeps nothing of it afterwards.

    With an owner, a widget, it is not done where that is gone by then.

    Slicer's own `qt.QTimer.singleShot` keeps its timer, and with it the action and the nodes that it knows, until
    Slicer ends.
    """
    # It is gone before Python is, when Slicer ends.
    timer = qt.QTimer(owner or slicer.app.moduleManager())
    timer.setSingleShot(True)
    timer.connect("timeout()", action)
    timer.connect("timeout()", timer.deleteLater)
    timer.start(0)


def rest_timer(action: Callable[[], None], milliseconds: int = 0) -> qt.QTimer:
    """A timer whose owner starts it at each change: it does something once, when nothing has changed for so long."""
    timer = qt.QTimer()
    timer.setSingleShot(True)
    timer.setInterval(milliseconds)
    timer.connect("timeout()", action)
    return timer
