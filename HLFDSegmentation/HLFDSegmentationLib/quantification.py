"""Measure a segmentation: volumes, mean HU, lesions and their longest axial diameters."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.spatial.distance import cdist

from .errors import InputError
from .image_points import point_at, to_ras, voxel_at
from .measures import CSV_COLUMNS, Lesion, Point, SegmentMeasures, lesion_row, segment_row
from .output.safe_files import replacing
from .pieces import NEIGHBORS, Box, find_pieces, label_boxes
from .sides import NUMBERS, Sides, find_sides
from .tasks import Label, Task

SLICES_TOWARD = {
    "S": ("axial", "inferior to superior"),
    "I": ("axial", "superior to inferior"),
    "A": ("coronal", "posterior to anterior"),
    "P": ("coronal", "anterior to posterior"),
    "R": ("sagittal", "left to right"),
    "L": ("sagittal", "right to left"),
}


def measure(labels: sitk.Image, ct: sitk.Image, task: Task) -> list[SegmentMeasures]:
    """Measures every label of a task, in the task's order; a label without voxels is there too, with volume 0.

    Axial slices are the slices of the CT that are closest to perpendicular to the patient's superior-inferior axis,
    whatever the order in which the CT stores its axes.

    Args:
        labels: label values on the CT's grid.
        ct: the CT in HU.
        task: says which value is which label.

    Raises:
        InputError: the labels are not on the CT's grid.
    """
    _check_same_grid(labels, ct)
    label_array, ct_array = sitk.GetArrayViewFromImage(labels), sitk.GetArrayViewFromImage(ct)
    boxes = label_boxes(label_array, len(task.labels))
    voxels = {
        label.value: ct_array[box][label_array[box] == label.value] if box else ct_array[:0].ravel()
        for label, box in zip(task.labels, boxes)
    }
    voxel_ml = _voxel_ml(labels)
    sides = {organ.value: find_sides(labels, ct, task, organ) for organ in task.organs if organ.parts == 2}

    def measures(label: Label, box: Box | None) -> SegmentMeasures:
        own = voxels[label.value]
        found = sides.get(label.organ or label.value)
        with_tumors = own.size + sum(voxels[tumor.value].size for tumor in task.tumors_of(label))
        return SegmentMeasures(
            label=label.name,
            volume_ml=own.size * voxel_ml,
            volume_with_tumors_ml=with_tumors * voxel_ml if label.role == "organ" else None,
            mean_hu=_mean(own) if own.size else None,
            sd_hu=_sd(own) if own.size else None,
            lesions=_lesions(labels, ct, label, box, found) if label.role == "tumor" and box else [],
            side_ml={side: found.voxels(label_array, label.value, side) * voxel_ml for side in NUMBERS}
            if found
            else {},
        )

    return [measures(label, box) for label, box in zip(task.labels, boxes)]


def write_measures_csv(measures: Iterable[SegmentMeasures], path: Path) -> None:
    """Writes one row a segment (its column `lesion` is empty), followed by one row a lesion.

    Centers are in mm to the patient's right, anterior and superior, as Slicer counts. UTF-8, comma-separated, with `.`
    as decimal sign; docs/report.md tells every column.

    Raises:
        OutputError: the file cannot be written.
    """
    with replacing(path) as part, open(part, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, CSV_COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        for segment in measures:
            writer.writerow(segment_row(segment.label, segment))
            for lesion in segment.lesions:
                writer.writerow(lesion_row(segment.label, lesion, to_ras(lesion.center_mm), lesion.slice_index))


def slice_axis(image: sitk.Image) -> tuple[str, str]:
    """The plane of the slices that an image stores one after the other, and the way in which they follow each other.

    They are those that `Lesion.slice_index` counts: "axial" and "inferior to superior", for example.
    """
    return SLICES_TOWARD[sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(image.GetDirection())[-1]]


def _check_same_grid(labels: sitk.Image, ct: sitk.Image) -> None:
    same = labels.GetSize() == ct.GetSize() and all(
        np.allclose(ours, theirs, rtol=0, atol=1e-3)
        for ours, theirs in (
            (labels.GetSpacing(), ct.GetSpacing()),
            (labels.GetOrigin(), ct.GetOrigin()),
            (labels.GetDirection(), ct.GetDirection()),
        )
    )
    if not same:
        raise InputError(
            "The segmentation does not lie on the CT's grid: size, spacing, origin or direction differ. "
            "Measure it with the CT that it was made from."
        )


def _voxel_ml(image: sitk.Image) -> float:
    return float(np.prod(image.GetSpacing())) / 1000.0


def _mean(hu: np.ndarray) -> float:
    return float(hu.mean(dtype=np.float64))


def _sd(hu: np.ndarray) -> float:
    return float(hu.std(dtype=np.float64))


def _axial_part(image: sitk.Image, box: Box) -> sitk.Image:
    """The part of an image that a box holds, with axes along left, posterior and superior."""
    return sitk.DICOMOrient(image[tuple(reversed(box))], "LPS")


def _lesions(labels: sitk.Image, ct: sitk.Image, label: Label, box: Box, sides: Sides | None) -> list[Lesion]:
    """The lesions of a tumor, which lies in this box, largest first."""
    axial = _axial_part(labels, box)
    hu = sitk.GetArrayFromImage(_axial_part(ct, box))
    pieces, sizes = find_pieces(sitk.GetArrayViewFromImage(axial) == label.value)
    sizes = sizes[1:]
    piece_boxes = ndimage.find_objects(pieces)
    lesions = []
    for number, piece in enumerate(np.argsort(-sizes, kind="stable"), start=1):
        piece_box = piece_boxes[piece]
        corner = np.array([side.start for side in piece_box])
        lesion_mask = pieces[piece_box] == piece + 1
        lesion_hu = hu[piece_box][lesion_mask]
        diameter, ends = _longest_axial_diameter(lesion_mask, corner, axial)
        center = np.mean(np.nonzero(lesion_mask), axis=1) + corner
        a_voxel = voxel_at(labels, point_at(axial, np.argwhere(lesion_mask)[0] + corner))
        lesions.append(
            Lesion(
                number=number,
                volume_ml=int(sizes[piece]) * _voxel_ml(axial),
                mean_hu=_mean(lesion_hu),
                sd_hu=_sd(lesion_hu),
                longest_axial_diameter_mm=diameter,
                diameter_ends_mm=ends,
                center_mm=point_at(axial, center),
                slice_index=_slice_index(labels, np.mean(ends, axis=0)),
                side=sides.at(a_voxel) if sides else None,
            )
        )
    return lesions


def _longest_axial_diameter(
    mask: np.ndarray, corner: np.ndarray, axial: sitk.Image
) -> tuple[float, tuple[Point, Point]]:
    """The longest diameter in mm over all slices of a lesion's mask `(z, y, x)`, and its two ends."""
    column_mm, row_mm, _ = axial.GetSpacing()
    longest = 0.0
    longest_ends: list[tuple[float, ...]] = []
    for z, begin, piece in _pieces_in_slices(mask):
        if np.hypot(*np.multiply(piece.shape, (row_mm, column_mm))) <= longest:
            continue  # of many small pieces, as noise makes them
        outline = _outline(piece) + begin
        scaled = outline * (row_mm, column_mm)
        corners = ConvexHull(scaled).vertices  # the two points farthest apart are corners of the hull
        distances = cdist(scaled[corners], scaled[corners])
        farthest = distances.max()
        if farthest > longest:
            pair = np.unravel_index(distances.argmax(), distances.shape)
            longest, longest_ends = float(farthest), [(z, *outline[corners[i]]) for i in pair]
    first, second = (point_at(axial, np.array(end) + corner) for end in longest_ends)
    return longest, (first, second)


def _pieces_in_slices(mask: np.ndarray) -> Iterator[tuple[int, tuple[int, int], np.ndarray]]:
    """Each connected piece of each slice of a lesion's mask `(z, y, x)`: its slice, and where `(y, x)` its box begins.

    A lesion that is one in space may show as several in a slice, and what lies between them is no lesion.
    """
    for z, pixels in enumerate(mask):
        pieces, _ = ndimage.label(pixels, structure=NEIGHBORS[1])
        for number, (rows, columns) in enumerate(ndimage.find_objects(pieces), start=1):
            yield z, (rows.start, columns.start), pieces[rows, columns] == number


def _outline(pixels: np.ndarray) -> np.ndarray:
    """Middles of the outer edges `(n, 2)` in rows and columns: those that are outermost in their row or column.

    No other edge can be a corner of the convex hull; and they never lie on one line, even those of a single pixel.
    """
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    height, width = pixels.shape
    left = pixels[rows].argmax(axis=1) - 0.5
    right = width - pixels[rows, ::-1].argmax(axis=1) - 0.5
    top = pixels[:, columns].argmax(axis=0) - 0.5
    bottom = height - pixels[::-1, columns].argmax(axis=0) - 0.5
    return np.concatenate(
        [np.stack(pair, axis=1) for pair in ((rows, left), (rows, right), (top, columns), (bottom, columns))]
    )


def _slice_index(image: sitk.Image, point: np.ndarray) -> int:
    index = image.TransformPhysicalPointToContinuousIndex([float(x) for x in point])
    return round(index[2])
