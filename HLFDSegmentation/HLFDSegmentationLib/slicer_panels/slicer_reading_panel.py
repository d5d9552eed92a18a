"""The reader's verdicts in the panel: on a layer as a whole, or on what it makes of one lesion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
from slicer.i18n import tr as _

from ..color_maps import AttentionColors
from ..errors import HLFDError
from ..measures import RasPoint
from ..slicer_scene.slicer_lesion_notes import notes_on_lesion
from ..slicer_scene.slicer_readings import DIFFUSE, MISLED, ON_TARGET, Readings
from ..slicer_scene.slicer_scene_result import SceneResult, lesion_rows, rows_of
from ..slicer_tools.slicer_file_dialog import ask_for_file
from ..slicer_tools.slicer_later import later
from ..slicer_tools.slicer_message import breakable

NOT_READ = ""

LARGEST_LIST = 170
"""Pixels; with more lesions, the list scrolls."""


class ReadingPanel:
    """The lesions of the chosen segment, and the reading of the chosen layer.

    Args:
        ui: the panel's widgets.
        on_lesion: called with the place (RAS in the world, mm) of a lesion that was chosen.
        on_problem: called with a sentence to show.
    """

    def __init__(self, ui: Any, on_lesion: Callable[[RasPoint], None], on_problem: Callable[[str], None]) -> None:
        self.ui = ui
        self._on_lesion = on_lesion
        self._on_problem = on_problem
        self._result: SceneResult | None = None
        self._segment = self._layer = self._heading = ""
        self._lesions: list[int] = []
        self._colors: AttentionColors | None = None
        self._has_gone = False
        self._radio_buttons = {
            ON_TARGET: ui.onTargetRadioButton,
            DIFFUSE: ui.diffuseRadioButton,
            MISLED: ui.misledRadioButton,
            NOT_READ: ui.notReadRadioButton,
        }
        for button in self._radio_buttons.values():
            button.connect("clicked(bool)", self._on_read)
        ui.commentLineEdit.connect("editingFinished()", self._keep)
        ui.commentLineEdit.connect("textEdited(QString)", self._on_typed)
        ui.lesionList.connect("currentRowChanged(int)", self._on_row)
        ui.lesionList.connect("itemPressed(QListWidgetItem*)", self._on_pressed)
        ui.exportReadingsButton.connect("clicked(bool)", self._on_export)

    def show(self, result: SceneResult | None, segment: str, layer: str, heading: str = "") -> None:
        """Shows the lesions of a segment and the reading of a layer.

        Args:
            result: what is read; it may be exported also where there is no layer to read.
            segment: "" for none.
            layer: "" for none.
            heading: above the reading; "" for the usual one.
        """
        heading = heading or _("Your reading")
        place = result, segment, layer, heading
        before = self._result, self._segment, self._layer, self._heading
        if self._typing and place == before:
            return  # What is typed is kept already; writing it anew would take the cursor to its end.
        self._result, self._segment, self._layer, self._heading = place
        if place[:2] != before[:2]:
            self._fill_lesions()
        self._show_reading()

    def show_notes(self, colors: AttentionColors | None) -> None:
        """Shows what must be known about the map in the slice of the chosen lesion, below the reading.

        Args:
            colors: of the maps; none where no map is shown.
        """
        self._colors = colors
        self._show_notes()

    @property
    def _typing(self) -> bool:
        """Whether there is a comment that is not kept yet."""
        return bool(self._result and self._result.exists and self.ui.commentLineEdit.modified)

    @property
    def _lesion(self) -> int | None:
        """Number of the chosen lesion; None while the segment as a whole is read."""
        row = self.ui.lesionList.currentRow
        return self._lesions[row - 1] if 0 < row <= len(self._lesions) else None

    @property
    def _lesion_place(self) -> RasPoint | None:
        if self._result is None or self._lesion is None:
            return None
        # Looked up anew: the CT may have been moved since the list was filled.
        return dict(self._result.lesions(self._segment)).get(self._lesion)

    def _fill_lesions(self) -> None:
        self._lesions = [number for number, _place in self._result.lesions(self._segment)] if self._result else []
        sizes = _sizes(self._result, self._segment)
        rows = self.ui.lesionList
        blocked = rows.blockSignals(True)
        rows.clear()
        rows.addItem(_("the segment as a whole"))
        for number in self._lesions:
            rows.addItem(_("lesion {number} · {size}").format(number=number, size=sizes.get(number, "")))
        if self._result and _is_organ_beside_tumors(self._result, self._segment):
            rows.addItem(_("Lesions are listed under the tumor segments"))
            rows.item(rows.count - 1).setFlags(qt.Qt.NoItemFlags)
        # Only the lists of Qt 6 know how high their rows are together.
        rows.setFixedHeight(min(LARGEST_LIST, rows.count * rows.sizeHintForRow(0) + 2 * rows.frameWidth))
        rows.setCurrentRow(0)
        rows.blockSignals(blocked)

    def _show_reading(self) -> None:
        readings = Readings(self._result) if self._result else None
        reading = readings.get(self._segment, self._layer, self._lesion) if readings else None
        verdict = reading.verdict.lower() if reading else NOT_READ
        # Of a table that was changed by hand.
        self._radio_buttons.get(verdict, self._radio_buttons[NOT_READ]).setChecked(True)
        self.ui.commentLineEdit.setText(reading.comment if reading else "")
        subject = self._segment if self._lesion is None else _("lesion {number}").format(number=self._lesion)
        title = _("{heading}: {layer}, {subject}").format(heading=self._heading, layer=self._layer, subject=subject)
        self.ui.readingLabel.setText(breakable(title))

    def _show_notes(self) -> None:
        result, number, place = self._result, self._lesion, self._lesion_place
        notes = []
        if result and number is not None and place:
            notes = notes_on_lesion(result, self._segment, self._layer, (number, place), self._colors)
        self.ui.lesionNoteLabel.setText("\n".join(notes))
        self.ui.lesionNoteLabel.setVisible(bool(notes))

    def _on_row(self, row: int) -> None:
        self._show_reading()
        self._show_notes()
        self._go_to_lesion()
        # A press of the mouse that chose the row is told within the same event of Qt.
        self._has_gone = True
        later(self._be_pressed_again, owner=self.ui.lesionList)

    def _be_pressed_again(self) -> None:
        self._has_gone = False

    def _on_pressed(self, item: Any) -> None:
        """A lesion that is chosen already is gone to again: the views may have been moved meanwhile."""
        if not self._has_gone:
            self._go_to_lesion()

    def _go_to_lesion(self) -> None:
        if place := self._lesion_place:
            self._on_lesion(place)

    def _on_read(self, checked: bool) -> None:
        self._keep()

    def _on_typed(self, text: str) -> None:
        # Each letter: Ctrl+S and menus take no focus from the line, and Slicer tells nobody that it saves a scene.
        self._set()

    def _keep(self) -> None:
        if self._set():
            self._show_reading()

    def _set(self) -> bool:
        """Keeps verdict and comment as they are in the panel; whether that could be done."""
        if not (self._result and self._layer):
            return False
        verdict = next(verdict for verdict, button in self._radio_buttons.items() if button.checked)
        comment = self.ui.commentLineEdit.text
        try:
            Readings(self._result).set(self._segment, self._layer, self._lesion, verdict, comment)
        except HLFDError as error:
            self._on_problem(str(error))
            return False
        return True

    def _on_export(self, clicked: bool) -> None:
        result = self._result  # A run that ends while the dialog is open shows its own.
        path = ask_for_file(_("Export the readings"), "readings.csv", _("Table (*.csv)"))
        if not path or not (result and result.exists):
            return
        try:
            Readings(result).write_csv(path)
            self._on_problem("")
        except HLFDError as error:
            self._on_problem(str(error))


def _is_organ_beside_tumors(result: SceneResult, segment: str) -> bool:
    """Whether a segment, which has no lesions of its own, is one of a result that has tumors, too."""
    rows = [row for table in result.measures_tables for row in rows_of(table) if not row.get("lesion")]
    with_lesions = {row["segment"] for row in rows if row.get("lesion_count")}
    return bool(with_lesions) and segment in {row["segment"] for row in rows} - with_lesions


def _sizes(result: SceneResult | None, segment: str) -> dict[int, str]:
    """Volume and diameter of each lesion as the list shows them."""
    rows = [row for table in (result.measures_tables if result else []) for row in lesion_rows(table, segment)]
    return {
        int(row["lesion"]): _("{volume:.1f} mL · {diameter:.0f} mm").format(
            volume=float(row["volume_mL"]), diameter=float(row["longest_axial_diameter_mm"])
        )
        for row in rows
    }
