"""Slicer's main window, as far as modules reach into it."""

# ruff: noqa: N801, N802 (Slicer's names)

import slicer

from slicer_shell.pyside import QtWidgets
from slicer_shell.pythonqt import cpp_class


class ModuleSelector:
    """The list of modules in the tool bar."""

    def __init__(self, main_window: "qSlicerMainWindow") -> None:
        self._main_window = main_window
        self.selectedModule = ""

    def selectModule(self, name: str) -> None:
        """What a click on a module does: the module that is open is left, and the other is entered."""
        if name == self.selectedModule:
            return
        self.leave()
        self.selectedModule = name
        panel = slicer.util.getModule(name).widgetRepresentation()
        if panel is not None:
            self._main_window.setCentralWidget(panel)
            # As in Slicer: Qt would show it within its next event.
            panel.setVisible(True)
            panel.enter()

    def leave(self) -> None:
        """Leave the module that is open."""
        module = slicer.app.moduleManager().module(self.selectedModule) if self.selectedModule else None
        panel = module.widgetRepresentation() if module is not None else None
        if panel is not None:
            panel.exit()
            self._main_window.takeCentralWidget()
        self.selectedModule = ""


@cpp_class
class qSlicerMainWindow(QtWidgets.QMainWindow):
    """The main window: the panel of the open module, and the status bar."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("qSlicerMainWindow")
        self._module_selector = ModuleSelector(self)
        self.statusBar()

    def moduleSelector(self) -> ModuleSelector:
        return self._module_selector
