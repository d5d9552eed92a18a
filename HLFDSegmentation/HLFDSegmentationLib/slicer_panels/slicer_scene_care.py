"""What is seen to in the scene as long as Slicer runs, whether or not the panel was ever opened."""

from __future__ import annotations

from itertools import chain

import slicer
import vtk

from ..slicer_scene.slicer_results import remove_nodes, with_display
from ..slicer_scene.slicer_scene_result import SceneResult
from .slicer_comparison import give_views_back, register_layout
from .slicer_focus_chart import give_charts_back


def look_after(scene: slicer.vtkMRMLScene) -> None:
    """Keeps scenes that are loaded, and results that are deleted, from leaving what a user cannot find.

    Slicer shows no view in a layout that it does not know; segments may have been saved as visible in such views alone,
    and plot views with a chart that is not saved; and attention maps are in no list of nodes.
    """
    register_layout(scene)
    scene.AddObserver(scene.EndImportEvent, lambda caller, event: give_views_back(scene))
    scene.AddObserver(scene.EndImportEvent, lambda caller, event: give_charts_back(scene))
    scene.AddObserver(scene.NodeAboutToBeRemovedEvent, _on_removed)


@vtk.calldata_type(vtk.VTK_OBJECT)
def _on_removed(scene: slicer.vtkMRMLScene, event: str, node: slicer.vtkMRMLNode) -> None:
    """The maps of a result go with it. A scene that is being closed takes everything away by itself."""
    result = SceneResult.of(node) if node.IsA("vtkMRMLSegmentationNode") else None
    if result and not scene.IsClosing():
        remove_nodes(chain.from_iterable(with_display(each) for each in result.maps))
