"""Checks annotated cases before any training, so that nothing wrong is found out hours later."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Literal

import numpy as np
import SimpleITK as sitk
from HLFDSegmentationLib.axial_volume import AxialVolume, by_slices
from HLFDSegmentationLib.cautions.body_orientation import misplaced_organs, side_cautions, width_doubts
from HLFDSegmentationLib.cautions.doubts import WIDEST_SLICES_MM
from HLFDSegmentationLib.cautions.hounsfield_offset import AIR_HU, offset_cautions, window_cautions
from HLFDSegmentationLib.cautions.slice_stack import SliceStack, spacing_cautions
from HLFDSegmentationLib.ct_files import read_ct
from HLFDSegmentationLib.errors import CasesError, InputError
from HLFDSegmentationLib.hounsfield import hu_problem
from HLFDSegmentationLib.image_files.label_files import read_label
from HLFDSegmentationLib.image_points import image_like
from HLFDSegmentationLib.tasks import BACKGROUND, Label, Task
from HLFDSegmentationLib.volumes import AxialSlices

from ..cases import ALL_CASES, Case, classes_of, target_values
from ..split import PARTS, USES, Split, label_gap
from .scan_names import ONE_PATIENT, names_alike_problem
from .segment_roles import guess_roles
from .stored_segments import stored_segments
from .task_fit import MOST_LEFT_OUT, MOST_UNSEEN, left_out_share, unseen_share

LEAVE_OUT = "Or leave the case out: what is wrong in it is learned."

NARROWER_TASK = (
    "Or say with 'window' in a cases.json what it was cut to, and take a task or model whose window lies within that "
    "(a task of your own: docs/tasks.md)."
)

MOST_NUMBERS = 12

# Enough for the rounding of NIfTI's single-precision header, and less than a tenth of a voxel across a whole CT.
SPACING_TOLERANCE = 1e-4
DIRECTION_TOLERANCE = 1e-3
ORIGIN_TOLERANCE = 0.1

WINDOW_TOLERANCE_HU = 1.0
LEAST_OF_WINDOW = 0.1
"""Share of a window that values of a CT span at least: it shows air or fat and soft tissue."""

INT32 = (-(2**31), 2**31 - 1)


@dataclass(frozen=True)
class Finding:
    """Something to know about a case before training with it.

    Attributes:
        case: the case's name, or `ALL_CASES`.
        severity: an error keeps the case from being trained with; a warning is for the user to judge.
        problem: what is the matter.
        remedy: what to do about it.
    """

    case: str
    severity: Literal["error", "warning"]
    problem: str
    remedy: str


@dataclass
class _Seen:
    """What reading the cases one by one has shown, for the checks of all of them together.

    Attributes:
        same_ct: cases by a fingerprint of their CT's voxels, whatever they are stored as.
        labels: names of the task's labels that have a voxel in some case.
        by_itself: names of the cases in which a label has voxels and is told from all others, by label.
        labelled: names of the cases in which some label of the task has voxels.
        others: values with a voxel in some case that stand for none of the task's labels.
    """

    same_ct: dict[str, list[Case]] = field(default_factory=lambda: defaultdict(list))
    labels: set[str] = field(default_factory=set)
    by_itself: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    labelled: set[str] = field(default_factory=set)
    others: set[int] = field(default_factory=set)


def check_cases(
    cases: Sequence[Case],
    task: Task,
    progress: Callable[[str, float], None] | None = None,
    *,
    split: Split | None = None,
    together: bool = True,
) -> list[Finding]:
    """Reads every case and lists what is wrong or strange: case by case, then in all of them together.

    Args:
        cases: the cases; one at a time is held in memory.
        task: what a network is to learn from them.
        progress: called with the name of the next case and the share of the cases that are done.
        split: what they are for; its parts are looked at, too.
        together: look also for what matters where some are learned from and others tested on.
    """
    findings: list[Finding] = []
    seen = _Seen()
    for number, case in enumerate(cases):
        if progress:
            progress(case.name, number / len(cases))
        findings += _check_case(case, task, seen)
    findings += _check_names(cases)
    if not together:
        return findings
    findings += [*_check_patients(cases), *_check_names_alike(cases)]
    findings += _check_same_ct(seen)
    findings += _check_labels(cases, task, seen)
    if split:
        findings += [*_check_needed_parts(split, seen), *_check_parts(split, task, seen)]
    return findings


def first_error(findings: Iterable[Finding]) -> str:
    """A sentence with the first error and what to do about it; "" where the cases can be trained with."""
    for one in findings:
        if one.severity == "error":
            whose = "" if one.case == ALL_CASES else f"Case {one.case}: "
            return f"{whose}{one.problem} {one.remedy}"
    return ""


# One case


def _check_case(case: Case, task: Task, seen: _Seen) -> Iterator[Finding]:
    ct = label = None
    try:
        target_values(case, task)
    except CasesError as error:
        yield Finding(case.name, "error", str(error), "Correct what the case says of its labels.")
    try:
        ct = read_ct(case.ct)
    except InputError as error:
        yield Finding(case.name, "error", str(error), "Repair the CT, or leave the case out.")
    try:
        label = read_label(case.label)
    except InputError as error:
        yield Finding(case.name, "error", str(error), "Repair the label file, or leave the case out.")
    if ct is not None:
        seen.same_ct[_fingerprint(ct)].append(case)
        yield from _check_ct(case, ct, task)
    if label is not None:
        yield from _check_values(case, label, task, seen)
        yield from _check_segment_names(case, label, task)
    if ct is not None and label is not None:
        other_grid = list(check_geometry(case, ct, label))
        yield from other_grid or _check_placement(case, ct, label, task)


def _fingerprint(ct: sitk.Image) -> str:
    """Of a CT's HU in axial order: that of a copy, whatever voxel type and order of axes it is stored in."""
    voxels = AxialVolume(ct).voxels
    digest = sha256(repr(voxels.shape).encode())
    for plane in voxels:
        digest.update(np.rint(plane, dtype=np.float64).clip(*INT32).astype(np.int32).tobytes())
    return digest.hexdigest()


def _check_ct(case: Case, ct: sitk.Image, task: Task) -> Iterator[Finding]:
    if case.window is None and (problem := hu_problem(ct)):
        remedy = (
            "Give the CT in HU. If its HU were cut to a window and are HU still, say so with 'window' in a cases.json; "
            "gray values, as 0 to 255, have to be made HU again before."
        )
        yield Finding(case.name, "error", problem, remedy)
    elif case.window is not None:
        yield from _check_window(case.name, case.window, ct)
        yield from _check_task_window(case.name, case.window, task)
    else:
        for problem in window_cautions(sitk.GetArrayViewFromImage(ct), task.window):
            yield Finding(case.name, "error", problem, NARROWER_TASK)
        for problem in offset_cautions(sitk.GetArrayViewFromImage(ct)):
            yield Finding(case.name, "warning", problem, LEAVE_OUT)
    across_slices = int(np.argmax(np.abs(np.reshape(ct.GetDirection(), (3, 3))[2])))
    spacing = ct.GetSpacing()[across_slices]
    if spacing > WIDEST_SLICES_MM:
        remedy = "Check that no slices are missing. Small tumors can lie between such slices."
        yield Finding(case.name, "warning", f"The axial slices are {spacing:g} mm apart.", remedy)


def _check_window(case: str, window: tuple[float, float], ct: sitk.Image) -> Iterator[Finding]:
    """Whether a CT can hold HU that were cut to the case's window."""
    low, high = window
    values = sitk.GetArrayViewFromImage(ct)
    lowest, highest = float(values.min()), float(values.max())
    if lowest < low - WINDOW_TOLERANCE_HU or highest > high + WINDOW_TOLERANCE_HU:
        problem = f"Its values go from {lowest:g} to {highest:g}, beyond the 'window' of {low:g} to {high:g} HU."
    elif highest - lowest < LEAST_OF_WINDOW * (high - low):
        problem = f"Its values go from {lowest:g} to {highest:g}, little of the 'window' of {low:g} to {high:g} HU."
    else:
        return
    remedy = "Values must be HU, cut to the window. Gray values have to be made HU again: this is not done here."
    yield Finding(case, "error", problem, remedy)


def _check_task_window(case: str, window: tuple[float, float], task: Task) -> Iterator[Finding]:
    """Whether a CT that was cut to the case's window still holds what the task's network distinguishes."""
    (low, high), (lowest, highest) = window, task.window
    if max(lowest, AIR_HU) < low - WINDOW_TOLERANCE_HU or highest > high + WINDOW_TOLERANCE_HU:
        problem = (
            f"The CT was cut to {low:g} to {high:g} HU, and the task's window is {lowest:g} to {highest:g} HU: air, "
            "fat or bone would have another gray value than in a whole CT."
        )
        remedy = (
            f"Give the whole CT, or take a task or model whose window lies within {low:g} to {high:g} HU (a task of "
            "your own: docs/tasks.md)."
        )
        yield Finding(case, "error", problem, remedy)


def check_geometry(case: Case, ct: sitk.Image, label: sitk.Image) -> Iterator[Finding]:
    """Whether a label lies on the grid of its CT."""
    compared = (
        ("size", ct.GetSize(), label.GetSize(), " voxels", 0.0, 0.0),
        ("spacing", ct.GetSpacing(), label.GetSpacing(), " mm", SPACING_TOLERANCE, 0.0),
        ("direction", ct.GetDirection(), label.GetDirection(), "", 0.0, DIRECTION_TOLERANCE),
        ("origin", ct.GetOrigin(), label.GetOrigin(), " mm", 0.0, ORIGIN_TOLERANCE),
    )
    for what, of_ct, of_label, unit, relative, absolute in compared:
        if not np.allclose(of_ct, of_label, rtol=relative, atol=absolute):
            problem = f"The {what} of the CT is {_numbers(of_ct)}{unit}, and of the label {_numbers(of_label)}{unit}."
            remedy = "Draw or resample the label on the CT's own grid, or give the CT that it was drawn on."
            yield Finding(case.name, "error", problem, remedy)


def _check_placement(case: Case, ct: sitk.Image, label: sitk.Image, task: Task) -> Iterator[Finding]:
    """Whether the organs lie where they do in a body, and the slices as one body's do."""
    try:
        slices = AxialSlices(ct, task)
        drawn = image_like(classes_of(sitk.GetArrayViewFromImage(label), case, task), ct)
    except InputError as error:
        yield Finding(case.name, "error", str(error), "Or leave the case out.")
        return
    except CasesError:  # told already, of what the case says of its labels
        return
    labels, own, stack = slices.labels_of(drawn), slices.own, SliceStack(slices.own)
    drawn_in_own = by_slices(own.order.view(sitk.GetArrayViewFromImage(drawn)))[own.between_blank]
    doubts = side_cautions(slices) + width_doubts(slices) + stack.cautions() + stack.doubts()
    for problem in doubts + spacing_cautions(drawn_in_own, own.spacing, task):
        yield Finding(case.name, "warning", problem, LEAVE_OUT)
    canvas_labels = slices.to_canvas(labels)
    yield from _check_fit(case.name, canvas_labels, drawn_in_own, task)
    if found := misplaced_organs(canvas_labels, slices, task):
        problem = f"By its label file, {found}: the case may be stored mirrored, turned or upside down."
        remedy = (
            "Look whether the liver lies on the patient's right, the spine at the back and the chest above. If not, "
            "export CT and segmentation again; a case the wrong way round teaches what is wrong."
        )
        yield Finding(case.name, "warning", problem, remedy)


def _check_fit(case: str, canvas_labels: np.ndarray, labels: np.ndarray, task: Task) -> Iterator[Finding]:
    """Whether the task sees, and its results keep, what was drawn."""
    if (unseen := unseen_share(canvas_labels, task)) > MOST_UNSEEN:
        width, height = (pixels * task.spacing for pixels in task.input_size[::-1])
        problem = (
            f"{unseen:.0%} of what is drawn lies outside of the middle {width:.0f} x {height:.0f} mm of the slices, "
            "which is what the network learns from."
        )
        remedy = "Take a task with larger pixels or a larger input size (in 3D Slicer, the crop under Advanced)."
        yield Finding(case, "warning", problem, remedy)
    for organ in task.organs:
        if (left_out := left_out_share(labels, task, organ)) > MOST_LEFT_OUT:
            problem = (
                f"{left_out:.0%} of the {organ.name} lies apart from what the task takes for one body's ({organ.parts} "
                "of it), and results and figures would leave out as much."
            )
            remedy = "Correct the drawing; or make a task that says how many of it a body has (docs/tasks.md: parts)."
            yield Finding(case, "warning", problem, remedy)


def _numbers(values: Sequence[float]) -> str:
    shown = [f"{value:.6g}" for value in values[:MOST_NUMBERS]]
    return f"({', '.join(shown + ['...'] * (len(values) > MOST_NUMBERS))})"


def _check_values(case: Case, label: sitk.Image, task: Task, seen: _Seen) -> Iterator[Finding]:
    slices = sitk.GetArrayViewFromImage(label)
    values = set().union(*(np.unique(slice_).tolist() for slice_ in slices)) - {BACKGROUND}
    names_here = {name for value in values for name in case.labels.get(value, ())}
    seen.labels |= names_here
    if names_here:
        seen.labelled.add(case.name)
    for value in values:
        if len(names := case.labels.get(value, ())) == 1:
            seen.by_itself[names[0]].add(case.name)
    seen.others |= {value for value in values if case.labels.get(value) == ()}
    if strange := sorted(value for value in values if value < 0 or value != int(value)):
        problem = f"The label file has the values {_numbers(strange)}, which no label has."
        remedy = "It was interpolated, most likely: resample labels by nearest neighbor, and save whole numbers from 0."
        yield Finding(case.name, "error", problem, remedy)
    if unknown := sorted(values - case.labels.keys() - set(strange)):
        problem = f"The label file has the values {_numbers(unknown)}, and the case does not say what they stand for."
        remedy = "Name them under 'labels' in a cases.json; an empty list means none of the task's labels."
        yield Finding(case.name, "error", problem, remedy)
    if not values:
        problem = "The label file is empty, so this CT will be taken for one without any of the labels."
        remedy = "Keep the case if that is true; otherwise annotate it, or leave it out."
        yield Finding(case.name, "warning", problem, remedy)
    tumors = {tumor.name for tumor in task.tumors}
    values_of_tumors = {value for value, names in case.labels.items() if names and tumors.issuperset(names)}
    if values and values_of_tumors and not values & values_of_tumors:
        remedy = "Nothing, if the patient has none; otherwise annotate the tumor."
        yield Finding(case.name, "warning", "The label file shows no tumor.", remedy)
    for organ in task.organs:
        own = {value for value, names in case.labels.items() if names == (organ.name,)}
        of_tumors = {value for value in values_of_tumors if case.labels[value][0] in _names_of_tumors(organ, task)}
        if own and values & of_tumors and not values & own:
            problem = f"All that is drawn of the {organ.name} is its tumor: the {organ.name} itself has no voxel."
            remedy = f"Check that the {organ.name} is drawn, and which segment or value is the tumor."
            yield Finding(case.name, "warning", problem, remedy)


def _names_of_tumors(organ: Label, task: Task) -> set[str]:
    return {tumor.name for tumor in task.tumors_of(organ)}


def _check_segment_names(case: Case, label: sitk.Image, task: Task) -> Iterator[Finding]:
    """Compares the segments that 3D Slicer describes in .seg.nrrd with what the case says of the values."""
    try:
        segments = stored_segments(label, case.label)
    except InputError as error:
        yield Finding(case.name, "error", str(error), "Or leave the case out.")
        return
    guessed = guess_roles([*segments.values()], task)
    own_names = {known.name for known in task.labels}
    roles = {value: one.name if one.name in own_names else guessed[one.id] for value, one in segments.items()}
    confirmed = {role for value, role in roles.items() if role and role in case.labels.get(value, ())}
    for value, segment in segments.items():
        taken, role = case.labels.get(value, ()), roles[value]
        # A guess is no reason to doubt a case that says of a value that it is none of the labels, and a small one where
        # the label has a segment of its own, as of a cyst ("benign mass") that counts as kidney.
        certain = segment.name in own_names or not confirmed & set(taken)
        if role and role not in taken and (taken or segment.name in own_names):
            meant = " or ".join(taken) or "none of the task's labels"
            problem = f"The segment '{segment.name}' has the value {value} in the file, which is taken for {meant}."
            remedy = (
                "Say what the values stand for in a cases.json, or export the segments in the task's order. If the "
                "name is wrong, correct it in 3D Slicer."
            )
            yield Finding(case.name, "error" if certain else "warning", problem, remedy)


# All cases together


def _check_names(cases: Sequence[Case]) -> Iterator[Finding]:
    for name, count in Counter(case.name for case in cases).items():
        if count > 1:
            yield Finding(name, "error", f"{count} cases have this name.", "Give each case a name of its own.")


def _check_patients(cases: Sequence[Case]) -> Iterator[Finding]:
    if len({case.patient for case in cases}) == 1:
        problem = "All cases are of one patient, so there is none to choose the best model with."
        yield Finding(ALL_CASES, "error", problem, "Add cases of other patients.")


def _check_names_alike(cases: Sequence[Case]) -> Iterator[Finding]:
    """Whether names that stand for patients seem to be those of several scans of one."""
    if problem := names_alike_problem(cases):
        yield Finding(ALL_CASES, "warning", problem, ONE_PATIENT)


def _check_same_ct(seen: _Seen) -> Iterator[Finding]:
    for first, *others in seen.same_ct.values():
        for other in others:
            problem = f"Its CT is the same as that of case {first.name}"
            if other.patient == first.patient:
                yield Finding(other.name, "warning", f"{problem}, so it counts twice.", "Leave one of them out.")
            else:
                problem += ", but the cases are of different patients: one may be learned from and the other tested on."
                remedy = "Leave one of them out, or give both the same patient (in files: 'patient' in a cases.json)."
                yield Finding(other.name, "error", problem, remedy)


def _check_labels(cases: Sequence[Case], task: Task, seen: _Seen) -> Iterator[Finding]:
    told_apart = {names for case in cases for names in case.labels.values()}
    for label in task.labels:
        if (label.name,) not in told_apart:
            problem = f"No case marks '{label.name}' by itself, so a network cannot learn to tell it from the rest."
            yield Finding(ALL_CASES, "warning", problem, "Add cases in which it is marked, or choose another task.")
        elif label.name not in seen.labels:
            problem = f"'{label.name}' was looked for, but has no voxel in any case."
            remedy = (
                "If nobody looked for it, leave it out of 'labels' in a cases.json; otherwise add cases that show it."
            )
            yield Finding(ALL_CASES, "warning", problem, remedy)
    if seen.others:
        problem = (
            f"The values {_numbers(sorted(seen.others))} stand for none of the task's labels: they are background."
        )
        yield Finding(ALL_CASES, "warning", problem, "Nothing, if that is right.")


def _check_needed_parts(split: Split, seen: _Seen) -> Iterator[Finding]:
    """Without these there is no training at all."""
    remedy = "Divide the cases anew, or add cases of other patients."
    if not any(case.name in seen.labelled for case in split.train):
        problem = f"None of the cases to {USES['train']} has a label, so there is nothing to learn."
        yield Finding(ALL_CASES, "error", problem, remedy)
    several = len({case.patient for case in split.cases}) > 1
    if split.train and several and not split.validation:
        yield Finding(ALL_CASES, "error", f"There is no case to {USES['validation']}.", remedy)
    elif split.validation and not split.test:
        problem = f"There is no case to {USES['test']}, so nobody will know how good it is."
        yield Finding(ALL_CASES, "warning", problem, "Add cases of other patients, or divide the cases anew.")


def _check_parts(split: Split, task: Task, seen: _Seen) -> Iterator[Finding]:
    for part in PARTS:
        names = {case.name for case in getattr(split, part)}
        for label in task.labels:
            shown = seen.by_itself.get(label.name)
            if names and shown and not names & shown:
                remedy = "Add patients who have it, or divide the cases by another seed."
                yield Finding(ALL_CASES, "warning", label_gap(part, label.name), remedy)
