"""The part of a report that shows what each layer of the network looked at."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from xml.etree.ElementTree import Element, SubElement

import numpy as np
import SimpleITK as sitk

from ..attention import LayerAttention
from ..color_maps import AttentionColors
from ..inference import Segmentation
from ..measures import SMALLEST_RATIO, percent
from ..tasks import Label
from .report_elements import add_section, add_slice, add_swatch, add_text, css_color
from .report_figures import SCALE_BAR_MM, AxialPictures, Picture, laid_over, level

NOT_FOUND = "No {} was marked, so there is no map of it. That does not mean that there is none."
TOO_SMALL = "It lies between the pixels that the network sees, so no layer's attention to it can be told."
MAPS_GONE = "Its attention maps are not there any more."
NO_POSITIVE_ATTENTION = "no positive attention in this layer"
NO_FOCUS = "focus not defined: the segment lies outside the body"
HOW_TO_READ = (
    "An attention map (Grad-CAM) shows where channels of a layer are active that, on average over the slice, speak for "
    "a label; the score need not depend on this very place. Each layer has a scale of its own over the whole CT; the "
    "focus is the share of attention inside the segment, and 1× is what attention spread evenly over the body of each "
    "slice would give. Attention in the air, or spread over the body, is no finding: it comes from how maps are "
    "computed. Attention that gathers on one structure outside of the organ is none either, above all where the label "
    "is a tumor: you may look there again, but the network need not have used it. The last layer lies on the segment "
    "almost by construction, also where the segment is wrong: a high focus does not mean that it is right. Deep "
    "layers see coarse cells, which reach past borders and may be drawn beside the place; and a map does not tell why "
    "the network decided."
)

COLOR_STOPS, MEDIUM_GRAY = 32, 127.5

CHART_WIDTH, BAR_LEFT, BAR_LENGTH, ROW_HEIGHT, BAR_HEIGHT = 560, 84, 420, 22, 14


def add_attention(
    page: Element,
    segmentation: Segmentation,
    labels: Sequence[Label],
    pictures: AxialPictures,
    image_of: Callable[[LayerAttention], sitk.Image],
) -> None:
    """Adds every layer's attention for each label, in the slice that holds most of the label, and its focus.

    Args:
        page: takes the new section.
        segmentation: with attention.
        labels: those to tell of.
        pictures: draws the slices.
        image_of: places a layer's map on the CT. All maps at a time would take more memory than the CT.
    """
    section = add_section(page, "What each layer looks at")
    add_text(section, "p", HOW_TO_READ)
    colors = AttentionColors(signed=any(layer.signed for layer in segmentation.attention))
    _add_color_scale(section, colors)
    for label in labels:
        block = SubElement(section, "section")
        heading = SubElement(block, "h3")
        add_swatch(heading, label)
        add_text(heading, "span", label.name)
        _add_label(block, segmentation, label, pictures, image_of, colors)


def _add_label(
    block: Element,
    segmentation: Segmentation,
    label: Label,
    pictures: AxialPictures,
    image_of: Callable[[LayerAttention], sitk.Image],
    colors: AttentionColors,
) -> None:
    own = [layer for layer in segmentation.attention if layer.label == label.name]
    z = pictures.largest_slice(label)
    if not own or z is None:
        add_text(block, "p", _why_nothing(segmentation, label, z), class_="quiet")
        return
    where = level(pictures.center_in(z, label))
    add_text(block, "p", f"Slice with the largest area, {where}. White outline: {label.name}.", class_="quiet")
    organ = segmentation.task.label(label.organ) if label.organ else None
    grid = SubElement(block, "div", {"class": "layers"})
    for layer in own:
        _add_layer(grid, layer, pictures.attention(z, label, image_of(layer), colors), where, organ)
    _add_focus_chart(block, label, own)


def _add_layer(grid: Element, layer: LayerAttention, picture: Picture, where: str, organ: Label | None) -> None:
    figure = SubElement(grid, "figure")
    add_slice(figure, picture, f"Attention of {layer.layer} for {layer.label} over the CT slice at {where}.")
    caption = SubElement(figure, "figcaption")
    add_text(caption, "b", layer.layer)
    for line in _focus_lines(layer, organ):
        add_text(caption, "span", line, class_="quiet")


def _why_nothing(segmentation: Segmentation, label: Label, z: int | None) -> str:
    if z is None:
        return NOT_FOUND.format(label.name)
    return MAPS_GONE if (segmentation.network_labels == label.value).any() else TOO_SMALL


def _focus_lines(layer: LayerAttention, organ: Label | None) -> list[str]:
    lines = [focus_of_segment(layer)]
    if organ and layer.focus:
        lines.append(f"{percent(layer.focus.organ)}% in {organ.name} with tumors ({times(layer.focus.organ_ratio)})")
    return lines


def focus_of_segment(layer: LayerAttention) -> str:
    """How much of a layer's attention its label gets, and how many times its share of the body that is; or why not."""
    if layer.focus is None:
        return NO_POSITIVE_ATTENTION if layer.empty else NO_FOCUS
    return f"{percent(layer.focus.segment)}% in {layer.label} ({times(layer.focus.segment_ratio)})"


def times(ratio: float) -> str:
    """A focus as a multiple. With two decimals where it is small: a twentieth is not nothing, and not a tenth."""
    return f"{ratio:.1f}×" if ratio >= 1 else f"{ratio:.2f}×"


def _add_color_scale(parent: Element, colors: AttentionColors) -> None:
    scale = SubElement(parent, "p", {"class": "colors quiet"})
    add_text(scale, "span", "−1, against the label" if colors.signed else "0")
    _add_color_bar(scale, _over_gray(colors), f"colors from {'−1' if colors.signed else '0'} to 1")
    strongest = "attention of either sign" if colors.signed else "attention for this label"
    add_text(scale, "span", f"1, the layer's strongest {strongest} in the whole CT")
    add_text(
        parent,
        "p",
        "The scale is drawn over medium gray as the pictures are over the CT, which shows through, and more where "
        f"attention is weak. White bar: {SCALE_BAR_MM:.0f} mm. Patient's right is at the left.",
        class_="quiet",
    )


def _over_gray(colors: AttentionColors) -> np.ndarray:
    """The colors of the scale, as they look over tissue in the middle of the window."""
    attention = np.linspace(*colors.range, COLOR_STOPS)
    return laid_over(np.full((COLOR_STOPS, 3), MEDIUM_GRAY), attention, colors)


def _add_color_bar(parent: Element, colors: np.ndarray, meaning: str) -> None:
    gradient = f"background: linear-gradient(to right, {', '.join(css_color(color) for color in colors)})"
    SubElement(parent, "span", {"class": "bar", "style": gradient, "role": "img", "aria-label": meaning})


def _add_focus_chart(parent: Element, label: Label, layers: Sequence[LayerAttention]) -> None:
    """A bar for each layer: how many times more attention the segment gets than if it were spread evenly.

    Bars begin at 1 on a logarithmic scale: the last layer's focus is often ten times that of all others.
    """
    title = f"Focus on {label.name} by layer, as a multiple of evenly spread attention (1×), on a logarithmic scale"
    figure = SubElement(parent, "figure", {"class": "chart"})
    add_text(figure, "figcaption", title, class_="quiet")
    bottom = ROW_HEIGHT * len(layers)
    view = f"0 0 {CHART_WIDTH} {bottom + ROW_HEIGHT}"
    chart = SubElement(figure, "svg", {"viewBox": view, "role": "img", "aria-label": title})
    powers = {layer.layer: power_of(layer.focus.segment_ratio) for layer in layers if layer.focus}
    first, last = math.floor(min([-1, *powers.values()])), math.ceil(max([1, *powers.values()]))

    def place(power: float) -> float:
        return BAR_LEFT + BAR_LENGTH * (power - first) / (last - first)

    for power in range(first, last + 1):
        line = _add_svg(chart, "line", x1=place(power), x2=place(power), y1=0, y2=bottom)
        line.set("class", "grid" if power else "chance")
        _add_svg_text(chart, _power_of_two(power), place(power), bottom + ROW_HEIGHT / 2, "middle")
    for row, layer in enumerate(layers):
        middle = ROW_HEIGHT * (row + 0.5)
        start, end = sorted((place(0), place(powers.get(layer.layer, 0))))
        _add_svg(chart, "rect", x=start, y=middle - BAR_HEIGHT / 2, width=end - start, height=BAR_HEIGHT).set(
            "fill", css_color(label.color)
        )
        _add_svg_text(chart, layer.layer, BAR_LEFT - 8, middle, "end")
        told = times(layer.focus.segment_ratio) if layer.focus else focus_of_segment(layer)
        _add_svg_text(chart, told, end + 6 if layer.focus else BAR_LEFT + 6, middle, "start")


def power_of(ratio: float) -> float:
    """Where a chart draws the ratio of a focus: its logarithm to the base 2."""
    return math.log2(max(ratio, SMALLEST_RATIO))


def _power_of_two(power: int) -> str:
    return f"{2**power}×" if power >= 0 else f"1/{2**-power}×"


def _add_svg(chart: Element, tag: str, **places: float) -> Element:
    return SubElement(chart, tag, {name: f"{value:.1f}" for name, value in places.items()})


def _add_svg_text(chart: Element, text: str, x: float, y: float, anchor: str) -> None:
    element = _add_svg(chart, "text", x=x, y=y)
    element.set("text-anchor", anchor)
    element.set("dominant-baseline", "central")
    element.text = text
