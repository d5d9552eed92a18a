"""What the panels of both modules share: they show the scene's parameters, whichever scene is closed or loaded."""

# ruff: noqa: N802, N803, N815, Slicer names methods and parameters in camelCase.

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
import vtk
from slicer.util import VTKObservationMixin

from .slicer_later import rest_timer


class SceneWidgetMixin(VTKObservationMixin):
    """Joins a module's panel to the module's parameter node in the scene.

    The widget's `setup` makes `ui` and `logic` and calls `observeScene`, its `cleanup` calls `leaveScene`,
    `onParametersModified` makes the panel follow the node, `showProblem` shows a sentence in it, and `isAtWork` tells
    whose choices an added scene leaves.
    """

    parent: Any
    ui: Any
    logic: Any
    _parameterNode: Any = None
    _parameterNodeGuiTag: Any = None

    def __init__(self) -> None:
        super().__init__()
        self._choices: dict[str, Any] = {}
        self._showing = 0
        # Node selectors know of imported nodes, and the module of its parameter node, only after the event.
        self.afterScene = rest_timer(self.onSceneReady)

    def observeScene(self) -> None:
        """Shows the scene's parameters and follows the scene from now on."""
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(scene, scene.StartImportEvent, self.onSceneStartImport)
        self.addObserver(scene, scene.EndImportEvent, self.onSceneEndImport)
        self.initializeParameterNode()

    def leaveScene(self) -> None:
        """Ends what `observeScene` began."""
        self.afterScene.stop()
        self.setParameterNode(None)
        self.removeObservers()

    def onSceneStartClose(self, caller: Any, event: str) -> None:
        """Called just before the scene is closed. What was told of it does not stay; what comes of it, does."""
        self.setParameterNode(None)
        self.showProblem("")

    def onSceneEndClose(self, caller: Any, event: str) -> None:
        """Called just after the scene is closed. A scene that takes its place comes before the timer."""
        self.afterScene.start()

    def onSceneStartImport(self, caller: Any, event: str) -> None:
        """Called when a scene is about to be loaded, or added to this one.

        Node selectors lose what is chosen at its end (Slicer issue 4570), which must not get into the parameters. A
        scene that is added brings its own choices into the one node that Slicer has for them; who is at work keeps his.
        """
        self.disconnectParameterNode()
        node = self._parameterNode
        self._choices = {name: node.getValue(name) for name in node.allParameters} if node and self.isAtWork() else {}

    def onSceneEndImport(self, caller: Any, event: str) -> None:
        """Called when a scene has been loaded."""
        if self._choices:
            node = self.logic.getParameterNode()
            for name, value in self._choices.items():
                node.setValue(name, value)
            self._choices = {}
        self.afterScene.start()

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
            self._showing = 1
            try:
                self._parameterNodeGuiTag = parameterNode.connectGui(self.ui)
            finally:
                self._showing = 0
            # The node itself: Slicer's mixin keeps what was ever observed, and a wrapper is made each time one enters.
            for observer, priority in self._observers():
                self.addObserver(parameterNode.parameterNode, vtk.vtkCommand.ModifiedEvent, observer, priority=priority)

    def disconnectParameterNode(self) -> None:
        """The panel shows the node and follows it no more."""
        if self._parameterNode and self._parameterNodeGuiTag is not None:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            for observer, _priority in self._observers():
                self.removeObserver(self._parameterNode.parameterNode, vtk.vtkCommand.ModifiedEvent, observer)
        self._parameterNodeGuiTag = None
        self._showing = 0

    @property
    def isShowingParameters(self) -> bool:
        """Whether Slicer makes the widgets follow the parameters: a node selector then tells of a choice of the user's
        (`nodeActivated`) that nobody made."""
        return self._showing > 0

    def _observers(self) -> tuple[tuple[Callable[..., None], float], ...]:
        """Those of the parameter node, with their priorities: one before and one after Slicer's, which has 0."""
        return (self._showingBegins, 1.0), (self.onParametersModified, 0.0), (self._showingEnds, -1.0)

    def _showingBegins(self, caller: Any, event: str) -> None:
        self._showing += 1

    def _showingEnds(self, caller: Any, event: str) -> None:
        # The first one after connecting within the event has no beginning.
        self._showing = max(0, self._showing - 1)

    def isAtWork(self) -> bool:
        """Whether the user has begun something with the choices that the panel shows."""
        raise NotImplementedError

    def onParametersModified(self, caller: Any = None, event: str | None = None) -> None:
        """Called when a parameter has changed."""
        raise NotImplementedError

    def showProblem(self, sentence: str) -> None:
        """Shows a sentence at the top of the panel; "" takes it away."""
        raise NotImplementedError
