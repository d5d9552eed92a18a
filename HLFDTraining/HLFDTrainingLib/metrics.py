"""How well a segmentation agrees with an annotation, label by label."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from HLFDSegmentationLib.errors import CasesError
from HLFDSegmentationLib.pieces import find_pieces
from HLFDSegmentationLib.tasks import BACKGROUND, Task
from monai.metrics import compute_hausdorff_distance
from scipy import ndimage

NAN = math.nan


@dataclass(frozen=True)
class LabelMetrics:
    """Agreement on one label, with P the predicted and T the annotated voxels. NaN where a figure has no meaning.

    Attributes:
        dice: 2 |P and T| / (|P| + |T|). Both empty: 1; one empty: 0 (the rule of the KiTS challenges).
        voe: volumetric overlap error, 1 - |P and T| / |P or T|. It is 1 - dice / (2 - dice).
        rvd: relative volume difference, (|P| - |T|) / |T|: above 0 where too much is segmented. NaN for an empty T.
        absolute_rvd: |rvd|, in whose mean too much and too little do not cancel.
        hd95_mm: the larger of the two directions' 95th percentile of the surface distances. NaN if P or T is empty.
        lesion_sensitivity: for a tumor, the share of T's lesions that P touches in at least one voxel. NaN for an
            organ, and without lesions in T.
        false_positive_lesions: for a tumor, the number of P's lesions that do not touch T. NaN for an organ.
    """

    dice: float = NAN
    voe: float = NAN
    rvd: float = NAN
    absolute_rvd: float = NAN
    hd95_mm: float = NAN
    lesion_sensitivity: float = NAN
    false_positive_lesions: float = NAN


METRICS = tuple(field.name for field in fields(LabelMetrics))


@dataclass(frozen=True)
class CaseMetrics:
    """The figures of one case.

    Attributes:
        case: its name.
        labels: figures by the name of the label; also by "liver with tumors" and the like for each organ that has
            tumors in the task, with organ and tumors as one. A label that the annotator did not look for, or did not
            tell from another, has NaN everywhere.
    """

    case: str
    labels: dict[str, LabelMetrics]


@dataclass(frozen=True)
class Summary:
    """Mean and standard deviation (of a sample, n - 1) of the `n` cases in which a figure is not NaN."""

    mean: float
    sd: float
    n: int


def with_tumors(organ: str) -> str:
    """The name of the figures for an organ and its tumors as one."""
    return f"{organ} with tumors"


def measure_case(
    case: str,
    prediction: np.ndarray,
    truth: np.ndarray,
    *,
    spacing: Sequence[float],
    groups: Sequence[int],
    task: Task,
) -> CaseMetrics:
    """Compares a case's segmentation with its annotation, in what the annotator looked for.

    Args:
        case: the case's name.
        prediction: predicted classes [z, y, x].
        truth: annotated classes [z, y, x], each the representative of its group (`cases.target_values`).
        spacing: voxel size in mm (z, y, x).
        groups: for each class the representative of its group (`cases.case_groups`).
        task: what the classes are.

    Raises:
        CasesError: the arrays differ in shape.
    """
    if prediction.shape != truth.shape:
        raise CasesError(
            f"Case {case}: the segmentation has {prediction.shape} voxels and the annotation {truth.shape}. "
            "Both must be on the grid of the CT."
        )
    tumor_names = {tumor.name for tumor in task.tumors}
    labels = {}
    for name, classes in measured_classes(task).items():
        masks = class_masks(classes, prediction, truth, groups)
        labels[name] = LabelMetrics()
        if masks:
            across = _single_slice(truth.shape)
            labels[name] = agreement(*masks, spacing, across=across, lesions=name in tumor_names)
    return CaseMetrics(case, labels)


def measured_classes(task: Task) -> dict[str, set[int]]:
    """What is measured of a task: the classes of each label, and of each organ with its tumors."""
    measured = {label.name: {label.value} for label in task.labels}
    for organ in task.organs:
        if task.tumors_of(organ):
            measured[with_tumors(organ.name)] = set(task.values_with_tumors(organ))
    return measured


def class_masks(
    classes: set[int], prediction: np.ndarray, truth: np.ndarray, groups: Sequence[int]
) -> tuple[np.ndarray, np.ndarray] | None:
    """Where the classes were predicted and annotated, cut to what either fills; none where it is not known.

    Arguments and shapes are those of `measure_case`.
    """
    representatives = {groups[value] for value in classes}
    merged_with = {value for value, representative in enumerate(groups) if representative in representatives}
    if merged_with != classes or BACKGROUND in representatives:
        return None
    predicted, annotated = np.isin(prediction, list(classes)), np.isin(truth, list(representatives))
    filled = ndimage.find_objects((predicted | annotated).view(np.uint8))
    box = filled[0] if filled else np.s_[:1, :1, :1]
    return predicted[box], annotated[box]


def agreement(
    predicted: np.ndarray, annotated: np.ndarray, spacing: Sequence[float], *, across: int | None, lesions: bool
) -> LabelMetrics:
    """All figures of two masks.

    Args:
        predicted, annotated: (Z, Y, X).
        spacing: voxel size in mm (z, y, x).
        across: the axis across a single slice, so that its outlines are compared; none for a volume.
        lesions: also tell how many lesions were found.
    """
    sensitivity, false_positives = _lesion_detection(predicted, annotated) if lesions else (NAN, NAN)
    return replace(
        overlap(predicted, annotated),
        hd95_mm=_hd95(predicted, annotated, spacing, across),
        lesion_sensitivity=sensitivity,
        false_positive_lesions=false_positives,
    )


def overlap(predicted: np.ndarray, annotated: np.ndarray) -> LabelMetrics:
    """The figures of two masks that follow from counting voxels."""
    both, ours, theirs = ((predicted & annotated).sum(), predicted.sum(), annotated.sum())
    either = ours + theirs - both
    rvd = float((int(ours) - int(theirs)) / theirs) if theirs else NAN
    return LabelMetrics(
        dice=float(2 * both / (ours + theirs)) if either else 1.0,
        voe=float(1 - both / either) if either else 0.0,
        rvd=rvd,
        absolute_rvd=abs(rvd),
    )


def _single_slice(shape: Sequence[int]) -> int | None:
    """The axis across a CT of one slice; none for a volume."""
    return shape.index(1) if 1 in shape else None


def _hd95(predicted: np.ndarray, annotated: np.ndarray, spacing: Sequence[float], across: int | None) -> float:
    """HD95 in mm between the surfaces of two masks; between their outlines in a CT of one slice, `across` this axis."""
    if not predicted.any() or not annotated.any():
        return NAN
    spacing = list(spacing)
    if across is not None:
        # In three dimensions, every pixel of a single slice would be surface.
        predicted, annotated = predicted.take(0, across), annotated.take(0, across)
        del spacing[across]
    one, other = (torch.from_numpy(mask)[None, None] for mask in (predicted, annotated))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # MONAI 1.6 warns of a call that it makes itself
        distance = compute_hausdorff_distance(one, other, include_background=True, percentile=95, spacing=spacing)
    return float(distance)


def _lesion_detection(predicted: np.ndarray, annotated: np.ndarray) -> tuple[float, float]:
    """Share of annotated lesions that are touched, and number of predicted ones that touch none."""
    found, lesions = _touching(annotated, predicted)
    right, predictions = _touching(predicted, annotated)
    return found / lesions if lesions else NAN, float(predictions - right)


def _touching(mask: np.ndarray, other: np.ndarray) -> tuple[int, int]:
    """How many of a mask's connected pieces share a voxel with the other mask, and how many there are."""
    pieces, sizes = find_pieces(mask)
    return len(np.unique(pieces[mask & other])), len(sizes) - 1


def summarize(cases: Iterable[CaseMetrics]) -> dict[str, dict[str, Summary]]:
    """For each label and each of `METRICS` the summary over the cases."""
    cases = list(cases)
    names = dict.fromkeys(name for case in cases for name in case.labels)
    return {
        name: {
            metric: summary_of([getattr(case.labels[name], metric) for case in cases if name in case.labels])
            for metric in METRICS
        }
        for name in names
    }


def summary_of(values: Sequence[float]) -> Summary:
    """The summary of figures, of which those that are NaN do not count."""
    known = np.array([value for value in values if not math.isnan(value)])
    return Summary(
        mean=float(known.mean()) if len(known) else NAN,
        sd=float(known.std(ddof=1)) if len(known) > 1 else NAN,
        n=len(known),
    )
