"""Slicer's layout, as it is on the screen."""

from __future__ import annotations

from collections.abc import Callable

import qt
import slicer


def show_layout(node: slicer.vtkMRMLLayoutNode, number: int) -> None:
    """Shows a layout. Views that a user has maximized, which would hide it, are not maximized any more."""
    node.RemoveAllMaximizedViewNodes()
    node.SetViewArrangement(number)


def when_laid_out(node: slicer.vtkMRMLLayoutNode, number: int, action: Callable[[], None]) -> None:
    """Does something that needs the size of a layout's views, which new ones do not have until Qt's next event.

    Nothing is done where another layout has been chosen by then.
    """
    qt.QTimer.singleShot(0, lambda: action() if node.GetViewArrangement() == number else None)
