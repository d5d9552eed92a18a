"""What `slicer.modules` holds, and how Slicer loads a module file, shows its panel and unloads it."""

# ruff: noqa: N801, N802, N815 (Slicer's names)

import sys
from pathlib import Path
from types import SimpleNamespace

import slicer

from slicer_shell.ctk_widgets import kept
from slicer_shell.module_files import Module, import_module_file
from slicer_shell.pyside import QtWidgets
from slicer_shell.pythonqt import cpp_class
from slicer_shell.qmrml_widgets import qMRMLWidget
from slicer_shell.signals import SignalOwner


@cpp_class
class qSlicerScriptedLoadableModuleWidget(qMRMLWidget):
    """The `parent` of a panel."""

    isEntered = kept(bool, False)

    def __init__(self, module: "qSlicerScriptedLoadableModule", widget_class: type) -> None:
        super().__init__()
        self._module, self._widget_class = module, widget_class
        self.setObjectName(f"{module.name}ModuleWidget")
        QtWidgets.QVBoxLayout(self)
        self.setMRMLScene(slicer.mrmlScene)
        self._make()

    def self(self) -> object:
        """The panel's Python object."""
        return self._widget

    def module(self) -> "qSlicerScriptedLoadableModule":
        return self._module

    def reload(self) -> None:
        """Make the panel anew from the module file as it is now."""
        self._widget_class = getattr(sys.modules[self._module.name], f"{self._module.name}Widget")
        self._make()

    def enter(self) -> None:
        """The user opens the module."""
        self.isEntered = True
        self._call("enter")

    def exit(self) -> None:
        """The user opens another module."""
        self.isEntered = False
        self._call("exit")

    def _make(self) -> None:
        self._widget = self._widget_class(self)
        setattr(slicer.modules, f"{self._module.name}Widget", self._widget)
        self._widget.setup()

    def _call(self, name: str) -> None:
        if hasattr(self._widget, name):
            getattr(self._widget, name)()


class qSlicerScriptedLoadableModule:
    """A module file, loaded; the `parent` that its module class fills in."""

    # Slicer does not let a module make up attributes of this object.
    __slots__ = (
        "acknowledgementText",
        "associatedNodeTypes",
        "categories",
        "contributors",
        "dependencies",
        "helpText",
        "hidden",
        "icon",
        "index",
        "name",
        "panel",
        "path",
        "python_module",
        "self_",
        "title",
        "widgetRepresentationCreationEnabled",
    )

    def __init__(self, path: Path) -> None:
        self.path, self.name, self.title = str(path), path.stem, path.stem
        self.categories, self.contributors, self.dependencies = [], [], []
        self.helpText = self.acknowledgementText = ""
        self.hidden, self.widgetRepresentationCreationEnabled = False, True
        self.panel = None
        self.python_module = import_module_file(path)
        self.self_ = getattr(self.python_module, self.name)(self)

    def logic(self) -> None:
        """A scripted module's logic is no C++ object."""

    def widgetRepresentation(self) -> qSlicerScriptedLoadableModuleWidget:
        """The module's panel, made when it is first asked for."""
        if self.panel is None:
            self.panel = self.createNewWidgetRepresentation()
        return self.panel

    def createNewWidgetRepresentation(self) -> qSlicerScriptedLoadableModuleWidget:
        return qSlicerScriptedLoadableModuleWidget(self, getattr(self.python_module, f"{self.name}Widget"))


class ModuleManager(SignalOwner):
    """What `slicer.app.moduleManager()` gives."""

    SIGNALS = ("moduleAboutToBeUnloaded(QString)", "moduleLoaded(QString)")

    def __init__(self, modules: SimpleNamespace) -> None:
        super().__init__()
        self._modules = modules

    def add(self, module: Module | qSlicerScriptedLoadableModule) -> None:
        """Make a module known as `slicer.modules.<its name in lower case>`."""
        setattr(self._modules, module.name.lower(), module)
        self.emit("moduleLoaded(QString)", module.name)

    def unload(self, name: str) -> None:
        """Unload a scripted module, as Slicer does at its end: its panel cleans up and is deleted."""
        module = self.module(name)
        if module.panel is not None and module.panel.isEntered:
            module.panel.exit()
        self.emit("moduleAboutToBeUnloaded(QString)", name)
        if module.panel is not None:
            module.panel.delete()
            delattr(self._modules, f"{name}Widget")
        delattr(self._modules, name.lower())
        del sys.modules[name]

    def module(self, name: str) -> Module | qSlicerScriptedLoadableModule | None:
        return getattr(self._modules, name.lower(), None)

    def isLoaded(self, name: str) -> bool:
        return self.module(name) is not None

    def modulesNames(self) -> tuple[str, ...]:
        kinds = Module, qSlicerScriptedLoadableModule
        return tuple(module.name for module in vars(self._modules).values() if isinstance(module, kinds))


def load_module_file(path: Path) -> qSlicerScriptedLoadableModule:
    """Load a module file as Slicer does at its start, where the folder of the file is among its module paths."""
    module = qSlicerScriptedLoadableModule(path)
    slicer.app.moduleManager().add(module)
    return module
