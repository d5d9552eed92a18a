"""Charts of a comparison, drawn as SVG: Dice by method, focus by layer, learning curves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from HLFDSegmentationLib.output.safe_files import write_text
from HLFDSegmentationLib.reports.report_attention import power_of

from .jobs import TEACHER
from .records import method_order
from .rows import BASELINE, Row
from .summary import TableRow

WIDTH, ROW, LEFT, RIGHT, TOP, PLOT_HEIGHT = 760, 22, 290, 80, 30, 240
LEGEND, CHARACTER = 220, 7
"""Room for the names of lines, and for a character of a name: where names are longer, charts are wider."""

TEXT, QUIET = "#1b1f24", "#57606a"
GRID = "#d8dee4"
GRAYS = {GRID: "grid", QUIET: "base"}
FIRST_COLOR = "#d55e00"
OTHER_COLORS = ("#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""All of Okabe and Ito, which color-blind readers tell apart."""

DASHES = ("", "5 3", "1.5 3", "8 3 1.5 3", "12 4")
"""Of lines, where there are more than colors: a pattern for each round of colors."""

Charts = list[Element]


@dataclass(frozen=True)
class Series:
    """A line of a chart; it is broken where a point has no y (NaN)."""

    name: str
    points: Sequence[tuple[float, float]]
    color: str
    dashes: str = ""


def dice_charts(table: Sequence[TableRow]) -> Charts:
    """For each label the mean Dice of every method with its 95 % interval, and each seed as a small dot."""
    charts = []
    for label in dict.fromkeys(row.label for row in table):
        rows = [row for row in table if row.label == label and row.figures["dice"].cases]
        if rows:
            charts.append(_interval_chart(f"Dice of {label}", rows))
    return charts


def focus_charts(table: Sequence[TableRow]) -> Charts:
    """For each label and student the focus of each layer, a line for each method, on a logarithmic scale.

    The last layer's focus is often ten times that of all others, which would lie on one line otherwise.
    """
    charts = []
    for label, student in dict.fromkeys((row.label, row.student) for row in table):
        rows = [row for row in table if (row.label, row.student) == (label, student)]
        layers = list(dict.fromkeys(row.layer for row in rows))
        methods = list(dict.fromkeys(row.method for row in rows))
        series = [
            _series(
                method,
                methods,
                [(layers.index(row.layer), power_of(row.figures["focus_ratio"].mean)) for row in of_method],
            )
            for method in methods
            if (of_method := [row for row in rows if row.method == method])
        ]
        title = f"Focus of {student} on {label}, as a multiple of evenly spread attention"
        charts.append(line_chart(title, series, list(enumerate(layers)), powers_of_two=True))
    return charts


def learning_charts(learning: Mapping[Row, Mapping[int, Sequence[float]]]) -> Charts:
    """For each student the validation Dice by epoch, a line for each method: the mean over its seeds."""
    charts = []
    for student in dict.fromkeys(row.student for row in learning):
        of_student = {row: epochs for row, epochs in learning.items() if row.student == student}
        methods = sorted({row.method for row in of_student}, key=method_order)
        series = [
            _series(one, methods, _mean_by_epoch([epochs for row, epochs in of_student.items() if row.method == one]))
            for one in methods
        ]
        last = max((x for one in series for x, _ in one.points), default=1)
        shown = sorted({1, *(max(1, round(last * share / 4)) for share in (1, 2, 3, 4))})
        ticks = [(epoch, str(epoch)) for epoch in shown]
        charts.append(line_chart(f"Validation Dice of {student} by epoch, mean over the labels", series, ticks))
    return charts


def line_chart(
    title: str,
    series: Sequence[Series],
    x_ticks: Sequence[tuple[float, str]],
    powers_of_two: bool = False,
) -> Element:
    """A chart of lines.

    Args:
        title: above it.
        series: the lines, with their names beside the chart.
        x_ticks: places on the x axis, and what stands there.
        powers_of_two: whether y is a logarithm to the base 2, to be told as the number itself.
    """
    values = [y for one in series for _, y in one.points if not math.isnan(y)] or [0.0]
    ticks = _ticks(min(values), max(values), finest=1 if powers_of_two else 0)
    left, right, bottom = 70, WIDTH - LEGEND, TOP + PLOT_HEIGHT
    width = right + max(LEGEND, 40 + _longest(one.name for one in series))
    chart = _chart(title, width, max(bottom, TOP + ROW * len(series)) + ROW + 10)
    for tick in ticks:
        y = _place(tick, ticks, bottom, TOP)
        _line(chart, left, y, right, y, GRID)
        _text(chart, _power_text(tick) if powers_of_two else f"{tick:g}", left - 6, y, "end", QUIET)
    places = [x for x, _ in x_ticks]
    for x, name in x_ticks:
        _text(chart, name, _place(x, places, left + 12, right - 12), bottom + ROW / 2, "middle", QUIET, size=10)
    for number, one in enumerate(series):
        for missing, run in groupby(one.points, lambda point: math.isnan(point[1])):
            if missing:
                continue
            at = [(_place(x, places, left + 12, right - 12), _place(y, ticks, bottom, TOP)) for x, y in run]
            _polyline(chart, at, one)
        y = TOP + ROW * (number + 0.5)
        _line(chart, right + 14, y, right + 34, y, one.color, width=2, dashes=one.dashes)
        _text(chart, one.name, right + 40, y, "start")
    return chart


def write_svg(charts: Charts, path: Path) -> None:
    """All charts below each other in one file, on white. Raises OutputError."""
    height = sum(float(chart.get("height", "0")) for chart in charts)
    width = max((int(chart.get("width", "0")) for chart in charts), default=WIDTH)
    page = Element("svg", xmlns="http://www.w3.org/2000/svg", width=str(width), height=f"{height:.0f}")
    page.set("viewBox", f"0 0 {width} {height:.0f}")
    page.set("font-family", "system-ui, sans-serif")
    SubElement(page, "rect", width="100%", height="100%", fill="#ffffff")
    offset = 0.0
    for chart in charts:
        placed = SubElement(page, "g", transform=f"translate(0 {offset:.0f})")
        placed.extend(chart)
        offset += float(chart.get("height", "0"))
    write_text(path, ElementTree.tostring(page, encoding="unicode") + "\n")


def _mean_by_epoch(rows: Sequence[Mapping[int, Sequence[float]]]) -> list[tuple[float, float]]:
    found: dict[int, list[float]] = {}
    for row in rows:
        for epoch, dice in row.items():
            found.setdefault(epoch, []).extend(dice)
    # Folds differ in their number of epochs: the last ones of a few of them are no mean of all.
    most = max(map(len, found.values()), default=0)
    return [(epoch, sum(dice) / most) for epoch, dice in sorted(found.items()) if len(dice) == most]


def _series(method: str, methods: Sequence[str], points: Iterable[tuple[float, float]]) -> Series:
    round_of_colors = max(0, _number(method, methods) - 1) // len(OTHER_COLORS)
    return Series(method, list(points), _color(method, methods), DASHES[round_of_colors % len(DASHES)])


def _number(method: str, methods: Sequence[str]) -> int:
    """HLFD, or else the first method, is 0: it has a color that no other has."""
    return sorted(filter(_is_taught, methods), key=lambda one: one != "hlfd").index(method) if _is_taught(method) else 0


def _is_taught(method: str) -> bool:
    return method not in (BASELINE, TEACHER)


def _color(method: str, methods: Sequence[str]) -> str:
    if not _is_taught(method):
        return QUIET
    number = _number(method, methods)
    return OTHER_COLORS[(number - 1) % len(OTHER_COLORS)] if number else FIRST_COLOR


def _interval_chart(title: str, rows: Sequence[TableRow]) -> Element:
    spreads = [row.figures["dice"] for row in rows]
    ends = [value for one in spreads for value in (one.low, one.high, one.mean) if not math.isnan(value)]
    ends += [value for row in rows for value in row.seeds.values()]
    ticks = _ticks(min(ends), max(ends))
    left = max(LEFT, 10 + _longest(row.title for row in rows))
    right, bottom = left + WIDTH - LEFT - RIGHT, TOP + ROW * len(rows)
    chart = _chart(title, right + RIGHT, bottom + ROW + 6)
    for tick in ticks:
        x = _place(tick, ticks, left, right)
        _line(chart, x, TOP, x, bottom, GRID)
        _text(chart, f"{tick:g}", x, bottom + ROW / 2, "middle", QUIET)
    methods = list(dict.fromkeys(row.method for row in rows))
    for number, (row, found) in enumerate(zip(rows, spreads)):
        y, color = TOP + ROW * (number + 0.5), _color(row.method, methods)
        _text(chart, row.title, left - 10, y, "end")
        mean, low, high = (_place(value, ticks, left, right) for value in (found.mean, found.low, found.high))
        if not math.isnan(found.low):
            _line(chart, low, y, high, y, color, width=2)
        for value in row.seeds.values():
            _dot(chart, _place(value, ticks, left, right), y, 2, color)
        _dot(chart, mean, y, 4.5, color)
        _text(chart, f"{found.mean:.3f}", right + 12, y, "start")
    return chart


def _polyline(chart: Element, at: Sequence[tuple[float, float]], one: Series) -> None:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
    line = SubElement(chart, "polyline", points=path, fill="none", stroke=one.color)
    line.set("stroke-width", "1.8")
    _set_class(line, one.color)
    if one.dashes:
        line.set("stroke-dasharray", one.dashes)
    if len(one.points) < 20:
        for x, y in at:
            _dot(chart, x, y, 2.2, one.color)


def _power_text(power: float) -> str:
    """The ratio at a tick. All that are smaller than the smallest one that is drawn, also 0, lie there."""
    smallest = power_of(0)
    return f"{2**power:g}" if power > smallest else f"≤ {2**smallest:.2g}"


def _ticks(low: float, high: float, finest: float = 0) -> list[float]:
    """Round numbers, at least two and so far apart, that enclose the values."""
    span = max(high - low, 1e-3)
    step = 10.0 ** math.floor(math.log10(span / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (step * factor) <= 6)
    step = max(step, finest)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 10) for number in range(first, max(last, first + 1) + 1)]


def _place(value: float, ticks: Sequence[float], start: float, end: float) -> float:
    span = max(ticks) - min(ticks)
    return start + (end - start) * ((value - min(ticks)) / span if span else 0.5)


def _longest(names: Iterable[str]) -> int:
    """The room that the longest name takes."""
    return CHARACTER * max(map(len, names), default=0)


def _chart(title: str, width: int, height: float) -> Element:
    chart = Element("svg", width=str(width), height=f"{height:.0f}", role="img")
    chart.set("viewBox", f"0 0 {width} {height:.0f}")
    chart.set("aria-label", title)
    _text(chart, title, 8, 12, "start").set("font-weight", "600")
    return chart


def _line(
    chart: Element, x1: float, y1: float, x2: float, y2: float, color: str, width: float = 1, dashes: str = ""
) -> None:
    ends = {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
    line = SubElement(chart, "line", {name: f"{value:.1f}" for name, value in ends.items()}, stroke=color)
    line.set("stroke-width", f"{width:g}")
    _set_class(line, color)
    if dashes:
        line.set("stroke-dasharray", dashes)


def _dot(chart: Element, x: float, y: float, radius: float, color: str) -> None:
    dot = SubElement(chart, "circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=f"{radius:g}", fill=color)
    _set_class(dot, color)


def _set_class(element: Element, color: str) -> None:
    """By which the page, which may be dark, has its own gray for the grid and for what others are compared with."""
    if color in GRAYS:
        element.set("class", GRAYS[color])


def _text(chart: Element, text: str, x: float, y: float, anchor: str, color: str = TEXT, size: int = 12) -> Element:
    element = SubElement(chart, "text", x=f"{x:.1f}", y=f"{y:.1f}", fill=color)
    element.set("style", f"font-size: {size}px")
    element.set("text-anchor", anchor)
    element.set("dominant-baseline", "central")
    element.text = text
    return element
