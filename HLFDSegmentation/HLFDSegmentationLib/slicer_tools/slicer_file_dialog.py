"""Where a user wants a file to be written."""

from __future__ import annotations

from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _


def ask_for_file(title: str, name: str, kind: str) -> Path | None:
    """Asks for a file to write; None where the user changes his mind.

    Not all dialogs add the suffix, nor ask about the file that has it.

    Args:
        title: of the dialog.
        name: of the file as it is proposed, with its suffix.
        kind: of files, as "Table (*.csv)".
    """
    answer = qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), title, name, kind)
    if not answer:
        return None
    suffix = Path(name).suffix
    if answer.lower().endswith(suffix):
        return Path(answer)
    path = Path(answer + suffix)
    question = _("{file} is there already. Write the new one in its place?").format(file=path)
    return path if not path.exists() or slicer.util.confirmYesNoDisplay(question, title) else None
