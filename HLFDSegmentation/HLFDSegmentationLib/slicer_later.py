"""What is done within Qt's next event, when Slicer has done what goes on now."""

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
