"""Two results of the same CT side by side: linked slice views, each with its result's map, and both focus curves."""

from __future__ import annotations

from collections.abc import Callable

import slicer
import vtk
from slicer.i18n import tr as _

from ..errors import InputError
from ..measures import RasPoint
from ..slicer_scene.slicer_attention_maps import place_in_result
from ..slicer_scene.slicer_scene_result import SceneResult
from ..slicer_scene.slicer_watch import Watch
from ..slicer_tools.slicer_later import later
from ..slicer_tools.slicer_layout import PLOT_VIEW, SLICE_VIEW, OwnLayout, layout_node, make_known, when_laid_out
from ..slicer_tools.slicer_linked_views import OWN_PREFIX, give_links_back, link_views
from ..slicer_tools.slicer_weak import WeakNode
from .slicer_focus_chart import FocusChart
from .slicer_layer_view import LayerView

LEFT, RIGHT = SIDES = (f"{OWN_PREFIX}Left", f"{OWN_PREFIX}Right")
PLOT = f"{OWN_PREFIX}Focus"

LAYOUT = 70355
"""Number of the layout, one of `slicer_layout.OWN_LAYOUTS`."""

VIEW_GROUP = 70355

# The colors of the sides are those of their curves in the focus chart.
_DESCRIPTION = (
    '<layout type="vertical" split="true">'
    '<item splitSize="700"><layout type="horizontal">'
    f"<item>{SLICE_VIEW.format(name=LEFT, label='1', color='#0072B2', group=VIEW_GROUP)}</item>"
    f"<item>{SLICE_VIEW.format(name=RIGHT, label='2', color='#D55E00', group=VIEW_GROUP)}</item>"
    "</layout></item>"
    f'<item splitSize="300">{PLOT_VIEW.format(name=PLOT, label="P")}</item>'
    "</layout>"
)


def register_layout(scene: slicer.vtkMRMLScene) -> None:
    """Makes the layout known: a scene that was saved while comparing needs it when loaded."""
    make_known(scene, LAYOUT, _DESCRIPTION)


def give_views_back(scene: slicer.vtkMRMLScene) -> None:
    """Shows segmentations in all views again that a scene shows in the comparison's alone, and undoes its links.

    A scene that was saved while comparing holds them so, and nobody would find out where they are.
    """
    own = {f"vtkMRMLSliceNode{side}" for side in SIDES}
    for result in SceneResult.all(scene):
        display = result.node.GetDisplayNode()
        if display is not None and set(display.GetViewNodeIDs()) and own.issuperset(display.GetViewNodeIDs()):
            display.SetViewNodeIDs([])
    give_links_back(scene)


class Comparison:
    """Compares two results of the same CT. The properties of both sides are changed together: they share a scale.

    An ordinary `LayerView` is to be hidden before. It ends by itself where another layout is chosen, in whose views the
    segmentations would be missing, and where a result is deleted.

    >>> comparison = Comparison(scene, student, undistilled)
    >>> comparison.show("liver tumor", "decoder3")
    >>> comparison.restore()

    Args:
        scene: with both results.
        left: shown in the left view, blue and solid in the chart.
        right: shown in the right view, orange and dashed in the chart.
        on_end: called when it has ended by itself.

    Raises:
        InputError: a result was deleted, or they are not of the same CT.
    """

    def __init__(
        self,
        scene: slicer.vtkMRMLScene,
        left: SceneResult,
        right: SceneResult,
        on_end: Callable[[], None] | None = None,
    ) -> None:
        if not (left.exists and right.exists):
            raise InputError(_("One of the two results is no longer in the scene. Choose two that are."))
        if left == right:
            raise InputError(_("Both sides show the same result. Choose two different ones."))
        if left.ct is None or left.ct is not right.ct:
            raise InputError(_("The two results are not of the same CT. Choose two results of one CT."))
        self._scene = scene
        self.results = (left, right)
        self._views = tuple(LayerView(scene, [side]) for side in SIDES)
        self._chart = FocusChart(scene)
        self._segment = ""
        self._layout = OwnLayout(scene, LAYOUT, _DESCRIPTION)
        self._running = False
        self._shown_before: list[tuple[WeakNode, list[str], int]] = []
        self._on_end = on_end
        self._looks_later = False
        self._layout_watch = Watch(self._look_later, vtk.vtkCommand.ModifiedEvent)
        self._scene_watch = Watch(self._look_later, slicer.vtkMRMLScene.NodeRemovedEvent)

    @property
    def chart(self) -> FocusChart:
        """The focus chart of both."""
        return self._chart

    @property
    def note(self) -> str:
        """What a reader must know about the shown layer on either side; mostly ""."""
        sides = enumerate(self._views, start=1)
        return "\n".join(f"{number}: {view.note}" for number, view in sides if view.note)

    @property
    def running(self) -> bool:
        """Whether the comparison is on the screen."""
        return self._running

    def set(self, **properties: object) -> None:
        """Sets properties of `LayerView` (opacity, threshold, color, signed, legend) on both sides."""
        for view in self._views:
            for name, value in properties.items():
                setattr(view, name, value)

    def show(self, segment: str, layer: str) -> None:
        """Shows a layer's maps side by side; the first time also takes the layout and jumps to most attention.

        Args:
            segment: its name in the left result. At the right, that of the same label is shown.
            layer: the layer.
        """
        starting = not self.running
        if starting:
            self._take_layout()
        self._show_each_in_its_view()
        for view, (result, own) in zip(self._views, self._shown(segment)):
            view.show(result, own, layer)
        if segment == self._segment and self._chart.chart_node is not None:
            self._chart.mark(layer)
        else:
            self._chart.show(self.results, segment, layer)
        self._segment = segment
        if starting:
            when_laid_out(layout_node(self._scene), LAYOUT, lambda: self._begin_at_most_attention(segment, layer))

    def _shown(self, segment: str) -> list[tuple[SceneResult, str]]:
        """Both results, and the name that a segment of the left one has in each."""
        return [(result, result.counterpart(segment, self.results[0])) for result in self.results]

    def jump_to(self, place: RasPoint) -> None:
        """Moves both sides to a place (RAS in the world, mm)."""
        for view in self._views:
            view.jump_to(place)

    def restore(self) -> None:
        """Ends the comparison: the user's layout and what the views showed come back, as far as it still exists."""
        for view in self._views:
            view.hide()
        self._chart.restore()
        for display, view_ids, visibility in self._shown_before:
            if display.node is not None:
                display.node.SetViewNodeIDs(view_ids)
                display.node.SetVisibility(visibility)
        self._shown_before.clear()
        for watch in (self._layout_watch, self._scene_watch):
            watch.follow(None)
        if self._running:
            give_links_back(self._scene)
            self._layout.give_back()
        self._running = False

    def _look_later(self) -> None:
        """Slicer changes its views within the events that tell of a change."""
        if not self._looks_later:
            self._looks_later = True
            later(self._end_where_over)

    def _end_where_over(self) -> None:
        self._looks_later = False
        if not self._running or (self._layout.is_shown and all(result.exists for result in self.results)):
            return
        self.restore()
        if self._on_end:
            self._on_end()

    def _take_layout(self) -> None:
        self._layout.take()
        self._running = True
        self._layout_watch.follow(layout_node(self._scene))
        self._scene_watch.follow(self._scene)
        composites = []
        for side, result in zip(SIDES, self.results):
            slice_node = self._scene.GetSingletonNode(side, "vtkMRMLSliceNode")
            if slice_node is None:
                continue  # Slicer makes its views later while a scene changes, and none without a window.
            composites.append(slicer.vtkMRMLSliceLogic.GetSliceCompositeNode(slice_node))
            display = result.node.GetDisplayNode()
            if display is not None:
                before = WeakNode(display), list(display.GetViewNodeIDs()), display.GetVisibility()
                self._shown_before.append(before)
                display.SetVisibility(True)
        link_views(self._scene, composites)

    def _show_each_in_its_view(self) -> None:
        """Also again: what gives segments of a loaded scene back to all views takes these for such."""
        for side, result in zip(SIDES, self.results):
            display, slice_node = result.node.GetDisplayNode(), self._scene.GetSingletonNode(side, "vtkMRMLSliceNode")
            if display is None or slice_node is None:
                continue  # Deleted meanwhile.
            if list(display.GetViewNodeIDs()) != [slice_node.GetID()]:
                display.SetViewNodeIDs([slice_node.GetID()])

    def _begin_at_most_attention(self, segment: str, layer: str) -> None:
        if not self.running:
            return
        for side in SIDES:
            slice_node = self._scene.GetSingletonNode(side, "vtkMRMLSliceNode")
            if slice_node is None:
                continue
            slicer.app.applicationLogic().GetSliceLogic(slice_node).FitSliceToBackground()
        for result, own in self._shown(segment):
            place = place_in_result(result, own, layer)
            if place is not None:
                self.jump_to(place)
                return
