"""References to nodes that may be deleted meanwhile."""

from __future__ import annotations

import slicer
import vtk


class WeakNode:
    """A node, for as long as it is in a scene; it is not kept alive.

    An ID would not do: after a scene is closed, the same IDs are given to other nodes.
    """

    def __init__(self, node: slicer.vtkMRMLNode | None) -> None:
        self._reference = vtk.vtkWeakReference()
        self._reference.Set(node)

    @property
    def node(self) -> slicer.vtkMRMLNode | None:
        """The node, or None once it is gone."""
        node = self._reference.Get()
        return node if node is not None and node.GetScene() is not None else None
