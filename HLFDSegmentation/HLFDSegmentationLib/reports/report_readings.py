"""The part of a report that tells what a reader made of the attention maps."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement

from ..readings import Reading
from .report_elements import add_section, add_text

COLUMNS = ("Segment", "Lesion", "Layer", "Reading", "Comment")


def add_readings(page: Element, readings: Sequence[Reading]) -> None:
    """Adds a table with a row for each reading, in the given order."""
    section = add_section(page, "The reader's judgment")
    table = SubElement(SubElement(section, "div", {"class": "scroll"}), "table", {"class": "readings"})
    heading = SubElement(SubElement(table, "thead"), "tr")
    for title in COLUMNS:
        add_text(heading, "th", title, scope="col")
    body = SubElement(table, "tbody")
    for reading in readings:
        row = SubElement(body, "tr")
        add_text(row, "th", reading.segment, scope="row")
        lesion = "whole segment" if reading.lesion is None else f"lesion {reading.lesion}"
        for cell in (lesion, reading.layer, reading.verdict, reading.comment):
            add_text(row, "td", cell)
    add_text(
        section,
        "p",
        "What the person who looked at the maps noted of each layer. It was not computed.",
        class_="quiet",
    )
