"""What was changed since a run: the CT under its result, or the segments that the model made."""

from __future__ import annotations

import slicer
from slicer.i18n import tr as _
from vtk.util.numpy_support import vtk_to_numpy

from .fingerprints import fingerprint, voxels_fingerprint
from .slicer_ct import part_of, problem_with
from .slicer_scene_result import SceneResult


class Changes:
    """Finds changes. What was looked at is not looked at again before it is changed: it may be asked often."""

    def __init__(self) -> None:
        self._prints: dict[tuple[int, int], str] = {}

    def sentences(self, result: SceneResult) -> list[str]:
        """What to tell a user who looks at a result; mostly nothing."""
        found = [other_ct()] if has_other_ct(result) else []
        if deleted := result.deleted_segments():
            found.append(
                _("Deleted since the run, and still in the table: {segments}.").format(segments=", ".join(deleted))
            )
        if edited := self.edited_segments(result):
            found.append(
                _(
                    "Changed since the run: {segments}. The table and the attention are of what the model had made; "
                    "the report measures the segments as they are now."
                ).format(segments=", ".join(edited))
            )
        return found

    def edited_segments(self, result: SceneResult) -> list[str]:
        """Labels of segments of the newest run whose voxels are not those that the model made."""
        known = result.newest_run.fingerprints
        prints: dict[tuple[int, int], str] = {}
        edited = []
        for label, key in result.newest_segments().items():
            segment = result.node.GetSegmentation().GetSegment(key)
            image = segment.GetRepresentation("Binary labelmap")
            if label not in known or image is None:
                continue
            # VTK counts every change of anything, so that no two states of any images have the same number.
            state = (image.GetMTime(), segment.GetLabelValue())
            prints[state] = self._prints.get(state) or _fingerprint(image, segment.GetLabelValue())
            if prints[state] != known[label]:
                edited.append(label)
        self._prints = prints
        return edited


def has_other_ct(result: SceneResult) -> bool:
    """Whether the CT's voxels are not those that were segmented, as when a sequence was browsed."""
    told = result.newest_run.ct_fingerprint
    return bool(told) and problem_with(result.ct) is None and told != voxels_fingerprint(part_of(result.ct).voxels)


def other_ct() -> str:
    """The sentence for `has_other_ct`."""
    return _(
        "The CT's voxels are not those that were segmented, as after browsing a sequence or resampling. Segments and "
        "attention may lie beside what they are about; HU and pictures are of the voxels as they are now."
    )


def _fingerprint(image: slicer.vtkOrientedImageData, value: int) -> str:
    """Of a label in a labelmap, whose extent counts the CT's voxels."""
    scalars = image.GetPointData().GetScalars()
    if scalars is None:
        return "empty"
    labels = vtk_to_numpy(scalars).reshape(image.GetDimensions()[::-1])
    return fingerprint(labels == value, first=image.GetExtent()[::2][::-1])
