"""Does a CT lie as its file says, or is it stored mirrored, turned or upside down? Files lose that easily.

Two signs of it, each of which misses some: where the organs of a segmentation lie, and whether the model is sure of
more of an organ in slices that are mirrored or turned.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator

import numpy as np
import torch

from ..ct_files import BODY_HU
from ..pieces import among
from ..tasks import KIDNEY, LIVER, Code, Label, Task
from ..volumes import AxialSlices

LEAST_ML = 50.0
"""Of less, the place tells nothing: it is a tip of the organ, or something else."""

# In 188 slices and 86 patients with marks of both, the liver's center lay in front of the kidneys' in every one, by 14
# and 22 mm or more. In 436 slices with 20 cm2 of liver its center lay 9 mm to the left of the body's middle at most.
# (Both by a check that was not kept.)
LEFT_MM = 25.0
BEHIND_MM = 10.0
BELOW_MM = 20.0

MOST_CUT_MM = 100.0
MOST_CUT = 0.5
"""Where a body lies along an edge of its slices further than this, or than this share of the edge, a box cut it. Stout
patients touch the edges."""

DEEPER = 1.2
LEAST_DEPTH_MM = 230.0
"""Times as deep as wide, and so deep, is no body that lies on its back; heads are deeper than wide, and smaller. Three
real CTs are 1.2 to 1.6 times as wide as deep in all slices that show the whole body (by a check that was not kept)."""

WIDTH_MM = (200.0, 600.0)
"""Across a body, from the narrowest to the widest. Three real CTs have 348 to 365 mm, and half and twice as much where
their spacing is wrong by that; the one child among the patients of KiTS19's slices has 166 (by a check that was not
kept)."""

BODY_SLICES = 8
"""So many slices with liver tell where the middle of the body lies."""

EXCHANGES: dict[str, tuple[int, ...]] = {
    "left and right": (-1,),
    "front and back": (-2,),
    "left and right as well as front and back": (-2, -1),
}
"""What a slice (H, W) is mirrored along."""

SEARCH_EVERY_MM = 25.0
SURE = 0.98
MORE = 1.2
"""Times as much. As they are, patients with liver slices had 0.6 at most with left and right exchanged, 0.25 when
turned, and 1.01 with front and back exchanged."""

LEAST_CM2 = 150.0
"""In all slices that are searched, about the liver's largest area: of fewer slices the share is chance."""

ADVICE = (
    "Look whether the liver lies on the patient's right, the spine at the back and the chest above. If not, export the "
    "CT again from DICOM."
)
IN_A_FEW = "In a few people the organs lie mirrored; the model has not learned from them."


def misplaced_organs(labels: np.ndarray, slices: AxialSlices, task: Task) -> str:
    """Which organ lies where it does not in a body, in words; "" where all seems right, or nothing can be told.

    Args:
        labels: uint8 (Z, H, W), on the network's canvas.
        slices: the CT's.
        task: what the classes are.
    """
    liver, kidneys = (_center(labels, slices, task, code) for code in (LIVER, KIDNEY))
    if liver is None:
        return ""
    found = []
    middle = _middle_of_body(np.flatnonzero(among(labels, _values(task, LIVER)).any(axis=(1, 2))), slices)
    if middle is not None and (left := liver[2] - middle) >= LEFT_MM:
        found.append(f"the liver lies {left:.0f} mm to the left of the body's middle")
    if kidneys is not None:
        upwards, backwards, _ = liver - kidneys
        if backwards >= BEHIND_MM:
            found.append(f"the liver lies {backwards:.0f} mm behind the kidneys")
        if -upwards >= BELOW_MM:
            found.append(f"the liver lies {-upwards:.0f} mm below the kidneys")
    return " and ".join(found)


def placement_cautions(labels: np.ndarray, slices: AxialSlices, task: Task, *, given: bool) -> list[str]:
    """The sentence that stands beside a result; see `misplaced_organs`.

    Args:
        labels: uint8 (Z, H, W), on the network's canvas.
        slices: the CT's.
        task: what the classes are.
        given: whether the labels were given, and not found in this CT: then they may lie wrongly in a good one.
    """
    if not (found := misplaced_organs(labels, slices, task)):
        return []
    if given:
        return [
            f"By the segmentation given, {found}: the segmentation, or the CT, may be stored mirrored, turned or "
            "upside down. Look whether its outlines lie on the organs. If not, export the segmentation again; if they "
            f"do, export the CT again from DICOM. {IN_A_FEW}"
        ]
    return [f"In this CT {found}: it may be stored mirrored, turned or upside down. {ADVICE} {IN_A_FEW}"]


def side_cautions(slices: AxialSlices) -> list[str]:
    """About bodies that are deeper than wide in the slices, by their median: one that lies on its side, or turned by a
    quarter, or whose rows and columns are exchanged, which `MirroredSearch` does not try.
    """
    if (size := _body_size(slices)) is None:
        return []
    depth, width = size
    if depth < max(LEAST_DEPTH_MM, DEEPER * width):
        return []
    return [
        f"In the CT's slices the body is {depth:.0f} mm deep, from front to back, and {width:.0f} mm wide: the patient "
        "lies on the side, or the CT is stored turned by a quarter or with rows and columns exchanged. The model has "
        f"learned from patients on their backs, and nothing here may be right. {ADVICE}"
    ]


def width_doubts(slices: AxialSlices) -> list[str]:
    """About bodies that are narrower or wider than bodies are, as where the spacing is wrong, along all axes or within
    slices. Not of a CT that was cut to a window above air: there the body ends where the fat under the skin begins.
    """
    if slices.own.voxels.min() > BODY_HU or (size := _body_size(slices)) is None:
        return []
    low, high = WIDTH_MM
    across = max(size)  # of a patient who lies on the side, it is the depth
    if low <= across <= high:
        return []
    unless = "if it is not a child's, or a head or limb, " if across < low else ""
    spacing = " x ".join(f"{mm:.3g}" for mm in slices.own.spacing)
    return [
        f"In the CT's slices the body is {across:.0f} mm wide: {unless}the voxel spacing, {spacing} mm by the file, "
        "may be wrong, and all volumes with it. Compare it with the original series."
    ]


def _body_size(slices: AxialSlices) -> tuple[float, float] | None:
    """How deep and how wide the body is, in mm, by the median of slices; none where all cut it."""
    if slices.cut_straight:
        return None  # the borders of a CT that was cut anew cut the body, too
    numbers = np.arange(0, slices.count, max(1, round(SEARCH_EVERY_MM / slices.spacing[2])))
    bodies = [body for number in numbers if (body := _whole_body(number, slices)) is not None]
    if not bodies:
        return None
    sizes = [[np.ptp(np.flatnonzero(body.any(axis=axis))) + 1 for axis in (1, 0)] for body in bodies]
    depth, width = np.median(sizes, axis=0) * slices.pixel_mm
    return float(depth), float(width)


def _values(task: Task, code: Code) -> list[int]:
    return [value for organ in task.organs if organ.type == code for value in task.values_with_tumors(organ)]


def _center(labels: np.ndarray, slices: AxialSlices, task: Task, code: Code) -> np.ndarray | None:
    """Where an organ with its tumors lies: mm upwards, backwards and to the left; none where there is too little."""
    organ = among(labels, _values(task, code))
    voxel_mm = np.array([slices.spacing[2], *slices.pixel_mm])
    # Along each axis, for lists of all voxels take far more memory.
    sums = [organ.sum(axis=tuple({0, 1, 2} - {axis})) for axis in range(3)]
    if sums[0].sum() * voxel_mm.prod() / 1000 < LEAST_ML:
        return None
    return np.array([np.average(np.arange(len(along)), weights=along) for along in sums]) * voxel_mm


def _middle_of_body(numbers: np.ndarray, slices: AxialSlices) -> float | None:
    """How far to the left the body's middle lies, in mm, in some of the slices of these numbers; none if all cut it."""
    some = numbers[np.linspace(0, len(numbers) - 1, min(len(numbers), BODY_SLICES)).round().astype(int)]
    whole = [body for number in some if (body := _whole_body(number, slices)) is not None]
    if not whole:
        return None
    columns = np.sum(whole, axis=(0, 1))
    return float(np.average(np.arange(len(columns)), weights=columns) * slices.pixel_mm[1])


def _whole_body(number: int, slices: AxialSlices) -> np.ndarray | None:
    """The body (H, W), bool, in a slice; none where the slice cuts it, as that of a box around an organ does.

    Such a slice does not tell where the body's middle lies, and on the left, mirrored, the spleen looks like a liver.
    """
    rows, columns = slices.shown
    body = slices.body(number, number + 1)[0, :rows, :columns]
    edges = zip(slices.pixel_mm[::-1], (body[[0, -1]], body.T[[0, -1]]))
    cut = any(edge.sum() > min(MOST_CUT_MM / mm, MOST_CUT * edge.size) for mm, sides in edges for edge in sides)
    return None if cut or not body.any() else body


class MirroredSearch:
    """Looks for organs of one part in some slices, as these are, mirrored and turned.

    A network that has learned from slices without mirrored ones is sure of far less of the liver in mirrored ones. One
    that has learned from both is as sure in either, and nothing is told. A slice that cuts the body is left out.

    Attributes:
        slices: the numbers of the slices that are searched.
        passes: how often a slice goes through the network, if none cuts the body.
    """

    def __init__(self, slices: AxialSlices, task: Task) -> None:
        self._slices = slices
        self._organs = [(organ, task.values_with_tumors(organ)) for organ in task.organs if organ.parts == 1]
        step = max(1, round(SEARCH_EVERY_MM / slices.spacing[2]))
        self.slices = np.arange(min(step // 2, slices.count - 1), slices.count, step) if self._organs else np.arange(0)
        self.passes = len(self.slices) * (1 + len(EXCHANGES))
        # By slice, as a slice may be searched again with less memory.
        self._sure: dict[str, dict[int, dict[str, int]]] = defaultdict(lambda: defaultdict(dict))

    def steps(self, start: int, stop: int, logits: Callable[[np.ndarray], torch.Tensor]) -> Iterator[float]:
        """Searches those of slices start..stop-1 that are wanted, and yields the share that is done."""
        wanted = self.slices[(self.slices >= start) & (self.slices < stop)]
        for done, number in enumerate(wanted.tolist(), start=1):
            if _whole_body(number, self._slices) is not None:
                self._search(number, logits)
            yield done / len(wanted)

    def _search(self, number: int, logits: Callable[[np.ndarray], torch.Tensor]) -> None:
        image = self._slices.images(number, number + 1)
        for way, axes in {"": (), **EXCHANGES}.items():
            chances = logits(self._mirrored(image, axes)).softmax(dim=1)
            for organ, values in self._organs:
                self._sure[organ.name][number][way] = int((chances[:, values].sum(dim=1) > SURE).sum())

    def _mirrored(self, images: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        rows, columns = self._slices.shown
        mirrored = images.copy()
        mirrored[..., :rows, :columns] = np.flip(images[..., :rows, :columns], axes)
        return mirrored

    def cautions(self) -> list[str]:
        """A sentence for each organ that is found far more in another way."""
        return [sentence for organ, _ in self._organs if (sentence := self._caution(organ))]

    def _caution(self, organ: Label) -> str:
        by_slice = self._sure[organ.name].values()
        pixels = {way: sum(sure[way] for sure in by_slice) for way in ("", *EXCHANGES)}
        best = max(EXCHANGES, key=pixels.__getitem__)
        cm2 = pixels[best] * float(np.prod(self._slices.pixel_mm)) / 100
        if cm2 < LEAST_CM2 or pixels[best] < MORE * pixels[""]:
            return ""
        times = f"{pixels[best] / pixels['']:.1f} times as much" if pixels[""] else "far more"
        return (
            f"With {best} exchanged, the model is sure of {times} {organ.name}: the CT may be stored mirrored or "
            f"turned, and then nothing here is right. {ADVICE} {IN_A_FEW}"
        )
