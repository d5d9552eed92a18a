"""How much each layer of a student looks at the tumor, measured for all students on the same slices and regions."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

import numpy as np
import torch
from HLFDSegmentationLib.attention import AttentionCollector, Focus
from HLFDSegmentationLib.devices import memory_format
from HLFDSegmentationLib.image_files.label_files import read_label
from HLFDSegmentationLib.networks.network import SegmentationNetwork
from HLFDSegmentationLib.tasks import Label, Task
from HLFDSegmentationLib.volumes import AxialSlices

from ..cases import Case, case_groups, classes_of

FOCUS_SLICES = 64
"""How many slices of all test cases together a label's focus is measured on, at least one of each case."""

Chosen = dict[str, dict[str, list[int]]]
"""By case and label, the axial indices of slices."""


@dataclass(frozen=True)
class CaseFocus:
    """The focus of one layer on one label in a case.

    Attributes:
        label, layer: their names.
        focus: none where the layer has no positive attention there, or the label lies wholly outside the body.
        organ_known: whether the annotation tells the label's organ with its tumors from all else. Where the organ was
            not looked for, the focus on it is that on what is annotated of it.
    """

    label: str
    layer: str
    focus: Focus | None
    organ_known: bool


def choose_focus_slices(cases: Sequence[Case], task: Task) -> Chosen:
    """Slices, evenly spaced, in which the annotation shows a tumor; an organ where no case has a tumor.

    Raises:
        InputError: an annotation cannot be read.
        CasesError: an annotation does not fit the task.
    """
    shown = {case.name: _slices_with(case, task) for case in cases}
    tumors = {label.name for label in task.tumors}
    found = {name for by_label in shown.values() for name in by_label}
    wanted = found & tumors or found
    chosen: Chosen = {case: {} for case in shown}
    for name in sorted(wanted):
        of_cases = {case: by_label[name] for case, by_label in shown.items() if name in by_label}
        share = max(1, FOCUS_SLICES // len(of_cases))
        for case, slices in of_cases.items():
            chosen[case][name] = _evenly(slices, share)
    return chosen


def _slices_with(case: Case, task: Task) -> dict[str, np.ndarray]:
    """The axial slices that show each label which the annotator told from the others."""
    image = read_label(case.label)
    truth = classes_of(AxialSlices(image, task).labels_of(image), case, task)
    groups = case_groups(case, task)
    known = [label for label in task.labels if _are_told_apart({label.value}, groups)]
    slices = {label.name: np.flatnonzero((truth == label.value).any(axis=(1, 2))) for label in known}
    return {name: found for name, found in slices.items() if len(found)}


def _are_told_apart(values: Set[int], groups: Sequence[int]) -> bool:
    """Whether an annotation with these `case_groups` tells the classes, taken together, from all others."""
    told = {groups[value] for value in values}
    return all((group in told) == (value in values) for value, group in enumerate(groups))


def _organ_known(label: Label, task: Task, groups: Sequence[int]) -> bool:
    return _are_told_apart(set(task.values_with_tumors(task.organ_of(label))), groups)


def _evenly(slices: np.ndarray, count: int) -> list[int]:
    """At most `count` of the slices, evenly spaced; a single one is the middle one."""
    places = (np.arange(min(count, len(slices))) + 0.5) * len(slices) / min(count, len(slices))
    return [int(slices[int(place)]) for place in places]


def focus_of_case(
    network: SegmentationNetwork,
    slices: AxialSlices,
    truth: np.ndarray,
    groups: Sequence[int],
    chosen: dict[str, list[int]],
    task: Task,
    device: torch.device,
) -> list[CaseFocus]:
    """The focus of every layer on the annotated labels.

    The score of a label is the sum of its logit over its annotated pixels, and focus the share of positive attention
    inside them: the regions are the same for all networks, also for one that finds nothing there.

    Args:
        network: on the device.
        slices: of the case's CT.
        truth: annotated classes (Z, Y, X) in axial order.
        groups: the case's `case_groups`.
        chosen: of `choose_focus_slices`, for this case.
        task: what the classes are.
        device: of the network.
    """
    found = []
    for name, indices in chosen.items():
        organ_known = _organ_known(task.label(name), task, groups)
        collector = AttentionCollector(network, task, slices.count, slices.shown)
        for index in indices:
            drawn = slices.to_canvas(truth[index : index + 1])
            images = torch.from_numpy(slices.images(index, index + 1)).to(device, memory_format=memory_format(device))
            collector.add(index, images, drawn, slices.body(index, index + 1))
        found += [CaseFocus(name, one.layer, one.focus, organ_known) for one in collector.result() if one.label == name]
    return found
