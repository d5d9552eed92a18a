"""Tooltips that show each sign of a name."""

from __future__ import annotations

import html


def plain_tip(text: str) -> str:
    """The tooltip of a text that may hold names: Qt would take "T1 <i>" for rich text, but "a & b" for plain text."""
    return "<qt>" + html.escape(text, quote=False).replace("\n", "<br>") + "</qt>" if text else ""
