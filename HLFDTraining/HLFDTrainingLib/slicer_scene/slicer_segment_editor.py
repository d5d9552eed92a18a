"""What is edited in Slicer's Segment Editor."""

from __future__ import annotations

import slicer
from HLFDSegmentationLib.slicer_scene.slicer_scene_result import SceneResult

from .slicer_test_case import is_truth

EDITOR = ("SegmentEditor", "vtkMRMLSegmentEditorNode")
"""Singleton tag and class of the Segment Editor's own node; modules that draw have others of this class."""


def corrected_segmentation(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLSegmentationNode | None:
    """The segmentation that a user has corrected: that of the Segment Editor, otherwise HLFD's last result.

    The truth of a run's case, which Slicer may have put into the Segment Editor, is none.
    """
    editor = scene.GetSingletonNode(*EDITOR)
    edited = editor.GetSegmentationNode() if editor else None
    if edited is not None and not is_truth(edited):
        return edited
    results = SceneResult.all(scene)
    return results[-1].node if results else None


def edit(result: SceneResult) -> None:
    """Puts a result into the Segment Editor, unless the user has chosen a segmentation there.

    Otherwise Slicer takes the first one of the scene, as soon as the Segment Editor is opened: it may be a truth.
    """
    editor = _editor_of(result.node.GetScene())
    edited = editor.GetSegmentationNode()
    if edited is None or is_truth(edited):
        editor.SetAndObserveSegmentationNode(result.node)
        editor.SetAndObserveSourceVolumeNode(result.ct)


def _editor_of(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLNode:
    """The Segment Editor's node; made as that module makes it when it is first opened."""
    tag, class_name = EDITOR
    editor = scene.GetSingletonNode(tag, class_name)
    if editor is None:
        made = scene.CreateNodeByClass(class_name)
        made.UnRegister(None)
        made.SetSingletonTag(tag)
        editor = scene.AddNode(made)
    return editor
