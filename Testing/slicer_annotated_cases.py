"""Annotated CTs in the scene, and what a test asks of it, for the tests of the training module."""

from __future__ import annotations

import zipfile
from importlib import import_module
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from generated_cases import blob_case
from slicer_cases import add_volume, slicer


def add_segmentation(ct, segments: dict[str, np.ndarray], name: str = "Segmentation 1"):
    """Segments by name, drawn on a CT."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(ct)
    for segment, voxels in segments.items():
        key = node.GetSegmentation().AddEmptySegment(segment, segment)
        if voxels.any():
            slicer.util.updateSegmentBinaryLabelmapFromArray(voxels.astype(np.uint8), node, key, ct)
    return node


def add_case(seed: int = 0, name: str = "CT 1", overlapping: bool = True):
    """A CT with a drawn liver and tumor. Gives the nodes and the labels as they are to be in the file."""
    image, label = blob_case(seed)
    labels = sitk.GetArrayFromImage(label)
    ct = add_volume(image, name)
    liver = labels > 0 if overlapping else labels == 1
    return ct, add_segmentation(ct, {"liver": liver, "tumor": labels == 2}, f"{name} segmentation"), labels


def snapshot():
    """All of the user's scene that an export could change."""
    scene = slicer.mrmlScene
    nodes = [scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes())]
    state = [(node.GetID(), node.GetName(), node.GetMTime()) for node in nodes]
    voxels = []
    for node in nodes:
        if node.IsA("vtkMRMLSegmentationNode"):
            segmentation = node.GetSegmentation()
            names = [segmentation.ContainsRepresentation(name) for name in ("Binary labelmap", "Closed surface")]
            voxels.append((segmentation.GetMTime(), names))
            for key in segmentation.GetSegmentIDs():
                voxels.append((key, segmentation.GetSegment(key).GetMTime()))
        elif node.IsA("vtkMRMLVolumeNode"):
            voxels.append(slicer.util.arrayFromVolume(node).tobytes())
    return state, voxels


def save_scene(file: Path) -> Path:
    if file.suffix == ".mrb":
        assert slicer.mrmlScene.WriteToMRB(str(file))
        return file
    bundle = save_scene(file.with_suffix(".mrb"))
    with zipfile.ZipFile(bundle) as packed:
        packed.extractall(file.parent)
    return next(file.parent.rglob("*.mrml"))


def select(monkeypatch, *items: int):
    """The items are what the user has marked in Slicer's tree of data. Without any, it names the whole scene."""
    items = items or (import_module("slicer").mrmlScene.GetSubjectHierarchyNode().GetSceneItemID(),)

    class Handler:
        @staticmethod
        def instance():
            return Handler()

        def currentItems(self, ids):  # noqa: N802, as Slicer names it
            ids.Reset()
            for item in items:
                ids.InsertNextId(item)

    monkeypatch.setattr(import_module("slicer"), "qSlicerSubjectHierarchyPluginHandler", Handler, raising=False)
