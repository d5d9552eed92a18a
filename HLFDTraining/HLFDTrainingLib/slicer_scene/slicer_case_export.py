"""Cases of a scene as files: each CT with the labels drawn on it, on the CT's own grid. No node is made or changed."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event

import numpy as np
import slicer
import vtk
from HLFDSegmentationLib.errors import CasesError, HLFDError
from HLFDSegmentationLib.output.private_folder import remove_tree
from HLFDSegmentationLib.output.segmentation_words import BINARY_LABELMAP, REFERENCE_GEOMETRY
from HLFDSegmentationLib.slicer_scene.slicer_ct import Extent, part_of, voxel_to_lps
from HLFDSegmentationLib.tasks import Task
from slicer.i18n import tr as _
from vtk.util.numpy_support import vtk_to_numpy

from ..annotations.layouts import LabelNames
from ..annotations.nrrd_files import write_nrrd
from ..cases import CASES_FILE, Case, write_cases_json
from ..scene.patient_aliases import with_aliases
from ..scene.scene_cases import CaseRow
from ..split import PARTS, Split
from .slicer_cases import Nodes, gone, unbent

SLICES_A_STEP = 8

WAIT_SECONDS = 0.02

DATA_FOLDER = "data"
CT_FILE = "ct.nrrd"
LABEL_FILE = "label.nrrd"


def export_cases(
    rows: Sequence[CaseRow], files: Mapping[str, Case], nodes: Nodes, task: Task, folder: Path, seed: int = 0
) -> Generator[float, None, tuple[Path, Split]]:
    """Writes the cases into a folder: `cases.json`, and in `data` the CTs and labels that are not files yet.

    Every `yield` ends a short step, and tells the share that is done. Voxels are read when a case's turn comes. When
    something fails, or the generator is closed before its end, the folder is left as it was.

    Args:
        rows: of the table, with their parts.
        files: the cases that are files already, by the key of their image; these files stay where they are.
        nodes: those that the other rows speak of.
        task: what is learned from them.
        folder: made where it is missing; must hold no cases.
        seed: that the rows were split with.

    Returns:
        The cases.json, and the split.

    Raises:
        CasesError: a case cannot be exported, or the folder holds cases.
        OutputError: a file cannot be written.
    """
    data, cases_file = folder / DATA_FOLDER, folder / CASES_FILE
    if data.exists() or cases_file.exists():
        raise CasesError(_("{folder} holds cases already. Choose another folder.").format(folder=folder))
    with ExitStack() as undo:
        undo.callback(remove_tree, data)
        cases = []
        for number, row in enumerate(with_aliases(rows)):
            if row.image and row.image.id in files:
                cases.append(replace(files[row.image.id], name=row.name, patient=row.patient))
            else:
                case_folder = data / f"case_{number + 1:03d}"
                for share in _export_case(row, nodes, task, case_folder):
                    yield (number + share) / len(rows)
                ct, label = case_folder / CT_FILE, case_folder / LABEL_FILE
                cases.append(Case(row.name, row.patient, ct, label, label_names(row, task)))
        split = _split(rows, cases, seed)
        write_cases_json(cases, cases_file)
        undo.pop_all()
    return cases_file, split


def label_names(row: CaseRow, task: Task) -> LabelNames:
    """What the values of a row's label file stand for.

    A label that has a segment was looked for, even where the segment is empty. An organ's outline without a segment
    for its tumors holds them, unmarked.
    """
    looked_for = [label for label in task.labels if row.segments_of(label.name)]
    return {
        label.value: (label.name, *(tumor.name for tumor in task.tumors_of(label) if tumor not in looked_for))
        for label in looked_for
    }


def _split(rows: Sequence[CaseRow], cases: Sequence[Case], seed: int) -> Split:
    ordered = sorted(zip(rows, cases), key=lambda pair: pair[1].name)
    train, validation, test = (tuple(case for row, case in ordered if row.part == part) for part in PARTS)
    return Split(train, validation, test, seed)


def _export_case(row: CaseRow, nodes: Nodes, task: Task, folder: Path) -> Generator[float, None, None]:
    try:
        drawing = Drawing.of(row, nodes, task)
    except HLFDError as error:
        raise CasesError(_("Case {name}: {problem}").format(name=row.name, problem=error)) from error
    stopped = Event()
    with ThreadPoolExecutor(max_workers=1) as thread, ExitStack() as end:
        # Whoever closes the generator early must not wait until a large CT is written.
        end.callback(stopped.set)
        written = [thread.submit(write_nrrd, drawing.voxels, drawing.voxel_to_lps, folder / CT_FILE, stopped)]
        labels = np.zeros(drawing.voxels.shape, np.uint8)
        for first in range(0, len(labels), SLICES_A_STEP):
            slab = labels[first : first + SLICES_A_STEP]
            drawing.fill(slab, first)
            yield first / len(labels)
        written.append(thread.submit(write_nrrd, labels, drawing.voxel_to_lps, folder / LABEL_FILE, stopped))
        while wait(written, timeout=WAIT_SECONDS).not_done:
            yield 1.0
        for one in written:
            one.result()


@dataclass(frozen=True)
class _Stroke:
    """Voxels of one value in one labelmap, and the class that they are."""

    layer: int
    value: int
    class_: int


@dataclass(frozen=True, eq=False)
class Drawing:
    """A CT and what is drawn on it, as they were at one moment. Labelmaps are copied, the CT's voxels are not.

    Attributes:
        voxels: of the CT, [k, j, i].
        voxel_to_lps: (4, 4), from its voxels to mm in LPS. A parent transform counts, but for what it stretches: it may
            be what turns the patient upright, and the network learns from slices that are axial in the patient.
        extent: its voxels.
        voxel_to_own: from its voxels to its own coordinates, without its parent transform.
        layers: labelmaps.
        strokes: what is drawn in them; later ones lie over earlier ones.
        to_ct: from the labelmaps' coordinates to those of the CT; none where they are the same.
    """

    voxels: np.ndarray
    voxel_to_lps: np.ndarray
    extent: Extent
    voxel_to_own: vtk.vtkMatrix4x4
    layers: list[slicer.vtkOrientedImageData]
    strokes: list[_Stroke]
    to_ct: vtk.vtkAbstractTransform | None

    @classmethod
    def of(cls, row: CaseRow, nodes: Nodes, task: Task) -> Drawing:
        """What a row speaks of, as it is now.

        Raises:
            HLFDError: it cannot be exported, with the reason.
        """
        ct = nodes.node(row.image.id) if row.image else None
        node = nodes.node(row.segmentation.id) if row.segmentation else None
        if ct is None or node is None:
            raise CasesError(gone())
        part = part_of(unbent(ct))
        voxel_to_own = slicer.util.vtkMatrixFromArray(part.voxel_to_own)
        segments = [
            (label.value, segment.id)
            for label in (*task.organs, *task.tumors)
            for segment in row.segments_of(label.name)
            if node.GetSegmentation().GetSegment(segment.id)
        ]
        drawn = _as_labelmaps(node, ct, _grid(part.extent, voxel_to_own), [key for _value, key in segments])
        layers, strokes = _layers(drawn, segments)
        return cls(
            voxels=part.voxels,
            voxel_to_lps=voxel_to_lps(part.grid),
            extent=part.extent,
            voxel_to_own=voxel_to_own,
            layers=layers,
            strokes=strokes,
            to_ct=_transform(node, ct),
        )

    def fill(self, slab: np.ndarray, first: int) -> None:
        """Draws the labels of some slices.

        Args:
            slab: [k, j, i], zeros; gets the labels.
            first: its first slice, counted from the CT's first.
        """
        i0, i1, j0, j1, k0, _k1 = self.extent
        grid = _grid((i0, i1, j0, j1, k0 + first, k0 + first + len(slab) - 1), self.voxel_to_own)
        drawn = [self._on_grid(layer, grid).reshape(slab.shape) for layer in self.layers]
        for stroke in self.strokes:
            slab[drawn[stroke.layer] == stroke.value] = stroke.class_

    def _on_grid(self, layer: slicer.vtkOrientedImageData, grid: slicer.vtkOrientedImageData) -> np.ndarray:
        on_grid = slicer.vtkOrientedImageData()
        slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(
            layer, grid, on_grid, False, False, self.to_ct
        )
        return vtk_to_numpy(on_grid.GetPointData().GetScalars())


def _grid(extent: Extent, voxel_to_own: vtk.vtkMatrix4x4) -> slicer.vtkOrientedImageData:
    """An image without voxels."""
    grid = slicer.vtkOrientedImageData()
    grid.SetExtent(*extent)
    grid.SetImageToWorldMatrix(voxel_to_own)
    return grid


def _transform(
    from_node: slicer.vtkMRMLTransformableNode, to_node: slicer.vtkMRMLTransformableNode
) -> vtk.vtkAbstractTransform | None:
    """From one node's own coordinates to another's; none where they are the same."""
    parents = from_node.GetParentTransformNode(), to_node.GetParentTransformNode()
    if parents[0] is parents[1]:
        return None
    transform, matrix = vtk.vtkGeneralTransform(), vtk.vtkTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(*parents, transform)
    # A matrix stays as it is when the user moves the nodes while the export goes on.
    return matrix if slicer.vtkOrientedImageDataResample.IsTransformLinear(transform, matrix) else transform


def _as_labelmaps(
    node: slicer.vtkMRMLSegmentationNode,
    ct: slicer.vtkMRMLScalarVolumeNode,
    grid: slicer.vtkOrientedImageData,
    segments: Sequence[str],
) -> slicer.vtkSegmentation:
    """The segmentation with its segments as labelmaps: itself, or a copy where they are surfaces."""
    segmentation = node.GetSegmentation()
    if segmentation.GetSourceRepresentationName() == BINARY_LABELMAP or not segments:
        return segmentation
    copy = slicer.vtkSegmentation()
    copy.SetSourceRepresentationName(segmentation.GetSourceRepresentationName())
    for key in segments:
        copy.CopySegmentFromSegmentation(segmentation, key)
    if (from_ct := _transform(ct, node)) is not None:
        slicer.vtkOrientedImageDataResample.TransformOrientedImage(grid, from_ct, True)
    converter = slicer.vtkSegmentationConverter
    copy.SetConversionParameter(REFERENCE_GEOMETRY, converter.SerializeImageGeometry(grid))
    if not copy.CreateRepresentation(BINARY_LABELMAP, True):
        raise CasesError(
            _("its segments cannot be turned into voxels. Convert them in the Segmentations module (Representations).")
        )
    return copy


def _layers(
    segmentation: slicer.vtkSegmentation, segments: Sequence[tuple[int, str]]
) -> tuple[list[slicer.vtkOrientedImageData], list[_Stroke]]:
    """Copies of the labelmaps that segments (class, ID) are drawn in, and what of them is what."""
    shared, layers, strokes = [], [], []
    for class_, key in segments:
        segment = segmentation.GetSegment(key)
        labelmap = segment.GetRepresentation(BINARY_LABELMAP)
        if labelmap is None or labelmap.IsEmpty():
            continue
        if labelmap not in shared:
            copy = slicer.vtkOrientedImageData()
            copy.DeepCopy(labelmap)
            shared.append(labelmap)
            layers.append(copy)
        strokes.append(_Stroke(shared.index(labelmap), segment.GetLabelValue(), class_))
    return layers, strokes
