"""The table of cases: what is chosen in its cells, and what the check says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import qt
from slicer.i18n import tr as _

from .scene_cases import CaseRow
from .scene_checks import RowProblem
from .split import PARTS

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
        titles = [_("Case"), _("Check"), _("Split"), _("Patient"), _("CT"), _("Segmentation"), _("Segments")]
        widget.setColumnCount(len(titles))
        widget.setHorizontalHeaderLabels(titles)
        widget.verticalHeader().setVisible(False)
        widget.horizontalHeader().setStretchLastSection(True)
        widget.connect("cellChanged(int,int)", self._on_cell)
        widget.connect("itemSelectionChanged()", on_selected)

    @property
    def selected(self) -> list[int]:
        """The rows that the user has marked."""
        return sorted(index.row() for index in self.widget.selectionModel().selectedRows())

    def show(self, cases: Sequence[Shown]) -> None:
        """Shows these cases in place of those before. Rows that are as they were are left: of many, it takes long."""
        selected = self.selected
        blocked = self.widget.blockSignals(True)
        if len(cases) != len(self._shown):
            self.widget.setRowCount(0)
            self.widget.setRowCount(len(cases))
            self._shown = [None] * len(cases)
        for index, case in enumerate(cases):
            if case != self._shown[index]:
                self._show_row(index, case)
        self._shown = list(cases)
        self.widget.resizeColumnsToContents()
        for column in range(self.widget.columnCount):
            self.widget.setColumnWidth(column, min(self.widget.columnWidth(column), WIDEST_COLUMN))
        if len(selected) == 1 and selected[0] < len(cases):
            self.widget.selectRow(selected[0])
        self.widget.blockSignals(blocked)

    def _show_row(self, index: int, case: Shown) -> None:
        row = case.row
        self._text(index, NAME, row.name, editable=True)
        self._text(index, PATIENT, row.patient, editable=True)
        self._choice(index, CT, row.image, case.images)
        self._choice(index, SEGMENTATION, row.segmentation, case.segmentations)
        self._text(index, ROLES, _roles_text(row))
        titles = part_titles()
        add_combo(self.widget, index, SPLIT, [(part, titles[part]) for part in PARTS], row.part, self._change)
        self._text(index, CHECK, verdict(case.problems), tip="\n\n".join(one.sentence for one in case.problems))

    def _choice(self, index: int, column: int, shown: Any, choices: Choices) -> None:
        """A node to choose; plain text where there is nothing to choose from."""
        if not choices:
            self._text(index, column, shown.name if shown else "")
            return
        if shown and shown.id not in dict(choices):
            choices = [*choices, (shown.id, _("{name} (gone)").format(name=shown.name))]
        add_combo(self.widget, index, column, choices, shown.id if shown else None, self._change)

    def _text(self, index: int, column: int, text: str, *, editable: bool = False, tip: str = "") -> None:
        item = qt.QTableWidgetItem(text)
        if not editable:
            item.setFlags(qt.Qt.ItemIsSelectable | qt.Qt.ItemIsEnabled)
        item.setToolTip(tip or text)
        self.widget.setItem(index, column, item)

    def _on_cell(self, index: int, column: int) -> None:
        if column in (NAME, PATIENT):
            self._change(index, column, self.widget.item(index, column).text().strip())

    def _change(self, index: int, column: int, value: str) -> None:
        # The cell may not show what comes of it, as where it is refused.
        self._shown[index] = None
        self._on_changed(index, column, value)


def add_combo(
    table: Any,
    index: int,
    column: int,
    choices: Choices,
    chosen: str | None,
    on_changed: Callable[[int, int, str], None],
) -> None:
    """Puts a combo box into a cell; an empty first entry asks to choose where nothing is chosen."""
    values: list[str | None] = [value for value, _text in choices]
    texts = [text for _value, text in choices]
    if chosen not in values:
        values, texts = [None, *values], [_("Choose..."), *texts]
    combo = qt.QComboBox()
    combo.addItems(texts)
    combo.setCurrentIndex(values.index(chosen if chosen in values else None))

    def choose(position: int) -> None:
        if (value := values[position]) is not None:
            on_changed(index, column, value)

    combo.connect("currentIndexChanged(int)", choose)
    table.setCellWidget(index, column, combo)


def part_titles() -> dict[str, str]:
    """What a user reads for each part of the split."""
    return {"train": _("train"), "validation": _("validation"), "test": _("test")}


def _roles_text(row: CaseRow) -> str:
    segments = row.segmentation.segments if row.segmentation else ()
    found = [(row.roles.get(segment.id), segment.name) for segment in segments]
    return "; ".join(f"{role}: {name}" if role != name else name for role, name in found if role)


def verdict(problems: Sequence[RowProblem]) -> str:
    """One word for what the check says."""
    if not problems:
        return _("Fine")
    return _("Wrong") if problems[0].severity == "error" else _("Look")
