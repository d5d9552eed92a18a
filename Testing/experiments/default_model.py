"""Trains the default model package from the public slices in the data folder: the whole pipeline, with stored seeds.

    python Testing/experiments/default_model.py DATA WORK

DATA is the folder with msd_liver_slices, kits19_slices, kits23_labels and volumes; WORK receives the cases, the
training run and the package.
Run again with the same WORK to go on after an interruption. docs/default_model.md tells the result.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from HLFDSegmentationLib.tasks import TASKS
from HLFDTrainingLib.cases import Case
from HLFDTrainingLib.evaluation import evaluate, summary_table, write_metrics_csv
from HLFDTrainingLib.metrics import summarize, with_tumors
from HLFDTrainingLib.packaging import model_card, package_run, student_as_package
from HLFDTrainingLib.plan import TrainingPlan
from HLFDTrainingLib.progress import json_lines
from HLFDTrainingLib.run_folder import RunFolder
from HLFDTrainingLib.split import Split, split_by_patient
from HLFDTrainingLib.trainer import TrainingRun
from painted_kidneys import painted_slices
from painted_liver_lesions import LESION, is_even, with_lesions

SEED = 20261122
FRACTIONS = (0.75, 0.1, 0.15)
WINDOW_HU = (0.0, 250.0)
# The liver slices come without spacing; a 400 mm field of view on 256 pixels is what such a CT usually has.
LIVER_SPACING_MM = 400 / 256
KIDNEY_REPEATS = 3
PAINTED_SLICES = 3
# A share of the painted patients helps to choose the model: the real validation slices with kidneys are too few.
PAINTED_FRACTIONS = (0.85, 0.15, 0.0)
# Axial slices of this CT from the superior pole of its kidneys up (spleen, stomach, heart), and those above its liver;
# seen by looking at them.
CT_WITHOUT_KIDNEYS = "volumes/hcc_011_acq1/ct.nii.gz"
SLICES_WITHOUT_KIDNEYS = range(54, 75)
SLICES_WITHOUT_ORGANS = range(76, 79)
KIDNEYS = {1: ("kidney",), 2: ("kidney tumor",), 3: ("kidney",)}
LIVER_LESIONS = {1: ("liver",), LESION: ("liver tumor",)}
EVERYTHING = {1: ("liver",), 2: ("kidney",), 3: ("liver tumor",), 4: ("kidney tumor",)}

NAME = "abdomen-mobilenetv2-hlfd"
TITLE = "Liver, kidneys and their tumors (MobileNetV2 U-Net, distilled by HLFD)"
WITH_TUMORS = "dice_with_tumors"
TRAINING_DATA = (
    {
        "name": "Medical Segmentation Decathlon, Task03 Liver (from LiTS): 511 axial slices, 8 bit",
        "source": "http://medicaldecathlon.com",
        "license": "CC-BY-SA-4.0",
        "patients": 99,
    },
    {
        "name": "KiTS19: 57 axial slices, 8 bit, each with a kidney tumor",
        "source": "https://kits19.grand-challenge.org",
        "license": "CC-BY-NC-SA-4.0",
        "patients": 33,
    },
    {
        "name": "KiTS23: label maps only, with CT painted on them",
        "source": "https://kits-challenge.org/kits23",
        "license": "CC-BY-NC-SA-4.0",
        "patients": 100,
    },
    {
        "name": "HCC-TACE-Seg: 24 axial slices without kidneys, 3 of them without liver",
        "source": "https://doi.org/10.7937/TCIA.5FNA-0924",
        "license": "CC-BY-4.0",
        "patients": 1,
    },
)
LICENSE_TEXT = """\
Creative Commons Attribution-NonCommercial-ShareAlike 4.0 International (CC BY-NC-SA 4.0)
https://creativecommons.org/licenses/by-nc-sa/4.0/legalcode

These weights were trained on data under CC BY-SA 4.0 and CC BY-NC-SA 4.0, which docs/README.md names. Whether weights
are an adaptation of their training data is not settled. They are offered for research under CC BY-NC-SA 4.0, and are
not for diagnosis.
"""
CARD_LIMITS = """
## Data and licences

- Medical Segmentation Decathlon, Task03 Liver (from LiTS), CC BY-SA 4.0: 511 slices of 99 patients; the liver mask
  holds the tumors undivided. Slices with an even liver are shown a second time with painted lesions.
- KiTS19, CC BY-NC-SA 4.0: 57 slices of 33 patients; kidneys and tumors.
- KiTS23, CC BY-NC-SA 4.0: label maps of patients that are not among those of KiTS19, with computed CT painted on them.
- HCC-TACE-Seg (TCIA, DOI 10.7937/TCIA.5FNA-0924), CC BY 4.0: 24 slices of one patient above the kidneys.

The slices are split by patient; the numbers of patients above are those of the whole sets.

## Known limits

- **Liver tumors were learned from painted lesions only.** No real liver tumor had a label of its own. How many real
  ones are found was not measured: a liver without a liver tumor here means nothing.
- Kidneys and kidney tumors were learned from few real slices and from computed ones. Small tumors are missed, and
  bowel, spleen or bone are taken for kidney at times.
- No chest, pelvis or head was in the training data. On such slices it may find organs that are not there.
- Dice is measured on single slices that show the organ or a tumor, not on whole CTs.
- Adults, contrast-enhanced CT for the most part; children, transplants and operated organs were not looked at.
"""

TASK = replace(TASKS["abdomen"], window=WINDOW_HU, input_size=(192, 192), spacing=2.0)
PLAN = TrainingPlan(
    task=TASK,
    teacher="resnet50-unet",
    student="mobilenetv2-unet",
    method="hlfd",
    # "full": the teacher's output also tells of the organs that a slice's annotator did not look for. "smaller": at the
    # smaller resolution a step takes a third of the time on a CPU.
    method_options={"variant": "full", "resize": "smaller"},
    teacher_epochs=20,
    head_epochs=1,
    student_epochs=32,
    batch=8,
    learning_rate=2e-3,
    seed=SEED,
    device="auto",
    precision="bfloat16",
)


def write_slice(source: Path, folder: Path, spacing: float, labels: dict[int, tuple[str, ...]], repeat: int) -> Case:
    """One 8-bit slice as a case."""
    content = np.load(source)
    low, high = WINDOW_HU
    hu = content["image"].astype(np.float32) / 255 * (high - low) + low
    return write_case(folder, hu, content["label"], spacing, source.stem.split("_")[0], labels, repeat)


def write_case(
    folder: Path,
    hu: np.ndarray,
    label: np.ndarray,
    spacing: float,
    patient: str,
    labels: dict[int, tuple[str, ...]],
    repeat: int = 1,
) -> Case:
    """A CT of one slice whose intensities were cut to `WINDOW_HU`, and its label."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in (("ct", hu.round().astype(np.int16)), ("label", label.astype(np.uint8))):
        image = sitk.GetImageFromArray(array[None])
        image.SetSpacing((spacing, spacing, 5.0))
        sitk.WriteImage(image, str(folder / f"{name}.nii.gz"))
    return Case(
        name=folder.name,
        patient=patient,
        ct=folder / "ct.nii.gz",
        label=folder / "label.nii.gz",
        labels=labels,
        window=WINDOW_HU,
        repeat=repeat,
    )


def liver_cases(data: Path, work: Path) -> list[Case]:
    """LiTS slices: the mask is the liver with its tumors, and nobody looked for kidneys."""
    return [
        write_slice(path, work / f"liver_{path.stem}", LIVER_SPACING_MM, {1: ("liver", "liver tumor")}, 1)
        for path in sorted((data / "msd_liver_slices").glob("*.npz"))
    ]


def lesion_cases(livers: Sequence[Case], work: Path) -> list[Case]:
    """Slices with an even liver again, now with painted lesions: what tells liver from liver tumor."""
    cases = []
    for number, case in enumerate(livers):
        hu, liver = (sitk.GetArrayFromImage(sitk.ReadImage(str(path)))[0] for path in (case.ct, case.label))
        if is_even(hu, liver > 0):
            painted, label = with_lesions(hu, liver > 0, np.random.default_rng([SEED, number]))
            folder = work / f"lesions_{case.name}"
            cases.append(write_case(folder, painted, label, LIVER_SPACING_MM, case.patient, LIVER_LESIONS))
    return cases


def kidney_cases(data: Path, work: Path) -> list[Case]:
    """KiTS19 slices: kidneys and their tumors, and nobody looked for the liver."""
    return [
        write_slice(path, work / f"kidney_{path.stem}", float(np.load(path)["spacing"][0]), KIDNEYS, KIDNEY_REPEATS)
        for path in sorted((data / "kits19_slices").glob("*.npz"))
    ]


def painted_cases(data: Path, work: Path, real: list[Case]) -> list[Case]:
    """CT painted on the KiTS23 label maps of patients of whom there is no real slice; to learn from only."""
    known = {case.patient for case in real}
    cases = []
    for path in sorted((data / "kits23_labels").glob("case*.nii.gz")):
        patient = path.name.removesuffix(".nii.gz")
        if patient in known:
            continue
        for number, (hu, label, spacing) in enumerate(painted_slices(path, SEED, PAINTED_SLICES)):
            folder = work / f"painted_{patient}_{number}"
            cases.append(write_case(folder, hu, label, spacing, f"painted {patient}", KIDNEYS))
    return cases


def negative_cases(data: Path, work: Path) -> list[Case]:
    """Slices of a real CT without kidneys, and without any organ of the task; to learn from only."""
    volume = sitk.GetArrayFromImage(sitk.DICOMOrient(sitk.ReadImage(str(data / CT_WITHOUT_KIDNEYS)), "LPS"))
    spacing = sitk.ReadImage(str(data / CT_WITHOUT_KIDNEYS)).GetSpacing()[0]
    nothing = np.zeros(volume.shape[1:], np.uint8)
    cases = []
    for index in (*SLICES_WITHOUT_KIDNEYS, *SLICES_WITHOUT_ORGANS):
        hu = volume[index].astype(np.float32).clip(*WINDOW_HU)
        looked_for = EVERYTHING if index in SLICES_WITHOUT_ORGANS else KIDNEYS
        cases.append(write_case(work / f"without_{index:03d}", hu, nothing, spacing, "hcc_011", looked_for))
    return cases


def start(data: Path, work: Path, plan: TrainingPlan) -> RunFolder:
    """The run's folder, begun where it is new; both sets are split by patient on their own."""
    run = RunFolder(work / "run")
    if not run.started:
        livers, kidneys = liver_cases(data, work / "cases"), kidney_cases(data, work / "cases")
        painted = painted_cases(data, work / "cases", kidneys)
        parts = [
            split_by_patient(livers, fractions=FRACTIONS, seed=SEED),
            split_by_patient(kidneys, fractions=FRACTIONS, seed=SEED),
            split_by_patient(painted, fractions=PAINTED_FRACTIONS, seed=SEED),
        ]
        lesions = [lesion_cases(part, work / "cases") for part in (parts[0].train, parts[0].validation)]
        split = Split(
            train=(*chain(*(part.train for part in parts)), *lesions[0], *negative_cases(data, work / "cases")),
            validation=(*chain(*(part.validation for part in parts)), *lesions[1]),
            test=(*chain(*(part.test for part in parts)),),
            seed=SEED,
        )
        run.start(plan, [*split.train, *split.validation, *split.test], split)
    return run


def measured(run: RunFolder, folder: Path) -> dict[str, dict[str, float | None]]:
    """Mean Dice on the test patients' slices, which took no part in training or in choosing the model."""
    with student_as_package(run) as package:
        figures = evaluate(package, run.split(run.plan()).test, device="cpu")
    write_metrics_csv(figures, folder / "test_slices.csv")
    summary = summarize(figures)
    print(summary_table(summary, ("dice", "voe", "absolute_rvd", "hd95_mm")))

    def dice(name: str) -> float | None:
        value = summary[name]["dice"]
        return round(value.mean, 4) if value.n else None

    organs = {
        organ.name: {"dice": dice(organ.name), WITH_TUMORS: dice(with_tumors(organ.name))} for organ in TASK.organs
    }
    return {**organs, **{tumor.name: {"dice": dice(tumor.name)} for tumor in TASK.tumors}}


def main() -> None:
    """Prepares, trains, measures and packages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    arguments = parser.parse_args()
    run = start(arguments.data, arguments.work, PLAN)
    TrainingRun(run, report=run.logging(json_lines)).run()
    metrics = measured(run, arguments.work)
    package = package_run(
        run,
        arguments.work / NAME,
        name=NAME,
        title=TITLE,
        license="CC-BY-NC-SA-4.0",
        license_text=LICENSE_TEXT,
        training_data=TRAINING_DATA,
        metrics=metrics,
        card=model_card(run, TITLE, metrics) + CARD_LIMITS,
        authors="the HLFD developers",
    )
    print(f"Wrote {package}. Copy it to HLFDSegmentation/Resources/Models to ship it.")


if __name__ == "__main__":
    main()
