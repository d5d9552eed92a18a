"""A segmented CT with the attention of nine layers in the scene, for the tests of the attention review."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
import slicer
from generated_cases import SIZE, SPACING_MM, TASK, blob_case
from HLFDSegmentationLib.child_process.worker_protocol import LayerMap, RawImage
from HLFDSegmentationLib.fingerprints import fingerprints
from HLFDSegmentationLib.grids import Grid
from HLFDSegmentationLib.layers import LAYERS
from HLFDSegmentationLib.measures import Lesion, SegmentMeasures
from HLFDSegmentationLib.slicer_scene.slicer_attention_maps import add_map
from HLFDSegmentationLib.slicer_scene.slicer_ct import part_of
from HLFDSegmentationLib.slicer_scene.slicer_results import add_focus, add_focus_table, add_measures_table
from HLFDSegmentationLib.slicer_scene.slicer_scene_result import SceneResult, SceneRun
from slicer_cases import add_volume, lesion

CELLS = dict(zip(LAYERS, (32, 16, 8, 8, 4, 4, 8, 16, 32)))
SEGMENT = "liver tumor"
COLORS = {"liver": (0.87, 0.51, 0.4), SEGMENT: (1.0, 0.88, 0.1)}
EMPTY = "encoder3"
"""The layer in which nothing speaks for the tumor."""
WITHOUT_TUMOR = (0, 5)
BUSIEST = 3
"""The axial slice that holds most attention of each layer."""
FOCUS = {layer: 0.5 + index for index, layer in enumerate(LAYERS)} | {EMPTY: None}


def add_reviewed_case(folder: Path, *, model: str = "student", ct=None) -> SceneResult:
    """A CT (or a given one) with a result: liver and tumor, and the tumor's attention in nine layers.

    Attention is strongest in the tumor's center and turns negative away from it; with any other model than the
    "student" it is less focused.
    """
    image, label = blob_case(0)
    ct = ct or add_volume(image)
    ct.GetDisplayNode().AutoWindowLevelOff()
    ct.GetDisplayNode().SetWindowLevelMinMax(-100, 200)
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", f"CT 1, {model}")
    segmentation.CreateDefaultDisplayNodes()
    segmentation.SetAndObserveTransformNodeID(ct.GetTransformNodeID())
    labelmap = add_volume(label, "label")
    as_labels = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    slicer.modules.volumes.logic().CreateLabelVolumeFromVolume(slicer.mrmlScene, as_labels, labelmap)
    slicer.modules.segmentations.logic().ImportLabelmapToSegmentationNode(as_labels, segmentation)
    for node in (as_labels, labelmap):
        slicer.mrmlScene.RemoveNode(node)
    result = SceneResult(segmentation)
    for key, name in zip(segmentation.GetSegmentation().GetSegmentIDs(), ("liver", SEGMENT)):
        result.mark_segment(key, segment=name, label=name, run=model)
        segmentation.GetSegmentation().GetSegment(key).SetColor(*COLORS[name])
    result.add_run(SceneRun(model, key=model, fingerprints=fingerprints(sitk.GetArrayViewFromImage(label), TASK)), ct)
    center = _tumor_center(label)
    blurred = 1.0 if model == "student" else 1.5
    maps = [_layer_map(folder, layer, center, blurred) for layer in LAYERS]
    for one in maps:
        add_map(slicer.mrmlScene, one, segmentation, ct, one.label)
    add_focus(add_focus_table(result, ct), {SEGMENT: SEGMENT}, maps)
    _add_lesions(result, ct, center)
    return result


def _tumor_center(label) -> tuple[float, float]:
    """Column and row, in CT voxels."""
    _z, rows, columns = np.nonzero(sitk.GetArrayViewFromImage(label) == 2)
    return float(columns.mean()), float(rows.mean())


def _layer_map(folder: Path, layer: str, center: tuple[float, float], blurred: float) -> LayerMap:
    cells = CELLS[layer]
    size = SIZE / cells
    place = (np.arange(cells) + 0.5) * size - 0.5
    distance = np.hypot(place[None, :] - center[0], place[:, None] - center[1])
    plane = 1.4 * np.exp(-((distance / (12 * blurred)) ** 2)) - 0.4
    if layer == EMPTY:
        plane = -np.abs(plane)
    strength = np.array([0, 0.4, 0.6, 1.0, 0.5, 0])[:, None, None]
    values = strength * plane
    values = (values / np.abs(values).max()).astype("<f4")
    path = folder / f"{layer}.raw"
    values.tofile(path)
    grid = Grid(
        shape=values.shape,
        spacing=(SPACING_MM[0] * size, SPACING_MM[1] * size, SPACING_MM[2]),
        origin=(SPACING_MM[0] * (size - 1) / 2, SPACING_MM[1] * (size - 1) / 2, 0.0),
        direction=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
    )
    focus = None if FOCUS[layer] is None else FOCUS[layer] / blurred
    return LayerMap(SEGMENT, layer, RawImage(str(path), "float32", grid), layer == EMPTY, focus, focus, focus, focus)


def _add_lesions(result: SceneResult, ct, center: tuple[float, float]) -> None:
    def in_slice(number: int, k: int) -> Lesion:
        middle = SPACING_MM[0] * center[0], SPACING_MM[1] * center[1], SPACING_MM[2] * k
        return lesion(number, middle, slice_index=k)

    measured = SegmentMeasures(
        label=SEGMENT,
        volume_ml=2.0,
        volume_with_tumors_ml=None,
        mean_hu=65.0,
        sd_hu=12.0,
        lesions=[in_slice(1, 4), in_slice(2, 2)],
        side_ml={},
    )
    add_measures_table(result, ct, part_of(ct), {SEGMENT: SEGMENT}, [measured], "")
