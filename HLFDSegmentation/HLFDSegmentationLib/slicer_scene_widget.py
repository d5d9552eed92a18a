"""What the panels of both modules share: they show the scene's parameters, whichever scene is closed or loaded."""

# ruff: noqa: N802, N803, N815, Slicer names methods and parameters in camelCase.

from __future__ import annotations

from typing import Any

import qt
import slicer
import vtk
from slicer.util import VTKObservationMixin


class SceneWidgetMixin(VTKObservationMixin):
    """Joins a module's panel to the module's parameter node in the scene.

    The widget's `setup` makes `ui` and `logic` and calls `observeScene`, its `cleanup` calls `leaveScene`, and
    `onParametersModified` makes the panel follow the node.
    """

    parent: Any
    ui: Any
    logic: Any
    _parameterNode: Any = None
    _parameterNodeGuiTag: Any = None

    def __init__(self) -> None:
        super().__init__()
        # Node selectors know of imported nodes, and the module of its parameter node, only after the event.
        self.afterImport = qt.QTimer()
        self.afterImport.setSingleShot(True)
        self.afterImport.connect("timeout()", self.onSceneReady)

    def observeScene(self) -> None:
        """Shows the scene's parameters and follows the scene from now on."""
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(scene, scene.EndImportEvent, self.onSceneEndImport)
        self.initializeParameterNode()

    def leaveScene(self) -> None:
        """Ends what `observeScene` began."""
        self.afterImport.stop()
        self.setParameterNode(None)
        self.removeObservers()

    def onSceneStartClose(self, caller: Any, event: str) -> None:
        """Called just before the scene is closed."""
        self.setParameterNode(None)

    def onSceneEndClose(self, caller: Any, event: str) -> None:
        """Called just after the scene is closed."""
        self.onSceneReady()

    def onSceneEndImport(self, caller: Any, event: str) -> None:
        """Called when a scene has been loaded."""
        self.afterImport.start(0)

    def onSceneReady(self) -> None:
        """Shows the scene's parameters, unless another module is open."""
        if self.parent.isEntered:
            self.initializeParameterNode()

    def initializeParameterNode(self) -> None:
        """Takes the scene's parameter node; makes one where there is none."""
        self.setParameterNode(self.logic.getParameterNode())

    def setParameterNode(self, parameterNode: Any) -> None:
        """Shows a parameter node in the panel and follows its changes; None ends that."""
        self.disconnectParameterNode()
        self._parameterNode = parameterNode
        if parameterNode:
            self._parameterNodeGuiTag = parameterNode.connectGui(self.ui)
            # The node itself: Slicer's mixin keeps what was ever observed, and a wrapper is made each time one enters.
            self.addObserver(parameterNode.parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersModified)

    def disconnectParameterNode(self) -> None:
        """The panel shows the node and follows it no more."""
        if self._parameterNode and self._parameterNodeGuiTag is not None:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            node = self._parameterNode.parameterNode
            self.removeObserver(node, vtk.vtkCommand.ModifiedEvent, self.onParametersModified)
        self._parameterNodeGuiTag = None

    def onParametersModified(self, caller: Any = None, event: str | None = None) -> None:
        """Called when a parameter has changed."""
        raise NotImplementedError
