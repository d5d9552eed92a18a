"""How often slices that are lost, in the wrong order or at a wrong distance are told (docs/report.md).

    python Testing/experiments/harmed_stacks.py DATA

DATA is the folder with volumes and kits23_labels. The three CTs lose slices from their middle, or get another order; of
the label maps, in place of a model's result, the distance between the slices is told wrongly; of the CTs, all lengths
are.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from HLFDSegmentationLib.axial_volume import AxialOrder, AxialVolume
from HLFDSegmentationLib.cautions.body_orientation import width_doubts
from HLFDSegmentationLib.cautions.slice_stack import SliceStack, spacing_cautions
from HLFDSegmentationLib.ct_files import read_ct
from HLFDSegmentationLib.tasks import TASKS
from HLFDSegmentationLib.volumes import AxialSlices

TASK = TASKS["kidney-tumor"]
GAPS = (1, 2, 3, 4, 6, 8)
WRONG_SPACINGS = (1.0, 0.33, 0.5, 0.67, 1.5, 2.0, 3.0)


def _shuffled_third(count: int) -> np.ndarray:
    order = np.arange(count)
    np.random.default_rng(0).shuffle(order[count // 3 : 2 * count // 3])
    return order


ORDERS: dict[str, Callable[[int], np.ndarray]] = {
    "as they are": np.arange,
    "in the order of the alphabet": lambda count: np.array(sorted(range(count), key=str)),
    "a third shuffled": _shuffled_third,
    "upper and lower half exchanged": lambda count: np.roll(np.arange(count), count // 2),
    "first the even, then the odd ones": lambda count: np.r_[0:count:2, 1:count:2],
    "each twice": lambda count: np.repeat(np.arange(count), 2),
    **{
        f"without {gap} in the middle": lambda count, gap=gap: np.delete(np.arange(count), np.arange(gap) + count // 2)
        for gap in GAPS
    },
}


def _told(ct: sitk.Image, order: np.ndarray) -> bool:
    stack = sitk.GetImageFromArray(np.ascontiguousarray(sitk.GetArrayViewFromImage(ct)[order]))
    stack.SetSpacing(ct.GetSpacing())
    found = SliceStack(AxialVolume(stack))
    return bool(found.cautions() + found.doubts())


def _scaled(ct: sitk.Image, factor: float) -> AxialSlices:
    scaled = sitk.Image(ct)
    scaled.SetSpacing([factor * mm for mm in ct.GetSpacing()])
    return AxialSlices(scaled, TASK)


def main() -> None:
    """Prints everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    data = parser.parse_args().data
    cts = [sitk.DICOMOrient(read_ct(path), "LPS") for path in sorted((data / "volumes").glob("*/ct.nii.gz"))]
    for name, order in ORDERS.items():
        print(f"slices {name}: told of {sum(_told(ct, order(ct.GetDepth())) for ct in cts)} of {len(cts)} CTs")
    maps = sorted((data / "kits23_labels").glob("*.nii.gz"))
    told: Counter[float] = Counter()
    for path in maps:
        image = sitk.ReadImage(str(path))
        axial = AxialOrder(image)
        kidneys = (axial.view(sitk.GetArrayViewFromImage(image)) > 0).astype(np.uint8)
        for factor in WRONG_SPACINGS:
            wrong = (*axial.spacing[:2], factor * axial.spacing[2])
            told[factor] += bool(spacing_cautions(kidneys, wrong, TASK))
    for factor in WRONG_SPACINGS:
        print(f"distance between slices told as {factor:g} times what it is: told of {told[factor]} of {len(maps)}")
    for factor in WRONG_SPACINGS:
        found = sum(bool(width_doubts(_scaled(ct, factor))) for ct in cts)
        print(f"all lengths told as {factor:g} times what they are: told of {found} of {len(cts)} CTs")


if __name__ == "__main__":
    main()
