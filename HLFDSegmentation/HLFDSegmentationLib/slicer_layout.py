"""Slicer's layout, as it is on the screen, and what layouts of our own are made of."""

from __future__ import annotations

from collections.abc import Callable

import qt
import slicer

PLOT_VIEW = (
    '<view class="vtkMRMLPlotViewNode" singletontag="{name}">'
    '<property name="viewlabel" action="default">{label}</property>'
    "</view>"
)
SLICE_VIEW = (
    '<view class="vtkMRMLSliceNode" singletontag="{name}">'
    '<property name="orientation" action="default">Axial</property>'
    '<property name="viewlabel" action="default">{label}</property>'
    '<property name="viewcolor" action="default">{color}</property>'
    '<property name="viewgroup" action="default">{group}</property>'
    "</view>"
)
"""For descriptions. Linked views share a group; one of our own leaves the user's views where they are."""


def layout_node(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLLayoutNode | None:
    """The scene's layout."""
    return scene.GetFirstNodeByClass("vtkMRMLLayoutNode")


def make_known(scene: slicer.vtkMRMLScene, number: int, description: str) -> None:
    """Makes a layout known. Slicer does not save descriptions: a scene that was saved with one needs it when loaded."""
    node = layout_node(scene)
    if node is not None and not node.IsLayoutDescription(number):
        node.AddLayoutDescription(number, description)


def show_layout(node: slicer.vtkMRMLLayoutNode, number: int) -> None:
    """Shows a layout. Views that a user has maximized, which would hide it, are not maximized any more."""
    node.RemoveAllMaximizedViewNodes()
    node.SetViewArrangement(number)


def when_laid_out(node: slicer.vtkMRMLLayoutNode, number: int, action: Callable[[], None]) -> None:
    """Does something that needs the size of a layout's views, which new ones do not have until Qt's next event.

    Nothing is done where another layout has been chosen by then.
    """
    qt.QTimer.singleShot(0, lambda: action() if node.GetViewArrangement() == number else None)
