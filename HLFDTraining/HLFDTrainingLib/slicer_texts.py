"""Times and sizes as a user reads them."""

from __future__ import annotations

from slicer.i18n import tr as _

MINUTE, HOUR, DAY = 60, 3600, 86400


def time_text(seconds: float) -> str:
    """A duration, rounded as one says it."""
    if seconds < 1.5 * MINUTE:
        return _("about {seconds} s").format(seconds=max(1, round(seconds)))
    if seconds < 1.5 * HOUR:
        return _("about {minutes} min").format(minutes=round(seconds / MINUTE))
    if seconds < 2 * DAY:
        return _("about {hours:.1f} h").format(hours=seconds / HOUR)
    return _("about {days:.1f} days").format(days=seconds / DAY)


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
