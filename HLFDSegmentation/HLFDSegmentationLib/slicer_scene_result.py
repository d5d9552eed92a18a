"""What a run left in the scene: one object over a segmentation node and the nodes that it refers to.

Everything is kept by node references, node attributes and segment tags, so that a saved scene brings it back. Any of
the nodes may be deleted at any moment: what is gone is None, or missing from a list.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field

import slicer
import vtk

from .measure_columns import CSV_COLUMNS

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
"""The number of the run that a segment is of, from 1."""

FOCUS_COLUMNS = ("Segment", "Layer", "Focus", "FocusRatio", "OrganFocus", "OrganRatio", "Empty")
MEASURES_COLUMNS = (*CSV_COLUMNS, "note")
"""Those of the measures that `hlfd segment` writes, and a note. Centers are in the world, as Slicer's views show them;
slices count along the CT's k axis, also where only a part of the CT was segmented."""

Point = tuple[float, float, float]


@dataclass(frozen=True)
class SceneRun:
    """A run whose segments are in a segmentation.

    Attributes:
        model: the name of the model's package.
        device: where it ran.
        notes: sentences about how the result came about.
        not_hu: why the CT does not look like HU; empty where it does.
        fingerprints: of the segments as the model made them, by label; see `fingerprints`.
    """

    model: str
    device: str = ""
    notes: list[str] = field(default_factory=list)
    not_hu: str = ""
    fingerprints: dict[str, str] = field(default_factory=dict)


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
        nodes = scene.GetNodesByClass("vtkMRMLSegmentationNode")
        nodes.UnRegister(None)
        found = (cls.of(nodes.GetItemAsObject(index)) for index in range(nodes.GetNumberOfItems()))
        return [result for result in found if result]

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
        try:
            return [SceneRun(**run) for run in json.loads(self.node.GetAttribute(RUNS_ATTRIBUTE) or "[]")]
        except (ValueError, TypeError):
            return []

    @property
    def newest_run(self) -> SceneRun:
        """The newest of `runs`; one of which nothing but the model is known where a user has changed the attribute."""
        return (self.runs or [SceneRun(self.model)])[-1]

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
        return [name for _, segment in segments_by_id(self.node) if (name := tag(segment, SEGMENT))]

    def segment_id(self, segment: str) -> str | None:
        """The ID of the segment that got this name; None where it is deleted."""
        return next((key for key, each in segments_by_id(self.node) if tag(each, SEGMENT) == segment), None)

    def mark_segment(self, segment_id: str, *, segment: str, label: str) -> None:
        """Says of a segment in the node that it is of the run that `add_run` will add next.

        Args:
            segment_id: its ID in the node.
            segment: the name that it got, unique in the node.
            label: the name of the task's label.
        """
        added = self.node.GetSegmentation().GetSegment(segment_id)
        added.SetTag(SEGMENT, segment)
        added.SetTag(LABEL_TAG, label)
        added.SetTag(RUN_TAG, str(len(self.runs) + 1))

    def segments_of_run(self, number: int) -> dict[str, str]:
        """For each label that a run found, the ID of its segment. A deleted segment is left out.

        Args:
            number: of the run in `runs`, from 1.
        """
        segments = segments_by_id(self.node)
        return {tag(each, LABEL_TAG): key for key, each in segments if tag(each, RUN_TAG) == str(number)}

    def newest_segments(self) -> dict[str, str]:
        """`segments_of_run` of the newest run. What that one did not find is not taken from an earlier one."""
        return self.segments_of_run(len(self.runs))

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

    def add_map(self, node: slicer.vtkMRMLScalarVolumeNode, segment: str, layer: str) -> None:
        """Keeps an attention map; maps are added in the network's order of layers."""
        node.SetAttribute(SEGMENT, segment)
        node.SetAttribute(LAYER_ATTRIBUTE, layer)
        self._add(MAP_REFERENCE, node)

    def add_probability(self, node: slicer.vtkMRMLScalarVolumeNode, segment: str) -> None:
        """Keeps a probability map."""
        node.SetAttribute(SEGMENT, segment)
        self._add(PROBABILITY_REFERENCE, node)

    def lesions(self, segment: str) -> list[tuple[int, Point]]:
        """Number (from 1, the largest) and center (RAS in the world, mm) of each lesion of a segment.

        Where the CT has been moved since, by a transform or by hardening one, the centers have moved with it.
        """
        return [lesion for table in self.measures_tables for lesion in self._lesions(table, segment)]

    def _lesions(self, table: slicer.vtkMRMLTableNode, segment: str) -> list[tuple[int, Point]]:
        if any(table.GetColumnIndex(column) < 0 for column in MEASURES_COLUMNS):
            return []
        moved = self._movement_since(table)
        return [
            (int(row["lesion"]), moved(tuple(float(row[f"center_{axis}_mm"]) for axis in "RAS")))
            for row in rows_of(table)
            if row["segment"] == segment and row["lesion"]
        ]

    def _movement_since(self, table: slicer.vtkMRMLTableNode) -> Callable[[Point], Point]:
        """From points in the world when a table was written to where the CT's same voxels lie now."""
        movement = vtk.vtkTransform()
        matrix = vtk.vtkMatrix4x4()
        text = table.GetAttribute(WORLD_TO_VOXEL_ATTRIBUTE)
        if self.ct is not None and text and is_linear(self.ct.GetParentTransformNode()):
            matrix.DeepCopy([float(number) for number in text.split()])
            movement.Concatenate(voxel_to_world(self.ct))
            movement.Concatenate(matrix)
        return movement.TransformPoint

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


def rows_of(table: slicer.vtkMRMLTableNode) -> list[dict[str, str]]:
    """The rows of a table node as texts, by column name."""
    names = [table.GetColumnName(column) for column in range(table.GetNumberOfColumns())]
    return [
        {name: table.GetCellText(row, column) for column, name in enumerate(names)}
        for row in range(table.GetNumberOfRows())
    ]


def is_linear(transform: slicer.vtkMRMLTransformNode | None) -> bool:
    """Whether a parent transform, with its own parents, is a matrix; so is none."""
    return transform is None or bool(transform.IsTransformToWorldLinear())


def voxel_to_world(volume: slicer.vtkMRMLVolumeNode) -> vtk.vtkMatrix4x4:
    """The matrix from a volume's voxels (i, j, k) to RAS in the world, its linear parent transform included."""
    voxel_to_own, own_to_world, matrix = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(voxel_to_own)
    if volume.GetParentTransformNode() is not None:
        volume.GetParentTransformNode().GetMatrixTransformToWorld(own_to_world)
    vtk.vtkMatrix4x4.Multiply4x4(own_to_world, voxel_to_own, matrix)
    return matrix
