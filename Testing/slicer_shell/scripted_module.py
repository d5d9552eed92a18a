"""`slicer.ScriptedLoadableModule`: what the classes of a module file derive from."""

# ruff: noqa: N802, N803, N815 (Slicer's names)

import importlib
import logging
import unittest
from pathlib import Path
from types import ModuleType

import slicer


class ScriptedLoadableModule:
    """The module: what the module file says about itself."""

    def __init__(self, parent) -> None:
        import qt

        super().__init__()
        self.parent = parent
        self.moduleName = type(self).__name__
        for ending in ("svg", "png"):
            icon = Path(self.resourcePath(f"Icons/{self.moduleName}.{ending}"))
            if icon.is_file():
                parent.icon = qt.QIcon(str(icon))
                break
        slicer.selfTests[self.moduleName] = self.runTest

    def resourcePath(self, filename: str) -> str:
        return str(Path(self.parent.path).parent / "Resources" / filename)

    def runTest(self, msec: int = 100, **options: object) -> None:
        """Run the test class of the module file.

        Raises:
            AssertionError: it has none.
        """
        test_class = getattr(importlib.import_module(type(self).__module__), f"{self.moduleName}Test", None)
        if test_class is None:
            raise AssertionError(f"Test case class not found: {self.moduleName}Test")
        test = test_class()
        test.messageDelay = msec
        test.runTest(**options)


class ScriptedLoadableModuleWidget:
    """The panel of the module."""

    def __init__(self, parent=None) -> None:
        import qt

        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.developerMode = False
        self.parent = parent or slicer.qMRMLWidget()
        if not parent:
            self.parent.setLayout(qt.QVBoxLayout())
            self.parent.setMRMLScene(slicer.mrmlScene)
        self.layout = self.parent.layout()
        if not parent:
            self.setup()
            self.parent.show()
        slicer.app.moduleManager().connect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)

    def resourcePath(self, filename: str) -> str:
        return str(Path(slicer.util.modulePath(self.moduleName)).parent / "Resources" / filename)

    def setup(self) -> None:
        """Slicer puts its buttons for developers here; they are no part of the stand-in."""

    def cleanup(self) -> None:
        """For modules to override."""

    def onReload(self) -> None:
        slicer.util.reloadScriptedModule(self.moduleName)

    def _onModuleAboutToBeUnloaded(self, moduleName: str) -> None:
        if moduleName == self.moduleName:
            self.cleanup()
            slicer.app.moduleManager().disconnect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)


class ScriptedLoadableModuleLogic:
    """What the module does, without window."""

    def __init__(self, parent: object = None) -> None:
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Logic")
        self.isSingletonParameterNode = True

    def getParameterNode(self):
        """The parameter node of the module in the scene; made where there is none."""
        if self.isSingletonParameterNode:
            node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
        else:
            node = next(iter(self.getAllParameterNodes()), None)
        if node is None:
            return slicer.mrmlScene.AddNode(self.createParameterNode())
        # Closing the scene takes the attributes of a singleton away.
        if node.GetAttribute("ModuleName") != self.moduleName:
            node.SetAttribute("ModuleName", self.moduleName)
        return node

    def getAllParameterNodes(self) -> list:
        nodes = slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode")
        return [node for node in nodes if node.GetAttribute("ModuleName") == self.moduleName]

    def createParameterNode(self):
        node = slicer.vtkMRMLScriptedModuleNode()
        if self.isSingletonParameterNode:
            node.SetSingletonTag(self.moduleName)
        node.SetAttribute("ModuleName", self.moduleName)
        node.SetName(slicer.mrmlScene.GenerateUniqueName(self.moduleName))
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    """The tests that the module brings for Slicer itself."""

    messageDelay = 0

    def delayDisplay(self, message: str, requestedDelay: int | None = None, msec: int | None = None) -> None:
        """Slicer shows the message for a while."""
        logging.info(message)
        slicer.app.processEvents()

    def runTest(self) -> None:
        names = [name for name in dir(self) if "test" in name and callable(getattr(self, name))]
        for name in names:
            self.setUp()
            getattr(self, name)()
            self.tearDown()


def make_scripted_module_module() -> ModuleType:
    """The module to install as `slicer.ScriptedLoadableModule`."""
    module = ModuleType("slicer.ScriptedLoadableModule", "stand-in")
    classes = (
        ScriptedLoadableModule,
        ScriptedLoadableModuleWidget,
        ScriptedLoadableModuleLogic,
        ScriptedLoadableModuleTest,
    )
    for value in classes:
        setattr(module, value.__name__, value)
    module.__all__ = [value.__name__ for value in classes]
    return module
