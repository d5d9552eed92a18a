"""Slicer's layout, as it is on the screen, and what layouts of our own are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import slicer

from .slicer_later import later

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

OWN_LAYOUTS = range(70355, 70400)
"""Numbers of layouts of HLFD's own, of all its modules. Slicer's are small; other extensions take theirs at random."""

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


def when_laid_out(node: slicer.vtkMRMLLayoutNode, number: int, action: Callable[[], None]) -> None:
    """Does something that needs the size of a layout's views, which new ones do not have until Qt's next event.

    Nothing is done where another layout has been chosen by then.
    """
    later(lambda: action() if node.GetViewArrangement() == number else None)


class OwnLayout:
    """A layout of HLFD's own: taken while something is shown in it, and given back afterwards.

    Args:
        scene: whose layout is changed.
        number: one of `OWN_LAYOUTS`.
        description: what the layout is made of.
    """

    _users: ClassVar[int] = slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView
    """The user's layout, which is given back whichever of ours was taken after another; at first, Slicer's."""

    def __init__(self, scene: slicer.vtkMRMLScene, number: int, description: str) -> None:
        self._scene = scene
        self._number = number
        self._description = description

    @property
    def is_shown(self) -> bool:
        """Whether it is the one on the screen."""
        node = layout_node(self._scene)
        return node is not None and node.GetViewArrangement() == self._number

    @classmethod
    def users(cls, node: slicer.vtkMRMLLayoutNode) -> int:
        """The user's layout: the one that is shown, or the last one before any of ours. It is kept."""
        if node.GetViewArrangement() not in OWN_LAYOUTS:
            cls._users = node.GetViewArrangement()
        return cls._users

    def take(self) -> None:
        """Shows the layout, and keeps which one the user had."""
        node = layout_node(self._scene)
        if node is None:
            return
        make_known(self._scene, self._number, self._description)
        self.users(node)
        if not self.is_shown:
            show_layout(node, self._number)

    def give_back(self) -> None:
        """Shows the user's layout, now and when Slicer is started again, unless another one was chosen since.

        Slicer notes the layout when its window is closed, which is before modules can give theirs back, and begins
        with it where the user has chosen that; it would not know ours then.
        """
        if not self.is_shown:
            return
        show_layout(layout_node(self._scene), self._users)
        settings = slicer.app.userSettings()
        if str(settings.value(NOTED_LAYOUT)) == str(self._number):
            settings.setValue(NOTED_LAYOUT, self._users)
