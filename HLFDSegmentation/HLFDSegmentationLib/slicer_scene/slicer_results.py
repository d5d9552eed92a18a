"""The results of the worker as nodes: segments with terminology, tables and probability maps, all lying on the CT.

What makes a node, or adds to one, does no more than that, so that a run can do one a step and take back what it did.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util.numpy_support import vtk_to_numpy

from ..child_process.raw_voxels import open_voxels
from ..child_process.worker_protocol import LayerMap, RawImage
from ..errors import InputError
from ..fingerprints import fingerprints
from ..measures import SegmentMeasures, lesion_row, segment_row
from ..output.segmentation_words import BINARY_LABELMAP, REFERENCE_GEOMETRY
from ..tasks import Label, Task
from .slicer_ct import Box, CtPart, Extent, voxel_matrix
from .slicer_measure_titles import give_titles
from .slicer_scene_result import (
    FOCUS_COLUMNS,
    MEASURES_COLUMNS,
    SEGMENT,
    WORLD_TO_VOXEL_ATTRIBUTE,
    SceneResult,
    is_linear,
    segments_by_id,
    tag,
    text_column,
)

FOCUS_TYPES = (*[vtk.vtkStringArray] * 2, *[vtk.vtkDoubleArray] * 4, vtk.vtkIntArray)
"""Those of the columns `FOCUS_COLUMNS`."""

# In voxels: Slicer keeps a grid as text of six digits.
SAME_STEP, SAME_PLACE = 1e-4, 0.05


def problem_with_output(node: slicer.vtkMRMLSegmentationNode, ct_node: slicer.vtkMRMLScalarVolumeNode) -> str | None:
    """A sentence why segments of a CT cannot be added to a segmentation; None where they can."""
    name = node.GetName()
    # Also where its last segment was removed: what is added would be turned into surfaces, and small lesions with it.
    if node.GetSegmentation().GetSourceRepresentationName() != BINARY_LABELMAP:
        return _(
            "The segments of '{name}' are kept as surfaces, to which voxels cannot be added. Choose another output "
            "segmentation."
        ).format(name=name)
    if not is_linear(node.GetParentTransformNode()):
        return _("'{name}' is under a transform that bends it. Choose another output segmentation.").format(name=name)
    earlier = SceneResult.of(node)
    if earlier and earlier.ct is None:
        sentence = _("The CT of the result in '{name}' is no longer in the scene. Choose another output segmentation.")
        return sentence.format(name=name)
    if earlier and earlier.ct is not ct_node:
        return _("'{name}' holds the result of another CT. Choose another output segmentation.").format(name=name)
    if node.GetSegmentation().GetNumberOfSegments() and _lies_elsewhere(node, ct_node):
        return _(
            "The segments of '{name}' do not lie on the voxels of '{ct}', as where they were drawn on another series, "
            "or one of the two was moved. Saving would put both on one grid, and small lesions could change or vanish. "
            "Choose another output segmentation."
        ).format(name=name, ct=ct_node.GetName())
    return None


def _grids(node: slicer.vtkMRMLSegmentationNode) -> list[slicer.vtkOrientedImageData]:
    """On what Slicer saves a segmentation: it puts all segments on one grid, also in the scene. [] where that is open.

    That is the grid that it refers to; without one, it is chosen among those of what was drawn.
    """
    if reference := node.GetSegmentation().GetConversionParameter(REFERENCE_GEOMETRY):
        image = slicer.vtkOrientedImageData()
        slicer.vtkSegmentationConverter.DeserializeImageGeometry(reference, image, False)
        return [image]
    images = [segment.GetRepresentation(BINARY_LABELMAP) for _key, segment in segments_by_id(node)]
    return [image for image in images if image is not None and not image.IsEmpty()]


def _lies_elsewhere(node: slicer.vtkMRMLSegmentationNode, ct_node: slicer.vtkMRMLScalarVolumeNode) -> bool:
    """Whether a segmentation is saved on other voxels than the CT's."""
    ct_to_own = _ct_to_own(node, ct_node) @ voxel_matrix(ct_node)
    return not all(_same_grid(image, ct_to_own) for image in _grids(node))


def _same_grid(image: slicer.vtkOrientedImageData, other_to_own: np.ndarray) -> bool:
    """Whether an image's voxels and others are the same ones, but for the number of each."""
    to_own = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(to_own)
    to_own = slicer.util.arrayFromVTKMatrix(to_own)
    if not np.linalg.det(to_own):  # It was stored without one.
        return False
    steps = np.linalg.inv(to_own) @ other_to_own
    moved = steps[:3, 3]
    return np.allclose(steps[:3, :3], np.eye(3), rtol=0, atol=SAME_STEP) and np.allclose(
        moved, moved.round(), rtol=0, atol=SAME_PLACE
    )


def box_of_labels(image: RawImage) -> Box | None:
    """The smallest box that holds every label; None where there are none. Reads the file: for a thread of its own."""
    labels = open_voxels(image)
    box: list[slice] = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        found = np.flatnonzero(labels[tuple(box)].any(axis=others))
        if not found.size:
            return None
        box.append(slice(int(found[0]), int(found[-1]) + 1))
    slices, rows, columns = box
    return slices, rows, columns


def fingerprints_of(image: RawImage, box: Box | None, part: CtPart, task: Task) -> dict[str, str]:
    """The `fingerprints` of labels that `box_of_labels` found in a raw image. For a thread of its own, too."""
    if box is None:
        return {}
    return fingerprints(open_voxels(image)[box], task, first=_first_voxel(part, box)[::-1])


def add_segmentation_node(
    ct_node: slicer.vtkMRMLScalarVolumeNode, part: CtPart, name: str
) -> slicer.vtkMRMLSegmentationNode:
    """A new, empty segmentation that lies on a CT: under its transform, beside it in the subject hierarchy."""
    node = add_node(ct_node, "vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    node.SetAndObserveTransformNodeID(ct_node.GetTransformNodeID())
    refer_to(node, ct_node, part)
    return node


def needs_grid(node: slicer.vtkMRMLSegmentationNode, ct_node: slicer.vtkMRMLScalarVolumeNode) -> bool:
    """Whether what is added to a segmentation could not be edited and saved as it is, for want of the CT's grid."""
    return not _grids(node) or (not node.GetSegmentation().GetNumberOfSegments() and _lies_elsewhere(node, ct_node))


def refer_to(
    node: slicer.vtkMRMLSegmentationNode, ct_node: slicer.vtkMRMLScalarVolumeNode, part: CtPart
) -> Callable[[], None]:
    """Makes the CT's grid the one that segments are edited and exported on; returns what takes that back.

    Slicer's own function would take the grid that the node has now, which need not be the one that was segmented.
    """
    role = node.GetReferenceImageGeometryReferenceRole()
    before = node.GetSegmentation().GetConversionParameter(REFERENCE_GEOMETRY), node.GetNodeReferenceID(role)
    matrix = slicer.util.vtkMatrixFromArray(voxel_to_own(node, ct_node, part))
    grid = slicer.vtkSegmentationConverter.SerializeImageGeometry(matrix, list(part.whole))
    _set_reference(node, grid, ct_node.GetID())
    return partial(_set_reference, node, *before)


def _set_reference(node: slicer.vtkMRMLSegmentationNode, grid: str, volume_id: str | None) -> None:
    node.GetSegmentation().SetConversionParameter(REFERENCE_GEOMETRY, grid)
    node.SetNodeReferenceID(node.GetReferenceImageGeometryReferenceRole(), volume_id)


def segment_names(node: slicer.vtkMRMLSegmentationNode, task: Task) -> dict[str, str]:
    """For each label of a task the name of its segment: the label's own, with a number where it is taken."""
    taken = {name for _, each in segments_by_id(node) for name in (each.GetName(), tag(each, SEGMENT))}
    taken |= SceneResult(node).used_names
    return {label.name: _unique(label.name, taken) for label in task.labels}


def add_segments(
    node: slicer.vtkMRMLSegmentationNode,
    ct_node: slicer.vtkMRMLScalarVolumeNode,
    part: CtPart,
    image: RawImage,
    box: Box,
    labels: Mapping[str, Label],
) -> list[str]:
    """Adds segments, voxel for voxel, without touching those that are there.

    They share one labelmap, cut to their box, as those share one that Slicer imports from a label volume. That
    nothing is searched for in the voxels makes it fast.

    Args:
        node: gets the segments.
        ct_node: their CT.
        part: what was segmented of it.
        image: the label values, on the part's grid.
        box: what `box_of_labels` gave.
        labels: the labels that were found, by the names of the segments to be, in their order.

    Returns:
        The IDs of the segments.
    """
    shared = _labelmap(open_voxels(image)[box], _first_voxel(part, box), voxel_to_own(node, ct_node, part))
    added = []
    segmentation = node.GetSegmentation()
    with slicer.util.NodeModify(node):
        for name, label in labels.items():
            segment = slicer.vtkSegment()
            segment.SetName(name)
            segment.SetColor(*(channel / 255 for channel in label.color))
            segment.SetTerminology(label.terminology)
            segment.SetLabelValue(label.value)
            segment.AddRepresentation(BINARY_LABELMAP, shared)
            key = segmentation.GenerateUniqueSegmentID(name)
            segmentation.AddSegment(segment, key)
            added.append(key)
    return added


def add_measures_table(
    result: SceneResult,
    ct_node: slicer.vtkMRMLScalarVolumeNode,
    part: CtPart,
    names: Mapping[str, str],
    measures: Iterable[SegmentMeasures],
    note: str,
) -> slicer.vtkMRMLTableNode:
    """A new table of volumes, lesions and diameters; columns `MEASURES_COLUMNS`, empty cells where there is nothing.

    Args:
        result: gets the table.
        ct_node: the CT.
        part: what was segmented of it.
        names: of the segments, by label.
        measures: `SegmentResult.measures`.
        note: what a reader of any row must not miss; may be empty.
    """
    rows = []
    for measured in measures:
        segment = names[measured.label]
        rows.append({**segment_row(segment, measured), "note": note})
        for lesion in measured.lesions:
            center, slice_index = part.to_world(lesion.center_mm), lesion.slice_index + part.extent[4]
            rows.append(lesion_row(segment, lesion, center, slice_index))
    node = add_node(ct_node, "vtkMRMLTableNode", _("{name} measures").format(name=result.name))
    node.SetAttribute(
        WORLD_TO_VOXEL_ATTRIBUTE, " ".join(repr(x) for x in np.linalg.inv(part.voxel_to_world).ravel().tolist())
    )
    table = vtk.vtkTable()
    for column in MEASURES_COLUMNS:
        table.AddColumn(text_column(column, [row.get(column, "") for row in rows]))
    node.SetAndObserveTable(table)
    _show_as_measured(node)
    give_titles(node)
    result.add_measures_table(node)
    return node


def add_focus_table(result: SceneResult, ct_node: slicer.vtkMRMLScalarVolumeNode) -> slicer.vtkMRMLTableNode:
    """A new, empty table of focus by layer; columns `FOCUS_COLUMNS`."""
    node = add_node(ct_node, "vtkMRMLTableNode", _("{name} focus").format(name=result.name))
    table = vtk.vtkTable()
    for name, kind in zip(FOCUS_COLUMNS, FOCUS_TYPES):
        column = kind()
        column.SetName(name)
        table.AddColumn(column)
    node.SetAndObserveTable(table)
    _show_as_measured(node)
    result.focus_table = node
    return node


def add_focus(table_node: slicer.vtkMRMLTableNode, names: Mapping[str, str], maps: Sequence[LayerMap]) -> None:
    """Adds a row for each map to a table of focus; NaN where the focus is not defined.

    Args:
        table_node: what `add_focus_table` gave.
        names: of the segments, by label.
        maps: `SegmentResult.maps`.
    """
    table = table_node.GetTable()
    for one in maps:
        focus = (one.focus_segment, one.segment_ratio, one.focus_organ, one.organ_ratio)
        values = (names[one.label], one.layer, *(math.nan if x is None else x for x in focus), int(one.empty))
        row = table.InsertNextBlankRow()
        for column, value in zip(FOCUS_COLUMNS, values):
            table.SetValueByName(row, column, vtk.vtkVariant(value))
    table.Modified()


def cut_rows(table_node: slicer.vtkMRMLTableNode, count: int) -> None:
    """Leaves the first rows of a table alone, as many as are told."""
    table_node.GetTable().SetNumberOfRows(count)
    table_node.GetTable().Modified()


def new_voxels(extent: Extent) -> vtk.vtkImageData:
    """An image as large as an extent, to be filled by `fill_voxels`."""
    voxels = vtk.vtkImageData()
    voxels.SetDimensions(*(last - first + 1 for first, last in zip(extent[::2], extent[1::2])))
    voxels.AllocateScalars(vtk.VTK_FLOAT, 1)
    return voxels


def fill_voxels(voxels: vtk.vtkImageData, image: RawImage, box: Box) -> None:
    """Reads a box of a raw image; for a thread of its own, before the voxels are in a scene."""
    view = vtk_to_numpy(voxels.GetPointData().GetScalars())
    for plane, read in zip(view.reshape(voxels.GetDimensions()[::-1]), open_voxels(image)[box]):
        plane[...] = read


def add_probability_node(
    result: SceneResult,
    ct_node: slicer.vtkMRMLScalarVolumeNode,
    part: CtPart,
    voxels: vtk.vtkImageData,
    segment: str,
) -> slicer.vtkMRMLScalarVolumeNode:
    """A new volume with the probability of a segment, 0 to 1, on the region of the CT that was segmented."""
    name = _("{name} {segment} probability").format(name=result.name, segment=segment)
    node = add_node(ct_node, "vtkMRMLScalarVolumeNode", name)
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    # First, so that no histogram is made of the voxels.
    display.SetAutoWindowLevel(False)
    display.SetWindowLevelMinMax(0.0, 1.0)
    display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeGrey")
    to_first = np.eye(4)
    to_first[:3, 3] = part.region[::2]
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(part.voxel_to_own @ to_first))
    node.SetAndObserveTransformNodeID(ct_node.GetTransformNodeID())
    node.SetAndObserveImageData(voxels)
    result.add_probability(node, ct_node, segment)
    return node


def show_3d(node: slicer.vtkMRMLSegmentationNode, shown: bool) -> None:
    """Shows a segmentation's surfaces in the 3D views, which are made when they are first shown, or hides them."""
    if shown:
        node.CreateClosedSurfaceRepresentation()
    for index in range(node.GetNumberOfDisplayNodes()):
        node.GetNthDisplayNode(index).SetVisibility3D(shown)


def show_alone(result: SceneResult) -> None:
    """Shows a result's segments, and hides those of all others, but for what single views alone show.

    Filled segments of two results over each other cannot be told apart, be they of one CT or of an earlier one.
    """
    for each in SceneResult.all(result.node.GetScene()):
        for index in range(each.node.GetNumberOfDisplayNodes()):
            display = each.node.GetNthDisplayNode(index)
            if each == result or not display.GetViewNodeIDs():
                display.SetVisibility(each == result)


def add_node(beside: slicer.vtkMRMLNode, class_name: str, name: str) -> slicer.vtkMRMLNode:
    """A new node with a name of its own, in the study (or folder) of another node in the subject hierarchy."""
    scene = beside.GetScene()
    node = scene.AddNewNodeByClass(class_name, scene.GenerateUniqueName(name))
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    place, item = (hierarchy.GetItemByDataNode(each) for each in (beside, node)) if hierarchy else (0, 0)
    if place and item:
        hierarchy.SetItemParent(item, hierarchy.GetItemParent(place))
    return node


def with_display(node: slicer.vtkMRMLDisplayableNode) -> list[slicer.vtkMRMLNode]:
    """A node and its display nodes. They stay in the scene when a user deletes the node itself."""
    return [node, *(node.GetNthDisplayNode(index) for index in range(node.GetNumberOfDisplayNodes()))]


def remove_nodes(nodes: Iterable[slicer.vtkMRMLNode]) -> None:
    """Removes nodes from the scene. Those that are gone already do not matter."""
    for node in nodes:
        if node is not None and node.GetScene() is not None:
            node.GetScene().RemoveNode(node)


def _unique(name: str, taken: set[str]) -> str:
    number = 1
    unique = name
    while unique in taken:
        number += 1
        unique = f"{name} {number}"
    return unique


def _first_voxel(part: CtPart, box: Box) -> list[int]:
    """The first voxel (i, j, k) of a box, counted in the CT's voxels."""
    return [first + along.start for first, along in zip(part.extent[::2], reversed(box))]


def voxel_to_own(
    node: slicer.vtkMRMLSegmentationNode, ct_node: slicer.vtkMRMLScalarVolumeNode, part: CtPart
) -> np.ndarray:
    """From the CT's voxels to a segmentation's own coordinates.

    Raises InputError where a bending transform, chosen while the run went on, stands between them.
    """
    return _ct_to_own(node, ct_node) @ part.voxel_to_own


def _ct_to_own(node: slicer.vtkMRMLSegmentationNode, ct_node: slicer.vtkMRMLScalarVolumeNode) -> np.ndarray:
    """From the CT's own coordinates to a segmentation's. Raises InputError, see `voxel_to_own`."""
    parents = node.GetParentTransformNode(), ct_node.GetParentTransformNode()
    if parents[0] is parents[1]:
        return np.eye(4)
    if not all(map(is_linear, parents)):
        raise InputError(
            _("'{name}' was put under a transform that bends it. Take it out, then segment again.").format(
                name=ct_node.GetName()
            )
        )
    between = vtk.vtkMatrix4x4()
    slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(parents[1], parents[0], between)
    return slicer.util.arrayFromVTKMatrix(between)


def _labelmap(labels: np.ndarray, first: Sequence[int], to_own: np.ndarray) -> slicer.vtkOrientedImageData:
    image = slicer.vtkOrientedImageData()
    extent = [end for start, size in zip(first, labels.shape[::-1]) for end in (start, start + size - 1)]
    image.SetExtent(*extent)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    vtk_to_numpy(image.GetPointData().GetScalars()).reshape(labels.shape)[...] = labels
    image.SetImageToWorldMatrix(slicer.util.vtkMatrixFromArray(to_own))
    return image


def _show_as_measured(node: slicer.vtkMRMLTableNode) -> None:
    """Table views show the columns' titles, or their names, as headings; and no cell can be typed over."""
    node.SetUseColumnTitleAsColumnHeader(True)
    node.SetLocked(True)
