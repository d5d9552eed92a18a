"""What makes a result doubtful, in sentences that stand beside it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..axial_volume import AxialVolume
from ..measures import in_ml
from ..model_files.model_figures import in_brackets, measured_of
from ..pieces import Box, among, value_counts
from ..sides import LEAST_KIDNEY_ML, MOST_APART_MM, Piece, find_pair
from ..tasks import KIDNEY, LIVER, Label, Task

LEAST_FIELD_MM = 50.0
"""A CT that shows less of the patient than this, across, is cropped tightly or has a wrong spacing."""

WIDEST_SLICES_MM = 10.0
"""CT of the abdomen is hardly ever thicker; a wider spacing is a sign of slices left out, or of a wrong header."""

TILTED_DEGREES = 10.0
"""Networks learn from slices across the patient. A few degrees, of the gantry or of how a patient lies, are common and
cost little. From here on they cost more: of a CT that was cut anew so, the Dice of the liver fell from 0.918 to 0.901
at 10 degrees and 0.892 at 19."""

LITTLE_ML = 50.0
"""An organ of less is one that the CT hardly shows, or none: in other parts of the body, models find such pieces."""

LEAST_PIECE_ML = 1.0
"""A smaller piece beside a kidney changes no volume that a reader would notice."""

CUT_CM2 = 1.0
"""So much of an organ on the sides of the slices, or beside what fills the CT up, is not chance: three whole CTs have
none at the sides, and 0.1 or less beside such values; 0.3 where they are rounded to 5 HU."""

ENHANCED_KIDNEY_HU = 60.0
"""Kidneys have about 30 HU without contrast medium, and more than 80 in every phase with it. The liver cannot tell: in
an early phase it has no more than without."""

ORGAN_HU = (-30.0, 350.0)
"""Of the median of a liver or kidney: fat brings it to -20 at most, and contrast medium to about 250."""

AROUND_REGION = "in the slices around the region"
"""What the network looked at where only a region was to be labeled."""

DOUBTFUL_DICE = 0.75

DICE_FIGURES = (("dice_with_tumors",), ("dice",), ("test_dice_with_tumors",), ("test_dice", "validation_dice"))
"""Of a model package, those that tell most first. Of those that stand together the lowest counts: where many cases to
test on have no tumor, the mean Dice is high for a model that finds none."""


def geometry_doubts(
    grid_shape: tuple[int, int, int], spacing: tuple[float, float, float], thickness_mm: float | None
) -> list[str]:
    """About a CT of these voxels (Z, Y, X) and this spacing (x, y, z) in mm, in axial order.

    Args:
        grid_shape: of the axial slices.
        spacing: of the axial slices.
        thickness_mm: of a CT that is a single slice, axial or not; none of others.
    """
    doubts = []
    rows_mm, columns_mm = grid_shape[1] * spacing[1], grid_shape[2] * spacing[0]
    if min(rows_mm, columns_mm) < LEAST_FIELD_MM:
        doubts.append(
            f"The CT's slices show only {columns_mm:.3g} x {rows_mm:.3g} mm. The model has learned from whole slices, "
            "and may be wrong here, or find nothing. Check the voxel spacing, or give the whole CT."
        )
    if thickness_mm is not None:
        doubts.append(
            f"The CT is a single slice of {thickness_mm:.3g} mm: every volume is of this slice alone. Give the whole "
            "CT to measure an organ or a lesion."
        )
    elif spacing[2] > WIDEST_SLICES_MM:
        doubts.append(
            f"The CT's slices are {spacing[2]:.3g} mm apart. Volumes are rough then, and small lesions can lie between "
            "the slices. Check that the spacing is right and that no slices are missing."
        )
    widest = max(spacing[:2])
    if widest > WIDEST_SLICES_MM:
        doubts.append(
            f"The CT's voxels are {widest:.3g} mm wide within axial slices, as in coronal or sagittal series. Volumes "
            "and diameters are rough then, and the model, which sees axial slices, may be wrong. Give the axial series."
        )
    return doubts


def tilt_doubts(degrees: float, *, cut_straight: bool) -> list[str]:
    """About a CT whose slices are tilted by so many degrees against the plane across the patient.

    Args:
        degrees: the angle.
        cut_straight: whether the model was given straight slices that were cut from them.
    """
    if degrees < TILTED_DEGREES:
        return []
    why = (
        "For the model, straight slices were cut from them, which smooths the CT; diameters are of the tilted ones."
        if cut_straight
        else "The model has learned from slices that are not, and may be less exact here."
    )
    return [
        f"The CT's slices are tilted by {degrees:.0f}° against the plane across the patient. {why} Look at the "
        "outlines before you use any figure of them, or give a straight series."
    ]


def class_voxels(labels: np.ndarray, task: Task) -> np.ndarray:
    """How many voxels each class has in labels, uint8 (Z, Y, X): (num_classes,)."""
    return value_counts(labels, task.num_classes)


def cut_doubts(labels: np.ndarray, ct: AxialVolume, task: Task) -> list[str]:
    """About organs, with their tumors, of which the CT shows a part.

    Args:
        labels: uint8 (Z, Y, X) in axial order. That a CT of one slice ends there, `geometry_doubts` tells.
        ct: the CT, in the same shape.
        task: what the classes are.
    """
    ends = [ct.between_blank.start, ct.between_blank.stop - 1]
    at_ends, at_sides = [], []
    for organ in task.organs:
        mask = among(labels, task.values_with_tumors(organ))
        across_z, *across_sides = ct.cut_cm2(mask)
        if ends[0] < ends[1] and (mask[ends].any() or across_z >= CUT_CM2):
            at_ends.append(organ.name)
        if sum(across_sides) >= CUT_CM2:
            at_sides.append(organ.name)
    beyond = "what lies beyond is missing in the volumes, and lesions there are not seen."
    doubts = []
    if at_ends:
        were = "was" if len(at_ends) == 1 else "were"
        doubts.append(f"The CT begins or ends where {' and '.join(at_ends)} {were} found: {beyond}")
    if at_sides:
        doubts.append(f"The sides of the CT's slices cut off {' and '.join(at_sides)}: {beyond}")
    return doubts


def anatomy_doubts(voxels: np.ndarray, task: Task, voxel_ml: float) -> list[str]:
    """About what was found, see `class_voxels`: more of a tumor than of its organ.

    Where both together are little, `little_doubts` tells it alone: a sentence of each would seem a contradiction.
    """
    volumes = voxels * voxel_ml
    pairs = [
        (tumor, organ)
        for organ in task.organs
        for tumor in task.tumors_of(organ)
        if _with_tumors_ml(organ, voxels, task, voxel_ml) >= LITTLE_ML
    ]
    return [
        f"More {tumor.name} ({volumes[tumor.value]:.1f} mL) than {organ.name} ({volumes[organ.value]:.1f} mL) was "
        "found, which is rare. Look at both before you use any figure of them."
        for tumor, organ in pairs
        if volumes[tumor.value] > volumes[organ.value]
    ]


def little_doubts(voxels: np.ndarray, task: Task, voxel_ml: float) -> list[str]:
    """About organs, with their tumors, of which hardly anything was found, see `class_voxels`."""
    little = []
    for organ in task.organs:
        if 0 < (ml := _with_tumors_ml(organ, voxels, task, voxel_ml)) < LITTLE_ML:
            tumors = [tumor.name for tumor in task.tumors_of(organ) if voxels[tumor.value]]
            what = f"{organ.name} with {' and '.join(tumors)}" if tumors else organ.name
            little.append(f"{in_ml(ml)} of {what}")
    if not little:
        return []
    return [
        f"Only {' and '.join(little)} was found. Where the CT does not show the organ, or just its end, the "
        "model may have taken something else for it. Look at it before you use any figure of it."
    ]


def absence_cautions(voxels: np.ndarray, task: Task, *, of_region: bool) -> list[str]:
    """About organs of which nothing was found, see `class_voxels`: a measure of 0 mL reads as if they were healthy.

    Args:
        voxels: see `class_voxels`.
        task: what the classes are.
        of_region: whether only the slices around a region were looked at. The CT may show the organ elsewhere.
    """
    absent = [organ.name for organ in task.organs if not voxels[task.values_with_tumors(organ)].any()]
    if not absent:
        return []
    where, shown_by = (f" {AROUND_REGION}", "these slices show") if of_region else ("", "the CT shows")
    return [
        f"No {' and no '.join(absent)} was found{where}, so this result says nothing of tumors there. Where {shown_by} "
        "it, the model has missed it."
    ]


def second_kidney_cautions(labels: np.ndarray, task: Task, ct: AxialVolume) -> list[str]:
    """About pieces that were kept as one of two kidneys, and may be none, as where a patient has one kidney.

    Where both together are little, `little_doubts` tells it alone.

    Args:
        labels: uint8 (Z, Y, X) in axial order, 0 in blank slices.
        task: what the classes are.
        ct: the CT, in the same shape.
    """
    labels = _without_gaps(labels, ct)
    cautions = []
    for organ in task.organs:
        pair = find_pair(labels, task, organ) if organ.type == KIDNEY and organ.parts == 2 else None
        smaller_ml, larger_ml = (piece.size * ct.voxel_ml for piece in pair.two) if pair else (0.0, 0.0)
        if pair is None or smaller_ml < LEAST_PIECE_ML or smaller_ml + larger_ml < LITTLE_ML:
            continue
        cautions += [
            f"One of the two pieces taken for {organ.name} ({piece.size * ct.voxel_ml:.1f} mL at "
            f"{ct.place(piece.center)}) {' and '.join(signs)}: in a patient with one kidney it may be something else. "
            "Look at it."
            for piece, other in (pair.two, pair.two[::-1])
            if (signs := _signs_of_no_kidney(piece, other, pair.box, ct))
        ]
    return cautions


def _without_gaps(labels: np.ndarray, ct: AxialVolume) -> np.ndarray:
    """Labels whose blank slices between others show what the one below does: a blank slice parts no organ."""
    order = np.arange(ct.count)
    between = ct.between_blank
    order[between] = np.maximum.accumulate(np.where(ct.blank, 0, order))[between]
    return labels[order] if ct.blank[between].any() else labels


def _signs_of_no_kidney(piece: Piece, other: Piece, box: Box, ct: AxialVolume) -> list[str]:
    signs = []
    # Those of a small child are alike.
    if piece.own_size * ct.voxel_ml < LEAST_KIDNEY_ML and piece.own_size < other.own_size / 2:
        if piece.own_size < piece.size / 2:
            signs.append("is mostly tumor")
        elif not _is_cut(piece, box, ct):
            signs.append("is small for one")
    in_front_mm = ct.point(other.center)[1] - ct.point(piece.center)[1]
    if in_front_mm > MOST_APART_MM:
        signs.append(f"lies {in_front_mm:.0f} mm in front of the other")
    return signs


def _is_cut(piece: Piece, box: Box, ct: AxialVolume) -> bool:
    """Whether a piece, of a pair in this box, lies where the CT ends."""
    shown = (ct.between_blank, *map(slice, (0, 0), ct.shape[1:]))
    if any(own.start == whole.start or own.stop == whole.stop for own, whole in zip(piece.box, shown)):
        return True
    mask = np.zeros(ct.shape, bool)
    mask[box] = piece.mask
    return bool(ct.cut_cm2(mask).sum() >= CUT_CM2)


def contrast_cautions(hu: np.ndarray, labels: np.ndarray, task: Task, voxel_ml: float) -> list[str]:
    """About a CT without contrast medium, where tumors hardly differ from their organ: its kidneys are as dark.

    Where an organ has HU that none has with or without it, that is told instead.

    Args:
        hu: the CT (Z, Y, X), in HU.
        labels: uint8, in the same shape.
        task: what the classes are.
        voxel_ml: the volume of a voxel, in mL.
    """
    if impossible := _organ_hu_cautions(hu, labels, task, voxel_ml):
        return impossible
    kidneys = [label for label in task.organs if label.type == KIDNEY]
    with_tumors = [value for kidney in kidneys for value in task.values_with_tumors(kidney)]
    kidney_hu = hu[among(labels, [kidney.value for kidney in kidneys])]
    # Models take kidneys without contrast medium for tumor, so tumors count for how much was found.
    if not task.tumors or not kidney_hu.size or among(labels, with_tumors).sum() * voxel_ml < LITTLE_ML:
        return []
    if (median := np.median(kidney_hu)) >= ENHANCED_KIDNEY_HU:
        return []
    tumors = " and ".join(tumor.name for tumor in task.tumors)
    return [
        f"The kidneys' median is {median:.0f} HU, as in a CT without contrast medium: tumors hardly differ from their "
        f"organ there. What this result says of {tumors}, found or not, is not to be used unless a series with "
        "contrast medium confirms it."
    ]


def _organ_hu_cautions(hu: np.ndarray, labels: np.ndarray, task: Task, voxel_ml: float) -> list[str]:
    voxels = class_voxels(labels, task)
    organs = [organ for organ in task.organs if organ.type in (LIVER, KIDNEY) and voxels[organ.value]]
    medians = [
        (organ.name, float(np.median(hu[among(labels, values)])))
        for organ in organs
        if (values := _values_to_judge(organ, voxels, task, voxel_ml))
    ]
    low, high = ORGAN_HU
    if not (wrong := [f"{median:.0f} HU for {name}" for name, median in medians if not low <= median <= high]):
        return []
    return [
        f"The median of what was found is {' and '.join(wrong)}, which no such organ has: the CT's values are not HU, "
        "or something else was taken for it. Do not rely on anything of this result. Look at the outlines, and give "
        "the CT as the scanner stored it."
    ]


def _values_to_judge(organ: Label, voxels: np.ndarray, task: Task, voxel_ml: float) -> list[int]:
    """An organ alone; with its tumors where nearly all of it was called tumor; nothing where even that is little."""
    if voxels[organ.value] * voxel_ml >= LITTLE_ML:
        return [organ.value]
    return task.values_with_tumors(organ) if _with_tumors_ml(organ, voxels, task, voxel_ml) >= LITTLE_ML else []


def _with_tumors_ml(organ: Label, voxels: np.ndarray, task: Task, voxel_ml: float) -> float:
    return float(voxels[task.values_with_tumors(organ)].sum() * voxel_ml)


def model_cautions(voxels: np.ndarray, task: Task, metrics: Mapping[str, Mapping[str, float | None]]) -> list[str]:
    """About labels that the model is known to be weak at: those it found, and tumors it did not find in their organ.

    Args:
        voxels: see `class_voxels`.
        task: what the classes are.
        metrics: of the model, see `ModelPackage`.
    """
    weak = [(label, dice) for label in task.labels if (dice := _doubtful_dice(metrics.get(label.name, {})))]
    found = [(label.name, dice) for label, dice in weak if voxels[label.value]]
    missing = [(label.name, dice) for label, dice in weak if not voxels[label.value] and _organ_found(label, voxels)]
    cautions = []
    if found:
        names, figures = map(" and ".join, zip(*found))
        cautions.append(
            f"Do not rely on what was found of {names}. This model is weak at it: the mean Dice measured is {figures}, "
            "where 1 is perfect. Some of it may be none, and more may be there. Check and correct it."
        )
    if missing:
        names, figures = " and no ".join(name for name, _ in missing), " and ".join(dice for _, dice in missing)
        cautions.append(
            f"No {names} was marked. That does not mean that there is none: this model is weak at finding it (the mean "
            f"Dice measured is {figures}, where 1 is perfect)."
        )
    return cautions


def _organ_found(tumor: Label, voxels: np.ndarray) -> bool:
    return tumor.organ is not None and bool(voxels[tumor.organ])


def _doubtful_dice(figures: Mapping[str, float | None]) -> str:
    """The Dice that decides, in words; "" where it is good, or unknown."""
    known = ([(figure, name) for name in names if (figure := figures.get(name)) is not None] for names in DICE_FIGURES)
    dice, name = next((min(values) for values in known if values), (1.0, ""))
    return f"{dice:.2f}{in_brackets(measured_of(name, figures))}" if dice < DOUBTFUL_DICE else ""
