"""Times as a user reads them."""

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
