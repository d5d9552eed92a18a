"""One self-contained HTML page that tells what was segmented, how large it is and what the network looked at.

The page is built as a tree of elements, so every text in it is escaped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path, PurePath
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import numpy as np
import SimpleITK as sitk

from . import __version__
from .attention import LayerAttention
from .hounsfield import DRAWN_HU
from .image_points import to_ras
from .inference import Segmentation
from .measures import Lesion, SegmentMeasures
from .model_files.model_figures import figures_in_words, patients
from .model_package import ModelPackage
from .output.safe_files import replacing
from .quantification import slice_axis
from .readings import Reading
from .reports.report_attention import add_attention
from .reports.report_elements import add_head, add_section, add_slice, add_swatch, add_text, number
from .reports.report_figures import SCALE_BAR_MM, AxialPictures, Picture, level
from .reports.report_readings import add_readings
from .tasks import Label, Task
from .volumes import AxialSlices

RESEARCH_ONLY = "For research use only. Not for diagnosis."
DICE_IN_WORDS = "Dice is the overlap with what an annotator drew: 1 is perfect, 0 is none."
LEAST_REST_ML = 0.1
"""On neither side, of an organ whose sides are told."""

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
    warnings: Sequence[str],
    image_of: Callable[[LayerAttention], sitk.Image] | None = None,
    readings: Sequence[Reading] = (),
    given: str | None = None,
    dicom_series: bool = False,
) -> None:
    """Writes the report of one segmented CT. Of the patient it holds the pictures and `ct_name`, nothing else.

    Args:
        path: HTML file to write.
        ct: the CT in HU.
        ct_name: what the CT is called. Of an absolute path, folders before its last name are left out.
        segmentation: what `Segmenter.segment` gave, with or without attention.
        measures: what `measure` gave.
        package: the model that segmented.
        warnings: sentences on the input that the reader must not miss, such as that the image is not CT in HU.
        image_of: places the map of a layer on the CT; without it, the maps are those that the whole CT gave.
        readings: what a reader made of the maps.
        given: name of the file that the segmentation is from; none where the model made it.
        dicom_series: whether the CT was put together from the files of a DICOM series, which have numbers of their own.

    Raises:
        OutputError: the file cannot be written.
    """
    name = PurePath(ct_name).name if PurePath(ct_name).is_absolute() else ct_name
    task = segmentation.task
    pictures = AxialPictures(ct, segmentation.labels, task)
    html = Element("html", lang="en")
    add_head(html, f"{task.title}: {name}")
    page = SubElement(SubElement(html, "body"), "main")
    _add_header(page, task.title, name, ct, package, given)
    _add_cautions(page, [*warnings, *segmentation.cautions], segmentation.notes)
    _add_measures(page, measures, task, ct, dicom_series)
    _add_slices(page, measures, task, pictures)
    if segmentation.attention:
        slices = AxialSlices(ct, task)
        labels = [task.label(segment.label) for segment in measures]
        add_attention(page, segmentation, labels, pictures, image_of or (lambda layer: slices.layer_image(layer.maps)))
    if readings:
        add_readings(page, readings)
    _add_model(page, package, segmentation.device)
    text = "<!DOCTYPE html>\n" + ElementTree.tostring(html, encoding="unicode", method="html")
    with replacing(path) as part:
        # A file name need not be valid Unicode.
        part.write_bytes(text.encode("utf-8", errors="replace"))


def _add_header(page: Element, title: str, name: str, ct: sitk.Image, package: ModelPackage, given: str | None) -> None:
    header = SubElement(page, "header")
    add_text(header, "h1", title)
    add_text(header, "p", name, class_="name")
    voxels = " × ".join(map(str, ct.GetSize()))
    spacing = " × ".join(f"{mm:.3g}" for mm in ct.GetSpacing())
    add_text(header, "p", f"CT of {voxels} voxels, {spacing} mm each", class_="quiet")
    made = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %z")
    what = f"Segmentation from {given}, looked into with" if given else "Segmented by"
    add_text(header, "p", f"{what} {package.name}, HLFD {__version__}, on {made}", class_="quiet")
    add_text(page, "p", RESEARCH_ONLY, class_="banner", role="note")


def _add_cautions(page: Element, cautions: Sequence[str], notes: Sequence[str]) -> None:
    for sentences, kind, title in ((cautions, "warning", "Caution"), (notes, "notes", "Notes")):
        if sentences:
            box = SubElement(page, "section", {"class": kind})
            add_text(box, "h2", title)
            entries = SubElement(box, "ul")
            for sentence in sentences:
                add_text(entries, "li", sentence)


def _add_measures(
    page: Element, measures: Sequence[SegmentMeasures], task: Task, ct: sitk.Image, dicom_series: bool
) -> None:
    section = add_section(page, "Segments and lesions")
    plane, course = slice_axis(ct)
    counted = (
        f"counted by position from {course}, the first as 0. It is not the image number of the DICOM series."
        if dicom_series
        else f"as the CT stores them, from {course}; the first is 0, and many programs call it 1."
    )
    table = SubElement(SubElement(section, "div", {"class": "scroll"}), "table")
    heading = SubElement(SubElement(table, "thead"), "tr")
    for title, unit in (
        ("Segment", ""),
        ("Volume", "mL"),
        ("With tumors", "mL"),
        ("Mean ± SD", "HU"),
        ("Longest axial diameter", "mm"),
        ("Center R, A, S", "mm"),
        ("CT slice", f"{plane}, from 0"),
    ):
        cell = add_text(heading, "th", title, scope="col")
        if unit:
            add_text(cell, "small", f" {unit}")
    body = SubElement(table, "tbody")
    for segment in measures:
        label = task.label(segment.label)
        sides = _side_volumes(segment, [one for one in measures if task.label(one.label).organ == label.value])
        digits = _digits([segment.volume_ml, segment.volume_with_tumors_ml or 0.0, *sum(sides.values(), ())])
        if sides:  # so that they add up but for the last decimal
            digits = max(1, digits)
        _add_segment_row(body, segment, label, digits)
        for side, volumes in sides.items():
            row = SubElement(body, "tr")
            add_text(row, "th", side, scope="row", class_="lesion")
            _add_numbers(row, *(_volume(ml, digits) for ml in volumes), "", "", "", "")
        for lesion in segment.lesions[:LISTED_LESIONS]:
            _add_lesion_row(body, lesion)
        hidden = len(segment.lesions) - LISTED_LESIONS
        if hidden > 0:
            add_text(SubElement(body, "tr"), "td", f"{hidden} more, smaller than these", "lesion quiet", colspan="7")
    add_text(
        section,
        "p",
        "The volume of an organ is without its tumors; With tumors is the whole of it. Lesions are connected pieces of "
        "what was called tumor, largest first; a piece need not be a lesion. The longest axial diameter is measured in "
        "one connected piece of a lesion in one axial slice, from outer edge to outer edge. The right and left kidney "
        "are the patient's, told only where that is clear; on neither side lie pieces apart from both. Centers are in "
        "mm to the right, anterior and superior; negative ones are to the left, posterior and inferior, for which the "
        "notes and 3D Slicer's Data Probe write L, P and I. CT slice: where the middle of that diameter lies among the "
        f"CT's {plane} slices, {counted}",
        class_="quiet",
    )


def _add_segment_row(body: Element, segment: SegmentMeasures, label: Label, digits: int) -> None:
    found = segment.volume_ml > 0
    row = SubElement(body, "tr", {"class": "segment" if found else "segment absent"})
    title = SubElement(row, "th", scope="row")
    add_swatch(title, label)
    lesions = len(segment.lesions)
    count = f" ({lesions} lesion{'s' if lesions > 1 else ''})" if lesions else ""
    add_text(title, "span", label.name + (count if found else " (none marked)"))
    with_tumors = segment.volume_with_tumors_ml
    _add_numbers(
        row,
        _volume(segment.volume_ml, digits),
        "" if with_tumors is None else _volume(with_tumors, digits),
        _hu(segment),
        "",
        "",
        "",
    )


def _side_volumes(segment: SegmentMeasures, tumors: Sequence[SegmentMeasures]) -> dict[str, tuple[float, float]]:
    """Of an organ that a body has two of, alone and with its tumors in mL: the right one, the left one, and the rest.

    Empty where the sides are not known, and for other labels.
    """
    if not segment.side_ml or segment.volume_with_tumors_ml is None:
        return {}
    sides = {
        f"{side} {segment.label}": (alone, alone + sum(tumor.side_ml[side] for tumor in tumors))
        for side, alone in segment.side_ml.items()
    }
    on_sides = np.sum(list(sides.values()), axis=0)
    rest, with_tumors = np.round((segment.volume_ml, segment.volume_with_tumors_ml) - on_sides, 6).tolist()
    return sides | ({f"{segment.label}, neither side": (rest, with_tumors)} if with_tumors >= LEAST_REST_ML else {})


def _add_lesion_row(body: Element, lesion: Lesion) -> None:
    row = SubElement(body, "tr")
    title = f"lesion {lesion.number}" + (f", {lesion.side}" if lesion.side else "")
    add_text(row, "th", title, scope="row", class_="lesion")
    _add_numbers(
        row,
        _volume(lesion.volume_ml, _digits([lesion.volume_ml])),
        "",
        _hu(lesion),
        number(lesion.longest_axial_diameter_mm, 1),
        ", ".join(number(mm, 0) for mm in to_ras(lesion.center_mm)),
        str(lesion.slice_index),
    )


def _add_numbers(row: Element, *cells: str) -> None:
    for cell in cells:
        add_text(row, "td", cell)


def _digits(volumes_ml: Sequence[float]) -> int:
    """How many decimals these volumes get, by the smallest that is above 0."""
    smallest = min((ml for ml in volumes_ml if ml > 0), default=0.0)
    return 0 if smallest >= 100 else 1 if smallest >= 10 else 2


def _volume(volume_ml: float, digits: int) -> str:
    return "< 0.01" if 0 < volume_ml < 0.005 else number(volume_ml, digits)


def _hu(measured: SegmentMeasures | Lesion) -> str:
    if measured.mean_hu is None or measured.sd_hu is None:
        return "–"
    return f"{number(measured.mean_hu, 0)} ± {number(measured.sd_hu, 0)}"


def _add_slices(page: Element, measures: Sequence[SegmentMeasures], task: Task, pictures: AxialPictures) -> None:
    section = add_section(page, "Key slices")
    found = [segment for segment in measures if segment.volume_ml > 0]
    if not found:
        add_text(section, "p", "The segmentation has none of the labels, so there is no slice to show.")
        return
    grid = SubElement(section, "div", {"class": "pictures"})
    labels = [task.label(segment.label) for segment in found]
    for segment, label in zip(found, labels):
        _add_largest_slice(grid, label, pictures)
        for lesion in segment.lesions[:PICTURED_LESIONS]:
            _add_lesion(grid, label, lesion, pictures)
    _add_legend(section, labels)


def _add_largest_slice(grid: Element, label: Label, pictures: AxialPictures) -> None:
    z = pictures.largest_slice(label)
    assert z is not None  # Only of labels that were found.
    where = level(pictures.center_in(z, label))
    _add_picture(
        grid,
        pictures.anatomy(z),
        f"Axial CT slice at {where} with the outlines of all segments; it holds the largest area of {label.name}.",
        label,
        label.name,
        f"{where}, largest area",
    )


def _add_lesion(grid: Element, label: Label, lesion: Lesion, pictures: AxialPictures) -> None:
    z = pictures.slice_at(lesion.diameter_ends_mm[0])
    where = level(np.mean(lesion.diameter_ends_mm, axis=0))
    diameter = f"{number(lesion.longest_axial_diameter_mm, 1)} mm"
    _add_picture(
        grid,
        pictures.anatomy(z, lesion.diameter_ends_mm),
        f"Axial CT slice at {where} with the longest diameter of {label.name} {lesion.number}, {diameter}.",
        label,
        f"{label.name}, lesion {lesion.number}",
        f"{where}, longest diameter {diameter}",
    )


def _add_legend(section: Element, labels: Sequence[Label]) -> None:
    legend = SubElement(section, "p", {"class": "quiet legend"})
    for label in labels:
        add_swatch(legend, label)
        add_text(legend, "span", label.name)
    low, high = DRAWN_HU
    add_text(
        legend,
        "span",
        f"Window {number(low, 0)} to {number(high, 0)} HU. White bar: {SCALE_BAR_MM:.0f} mm. "
        "Patient's right is at the left; an organ's outline goes around its tumors.",
    )


def _add_picture(grid: Element, picture: Picture, alt: str, label: Label, title: str, details: str) -> None:
    figure = SubElement(grid, "figure")
    add_slice(figure, picture, alt)
    caption = SubElement(figure, "figcaption")
    add_swatch(caption, label)
    add_text(caption, "b", title)
    add_text(caption, "span", details, class_="quiet")


def _add_model(page: Element, package: ModelPackage, device: str) -> None:
    section = add_section(page, "Model")
    facts = SubElement(section, "dl")
    for term, entries in (
        ("Model", [f"{package.title} ({package.name})"]),
        ("Network", [f"{package.network_name}, trained by the method {package.method}"]),
        ("License", [package.license]),
        ("Trained on", [_training_data(data) for data in package.training_data]),
        ("Measured", _measured(package)),
        ("Software", [f"HLFD {__version__}, on {device}"]),
    ):
        add_text(facts, "dt", term)
        for entry in entries or ["not stated"]:
            add_text(facts, "dd", entry)


def _measured(package: ModelPackage) -> list[str]:
    figures = [f"{label}: {figures_in_words(figures)}" for label, figures in package.metrics.items()]
    return [*figures, DICE_IN_WORDS] if figures else []


def _training_data(data: dict[str, Any]) -> str:
    return f"{data['name']} ({data['source']}), {patients(data['patients'])}, license {data['license']}"
