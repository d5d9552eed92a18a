"""The nodes of a scene."""

from __future__ import annotations

import slicer


def nodes_of(scene: slicer.vtkMRMLScene, class_name: str) -> list[slicer.vtkMRMLNode]:
    """Those of a class, in the scene's order.

    slicer.util.getNodesByClass looks at Slicer's own scene, whichever it is given.
    """
    found = scene.GetNodesByClass(class_name)
    found.UnRegister(None)
    return [found.GetItemAsObject(index) for index in range(found.GetNumberOfItems())]
