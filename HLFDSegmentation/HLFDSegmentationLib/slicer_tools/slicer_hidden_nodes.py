"""Nodes that HLFD needs for drawing and that are none of the user's."""

from __future__ import annotations

import slicer


class HiddenNodes:
    """The nodes that something is drawn with: no list shows them, and they are not saved with the scene.

    The scene may lose some or all of them at any time, as when it is closed.

    Args:
        scene: gets the nodes.
    """

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self._scene = scene
        self._nodes: list[slicer.vtkMRMLNode] = []

    @property
    def whole(self) -> bool:
        """Whether the scene still has all of them."""
        return all(node.GetScene() is not None for node in self._nodes)

    def add(self, class_name: str, name: str) -> slicer.vtkMRMLNode:
        """Adds a new node."""
        node = self._scene.CreateNodeByClass(class_name)
        node.UnRegister(None)
        node.SetName(name)
        node.SetHideFromEditors(True)
        node.SetSaveWithScene(False)
        self._nodes.append(self._scene.AddNode(node))
        return self._nodes[-1]

    def of_class(self, class_name: str) -> list[slicer.vtkMRMLNode]:
        """Those of a class that the scene still has, in the order in which they were added."""
        return [node for node in self._nodes if node.IsA(class_name) and node.GetScene() is not None]

    def remove(self) -> None:
        """Removes all of them. To be called when nothing is drawn with them any more."""
        for node in reversed(self._nodes):
            if node.GetScene() is not None:
                self._scene.RemoveNode(node)
        self._nodes.clear()
