"""Nodes that HLFD needs for drawing and that are none of the user's."""

from __future__ import annotations

import slicer


def add_hidden_node(scene: slicer.vtkMRMLScene, class_name: str, name: str) -> slicer.vtkMRMLNode:
    """A new node that no list shows and that is not saved with the scene. Remove it when nothing draws it any more."""
    node = scene.CreateNodeByClass(class_name)
    node.UnRegister(None)
    node.SetName(name)
    node.SetHideFromEditors(True)
    node.SetSaveWithScene(False)
    return scene.AddNode(node)
