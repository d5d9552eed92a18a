"""Layouts of the module's own: taken while something is shown in them, and given back afterwards."""

from __future__ import annotations

from typing import ClassVar

import slicer
from HLFDSegmentationLib.slicer_layout import (
    PLOT_VIEW,
    SLICE_VIEW,
    give_layout_back,
    layout_node,
    make_known,
    show_layout,
)

OWN_VIEWS = "HLFDTraining"
TRUTH, STUDENT = f"{OWN_VIEWS}Truth", f"{OWN_VIEWS}Student"
DICE, LOSS = f"{OWN_VIEWS}Dice", f"{OWN_VIEWS}Loss"

# Slicer's own numbers are small, and other extensions take theirs at random, too.
CHART_LAYOUT = 70356
TRUTH_LAYOUT = 70357
VIEW_GROUP = 70357

_DESCRIPTIONS = {
    CHART_LAYOUT: '<layout type="horizontal" split="true"><item><view class="vtkMRMLSliceNode" singletontag="Red"/>'
    '</item><item><layout type="vertical">'
    f"<item>{PLOT_VIEW.format(name=DICE, label='D')}</item>"
    f"<item>{PLOT_VIEW.format(name=LOSS, label='L')}</item>"
    "</layout></item></layout>",
    TRUTH_LAYOUT: '<layout type="horizontal" split="true">'
    f"<item>{SLICE_VIEW.format(name=TRUTH, label='T', color='#009E73', group=VIEW_GROUP)}</item>"
    f"<item>{SLICE_VIEW.format(name=STUDENT, label='S', color='#0072B2', group=VIEW_GROUP)}</item>"
    "</layout>",
}


class OwnLayout:
    """One of the layouts.

    Args:
        scene: whose layout is changed.
        number: `CHART_LAYOUT` or `TRUTH_LAYOUT`.
    """

    _users: ClassVar[int | None] = None
    """The user's own layout, which is given back whichever of ours was taken after another."""

    def __init__(self, scene: slicer.vtkMRMLScene, number: int) -> None:
        self._scene = scene
        self._number = number

    def take(self) -> None:
        """Shows the layout, and keeps which one was there."""
        node = layout_node(self._scene)
        if node is None:
            return
        make_known(self._scene, self._number, _DESCRIPTIONS[self._number])
        if node.GetViewArrangement() not in _DESCRIPTIONS:
            OwnLayout._users = node.GetViewArrangement()
        if node.GetViewArrangement() != self._number:
            show_layout(node, self._number)

    def give_back(self) -> None:
        """Shows the layout that was there before, unless the user has chosen another one since."""
        node = layout_node(self._scene)
        if node is not None and OwnLayout._users is not None and node.GetViewArrangement() == self._number:
            give_layout_back(node, self._number, OwnLayout._users)


def look_after(scene: slicer.vtkMRMLScene) -> None:
    """Makes scenes whole that were saved in one of the layouts. To be called once, when Slicer has started."""
    register_layouts(scene)
    scene.AddObserver(scene.EndImportEvent, lambda caller, event: give_views_back(scene))


def register_layouts(scene: slicer.vtkMRMLScene) -> None:
    """Makes them known."""
    for number, description in _DESCRIPTIONS.items():
        make_known(scene, number, description)


def give_views_back(scene: slicer.vtkMRMLScene) -> None:
    """Shows those segmentations in all views again of which one is shown beside the other in `TRUTH_LAYOUT`.

    They are limited to the views of that time, so that they would be missing in those of any later layout.
    """
    own = {f"vtkMRMLSliceNode{view}" for view in (TRUTH, STUDENT)}
    for display in slicer.util.getNodesByClass("vtkMRMLSegmentationDisplayNode", scene):
        if own & set(display.GetViewNodeIDs()):
            display.SetViewNodeIDs([])
