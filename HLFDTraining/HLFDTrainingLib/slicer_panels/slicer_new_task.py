"""Asks for a task of the user's own: an organ, whether it has tumors, and how its CT is shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import qt
import slicer
from HLFDSegmentationLib.errors import HLFDError
from HLFDSegmentationLib.slicer_tools.slicer_decimal_comma import DecimalComma
from HLFDSegmentationLib.tasks import Task
from slicer.i18n import tr as _

from ..new_task import new_task, parts_in_body

WINDOWS = {"soft": (-160.0, 240.0), "liver": (-40.0, 160.0), "lung": (-1000.0, 300.0), "bone": (-200.0, 1000.0)}


def ask_for_task(keep: Callable[[Task], Path]) -> Path | None:
    """Keeps the task that the user describes, and gives its file; none where the dialog is cancelled.

    Args:
        keep: keeps a task. What it raises is shown in the dialog, which stays open.
    """
    dialog = NewTaskDialog(keep)
    try:
        return dialog.kept if dialog.dialog.exec_() == qt.QDialog.Accepted else None
    finally:
        dialog.dialog.deleteLater()


class NewTaskDialog:
    """The dialog.

    Attributes:
        kept: the file of the task; none before there is one.
    """

    def __init__(self, keep: Callable[[Task], Path]) -> None:
        self.kept: Path | None = None
        self._keep = keep
        self.dialog = qt.QDialog(slicer.util.mainWindow())
        self.dialog.setWindowTitle(_("HLFD Training: a task of your own"))
        form = qt.QFormLayout(self.dialog)
        self.organ = _organ_edit()
        self.tumors = _tumors_check()
        self.parts = _parts_spin()
        self._suggested = self.parts.value
        self.organ.connect("textChanged(QString)", self._on_organ)
        self.window = _window_combo()
        self.spacing = _spacing_spin()
        self._commas = DecimalComma(self.spacing)
        for title, widget in (
            (_("Organ:"), self.organ),
            ("", self.tumors),
            (_("How many in a body:"), self.parts),
            (_("Window:"), self.window),
            (_("Pixel size:"), self.spacing),
        ):
            form.addRow(title, widget)
        self.problem = _problem_label()
        form.addRow(self.problem)
        buttons = _buttons()
        buttons.connect("accepted()", self._on_ok)
        buttons.connect("rejected()", self.dialog.reject)
        form.addRow(buttons)
        self._ok = buttons.button(qt.QDialogButtonBox.Ok)
        self._on_organ("")

    def _on_organ(self, name: str) -> None:
        self._ok.setEnabled(bool(name.strip()))
        self._ok.setToolTip("" if name.strip() else _("Name the organ first."))
        if self.parts.value == self._suggested:  # What the user has chosen stays.
            self._suggested = parts_in_body(name)
            self.parts.setValue(self._suggested)

    def _on_ok(self) -> None:
        try:
            self.kept = self._keep(self._task())
        except HLFDError as error:
            self.problem.setText(str(error))
            self.problem.setVisible(True)
            self.dialog.adjustSize()
        else:
            self.dialog.accept()

    def _task(self) -> Task:
        """What the user described. Raises TaskError where it is no task."""
        return new_task(
            self.organ.text,
            tumors=self.tumors.checked,
            window=list(WINDOWS.values())[self.window.currentIndex],
            spacing=self.spacing.value,
            parts=self.parts.value,
        )


def _organ_edit() -> qt.QLineEdit:
    edit = qt.QLineEdit()
    edit.setObjectName("organEdit")
    edit.setPlaceholderText(_("for example: pancreas"))
    edit.setToolTip(_("The organ that is segmented, as you call it."))
    return edit


def _tumors_check() -> qt.QCheckBox:
    check = qt.QCheckBox(_("and tumors in it"))
    check.setObjectName("tumorsCheck")
    check.setChecked(True)
    check.setToolTip(_("Also segment the tumors of the organ, as a segment of their own."))
    return check


def _parts_spin() -> qt.QSpinBox:
    spin = qt.QSpinBox()
    spin.setObjectName("partsSpin")
    spin.setRange(1, 30)
    spin.setToolTip(
        _("How many of it a body has: 1 liver, 2 kidneys. Results keep so many pieces and leave out smaller ones.")
    )
    return spin


def _window_combo() -> qt.QComboBox:
    combo = qt.QComboBox()
    combo.setObjectName("windowCombo")
    titles = _window_titles()
    combo.addItems([titles[name].format(low=low, high=high) for name, (low, high) in WINDOWS.items()])
    combo.setToolTip(_("The Hounsfield units that matter. What is brighter or darker is cut off."))
    return combo


def _window_titles() -> dict[str, str]:
    return {
        "soft": _("Soft tissue ({low:.0f} to {high:.0f} HU)"),
        "liver": _("Liver ({low:.0f} to {high:.0f} HU)"),
        "lung": _("Lung ({low:.0f} to {high:.0f} HU)"),
        "bone": _("Bone ({low:.0f} to {high:.0f} HU)"),
    }


def _spacing_spin() -> qt.QDoubleSpinBox:
    spin = qt.QDoubleSpinBox()
    spin.setObjectName("spacingSpin")
    spin.setRange(0.3, 10.0)
    spin.setSingleStep(0.5)
    spin.setValue(1.0)
    spin.setSuffix(_(" mm"))
    spin.setToolTip(_("Size of the network's pixels. 1 mm shows small lesions; 2 mm is about four times as fast."))
    return spin


def _problem_label() -> qt.QLabel:
    label = qt.QLabel()
    label.setObjectName("problemLabel")
    label.setWordWrap(True)
    label.setTextFormat(qt.Qt.PlainText)
    label.setVisible(False)
    return label


def _buttons() -> qt.QDialogButtonBox:
    # Given to the constructor, PythonQt would take the number for an orientation, and there would be no buttons.
    buttons = qt.QDialogButtonBox()
    buttons.setStandardButtons(qt.QDialogButtonBox.Ok | qt.QDialogButtonBox.Cancel)
    return buttons
