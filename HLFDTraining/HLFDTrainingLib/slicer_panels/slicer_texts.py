"""Sizes and the parts of a training as a user reads them."""

from __future__ import annotations

from slicer.i18n import tr as _


def size_text(count: float) -> str:
    """Bytes in MB or GB."""
    return _("{size:.1f} GB").format(size=count / 1e9) if count >= 1e9 else _("{size:.0f} MB").format(size=count / 1e6)


def stage_titles() -> dict[str, str]:
    """What a user reads for each part of a training."""
    return {
        "reading": _("reading the cases"),
        "teacher": _("teacher"),
        "head": _("head that reads the teacher's layers"),
        "student": _("student"),
        "undistilled": _("student without teacher"),
    }
