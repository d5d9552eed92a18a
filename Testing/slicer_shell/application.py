"""What `slicer.app` is."""

# ruff: noqa: N802, N815 (Slicer's names)

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import slicer

from slicer_shell.io_manager import IOManager
from slicer_shell.layout import LayoutManager
from slicer_shell.main_window import qSlicerMainWindow
from slicer_shell.modules import ModuleManager
from slicer_shell.pyside import QtCore, QtWidgets
from slicer_shell.signals import SignalOwner


class Environment:
    """The environment that Slicer was started in, as QProcessEnvironment gives it."""

    def keys(self) -> list[str]:
        return list(os.environ)

    def value(self, name: str) -> str:
        return os.environ.get(name, "")


class Application(SignalOwner):
    """Slicer's application object: Qt's application and Slicer's real application logic behind one face."""

    SIGNALS = ("aboutToQuit()", "startupCompleted()", "mrmlSceneChanged(vtkMRMLScene*)", "lastWindowClosed()")
    applicationName = "Slicer"
    applicationVersion = "5.12.3"
    majorVersion, minorVersion = 5, 12
    documentationBaseUrl = "https://slicer.readthedocs.io/en/latest"
    doubleClickInterval = 0
    """In ms; a property of Qt's. A test clicks faster than any user, and means each click."""

    def __init__(
        self, application_logic: slicer.vtkSlicerApplicationLogic, modules: ModuleManager, folder: Path
    ) -> None:
        super().__init__()
        self._logic = application_logic
        self._module_manager = modules
        self._layout_manager = LayoutManager(application_logic)
        self._io_manager = IOManager(application_logic)
        self._has_main_window = True
        self._testing = False
        self.slicerHome = str(folder / "home")
        self.temporaryPath = str(folder / "temporary")
        self.cachePath = str(folder / "cache")
        self.slicerUserSettingsFilePath = str(folder / "Slicer.ini")
        self.main_window = qSlicerMainWindow()

    def __getattr__(self, name: str) -> object:
        """What Slicer's application has from Qt's: processEvents, setOverrideCursor, clipboard, palette and so on."""
        return getattr(QtWidgets.QApplication.instance(), name)

    def applicationLogic(self) -> slicer.vtkSlicerApplicationLogic:
        return self._logic

    def mrmlScene(self) -> slicer.vtkMRMLScene:
        return self._logic.GetMRMLScene()

    def coreIOManager(self) -> IOManager:
        return self._io_manager

    def ioManager(self) -> IOManager:
        return self._io_manager

    def moduleManager(self) -> ModuleManager:
        return self._module_manager

    def layoutManager(self) -> LayoutManager | None:
        """None where Slicer runs without a main window."""
        return self._layout_manager if self._has_main_window else None

    def topLevelWidgets(self) -> list[QtWidgets.QWidget]:
        others = [widget for widget in QtWidgets.QApplication.topLevelWidgets() if widget is not self.main_window]
        return [self.main_window, *others] if self._has_main_window else others

    def settings(self) -> QtCore.QSettings:
        return self.userSettings()

    def userSettings(self) -> QtCore.QSettings:
        return QtCore.QSettings()

    def testingEnabled(self) -> bool:
        return self._testing

    def startupEnvironment(self) -> Environment:
        return Environment()

    def moduleDocumentationUrl(self, module: str) -> str:
        return f"{self.documentationBaseUrl}/user_guide/modules/{module.lower()}.html"

    def pauseRender(self) -> None:
        """Views are drawn when a test asks for their picture."""

    def resumeRender(self) -> None:
        """Views are drawn when a test asks for their picture."""

    def start_up(self) -> None:
        """All modules are loaded: tell those that wait for it, as Slicer does once at its start."""
        self.emit("startupCompleted()")

    def quit(self) -> None:
        """Tell everyone that Slicer ends; the process of the tests goes on."""
        self.emit("aboutToQuit()")

    @contextmanager
    def without_main_window(self) -> Iterator[None]:
        """Slicer as started with --no-main-window."""
        self._has_main_window = False
        try:
            yield
        finally:
            self._has_main_window = True

    @contextmanager
    def in_testing_mode(self) -> Iterator[None]:
        """Slicer as started with --testing: message boxes are only logged."""
        self._testing = True
        try:
            yield
        finally:
            self._testing = False


def process_events_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Let Qt work until the condition holds.

    Raises:
        TimeoutError: it does not hold in time.
    """
    clock = QtCore.QElapsedTimer()
    clock.start()
    while not condition():
        if clock.elapsed() > 1000 * seconds:
            raise TimeoutError(f"still waiting after {seconds} s")
        QtWidgets.QApplication.processEvents(QtCore.QEventLoop.AllEvents, 20)
        # processEvents comes back at once when there is nothing to do; the child processes need the core.
        QtCore.QThread.msleep(2)
