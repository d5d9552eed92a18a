"""Slicer's layout, as it is on the screen."""

from __future__ import annotations

import slicer


def show_layout(node: slicer.vtkMRMLLayoutNode, number: int) -> None:
    """Shows a layout. Views that a user has maximized, which would hide it, are not maximized any more."""
    node.RemoveAllMaximizedViewNodes()
    node.SetViewArrangement(number)
