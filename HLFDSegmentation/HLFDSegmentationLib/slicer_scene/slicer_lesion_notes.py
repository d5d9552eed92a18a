"""What a reader of one lesion must know about a layer's map in the slice of that lesion."""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from ..color_maps import AttentionColors
from ..measures import RasPoint
from .slicer_attention_maps import on_scale, values_of
from .slicer_plane import Plane, bending_of
from .slicer_scene_result import SceneResult, voxel_to_world


def notes_on_lesion(
    result: SceneResult, segment: str, layer: str, lesion: tuple[int, RasPoint], colors: AttentionColors | None
) -> list[str]:
    """Sentences, mostly none: whose map it is besides, and why nothing of it is colored.

    Args:
        result: of which anything may be deleted.
        segment: whose lesion it is.
        layer: whose map is read.
        lesion: its number and place, see `SceneResult.lesions`.
        colors: of the map, where one is shown.
    """
    map_node = result.map_node(segment, layer) if result.exists else None
    if map_node is None:
        return []
    result.lay_on_ct()
    if bending_of(result):
        return []  # Which slice the lesion is in is not known.
    number, place = lesion
    values, index = values_of(map_node), _slice_at(place, map_node)
    if not 0 <= index < len(values):
        return []
    notes = []
    if not _is_one_piece(_map_plane(map_node, index, result.ct).sample_segment(result, segment)):
        notes.append(
            _(
                "The slice of lesion {number} holds other pieces of {segment}, too. Its map is of all of them "
                "together, mostly of the largest."
            ).format(number=number, segment=segment)
        )
    if colors is not None:
        blank = _why_blank(on_scale(values[index], map_node, signed=colors.signed), colors)
        notes.append(blank.format(number=number, layer=layer))
    return [note for note in notes if note]


def _why_blank(values: np.ndarray, colors: AttentionColors) -> str:
    """A sentence, with places for {number} and {layer}, where nothing in a slice is colored; or ""."""
    if colors.visible(values).any():
        return ""
    if not values.any():
        return _(
            "There is no map in the slice of lesion {number}: what of it lies in this slice is smaller than the pixels "
            "that the network sees."
        )
    if not colors.signed and values.max() <= 0:
        return _("In the slice of lesion {number}, nothing in {layer} speaks for the segment. Look at its signed map.")
    return _(
        "Nothing of {layer} in the slice of lesion {number} is above the threshold. The score adds up pixels, so "
        "small lesions look weak: lower the threshold."
    )


def _slice_at(place: RasPoint, map_node: slicer.vtkMRMLScalarVolumeNode) -> int:
    world_to_voxel = vtk.vtkMatrix4x4()
    vtk.vtkMatrix4x4.Invert(voxel_to_world(map_node), world_to_voxel)
    return round(world_to_voxel.MultiplyPoint((*place, 1.0))[2])


def _map_plane(
    map_node: slicer.vtkMRMLScalarVolumeNode, index: int, ct: slicer.vtkMRMLScalarVolumeNode | None
) -> Plane:
    """A slice of a map, in pixels no larger than those of the CT."""
    cells = map_node.GetImageData().GetDimensions()[:2]
    image = ct.GetImageData() if ct is not None else None
    pixels = max(image.GetDimensions()[:2] if image is not None else cells)
    pixel_to_voxel, to_world = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
    for axis in (0, 1):
        size = cells[axis] / pixels
        pixel_to_voxel.SetElement(axis, axis, size)
        pixel_to_voxel.SetElement(axis, 3, (size - 1) / 2)
    pixel_to_voxel.SetElement(2, 3, index)
    vtk.vtkMatrix4x4.Multiply4x4(voxel_to_world(map_node), pixel_to_voxel, to_world)
    return Plane(to_world, (pixels, pixels))


def _is_one_piece(mask: np.ndarray) -> bool:
    """Whether the pixels of a mask (rows, columns), bool, hang together, by an edge or a corner; so do none."""
    import SimpleITK as sitk  # It takes long to load.

    pieces = sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)), True)
    return int(sitk.GetArrayViewFromImage(pieces).max(initial=0)) <= 1
