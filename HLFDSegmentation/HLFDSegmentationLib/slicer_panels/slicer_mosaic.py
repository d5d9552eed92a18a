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

from ..color_maps import AttentionColors
from ..errors import InputError
from ..slicer_scene.slicer_attention_maps import on_scale
from ..slicer_scene.slicer_plane import Plane, bending_of
from ..slicer_scene.slicer_scene_result import SceneResult, voxel_to_world

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
    Below a layer's name stands why nothing of it is colored.

    Args:
        result: with attention. What was deleted meanwhile is left out of the picture.
        segment: whose attention and outline.
        slice_node: says which slice, and which part of it.
        size: width and height of the whole picture in pixels.
        colors: as the slice views have them (`LayerView.colors`).
        opacity: of the map over the CT.
        pixel_ratio: how much larger than usual texts are, for a screen of high resolution.

    Raises:
        InputError: a transform that is no matrix bends the CT or the segmentation.
    """
    width, height = size
    picture = np.zeros((height, width, 3), np.uint8)
    layers = result.layers if result.exists else []
    if not layers:
        return picture
    result.lay_on_ct()
    if bending := bending_of(result):
        raise InputError(bending)
    rows = math.ceil(len(layers) / COLUMNS)
    tile_size = (width - GAP * (COLUMNS - 1)) // COLUMNS, (height - GAP * (rows - 1)) // rows
    plane = _tile_plane(slice_node, tile_size)
    outline = _outline(plane.sample_segment(result, segment))
    blend = _Blend(_gray(plane, result.ct), colors, opacity)
    for index, layer in enumerate(layers):
        map_node = result.map_node(segment, layer)
        values = _attention(plane, map_node, colors.signed) if map_node else None
        tile = blend.over(values)
        tile[outline] = OUTLINE_COLOR
        _write(tile, _caption(layer, values, colors), pixel_ratio)
        row, column = divmod(index, COLUMNS)
        top, left = row * (tile_size[1] + GAP), column * (tile_size[0] + GAP)
        picture[top : top + tile_size[1], left : left + tile_size[0]] = tile
    return picture


def _attention(plane: Plane, map_node: slicer.vtkMRMLScalarVolumeNode, signed: bool) -> np.ndarray:
    """The attention (rows, columns), on the scale of the slice views."""
    return on_scale(plane.sample(map_node.GetImageData(), voxel_to_world(map_node)), map_node, signed=signed)


def _caption(layer: str, values: np.ndarray | None, colors: AttentionColors) -> str:
    """The layer's name, and below it why nothing is colored: narrow enough for a tile in a narrow panel."""
    why = _why_blank(values, colors)
    return f"{layer}\n{why}" if why else layer


def _why_blank(values: np.ndarray | None, colors: AttentionColors) -> str:
    if values is None:
        return _("no map")
    if colors.visible(values).any():
        return ""
    if not values.any():
        return _("no map here")
    return _("< threshold") if colors.signed or values.max() > 0 else _("only negative")


class _Blend:
    """Blends attention over a gray picture (rows, columns), uint8, as a slice view blends its foreground."""

    def __init__(self, gray: np.ndarray, colors: AttentionColors, opacity: float) -> None:
        self._colors = colors
        self._share = np.rint(255 * opacity * colors.table[:, :3]).astype(np.uint8)
        self._gray = gray
        self._dimmed = ((1 - opacity) * gray).astype(np.uint8)

    def over(self, values: np.ndarray | None) -> np.ndarray:
        """RGB (rows, columns, 3), uint8, with attention values over it, or without where there are none."""
        if values is None:
            return np.repeat(self._gray[..., None], 3, axis=-1)
        gray = np.where(self._colors.visible(values), self._dimmed, self._gray)
        return self._share[self._colors.steps(values)] + gray[..., None]


def _tile_plane(slice_node: slicer.vtkMRMLSliceNode, size: tuple[int, int]) -> Plane:
    """The slice of a slice view, fitted into a tile."""
    width, height = slice_node.GetDimensions()[:2]
    scale = max(width / size[0], height / size[1])
    tile_to_xy, tile_to_world = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
    for axis, (pixels, view_pixels) in enumerate(zip(size, (width, height))):
        tile_to_xy.SetElement(axis, axis, scale)
        tile_to_xy.SetElement(axis, 3, (view_pixels - 1) / 2 - scale * (pixels - 1) / 2)
    vtk.vtkMatrix4x4.Multiply4x4(slice_node.GetXYToRAS(), tile_to_xy, tile_to_world)
    return Plane(tile_to_world, size)


def _gray(plane: Plane, ct: slicer.vtkMRMLScalarVolumeNode | None) -> np.ndarray:
    """The CT in its window (rows, columns), uint8; black where there is none."""
    display = ct.GetScalarVolumeDisplayNode() if ct is not None else None
    if ct is None or display is None or ct.GetImageData() is None:
        return plane.zeros()
    low, high = display.GetWindowLevelMin(), display.GetWindowLevelMax()
    values = plane.sample(ct.GetImageData(), voxel_to_world(ct), outside=low).astype(np.float32)
    return (255 * np.clip((values - low) / max(high - low, 1e-9), 0, 1)).astype(np.uint8)


def _outline(inside: np.ndarray) -> np.ndarray:
    """The pixels (rows, columns), bool, at the inner edge of a mask."""
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
