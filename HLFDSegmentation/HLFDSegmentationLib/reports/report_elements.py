"""The parts that a report's page is put together from."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from xml.etree.ElementTree import Element, SubElement

from ..tasks import Label
from .report_figures import Picture
from .report_style import STYLE


def add_head(html: Element, title: str) -> Element:
    """The head of a page that fetches nothing, with the style that all pages have."""
    head = SubElement(html, "head")
    SubElement(head, "meta", charset="utf-8")
    SubElement(head, "meta", name="viewport", content="width=device-width, initial-scale=1")
    # Not even a mistake in this file can make a browser fetch something.
    policy = {
        "http-equiv": "Content-Security-Policy",
        "content": "default-src 'none'; img-src data:; style-src 'unsafe-inline'",
    }
    SubElement(head, "meta", policy)
    add_text(head, "title", title)
    add_text(head, "style", STYLE)
    return head


def add_section(page: Element, title: str) -> Element:
    """A new part of the page under a heading."""
    section = SubElement(page, "section")
    add_text(section, "h2", title)
    return section


def add_text(parent: Element, tag: str, text: str, class_: str | None = None, **attributes: str) -> Element:
    """A new element with a text, which is escaped when the page is written."""
    element = SubElement(parent, tag, {"class": class_, **attributes} if class_ else attributes)
    element.text = text
    return element


def add_table(
    parent: Element, heading: Sequence[str], rows: Iterable[Sequence[str]], class_: str | None = None
) -> None:
    """A table, of which a narrow page is moved sideways alone; the first cell of a row is its title."""
    scroll = SubElement(parent, "div", {"class": "scroll"})
    table = SubElement(scroll, "table", {"class": class_} if class_ else {})
    head = SubElement(SubElement(table, "thead"), "tr")
    for title in heading:
        add_text(head, "th", title, scope="col")
    body = SubElement(table, "tbody")
    for name, *cells in rows:
        row = SubElement(body, "tr")
        add_text(row, "th", name, scope="row")
        for cell in cells:
            add_text(row, "td", cell)


def add_swatch(parent: Element, label: Label) -> None:
    """A small square in a label's color."""
    SubElement(parent, "span", {"class": "swatch", "style": f"background: {css_color(label.color)}"})


def add_slice(parent: Element, picture: Picture, alt: str) -> None:
    """A picture of an axial slice, inside the page itself, with the letters of the patient's sides on it.

    Args:
        parent: takes the picture.
        picture: of the slice.
        alt: for those who do not see it.
    """
    frame = SubElement(parent, "div", {"class": "frame"})
    source = "data:image/png;base64," + base64.b64encode(picture.png).decode("ascii")
    size = {"width": str(picture.width), "height": str(picture.height)}
    SubElement(frame, "img", {"src": source, "alt": alt, **size})
    for side in "RLAP":
        add_text(frame, "span", side, class_=f"side {side}").set("aria-hidden", "true")


def css_color(color: tuple[float, ...]) -> str:
    """A color as style sheets and SVG write it."""
    return "rgb({:.0f}, {:.0f}, {:.0f})".format(*color)


def number(value: float, digits: int) -> str:
    """A number with a true minus sign, and without a minus before zero."""
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")
