"""One self-contained HTML page that tells what was segmented, how large it is and what the network looked at.

The page is built as a tree of elements, so every text in it is escaped.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import SimpleITK as sitk  # noqa: N813

from . import __version__
from .quantification import Lesion, SegmentMeasures, to_ras
from .report_figures import HEAT, SCALE_BAR_MM, SOFT_TISSUE, AxialPictures, Picture
from .safe_files import replacing
from .tasks import Label
from .volumes import AxialSlices

if TYPE_CHECKING:
    from .attention import LayerAttention
    from .inference import Segmentation
    from .model_package import ModelPackage

RESEARCH_ONLY = "For research use only. Not for diagnosis."
NO_POSITIVE_ATTENTION = "no positive attention in this layer"
HOW_TO_READ_ATTENTION = (
    "An attention map (Grad-CAM) shows where a layer's activity raised the network's score for a label: bright is "
    "strongest, on a scale of its own for each layer over the whole CT. The focus is the share of this attention "
    "inside the segment; 1× is what attention spread evenly over the body would give. ",
    "Limits: deep layers see coarse cells, an attention map does not say why the network decided, and a high focus "
    "does not mean that the segment is right.",
)
PICTURED_LESIONS = 3
LISTED_LESIONS = 20


def write_report(
    path: Path,
    *,
    ct: sitk.Image,
    ct_name: str,
    segmentation: Segmentation,
    measures: Sequence[SegmentMeasures],
    package: ModelPackage,
    warnings: Sequence[str] = (),
) -> None:
    """Writes the report of one segmented CT. Of the patient it holds the pictures and `ct_name`, nothing else.

    Args:
        path: HTML file to write.
        ct: the CT in HU.
        ct_name: name of the CT's file or folder. Folders before it are left out.
        segmentation: what `Segmenter.segment` gave, with or without attention.
        measures: what `measure` gave.
        package: the model that segmented.
        warnings: sentences on the input that the reader must not miss, such as that the image is not CT in HU.

    Raises:
        OutputError: the file cannot be written.
    """
    name = PurePath(ct_name).name
    task = segmentation.task
    pictures = AxialPictures(ct, segmentation.labels, task)
    html = Element("html", lang="en")
    _add_head(html, f"{task.title}: {name}")
    page = SubElement(SubElement(html, "body"), "main")
    _add_header(page, task.title, name, package)
    _add_cautions(page, warnings, segmentation.notes)
    _add_measures(page, measures)
    _add_slices(page, measures, pictures)
    if segmentation.attention:
        _add_attention(page, segmentation, pictures, AxialSlices(ct, task))
    _add_model(page, package, segmentation.device)
    text = "<!DOCTYPE html>\n" + ElementTree.tostring(html, encoding="unicode", method="html")
    with replacing(path) as part:
        # A file name need not be valid Unicode.
        part.write_bytes(text.encode("utf-8", errors="replace"))


def _add_head(html: Element, title: str) -> None:
    head = SubElement(html, "head")
    SubElement(head, "meta", charset="utf-8")
    SubElement(head, "meta", name="viewport", content="width=device-width, initial-scale=1")
    # Not even a mistake in this file can make a browser fetch something.
    policy = {
        "http-equiv": "Content-Security-Policy",
        "content": "default-src 'none'; img-src data:; style-src 'unsafe-inline'",
    }
    SubElement(head, "meta", policy)
    _text(head, "title", title)
    _text(head, "style", STYLE)


def _add_header(page: Element, title: str, name: str, package: ModelPackage) -> None:
    header = SubElement(page, "header")
    _text(header, "h1", title)
    _text(header, "p", name, class_="name")
    made = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %z")
    _text(header, "p", f"Segmented by {package.name} with HLFD {__version__} on {made}", class_="quiet")
    _text(page, "p", RESEARCH_ONLY, class_="banner", role="note")


def _add_cautions(page: Element, warnings: Sequence[str], notes: Sequence[str]) -> None:
    for sentences, kind, title in ((warnings, "warning", "Caution"), (notes, "notes", "Notes")):
        if sentences:
            box = SubElement(page, "section", {"class": kind})
            _text(box, "h2", title)
            entries = SubElement(box, "ul")
            for sentence in sentences:
                _text(entries, "li", sentence)


# Measures


def _add_measures(page: Element, measures: Sequence[SegmentMeasures]) -> None:
    section = _section(page, "Segments and lesions")
    table = SubElement(SubElement(section, "div", {"class": "scroll"}), "table")
    heading = SubElement(SubElement(table, "thead"), "tr")
    for title, unit in (
        ("Segment", ""),
        ("Volume", "mL"),
        ("With tumors", "mL"),
        ("Mean", "HU"),
        ("Longest axial diameter", "mm"),
        ("Center R, A, S", "mm"),
        ("Slice", "from 0"),
    ):
        cell = _text(heading, "th", title, scope="col")
        if unit:
            _text(cell, "small", f" {unit}")
    body = SubElement(table, "tbody")
    for segment in measures:
        _add_segment_row(body, segment)
        for lesion in segment.lesions[:LISTED_LESIONS]:
            _add_lesion_row(body, lesion)
        hidden = len(segment.lesions) - LISTED_LESIONS
        if hidden > 0:
            cell = _text(SubElement(body, "tr"), "td", f"and {hidden} smaller ones, all in segments.csv", colspan="7")
            cell.set("class", "lesion quiet")
    _text(
        section,
        "p",
        "Lesions are connected pieces of a tumor label, largest first. The longest axial diameter is measured in one "
        "axial slice, from outer edge to outer edge. Centers are in mm to the right, anterior and superior, as 3D "
        "Slicer shows them; slices count along the CT's own slice axis.",
        class_="quiet",
    )


def _add_segment_row(body: Element, segment: SegmentMeasures) -> None:
    found = segment.volume_ml > 0
    row = SubElement(body, "tr", {"class": "segment" if found else "segment absent"})
    title = SubElement(row, "th", scope="row")
    _swatch(title, segment.label)
    lesions = len(segment.lesions)
    count = f" ({lesions} lesion{'s' if lesions > 1 else ''})" if lesions else ""
    SubElement(title, "span").text = segment.label.name + (count if found else " (not found)")
    with_tumors = segment.volume_with_tumors_ml
    _add_numbers(
        row,
        _volume(segment.volume_ml),
        "" if with_tumors is None else _volume(with_tumors),
        "–" if segment.mean_hu is None else _number(segment.mean_hu, 0),
        "",
        "",
        "",
    )


def _add_lesion_row(body: Element, lesion: Lesion) -> None:
    row = SubElement(body, "tr")
    _text(row, "th", f"lesion {lesion.number}", scope="row", class_="lesion")
    _add_numbers(
        row,
        _volume(lesion.volume_ml),
        "",
        "",
        _number(lesion.longest_axial_diameter_mm, 1),
        ", ".join(_number(mm, 0) for mm in to_ras(lesion.center_mm)),
        str(lesion.slice_index),
    )


def _add_numbers(row: Element, *cells: str) -> None:
    for cell in cells:
        _text(row, "td", cell)


def _volume(volume_ml: float) -> str:
    return _number(volume_ml, 0 if volume_ml >= 100 else 1 if volume_ml >= 10 else 2)


def _number(value: float, digits: int) -> str:
    """A number with a true minus sign, and without a minus before zero."""
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


# Slices


def _add_slices(page: Element, measures: Sequence[SegmentMeasures], pictures: AxialPictures) -> None:
    section = _section(page, "Key slices")
    found = [segment for segment in measures if segment.volume_ml > 0]
    if not found:
        _text(section, "p", "None of the labels was found in this CT, so there is no slice to show.")
        return
    grid = SubElement(section, "div", {"class": "pictures"})
    for segment in found:
        label = segment.label
        z = pictures.largest_slice(label)
        place = _place(pictures, z)
        _add_picture(
            grid,
            pictures.anatomy(z),
            f"Axial CT slice at {place} with the outlines of all segments; it holds the largest area of {label.name}.",
            label,
            label.name,
            f"{place}, largest area",
        )
        for lesion in segment.lesions[:PICTURED_LESIONS]:
            place = _place(pictures, pictures.slice_at(lesion.diameter_ends_mm[0]))
            diameter = f"{_number(lesion.longest_axial_diameter_mm, 1)} mm"
            _add_picture(
                grid,
                pictures.anatomy(pictures.slice_at(lesion.diameter_ends_mm[0]), lesion.diameter_ends_mm),
                f"Axial CT slice at {place} with the longest diameter of {label.name} {lesion.number}, {diameter}.",
                label,
                f"{label.name}, lesion {lesion.number}",
                f"{place}, longest diameter {diameter}",
            )
    legend = SubElement(section, "p", {"class": "quiet legend"})
    for segment in found:
        _swatch(legend, segment.label)
        SubElement(legend, "span").text = segment.label.name
    low, high = SOFT_TISSUE
    SubElement(legend, "span").text = (
        f"Window {_number(low, 0)} to {_number(high, 0)} HU. White bar: {SCALE_BAR_MM:.0f} mm. "
        "Patient's right is at the left; an organ's outline goes around its tumors."
    )


def _place(pictures: AxialPictures, z: int) -> str:
    return f"S {_number(pictures.superior_mm(z), 1)} mm"


def _add_picture(grid: Element, picture: Picture, alt: str, label: Label, title: str, details: str) -> None:
    figure = SubElement(grid, "figure")
    frame = SubElement(figure, "div", {"class": "frame"})
    _image(frame, picture, alt)
    for side in "RLAP":
        _text(frame, "span", side, class_=f"side {side}").set("aria-hidden", "true")
    caption = SubElement(figure, "figcaption")
    _swatch(caption, label)
    _text(caption, "b", title)
    _text(caption, "span", details, class_="quiet")


# Attention


def _add_attention(page: Element, segmentation: Segmentation, pictures: AxialPictures, slices: AxialSlices) -> None:
    section = _section(page, "What each layer looks at")
    reading = SubElement(section, "p")
    reading.text = "".join(HOW_TO_READ_ATTENTION)
    _add_color_bar(section, any(layer.signed for layer in segmentation.attention))
    for label in segmentation.task.labels:
        layers = [layer for layer in segmentation.attention if layer.label == label.name]
        if layers:
            _add_label_attention(section, label, layers, segmentation, pictures, slices)
        else:
            _add_label_heading(section, label)
            _text(
                section, "p", f"The network saw no {label.name} in this CT, so no layer attends to it.", class_="quiet"
            )


def _add_label_attention(
    section: Element,
    label: Label,
    layers: Sequence[LayerAttention],
    segmentation: Segmentation,
    pictures: AxialPictures,
    slices: AxialSlices,
) -> None:
    organ = segmentation.task.label(label.organ) if label.organ else None
    block = SubElement(section, "section", {"class": "label"})
    _add_label_heading(block, label)
    z = pictures.largest_slice(label)
    if z is None:
        _text(block, "p", f"The final segmentation holds no {label.name}, so there is no slice to show.")
    else:
        place = _place(pictures, z)
        _text(block, "p", f"Slice with the largest area, {place}. White outline: {label.name}.", class_="quiet")
    grid = SubElement(block, "div", {"class": "layers"})
    for layer in layers:
        figure = SubElement(grid, "figure")
        if z is not None:
            picture = pictures.attention(z, label, slices.layer_image(layer.maps))
            _image(figure, picture, f"Attention of {layer.layer} for {label.name} over the CT slice at {place}.")
        caption = SubElement(figure, "figcaption")
        _text(caption, "b", layer.layer)
        for sentence in _focus_sentences(layer, label, organ):
            _text(caption, "span", sentence, class_="quiet")
    _add_focus_chart(block, label, layers)


def _add_label_heading(parent: Element, label: Label) -> None:
    heading = SubElement(parent, "h3")
    _swatch(heading, label)
    SubElement(heading, "span").text = label.name


def _focus_sentences(layer: LayerAttention, label: Label, organ: Label | None) -> list[str]:
    if layer.empty:
        return [NO_POSITIVE_ATTENTION]
    if layer.focus is None:
        return ["focus not measured: the segment lies outside the body"]
    focus = layer.focus
    sentences = [f"{_ratio(focus.segment_ratio)} focus: {focus.segment:.0%} in {label.name}"]
    if organ:
        sentences.append(f"{_ratio(focus.organ_ratio)}: {focus.organ:.0%} in {organ.name} with tumors")
    return sentences


def _ratio(ratio: float) -> str:
    return f"{ratio:.1f}×"


def _add_color_bar(parent: Element, signed: bool) -> None:
    bar = SubElement(parent, "p", {"class": "colors quiet"})
    if signed:
        _text(bar, "span", "against the label −1")
        SubElement(
            bar,
            "span",
            {
                "class": "bar",
                "style": _gradient(HEAT[::-1, ::-1]),
                "role": "img",
                "aria-label": "color scale from −1 to 0",
            },
        )
    _text(bar, "span", "0")
    SubElement(
        bar, "span", {"class": "bar", "style": _gradient(HEAT), "role": "img", "aria-label": "color scale from 0 to 1"}
    )
    _text(bar, "span", "1 strongest attention of the layer for this label in the whole CT")


def _gradient(colors: Any) -> str:
    stops = ", ".join("rgb({:.0f} {:.0f} {:.0f})".format(*color) for color in colors[::17])
    return f"background: linear-gradient(to right, {stops})"


def _add_focus_chart(parent: Element, label: Label, layers: Sequence[LayerAttention]) -> None:
    ratios = [layer.focus.segment_ratio if layer.focus else None for layer in layers]
    row, left, width = 22, 84, 420
    scale = width / max(1.25, *(ratio or 0.0 for ratio in ratios))
    height = row * len(layers) + 22
    title = f"Focus on {label.name} by layer, as a multiple of what its area would give"
    figure = SubElement(parent, "figure", {"class": "chart"})
    _text(figure, "figcaption", title, class_="quiet")
    chart = SubElement(
        figure, "svg", {"viewBox": f"0 0 {left + width + 60} {height}", "role": "img", "aria-label": title}
    )
    for index, (layer, ratio) in enumerate(zip(layers, ratios)):
        middle = row * index + row / 2
        _svg_text(chart, left - 8, middle, layer.layer, "end")
        if ratio is None:
            _svg_text(chart, left + 6, middle, NO_POSITIVE_ATTENTION if layer.empty else "not measured", "start")
            continue
        length = ratio * scale
        color = "rgb({}, {}, {})".format(*label.color)
        bar = {
            "x": str(left),
            "y": f"{middle - 7:.1f}",
            "width": f"{length:.1f}",
            "height": "14",
            "rx": "2",
            "fill": color,
        }
        SubElement(chart, "rect", bar)
        _svg_text(chart, left + length + 6, middle, _ratio(ratio), "start")
    chance = left + scale
    end = str(row * len(layers))
    SubElement(chart, "line", {"x1": f"{chance:.1f}", "x2": f"{chance:.1f}", "y1": "0", "y2": end, "class": "chance"})
    _svg_text(chart, chance, row * len(layers) + 11, "1× by area", "middle")


def _svg_text(chart: Element, x: float, y: float, text: str, anchor: str) -> None:
    place = {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor, "dominant-baseline": "central"}
    SubElement(chart, "text", place).text = text


# Model


def _add_model(page: Element, package: ModelPackage, device: str) -> None:
    section = _section(page, "Model")
    facts = SubElement(section, "dl")
    for term, entries in (
        ("Model", [f"{package.title} ({package.name})"]),
        ("Network", [f"{package.network_name}, trained by the method {package.method}"]),
        ("License", [package.license]),
        ("Trained on", [_training_data(data) for data in package.training_data]),
        ("Measured", [_figures(label, figures) for label, figures in package.metrics.items()]),
        ("Software", [f"HLFD {__version__}, on {device}"]),
    ):
        _text(facts, "dt", term)
        for entry in entries or ["not stated"]:
            _text(facts, "dd", entry)


def _training_data(data: dict[str, Any]) -> str:
    return f"{data['name']} ({data['source']}), {data['patients']} patients, license {data['license']}"


def _figures(label: str, figures: dict[str, float | None]) -> str:
    told = (f"{name} {'undefined' if value is None else f'{value:.3g}'}" for name, value in figures.items())
    return f"{label}: {', '.join(told)}"


# Elements


def _section(page: Element, title: str) -> Element:
    section = SubElement(page, "section")
    _text(section, "h2", title)
    return section


def _text(parent: Element, tag: str, text: str, class_: str | None = None, **attributes: str) -> Element:
    element = SubElement(parent, tag, {"class": class_, **attributes} if class_ else attributes)
    element.text = text
    return element


def _swatch(parent: Element, label: Label) -> None:
    style = "background: rgb({} {} {})".format(*label.color)
    SubElement(parent, "span", {"class": "swatch", "style": style})


def _image(parent: Element, picture: Picture, alt: str) -> None:
    source = "data:image/png;base64," + base64.b64encode(picture.png).decode("ascii")
    size = {"width": str(picture.width), "height": str(picture.height)}
    SubElement(parent, "img", {"src": source, "alt": alt, **size})


STYLE = """
:root { color-scheme: light dark; --back: #ffffff; --text: #1b1f24; --quiet: #57606a; --line: #d8dee4;
  --card: #f6f8fa; --banner: #0b4f79; --banner-text: #ffffff; --warning: #b3261e; --warning-back: #fdeceb;
  --notes: #9a6700; --notes-back: #fff8e1; }
@media (prefers-color-scheme: dark) { :root { --back: #14171a; --text: #e6e9ec; --quiet: #9aa4ae; --line: #343b42;
  --card: #1e2327; --banner: #9fd3f5; --banner-text: #0a2231; --warning: #ff8a80; --warning-back: #3a1614;
  --notes: #f2c14e; --notes-back: #332a10; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--text); font: 15px/1.5 system-ui, "Segoe UI", Roboto,
  "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1160px; margin: 0 auto; padding: 32px 24px 48px; }
h1 { margin: 0; font-size: 28px; line-height: 1.2; }
h2 { margin: 36px 0 12px; padding-bottom: 6px; border-bottom: 1px solid var(--line); font-size: 20px; }
h3 { margin: 28px 0 4px; font-size: 17px; }
p { margin: 8px 0; max-width: 80ch; }
.name { font-size: 17px; overflow-wrap: anywhere; }
.quiet { color: var(--quiet); font-size: 13px; }
.banner { max-width: none; margin: 20px 0; padding: 12px 16px; border-radius: 6px; background: var(--banner);
  color: var(--banner-text); font-weight: 600; font-size: 17px; }
.warning, .notes { margin: 16px 0; padding: 10px 16px; border-left: 6px solid; border-radius: 4px; }
.warning { border-color: var(--warning); background: var(--warning-back); font-size: 16px; font-weight: 600; }
.notes { border-color: var(--notes); background: var(--notes-back); }
.warning h2, .notes h2 { margin: 0; padding: 0; border: 0; font-size: 16px; }
.warning h2 { color: var(--warning); }
.notes h2 { color: var(--notes); }
.warning ul, .notes ul { margin: 4px 0; padding-left: 20px; }
.scroll { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 10px; border-bottom: 1px solid var(--line); text-align: right; vertical-align: bottom; }
th:first-child, td.lesion { text-align: left; }
thead th { color: var(--quiet); font-size: 13px; }
thead small { display: block; font-weight: 400; }
tbody th { font-weight: 600; }
tbody th.lesion, td.lesion { padding-left: 34px; font-weight: 400; }
.absent { color: var(--quiet); }
.swatch { display: inline-block; width: 13px; height: 13px; margin-right: 8px; border-radius: 3px;
  border: 1px solid #0004; vertical-align: -1px; }
.legend > span { margin-right: 14px; }
.legend > .swatch { margin-right: 6px; }
figure { margin: 0; break-inside: avoid; }
figcaption { margin-top: 6px; }
figcaption b + .quiet, .layers .quiet { display: block; }
img { display: block; width: 100%; height: auto; border-radius: 4px; background: #000; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(300px, 360px)); gap: 20px; }
.layers { display: grid; grid-template-columns: repeat(auto-fill, minmax(180px, 1fr)); gap: 16px; margin: 12px 0; }
.frame { position: relative; }
.side { position: absolute; color: #fff; font: 600 13px/1 system-ui, sans-serif; text-shadow: 0 0 3px #000; }
.side.R { left: 6px; top: 50%; } .side.L { right: 6px; top: 50%; }
.side.A { left: 50%; top: 6px; } .side.P { left: 50%; bottom: 6px; }
.colors { display: flex; flex-wrap: wrap; align-items: center; gap: 8px; max-width: none; }
.bar { width: 160px; height: 12px; border-radius: 3px; }
.chart { max-width: 620px; margin: 16px 0; }
svg { display: block; width: 100%; height: auto; margin-top: 4px; }
svg text { fill: var(--text); font-size: 12.5px; }
.chance { stroke: var(--quiet); stroke-dasharray: 4 3; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 20px; margin: 0; }
dt { grid-column: 1; color: var(--quiet); }
dd { grid-column: 2; margin: 0; overflow-wrap: anywhere; }
@media print { :root { color-scheme: light; --back: #ffffff; --text: #000000; --quiet: #444444; --line: #cccccc;
  --banner: #0b4f79; --banner-text: #ffffff; --warning: #b3261e; --warning-back: #fdeceb; --notes: #9a6700;
  --notes-back: #fff8e1; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  main { max-width: none; padding: 0; } body { font-size: 11pt; }
  h2, h3 { break-after: avoid; } tr { break-inside: avoid; }
  .pictures { grid-template-columns: repeat(2, 1fr); } .layers { grid-template-columns: repeat(3, 1fr); } }
"""
