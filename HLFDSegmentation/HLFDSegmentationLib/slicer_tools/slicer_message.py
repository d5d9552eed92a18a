"""The sentence at the top of a panel: what happened, and what to do about it."""

from __future__ import annotations

import re
from typing import Any

from .slicer_later import later
from .slicer_status_bar import tell

BREAK = "\N{ZERO WIDTH SPACE}"
LONGEST_WORD = 30
"""Letters of a word that fits into a narrow panel."""


def show_message(label: Any, sentence: str, *, is_news: bool = False) -> None:
    """Shows a sentence in a label; "" takes it away.

    Another module may be open, so it is told in the status bar, too.

    Args:
        label: at the top of the panel.
        sentence: what happened.
        is_news: nothing went wrong: the panel stays scrolled where it is. A problem is brought into view.
    """
    label.setText(breakable(sentence))
    label.setVisible(bool(sentence))
    if not sentence:
        return
    tell(sentence)
    if label.visible and not is_news:
        # It has its place only when the panel is laid out anew.
        later(lambda: _bring_into_view(label), owner=label)


def breakable(sentence: str) -> str:
    """A sentence whose long paths and names may be broken where a label wraps: they would widen the panel otherwise."""
    long_word = rf"\S{{{LONGEST_WORD},}}"
    piece = rf"([\\/_-]|[^\\/_-]{{{LONGEST_WORD}}})"
    return re.sub(long_word, lambda word: re.sub(piece, rf"\1{BREAK}", word[0]), sentence)


def _bring_into_view(label: Any) -> None:
    area = label.parentWidget()
    while area is not None and not area.inherits("QScrollArea"):
        area = area.parentWidget()
    if area is not None:
        area.ensureWidgetVisible(label)
