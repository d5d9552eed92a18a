"""A combo box whose entries stand for values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


class ChoiceCombo:
    """Keeps the values beside the entries, so that texts can be translated and values stored.

    Args:
        combo: the QComboBox.
        on_chosen: called with the value that the user chose.
    """

    def __init__(self, combo: Any, on_chosen: Callable[[Any], None]) -> None:
        self.combo = combo
        self._choices: list[tuple[Any, str]] = []
        self._on_chosen = on_chosen
        combo.connect("currentIndexChanged(int)", self._on_index_changed)

    def fill(self, choices: Sequence[tuple[Any, str]]) -> None:
        """Takes values and their texts in place of those before, where they are others; none is chosen then."""
        if list(choices) == self._choices:
            return
        self._choices = list(choices)
        blocked = self.combo.blockSignals(True)
        self.combo.clear()
        self.combo.addItems([text for _value, text in choices])
        self.combo.blockSignals(blocked)
        self.show(None)

    def show(self, value: Any) -> None:
        """Chooses a value without telling anybody; nothing is chosen where it is not there."""
        values = [each for each, _text in self._choices]
        blocked = self.combo.blockSignals(True)
        self.combo.setCurrentIndex(values.index(value) if value in values else -1)
        self.combo.blockSignals(blocked)

    def _on_index_changed(self, index: int) -> None:
        if 0 <= index < len(self._choices):
            self._on_chosen(self._choices[index][0])
