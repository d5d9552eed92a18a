"""Modal dialogs, answered by the test: nobody sits in front of an offscreen window.

A test says beforehand what the user will answer. A dialog that opens without an answer is a failure of the test.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

Answer = Any | Callable[[Any], Any]

answers: deque[Answer] = deque()
shown: list[str] = []


class UnexpectedDialogError(AssertionError):
    """A dialog opened that the test gave no answer for; Slicer would wait for its user here."""


def answer(*values: Answer) -> None:
    """The next modal dialogs return these values, one each; a callable makes its value from the dialog."""
    answers.extend(values)


def reset() -> None:
    """Forgets what was shown and every answer that was not used."""
    answers.clear()
    shown.clear()


def answered(text: str, dialog: Any) -> Any:
    """Notes what the dialog says and returns its answer."""
    shown.append(text)
    if not answers:
        raise UnexpectedDialogError(f"a dialog opened and nobody was told to answer it: {text}")
    value = answers.popleft()
    return value(dialog) if callable(value) else value


def text_of(dialog: Any) -> str:
    """What a dialog says: its title, and a message box's texts."""
    parts = [dialog.windowTitle]
    parts += [getattr(dialog, name) for name in ("text", "informativeText", "detailedText") if hasattr(dialog, name)]
    return "\n".join(part for part in parts if part)


def run_dialog(dialog: Any) -> int:
    """In place of `exec`: the answer's number; a button by its number is what `clickedButton` then gives."""
    value = answered(text_of(dialog), dialog)
    dialog.setResult(int(value))
    dialog.finished.emit(int(value))
    return int(value)


STATIC_DIALOGS = {
    "QFileDialog": ("getOpenFileName", "getOpenFileNames", "getSaveFileName", "getExistingDirectory"),
    "QMessageBox": ("question", "information", "warning", "critical"),
    "QInputDialog": ("getText", "getItem", "getInt", "getDouble", "getMultiLineText"),
}


def static_dialog(class_name: str, name: str) -> staticmethod:
    def show(*arguments: Any, **_options: Any) -> Any:
        texts = [argument for argument in arguments if isinstance(argument, str)]
        return answered("\n".join([f"{class_name}.{name}", *texts]), arguments)

    return staticmethod(show)


def patch(widgets: Any) -> None:
    """Puts the answers in place of the modal dialogs of QtWidgets."""
    # Every class that PySide gives its own `exec` has to lose it.
    for class_name in ("QDialog", "QMessageBox", "QFileDialog", "QInputDialog", "QProgressDialog"):
        cls = getattr(widgets, class_name)
        cls.exec_ = cls.exec = run_dialog
    for class_name, names in STATIC_DIALOGS.items():
        for name in names:
            setattr(getattr(widgets, class_name), name, static_dialog(class_name, name))
