"""The part of a report that shows what each layer of the network looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement

import numpy as np
import SimpleITK as sitk

from .color_maps import AttentionColors
from .report_elements import add_image, add_section, add_swatch, add_text, css_color
from .report_figures import AxialPictures
from .tasks import Label

if TYPE_CHECKING:
    from .attention import LayerAttention
    from .inference import Segmentation

NOT_FOUND = "The segmentation has no {}, so no layer attends to it."
TOO_SMALL = "It lies between the pixels that the network sees, so no layer's attention to it can be told."
MAPS_GONE = "Its attention maps are not there any more."
NO_POSITIVE_ATTENTION = "no positive attention in this layer"
NO_FOCUS = "focus not defined: the segment lies outside the body"
HOW_TO_READ = (
    "An attention map (Grad-CAM) shows where a layer's activity raised the network's score for a label, each layer on "
    "a scale of its own over the whole CT; the focus is the share of it inside the segment, and 1× is what attention "
    "spread evenly over the body would give. Limits: deep layers see coarse cells only, a map does not tell why the "
    "network decided, and a high focus does not mean that the segment is right."
)

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
        own = [layer for layer in segmentation.attention if layer.label == label.name]
        z = pictures.largest_slice(label)
        if not own or z is None:
            add_text(block, "p", _why_nothing(segmentation, label, z), class_="quiet")
            continue
        add_text(
            block,
            "p",
            f"Slice with the largest area, {pictures.place(z)}. White outline: {label.name}.",
            class_="quiet",
        )
        organ = segmentation.task.label(label.organ) if label.organ else None
        grid = SubElement(block, "div", {"class": "layers"})
        for layer in own:
            figure = SubElement(grid, "figure")
            picture = pictures.attention(z, label, image_of(layer), colors)
            alt = f"Attention of {layer.layer} for {label.name} over the CT slice at {pictures.place(z)}."
            add_image(figure, picture, alt)
            caption = SubElement(figure, "figcaption")
            add_text(caption, "b", layer.layer)
            for line in _focus_lines(layer, label, organ):
                add_text(caption, "span", line, class_="quiet")
        _add_focus_chart(block, label, own)


def _why_nothing(segmentation: Segmentation, label: Label, z: int | None) -> str:
    if z is None:
        return NOT_FOUND.format(label.name)
    return MAPS_GONE if (segmentation.network_labels == label.value).any() else TOO_SMALL


def _focus_lines(layer: LayerAttention, label: Label, organ: Label | None) -> list[str]:
    focus = layer.focus
    if focus is None:
        return [NO_POSITIVE_ATTENTION if layer.empty else NO_FOCUS]
    lines = [f"{_percent(focus.segment)} in {label.name} ({_times(focus.segment_ratio)})"]
    if organ:
        lines.append(f"{_percent(focus.organ)} in {organ.name} with tumors ({_times(focus.organ_ratio)})")
    return lines


def _percent(share: float) -> str:
    """With a decimal where it is small: a third of a percent is not nothing."""
    return f"{share:.0%}" if share >= 0.1 else f"{share:.1%}"


def _times(ratio: float) -> str:
    return f"{ratio:.1f}×"


def _add_color_scale(parent: Element, colors: AttentionColors) -> None:
    scale = SubElement(parent, "p", {"class": "colors quiet"})
    add_text(scale, "span", "−1, against the label" if colors.signed else "0")
    _add_color_bar(scale, colors.rgb, f"colors from {'−1' if colors.signed else '0'} to 1")
    strongest = "attention of either sign" if colors.signed else "attention for this label"
    add_text(scale, "span", f"1, the layer's strongest {strongest} in the whole CT")


def _add_color_bar(parent: Element, colors: np.ndarray, meaning: str) -> None:
    gradient = f"background: linear-gradient(to right, {', '.join(css_color(color) for color in colors[::17])})"
    SubElement(parent, "span", {"class": "bar", "style": gradient, "role": "img", "aria-label": meaning})


def _add_focus_chart(parent: Element, label: Label, layers: Sequence[LayerAttention]) -> None:
    """A bar for each layer: how many times more attention the segment gets than if it were spread evenly."""
    title = f"Focus on {label.name} by layer, as a multiple of evenly spread attention"
    figure = SubElement(parent, "figure", {"class": "chart"})
    add_text(figure, "figcaption", title, class_="quiet")
    bottom = ROW_HEIGHT * len(layers)
    view = f"0 0 {CHART_WIDTH} {bottom + ROW_HEIGHT}"
    chart = SubElement(figure, "svg", {"viewBox": view, "role": "img", "aria-label": title})
    once = BAR_LENGTH / max([1.25, *(layer.focus.segment_ratio for layer in layers if layer.focus)])
    for row, layer in enumerate(layers):
        middle = ROW_HEIGHT * (row + 0.5)
        length = layer.focus.segment_ratio * once if layer.focus else 0.0
        _add_svg(chart, "rect", x=BAR_LEFT, y=middle - BAR_HEIGHT / 2, width=length, height=BAR_HEIGHT, rx=2).set(
            "fill", css_color(label.color)
        )
        _add_svg_text(chart, layer.layer, BAR_LEFT - 8, middle, "end")
        told = _times(layer.focus.segment_ratio) if layer.focus else _focus_lines(layer, label, None)[0]
        _add_svg_text(chart, told, BAR_LEFT + max(length, once) + 6, middle, "start")
    _add_svg(chart, "line", x1=BAR_LEFT + once, x2=BAR_LEFT + once, y1=0, y2=bottom).set("class", "chance")
    _add_svg_text(chart, "1× spread evenly", BAR_LEFT + once, bottom + ROW_HEIGHT / 2, "middle")


def _add_svg(chart: Element, tag: str, **places: float) -> Element:
    return SubElement(chart, tag, {name: f"{value:.1f}" for name, value in places.items()})


def _add_svg_text(chart: Element, text: str, x: float, y: float, anchor: str) -> None:
    element = _add_svg(chart, "text", x=x, y=y)
    element.set("text-anchor", anchor)
    element.set("dominant-baseline", "central")
    element.text = text
