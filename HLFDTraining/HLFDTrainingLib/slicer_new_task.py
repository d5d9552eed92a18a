"""Asks for a task of the user's own: an organ, whether it has tumors, and how its CT is shown."""

from __future__ import annotations

import qt
import slicer
from HLFDSegmentationLib.tasks import Task
from slicer.i18n import tr as _

from .new_task import new_task

WINDOWS = {"soft": (-160.0, 240.0), "liver": (-40.0, 160.0), "lung": (-1000.0, 300.0), "bone": (-200.0, 1000.0)}


def ask_for_task() -> Task | None:
    """The task that the user describes; none where the dialog is cancelled. Raises TaskError."""
    dialog = NewTaskDialog()
    try:
        return dialog.task() if dialog.dialog.exec_() == qt.QDialog.Accepted else None
    finally:
        dialog.dialog.deleteLater()


class NewTaskDialog:
    """The dialog."""

    def __init__(self) -> None:
        self.dialog = qt.QDialog(slicer.util.mainWindow())
        self.dialog.setWindowTitle(_("HLFD Training: a task of your own"))
        form = qt.QFormLayout(self.dialog)
        self.organ = qt.QLineEdit()
        self.organ.setObjectName("organEdit")
        self.organ.setPlaceholderText(_("for example: pancreas"))
        self.organ.setToolTip(_("The organ that is segmented, as you call it."))
        self.tumors = qt.QCheckBox(_("and tumors in it"))
        self.tumors.setObjectName("tumorsCheck")
        self.tumors.setChecked(True)
        self.tumors.setToolTip(_("Also segment the tumors of the organ, as a segment of their own."))
        self.parts = qt.QSpinBox()
        self.parts.setObjectName("partsSpin")
        self.parts.setRange(1, 30)
        self.parts.setToolTip(_("How many of it a body has: 1 liver, 2 kidneys. Cases with more are looked at twice."))
        self.window = qt.QComboBox()
        self.window.setObjectName("windowCombo")
        self.window.addItems(
            [_window_titles()[name].format(low=low, high=high) for name, (low, high) in WINDOWS.items()]
        )
        self.window.setToolTip(_("The Hounsfield units that matter. What is brighter or darker is cut off."))
        self.spacing = qt.QDoubleSpinBox()
        self.spacing.setObjectName("spacingSpin")
        self.spacing.setRange(0.3, 10.0)
        self.spacing.setSingleStep(0.5)
        self.spacing.setValue(1.0)
        self.spacing.setSuffix(_(" mm"))
        self.spacing.setToolTip(
            _("Size of the network's pixels. 1 mm shows small lesions; 2 mm is four times as fast.")
        )
        for title, widget in (
            (_("Organ:"), self.organ),
            ("", self.tumors),
            (_("How many in a body:"), self.parts),
            (_("Window:"), self.window),
            (_("Pixel size:"), self.spacing),
        ):
            form.addRow(title, widget)
        # Given to the constructor, PythonQt would take the number for an orientation, and there would be no buttons.
        buttons = qt.QDialogButtonBox()
        buttons.setStandardButtons(qt.QDialogButtonBox.Ok | qt.QDialogButtonBox.Cancel)
        buttons.connect("accepted()", self.dialog.accept)
        buttons.connect("rejected()", self.dialog.reject)
        form.addRow(buttons)

    def task(self) -> Task:
        """What the user described. Raises TaskError where it is no task."""
        return new_task(
            self.organ.text,
            tumors=self.tumors.checked,
            window=list(WINDOWS.values())[self.window.currentIndex],
            spacing=self.spacing.value,
            parts=self.parts.value,
        )


def _window_titles() -> dict[str, str]:
    return {
        "soft": _("Soft tissue ({low:.0f} to {high:.0f} HU)"),
        "liver": _("Liver ({low:.0f} to {high:.0f} HU)"),
        "lung": _("Lung ({low:.0f} to {high:.0f} HU)"),
        "bone": _("Bone ({low:.0f} to {high:.0f} HU)"),
    }
