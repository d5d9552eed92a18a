"""Which volumes the slice views show."""

from __future__ import annotations

import slicer

from .slicer_linked_views import composites_of


def shown_volumes(scene: slicer.vtkMRMLScene) -> list[slicer.vtkMRMLVolumeNode]:
    """The background volumes of the slice views that are on the screen, in the order of the views."""
    shown: list[slicer.vtkMRMLVolumeNode] = []
    for composite in composites_of(scene):
        view = slicer.vtkMRMLSliceLogic.GetSliceNode(composite)
        volume = scene.GetNodeByID(composite.GetBackgroundVolumeID() or "")
        if view is not None and view.IsViewVisibleInLayout() and volume is not None and volume not in shown:
            shown.append(volume)
    return shown
