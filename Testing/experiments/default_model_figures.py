"""The figures of docs/default_model.md, of the model that ships or of another one.

    python Testing/experiments/default_model_figures.py DATA [--model NAME|FOLDER]

DATA is the folder with msd_liver_slices, kits19_slices and volumes. The slices are of the patients who took no part in
training or in choosing the model; the whole CT and the computed volumes took none either.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from default_model import FRACTIONS, SEED, kidney_cases, liver_cases, measured
from empty_slices import empty_slice
from HLFDSegmentationLib.inference import Segmenter
from HLFDSegmentationLib.model_package import ModelPackage
from HLFDSegmentationLib.model_store import find_package
from HLFDSegmentationLib.volumes import read_ct
from HLFDTrainingLib.split import split_by_patient

LIVER, KIDNEYS = (1, 3), (2, 4)
WHOLE_CT = "volumes/totalseg_example_3mm"
# Values of that CT's own labels.
WHOLE_CT_LABELS = {"liver with tumors": (LIVER, (1,)), "kidneys with tumors": (KIDNEYS, (3, 4))}
PARTS = ("head", "air", "chest", "pelvis", "thighs")
SEEDS = range(7, 12)
EMPTY_SHAPE = (12, 192, 192)
EMPTY_SPACING = (2.0, 2.0, 5.0)
NOISE_HU = 10


def slices_of_test_patients(package: ModelPackage, data: Path) -> None:
    """Prints the tables of the slices."""
    with tempfile.TemporaryDirectory(prefix="hlfd-") as folder:
        sets = liver_cases(data, Path(folder)), kidney_cases(data, Path(folder))
        test = [case for part in sets for case in split_by_patient(part, fractions=FRACTIONS, seed=SEED).test]
        measured(package, test, Path(folder) / "figures.csv")


def whole_ct(segmenter: Segmenter, folder: Path) -> None:
    """Prints the Dice in a whole CT."""
    found = sitk.GetArrayFromImage(segmenter.segment(read_ct(folder / "ct.nii.gz")).labels)
    truth = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "label.nii.gz")))
    for name, (values, true_values) in WHOLE_CT_LABELS.items():
        one, other = np.isin(found, values), np.isin(truth, true_values)
        print(f"{folder.name}, {name}: Dice {2 * (one & other).sum() / (one.sum() + other.sum()):.3f}")


def empty_volume(part: str, seed: int) -> sitk.Image:
    """A computed CT in HU of a part of the body where none of the organs is."""
    rng = np.random.default_rng(seed)
    # Of one patient: each slice is drawn from the same seed, and only the noise differs.
    hu = np.stack([empty_slice(EMPTY_SHAPE[1:], np.random.default_rng(seed), part)] * EMPTY_SHAPE[0])
    ct = sitk.GetImageFromArray((hu + rng.normal(0, NOISE_HU, hu.shape)).astype(np.int16))
    ct.SetSpacing(EMPTY_SPACING)
    return ct


def empty_volumes(segmenter: Segmenter) -> None:
    """Prints how much is found where nothing is."""
    for part in PARTS:
        found = []
        for seed in SEEDS:
            labels = sitk.GetArrayFromImage(segmenter.segment(empty_volume(part, seed)).labels)
            found.append(np.count_nonzero(labels) * np.prod(EMPTY_SPACING) / 1000)
        print(f"{part}: {', '.join(f'{ml:.1f}' for ml in found)} mL")


def main() -> None:
    """Prints everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", help="the one that ships by default")
    arguments = parser.parse_args()
    package = find_package(arguments.model)
    slices_of_test_patients(package, arguments.data)
    segmenter = Segmenter(package, "cpu")
    whole_ct(segmenter, arguments.data / WHOLE_CT)
    empty_volumes(segmenter)


if __name__ == "__main__":
    main()
