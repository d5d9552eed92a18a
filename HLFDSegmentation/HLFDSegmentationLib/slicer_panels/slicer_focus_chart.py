"""The focus of each layer as a chart in Slicer's plot view, for one result or for two to compare."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

import slicer
import vtk
from slicer.i18n import tr as _

from ..measures import SMALLEST_RATIO
from ..slicer_scene.slicer_scene_result import SceneResult, number_in, text_column
from ..slicer_tools.slicer_hidden_nodes import HiddenNodes
from ..slicer_tools.slicer_layout import OwnLayout, layout_node, show_layout
from ..slicer_tools.slicer_nodes import nodes_of

POSITION, LAYER, FOCUS, CHANCE = "Position", "Layer", "Focus", "Chance"

CHART_BEFORE = "HLFD.ChartBefore"
"""Reference of a plot view: the chart that it showed before ours. The scene may be saved while ours is shown."""

BLUE, ORANGE = (0.0, 0.447, 0.698), (0.835, 0.369, 0.0)
"""Okabe and Ito's: they differ for every kind of color vision."""
GRAY, BLACK = (0.35, 0.35, 0.35), (0.0, 0.0, 0.0)


class FocusChart:
    """Charts how many times more attention a segment gets than if it were spread evenly, layer by layer.

    The chart's nodes are helpers of the view: they are not saved with the scene.

    >>> chart = FocusChart(slicer.mrmlScene)
    >>> chart.show([result], "liver tumor", "decoder3")
    >>> chart.mark("decoder2")
    >>> chart.restore()
    """

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self._scene = scene
        self._nodes = HiddenNodes(scene)
        self._focus: list[dict[str, float]] = []
        self._layers: list[str] = []
        self._mark: slicer.vtkMRMLPlotSeriesNode | None = None
        self._layout_before: int | None = None
        self._layout = 0

    @property
    def chart_node(self) -> slicer.vtkMRMLPlotChartNode | None:
        """The chart, while there is one."""
        return next(iter(self._nodes.of_class("vtkMRMLPlotChartNode")), None)

    def show(self, results: Sequence[SceneResult], segment: str, layer: str) -> None:
        """Charts one or two results in the plot view; takes a layout with a plot view where there is none.

        Args:
            results: two are told apart by color, by dashes and by markers.
            segment: whose focus; its name in the first result. Of the other, that of the same label is charted.
            layer: the layer to mark.
        """
        self._remove_nodes()
        segments = [result.counterpart(segment, results[0]) for result in results]
        self._focus = [_drawn(focus_by_layer(*each)) for each in zip(results, segments)]
        self._layers = list(dict.fromkeys(name for focus in self._focus for name in focus))
        chart = self._nodes.add("vtkMRMLPlotChartNode", _("Focus on {segment}").format(segment=segment))
        self._describe(chart, segment)
        styles = (
            (BLUE, "LineStyleSolid", "MarkerStyleCircle"),
            (ORANGE, "LineStyleDash", "MarkerStyleSquare"),
        )
        models = [result.model_of(each) for result, each in zip(results, segments)]
        for number, (model, focus, style) in enumerate(zip(models, self._focus, styles), start=1):
            table = self._add_table([(name, focus.get(name, math.nan)) for name in self._layers])
            # The views of a comparison are labeled 1 and 2.
            name = model if len(models) == 1 else f"{number}: {model}"
            self._add_series(chart, name, table, FOCUS, *style)
        if self._focus:
            self._add_series(chart, _("1 = even over the body"), table, CHANCE, GRAY, "LineStyleDot", "MarkerStyleNone")
        self._mark = self._add_series(chart, layer, None, FOCUS, BLACK, "LineStyleNone", "MarkerStyleDiamond")
        self._mark.SetMarkerSize(16)
        self.mark(layer)
        self._bring_into_view(chart)

    def mark(self, layer: str) -> None:
        """Marks the current layer. Nothing is marked where its focus is not defined."""
        if self._mark is None or self._mark.GetScene() is None:
            return
        table = self._mark.GetTableNode()
        points = [(layer, focus[layer]) for focus in self._focus if math.isfinite(focus.get(layer, math.nan))]
        # VTK logs an error for a line, even an invisible one, of a single point.
        points *= 2 if len(points) == 1 else 1
        if table is None:
            table = self._add_table(points)
            self._mark.SetAndObserveTableNodeID(table.GetID())
        else:
            self._fill(table, points)
        self._mark.SetName(layer if points else _("{layer}: focus not defined").format(layer=layer))

    def restore(self) -> None:
        """Removes the chart; gives plot views and layout back, as far as the user did not change them meanwhile."""
        chart = self.chart_node
        for view in _plot_views(self._scene):
            if chart is not None and view.GetPlotChartNodeID() == chart.GetID():
                view.SetPlotChartNodeID(view.GetNodeReferenceID(CHART_BEFORE))
            view.SetNodeReferenceID(CHART_BEFORE, None)
        layout = layout_node(self._scene)
        if layout is not None and self._layout_before is not None and layout.GetViewArrangement() == self._layout:
            show_layout(layout, self._layout_before)
        self._layout_before = None
        self._remove_nodes()

    def _describe(self, chart: slicer.vtkMRMLPlotChartNode, segment: str) -> None:
        chart.SetTitle(_("Focus on {segment} by layer").format(segment=segment))
        chart.SetXAxisTitle(axis_title(self._layers))
        chart.SetYAxisTitle(_("times evenly spread attention"))
        chart.SetXAxisRangeAuto(False)
        chart.SetXAxisRange(0.5, max(len(self._layers), 1) + 0.5)
        chart.SetYAxisRangeAuto(False)
        # The last layer's focus is often ten times that of all others, which could not be told apart.
        chart.SetYAxisLogScale(True)
        ratios = [value for focus in self._focus for value in focus.values() if math.isfinite(value)]
        low, high = min([0.5, *ratios]), max([2.0, *ratios])
        # Room above for the legend, which would hide the last layers: most focused as a rule.
        chart.SetYAxisRange(low * (high / low) ** -0.1, high * (high / low) ** 0.45)

    def _add_series(
        self,
        chart: slicer.vtkMRMLPlotChartNode,
        name: str,
        table: slicer.vtkMRMLTableNode | None,
        column: str,
        color: tuple[float, float, float],
        line: str,
        marker: str,
    ) -> slicer.vtkMRMLPlotSeriesNode:
        series = self._nodes.add("vtkMRMLPlotSeriesNode", name)
        if table is not None:
            series.SetAndObserveTableNodeID(table.GetID())
        series.SetPlotType(series.PlotTypeScatter)
        series.SetXColumnName(POSITION)
        series.SetYColumnName(column)
        series.SetLabelColumnName(LAYER)
        series.SetColor(*color)
        series.SetLineStyle(getattr(series, line))
        series.SetLineWidth(2)
        series.SetMarkerStyle(getattr(series, marker))
        series.SetMarkerSize(9)
        chart.AddAndObservePlotSeriesNodeID(series.GetID())
        return series

    def _add_table(self, points: Sequence[tuple[str, float]]) -> slicer.vtkMRMLTableNode:
        table = self._nodes.add("vtkMRMLTableNode", _("Focus by layer"))
        self._fill(table, points)
        return table

    def _fill(self, node: slicer.vtkMRMLTableNode, points: Sequence[tuple[str, float]]) -> None:
        table = vtk.vtkTable()
        table.AddColumn(text_column(LAYER, [name for name, _focus in points]))
        positions = [self._layers.index(name) + 1.0 for name, _focus in points]
        focus = [value for _name, value in points]
        for title, values in ((POSITION, positions), (FOCUS, focus), (CHANCE, [1.0] * len(points))):
            column = vtk.vtkDoubleArray()
            column.SetName(title)
            for value in values:
                column.InsertNextValue(value)
            table.AddColumn(column)
        node.SetAndObserveTable(table)

    def _remove_nodes(self) -> None:
        self._nodes.remove()
        self._mark = None

    def _bring_into_view(self, chart: slicer.vtkMRMLPlotChartNode) -> None:
        layout = layout_node(self._scene)
        if layout is not None and "vtkMRMLPlotViewNode" not in (layout.GetCurrentLayoutDescription() or ""):
            self._layout_before = OwnLayout.users(layout)
            self._layout = slicer.vtkSlicerPlotsLogic.GetLayoutWithPlot(self._layout_before)
            show_layout(layout, self._layout)
        for view in _plot_views(self._scene):
            # Without one: a chart of ours was there, and what was before it is known.
            if view.GetPlotChartNodeID() is not None:
                view.SetNodeReferenceID(CHART_BEFORE, view.GetPlotChartNodeID())
            view.SetPlotChartNodeID(chart.GetID())


def give_charts_back(scene: slicer.vtkMRMLScene) -> None:
    """Shows the user's charts again in a scene that was saved while ours, which is not saved, was in their place."""
    for view in _plot_views(scene):
        if view.GetPlotChartNodeID() is None and view.GetNodeReferenceID(CHART_BEFORE) is not None:
            view.SetPlotChartNodeID(view.GetNodeReferenceID(CHART_BEFORE))
            view.SetNodeReferenceID(CHART_BEFORE, None)


def _plot_views(scene: slicer.vtkMRMLScene) -> list[slicer.vtkMRMLPlotViewNode]:
    return nodes_of(scene, "vtkMRMLPlotViewNode")


def focus_by_layer(result: SceneResult, segment: str) -> dict[str, float]:
    """The focus ratio of each layer for a segment, in the network's order; NaN where it is not defined."""
    rows = result.focus_rows() if result.exists else {}
    return {layer: number_in(row["FocusRatio"]) for (name, layer), row in rows.items() if name == segment}


def _drawn(focus: dict[str, float]) -> dict[str, float]:
    """Where a logarithmic axis has each ratio; NaN stays."""
    return {layer: SMALLEST_RATIO if ratio < SMALLEST_RATIO else ratio for layer, ratio in focus.items()}


def axis_title(layers: Sequence[str]) -> str:
    """What the positions on the axis stand for: Slicer's plot view writes numbers on it, and names only in tooltips."""
    parts = []
    numbered = enumerate(layers, start=1)
    for _stage, group in groupby(numbered, key=lambda item: item[1].rstrip("0123456789")):
        (first, first_name), *_between, (last, last_name) = [*group] * 2
        parts.append(f"{first}–{last}: {first_name}–{last_name}")
    return ",  ".join(parts)
