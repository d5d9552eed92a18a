"""Why a control is grey, told by its tooltip."""

from __future__ import annotations

from typing import Any


class Reasons:
    """Greys controls. Those that are not grey have the tooltip that they had first."""

    def __init__(self) -> None:
        self._usual: dict[str, str] = {}

    def set(self, widget: Any, reason: str) -> None:
        """Greys a control, and says why; "" enables it."""
        usual = self._usual.setdefault(widget.objectName, widget.toolTip)
        widget.setEnabled(not reason)
        widget.setToolTip(reason or usual)
