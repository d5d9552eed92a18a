"""One layer's attention over the CT in the slice views, and the views as they were before once it is hidden."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import slicer
import vtk
from slicer.i18n import tr as _

from ..color_maps import AttentionColors
from ..measures import RasPoint
from ..slicer_scene.slicer_attention_maps import COLOR_NODE_TAG, color_node, is_empty, strongest
from ..slicer_scene.slicer_scene_result import SceneResult
from ..slicer_scene.slicer_watch import Watch
from ..slicer_tools.slicer_later import later
from ..slicer_tools.slicer_linked_views import composites_of, each_alone, is_own
from ..slicer_tools.slicer_nodes import nodes_of
from ..slicer_tools.slicer_weak import WeakNode
from .slicer_view_content import forget, give_back, is_users, put_over, shows_map, window_tool

FILLED_ATTRIBUTE = "HLFD.Filled"
"""Of the display of a segmentation whose segments are outlined while a map is shown, and were filled before."""

FILL_ALONE = "alone"
"""The attribute where they had no outline."""

LEGEND_LABELS = 5
LEGEND_FONT_SIZE = 13
LEGEND_SIZE = (0.12, 0.4)
"""Smaller than Slicer's own, which hides a quarter of a small view."""
LEGEND_GROUND_OPACITY = 0.6
"""Of black behind the legend's texts: over bowel and ribs, white cannot be read."""


class LayerView:
    """Shows an attention map as the foreground over the CT. Changing a property changes what is shown at once.

    What is shown is a foreground volume, a color node and a color legend: all of it is Slicer's own, and the user may
    change or delete any of it meanwhile. A view in which he chooses another volume is left to him until the map is
    hidden and shown again. The map's scale and colors stay as they are set here, and the mouse changes the CT's window.

    >>> view = LayerView(slicer.mrmlScene)
    >>> view.show(result, "liver tumor", "decoder3")
    >>> view.threshold = 0.3
    >>> view.jump_to(place_in_result(result, "liver tumor", "decoder3"))
    >>> view.hide()

    Args:
        scene: with the views.
        views: layout names of the slice views; all but those that this module made where none are given. All, not
            only those of the current layout: they are the ones that a layout shows next.
    """

    def __init__(self, scene: slicer.vtkMRMLScene, views: Sequence[str] | None = None) -> None:
        self._scene = scene
        self._views = views
        self._colors = AttentionColors(threshold=0.2)
        self._opacity = 0.6
        self._legend = True
        self._result: SceneResult | None = None
        self._segment = self._layer = ""
        self._view_watches: dict[str, Watch] = {}
        self._filled: WeakNode | None = None
        self._legend_node = WeakNode(None)
        self._display_watch = Watch(self._on_display, vtk.vtkCommand.ModifiedEvent)
        self._colors_later = False
        self._led_views: set[str] = set()
        self._note = ""

    @property
    def opacity(self) -> float:
        """Of the map over the CT, 0 to 1."""
        return self._opacity

    @opacity.setter
    def opacity(self, value: float) -> None:
        self._opacity = value
        self._update()

    @property
    def threshold(self) -> float:
        """Weaker attention, in absolute value, is transparent; 0 to 1."""
        return self._colors.threshold

    @threshold.setter
    def threshold(self, value: float) -> None:
        self._set_colors(replace(self._colors, threshold=value))

    @property
    def color(self) -> str:
        """Name of the color map (`color_maps.COURSES`) of positive attention. A signed map has one of its own."""
        return self._colors.name

    @color.setter
    def color(self, name: str) -> None:
        self._set_colors(replace(self._colors, name=name))

    @property
    def signed(self) -> bool:
        """Whether attention against the segment is shown too."""
        return self._colors.signed

    @signed.setter
    def signed(self, value: bool) -> None:
        self._set_colors(replace(self._colors, signed=value))

    @property
    def legend(self) -> bool:
        """Whether the color legend is shown."""
        return self._legend

    @legend.setter
    def legend(self, value: bool) -> None:
        self._legend = value
        self._update()

    @property
    def colors(self) -> AttentionColors:
        """How attention is colored now; `mosaic` takes it."""
        return self._colors

    @property
    def note(self) -> str:
        """What a reader must know about the shown layer, such as that its map is empty. Mostly ""."""
        return self._note

    @property
    def shown(self) -> bool:
        """Whether a map is over the CT."""
        return bool(self._view_watches)

    @property
    def was_replaced(self) -> bool:
        """Whether no view shows the map over its CT any more, though it exists: a volume that is loaded comes there."""
        map_node = self._map_node(self._result) if self.shown else None
        if map_node is None:
            return False
        return all(each.GetForegroundVolumeID() != map_node.GetID() or is_users(each) for each in self._composites())

    def show(self, result: SceneResult, segment: str, layer: str) -> None:
        """Shows the map of a layer for a segment; hides what was shown where there is no such map, and says so."""
        self._result, self._segment, self._layer = result, segment, layer
        if result.exists:
            result.lay_on_ct()
        self._update_shown(result)

    def leave_to_user(self) -> None:
        """Takes the map from the views in which the user chose another background: it is not that one's map."""
        watched = [composite for composite in self._composites() if composite.GetID() in self._view_watches]
        composites = [composite for composite in watched if is_users(composite) and shows_map(composite)]
        with each_alone(composites):
            for composite in composites:
                give_back(composite)

    def hide(self) -> None:
        """Gives the views back what they showed before, as far as it still exists and the user left the map there."""
        composites = [composite for composite in self._composites() if composite.GetID() in self._view_watches]
        with each_alone(composites):
            for composite in composites:
                with slicer.util.NodeModify(composite):
                    give_back(composite)
                    forget(composite)
        self._lead_mouse()
        for watch in self._view_watches.values():
            watch.follow(None)
        self._view_watches.clear()
        self._display_watch.follow(None)
        self._remove_legend()
        self._refresh_legends()
        self._fill_segments_again()
        self._result, self._note = None, ""

    def jump_to(self, place: RasPoint) -> None:
        """Moves the views to a place (RAS in the world, mm), and the crosshair to it.

        A view pans only where the place would lie outside of it.
        """
        for slice_node in self._slice_nodes():
            slice_node.JumpSliceByOffsetting(*place)
            if not _is_in_view(slice_node, place):
                slice_node.JumpSliceByCentering(*place)
        crosshair = self._scene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
        if crosshair is not None:
            crosshair.SetCrosshairRAS(list(place))

    def _set_colors(self, colors: AttentionColors) -> None:
        self._colors = colors
        self._update()

    def _update(self) -> None:
        if self._result is not None:
            self._update_shown(self._result)

    def _map_node(self, result: SceneResult | None) -> slicer.vtkMRMLScalarVolumeNode | None:
        if result is None or not result.exists or result.ct is None:
            return None
        return result.map_node(self._segment, self._layer)

    def _update_shown(self, result: SceneResult) -> None:
        map_node = self._map_node(result)
        if map_node is None:
            segment, layer = self._segment, self._layer
            self.hide()
            self._note = _(
                "There is no attention map of {layer} for {segment} in the scene. Segment the CT again, with attention."
            ).format(layer=layer, segment=segment)
            return
        self._note = self._note_on(map_node)
        self._color(map_node)
        self._outline_segments(result)
        ct: Any = result.ct  # It is there: there is a map to show.
        composites = self._composites()
        with each_alone(composites):
            for composite in composites:
                with slicer.util.NodeModify(composite):
                    self._show_in(composite, ct, map_node)
        self._lead_mouse()
        self._update_legend(map_node)

    def _show_in(
        self,
        composite: slicer.vtkMRMLSliceCompositeNode,
        ct: slicer.vtkMRMLScalarVolumeNode,
        map_node: slicer.vtkMRMLScalarVolumeNode,
    ) -> None:
        watch = self._view_watches.get(composite.GetID())
        if watch is not None and is_users(composite):
            if shows_map(composite):
                give_back(composite)
            return
        if watch is None:
            watch = self._view_watches[composite.GetID()] = Watch(self._lead_mouse, vtk.vtkCommand.ModifiedEvent)
            watch.follow(composite)
        put_over(composite, ct, map_node)
        composite.SetForegroundOpacity(self._opacity)
        composite.SetCompositing(slicer.vtkMRMLSliceCompositeNode.Alpha)

    def _lead_mouse(self) -> None:
        """Makes the mouse change the CT's window in views where a map lies over it: Slicer's would change the map's."""
        for composite in self._composites():
            tool, view = window_tool(composite), composite.GetID()
            if tool is None:
                continue
            if shows_map(composite) and tool.GetAdjustForegroundWindowLevelEnabled():
                tool.SetAdjustForegroundWindowLevelEnabled(False)
                self._led_views.add(view)
            elif view in self._led_views and not shows_map(composite):
                tool.SetAdjustForegroundWindowLevelEnabled(True)
                self._led_views.remove(view)

    def _note_on(self, map_node: slicer.vtkMRMLScalarVolumeNode) -> str:
        if self.signed or not is_empty(map_node):
            return ""
        return _("Nothing in {layer} speaks for {segment}: its positive map is empty. Look at its signed map.").format(
            layer=self._layer, segment=self._segment
        )

    def _color(self, map_node: slicer.vtkMRMLScalarVolumeNode) -> None:
        display = map_node.GetScalarVolumeDisplayNode()
        self._display_watch.follow(display)
        if display is not None:
            with slicer.util.NodeModify(display):
                display.AutoWindowLevelOff()
                display.SetWindowLevelMinMax(*self._scale(map_node))
                display.SetAndObserveColorNodeID(color_node(self._scene, self._colors).GetID())

    def _scale(self, map_node: slicer.vtkMRMLScalarVolumeNode) -> tuple[float, float]:
        """That of what is shown: with what speaks against left out, the strongest that speaks for."""
        low, high = self._colors.range
        return low, high if self.signed else strongest(map_node) or high

    def _is_colored(self, map_node: slicer.vtkMRMLScalarVolumeNode) -> bool:
        """Whether a map looks as `_color` made it: Slicer's tools for windows and its display presets change it."""
        display = map_node.GetScalarVolumeDisplayNode()
        if display is None:
            return True
        color = display.GetColorNode()
        scale = display.GetWindowLevelMin(), display.GetWindowLevelMax()
        return (
            not display.GetAutoWindowLevel()
            and all(math.isclose(*pair, abs_tol=1e-6) for pair in zip(scale, self._scale(map_node)))
            and color is not None
            and color.GetSingletonTag() == COLOR_NODE_TAG
        )

    def _on_display(self) -> None:
        # Slicer goes on changing it within the event.
        map_node = self._map_node(self._result)
        if not self._colors_later and map_node is not None and not self._is_colored(map_node):
            self._colors_later = True
            later(self._color_again)

    def _color_again(self) -> None:
        try:
            map_node = self._map_node(self._result)
            if map_node is not None:
                self._color(map_node)
        finally:
            # Not before: what is set anew is a change of the display, too, and where it fails it would never end.
            self._colors_later = False

    def _update_legend(self, map_node: slicer.vtkMRMLScalarVolumeNode) -> None:
        display = map_node.GetScalarVolumeDisplayNode()
        if self._legend_node.node is not None and self._legend_node.node.GetDisplayableNode() is not map_node:
            self._remove_legend()
        if not self._legend or display is None:
            self._remove_legend()
            self._refresh_legends()
            return
        legend = slicer.modules.colors.logic().AddDefaultColorLegendDisplayNode(display)
        self._legend_node = WeakNode(legend)
        legend.SetSaveWithScene(False)
        legend.SetTitleText(f"{self._layer}\n{self._segment}")
        for text in (legend.GetTitleTextProperty(), legend.GetLabelTextProperty()):
            text.SetFontSize(LEGEND_FONT_SIZE)
            text.SetBackgroundColor(0, 0, 0)
            text.SetBackgroundOpacity(LEGEND_GROUND_OPACITY)
        legend.SetSize(*LEGEND_SIZE)
        legend.SetNumberOfLabels(LEGEND_LABELS)
        legend.SetLabelFormat("%.2f")
        legend.SetVisibility3D(False)
        self._refresh_legends()

    def _remove_legend(self) -> None:
        if self._legend_node.node is not None:
            self._scene.RemoveNode(self._legend_node.node)

    def _refresh_legends(self) -> None:
        """Slicer's views look whether a legend's volume is shown when the legend changes, not when the volume does."""
        for legend in nodes_of(self._scene, "vtkMRMLColorLegendDisplayNode"):
            legend.Modified()

    def _outline_segments(self, result: SceneResult) -> None:
        """A filled segment would tint the map that lies under it."""
        display = result.node.GetDisplayNode()
        if self._filled is not None and self._filled.node is not display:
            self._fill_segments_again()  # Those of the result that was shown before.
        if self._filled is not None or display is None:
            return
        if display.GetVisibility2DFill():
            # Kept in the node: the scene may be saved, and loaded again, while a map is shown.
            display.SetAttribute(FILLED_ATTRIBUTE, "1" if display.GetVisibility2DOutline() else FILL_ALONE)
            display.SetVisibility2DOutline(True)
            display.SetVisibility2DFill(False)
        if display.GetAttribute(FILLED_ATTRIBUTE):
            self._filled = WeakNode(display)

    def _fill_segments_again(self) -> None:
        display = self._filled.node if self._filled is not None else None
        if display is not None:
            display.SetVisibility2DFill(True)
            if display.GetAttribute(FILLED_ATTRIBUTE) == FILL_ALONE:
                display.SetVisibility2DOutline(False)
            display.SetAttribute(FILLED_ATTRIBUTE, None)
        self._filled = None

    def _slice_nodes(self) -> Iterator[slicer.vtkMRMLSliceNode]:
        for node in nodes_of(self._scene, "vtkMRMLSliceNode"):
            if self._is_ours(node):
                yield node

    def _composites(self) -> list[slicer.vtkMRMLSliceCompositeNode]:
        return [node for node in composites_of(self._scene) if self._is_ours(node)]

    def _is_ours(self, view: slicer.vtkMRMLNode) -> bool:
        return not is_own(view) if self._views is None else view.GetLayoutName() in self._views


def _is_in_view(slice_node: slicer.vtkMRMLSliceNode, place: RasPoint) -> bool:
    ras_to_xy = vtk.vtkMatrix4x4()
    vtk.vtkMatrix4x4.Invert(slice_node.GetXYToRAS(), ras_to_xy)
    x, y = ras_to_xy.MultiplyPoint((*place, 1.0))[:2]
    width, height = slice_node.GetDimensions()[:2]
    return 0 <= x < width and 0 <= y < height
