"""What a slice view shows under and over a map, and showed before it: the user's own choice of volumes."""

from __future__ import annotations

from typing import Any

import slicer
import vtk

from ..slicer_scene.slicer_attention_maps import is_map
from ..slicer_tools.slicer_linked_views import is_own

BACKGROUND_BEFORE, FOREGROUND_BEFORE = "HLFD.BackgroundBefore", "HLFD.ForegroundBefore"
OPACITY_BEFORE, COMPOSITING_BEFORE = "HLFD.OpacityBefore", "HLFD.CompositingBefore"
"""References and attributes of a view with a map over the CT: what it showed before. They are kept in the node: the
scene may be saved, and loaded again, while a map is shown."""

CT_SHOWN, MAP_SHOWN = "HLFD.ShownCT", "HLFD.ShownMap"
"""References of such a view: what was put there."""

WINDOW_TOOL = "vtkMRMLScalarBarDisplayableManager"
"""What changes a volume's window in a slice view when the mouse is dragged, whatever its name says."""


def put_over(
    composite: slicer.vtkMRMLSliceCompositeNode,
    ct: slicer.vtkMRMLScalarVolumeNode,
    map_node: slicer.vtkMRMLScalarVolumeNode,
) -> None:
    """Shows a map over its CT in a view. The CT comes in the place of one that was looked at before."""
    if not _can_come_back(composite):
        _note(composite)
    before = composite.GetNodeReferenceID(BACKGROUND_BEFORE)
    if before is not None and before == composite.GetNodeReferenceID(CT_SHOWN):
        composite.SetNodeReferenceID(BACKGROUND_BEFORE, ct.GetID())
    composite.SetNodeReferenceID(CT_SHOWN, ct.GetID())
    composite.SetNodeReferenceID(MAP_SHOWN, map_node.GetID())
    set_background(composite, ct)
    composite.SetForegroundVolumeID(map_node.GetID())


def is_users(composite: slicer.vtkMRMLSliceCompositeNode) -> bool:
    """Whether the user chose something else for a view than was put there.

    Views of our own show what their labels say, and are none of the user's.
    """
    shown = composite.GetForegroundVolumeID(), composite.GetBackgroundVolumeID()
    put = composite.GetNodeReferenceID(MAP_SHOWN), composite.GetNodeReferenceID(CT_SHOWN)
    return _is_noted(composite) and shown != put and not is_own(composite)


def shows_map(composite: slicer.vtkMRMLSliceCompositeNode) -> bool:
    """Whether a map, of whichever layer, is the foreground of a view."""
    return is_map(composite.GetScene().GetNodeByID(composite.GetForegroundVolumeID() or ""))


def give_back(composite: slicer.vtkMRMLSliceCompositeNode) -> None:
    """Shows in a view what it showed before a map, unless the user chose something else in place of the map."""
    if not _can_come_back(composite):
        return
    background = composite.GetNodeReference(BACKGROUND_BEFORE)
    if composite.GetBackgroundVolumeID() == composite.GetNodeReferenceID(CT_SHOWN) and background is not None:
        set_background(composite, background)
    composite.SetForegroundVolumeID(composite.GetNodeReferenceID(FOREGROUND_BEFORE))
    composite.SetForegroundOpacity(float(composite.GetAttribute(OPACITY_BEFORE)))
    composite.SetCompositing(int(composite.GetAttribute(COMPOSITING_BEFORE)))


def forget(composite: slicer.vtkMRMLSliceCompositeNode) -> None:
    """Takes from a view's node what `put_over` noted in it."""
    for reference in (BACKGROUND_BEFORE, FOREGROUND_BEFORE, CT_SHOWN, MAP_SHOWN):
        composite.SetNodeReferenceID(reference, None)
    for attribute in (OPACITY_BEFORE, COMPOSITING_BEFORE):
        composite.SetAttribute(attribute, None)


def window_tool(composite: slicer.vtkMRMLSliceCompositeNode) -> Any:
    """What changes the window of a view's volumes when the mouse is dragged; None where the view has none."""
    slice_node = slicer.vtkMRMLSliceLogic.GetSliceNode(composite)
    return slicer.app.applicationLogic().GetViewDisplayableManagerByClassName(slice_node, WINDOW_TOOL)


def _note(composite: slicer.vtkMRMLSliceCompositeNode) -> None:
    """Notes in a view's node what it shows."""
    # Where a map is there already, as one that the user chose, nobody knows what it took the place of.
    is_unknown = shows_map(composite)
    composite.SetNodeReferenceID(BACKGROUND_BEFORE, composite.GetBackgroundVolumeID())
    composite.SetNodeReferenceID(FOREGROUND_BEFORE, None if is_unknown else composite.GetForegroundVolumeID())
    composite.SetNodeReferenceID(CT_SHOWN, None)
    composite.SetAttribute(OPACITY_BEFORE, str(0.0 if is_unknown else composite.GetForegroundOpacity()))
    composite.SetAttribute(COMPOSITING_BEFORE, str(composite.GetCompositing()))


def _can_come_back(composite: slicer.vtkMRMLSliceCompositeNode) -> bool:
    """Whether it is known what was before the map, also of a scene that was saved with it, and the map may go."""
    may_go = shows_map(composite) or not is_users(composite) or _is_empty_over_ct(composite)
    return _is_noted(composite) and may_go


def _is_empty_over_ct(composite: slicer.vtkMRMLSliceCompositeNode) -> bool:
    """Whether nothing lies over the CT that was put there, as where what the user chose was deleted."""
    is_ct = composite.GetBackgroundVolumeID() == composite.GetNodeReferenceID(CT_SHOWN)
    return is_ct and composite.GetForegroundVolumeID() is None


def _is_noted(composite: slicer.vtkMRMLSliceCompositeNode) -> bool:
    return composite.GetAttribute(OPACITY_BEFORE) is not None


def set_background(composite: slicer.vtkMRMLSliceCompositeNode, volume: slicer.vtkMRMLVolumeNode) -> None:
    """Shows a volume in a view, which goes there only where it would be black."""
    if composite.GetBackgroundVolumeID() == volume.GetID():
        return
    composite.SetBackgroundVolumeID(volume.GetID())
    slice_node = slicer.vtkMRMLSliceLogic.GetSliceNode(composite)
    if slice_node is not None and not _meets(slice_node, volume):
        _fit(slice_node, volume)


def _fit(slice_node: slicer.vtkMRMLSliceNode, volume: slicer.vtkMRMLVolumeNode) -> None:
    """Makes a slice view show all of a volume.

    Slicer's own way fits the foreground as well: where that lies far away, the middle of the view is between both.
    """
    logic = slicer.app.applicationLogic().GetSliceLogic(slice_node)
    if logic is not None:
        logic.FitSliceToVolume(volume, *slice_node.GetDimensions()[:2])


def _meets(slice_node: slicer.vtkMRMLSliceNode, volume: slicer.vtkMRMLVolumeNode) -> bool:
    """Whether any of a volume lies in a slice view, which may have been dragged aside."""
    ras_to_xy = vtk.vtkMatrix4x4()
    vtk.vtkMatrix4x4.Invert(slice_node.GetXYToRAS(), ras_to_xy)
    bounds = [0.0] * 6
    volume.GetSliceBounds(bounds, ras_to_xy)
    width, height = slice_node.GetDimensions()[:2]
    ends = zip(bounds[::2], bounds[1::2], (width, height, 0))
    return all(low <= end and high >= 0 for low, high, end in ends)
