"""A case that a student has not learned from: its CT and its truth in the scene, and the student's result beside it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from hashlib import sha256
from pathlib import Path

import slicer
import vtk
from HLFDSegmentationLib.errors import CasesError
from HLFDSegmentationLib.slicer_scene.slicer_scene_result import segments_by_id
from HLFDSegmentationLib.slicer_tools.slicer_layout import layout_node, when_laid_out
from HLFDSegmentationLib.slicer_tools.slicer_linked_views import link_views
from HLFDSegmentationLib.slicer_tools.slicer_nodes import nodes_of
from HLFDSegmentationLib.slicer_tools.slicer_weak import WeakNode
from HLFDSegmentationLib.tasks import Task
from slicer.i18n import tr as _

from ..annotations.ct_fingerprints import files_in
from ..cases import Case
from ..plan import TrainingPlan
from ..runs.run_folder import RunFolder
from .slicer_drawing import drawing_of
from .slicer_own_layout import STUDENT, TRUTH, TRUTH_LAYOUT, give_views_back, own_layout

CASE_ATTRIBUTE = "HLFD.Case"
PATIENT_ATTRIBUTE = "HLFD.Patient"
"""Of a CT that was loaded here: a corrected case must keep its patient, who stays in the same part of the split."""

TRUTH_ATTRIBUTE = "HLFD.Truth"
"""Of a segmentation that was loaded here: what it was read from, see `_source_of`."""

DRAWN_ATTRIBUTE = "HLFD.Drawn"
"""Of such a segmentation: what was drawn in it when it was loaded, see `_drawn`."""


def unseen_cases(run: RunFolder, plan: TrainingPlan) -> tuple[list[Case], str]:
    """The test cases of a run; without any, those that the best epoch was chosen with. And the part that they are."""
    split = run.split(plan)
    part = "test" if split.test else "validation"
    return list(getattr(split, part)), part


def load_ct(case: Case, task: Task) -> slicer.vtkMRMLScalarVolumeNode:
    """The case's CT in the task's window; the one that is in the scene already where it was loaded from the same file.

    Raises:
        CasesError: it cannot be read.
    """
    file = _first_slice(case.ct) if case.ct.is_dir() else case.ct
    for volume in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
        if volume.GetAttribute(CASE_ATTRIBUTE) == case.name and _file_of(volume) == file.resolve():
            return volume
    try:
        volume = slicer.util.loadVolume(str(file))
    except RuntimeError as error:
        raise _unreadable(case, case.ct) from error
    volume.SetName(slicer.mrmlScene.GenerateUniqueName(case.name))
    volume.GetDisplayNode().SetAutoWindowLevel(False)
    volume.GetDisplayNode().SetWindowLevelMinMax(*task.window)
    volume.SetAttribute(CASE_ATTRIBUTE, case.name)
    volume.SetAttribute(PATIENT_ATTRIBUTE, case.patient)
    return volume


def _first_slice(folder: Path) -> Path:
    slices = sorted(file for file in files_in(folder) if file.name.upper() != "DICOMDIR")
    return slices[0] if slices else folder


def load_truth(case: Case, ct: slicer.vtkMRMLScalarVolumeNode, task: Task) -> slicer.vtkMRMLSegmentationNode:
    """The case's annotation as a segmentation in the colors of the task.

    The one that is in the scene already is taken where it was made of the same file, read in the same way, and nobody
    has painted in it.

    Raises:
        CasesError: it cannot be read.
    """
    for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
        reference = node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole())
        of_case = node.GetAttribute(TRUTH_ATTRIBUTE) == _source_of(case, task) and reference is ct
        if of_case and node.GetAttribute(DRAWN_ATTRIBUTE) == _drawn(node):
            return node
    try:
        labels = slicer.util.loadLabelVolume(str(case.label), {"show": False})
    except RuntimeError as error:
        raise _unreadable(case, case.label) from error
    name = slicer.mrmlScene.GenerateUniqueName(_("{case} truth").format(case=case.name))
    truth = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    truth.SetAttribute(TRUTH_ATTRIBUTE, _source_of(case, task))
    truth.CreateDefaultDisplayNodes()
    truth.SetReferenceImageGeometryParameterFromVolumeNode(ct)
    slicer.modules.segmentations.logic().ImportLabelmapToSegmentationNode(labels, truth)
    slicer.mrmlScene.RemoveNode(labels)
    _name_segments(truth, case, task)
    truth.SetAttribute(DRAWN_ATTRIBUTE, _drawn(truth))
    return truth


def is_truth(segmentation: slicer.vtkMRMLSegmentationNode) -> bool:
    """Whether a segmentation was made by `load_truth`."""
    return segmentation.GetAttribute(TRUTH_ATTRIBUTE) is not None


def _source_of(case: Case, task: Task) -> str:
    """Tells the annotations of two cases apart, without their paths, which are nobody's business in a saved scene."""
    try:
        written = case.label.stat().st_mtime_ns
    except OSError:
        written = 0
    told = (case.name, str(case.label.resolve()), written, sorted(case.labels.items()), task.to_dict())
    return sha256(repr(told).encode()).hexdigest()


def _drawn(truth: slicer.vtkMRMLSegmentationNode) -> str:
    """Changes with what is drawn in the segments."""
    source = truth.GetSegmentation().GetSourceRepresentationName()
    segments = [segment for _key, segment in segments_by_id(truth)]
    drawings = [drawing_of(segment.GetRepresentation(source), segment.GetLabelValue()) for segment in segments]
    return sha256(repr(drawings).encode()).hexdigest()


def _name_segments(truth: slicer.vtkMRMLSegmentationNode, case: Case, task: Task) -> None:
    segmentation = truth.GetSegmentation()
    known = {label.name: label for label in task.labels}
    for key in list(segmentation.GetSegmentIDs()):
        segment = segmentation.GetSegment(key)
        names = case.labels.get(segment.GetLabelValue(), ())
        if not names:
            segmentation.RemoveSegment(key)
            continue
        # Several names: the annotator did not tell them apart.
        segment.SetName(_either(names))
        label = known[names[0]]
        segment.SetColor(*(channel / 255 for channel in label.color))
        segment.SetTerminology(label.terminology)


def _either(names: Sequence[str]) -> str:
    """The names as alternatives: "kidney or cyst"."""
    return reduce(lambda told, name: _("{one} or {other}").format(one=told, other=name), names)


class TruthView:
    """Two linked slice views beside each other: the truth on the left, the student's result on the right.

    Args:
        scene: with all nodes.
    """

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self._scene = scene
        self._layout = own_layout(scene, TRUTH_LAYOUT)
        self._observed: list[tuple[vtk.vtkObject, int]] = []

    def show(
        self,
        ct: slicer.vtkMRMLScalarVolumeNode,
        truth: slicer.vtkMRMLSegmentationNode,
        result: slicer.vtkMRMLSegmentationNode,
    ) -> None:
        """Shows a case, until another layout is chosen, or a scene is added, which would show both in both views.

        In other views both are drawn, the truth as a line.
        """
        self._end()
        self._layout.take()
        self._end_with_layout()
        own = {side: self._scene.GetSingletonNode(side, "vtkMRMLSliceNode") for side in (TRUTH, STUDENT)}
        others = [node.GetID() for node in self._views() if node not in own.values()]
        for side, node in ((TRUTH, truth), (STUDENT, result)):
            if node.GetDisplayNode() is not None and own[side] is not None:
                node.GetDisplayNode().SetViewNodeIDs([own[side].GetID(), *others])
        truth.GetDisplayNode().SetOpacity2DFill(0.0)
        composites = [slicer.vtkMRMLSliceLogic.GetSliceCompositeNode(node) for node in own.values() if node is not None]
        link_views(self._scene, composites)
        for composite in composites:
            composite.SetBackgroundVolumeID(ct.GetID())
        layout = layout_node(self._scene)
        if layout is not None:
            begin_with = WeakNode(truth)
            when_laid_out(layout, TRUTH_LAYOUT, lambda: self._begin_at(begin_with.node))

    def restore(self) -> None:
        """Gives the user's layout back; what was loaded stays."""
        self._end()
        self._layout.give_back()

    def _end_with_layout(self) -> None:
        node = layout_node(self._scene)
        if node is not None:
            self._observed.append((node, node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._on_layout)))
        started = self._scene.StartImportEvent
        self._observed.append((self._scene, self._scene.AddObserver(started, lambda scene, event: self.restore())))

    def _on_layout(self, node: slicer.vtkMRMLLayoutNode, event: str) -> None:
        if node.GetViewArrangement() != TRUTH_LAYOUT:
            self._end()

    def _end(self) -> None:
        """Both segmentations are in all views again, and the user's views linked as they were."""
        for observed, tag in self._observed:
            observed.RemoveObserver(tag)
        self._observed = []
        give_views_back(self._scene)

    def _views(self) -> list[slicer.vtkMRMLNode]:
        kinds = ("vtkMRMLSliceNode", "vtkMRMLViewNode")
        return [node for kind in kinds for node in nodes_of(self._scene, kind)]

    def _begin_at(self, truth: slicer.vtkMRMLSegmentationNode | None) -> None:
        """Shows the whole slice in the middle of the last segment that is drawn, a tumor as a rule."""
        if truth is None:
            return
        center = next(
            filter(None, (truth.GetSegmentCenterRAS(key) for key in reversed(truth.GetSegmentation().GetSegmentIDs()))),
            None,
        )
        for side in (TRUTH, STUDENT):
            node = self._scene.GetSingletonNode(side, "vtkMRMLSliceNode")
            if node is None:
                continue
            slicer.app.applicationLogic().GetSliceLogic(node).FitSliceToBackground()
            if center:
                node.JumpSliceByOffsetting(*center)


def _file_of(volume: slicer.vtkMRMLScalarVolumeNode) -> Path | None:
    storage = volume.GetStorageNode()
    return Path(storage.GetFileName()).resolve() if storage and storage.GetFileName() else None


def _unreadable(case: Case, path: Path) -> CasesError:
    sentence = _("Case {case}: {file} is gone or cannot be read. Put it back, or choose another case.")
    return CasesError(sentence.format(case=case.name, file=path))
