"""A box for a number with decimals, into which a user can type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from HLFDSegmentationLib.slicer_tools.slicer_decimal_comma import DecimalComma

MOST_DECIMALS = 8


class NumberBox:
    """Shows a number and hands on what the user makes of it.

    A parameter's name in the .ui will not do: Slicer then writes the number back at each key, so that "0" becomes
    "0.000", which takes no further key.

    Args:
        box: the QDoubleSpinBox.
        on_chosen: called with the number that the user chose.
    """

    def __init__(self, box: Any, on_chosen: Callable[[float], None]) -> None:
        self._box = box
        box.connect("valueChanged(double)", on_chosen)
        self._commas = DecimalComma(box)

    def show(self, number: float) -> None:
        """Shows a number without telling anybody, with all its decimals: what is shown is what is planned."""
        if number == self._box.value:
            return
        decimals = len(f"{number:.{MOST_DECIMALS}f}".rstrip("0").partition(".")[2])
        blocked = self._box.blockSignals(True)
        self._box.setDecimals(max(self._box.decimals, decimals))
        self._box.setValue(number)
        self._box.blockSignals(blocked)
