"""Watches over nodes and scenes that may be deleted meanwhile, and that nobody keeps in memory for being watched."""

from __future__ import annotations

from collections.abc import Callable

import slicer
import vtk

from ..slicer_tools.slicer_later import rest_timer
from .slicer_scene_result import SceneResult

REST_MS = 300


class Watch:
    """Tells of events of a node, or of a scene.

    Slicer's own mixin would not do for a CT: it keeps what it observes, with its voxels, after it was deleted.

    Args:
        on_event: called at each of the events.
        events: of the node.
    """

    def __init__(self, on_event: Callable[[], None], *events: int) -> None:
        self._on_event = on_event
        self._events = events
        self._node = vtk.vtkWeakReference()
        self._tags: list[int] = []

    def follow(self, node: vtk.vtkObject | None) -> None:
        """Watches over this node, and no longer over the one before; None: over none."""
        before = self._node.Get()
        if node is before:
            return
        if before is not None:
            for tag in self._tags:
                before.RemoveObserver(tag)
        self._node.Set(node)
        self._tags = [node.AddObserver(event, self._tell) for event in self._events] if node is not None else []

    def _tell(self, caller: vtk.vtkObject, event: str) -> None:
        self._on_event()


class ResultWatch:
    """Tells that the CT of a result was changed or moved, or the result's segmentation moved, once they rest.

    A CT that plays a sequence changes many times a second, and to look at all of its voxels takes longer.

    Args:
        on_changed: called after the last of several changes.
    """

    def __init__(self, on_changed: Callable[[], None]) -> None:
        self._timer = rest_timer(on_changed, REST_MS)
        volume = slicer.vtkMRMLVolumeNode
        of_ct = (vtk.vtkCommand.ModifiedEvent, volume.ImageDataModifiedEvent, volume.TransformModifiedEvent)
        self._ct = Watch(self._on_change, *of_ct)
        self._segmentation = Watch(self._on_change, volume.TransformModifiedEvent)

    def follow(self, result: SceneResult | None) -> None:
        """Watches over this result; None: over none."""
        self._ct.follow(result.ct if result else None)
        self._segmentation.follow(result.node if result else None)
        if result is None:
            self._timer.stop()

    def _on_change(self) -> None:
        self._timer.start()
