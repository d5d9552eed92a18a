"""One layer's attention over the CT in the slice views, and the views as they were before once it is hidden."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import slicer
import vtk
from slicer.i18n import tr as _

from .color_maps import AttentionColors
from .measures import RasPoint
from .slicer_attention_maps import color_node, is_empty, is_map, strongest
from .slicer_linked_views import OWN_VIEWS, composites_of, each_alone
from .slicer_scene_result import SceneResult
from .slicer_weak import WeakNode

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
    change or delete any of it meanwhile.

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
        self._before: dict[str, _ViewContent] = {}
        self._filled: WeakNode | None = None
        self._legend_node = WeakNode(None)
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
        return bool(self._before)

    @property
    def was_replaced(self) -> bool:
        """Whether no view shows the map any more, though it exists: a volume that is loaded takes its place."""
        map_node = self._map_node(self._result) if self.shown and self._result is not None else None
        if map_node is None:
            return False
        return all(composite.GetForegroundVolumeID() != map_node.GetID() for composite in self._composites())

    def show(self, result: SceneResult, segment: str, layer: str) -> None:
        """Shows the map of a layer for a segment; hides what was shown where there is no such map, and says so."""
        self._result, self._segment, self._layer = result, segment, layer
        if result.exists:
            result.lay_on_ct()
        self._update_shown(result)

    def hide(self) -> None:
        """Gives the views back what they showed before, as far as it still exists and the user left the map there."""
        composites = self._composites()
        with each_alone(composites):
            for composite in composites:
                before = self._before.get(composite.GetID())
                if before is not None:
                    before.restore(composite)
        self._before.clear()
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

    def _map_node(self, result: SceneResult) -> slicer.vtkMRMLScalarVolumeNode | None:
        if not result.exists or result.ct is None:
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
        for composite in composites:
            self._before.setdefault(composite.GetID(), _ViewContent(composite)).put_under(ct)
        with each_alone(composites):
            for composite in composites:
                modifying = composite.StartModify()
                set_background(composite, ct)
                composite.SetForegroundVolumeID(map_node.GetID())
                composite.SetForegroundOpacity(self._opacity)
                composite.SetCompositing(slicer.vtkMRMLSliceCompositeNode.Alpha)
                composite.EndModify(modifying)
        self._update_legend(map_node)

    def _note_on(self, map_node: slicer.vtkMRMLScalarVolumeNode) -> str:
        if self.signed or not is_empty(map_node):
            return ""
        return _("Nothing in {layer} speaks for {segment}: its positive map is empty. Look at its signed map.").format(
            layer=self._layer, segment=self._segment
        )

    def _color(self, map_node: slicer.vtkMRMLScalarVolumeNode) -> None:
        display = map_node.GetScalarVolumeDisplayNode()
        if display is not None:
            modifying = display.StartModify()
            low, high = self._colors.range
            # The scale is that of what is shown: with what speaks against left out, the strongest that speaks for.
            display.SetWindowLevelMinMax(low, high if self.signed else strongest(map_node) or high)
            display.SetAndObserveColorNodeID(color_node(self._scene, self._colors).GetID())
            display.EndModify(modifying)

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
        for legend in slicer.util.getNodesByClass("vtkMRMLColorLegendDisplayNode", self._scene):
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
        for node in slicer.util.getNodesByClass("vtkMRMLSliceNode", self._scene):
            if self._is_ours(node.GetLayoutName()):
                yield node

    def _composites(self) -> list[slicer.vtkMRMLSliceCompositeNode]:
        return [node for node in composites_of(self._scene) if self._is_ours(node.GetLayoutName())]

    def _is_ours(self, view: str) -> bool:
        return not view.startswith(OWN_VIEWS) if self._views is None else view in self._views


class _ViewContent:
    """What a slice view showed before a map came over the CT in it."""

    def __init__(self, composite: slicer.vtkMRMLSliceCompositeNode) -> None:
        scene = composite.GetScene()
        self._ct = WeakNode(None)
        self._background = WeakNode(scene.GetNodeByID(composite.GetBackgroundVolumeID() or ""))
        foreground = scene.GetNodeByID(composite.GetForegroundVolumeID() or "")
        # A scene that was saved with a map over the CT showed something else before that nobody knows of.
        self._foreground = WeakNode(None if is_map(foreground) else foreground)
        self._opacity = 0.0 if is_map(foreground) else composite.GetForegroundOpacity()
        self._compositing = composite.GetCompositing()

    def put_under(self, ct: slicer.vtkMRMLScalarVolumeNode) -> None:
        """Notes which CT is shown in place of the background, and comes in the place of one that was looked at."""
        if self._ct.id is not None and self._ct.id == self._background.id:
            self._background = WeakNode(ct)
        self._ct = WeakNode(ct)

    def restore(self, composite: slicer.vtkMRMLSliceCompositeNode) -> None:
        """Gives it back, unless the view shows something else meanwhile: the user chose it, or loaded it."""
        foreground = composite.GetScene().GetNodeByID(composite.GetForegroundVolumeID() or "")
        other_ct = composite.GetBackgroundVolumeID() not in (None, self._ct.id)
        if not is_map(foreground) and (foreground is not None or other_ct):
            return
        modifying = composite.StartModify()
        if composite.GetBackgroundVolumeID() == self._ct.id and self._background.node is not None:
            set_background(composite, self._background.node)
        composite.SetForegroundVolumeID(self._foreground.id)
        composite.SetForegroundOpacity(self._opacity)
        composite.SetCompositing(self._compositing)
        composite.EndModify(modifying)


def set_background(composite: slicer.vtkMRMLSliceCompositeNode, volume: slicer.vtkMRMLVolumeNode) -> None:
    """Shows a volume in a view, which goes there only where it would be black."""
    if composite.GetBackgroundVolumeID() == volume.GetID():
        return
    composite.SetBackgroundVolumeID(volume.GetID())
    slice_node = slicer.vtkMRMLSliceLogic.GetSliceNode(composite)
    if slice_node is not None and not _meets(slice_node, volume):
        _fit(slice_node, volume)


def _fit(slice_node: slicer.vtkMRMLSliceNode, volume: slicer.vtkMRMLVolumeNode) -> None:
    """Makes a slice view show all of a volume.

    Slicer's own way fits the foreground as well: where that lies far away, the middle of the view is between both.
    """
    logic = slicer.app.applicationLogic().GetSliceLogic(slice_node)
    if logic is not None:
        logic.FitSliceToVolume(volume, *slice_node.GetDimensions()[:2])


def _meets(slice_node: slicer.vtkMRMLSliceNode, volume: slicer.vtkMRMLVolumeNode) -> bool:
    """Whether any of a volume lies in a slice view, which may have been dragged aside."""
    ras_to_xy = vtk.vtkMatrix4x4()
    vtk.vtkMatrix4x4.Invert(slice_node.GetXYToRAS(), ras_to_xy)
    bounds = [0.0] * 6
    volume.GetSliceBounds(bounds, ras_to_xy)
    width, height = slice_node.GetDimensions()[:2]
    ends = zip(bounds[::2], bounds[1::2], (width, height, 0))
    return all(low <= end and high >= 0 for low, high, end in ends)


def _is_in_view(slice_node: slicer.vtkMRMLSliceNode, place: RasPoint) -> bool:
    ras_to_xy = vtk.vtkMatrix4x4()
    vtk.vtkMatrix4x4.Invert(slice_node.GetXYToRAS(), ras_to_xy)
    x, y = ras_to_xy.MultiplyPoint((*place, 1.0))[:2]
    width, height = slice_node.GetDimensions()[:2]
    return 0 <= x < width and 0 <= y < height
