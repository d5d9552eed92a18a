"""A module in the stand-in Slicer's window, and what every user of a module does."""

from __future__ import annotations

from typing import Any, ClassVar

PANEL_WIDTH = 450


def type_into(box, text: str) -> None:
    """The keys of a user who writes a number in place of the one that stands there."""
    import qt

    box.selectAll()
    for letter in text:
        for kind in (qt.QEvent.KeyPress, qt.QEvent.KeyRelease):
            qt.QApplication.sendEvent(box, qt.QKeyEvent(kind, ord(letter), qt.Qt.NoModifier, letter))


def press(widget, key: int) -> None:
    """A key without a letter."""
    import qt

    for kind in (qt.QEvent.KeyPress, qt.QEvent.KeyRelease):
        qt.QApplication.sendEvent(widget, qt.QKeyEvent(kind, key, qt.Qt.NoModifier))


def hastily(dialog) -> int:
    """The answer of a user who presses Enter without a look. Qt takes Yes where no button is made the default."""
    import qt

    return dialog.standardButton(dialog.defaultButton() or dialog.button(qt.QMessageBox.Yes))


def answer(*values) -> None:
    """What the user answers to the next dialogs."""
    from slicer_shell import dialogs

    dialogs.answer(*values)


def asked() -> list[str]:
    """What the dialogs said."""
    from slicer_shell import dialogs

    return dialogs.shown


class ModuleWindow:
    """A module that is open. Its panel is `module.widgetRepresentation()`."""

    name: ClassVar[str]
    """Of the module."""
    slicer: Any
    module: Any

    @property
    def widget(self):
        return getattr(self.slicer.modules, f"{self.name}Widget")

    @property
    def ui(self):
        return self.widget.ui

    @property
    def parameters(self):
        return self.widget.logic.getParameterNode()

    @property
    def message(self) -> str:
        from HLFDSegmentationLib.slicer_tools.slicer_message import BREAK

        return self.ui.messageLabel.text.replace(BREAK, "") if self.ui.messageLabel.visible else ""

    @property
    def status(self) -> str:
        """What the status bar says."""
        return self.slicer.util.mainWindow().statusBar().currentMessage()

    def open(self) -> None:
        self.slicer.util.selectModule(self.name)
        self.slicer.app.processEvents()

    def leave(self) -> None:
        """The user goes to another module."""
        self.slicer.app.main_window.moduleSelector().leave()

    def wait(self, condition, seconds: float = 180) -> None:
        from slicer_shell.application import process_events_until

        process_events_until(condition, seconds)

    def picture(self, name: str) -> None:
        """A screenshot, as high as the panel wants to be."""
        from slicer_shell.screenshots import grab

        top = self.module.widgetRepresentation()
        window = self.slicer.util.mainWindow()
        for _attempt in range(5):
            self.slicer.app.processEvents()
            window.resize(PANEL_WIDTH, top.heightForWidth(PANEL_WIDTH) + window.statusBar().height + 8)
        assert grab(top, name).stat().st_size > 4000
