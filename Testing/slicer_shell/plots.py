"""Draws a chart node with VTK's charts, as Slicer's plot view does from the same nodes; captioned as a stand-in's."""

import math
from pathlib import Path

import numpy as np
import slicer
import vtk

from slicer_shell.screenshots import save_picture
from slicer_shell.views import picture_of

CAPTION = "drawn by a stand-in, not by 3D Slicer"
SIZE = (640, 420)
Series = slicer.vtkMRMLPlotSeriesNode
# Slicer's numbers of lines and markers are VTK's, but for the order of the markers.
MARKERS = {
    Series.MarkerStyleNone: vtk.VTK_MARKER_NONE,
    Series.MarkerStyleCross: vtk.VTK_MARKER_CROSS,
    Series.MarkerStylePlus: vtk.VTK_MARKER_PLUS,
    Series.MarkerStyleSquare: vtk.VTK_MARKER_SQUARE,
    Series.MarkerStyleCircle: vtk.VTK_MARKER_CIRCLE,
    Series.MarkerStyleDiamond: vtk.VTK_MARKER_DIAMOND,
}
LINES = {
    Series.LineStyleNone: vtk.vtkPen.NO_PEN,
    Series.LineStyleSolid: vtk.vtkPen.SOLID_LINE,
    Series.LineStyleDash: vtk.vtkPen.DASH_LINE,
    Series.LineStyleDot: vtk.vtkPen.DOT_LINE,
    Series.LineStyleDashDot: vtk.vtkPen.DASH_DOT_LINE,
    Series.LineStyleDashDotDot: vtk.vtkPen.DASH_DOT_DOT_LINE,
}


def draw_chart(chart_node: slicer.vtkMRMLPlotChartNode, size: tuple[int, int] = SIZE) -> np.ndarray:
    """The chart with all its series: uint8 (height, width, 3).

    Raises:
        ValueError: a series names a table or column that is not there; Slicer's plot view leaves it out silently.
    """
    chart = vtk.vtkChartXY()
    for index in range(chart_node.GetNumberOfPlotSeriesNodes()):
        chart.AddPlot(_plot(chart_node.GetNthPlotSeriesNode(index)))
    view = vtk.vtkContextView()
    view.GetRenderer().SetBackground(1, 1, 1)
    view.GetRenderWindow().SetOffScreenRendering(True)
    view.GetRenderWindow().SetMultiSamples(0)
    view.GetRenderWindow().SetSize(*size)
    view.GetScene().AddItem(chart)
    _label(chart, chart_node)
    view.GetRenderer().AddViewProp(_caption())
    return picture_of(view.GetRenderWindow())


def save_chart(chart_node: slicer.vtkMRMLPlotChartNode, name: str) -> Path:
    """Save the chart as PNG into the folder of screenshots."""
    return save_picture(draw_chart(chart_node), name)


def _plot(series: Series) -> vtk.vtkPlot:
    table_node = series.GetTableNode()
    if table_node is None:
        raise ValueError(f"the plot series {series.GetName()} has no table")
    table = table_node.GetTable()
    columns = [series.GetYColumnName()] + [series.GetXColumnName()] * bool(series.IsXColumnRequired())
    for column in columns:
        if not isinstance(table.GetColumnByName(column), vtk.vtkDataArray):
            raise ValueError(f"the plot series {series.GetName()} has no numbers in column {column!r} of its table")
    bars = series.GetPlotType() in (Series.PlotTypeBar, Series.PlotTypeScatterBar)
    plot = vtk.vtkPlotBar() if bars else vtk.vtkPlotLine()
    plot.SetUseIndexForXSeries(not series.IsXColumnRequired())
    plot.SetInputData(table, columns[-1], columns[0])
    plot.SetLabel(series.GetName())
    plot.SetWidth(series.GetLineWidth())
    plot.SetColorF(*series.GetColor())
    if not bars:
        plot.GetPen().SetLineType(LINES[series.GetLineStyle()])
        plot.SetMarkerStyle(MARKERS[series.GetMarkerStyle()])
        plot.SetMarkerSize(series.GetMarkerSize())
    plot.GetPen().SetOpacityF(series.GetOpacity())
    return plot


def _label(chart: vtk.vtkChartXY, node: slicer.vtkMRMLPlotChartNode) -> None:
    """Titles, ranges and legend as the node has them."""
    chart.SetTitle(node.GetTitle() or "" if node.GetTitleVisibility() else "")
    chart.GetTitleProperties().SetFontSize(node.GetTitleFontSize())
    chart.SetShowLegend(bool(node.GetLegendVisibility()))
    chart.GetLegend().GetLabelProperties().SetFontSize(node.GetLegendFontSize())
    bottom, left = chart.GetAxis(vtk.vtkAxis.BOTTOM), chart.GetAxis(vtk.vtkAxis.LEFT)
    bottom.SetTitle(node.GetXAxisTitle() or "" if node.GetXAxisTitleVisibility() else "")
    left.SetTitle(node.GetYAxisTitle() or "" if node.GetYAxisTitleVisibility() else "")
    for axis in (bottom, left):
        axis.SetGridVisible(bool(node.GetGridVisibility()))
        axis.GetTitleProperties().SetFontSize(node.GetAxisTitleFontSize())
        axis.GetLabelProperties().SetFontSize(node.GetAxisLabelFontSize())
    if not node.GetXAxisRangeAuto():
        _fix_range(bottom, node.GetXAxisRange(), node.GetXAxisLogScale())
    if not node.GetYAxisRangeAuto():
        _fix_range(left, node.GetYAxisRange(), node.GetYAxisLogScale())


def _fix_range(axis: vtk.vtkAxis, limits: tuple[float, float], logarithmic: bool) -> None:
    """As Slicer's plot view does it, in its order."""
    if logarithmic and limits[0] <= 0:
        raise ValueError(f"a logarithmic axis from {limits[0]}; Slicer's plot view would begin it somewhere else")
    axis.SetBehavior(vtk.vtkAxis.FIXED)
    axis.SetLogScale(logarithmic)
    axis.SetUnscaledMinimumLimit(0 if logarithmic else -math.inf)
    axis.SetUnscaledMaximumLimit(math.inf)
    axis.SetUnscaledRange(*limits)
    axis.Update()


def _caption() -> vtk.vtkTextActor:
    actor = vtk.vtkTextActor()
    actor.SetInput(CAPTION)
    actor.GetTextProperty().SetColor(0.4, 0.4, 0.4)
    actor.GetTextProperty().SetFontSize(11)
    actor.SetPosition(8, 4)
    return actor
