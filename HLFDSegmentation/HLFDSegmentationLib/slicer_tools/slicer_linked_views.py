"""Slice views of HLFD's own that follow each other, without linking the user's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import slicer

from .slicer_nodes import nodes_of

OWN_PREFIX = "HLFD"
"""Layout names of the views that HLFD's modules make begin with it."""

HOT_LINKED_ATTRIBUTE = "HLFD.HotLinked"
"""Of a user's view while ours are linked: "1" where it was linked while it is dragged in, too, and "0" where not."""


def composites_of(scene: slicer.vtkMRMLScene) -> list[slicer.vtkMRMLSliceCompositeNode]:
    """What tells the volumes of each slice view."""
    return nodes_of(scene, "vtkMRMLSliceCompositeNode")


def is_own(view: slicer.vtkMRMLNode) -> bool:
    """Whether a slice view is one that HLFD's modules make, by its slice node or by its composite node."""
    # A script may have added one without a layout name.
    return (view.GetLayoutName() or "").startswith(OWN_PREFIX)


def link_views(scene: slicer.vtkMRMLScene, composites: Iterable[slicer.vtkMRMLSliceCompositeNode]) -> None:
    """Links views of our own, also while they are dragged in; volumes that are loaded do not come into them.

    Slicer's slice controllers then link every other view of the scene so, too. What the user had is kept in the nodes,
    for the scene may be saved meanwhile.
    """
    for other in composites_of(scene):
        if not is_own(other) and other.GetAttribute(HOT_LINKED_ATTRIBUTE) is None:
            other.SetAttribute(HOT_LINKED_ATTRIBUTE, str(int(other.GetHotLinkedControl())))
    for composite in composites:
        composite.SetLinkedControl(True)
        composite.SetHotLinkedControl(True)
        composite.SetDoPropagateVolumeSelection(False)


def give_links_back(scene: slicer.vtkMRMLScene) -> None:
    """Links the user's views as they were before `link_views`."""
    for composite in composites_of(scene):
        linked = composite.GetAttribute(HOT_LINKED_ATTRIBUTE)
        if linked is not None:
            composite.SetAttribute(HOT_LINKED_ATTRIBUTE, None)
            composite.SetHotLinkedControl(linked == "1")


@contextmanager
def each_alone(composites: Sequence[slicer.vtkMRMLSliceCompositeNode]) -> Iterator[None]:
    """While views are changed one by one, none hands its change on to those that are linked with it.

    Slicer's slice controllers take a new opacity for one that the user has set.
    """
    for composite in composites:
        composite.SetInteractionFlagsModifier(0)
    try:
        yield
    finally:
        for composite in composites:
            composite.ResetInteractionFlagsModifier()
