"""How Slicer loads a module file, shows its panel and unloads it."""

# ruff: noqa: N802 (Slicer's names)

import sys
from collections.abc import Callable
from pathlib import Path

import qt
import slicer

from slicer_shell.module_files import Module, import_module_file
from slicer_shell.signals import SignalOwner


class ScriptedModule:
    """A module file, loaded; the `parent` that its module class fills in."""

    def __init__(self, path: Path) -> None:
        self.path, self.name, self.title = str(path), path.stem, path.stem
        self.categories, self.contributors, self.dependencies = [], [], []
        self.helpText = self.acknowledgementText = ""
        self.icon = self.panel = None
        self.python_module = import_module_file(path)
        self.self_ = getattr(self.python_module, self.name)(self)

    def widgetRepresentation(self) -> object:
        """The module's panel, made when it is first asked for."""
        if self.panel is None:
            self.panel = slicer.app.make_widget("qMRMLWidget")
            self.panel.setLayout(qt.QVBoxLayout())
            self.panel.setMRMLScene(slicer.mrmlScene)
            self.panel.setProperty("isEntered", False)
            widget = getattr(self.python_module, f"{self.name}Widget")(self.panel)
            setattr(slicer.modules, f"{self.name}Widget", widget)
            widget.setup()
        return self.panel

    def call(self, name: str) -> None:
        """Calls the panel's `enter` or `exit`."""
        self.panel.setProperty("isEntered", name == "enter")
        getattr(getattr(slicer.modules, f"{self.name}Widget"), name)()


class ModuleManager(qt.QObject):
    """What `slicer.app.moduleManager()` gives; timers have it as their parent."""

    class Signals(SignalOwner):
        SIGNALS = ("moduleAboutToBeUnloaded(QString)", "moduleLoaded(QString)")

    def __init__(self) -> None:
        qt.QObject.__init__(self)
        self.signals = self.Signals()

    def connect(self, signature: str, slot: Callable) -> bool:
        return self.signals.connect(signature, slot)

    def disconnect(self, signature: str, slot: Callable) -> bool:
        return self.signals.disconnect(signature, slot)

    def add(self, module: Module | ScriptedModule) -> None:
        """Make a module known as `slicer.modules.<its name in lower case>`."""
        setattr(slicer.modules, module.name.lower(), module)
        self.signals.emit("moduleLoaded(QString)", module.name)

    def unload(self, name: str) -> None:
        """Unload a scripted module, as Slicer does at its end: its panel cleans up and is deleted."""
        module = self.module(name)
        self.signals.emit("moduleAboutToBeUnloaded(QString)", name)
        if module.panel is not None:
            module.panel.deleteLater()
            delattr(slicer.modules, f"{name}Widget")
        delattr(slicer.modules, name.lower())
        del sys.modules[name]

    def module(self, name: str) -> Module | ScriptedModule | None:
        return getattr(slicer.modules, name.lower(), None)

    def isLoaded(self, name: str) -> bool:
        return self.module(name) is not None

    def modulesNames(self) -> tuple[str, ...]:
        return tuple(each.name for each in vars(slicer.modules).values() if isinstance(each, Module | ScriptedModule))


def load_module_file(path: Path) -> ScriptedModule:
    """Load a module file as Slicer does at its start."""
    module = ScriptedModule(path)
    slicer.app.moduleManager().add(module)
    return module
