"""The table of cases: what is chosen in its cells, and what the check says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import qt
from HLFDSegmentationLib.slicer_tools.slicer_plain_tip import plain_tip
from slicer.i18n import tr as _

from ..scene.scene_cases import CaseRow
from ..scene.scene_checks import RowProblem
from ..split import PARTS
from .slicer_choice_combo import ChoiceCombo

NAME, CHECK, SPLIT, PATIENT, CT, SEGMENTATION, ROLES = range(7)
WIDEST_COLUMN = 150

Choices = Sequence[tuple[str, str]]
"""Values and what the user reads."""


@dataclass(frozen=True)
class Shown:
    """One case as the table shows it.

    Attributes:
        row: the case.
        problems: errors first; empty when it is fine.
        images, segmentations: keys and names to choose from; none for files.
    """

    row: CaseRow
    problems: Sequence[RowProblem]
    images: Choices = ()
    segmentations: Choices = ()


class CasesTable:
    """Shows cases and tells what the user changes.

    Args:
        widget: the QTableWidget.
        on_changed: called with row, column and the new value: a text, a key, or a part of the split.
        on_selected: called when the user has marked other rows.
    """

    def __init__(
        self, widget: Any, on_changed: Callable[[int, int, str], None], on_selected: Callable[[], None]
    ) -> None:
        self.widget = widget
        self._on_changed = on_changed
        self._shown: list[Shown | None] = []
        self._cells = ChoiceCells(widget, self._change)
        titles = [_("Case"), _("Check"), _("Split"), _("Patient"), _("CT"), _("Segmentation"), _("Segments")]
        widget.setColumnCount(len(titles))
        widget.setHorizontalHeaderLabels(titles)
        widget.verticalHeader().setVisible(False)
        widget.horizontalHeader().setStretchLastSection(True)
        widget.connect("cellChanged(int,int)", self._on_cell)
        widget.connect("itemSelectionChanged()", on_selected)
        self._fit_columns()

    @property
    def selected(self) -> list[int]:
        """The rows that the user has marked."""
        return sorted(index.row() for index in self.widget.selectionModel().selectedRows())

    def show(self, cases: Sequence[Shown]) -> None:
        """Shows these cases in place of those before. Rows that are as they were are left: of many, it takes long."""
        selected = self.selected
        blocked = self.widget.blockSignals(True)
        other_count = len(cases) != len(self._shown)
        if other_count:
            self._cells.make_rows(len(cases))
            self._shown = [None] * len(cases)
        for index, case in enumerate(cases):
            if case != self._shown[index]:
                self._show_row(index, case)
        self._shown = list(cases)
        if other_count:
            self._fit_columns()
            if len(selected) == 1 and selected[0] < len(cases):
                self.widget.selectRow(selected[0])
        self.widget.blockSignals(blocked)

    def _fit_columns(self) -> None:
        self.widget.resizeColumnsToContents()
        for column in range(self.widget.columnCount):
            self.widget.setColumnWidth(column, min(self.widget.columnWidth(column), WIDEST_COLUMN))

    def _show_row(self, index: int, case: Shown) -> None:
        row = case.row
        show_text(self.widget, index, NAME, row.name, editable=True)
        show_text(self.widget, index, PATIENT, row.patient, editable=True)
        self._choice(index, CT, row.image, case.images)
        self._choice(index, SEGMENTATION, row.segmentation, case.segmentations, guessed=row.guessed)
        show_text(self.widget, index, ROLES, _roles_text(row))
        titles = part_titles()
        self._cells.show(index, SPLIT, [(part, titles[part]) for part in PARTS], row.part)
        tip = "\n\n".join(one.sentence for one in case.problems)
        show_text(self.widget, index, CHECK, verdict(case.problems), tip=tip)

    def _choice(self, index: int, column: int, shown: Any, choices: Choices, *, guessed: bool = False) -> None:
        """A node to choose, also one that is a guess so far; plain text where there is nothing to choose from."""
        if not choices:
            self._cells.remove(index, column)
            show_text(self.widget, index, column, shown.name if shown else "")
            return
        if shown and shown.id not in dict(choices):
            choices = [*choices, (shown.id, _("{name} (gone)").format(name=shown.name))]
        if shown and guessed:
            self._cells.show(index, column, choices, None, _("{name} (guess)").format(name=shown.name))
        else:
            self._cells.show(index, column, choices, shown.id if shown else None)

    def _on_cell(self, index: int, column: int) -> None:
        if column in (NAME, PATIENT):
            self._change(index, column, self.widget.item(index, column).text().strip())

    def _change(self, index: int, column: int, value: str) -> None:
        # The cell may not show what comes of it, as where it is refused.
        self._shown[index] = None
        self._on_changed(index, column, value)


class ChoiceCells:
    """Combo boxes in the cells of a table. They stay as long as their rows: the keyboard may be in one of them.

    Args:
        table: the QTableWidget.
        on_chosen: called with row, column and the value that the user chose.
    """

    def __init__(self, table: Any, on_chosen: Callable[[int, int, str], None]) -> None:
        self._table = table
        self._on_chosen = on_chosen
        self._combos: dict[tuple[int, int], ChoiceCombo] = {}

    def make_rows(self, count: int) -> None:
        """Empty rows in place of those before."""
        self._combos.clear()
        self._table.setRowCount(0)
        self._table.setRowCount(count)

    def show(self, index: int, column: int, choices: Choices, chosen: str | None, otherwise: str = "") -> None:
        """Shows a choice in a cell; where nothing is chosen, a first entry says so, or what is taken until then."""
        known = chosen in dict(choices)
        combo = self._combos.get((index, column)) or self._make(index, column)
        combo.fill([*choices] if known else [(None, otherwise or _("Choose...")), *choices])
        combo.show(chosen if known else None)
        row_and_column = self._table.item(index, 0), self._table.horizontalHeaderItem(column)
        combo.combo.setAccessibleName(", ".join(item.text() for item in row_and_column if item is not None))

    def remove(self, index: int, column: int) -> None:
        """Takes the choice out of a cell; nothing happens where there is none."""
        if self._combos.pop((index, column), None):
            self._table.removeCellWidget(index, column)

    def _make(self, index: int, column: int) -> ChoiceCombo:
        combo = ChoiceCombo(qt.QComboBox(), partial(self._choose, index, column))
        self._combos[index, column] = combo
        self._table.setCellWidget(index, column, combo.combo)
        # Tab comes to the table, and F2 from there into its cells: many cases have hundreds of them.
        combo.combo.setFocusPolicy(qt.Qt.ClickFocus)
        qt.QWidget.setTabOrder(self._table, combo.combo)
        return combo

    def _choose(self, index: int, column: int, value: str | None) -> None:
        if value is not None:
            self._on_chosen(index, column, value)


def show_text(table: Any, index: int, column: int, text: str, *, editable: bool = False, tip: str = "") -> None:
    """Shows a text in a cell. An item that is there is kept: the user may be writing into it."""
    item = table.item(index, column)
    if item is None:
        item = qt.QTableWidgetItem()
        if not editable:
            item.setFlags(qt.Qt.ItemIsSelectable | qt.Qt.ItemIsEnabled)
        table.setItem(index, column, item)
    item.setText(text)
    item.setToolTip(plain_tip(tip or text))


def part_titles() -> dict[str, str]:
    """What a user reads for each part of the split."""
    return {"train": _("train"), "validation": _("validation"), "test": _("test")}


def _roles_text(row: CaseRow) -> str:
    found = [(row.roles.get(segment.id), segment.name) for segment in row.segments]
    return "; ".join(f"{role}: {name}" if role != name else name for role, name in found if role)


def verdict(problems: Sequence[RowProblem]) -> str:
    """One word for what the check says."""
    if not problems:
        return _("Fine")
    return _("Wrong") if problems[0].severity == "error" else _("Look")
