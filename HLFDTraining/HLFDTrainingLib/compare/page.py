"""The page of a comparison: tables and charts in one HTML file that needs no other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from HLFDSegmentationLib.model_files.package_metadata import INTENDED_USE
from HLFDSegmentationLib.output.safe_files import write_text
from HLFDSegmentationLib.reports.report_elements import add_head, add_section, add_table, add_text
from HLFDSegmentationLib.reports.report_style import WIDE_STYLE

from .charts import Charts
from .summary import TableRow
from .wording import (
    BEFORE_THE_TABLES,
    HOW_TO_READ,
    HOW_TO_READ_FOCUS,
    cost_table,
    figure_table,
    focus_table,
    labels_of,
)

TITLE = "Distillation methods compared"
DOTS = (
    "In the charts, bars are the intervals of the mean, and small dots the means of single seeds. Whether two methods "
    "differ their bars do not tell, as both are measured on the same patients, and one with fewer seeds stands where "
    "its seeds put it: see the difference."
)


def write_page(
    table: Sequence[TableRow],
    focus: Sequence[TableRow],
    costs: dict[str, dict[str, Any]],
    charts: Mapping[str, Charts],
    about: str,
    path: Path,
) -> None:
    """Writes the page.

    Args:
        table: of the figures.
        focus: of the layers' focus.
        costs: of the networks.
        charts: "dice", "focus" and "learning".
        about: what the figures are of.
        path: HTML file to write.

    Raises:
        OutputError: the file cannot be written.
    """
    html = Element("html", lang="en")
    add_text(add_head(html, TITLE), "style", WIDE_STYLE)
    page = SubElement(SubElement(html, "body"), "main")
    add_text(page, "h1", TITLE)
    add_text(page, "p", about)
    add_text(page, "p", INTENDED_USE)
    section = add_section(page, "Segmentation")
    add_text(section, "p", BEFORE_THE_TABLES)
    add_text(section, "p", DOTS, class_="quiet")
    section.extend(charts["dice"])
    for label in labels_of(table):
        add_text(section, "h3", label)
        add_table(section, *figure_table(table, label))
    add_text(section, "h3", "How to read these tables")
    add_text(section, "p", HOW_TO_READ, class_="quiet")
    section = add_section(page, "Networks")
    add_table(section, *cost_table(costs, table))
    if focus:
        section = add_section(page, "Focus by layer")
        add_text(section, "p", HOW_TO_READ_FOCUS, class_="quiet")
        section.extend(charts["focus"])
        for label in labels_of(focus):
            add_text(section, "h3", label)
            add_table(section, *focus_table(focus, label))
    add_section(page, "Learning").extend(charts["learning"])
    write_text(path, "<!DOCTYPE html>\n" + ElementTree.tostring(html, encoding="unicode", method="html"))
