"""The part of a report that tells what a reader made of the attention maps."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from ..readings import Reading
from .report_elements import add_section, add_table, add_text

COLUMNS = ("Segment", "Lesion", "Layer", "Reading", "Comment")


def add_readings(page: Element, readings: Sequence[Reading]) -> None:
    """Adds a table with a row for each reading, in the given order."""
    section = add_section(page, "The reader's judgment")
    rows = [
        (
            one.segment,
            "whole segment" if one.lesion is None else f"lesion {one.lesion}",
            one.layer,
            one.verdict,
            one.comment,
        )
        for one in readings
    ]
    add_table(section, COLUMNS, rows, class_="readings")
    add_text(
        section,
        "p",
        "What the person who looked at the maps noted of each layer. It was not computed.",
        class_="quiet",
    )
