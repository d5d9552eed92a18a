"""The keyboard's focus of a button that is grey for a while."""

from __future__ import annotations

from typing import Any


class KeptFocus:
    """Greys a button, and gives it the keyboard's focus back when it is no longer grey.

    Qt hands the focus of a grey button to the next control, where the user's next Space would do something else. Where
    the user has gone on from there, the focus stays with them.

    Args:
        button: it; nobody else may grey it.
    """

    def __init__(self, button: Any) -> None:
        self._button = button
        self._fell_to: Any = None

    def set_enabled(self, enabled: bool) -> None:
        """Greys the button, or makes it usable."""
        window = self._button.window()
        had_focus = window.focusWidget() == self._button
        self._button.setEnabled(enabled)
        if had_focus and not enabled:
            self._fell_to = window.focusWidget()
        elif enabled:
            if self._fell_to is not None and self._fell_to == window.focusWidget():
                self._button.setFocus()
            self._fell_to = None
