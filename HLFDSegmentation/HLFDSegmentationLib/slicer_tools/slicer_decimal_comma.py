"""The decimal comma in boxes for numbers."""

from __future__ import annotations

from typing import Any

import qt


class DecimalComma(qt.QObject):
    """Takes a comma for the decimal point, which is all that Slicer's boxes know: of "8,5" they make 85.

    Args:
        box: the QDoubleSpinBox, or a slider that has one, while this object is kept.
    """

    def __init__(self, box: Any) -> None:
        qt.QObject.__init__(self)
        self._line = box.findChild(qt.QLineEdit, "qt_spinbox_lineedit")
        # The keys go to the box, of which the line is a part.
        self._line.parentWidget().installEventFilter(self)

    def eventFilter(self, box: Any, event: Any) -> bool:  # noqa: N802, Qt's name
        """Called by Qt."""
        if event.type() == qt.QEvent.KeyPress and event.text() == ",":
            self._line.insert(".")
            return True
        return False
