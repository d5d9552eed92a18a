"""Attention maps as volume nodes, each at its layer's own grid, and the color node that they share."""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from ..child_process.raw_voxels import open_voxels
from ..child_process.worker_protocol import LayerMap
from ..color_maps import STEPS, AttentionColors
from ..grids import Grid
from ..measures import RasPoint
from .slicer_ct import RAS_FROM_LPS, voxel_to_lps
from .slicer_scene_result import LAYER_ATTRIBUTE, SceneResult

COLOR_NODE_TAG = "HLFDAttentionColors"


def add_map(
    scene: slicer.vtkMRMLScene,
    layer_map: LayerMap,
    segmentation_node: slicer.vtkMRMLSegmentationNode,
    ct_node: slicer.vtkMRMLScalarVolumeNode,
    segment: str,
) -> slicer.vtkMRMLScalarVolumeNode:
    """Brings a signed attention map into the scene, and into the result that the segmentation holds.

    Args:
        scene: gets a scalar volume with the map's own grid, under the CT's parent transform.
        layer_map: its raw float32 file is read once; it may be deleted then.
        segmentation_node: refers to the map from now on.
        ct_node: what was segmented.
        segment: name that the label's segment got.

    Raises:
        OSError, ValueError: the raw file cannot be read, or is too short.
    """
    image = vtk.vtkImageData()
    image.SetDimensions(*layer_map.image.grid.shape[::-1])
    values = np.ascontiguousarray(open_voxels(layer_map.image), np.float32)
    image.GetPointData().SetScalars(numpy_to_vtk(values.ravel(), deep=True))

    display = scene.AddNewNodeByClass("vtkMRMLScalarVolumeDisplayNode")
    # Before there is an image: guessing a window would cost a histogram of it.
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(*AttentionColors().range)

    node = slicer.vtkMRMLScalarVolumeNode()
    node.SetName(_("{layer} attention, {segment}").format(layer=layer_map.layer, segment=segment))
    node.SetHideFromEditors(True)
    node.SetIJKToRASMatrix(_voxel_to_ras(layer_map.image.grid))
    node.SetAndObserveImageData(image)
    node.SetAndObserveDisplayNodeID(display.GetID())
    node.SetAndObserveTransformNodeID(ct_node.GetTransformNodeID())
    node = scene.AddNode(node)
    SceneResult(segmentation_node).add_map(node, ct_node, segment, layer_map.layer)
    return node


def is_map(node: slicer.vtkMRMLNode | None) -> bool:
    """Whether a node is an attention map."""
    return node is not None and node.GetAttribute(LAYER_ATTRIBUTE) is not None


def values_of(map_node: slicer.vtkMRMLScalarVolumeNode) -> np.ndarray:
    """The signed attention (z, y, x) of a map, not copied; no slices where the map's image is gone."""
    image = map_node.GetImageData()
    if image is None or image.GetPointData().GetScalars() is None:
        return np.zeros((0, 1, 1), np.float32)
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])


def strongest(map_node: slicer.vtkMRMLScalarVolumeNode) -> float:
    """The strongest attention for the segment; 0 in an empty map, and below 1 where more speaks against than for it."""
    return float(values_of(map_node).max(initial=0.0))


def on_scale(values: np.ndarray, map_node: slicer.vtkMRMLScalarVolumeNode, *, signed: bool) -> np.ndarray:
    """Values of a map on the slice views' scale: shares of its strongest attention, or of that for the segment."""
    return values if signed else values / (strongest(map_node) or 1.0)


def is_empty(map_node: slicer.vtkMRMLScalarVolumeNode) -> bool:
    """Whether nothing in a map speaks for its segment."""
    return strongest(map_node) == 0


def place_of_most_attention(map_node: slicer.vtkMRMLScalarVolumeNode, *, signed: bool = False) -> RasPoint | None:
    """The strongest cell (RAS in the world, mm) of the slice that holds most attention; None in an empty map.

    Args:
        map_node: the map.
        signed: count attention against the segment as well.
    """
    values = values_of(map_node)
    attention = np.abs(values) if signed else np.maximum(values, 0)
    slices = attention.sum(axis=(1, 2), dtype=np.float64)
    if not slices.any():
        return None
    k = int(slices.argmax())
    j, i = np.unravel_index(attention[k].argmax(), attention.shape[1:])
    voxel_to_own = vtk.vtkMatrix4x4()
    map_node.GetIJKToRASMatrix(voxel_to_own)
    place = [0.0, 0.0, 0.0]
    map_node.TransformPointToWorld(voxel_to_own.MultiplyPoint((float(i), float(j), float(k), 1.0))[:3], place)
    right, anterior, superior = place
    return right, anterior, superior


def place_in_result(result: SceneResult, segment: str, layer: str, *, signed: bool = False) -> RasPoint | None:
    """`place_of_most_attention` of a layer for a segment, where the CT lies now; None also where the map is gone."""
    map_node = result.map_node(segment, layer) if result.exists else None
    if map_node is None:
        return None
    result.lay_on_ct()
    return place_of_most_attention(map_node, signed=signed)


def color_node(scene: slicer.vtkMRMLScene, colors: AttentionColors) -> slicer.vtkMRMLColorTableNode:
    """The color node that all shown maps share, with these colors. It is made where the scene has none."""
    node = scene.GetSingletonNode(COLOR_NODE_TAG, "vtkMRMLColorTableNode")
    if node is None:
        node = slicer.vtkMRMLColorTableNode()
        node.SetSingletonTag(COLOR_NODE_TAG)
        node.SetTypeToUser()
        node.SetName(_("HLFD attention colors"))
        node.SetHideFromEditors(True)
        node.SetNumberOfColors(STEPS)
        node = scene.AddNode(node)
    with slicer.util.NodeModify(node):
        node.GetLookupTable().SetRange(*colors.range)
        for index, color in enumerate(colors.table.tolist()):
            node.SetColor(index, str(index), *color)
    return node


def _voxel_to_ras(grid: Grid) -> vtk.vtkMatrix4x4:
    """From voxels (i, j, k) to RAS. Grids are in LPS, as SimpleITK has them."""
    return slicer.util.vtkMatrixFromArray(RAS_FROM_LPS @ voxel_to_lps(grid))
