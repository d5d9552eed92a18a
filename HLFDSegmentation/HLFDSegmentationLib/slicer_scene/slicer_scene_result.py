"""What a run left in the scene: one object over a segmentation node and the nodes that it refers to.

Everything is kept by node references, node attributes and segment tags, so that a saved scene brings it back. Any of
the nodes may be deleted at any moment: what is gone is None, or missing from a list.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from ..measures import CSV_COLUMNS, RasPoint
from ..slicer_tools.slicer_nodes import nodes_of

CT_REFERENCE = "HLFD.ct"
TABLE_REFERENCE = "HLFD.table"
FOCUS_REFERENCE = "HLFD.focus"
READINGS_REFERENCE = "HLFD.readings"
MAP_REFERENCE = "HLFD.map"
PROBABILITY_REFERENCE = "HLFD.probability"

MODEL_ATTRIBUTE = "HLFD.Model"
RUNS_ATTRIBUTE = "HLFD.Runs"
LAYER_ATTRIBUTE = "HLFD.Layer"
WORLD_TO_VOXEL_ATTRIBUTE = "HLFD.WorldToVoxel"

SEGMENT = "HLFD.Segment"
"""Attribute of a map, and tag of a segment: the name that the segment got. It stays when a user renames the segment."""
LABEL_TAG = "HLFD.Label"
RUN_TAG = "HLFD.Run"
"""The `SceneRun.key` of the run that a segment is of; in older scenes the run's number, from 1."""

TO_CT_ATTRIBUTE = "HLFD.VoxelToCTVoxel"
"""Of a map: 16 numbers, from its voxels (i, j, k) to the CT's, so that it can follow a CT that is moved."""

FOCUS_COLUMNS = ("Segment", "Layer", "Focus", "FocusRatio", "OrganFocus", "OrganRatio", "Empty")
MEASURES_COLUMNS = (*CSV_COLUMNS, "note")
"""Those of the measures that `hlfd segment` writes, and a note. Centers are in the world, as Slicer's views show them;
slices count along the CT's k axis, also where only a part of the CT was segmented."""

LESION_NUMBERS = ("center_R_mm", "center_A_mm", "center_S_mm", "volume_mL", "longest_axial_diameter_mm")
LESION_COLUMNS = ("segment", "lesion", *LESION_NUMBERS[:3])

MOVED_MM = 1e-3
"""Less is rounding."""


@dataclass(frozen=True)
class SceneRun:
    """A run whose segments are in a segmentation.

    Attributes:
        model: the name of the model's package.
        weights: SHA-256 of the model's weights; empty in older scenes, as are `key`, `ct_fingerprint` and `segments`.
        key: tells the run from all others, also from those of other segmentations.
        ct_fingerprint: of the CT's voxels, see `voxels_fingerprint`.
        device: where it ran.
        cautions: sentences that a reader must not miss; empty in older scenes.
        notes: sentences about how the result came about.
        not_hu: why the CT does not look like HU; empty where it does.
        fingerprints: of the segments as the model made them, by label; see `fingerprints`.
        segments: the names that the segments got, by label.
        labels: the names of all labels of the model's task, found or not; empty in older scenes.
        told_to_voxel: 16 numbers, from a place that `cautions` and `notes` tell (RAS, mm) to the CT's voxels (i, j, k);
            empty in older scenes.
    """

    model: str
    device: str = ""
    notes: list[str] = field(default_factory=list)
    not_hu: str = ""
    fingerprints: dict[str, str] = field(default_factory=dict)
    segments: dict[str, str] = field(default_factory=dict)
    weights: str = ""
    key: str = ""
    ct_fingerprint: str = ""
    cautions: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    told_to_voxel: list[float] = field(default_factory=list)


class SceneResult:
    """The result that a segmentation node holds; two objects over the same node are equal.

    Attributes:
        node: the segmentation node.
    """

    def __init__(self, node: slicer.vtkMRMLSegmentationNode) -> None:
        self.node = node

    @classmethod
    def of(cls, node: slicer.vtkMRMLNode | None) -> SceneResult | None:
        """The result that a node holds; None for a node without one, and for None."""
        return cls(node) if node is not None and node.GetAttribute(MODEL_ATTRIBUTE) is not None else None

    @classmethod
    def all(cls, scene: slicer.vtkMRMLScene) -> list[SceneResult]:
        """Every result of a scene, in the order of the nodes."""
        return [result for node in nodes_of(scene, "vtkMRMLSegmentationNode") if (result := cls.of(node))]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SceneResult) and self.node is other.node

    def __hash__(self) -> int:
        return hash(id(self.node))

    @property
    def exists(self) -> bool:
        """Whether the segmentation is still in a scene."""
        return self.node.GetScene() is not None

    @property
    def name(self) -> str:
        """The segmentation node's name."""
        return self.node.GetName() or ""

    @property
    def model(self) -> str:
        """The name of the model's package; of the newest one, where several runs were added to one segmentation."""
        return self.node.GetAttribute(MODEL_ATTRIBUTE) or ""

    @property
    def runs(self) -> list[SceneRun]:
        """The runs that were added, the oldest first. Whether their segments are still there is not asked."""
        # What a later release of HLFD may add is left out: the cautions beside it must be read all the same.
        known = {each.name for each in fields(SceneRun)}
        try:
            runs = json.loads(self.node.GetAttribute(RUNS_ATTRIBUTE) or "[]")
            return [SceneRun(**{name: value for name, value in run.items() if name in known}) for run in runs]
        except (ValueError, TypeError, AttributeError):
            return []

    @property
    def newest_run(self) -> SceneRun:
        """The newest of `runs`; one of which nothing but the model is known where they are lost or cannot be read."""
        lost = _("What HLFD told of this result cannot be read; it may be most likely wrong. Segment the CT again.")
        return (self.runs or [SceneRun(self.model, cautions=[lost])])[-1]

    def add_run(self, run: SceneRun, ct: slicer.vtkMRMLScalarVolumeNode) -> None:
        """Makes the segmentation node the result of a run, once all that it found is in the scene.

        Args:
            run: what an earlier one left in the node stays.
            ct: the CT that was segmented.
        """
        self.node.SetAttribute(RUNS_ATTRIBUTE, json.dumps([asdict(each) for each in (*self.runs, run)]))
        self.node.SetAttribute(MODEL_ATTRIBUTE, run.model)
        self.ct = ct

    @property
    def ct(self) -> slicer.vtkMRMLScalarVolumeNode | None:
        """The CT that was segmented."""
        return self.node.GetNodeReference(CT_REFERENCE)

    @ct.setter
    def ct(self, node: slicer.vtkMRMLScalarVolumeNode) -> None:
        self._refer(CT_REFERENCE, node)

    @property
    def measures_tables(self) -> list[slicer.vtkMRMLTableNode]:
        """Volumes, lesions and diameters, a table a run, the oldest first.

        A row a segment, followed by one a lesion; columns `MEASURES_COLUMNS`.
        """
        return list(self._references(TABLE_REFERENCE))

    @property
    def measures_table(self) -> slicer.vtkMRMLTableNode | None:
        """The newest of `measures_tables`."""
        return (self.measures_tables or [None])[-1]

    def add_measures_table(self, node: slicer.vtkMRMLTableNode) -> None:
        """Keeps the measures of a run."""
        self._add(TABLE_REFERENCE, node)

    @property
    def focus_table(self) -> slicer.vtkMRMLTableNode | None:
        """A row for each segment and layer; columns `FOCUS_COLUMNS`. None without attention."""
        return self.node.GetNodeReference(FOCUS_REFERENCE)

    @focus_table.setter
    def focus_table(self, node: slicer.vtkMRMLTableNode) -> None:
        self._refer(FOCUS_REFERENCE, node)

    def focus_rows(self) -> dict[tuple[str, str], dict[str, str]]:
        """The rows of `focus_table` by segment and layer. Its columns can be deleted in the Tables module."""
        rows = rows_of(self.focus_table) if self.focus_table is not None else []
        return {(row["Segment"], row["Layer"]): row for row in rows if "Segment" in row and "Layer" in row}

    @property
    def readings_table(self) -> slicer.vtkMRMLTableNode | None:
        """The reader's verdicts. None before the first one."""
        return self.node.GetNodeReference(READINGS_REFERENCE)

    @readings_table.setter
    def readings_table(self, node: slicer.vtkMRMLTableNode) -> None:
        self._refer(READINGS_REFERENCE, node)

    @property
    def segments(self) -> list[str]:
        """The names that the found segments got, in the order of the segmentation. A deleted segment is left out."""
        return [tag(segment, SEGMENT) for _, segment in self._own_segments()]

    def segment_id(self, segment: str) -> str | None:
        """The ID of the segment that got this name; None where it is deleted."""
        return next((key for key, each in self._own_segments() if tag(each, SEGMENT) == segment), None)

    def mark_segment(self, segment_id: str, *, segment: str, label: str, run: str) -> None:
        """Says of a segment in the node that it is of the run that `add_run` will add next.

        Args:
            segment_id: its ID in the node.
            segment: the name that it got, unique in the node.
            label: the name of the task's label.
            run: the run's `key`.
        """
        added = self.node.GetSegmentation().GetSegment(segment_id)
        added.SetTag(SEGMENT, segment)
        added.SetTag(LABEL_TAG, label)
        added.SetTag(RUN_TAG, run)

    def segments_of_run(self, number: int) -> dict[str, str]:
        """For each label that a run found, the ID of its segment. A deleted segment is left out.

        Args:
            number: of the run in `runs`, from 1.
        """
        wanted = self._run_tags()[number - 1] if number else None
        found: dict[str, str] = {}
        for key, each in segments_by_id(self.node):
            if tag(each, RUN_TAG) == wanted:
                found.setdefault(tag(each, LABEL_TAG), key)  # The first one: a user may have copied it.
        return found

    def newest_segments(self) -> dict[str, str]:
        """`segments_of_run` of the newest run. What that one did not find is not taken from an earlier one."""
        return self.segments_of_run(len(self.runs))

    def deleted_segments(self) -> list[str]:
        """The labels of segments that the newest run found, and that were deleted since."""
        return [label for label in self.newest_run.fingerprints if label not in self.newest_segments()]

    def added_segments(self) -> list[str]:
        """The names of segments that no run made: a user painted, split or copied them. Not told without `runs`."""
        own = [key for key, _ in self._own_segments()]
        return [each.GetName() for key, each in segments_by_id(self.node) if key not in own] if self.runs else []

    def newest_like(self, segment: str, other: SceneResult | None = None) -> str | None:
        """The name of the newest run's segment of the same label as a segment's; None where it found none.

        Args:
            segment: the name of a segment.
            other: whose segment that is, where it is not of this result.
        """
        labels = {tag(each, SEGMENT): tag(each, LABEL_TAG) for _, each in (other or self)._own_segments()}
        key = self.newest_segments().get(labels.get(segment, ""))
        return tag(self.node.GetSegmentation().GetSegment(key), SEGMENT) if key else None

    def counterpart(self, segment: str, other: SceneResult) -> str:
        """`newest_like` of another result's segment; the name as it is where there is none, and in that result."""
        return segment if other == self else self.newest_like(segment, other) or segment

    def model_of(self, segment: str) -> str:
        """The name of the model that made a segment, also a deleted one; of the newest where that is not known."""
        tags = {tag(each, SEGMENT): tag(each, RUN_TAG) for _, each in self._own_segments()}
        for key, run in zip(reversed(self._run_tags()), reversed(self.runs)):
            if tags.get(segment) == key or segment in run.segments.values():
                return run.model
        return self.model

    def _own_segments(self) -> list[tuple[str, slicer.vtkSegment]]:
        """ID and segment of each that a run of this node made. Others may carry the tags of another segmentation."""
        runs = self._run_tags()
        own: dict[tuple[str, str], tuple[str, slicer.vtkSegment]] = {}
        for key, each in segments_by_id(self.node):
            run, label = tag(each, RUN_TAG), tag(each, LABEL_TAG)
            if run in runs:
                own.setdefault((run, label), (key, each))  # The first one: a user may have copied it.
        return list(own.values())

    def _run_tags(self) -> list[str]:
        """What the segments of each run have as `RUN_TAG`."""
        return [run.key or str(number) for number, run in enumerate(self.runs, start=1)]

    @property
    def maps(self) -> list[slicer.vtkMRMLScalarVolumeNode]:
        """The attention maps that are still there, voxels and all: a scene may have been copied without its files."""
        return [node for node in self._references(MAP_REFERENCE) if node.GetImageData() is not None]

    @property
    def maps_were_left_out(self) -> bool:
        """Whether the scene was saved without the files of its attention maps, as a .mrml file leaves them out."""
        return any(node.GetImageData() is None for node in self._references(MAP_REFERENCE))

    @property
    def probabilities(self) -> list[slicer.vtkMRMLScalarVolumeNode]:
        """The probability maps that were kept and are still there."""
        return list(self._references(PROBABILITY_REFERENCE))

    @property
    def layers(self) -> list[str]:
        """The layers with an attention map, in the network's order."""
        return list(dict.fromkeys(node.GetAttribute(LAYER_ATTRIBUTE) for node in self.maps))

    def map_node(self, segment: str, layer: str) -> slicer.vtkMRMLScalarVolumeNode | None:
        """The attention map of a layer for a segment."""
        wanted = (segment, layer)
        return next(
            (n for n in self.maps if (n.GetAttribute(SEGMENT), n.GetAttribute(LAYER_ATTRIBUTE)) == wanted), None
        )

    @property
    def segments_with_maps(self) -> list[str]:
        """Those of `segments` that have an attention map of any layer."""
        mapped = {node.GetAttribute(SEGMENT) for node in self.maps}
        return [segment for segment in self.segments if segment in mapped]

    def has_map(self, segment: str) -> bool:
        """Whether a segment is there with an attention map of any layer."""
        return segment in self.segments_with_maps

    def add_map(
        self, node: slicer.vtkMRMLScalarVolumeNode, ct: slicer.vtkMRMLScalarVolumeNode, segment: str, layer: str
    ) -> None:
        """Keeps an attention map that lies on a CT; maps are added in the network's order of layers."""
        node.SetAttribute(LAYER_ATTRIBUTE, layer)
        self._keep_on(ct, node, MAP_REFERENCE, segment)

    def add_probability(
        self, node: slicer.vtkMRMLScalarVolumeNode, ct: slicer.vtkMRMLScalarVolumeNode, segment: str
    ) -> None:
        """Keeps a probability map that lies on a CT."""
        self._keep_on(ct, node, PROBABILITY_REFERENCE, segment)

    @property
    def used_names(self) -> set[str]:
        """The names of segments, also deleted ones, that maps or tables are about: no other segment must get them."""
        maps = (*self._references(MAP_REFERENCE), *self._references(PROBABILITY_REFERENCE))
        tables = (*self.measures_tables, self.focus_table, self.readings_table)
        rows = [row for table in tables if table is not None for row in rows_of(table)]
        names = {node.GetAttribute(SEGMENT) for node in maps}
        return {name for name in names.union(row.get("segment") or row.get("Segment") for row in rows) if name}

    def lay_on_ct(self) -> None:
        """Moves the attention maps to where the CT lies now. A user moves the CT, and does not see the maps' nodes."""
        if self.ct is None:
            return
        voxel_to_own, to_ct = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
        self.ct.GetIJKToRASMatrix(voxel_to_own)
        for node in self.maps:
            if not (text := node.GetAttribute(TO_CT_ATTRIBUTE)):
                continue  # Of an older scene.
            to_ct.DeepCopy([float(number) for number in text.split()])
            moved, before = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
            vtk.vtkMatrix4x4.Multiply4x4(voxel_to_own, to_ct, moved)
            node.GetIJKToRASMatrix(before)
            now, then = map(slicer.util.arrayFromVTKMatrix, (moved, before))
            if not np.allclose(now, then, rtol=0, atol=MOVED_MM):
                node.SetIJKToRASMatrix(moved)
            if node.GetTransformNodeID() != self.ct.GetTransformNodeID():
                node.SetAndObserveTransformNodeID(self.ct.GetTransformNodeID())

    def _keep_on(
        self, ct: slicer.vtkMRMLScalarVolumeNode, node: slicer.vtkMRMLScalarVolumeNode, role: str, segment: str
    ) -> None:
        """Keeps a map of a segment, and where it lies on the CT."""
        node.SetAttribute(SEGMENT, segment)
        self._add(role, node)
        voxel_to_own, own_to_ct, to_ct = (vtk.vtkMatrix4x4() for _ in range(3))
        node.GetIJKToRASMatrix(voxel_to_own)
        ct.GetRASToIJKMatrix(own_to_ct)
        vtk.vtkMatrix4x4.Multiply4x4(own_to_ct, voxel_to_own, to_ct)
        numbers = slicer.util.arrayFromVTKMatrix(to_ct).ravel().tolist()
        node.SetAttribute(TO_CT_ATTRIBUTE, " ".join(map(repr, numbers)))

    def lesions(self, segment: str) -> list[tuple[int, RasPoint]]:
        """Number (from 1, the largest) and center (RAS in the world, mm) of each lesion of a segment.

        Where the CT has been moved or bent since, by a transform or by hardening one that is a matrix, the centers
        have moved with it.
        """
        return [lesion for table in self.measures_tables for lesion in self._lesions(table, segment)]

    def _lesions(self, table: slicer.vtkMRMLTableNode, segment: str) -> list[tuple[int, RasPoint]]:
        # Columns can be deleted in the Tables module.
        if any(table.GetColumnIndex(column) < 0 for column in LESION_COLUMNS):
            return []
        moved = self._movement_since(table)
        return [(int(row["lesion"]), moved(_center(row))) for row in lesion_rows(table, segment)]

    def _movement_since(self, table: slicer.vtkMRMLTableNode) -> Callable[[RasPoint], RasPoint]:
        """From points in the world when a table was written to where the CT's same voxels lie now."""
        ct, text = self.ct, table.GetAttribute(WORLD_TO_VOXEL_ATTRIBUTE)
        if ct is None or not text:
            return lambda place: place
        world_to_voxel = vtk.vtkMatrix4x4()
        world_to_voxel.DeepCopy([float(number) for number in text.split()])
        return lambda place: place_of_voxel(ct, world_to_voxel.MultiplyPoint((*place, 1.0))[:3])

    def _refer(self, role: str, node: slicer.vtkMRMLNode) -> None:
        self.node.SetNodeReferenceID(role, node.GetID())

    def _add(self, role: str, node: slicer.vtkMRMLNode) -> None:
        if not self.node.HasNodeReferenceID(role, node.GetID()):
            self.node.AddNodeReferenceID(role, node.GetID())

    def _references(self, role: str) -> Iterator[slicer.vtkMRMLNode]:
        for index in range(self.node.GetNumberOfNodeReferences(role)):
            node = self.node.GetNthNodeReference(role, index)
            if node is not None:
                yield node


def segments_by_id(node: slicer.vtkMRMLSegmentationNode) -> list[tuple[str, slicer.vtkSegment]]:
    """The ID and the segment of every segment of a node, in its order."""
    segmentation = node.GetSegmentation()
    return [(key, segmentation.GetSegment(key)) for key in segmentation.GetSegmentIDs()]


def tag(segment: slicer.vtkSegment, name: str) -> str:
    """The value of a segment's tag, "" where it has none."""
    value = vtk.reference("")
    return str(value) if segment.GetTag(name, value) else ""


def _center(lesion: Mapping[str, str]) -> RasPoint:
    """Where a row of the measures tells that a lesion lay."""
    return float(lesion["center_R_mm"]), float(lesion["center_A_mm"]), float(lesion["center_S_mm"])


def rows_of(table: slicer.vtkMRMLTableNode) -> list[dict[str, str]]:
    """The rows of a table node as texts, by column name."""
    names = [table.GetColumnName(column) for column in range(table.GetNumberOfColumns())]
    return [
        {name: table.GetCellText(row, column) for column, name in enumerate(names)}
        for row in range(table.GetNumberOfRows())
    ]


def text_column(name: str, texts: Iterable[str]) -> vtk.vtkStringArray:
    """A column of texts for the table of a table node."""
    column = vtk.vtkStringArray()
    column.SetName(name)
    for text in texts:
        column.InsertNextValue(text)
    return column


def lesion_rows(table: slicer.vtkMRMLTableNode, segment: str) -> list[dict[str, str]]:
    """The rows of a segment's lesions. Slicer's tables take what is pasted into them, locked or not: what is no number,
    or has none where a lesion has one, is left out."""
    rows = (row for row in rows_of(table) if row.get("segment") == segment and row.get("lesion", "").isdecimal())
    return [
        row for row in rows if all(math.isfinite(number_in(row[column])) for column in LESION_NUMBERS if column in row)
    ]


def number_in(text: str) -> float:
    """The number in a cell of a table, NaN where there is none: what users paste need be none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def is_linear(transform: slicer.vtkMRMLTransformNode | None) -> bool:
    """Whether a parent transform, with its own parents, is a matrix; so is none."""
    return transform is None or bool(transform.IsTransformToWorldLinear())


def place_of_voxel(volume: slicer.vtkMRMLVolumeNode, voxel: Sequence[float]) -> RasPoint:
    """Where a volume's voxel (i, j, k), whole or not, lies (RAS in the world, mm), also under what bends the volume."""
    voxel_to_own, place = vtk.vtkMatrix4x4(), [0.0, 0.0, 0.0]
    volume.GetIJKToRASMatrix(voxel_to_own)
    volume.TransformPointToWorld(voxel_to_own.MultiplyPoint((*voxel, 1.0))[:3], place)
    return place[0], place[1], place[2]


def own_to_world(node: slicer.vtkMRMLTransformableNode) -> vtk.vtkMatrix4x4:
    """The matrix of a node's linear parent transform, with that one's own parents; the identity where it has none."""
    matrix = vtk.vtkMatrix4x4()
    slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(node.GetParentTransformNode(), None, matrix)
    return matrix


def voxel_to_world(volume: slicer.vtkMRMLVolumeNode) -> vtk.vtkMatrix4x4:
    """The matrix from a volume's voxels (i, j, k) to RAS in the world, its linear parent transform included."""
    voxel_to_own, matrix = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(voxel_to_own)
    vtk.vtkMatrix4x4.Multiply4x4(own_to_world(volume), voxel_to_own, matrix)
    return matrix
