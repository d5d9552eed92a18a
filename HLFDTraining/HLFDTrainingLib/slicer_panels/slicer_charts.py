"""The course of a training in Slicer's plot view: each term of the loss, and the validation Dice of each label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import slicer
import vtk
from HLFDSegmentationLib.slicer_tools.slicer_hidden_nodes import HiddenNodes
from slicer.i18n import tr as _

from ..runs.training_curves import StageCurves
from ..slicer_scene.slicer_own_layout import CHART_LAYOUT, DICE, LOSS, own_layout
from .slicer_texts import stage_titles

EPOCH = "Epoch"
TAUGHT = ("student", "undistilled")
"""The stages in which there is a teacher to beat."""

# Okabe and Ito's: they differ for every kind of color vision. Yellow is left out: on white it cannot be seen.
COLORS = (
    (0.0, 0.447, 0.698),
    (0.835, 0.369, 0.0),
    (0.0, 0.62, 0.451),
    (0.8, 0.475, 0.655),
    (0.337, 0.706, 0.914),
    (0.902, 0.624, 0.0),
    (0.0, 0.0, 0.0),
)
LINES = ("LineStyleSolid", "LineStyleDashDot", "LineStyleDot")


class TrainingCharts:
    """Two charts, side by side with a slice view. Their nodes are helpers: hidden, and not saved with the scene.

    >>> charts = TrainingCharts(slicer.mrmlScene)
    >>> charts.show(curves_of(events), "student")
    >>> charts.hide()
    """

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self._layout = own_layout(scene, CHART_LAYOUT)
        self._dice = _Chart(scene, DICE)
        self._loss = _Chart(scene, LOSS)
        self.shown = False
        """Whether they are on the screen."""

    def show(self, curves: Mapping[str, StageCurves], stage: str) -> None:
        """Charts a stage; call it again when there is a new epoch. The first time the layout changes.

        Args:
            curves: of all stages so far.
            stage: which one to chart.
        """
        if not self.shown:
            self._layout.take()
        self.shown = True
        shown = curves.get(stage, StageCurves())
        name = stage_titles().get(stage, _("no epoch has ended yet"))
        self._loss.show(_("Loss: {stage}").format(stage=name), _("mean over the epoch"), shown, shown.terms)
        teacher = curves["teacher"].best if stage in TAUGHT and "teacher" in curves else {}
        title = _("Validation Dice: {stage}").format(stage=name)
        self._dice.show(title, _("Dice"), shown, shown.dice, lines=teacher, highest=1.0)

    def hide(self) -> None:
        """Removes the charts, and gives the layout back."""
        self._layout.give_back()
        self.shown = False
        self._dice.remove()
        self._loss.remove()


class _Chart:
    """One chart in a plot view of its own.

    Args:
        scene: gets the nodes.
        view: name of the plot view.
    """

    def __init__(self, scene: slicer.vtkMRMLScene, view: str) -> None:
        self._scene = scene
        self._view = view
        self._nodes = HiddenNodes(scene)
        self._series: list[str] = []

    @property
    def node(self) -> slicer.vtkMRMLPlotChartNode | None:
        """The chart, while there is one."""
        return next(iter(self._nodes.of_class("vtkMRMLPlotChartNode")), None)

    def show(
        self,
        title: str,
        axis: str,
        curves: StageCurves,
        columns: Mapping[str, Sequence[float]],
        *,
        lines: Mapping[str, float] | None = None,
        highest: float | None = None,
    ) -> None:
        """Shows columns over the epochs, and levels to beat as dashed lines in the color of the same column."""
        lines = {name: level for name, level in (lines or {}).items() if name in columns}
        series = [title, *columns, *lines]
        if series != self._series or not self._nodes.whole:
            self.remove()
            self._build(title, axis, list(columns), list(lines))
            self._series = series
        self._fill(curves, columns, lines)
        last = max(curves.planned, 2)
        chart: Any = self.node  # It was built where it was not there.
        chart.SetXAxisRange(0.5, last + 0.5)
        if highest is not None:
            # Room above for the legend, which would hide the curves.
            chart.SetYAxisRangeAuto(False)
            chart.SetYAxisRange(0.0, 1.35 * highest)
        view = self._scene.GetSingletonNode(self._view, "vtkMRMLPlotViewNode")
        if view is not None and view.GetPlotChartNodeID() != chart.GetID():
            view.SetPlotChartNodeID(chart.GetID())

    def remove(self) -> None:
        """Removes the nodes."""
        self._nodes.remove()
        self._series = []

    def _build(self, title: str, axis: str, columns: Sequence[str], lines: Sequence[str]) -> None:
        chart = self._nodes.add("vtkMRMLPlotChartNode", title)
        chart.SetTitle(title)
        chart.SetXAxisTitle(_("epoch"))
        chart.SetYAxisTitle(axis)
        chart.SetXAxisRangeAuto(False)
        chart.SetYAxisRangeAuto(True)
        table = self._nodes.add("vtkMRMLTableNode", title)
        levels = self._nodes.add("vtkMRMLTableNode", _("{title} of the teacher").format(title=title))
        for number, name in enumerate(columns):
            style = LINES[number // len(COLORS) % len(LINES)]
            self._add_series(chart, name, table, name, number, style, marker=True)
        for name in lines:
            legend = _("{label}, teacher").format(label=name)
            self._add_series(chart, legend, levels, name, list(columns).index(name), "LineStyleDash", marker=False)

    def _add_series(
        self,
        chart: slicer.vtkMRMLPlotChartNode,
        name: str,
        table: slicer.vtkMRMLTableNode,
        column: str,
        number: int,
        line: str,
        *,
        marker: bool,
    ) -> None:
        series = self._nodes.add("vtkMRMLPlotSeriesNode", name)
        series.SetAndObserveTableNodeID(table.GetID())
        series.SetPlotType(series.PlotTypeScatter)
        series.SetXColumnName(EPOCH)
        series.SetYColumnName(column)
        series.SetColor(*COLORS[number % len(COLORS)])
        series.SetLineStyle(getattr(series, line))
        series.SetLineWidth(2)
        series.SetMarkerStyle(series.MarkerStyleCircle if marker else series.MarkerStyleNone)
        series.SetMarkerSize(5)
        chart.AddAndObservePlotSeriesNodeID(series.GetID())

    def _fill(self, curves: StageCurves, columns: Mapping[str, Sequence[float]], lines: Mapping[str, float]) -> None:
        table, levels = self._nodes.of_class("vtkMRMLTableNode")
        # VTK logs an error for a line of a single point.
        times = 2 if len(curves.epochs) == 1 else 1
        table.SetAndObserveTable(
            _table({EPOCH: curves.epochs * times, **{name: list(values) * times for name, values in columns.items()}})
        )
        ends = [0.5, max(curves.planned, 2) + 0.5]
        levels.SetAndObserveTable(_table({EPOCH: ends, **{name: [level] * 2 for name, level in lines.items()}}))


def _table(columns: Mapping[str, Sequence[float]]) -> vtk.vtkTable:
    table = vtk.vtkTable()
    for name, values in columns.items():
        column = vtk.vtkDoubleArray()
        column.SetName(name)
        for value in values:
            column.InsertNextValue(value)
        table.AddColumn(column)
    return table
