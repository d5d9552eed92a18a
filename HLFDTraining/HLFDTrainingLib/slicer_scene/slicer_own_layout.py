"""Layouts of the module's own: taken while something is shown in them, and given back afterwards."""

from __future__ import annotations

import slicer
from HLFDSegmentationLib.slicer_tools.slicer_layout import PLOT_VIEW, SLICE_VIEW, OwnLayout, make_known
from HLFDSegmentationLib.slicer_tools.slicer_linked_views import give_links_back
from HLFDSegmentationLib.slicer_tools.slicer_nodes import nodes_of

OWN_VIEWS = "HLFDTraining"
TRUTH, STUDENT = f"{OWN_VIEWS}Truth", f"{OWN_VIEWS}Student"
DICE, LOSS = f"{OWN_VIEWS}Dice", f"{OWN_VIEWS}Loss"

# Two of `slicer_layout.OWN_LAYOUTS`.
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


def own_layout(scene: slicer.vtkMRMLScene, number: int) -> OwnLayout:
    """`CHART_LAYOUT` or `TRUTH_LAYOUT` in a scene."""
    return OwnLayout(scene, number, _DESCRIPTIONS[number])


def look_after(scene: slicer.vtkMRMLScene) -> None:
    """Makes scenes whole that were saved in one of the layouts. To be called once, when Slicer has started."""
    register_layouts(scene)
    scene.AddObserver(scene.EndImportEvent, lambda caller, event: give_views_back(scene))


def register_layouts(scene: slicer.vtkMRMLScene) -> None:
    """Makes them known."""
    for number, description in _DESCRIPTIONS.items():
        make_known(scene, number, description)


def give_views_back(scene: slicer.vtkMRMLScene) -> None:
    """Shows those segmentations in all views again of which one is shown beside the other in `TRUTH_LAYOUT`, and links
    the user's views as they were.

    They are limited to the views of that time, so that they would be missing in those of any later layout.
    """
    own = {f"vtkMRMLSliceNode{view}" for view in (TRUTH, STUDENT)}
    for display in nodes_of(scene, "vtkMRMLSegmentationDisplayNode"):
        if own & set(display.GetViewNodeIDs()):
            display.SetViewNodeIDs([])
    give_links_back(scene)
