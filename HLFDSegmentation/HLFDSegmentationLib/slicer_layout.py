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

NOTED_LAYOUT = "MainWindow/layout"
"""In Slicer's settings."""


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


def give_layout_back(node: slicer.vtkMRMLLayoutNode, own: int, users: int) -> None:
    """Shows the user's layout in place of one of our own, now and when Slicer is started again.

    Slicer notes the layout when its window is closed, which is before modules can give theirs back, and begins with it
    where the user has chosen that; it would not know ours then.
    """
    show_layout(node, users)
    settings = slicer.app.userSettings()
    if str(settings.value(NOTED_LAYOUT)) == str(own):
        settings.setValue(NOTED_LAYOUT, users)


def when_laid_out(node: slicer.vtkMRMLLayoutNode, number: int, action: Callable[[], None]) -> None:
    """Does something that needs the size of a layout's views, which new ones do not have until Qt's next event.

    Nothing is done where another layout has been chosen by then.
    """
    qt.QTimer.singleShot(0, lambda: action() if node.GetViewArrangement() == number else None)
