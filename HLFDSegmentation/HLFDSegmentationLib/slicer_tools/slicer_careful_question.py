"""A question to which a careless answer does no harm."""

from __future__ import annotations

import qt
import slicer


def confirm_carefully(question: str, title: str) -> bool:
    """Asks whether to do what may do harm: Enter means No, as Escape does. With Slicer's own question it means Yes.

    In Slicer's testing mode the answer is Yes, without a main window No; nobody is asked.

    Args:
        question: plain text.
        title: of the dialog.
    """
    window = slicer.util.mainWindow()
    if slicer.app.testingEnabled() or window is None:
        return bool(slicer.util.confirmYesNoDisplay(question, title))
    box = qt.QMessageBox(window)
    box.icon = qt.QMessageBox.Question
    box.windowTitle = title
    box.textFormat = qt.Qt.PlainText
    box.text = question
    box.standardButtons = qt.QMessageBox.Yes | qt.QMessageBox.No
    box.setDefaultButton(qt.QMessageBox.No)
    answer = box.exec_()
    box.deleteLater()
    return bool(answer == qt.QMessageBox.Yes)
