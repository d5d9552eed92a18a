"""A question to which a careless answer does no harm."""

from __future__ import annotations

import qt
import slicer


def confirm_carefully(question: str, title: str) -> bool:
    """Asks whether to do what may do harm: Enter means No, as Escape does. With Slicer's own question it means Yes.

    In Slicer's testing mode nobody is asked: the answer is Yes.

    Args:
        question: plain text.
        title: of the dialog.
    """
    if slicer.app.testingEnabled():
        return bool(slicer.util.confirmYesNoDisplay(question, title))
    box = qt.QMessageBox(slicer.util.mainWindow())
    box.icon = qt.QMessageBox.Question
    box.windowTitle = title
    box.textFormat = qt.Qt.PlainText
    box.text = question
    box.standardButtons = qt.QMessageBox.Yes | qt.QMessageBox.No
    box.setDefaultButton(qt.QMessageBox.No)
    answer = box.exec_()
    box.deleteLater()
    return bool(answer == qt.QMessageBox.Yes)
