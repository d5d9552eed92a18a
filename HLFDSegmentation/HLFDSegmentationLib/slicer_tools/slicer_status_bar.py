"""Sentences in Slicer's status bar: seen wherever the panel is scrolled to, and whichever module is open."""

from __future__ import annotations

import slicer
from slicer.i18n import tr as _

TOLD_MS = 10_000


def tell(sentence: str) -> None:
    """Shows a sentence for a while."""
    slicer.util.showStatusMessage(_("HLFD: {sentence}").format(sentence=sentence), TOLD_MS)
