"""The keyboard's focus of a button that is grey for a while."""

from __future__ import annotations

from typing import Any

import qt


class KeptFocus(qt.QObject):
    """Greys a button, and gives it the keyboard's focus back when it is no longer grey.

    Qt hands the focus of a grey button to the next control, where the user's next Space would do something else. Where
    the user has gone on from there, or has begun to work there, the focus stays with them.

    Args:
        button: it; nobody else may grey it.
    """

    def __init__(self, button: Any) -> None:
        qt.QObject.__init__(self)
        self._button = button
        self._fell_to: Any = None
        # Alone they change nothing: Alt and Tab lead to another program, and back.
        self._held = (qt.Qt.Key_Alt, qt.Qt.Key_AltGr, qt.Qt.Key_Control, qt.Qt.Key_Meta, qt.Qt.Key_Shift)

    def set_enabled(self, enabled: bool) -> None:
        """Greys the button, or makes it usable."""
        window = self._button.window()
        had_focus = window.focusWidget() == self._button
        self._button.setEnabled(enabled)
        if had_focus and not enabled:
            self._fell_to = window.focusWidget()
            if self._fell_to is not None:
                self._fell_to.installEventFilter(self)
        elif enabled:
            if self._fell_to is not None and self._fell_to == window.focusWidget():
                self._button.setFocus()
            self._fell_to = None

    def eventFilter(self, control: Any, event: Any) -> bool:  # noqa: N802, Qt's name
        """Called by Qt, for a control that the focus fell to at any time."""
        typed = event.type() == qt.QEvent.KeyPress and event.key() not in self._held
        if typed or event.type() == qt.QEvent.MouseButtonPress:
            self._fell_to = None
        return False
