"""All layers at once: a picture of the slice that a slice view shows, once under each layer's attention.

The layers' names are written into the picture (by VTK's text renderer, which needs no window), so that it can be shown,
copied and saved as it is.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util.numpy_support import vtk_to_numpy

from .color_maps import AttentionColors
from .slicer_attention_maps import is_empty, strongest
from .slicer_scene_result import SceneResult, voxel_to_world

COLUMNS = 3
GAP = 2
FONT_SIZE = 15
MARGIN = 4
TEXT_COLOR = (255, 255, 255)
GROUND = 0.4
OUTLINE_COLOR = (255, 255, 255)


def mosaic(
    result: SceneResult,
    segment: str,
    slice_node: slicer.vtkMRMLSliceNode,
    size: tuple[int, int],
    colors: AttentionColors,
    opacity: float = 0.6,
    pixel_ratio: float = 1.0,
) -> np.ndarray:
    """A picture (height, width, 3), uint8, of every layer's map over the slice, in the network's order, row by row.

    Like the slice view, it shows the CT in its window, the map interpolated over it, and the outline of the segment.

    Args:
        result: with attention. What was deleted meanwhile is left out of the picture.
        segment: whose attention and outline.
        slice_node: says which slice, and which part of it.
        size: width and height of the whole picture in pixels.
        colors: as the slice views have them (`LayerView.colors`).
        opacity: of the map over the CT.
        pixel_ratio: how much larger than usual texts are, for a screen of high resolution.
    """
    width, height = size
    picture = np.zeros((height, width, 3), np.uint8)
    layers = result.layers if result.exists else []
    if not layers:
        return picture
    result.lay_on_ct()
    rows = math.ceil(len(layers) / COLUMNS)
    tile_size = (width - GAP * (COLUMNS - 1)) // COLUMNS, (height - GAP * (rows - 1)) // rows
    view = _TileView(slice_node, tile_size)
    anatomy = _gray(view, result.ct)
    outline = _outline(view, result, segment)
    blend = _Blend(anatomy, colors, opacity)
    for index, layer in enumerate(layers):
        map_node = result.map_node(segment, layer)
        tile = blend.over(_attention(view, map_node, colors.signed) if map_node else None)
        tile[outline] = OUTLINE_COLOR
        _write(tile, _caption(layer, map_node, colors.signed), pixel_ratio)
        row, column = divmod(index, COLUMNS)
        top, left = row * (tile_size[1] + GAP), column * (tile_size[0] + GAP)
        picture[top : top + tile_size[1], left : left + tile_size[0]] = tile
    return picture


def _attention(view: _TileView, map_node: slicer.vtkMRMLScalarVolumeNode, signed: bool) -> np.ndarray:
    """The attention (rows, columns), on the scale of the slice views."""
    values = view.sample(map_node.GetImageData(), voxel_to_world(map_node))
    return values if signed else values / (strongest(map_node) or 1.0)


def _caption(layer: str, map_node: slicer.vtkMRMLScalarVolumeNode | None, signed: bool) -> str:
    if map_node is None:
        return _("{layer}: no map").format(layer=layer)
    if not signed and is_empty(map_node):
        return _("{layer}: no positive attention").format(layer=layer)
    return layer


class _Blend:
    """Blends attention over a gray picture (rows, columns), uint8, as a slice view blends its foreground."""

    def __init__(self, gray: np.ndarray, colors: AttentionColors, opacity: float) -> None:
        self._colors = colors
        self._share = np.rint(255 * opacity * colors.table[:, :3]).astype(np.uint8)
        self._visible = colors.table[:, 3] > 0
        self._gray = gray
        self._dimmed = ((1 - opacity) * gray).astype(np.uint8)

    def over(self, values: np.ndarray | None) -> np.ndarray:
        """RGB (rows, columns, 3), uint8, with attention values over it, or without where there are none."""
        if values is None:
            return np.repeat(self._gray[..., None], 3, axis=-1)
        step = self._colors.steps(values)
        gray = np.where(self._visible[step], self._dimmed, self._gray)
        return self._share[step] + gray[..., None]


class _TileView:
    """The slice of a slice view, fitted into a tile; rows of what it samples run from top to bottom."""

    def __init__(self, slice_node: slicer.vtkMRMLSliceNode, size: tuple[int, int]) -> None:
        self._size = size
        width, height = slice_node.GetDimensions()[:2]
        scale = max(width / size[0], height / size[1])
        tile_to_xy = vtk.vtkMatrix4x4()
        for axis, (pixels, view_pixels) in enumerate(zip(size, (width, height))):
            tile_to_xy.SetElement(axis, axis, scale)
            tile_to_xy.SetElement(axis, 3, (view_pixels - 1) / 2 - scale * (pixels - 1) / 2)
        self._tile_to_world = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Multiply4x4(slice_node.GetXYToRAS(), tile_to_xy, self._tile_to_world)

    def sample(
        self, image: vtk.vtkImageData, voxel_to_world: vtk.vtkMatrix4x4, outside: float = 0.0, nearest: bool = False
    ) -> np.ndarray:
        """The values (rows, columns) of an image whose voxels lie in the world as the matrix says."""
        tile_to_voxel = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(voxel_to_world, tile_to_voxel)
        vtk.vtkMatrix4x4.Multiply4x4(tile_to_voxel, self._tile_to_world, tile_to_voxel)
        transform = vtk.vtkTransform()
        transform.SetMatrix(tile_to_voxel)
        reslice = vtk.vtkImageReslice()
        reslice.SetInputData(image)
        reslice.SetResliceTransform(transform)
        reslice.SetOutputOrigin(0, 0, 0)
        reslice.SetOutputSpacing(1, 1, 1)
        reslice.SetOutputExtent(0, self._size[0] - 1, 0, self._size[1] - 1, 0, 0)
        reslice.SetInterpolationMode(vtk.VTK_RESLICE_NEAREST if nearest else vtk.VTK_RESLICE_LINEAR)
        reslice.SetBackgroundLevel(outside)
        reslice.Update()
        values = vtk_to_numpy(reslice.GetOutput().GetPointData().GetScalars())
        return values.reshape(self._size[1], self._size[0])[::-1]

    def zeros(self) -> np.ndarray:
        """As many zeros as `sample` gives values."""
        return np.zeros(self._size[::-1], np.uint8)


def _gray(view: _TileView, ct: slicer.vtkMRMLScalarVolumeNode | None) -> np.ndarray:
    """The CT in its window (rows, columns), uint8; black where there is none."""
    display = ct.GetScalarVolumeDisplayNode() if ct is not None else None
    if ct is None or display is None or ct.GetImageData() is None:
        return view.zeros()
    low, high = display.GetWindowLevelMin(), display.GetWindowLevelMax()
    values = view.sample(ct.GetImageData(), voxel_to_world(ct), outside=low).astype(np.float32)
    return (255 * np.clip((values - low) / max(high - low, 1e-9), 0, 1)).astype(np.uint8)


def _outline(view: _TileView, result: SceneResult, segment: str) -> np.ndarray:
    """The pixels (rows, columns), bool, at the inner edge of the segment."""
    segment_id = result.segment_id(segment)
    labelmap = result.node.GetBinaryLabelmapInternalRepresentation(segment_id) if segment_id else None
    if labelmap is None or labelmap.GetPointData().GetScalars() is None:
        return view.zeros() > 0
    to_own, to_world, matrix = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
    labelmap.GetImageToWorldMatrix(to_own)
    if result.node.GetParentTransformNode() is not None:
        result.node.GetParentTransformNode().GetMatrixTransformToWorld(to_world)
    vtk.vtkMatrix4x4.Multiply4x4(to_world, to_own, matrix)
    # A segment's labelmap covers only the part where something is segmented: its extent need not begin at 0.
    voxels = vtk.vtkImageData()
    voxels.ShallowCopy(labelmap)
    voxels.SetOrigin(0, 0, 0)
    voxels.SetSpacing(1, 1, 1)
    value = result.node.GetSegmentation().GetSegment(segment_id).GetLabelValue()
    inside = view.sample(voxels, matrix, nearest=True) == value
    padded = np.pad(inside, 1)
    core = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return inside & ~core


def _write(tile: np.ndarray, text: str, pixel_ratio: float) -> None:
    """Writes a text into the upper left corner of a tile (rows, columns, 3), on a darkened ground."""
    strength = _text_mask(text, pixel_ratio)
    place = tile[: strength.shape[0], : strength.shape[1]]
    strength = strength[: place.shape[0], : place.shape[1], None]
    place[:] = np.rint((1 - strength) * place * GROUND + strength * TEXT_COLOR)


@cache
def _text_mask(text: str, pixel_ratio: float) -> np.ndarray:
    """How much (0 to 1) a text covers each pixel (rows, columns), with a margin around it."""
    style = vtk.vtkTextProperty()
    style.SetFontFamilyToArial()
    style.SetFontSize(round(FONT_SIZE * pixel_ratio))
    style.SetColor(1, 1, 1)
    image = vtk.vtkImageData()
    dimensions = [0, 0]
    vtk.vtkTextRenderer.GetInstance().RenderString(style, text, image, dimensions, 72)
    columns, rows = image.GetDimensions()[:2]
    rgba = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(rows, columns, -1)
    # The image is larger than the text, which stands in its lower left corner.
    return np.pad(rgba[: dimensions[1], : dimensions[0], 3][::-1] / np.float32(255), round(MARGIN * pixel_ratio))
