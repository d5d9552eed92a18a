"""Do the slices of a CT follow each other as those of one body do, at the distance that the file tells?

Files lose slices, and their order, where a CT was converted or put together from pictures. Volumes, and what lies
between, are wrong then, and every slice by itself looks right.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ..axial_volume import AxialVolume
from ..pieces import among, values_box
from ..tasks import KIDNEY, Task

AROUND = 4
"""So many steps from slice to slice, on either side of one, tell how much a CT changes there."""

JUMP = 2.5
"""Times the larger of the medians on both sides. How these limits do: docs/default_model.md."""

CLOSER = 0.75
"""A slice counts as misplaced where those beside it differ by less than this share of what either differs from it. With
noise alone it is 0.8 and more."""

MISPLACED = 0.05
LEAST_MISPLACED = 3
"""From this share of the slices on, and this number, the order counts as wrong."""

LEAST_MEASURED_ML = 20.0
LEAST_KIDNEY_SLICES = 5
KIDNEY_HEIGHT = (1.0, 2.5)
"""Of a kidney with its tumors, by the diameter of a disk as large as its largest axial slice. The 197 whole kidneys of
the label maps of 100 patients (KiTS23) have 1.06 to 2.39 (by a check that was not kept)."""


class SliceStack:
    """How a CT changes from slice to slice. Blank slices, and copies of the one below, are left out.

    Args:
        slices: the CT's own. Of a CT that is cut anew, each straight one shows some of several.
    """

    def __init__(self, slices: AxialVolume) -> None:
        self._slices = slices
        self._numbers = np.flatnonzero(~slices.blank & ~slices.copies)
        # Programs that resample a CT repeat its first and last slice.
        inner = slice(*self._numbers[[1, -1]]) if len(self._numbers) > 1 else slice(None)
        self._copies = int(slices.copies[inner].sum())
        self._blank_inside = int(slices.blank[slices.between_blank].sum())
        coarse = slices.coarse()[self._numbers]
        self._steps = np.abs(np.diff(coarse, axis=0)).mean(axis=(1, 2))
        over_one = np.abs(coarse[2:] - coarse[:-2]).mean(axis=(1, 2))
        self._misplaced = int((over_one < CLOSER * np.minimum(self._steps[:-1], self._steps[1:])).sum())

    def cautions(self) -> list[str]:
        """About slices that seem to be in the wrong order."""
        if self._misplaced < max(LEAST_MISPLACED, MISPLACED * len(self._numbers)):
            return []
        return [
            f"At {self._misplaced} of the CT's {self._slices.count} slices, those on both sides are more like each "
            "other than like the slice between them: the slices seem to be in the wrong order, or of two series, "
            "and then nothing here is right. Export the CT again from DICOM."
        ]

    def doubts(self) -> list[str]:
        """About slices that are blank or copies, and about places where some seem to be missing."""
        doubts = []
        if self._blank_inside:
            doubts.append(
                f"{_slices(self._blank_inside)} blank, between others that show the patient: "
                "nothing is found there, and is missing in the volumes. Compare with the original series."
            )
        if self._copies:
            doubts.append(
                f"{_slices(self._copies)} the same as the slice below, to the last voxel, as resampling to the "
                "nearest slice makes them. If the CT was not resampled so, its spacing, and so the volumes, are wrong: "
                "compare with the original series."
            )
        if jumps := self._jumps():
            middle_of_slice = (np.array(self._slices.shape[1:]) - 1) / 2
            where = self._slices.place(np.array([jumps[0] + 0.5, *middle_of_slice]))
            more = f" (and in {len(jumps) - 1} more of its places)" if len(jumps) > 1 else ""
            doubts.append(
                f"The CT changes abruptly at {where}{more}: slices may be missing there, or the patient moved. Look "
                "at the outlines around it; volumes, and lesions there, may be wrong."
            )
        return doubts

    def _jumps(self) -> list[int]:
        """The numbers of the slices above which the CT changes far more than around, the largest change first."""
        sizes = {}
        for place in range(AROUND, len(self._steps) - AROUND):
            number, after = self._numbers[place : place + 2]
            # On both sides, for where the body begins it changes more on one.
            around = max(np.median(self._steps[place - AROUND : place]), np.median(self._steps[place + 1 :][:AROUND]))
            if self._steps[place] > JUMP * around and not self._slices.blank[number:after].any():
                sizes[int(number)] = self._steps[place] / around
        return sorted(sizes, key=sizes.__getitem__, reverse=True)


def _slices(number: int) -> str:
    return "1 slice of the CT is" if number == 1 else f"{number} slices of the CT are"


def spacing_cautions(labels: np.ndarray, spacing: tuple[float, float, float], task: Task) -> list[str]:
    """About kidneys that are too flat or too tall to be ones, as where the spacing is wrong.

    Args:
        labels: uint8 (Z, Y, X) in axial order, without blank slices.
        spacing: of their voxels (x, y, z) in mm, as the file tells it.
        task: what the classes are.
    """
    heights = _whole_heights(labels, spacing, task)
    low, high = KIDNEY_HEIGHT
    if not heights or not (max(heights) < low or min(heights) > high):
        return []
    what, found = ("flatter", max(heights)) if max(heights) < low else ("taller", min(heights))
    return [
        f"What was found of the kidneys is {what} than kidneys are: its height is {found:.1f} times its width. Either "
        f"the distance between the slices, {spacing[2]:.3g} mm by the file, or the size of the pixels, "
        f"{spacing[0]:.3g} mm by the file, is wrong, and all volumes with it, or slices are missing, or this is not "
        "the kidneys. Look at the outlines, and compare with the original series."
    ]


def _whole_heights(labels: np.ndarray, spacing: tuple[float, float, float], task: Task) -> list[float]:
    """Of each kidney with its tumors that no border of the CT cuts: its height by the diameter of its largest slice.

    A piece that is hardly anything but tumor is no kidney.
    """
    kidneys = [organ for organ in task.organs if organ.type == KIDNEY]
    values = [value for kidney in kidneys for value in task.values_with_tumors(kidney)]
    around = values_box(labels, values)
    if around is None:
        return []
    # In a box around both, for the pieces' numbers take much memory.
    pieces, _ = ndimage.label(among(labels[around], values))
    own = among(labels[around], [kidney.value for kidney in kidneys])
    heights = []
    for number, box in enumerate(ndimage.find_objects(pieces), start=1):
        piece = pieces[box] == number
        whole = all(
            outer.start + inner.start > 0 and outer.start + inner.stop < size
            for outer, inner, size in zip(around, box, labels.shape, strict=True)
        )
        own_ml = np.count_nonzero(piece & own[box]) * np.prod(spacing) / 1000
        if whole and len(piece) >= LEAST_KIDNEY_SLICES and own_ml >= LEAST_MEASURED_ML:
            largest = piece.sum(axis=(1, 2)).max() * spacing[0] * spacing[1]
            heights.append(len(piece) * spacing[2] / (2 * np.sqrt(largest / np.pi)))
    return heights
