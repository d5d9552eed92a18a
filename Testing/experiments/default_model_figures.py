"""The figures of docs/default_model.md, of the model that ships or of another one.

    python Testing/experiments/default_model_figures.py DATA [--model NAME|FOLDER]

DATA is the folder with msd_liver_slices, kits19_slices and volumes. The slices are of the patients who took no part in
training or in choosing the model; the two CTs with labels and the computed volumes took none in training. The clinical
CT did, in part: docs/default_model.md tells how. Time and memory are of a process of its own, so run nothing beside it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from default_model import (
    FRACTIONS,
    KIDNEY_TUMOR,
    LEARNED_BY_SHIPPED,
    LIVER_SPACING_MM,
    SEED,
    arrays_of,
    kidney_cases,
    kidney_tumor_cases,
    liver_cases,
    measured,
    mirrored_cases,
)
from empty_slices import empty_slice
from HLFDSegmentationLib.cautions.body_orientation import ADVICE, EXCHANGES, SEARCH_EVERY_MM
from HLFDSegmentationLib.ct_files import read_ct
from HLFDSegmentationLib.image_points import image_like
from HLFDSegmentationLib.inference import Segmenter
from HLFDSegmentationLib.model_package import ModelPackage
from HLFDSegmentationLib.model_store import find_package
from HLFDSegmentationLib.pieces import find_pieces
from HLFDTrainingLib.metrics import agreement, with_tumors
from HLFDTrainingLib.split import split_by_patient

LIVER, KIDNEYS = (1, 3), (2, 4)
TUMOR_OF_KITS19 = 2
LARGE_TUMOR_MM2 = np.pi * 15**2
# Of each CT: what is measured, the model's values of it, and those of the CT's own labels.
CTS = {
    "volumes/totalseg_example_3mm": {"liver with tumors": (LIVER, (1,)), "kidneys with tumors": (KIDNEYS, (3, 4))},
    "volumes/totalseg_dicom20": {"liver with tumors": (LIVER, (1,))},
}
CLINICAL_CT = "volumes/hcc_011_acq1/ct.nii.gz"
# Where organs were found by earlier models, more volumes are computed.
SEEDS, MORE_SEEDS = range(7, 12), range(100, 120)
PARTS = {
    "head": (SEEDS,),
    "air": (SEEDS,),
    "chest": (SEEDS, MORE_SEEDS),
    "pelvis": (SEEDS, MORE_SEEDS),
    "thighs": (SEEDS,),
}
EMPTY_SHAPE = (12, 192, 192)
EMPTY_SPACING = (2.0, 2.0, 5.0)
NOISE_HU = 10


def slices_of_test_patients(package: ModelPackage, data: Path) -> None:
    """Prints the tables of the slices, and how the liver's Dice is spread."""
    with tempfile.TemporaryDirectory(prefix="hlfd-") as folder:
        sets = liver_cases(data, Path(folder)), kidney_cases(data, Path(folder))
        test = [case for part in sets for case in split_by_patient(part, fractions=FRACTIONS, seed=SEED).test]
        found = measured(package, test, Path(folder) / "figures.csv")
    print(found.tables)
    patients, by_patient = {case.name: case.patient for case in test}, defaultdict(list)
    for each in found.cases:
        if each.case.startswith("liver_"):
            by_patient[patients[each.case]].append(each.labels[with_tumors("liver")].dice)
    slices = np.concatenate(list(by_patient.values()))
    patient_means = [np.mean(dice) for dice in by_patient.values()]
    print(
        f"Liver with tumors: median {np.median(slices):.3f}, {np.count_nonzero(slices == 0)} slices missed altogether"
    )
    print(f"Mean over the {len(patient_means)} patients of each one's mean: {np.mean(patient_means):.3f}\n")


def patients_together(segmenter: Segmenter, data: Path) -> None:
    """Prints the Dice of a test patient's slices counted together, as in a volume, meaned over the patients."""
    with tempfile.TemporaryDirectory(prefix="hlfd-") as folder:
        of_label = {
            "liver with tumors": (liver_cases(data, Path(folder)), LIVER, LIVER),
            "kidney with tumors": (kidney_cases(data, Path(folder)), KIDNEYS, (1, TUMOR_OF_KITS19)),
            "kidney tumor": (kidney_cases(data, Path(folder)), (KIDNEY_TUMOR,), (TUMOR_OF_KITS19,)),
        }
        for name, (cases, values, true_values) in of_label.items():
            # Of each patient: pixels that are found and true, found, true.
            pixels: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(3))
            for case in split_by_patient(cases, fractions=FRACTIONS, seed=SEED).test:
                if case.patient not in LEARNED_BY_SHIPPED:
                    labels = sitk.GetArrayFromImage(segmenter.segment(read_ct(case.ct)).labels)[0]
                    found, true = np.isin(labels, values), np.isin(arrays_of(case)[1], true_values)
                    pixels[case.patient] += (found & true).sum(), found.sum(), true.sum()
            dice = [2 * both / (found + true) for both, found, true in pixels.values()]
            spread = np.std(dice, ddof=1) if len(dice) > 1 else np.nan
            print(
                f"{name}, a patient's slices together: Dice {np.mean(dice):.3f} ± {spread:.3f} ({len(dice)} patients)"
            )
    print()


def stored_the_wrong_way(segmenter: Segmenter, data: Path) -> None:
    """Prints how many patients are told to be stored mirrored or turned, as they are and mirrored and turned.

    The liver slices of a validation or test patient make a volume, 25 mm apart; beside them stand the three CTs.
    """
    volumes = [sitk.DICOMOrient(read_ct(path), "LPS") for path in sorted((data / "volumes").glob("*/ct.nii.gz"))]
    by_patient = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="hlfd-") as folder:
        split = split_by_patient(liver_cases(data, Path(folder)), fractions=FRACTIONS, seed=SEED)
        for case in (*split.validation, *split.test):
            by_patient[case.patient].append(arrays_of(case)[0])
    stacks = [sitk.GetImageFromArray(np.stack(slices)) for slices in by_patient.values()]
    for stack in stacks:
        stack.SetSpacing((LIVER_SPACING_MM, LIVER_SPACING_MM, SEARCH_EVERY_MM))
    for way, axes in {"as they are": (), **EXCHANGES, "head and feet": (-3,)}.items():
        told = []
        for group in (stacks, volumes):
            stored = [image_like(np.flip(sitk.GetArrayFromImage(ct), axes).copy(), ct) for ct in group]
            told.append(sum(any(ADVICE in text for text in segmenter.segment(image).cautions) for image in stored))
        print(
            f"told as stored the wrong way, {way}: {told[0]} of {len(stacks)} patients, {told[1]} of {len(volumes)} CTs"
        )


def painted_kidney_tumors(segmenter: Segmenter, data: Path) -> None:
    """Prints how well tumors are found that are painted onto the test patients' kidneys as for those to learn from."""
    dice, touched = defaultdict(list), defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="hlfd-") as folder:
        test = split_by_patient(liver_cases(data, Path(folder)), fractions=FRACTIONS, seed=SEED).test
        for case in kidney_tumor_cases(test, Path(folder)):
            tumor = arrays_of(case)[1] == KIDNEY_TUMOR
            found = sitk.GetArrayFromImage(segmenter.segment(read_ct(case.ct)).labels)[0] == KIDNEY_TUMOR
            size = "of 3 cm or more" if tumor.sum() * LIVER_SPACING_MM**2 >= LARGE_TUMOR_MM2 else "smaller"
            dice[size].append(dice_of_masks(found, tumor))
            touched[size].append((found & tumor).any())
    for size, values in sorted(dice.items()):
        print(
            f"painted kidney tumors, {size}: Dice {np.mean(values):.3f}, {sum(touched[size])} of {len(values)} touched"
        )


def kidney_tumors_by_side(segmenter: Segmenter, data: Path) -> None:
    """Prints how well real kidney tumors are found on either side, as they are and with left and right exchanged.

    Only of validation and test patients; without those whom the weights that ship have learned from.
    """
    with tempfile.TemporaryDirectory(prefix="hlfd-") as folder:
        split = split_by_patient(kidney_cases(data, Path(folder)), fractions=FRACTIONS, seed=SEED)
        for part in ("validation", "test"):
            cases = [case for case in getattr(split, part) if case.patient not in LEARNED_BY_SHIPPED]
            for title, shown in (("", cases), (", mirrored", mirrored_cases(cases, Path(folder)))):
                dice = defaultdict(list)
                for case in shown:
                    hu, label = arrays_of(case)
                    tumor = label == TUMOR_OF_KITS19
                    if tumor.any():
                        found = sitk.GetArrayFromImage(segmenter.segment(read_ct(case.ct)).labels)[0] == KIDNEY_TUMOR
                        # Slices are seen from below: the patient's right is at the left.
                        right = np.nonzero(tumor)[1].mean() < np.nonzero(hu > 0)[1].mean()
                        dice["right" if right else "left"].append(dice_of_masks(found, tumor))
                for side, values in sorted(dice.items()):
                    print(f"kidney tumors, {part}{title}, {side}: Dice {np.mean(values):.3f} ({len(values)})")


def dice_of_masks(one: np.ndarray, other: np.ndarray) -> float:
    """Dice of two masks, bool."""
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def dice_in_ct(segmenter: Segmenter, folder: Path, labels: dict[str, tuple[Sequence[int], Sequence[int]]]) -> None:
    """Prints the Dice in a CT, its HD95, and how large the largest piece is that was wrongly called so."""
    labels_found = segmenter.segment(read_ct(folder / "ct.nii.gz")).labels
    found = sitk.GetArrayFromImage(labels_found)
    spacing = labels_found.GetSpacing()[::-1]
    truth = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "label.nii.gz")))
    for name, (values, true_values) in labels.items():
        one, other = np.isin(found, values), np.isin(truth, true_values)
        figures = agreement(one, other, spacing, across=None, lesions=False)
        wrong_ml = find_pieces(one & ~other)[1].max() * np.prod(spacing) / 1000
        print(
            f"{folder.name}, {name}: Dice {figures.dice:.3f}, HD95 {figures.hd95_mm:.1f} mm, the largest wrong piece "
            f"{wrong_ml:.0f} mL"
        )


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
    for part, groups in PARTS.items():
        for seeds in groups:
            found = []
            for seed in seeds:
                labels = sitk.GetArrayFromImage(segmenter.segment(empty_volume(part, seed)).labels)
                found.append(np.count_nonzero(labels) * np.prod(EMPTY_SPACING) / 1000)
            print(f"{part}, seeds {seeds[0]} to {seeds[-1]}: {', '.join(f'{ml:.1f}' for ml in found)} mL")


def clinical_ct(model: str | None, ct: Path) -> None:
    """Prints what `hlfd segment --attention` says of a clinical CT, its time, and the most memory that it took."""
    with tempfile.TemporaryDirectory(prefix="hlfd-") as folder:
        command = [sys.executable, "-m", "HLFDTrainingLib.cli", "segment", str(ct), "-o", str(Path(folder) / "result")]
        command += ["--attention", "--device", "cpu", *(["--model", model] if model else [])]
        # What the process prints comes after what was printed here.
        sys.stdout.flush()
        begun = time.perf_counter()
        process = subprocess.Popen(command)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begun
    if status:
        raise SystemExit(f"{ct}: it could not be segmented, see above.")
    # Linux counts it in kB.
    print(f"{ct.parent.name}: {seconds:.0f} s, {usage.ru_maxrss / 1e6:.2f} GB")


def main() -> None:
    """Prints everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", help="the one that ships by default")
    arguments = parser.parse_args()
    package = find_package(arguments.model)
    slices_of_test_patients(package, arguments.data)
    segmenter = Segmenter(package, "cpu")
    patients_together(segmenter, arguments.data)
    stored_the_wrong_way(segmenter, arguments.data)
    painted_kidney_tumors(segmenter, arguments.data)
    kidney_tumors_by_side(segmenter, arguments.data)
    for folder, labels in CTS.items():
        dice_in_ct(segmenter, arguments.data / folder, labels)
    empty_volumes(segmenter)
    clinical_ct(arguments.model, arguments.data / CLINICAL_CT)


if __name__ == "__main__":
    main()
