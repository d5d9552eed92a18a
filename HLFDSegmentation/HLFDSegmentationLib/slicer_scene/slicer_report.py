"""What the worker needs to write the report of a result in the scene, as the scene is now."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import slicer
from slicer.i18n import tr as _
from vtk.util.numpy_support import vtk_to_numpy

from ..child_process.worker_protocol import LayerMap, ReportRequest
from ..errors import InputError, PackageError
from ..fingerprints import VERSION, fingerprints
from ..model_package import ModelPackage
from ..model_store import find_package, is_installed
from ..readings import Reading
from ..tasks import Task
from .slicer_changes import Changes, are_parted, not_of_model, other_ct, parted, stretched
from .slicer_ct import CtPart, part_of, problem_with, write_raw
from .slicer_results import voxel_to_own
from .slicer_scene_result import LAYER_ATTRIBUTE, SEGMENT, SceneResult, number_in, segments_by_id, tag


def report_request(result: SceneResult, readings: Sequence[Reading], destination: Path, folder: Path) -> ReportRequest:
    """Writes the CT, the segments as they are now and the maps as raw files, and asks for a report of them.

    Segments that were deleted, that a user added, or that an earlier run left in the same segmentation, are not in it.

    Args:
        result: its CT must be in the scene, and its model installed.
        readings: what a reader made of the maps.
        destination: the HTML file to write.
        folder: an existing private folder for the raw files; it must stay until the report is written.

    Raises:
        InputError: the CT is gone, or cannot be used; a segment has no voxels that can be read; or nothing is known of
            the run.
        PackageError: the model is not installed, or what is installed under its name has other labels.
        OutputError: a file cannot be written.
    """
    if not result.exists or result.ct is None:
        raise InputError(_("The report shows the CT, which is no longer in the scene. Load it, then segment again."))
    if not result.runs:
        raise InputError(
            _("This result does not tell any more how it was made, so no report can be made of it. Segment again.")
        )
    if not is_installed(result.model):
        raise PackageError(
            _(
                "The report tells about the model '{model}' that made this result, and that is not installed here. "
                "Import it by Import zip or Import folder, then export again. Segments and readings stay."
            ).format(model=result.model)
        )
    package = find_package(result.model)
    _check_labels(result, package)
    part = part_of(result.ct)
    result.lay_on_ct()
    segments = dict(segments_by_id(result.node))
    labels = {tag(segments[key], SEGMENT): label for label, key in result.newest_segments().items()}
    voxels = _labels_on_ct(result, part, package.task)
    run = result.newest_run
    kept = tuple(replace(one, segment=labels[one.segment]) for one in readings if one.segment in labels)
    return ReportRequest(
        ct=write_raw(part.voxels, part.grid, folder / "ct.raw"),
        labels=write_raw(voxels, part.grid, folder / "labels.raw"),
        maps=_write_maps(result, part, labels, folder),
        model=str(package.path),
        device=run.device,
        title=result.ct.GetName(),
        notes=tuple(run.notes),
        warnings=tuple(_warnings(result, part, package, voxels, kept)),
        deleted=tuple(result.deleted_segments()),
        readings=kept,
        destination=str(destination),
    )


def _check_labels(result: SceneResult, package: ModelPackage) -> None:
    """Raises PackageError where the report would leave segments out, or tell of organs that nobody looked for."""
    run = result.newest_run
    installed = [label.name for label in package.task.labels]
    found = {*run.fingerprints, *result.newest_segments()}
    if run.labels != installed if run.labels else not found <= set(installed):
        raise PackageError(
            _(
                "The model '{model}' that is installed here has other labels ({labels}) than the one that made this "
                "result. Import that one in place of it, or segment again."
            ).format(model=package.name, labels=", ".join(installed))
        )


def _warnings(
    result: SceneResult, part: CtPart, package: ModelPackage, voxels: np.ndarray, kept: Sequence[Reading]
) -> list[str]:
    """What a reader of the report must not miss."""
    run = result.newest_run
    deleted, added = result.deleted_segments(), result.added_segments()
    looked = Changes()
    edited_labels = looked.edited(result)
    moved = are_parted(result, edited_labels)
    found = fingerprints(voxels, package.task, first=part.extent[::2][::-1])
    made = {label: text for label, text in run.fingerprints.items() if label not in deleted}
    comparable = all(text.startswith(VERSION) for text in made.values())
    # Of segments that were moved, no voxel of the CT is any more what it was.
    changed = comparable and (bool(edited_labels) if moved else found != made)
    other_model = _(
        "The model '{model}' that is installed here is not the one that made this result. What is told of the model "
        "below is of the one that is installed."
    )
    without = _("Deleted after the model had made it, and so not in this report: {segments}.")
    edited = _(
        "The model's segments were changed after the model had made them. Volumes, lesions and pictures are of these "
        "segments as they are now; notes and focus are of what the model had made."
    )
    renumbered = _(
        "The reader's judgments number the lesions as the model had made them. In the table of lesions and in the "
        "pictures the same lesion may have another number."
    )
    told = {
        run.not_hu: bool(run.not_hu),
        **dict.fromkeys(run.cautions, True),
        other_ct(): looked.has_other_ct(result),
        parted(): moved,
        stretched(): part.is_stretched,
        other_model.format(model=package.name): run.weights not in ("", package.weights_sha256),
        without.format(segments=", ".join(deleted)): bool(deleted),
        not_of_model(added): bool(added),
        edited: changed,
        renumbered: changed and any(reading.lesion for reading in kept),
    }
    return [sentence for sentence, applies in told.items() if applies]


def _labels_on_ct(result: SceneResult, part: CtPart, task: Task) -> np.ndarray:
    """The segments' voxels [k, j, i] on the CT's grid; where a user made two overlap, the later label counts.

    Slicer's own export would put nodes into the scene, and shifts voxels where CT and segmentation are under different
    transforms.
    """
    geometry = slicer.vtkOrientedImageData()
    geometry.SetExtent(*part.extent)
    geometry.SetImageToWorldMatrix(slicer.util.vtkMatrixFromArray(voxel_to_own(result.node, result.ct, part)))
    labels = np.zeros(part.grid.shape, np.uint8)
    keys = result.newest_segments()
    for label in task.labels:
        voxels = slicer.vtkOrientedImageData()
        if label.name not in keys:
            continue
        resample = slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage
        if not result.node.GetBinaryLabelmapRepresentation(keys[label.name], voxels) or not resample(
            voxels, geometry, voxels, False, False
        ):
            raise InputError(
                _(
                    "The segment '{name}' has no voxels that can be read. Make 'Binary labelmap' the source of its "
                    "segmentation (Segmentations module, Representations), then export again."
                ).format(name=label.name)
            )
        mask = vtk_to_numpy(voxels.GetPointData().GetScalars()).reshape(labels.shape)
        labels[mask > 0] = label.value
    return labels


def _write_maps(result: SceneResult, part: CtPart, labels: Mapping[str, str], folder: Path) -> tuple[LayerMap, ...]:
    focus = result.focus_rows()
    maps: list[LayerMap] = []
    for node in result.maps:
        segment, layer = node.GetAttribute(SEGMENT), node.GetAttribute(LAYER_ATTRIBUTE)
        if segment not in labels or problem_with(node):
            continue
        image = write_raw(part_of(node).voxels, part.grid_of(node), folder / f"map{len(maps)}.raw")
        told = focus.get((segment, layer), {})
        maps.append(
            LayerMap(
                label=labels[segment],
                layer=layer,
                image=image,
                empty=told.get("Empty") == "1",
                focus_segment=_number(told, "Focus"),
                focus_organ=_number(told, "OrganFocus"),
                segment_ratio=_number(told, "FocusRatio"),
                organ_ratio=_number(told, "OrganRatio"),
            )
        )
    return tuple(maps)


def _number(row: Mapping[str, str], column: str) -> float | None:
    number = number_in(row.get(column, ""))
    return number if math.isfinite(number) else None
