"""A fresh scene for each test."""

import slicer

DEFAULT_SLICE_VIEWS = ("Red", "Yellow", "Green")


def clear_scene() -> None:
    """Close the scene as the user does, and forget also what that keeps: a fresh scene for the next test."""
    scene = slicer.mrmlScene
    scene.GetSubjectHierarchyNode().RemoveAllItems(False)
    scene.Clear(False)
    for class_name in ("vtkMRMLScriptedModuleNode", "vtkMRMLSliceNode", "vtkMRMLPlotViewNode", "vtkMRMLTableViewNode"):
        for node in slicer.util.getNodesByClass(class_name, scene):
            if node.GetName() not in DEFAULT_SLICE_VIEWS:
                scene.RemoveNode(node)
    slicer.app.layoutManager().reset()
    slicer.app.userSettings().clear()
    slicer.dicomDatabase.files.clear()
