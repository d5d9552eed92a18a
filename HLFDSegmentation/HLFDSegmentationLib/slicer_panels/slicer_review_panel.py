"""The attention review in the panel: which layer of which segment is looked at, and how it is shown.

What the user chooses is kept in the parameter node; `ReviewPanel.refresh` makes panel and views follow it. So a choice,
a saved scene and a script all come the same way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from ..color_maps import COURSES, DEFAULT, AttentionColors
from ..errors import HLFDError
from ..measures import RasPoint, percent
from ..slicer_scene.slicer_attention_maps import place_in_result
from ..slicer_scene.slicer_scene_result import SceneResult, number_in
from ..slicer_tools.slicer_later import rest_timer
from ..slicer_tools.slicer_pictures import ResizeWatch, pixmap_of
from ..slicer_tools.slicer_reasons import Reasons
from .slicer_comparison import LEFT, Comparison
from .slicer_focus_chart import FocusChart
from .slicer_layer_view import LayerView
from .slicer_mosaic import mosaic
from .slicer_reading_panel import ReadingPanel

MOSAIC_PAUSE_MS = 150
LARGEST_MOSAIC = 900
"""Width in the panel's pixels: a larger one takes too long to follow the slice."""
SCROLL_BAR = 40
"""Wider than any."""
COLOR_MAPS = tuple(COURSES)


class ReviewPanel(VTKObservationMixin):
    """The controls of the attention review.

    Args:
        ui: the panel's widgets.
        on_problem: called with a sentence to show.
    """

    def __init__(self, ui: Any, on_problem: Callable[[str], None]) -> None:
        super().__init__()
        self.ui = ui
        self._on_problem = on_problem
        self._parameters: Any = None
        self._refreshing = False
        self._result: SceneResult | None = None
        self._reasons = Reasons()
        self._shown: tuple = ()
        self._charted: tuple = ()
        self._view = LayerView(slicer.mrmlScene)
        self._chart = FocusChart(slicer.mrmlScene)
        self._comparison: Comparison | None = None
        self._readings = ReadingPanel(ui, self.jump_to, on_problem)
        self._mosaic_width = 0
        self._resize_watch = ResizeWatch(ui.reviewControls, self._on_resized)
        self._mosaic_timer = rest_timer(self._draw_mosaic, MOSAIC_PAUSE_MS)
        # Slicer changes one view after the other.
        self._views_timer = rest_timer(self._on_views_changed)
        ui.mosaicLabel.hide()
        titles = _color_titles()
        ui.colorMapComboBox.addItems([titles[name] for name in COLOR_MAPS])
        ui.segmentComboBox.connect("currentIndexChanged(int)", self._on_segment)
        ui.layerSlider.connect("valueChanged(int)", self._on_layer)
        ui.colorMapComboBox.connect("currentIndexChanged(int)", self._on_color)
        ui.mostAttentionButton.connect("clicked(bool)", self._on_most_attention)
        ui.chartButton.connect("toggled(bool)", self._on_chart)
        ui.mosaicButton.connect("toggled(bool)", self._on_mosaic)
        ui.compareButton.connect("toggled(bool)", self._on_compare)

    def attach(self, parameters: Any) -> None:
        """Follows a parameter node; None while there is no scene to show."""
        self._parameters = parameters
        if parameters is None:
            self.give_views_back()
        self._shown = ()  # A scene that was added brings views of its own.
        self.refresh()

    def give_views_back(self) -> None:
        """Slice views, plot view and layout show again what they showed before."""
        for button in (self.ui.compareButton, self.ui.chartButton, self.ui.mosaicButton):
            button.setChecked(False)
        self._hide_map()

    def refresh(self) -> None:
        """Makes the panel and the views show what the parameter node says."""
        if self._refreshing:
            return
        self._refreshing = True
        try:
            self._show_result()
            self._show_map()
            self._show_chart()
            self._show_comparison()
            self._show_notes_on_lesion()
            self._ask_for_mosaic()
        finally:
            self._refreshing = False

    # What is looked at

    @property
    def _place(self) -> tuple[str, str]:
        """The chosen segment and layer."""
        return self._parameters.segment, self._parameters.layer

    def _show_result(self) -> None:
        result = SceneResult.of(self._parameters.result) if self._parameters else None
        if result != self._result or self._another_is_compared:
            self.ui.compareButton.setChecked(False)
        self._result = result
        layers = result.layers if result else []
        segments = result.segments_with_maps if result and layers else []
        # Qt 5 writes the text of a box anew where what holds it is shown once more, also while a user is typing in it.
        if self.ui.reviewControls.isHidden() == bool(segments):
            self.ui.reviewControls.setVisible(bool(segments))
        self.ui.reviewHintLabel.setVisible(not segments)
        self.ui.reviewHintLabel.setText(_hint(result))
        if result is None or not segments:
            self._readings.show(result, "", "")
            return
        parameters = self._parameters
        if parameters.segment not in segments:
            parameters.segment = segments[0]
        if parameters.layer not in layers:
            parameters.layer = layers[-1]
        if parameters.colorMap not in COLOR_MAPS:
            parameters.colorMap = DEFAULT
        self._show_choice(result, segments, layers)
        # Above the choice of a verdict on one of two results that are on the screen, whose it is must be read.
        heading = _("View 1, {model}").format(model=result.model_of(parameters.segment)) if self._comparison else ""
        self._readings.show(result, *self._place, heading)

    def _show_choice(self, result: SceneResult, segments: list[str], layers: list[str]) -> None:
        segment, layer = self._place
        combo, slider = self.ui.segmentComboBox, self.ui.layerSlider
        for widget in (combo, slider, self.ui.colorMapComboBox):
            widget.blockSignals(True)
        if [combo.itemText(index) for index in range(combo.count)] != segments:
            combo.clear()
            combo.addItems(segments)
        combo.setCurrentIndex(segments.index(segment) if segment in segments else -1)
        slider.setRange(0, len(layers) - 1)
        slider.setValue(layers.index(layer))
        self.ui.colorMapComboBox.setCurrentIndex(COLOR_MAPS.index(self._parameters.colorMap))
        reason = _("A signed map has colors of its own.") if self._parameters.signed else ""
        self._reasons.set(self.ui.colorMapComboBox, reason)
        for widget in (combo, slider, self.ui.colorMapComboBox):
            widget.blockSignals(False)
        self.ui.layerLabel.setText(_layer_text(result, segment, layer))
        self.ui.layerSlider.setAccessibleDescription(self.ui.layerLabel.text)  # Its value alone is a number.

    def _on_segment(self, index: int) -> None:
        if self._parameters and index >= 0:
            self._parameters.segment = self.ui.segmentComboBox.itemText(index)

    def _on_layer(self, value: int) -> None:
        layers = self._result.layers if self._result and self._result.exists else []
        if self._parameters and value < len(layers):
            self._parameters.layer = layers[value]
            if not self._shows_layers:
                self._parameters.showMap = True  # Who walks through the layers wants to see them.

    @property
    def _shows_layers(self) -> bool:
        """Whether there is anything to see of the chosen layer."""
        buttons = self.ui.chartButton, self.ui.mosaicButton, self.ui.compareButton
        return self._parameters.showMap or any(button.checked for button in buttons)

    def _on_color(self, index: int) -> None:
        if self._parameters and index >= 0:
            self._parameters.colorMap = COLOR_MAPS[index]

    # How it is shown

    def _look(self) -> dict[str, Any]:
        """The properties of `LayerView` as they are chosen."""
        parameters = self._parameters
        return {
            "opacity": parameters.opacity,
            "threshold": parameters.threshold,
            "color": parameters.colorMap,
            "signed": parameters.signed,
            "legend": parameters.legend,
        }

    def _show_map(self) -> None:
        result = self._reviewed
        if not (result and self._parameters.showMap and not self._comparison):
            if self._shown or self._view.shown:
                self._hide_map()
            return
        for name, value in self._look().items():
            if getattr(self._view, name) != value:
                setattr(self._view, name, value)
        result.lay_on_ct()
        # Without its CT, which may be deleted while the map is shown, no map can be shown.
        shown = (result, result.ct is not None, *self._place)
        if self._shown != shown:
            self._shown = shown
            self._view.show(result, *self._place)
        self._follow_views()
        self._show_note(self._view.note)

    def _hide_map(self) -> None:
        self._shown = ()
        self.removeObservers(self._on_view)
        self._view.hide()

    def _follow_views(self) -> None:
        for node in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
            if not self.hasObserver(node, vtk.vtkCommand.ModifiedEvent, self._on_view):
                self.addObserver(node, vtk.vtkCommand.ModifiedEvent, self._on_view)

    def _on_view(self, caller: object, event: str) -> None:
        if self._shown:
            self._views_timer.start()

    def _on_views_changed(self) -> None:
        """A volume that was loaded, or chosen, came in place of the map or its CT: the panel does not say that the map
        is shown where no view shows it."""
        if not (self._parameters and self._shown):
            return
        if self._view.was_replaced:
            self._parameters.showMap = False
        else:
            self._view.leave_to_user()

    @property
    def _reviewed(self) -> SceneResult | None:
        """The result, where there is a segment of it with attention to look at."""
        there = self._result and self._parameters and self._result.has_map(self._parameters.segment)
        return self._result if there else None

    def _show_note(self, note: str) -> None:
        if note:
            self.ui.reviewHintLabel.setText(note)
            self.ui.reviewHintLabel.show()

    def _show_notes_on_lesion(self) -> None:
        shows_maps = self._comparison or self.ui.mosaicButton.checked or (self._parameters and self._parameters.showMap)
        self._readings.show_notes(self._colors if shows_maps and self._reviewed else None)

    def jump_to(self, place: RasPoint) -> None:
        """Moves the views, or those of the comparison, to a place (RAS in the world, mm)."""
        (self._comparison or self._view).jump_to(place)

    def _on_most_attention(self, clicked: bool) -> None:
        signed = self._parameters.signed
        place = place_in_result(self._result, *self._place, signed=signed) if self._result else None
        if place is None:
            self._show_note(_("This layer has no attention on the segment. Choose another layer."))
        else:
            self.jump_to(place)

    def _show_chart(self) -> None:
        result = self._reviewed
        if not (result and self.ui.chartButton.checked and not self._comparison):
            if self._charted:
                self._chart.restore()
            self._charted = ()
            return
        segment, layer = self._place
        if self._charted != (result, segment):
            self._charted = (result, segment)
            self._chart.show([result], segment, layer)
        else:
            self._chart.mark(layer)

    def _on_chart(self, checked: bool) -> None:
        self.refresh()

    # Two results

    def _on_compare(self, checked: bool) -> None:
        if checked:
            try:
                self._comparison = self._new_comparison()
                self._on_problem("")
            except HLFDError as error:
                self._on_problem(str(error))
                self.ui.compareButton.setChecked(False)
                return
        elif self._comparison:
            self._comparison.restore()
            self._comparison = None
        for widget in (self.ui.chartButton, self.ui.showMapCheckBox):
            self._reasons.set(widget, _("End Side by side first.") if checked else "")
        self.refresh()
        self._follow_slice()

    def _on_comparison_ended(self) -> None:
        self.ui.compareButton.setChecked(False)

    def _new_comparison(self) -> Comparison:
        other = SceneResult.of(self._parameters.comparedResult)
        if self._result is None or other is None:
            raise HLFDError(_("Choose the result to compare with."))
        return Comparison(slicer.mrmlScene, self._result, other, self._on_comparison_ended)

    @property
    def _another_is_compared(self) -> bool:
        """Whether another result was chosen to compare with than the one that is shown."""
        shown = self._comparison.results[1] if self._comparison else None
        return shown is not None and SceneResult.of(self._parameters.comparedResult) != shown

    def _show_comparison(self) -> None:
        if self._comparison and self._result:
            self._comparison.set(**self._look())
            self._comparison.show(*self._place)
            self._show_note(self._comparison.note)

    # All layers

    def _on_mosaic(self, checked: bool) -> None:
        self.ui.mosaicLabel.setVisible(checked)
        self._follow_slice()
        self._show_notes_on_lesion()
        self._draw_mosaic()

    @property
    def _slice_node(self) -> slicer.vtkMRMLSliceNode | None:
        """The slice view whose slice the mosaic shows: the red one, which is hidden while two results are compared."""
        return slicer.mrmlScene.GetSingletonNode(LEFT if self._comparison else "Red", "vtkMRMLSliceNode")

    def _follow_slice(self) -> None:
        self.removeObservers(self._on_slice_moved)
        if self.ui.mosaicButton.checked and (node := self._slice_node):
            self.addObserver(node, vtk.vtkCommand.ModifiedEvent, self._on_slice_moved)

    def _on_slice_moved(self, caller: object, event: str) -> None:
        self._ask_for_mosaic()

    def _on_resized(self) -> None:
        room = self.ui.reviewControls.width - self._mosaic_width
        # A scroll bar may go where the picture gets smaller, and would come again with a larger one.
        if room < 0 or room > SCROLL_BAR:
            self._ask_for_mosaic()

    def _ask_for_mosaic(self) -> None:
        if self.ui.mosaicButton.checked:
            self._mosaic_timer.start()

    def _draw_mosaic(self) -> None:
        node, result = self._slice_node, self._reviewed
        if node is None or not (result and self.ui.mosaicButton.checked):
            return
        label = self.ui.mosaicLabel
        # The label is as wide, but not yet where it is shown for the first time.
        self._mosaic_width = self.ui.reviewControls.width
        ratio = label.devicePixelRatioF()
        side = round(min(self._mosaic_width, LARGEST_MOSAIC) * ratio)
        look = self._colors, self._parameters.opacity
        try:
            picture = mosaic(result, self._parameters.segment, node, (side, side), *look, ratio)
            label.setPixmap(pixmap_of(picture, ratio))
        except HLFDError as error:
            label.setText(str(error))

    @property
    def _colors(self) -> AttentionColors:
        parameters = self._parameters
        return AttentionColors(parameters.colorMap, parameters.signed, parameters.threshold)


def _hint(result: SceneResult | None) -> str:
    """Why there is nothing to review."""
    if result is None:
        return _("Segment a CT first. Then you see here what each layer of the network looked at.")
    if result.layers:
        return _("The segments with attention were deleted. Segment again.")
    if result.maps_were_left_out:
        return _(
            "The files of the attention maps are missing beside the scene. Save as .mrb to keep them. Segment again."
        )
    return _("This result has no attention. Switch it on under Advanced, and segment again.")


def _color_titles() -> dict[str, str]:
    """What a user reads for each color map."""
    return {
        "meadow": _("Blue to yellow"),
        "ember": _("Violet to yellow"),
        "ice": _("Blue to white"),
    }


def _layer_text(result: SceneResult, segment: str, layer: str) -> str:
    share = number_in(result.focus_rows().get((segment, layer), {}).get("Focus", ""))
    return _("{layer} · focus {percent} %").format(layer=layer, percent=percent(share)) if share >= 0 else layer
