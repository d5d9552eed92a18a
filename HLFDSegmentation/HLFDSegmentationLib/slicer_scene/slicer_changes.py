"""What was changed since a run: the CT under its result, or the segments that the model made."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util.numpy_support import vtk_to_numpy

from ..fingerprints import VERSION, fingerprint, voxels_fingerprint
from ..output.segmentation_words import BINARY_LABELMAP
from .slicer_ct import part_of, problem_with
from .slicer_results import voxel_to_own
from .slicer_scene_result import MOVED_MM, SceneResult, is_linear


class Changes:
    """Finds changes. What was looked at is not looked at again before it is changed: it may be asked often."""

    def __init__(self) -> None:
        # VTK counts every change of anything, so that no two states of any images have the same number.
        self._of_segments: dict[tuple[int, int], str] = {}
        self._of_ct: tuple[int, str] = (0, "")

    def sentences(self, result: SceneResult) -> list[str]:
        """What to tell a user who looks at a result; mostly nothing."""
        run = result.newest_run
        edited = self._edited(result)
        names = [result.node.GetSegmentation().GetSegment(key).GetName() for key in edited.values()]
        found = [other_ct()] if self.has_other_ct(result) else []
        if are_parted(result, list(edited)):
            found.append(parted())
        nodes = [node for node in (result.ct, result.node) if node is not None and is_bent(node)]
        if nodes:
            found.append(bent([node.GetName() for node in nodes]))
        if problem_with(result.ct) is None and part_of(result.ct).is_stretched:
            found.append(stretched())
        if deleted := [run.segments.get(label, label) for label in result.deleted_segments()]:
            found.append(
                _("Deleted since the run, and still in the table: {segments}.").format(segments=", ".join(deleted))
            )
        if added := result.added_segments():
            found.append(not_of_model(added))
        if names:
            found.append(
                _(
                    "Changed since the run: {segments}. The table and the attention are of what the model had made; "
                    "the report measures the segments as they are now."
                ).format(segments=", ".join(names))
            )
        return found

    def edited(self, result: SceneResult) -> list[str]:
        """Labels of segments of the newest run whose voxels are not those that the model made."""
        return list(self._edited(result))

    def has_other_ct(self, result: SceneResult) -> bool:
        """Whether the CT's voxels are not those that were segmented, as when a sequence was browsed."""
        told = result.newest_run.ct_fingerprint
        ct = result.ct
        if not told or ct is None or problem_with(ct) is not None:
            return False
        state = ct.GetImageData().GetMTime()
        if state != self._of_ct[0]:
            self._of_ct = (state, voxels_fingerprint(part_of(ct).voxels))
        return self._of_ct[1] != told

    def _edited(self, result: SceneResult) -> dict[str, str]:
        """The IDs of the segments that were edited, by label."""
        known = result.newest_run.fingerprints
        looked: dict[tuple[int, int], str] = {}
        edited = {}
        for label, key in result.newest_segments().items():
            segment = result.node.GetSegmentation().GetSegment(key)
            image = segment.GetRepresentation(BINARY_LABELMAP)
            if image is None or not known.get(label, "").startswith(VERSION):
                continue
            state = (image.GetMTime(), segment.GetLabelValue())
            looked[state] = self._of_segments.get(state) or _fingerprint(image, segment.GetLabelValue())
            if looked[state] != known[label]:
                edited[label] = key
        self._of_segments = looked
        return edited


def are_parted(result: SceneResult, edited: list[str]) -> bool:
    """Whether the CT was moved without its segments, or they without it.

    Args:
        result: whose.
        edited: labels of segments that were edited. They may lie on another grid.
    """
    if result.ct is not None and (is_bent(result.ct) or is_bent(result.node)):
        return result.ct.GetParentTransformNode() is not result.node.GetParentTransformNode()
    if problem_with(result.ct) is not None:
        return False
    on_ct = voxel_to_own(result.node, result.ct, part_of(result.ct))
    for label, key in result.newest_segments().items():
        image = result.node.GetSegmentation().GetSegment(key).GetRepresentation(BINARY_LABELMAP)
        if label in edited or image is None or not image.GetNumberOfPoints():
            continue
        voxel_to_segmentation = vtk.vtkMatrix4x4()
        image.GetImageToWorldMatrix(voxel_to_segmentation)
        return not np.allclose(slicer.util.arrayFromVTKMatrix(voxel_to_segmentation), on_ct, rtol=0, atol=MOVED_MM)
    return False


def is_bent(node: slicer.vtkMRMLTransformableNode) -> bool:
    """Whether a node is under a transform that does more than a matrix can."""
    return not is_linear(node.GetParentTransformNode())


def other_ct() -> str:
    """The sentence for `Changes.has_other_ct`."""
    return _(
        "The CT's voxels are not those that were segmented, as after browsing a sequence or resampling. Segments and "
        "attention may lie beside what they are about; HU and pictures are of the voxels as they are now."
    )


def parted() -> str:
    """The sentence for `are_parted`."""
    return _(
        "The CT and its segments do not lie on each other any more: one was moved, as by a transform, without the "
        "other. Attention lies on the CT. Put both under one transform."
    )


def bent(names: Sequence[str]) -> str:
    """The sentence for `is_bent`."""
    return _(
        "Bent by a transform: {names}. Volumes and diameters in the table are without the bend, and neither a picture "
        "of all layers nor a report can be made. Take CT and segments out of the transform (Transforms module), or "
        "harden it and segment the CT again."
    ).format(names=", ".join(names))


def stretched() -> str:
    """The sentence for `CtPart.is_stretched`."""
    return _(
        "The CT is under a transform that stretches it. Volumes, diameters and the places in notes and report are "
        "without the stretch: what is far from the middle of the CT lies elsewhere in the slice views."
    )


def not_of_model(added: Sequence[str]) -> str:
    """The sentence for `SceneResult.added_segments`."""
    return _(
        "Not of the model, and so neither in the report nor in the table: {segments}. The report measures what is in "
        "the segments that the model made; add to these what it should count."
    ).format(segments=", ".join(added))


def _fingerprint(image: slicer.vtkOrientedImageData, value: int) -> str:
    """Of a label in a labelmap, whose extent counts the CT's voxels."""
    scalars = image.GetPointData().GetScalars()
    if scalars is None:
        return "empty"
    labels = vtk_to_numpy(scalars).reshape(image.GetDimensions()[::-1])
    return fingerprint(labels == value, first=image.GetExtent()[::2][::-1])
