"""What `slicer.app` and Slicer's main window are: PythonQt's application, and what modules ask of Slicer's."""

# ruff: noqa: N802, N815 (Slicer's names)

import os
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import qt
import slicer

from slicer_shell.io_manager import IOManager
from slicer_shell.layout import LayoutManager
from slicer_shell.modules import ModuleManager
from slicer_shell.signals import SignalOwner


class ModuleSelector:
    """The list of modules in the tool bar."""

    def __init__(self) -> None:
        self.selectedModule = ""

    def selectModule(self, name: str) -> None:
        """The module that is open is left, and the other is entered."""
        if name == self.selectedModule:
            return
        self.leave()
        self.selectedModule = name
        module = slicer.app.moduleManager().module(name)
        slicer.app.main_window.setCentralWidget(module.widgetRepresentation())
        module.call("enter")

    def leave(self) -> None:
        """Leave the module that is open."""
        module = slicer.app.moduleManager().module(self.selectedModule) if self.selectedModule else None
        if getattr(module, "panel", None) is not None:
            module.call("exit")
            slicer.app.main_window.takeCentralWidget()
        self.selectedModule = ""


class MainWindow(qt.QMainWindow):
    """The panel of the open module, and the status bar."""

    def __init__(self) -> None:
        qt.QMainWindow.__init__(self)
        self.setObjectName("qSlicerMainWindow")
        self.selector = ModuleSelector()
        self.statusBar()

    def moduleSelector(self) -> ModuleSelector:
        return self.selector


class Application(SignalOwner):
    """PythonQt's application and Slicer's application logic behind one face."""

    SIGNALS = ("aboutToQuit()", "startupCompleted()", "mrmlSceneChanged(vtkMRMLScene*)", "lastWindowClosed()")
    applicationVersion = "5.12.3"
    majorVersion, minorVersion = 5, 12
    documentationBaseUrl = "https://slicer.readthedocs.io/en/latest"
    doubleClickInterval = 0
    """In ms. A test clicks faster than any user, and means each click."""

    def __init__(self, application: object, logic: slicer.vtkSlicerApplicationLogic, folder: Path) -> None:
        super().__init__()
        self._application, self._logic = application, logic
        self._module_manager = ModuleManager()
        self._layout_manager = LayoutManager(logic)
        self._io_manager = IOManager(logic)
        self._loader = qt.QUiLoader()
        self.temporaryPath, self.cachePath = str(folder / "temporary"), str(folder / "cache")
        self.main_window = MainWindow()

    def __getattr__(self, name: str) -> object:
        """What Slicer's application has from Qt's."""
        return getattr(self._application, name)

    def make_widget(self, class_name: str) -> object:
        """A widget of a class that PythonQt cannot make."""
        return self._loader.createWidget(class_name)

    def applicationLogic(self) -> slicer.vtkSlicerApplicationLogic:
        return self._logic

    def mrmlScene(self) -> slicer.vtkMRMLScene:
        return self._logic.GetMRMLScene()

    def moduleManager(self) -> ModuleManager:
        return self._module_manager

    def layoutManager(self) -> LayoutManager:
        return self._layout_manager

    def coreIOManager(self) -> IOManager:
        return self._io_manager

    def topLevelWidgets(self) -> list:
        return [self.main_window]

    def userSettings(self) -> object:
        return qt.QSettings()

    settings = userSettings

    def translate(self, context: str, text: str) -> str:
        return text

    def startupEnvironment(self) -> SimpleNamespace:
        return SimpleNamespace(keys=lambda: list(os.environ), value=lambda name: os.environ.get(name, ""))

    def testingEnabled(self) -> bool:
        return False

    def moduleDocumentationUrl(self, module: str) -> str:
        return f"{self.documentationBaseUrl}/user_guide/modules/{module.lower()}.html"

    def pauseRender(self) -> None:
        """Nothing is drawn."""

    def resumeRender(self) -> None:
        """Nothing is drawn."""

    def start_up(self) -> None:
        """All modules are loaded."""
        self.emit("startupCompleted()")

    def quit(self) -> None:
        """Tell everyone that Slicer ends."""
        self.emit("aboutToQuit()")

    def without_main_window(self) -> None:
        pytest.skip("there is a main window here")


def process_events_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Let Qt work until the condition holds; raises TimeoutError where it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"still waiting after {seconds} s")
        slicer.app.processEvents()
        time.sleep(0.002)
