"""Trains the default model package from the public slices in the data folder: the whole pipeline, with stored seeds.

    python Testing/experiments/default_model.py DATA WORK

DATA is the folder with msd_liver_slices, kits19_slices, kits23_labels and volumes; WORK receives the cases, the
training run and the package. --plan tells what differs from the plan below, so that a student goes on from an earlier
package of this script; its patients are divided by the same seed.
Run again with the same WORK to go on after an interruption. docs/default_model.md tells the result.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from averaged_student import is_mean, keep_mean_if_better
from empty_slices import empty_slice
from HLFDSegmentationLib.model_files.model_figures import PATIENTS, SLICES
from HLFDSegmentationLib.model_package import ModelPackage
from HLFDSegmentationLib.model_store import find_package
from HLFDSegmentationLib.tasks import TASKS
from HLFDTrainingLib.annotations.layouts import LabelNames
from HLFDTrainingLib.cases import Case
from HLFDTrainingLib.evaluation import evaluate
from HLFDTrainingLib.figure_tables import summary_table, write_metrics_csv
from HLFDTrainingLib.metrics import CaseMetrics, summarize, with_tumors
from HLFDTrainingLib.packaging import WENT_ON, model_card, package_run, stage_as_package
from HLFDTrainingLib.plan import TrainingPlan
from HLFDTrainingLib.progress import json_lines
from HLFDTrainingLib.runs.run_folder import RunFolder
from HLFDTrainingLib.runs.run_start import start_run
from HLFDTrainingLib.split import Split, split_by_patient
from HLFDTrainingLib.trainer import TrainingRun
from imagenet_encoder import FILE as IMAGENET_FILE
from marked_slices import liver_of, marks_of
from painted_kidney_tumors import TUMOR, with_kidney_tumor
from painted_kidneys import painted_slices
from painted_liver_lesions import LESION, is_even, with_lesions
from slice_cases import LIVER_SPACING_MM, SAME_PERSON, WINDOW_HU, read_slice, write_slice
from without_contrast import without_contrast

SEED = 20261122
FRACTIONS = (0.75, 0.1, 0.15)
KIDNEY_REPEATS = 5
# Slices with so little of the liver are shown more often: a tip that is missed costs a slice all of its Dice, and the
# loss, which pools the pixels of a batch, hardly anything.
TIP_PIXELS = 1000
TIP_REPEATS = 5
PAINTED_SLICES = 8
# An epoch shows every slice so often, each time changed anew: after it, everything waits for the validation.
PASSES = 3
LESION_PAINTINGS = 2
TUMOR_PAINTINGS = 2
# The weights that ship go back to a run that did not know this test patient by KiTS23's name: it has learned from CT
# painted on their label map, so nothing is measured on them.
LEARNED_BY_SHIPPED = {"case00028"}
# A share of the painted patients helps to choose the model: the real validation slices with kidneys are too few.
PAINTED_FRACTIONS = (0.85, 0.15, 0.0)
# Axial slices of this CT from the superior pole of its kidneys up (spleen, stomach, heart), and those above its liver;
# seen by looking at them.
CT_WITHOUT_KIDNEYS = "volumes/hcc_011_acq1/ct.nii.gz"
SLICES_WITHOUT_KIDNEYS = range(54, 75)
SLICES_WITHOUT_ORGANS = range(76, 79)
EMPTY_SLICES = 400
# One name for all: two of them are the same air, and the same CT under two names is refused.
COMPUTED = "computed"
EMPTY_SHAPE = (256, 256)
EMPTY_SPACING_MM = 1.6
# Values of the liver slices' labels as they are written here.
LIVER, KIDNEY, LIVER_TUMOR, KIDNEY_TUMOR = 1, 2, 3, 4
KIDNEYS = {1: ("kidney",), 2: ("kidney tumor",), 3: ("kidney",)}
# Of the KiTS19 slices' labels.
MARKED_LIVER = 4
LIVERS = {MARKED_LIVER: ("liver", "liver tumor")}
UNENHANCED = {LIVER: ("liver", "liver tumor"), KIDNEY: ("kidney", "kidney tumor")}
EVERYTHING = {1: ("liver",), 2: ("kidney",), 3: ("liver tumor",), 4: ("kidney tumor",)}

NAME = "abdomen-mobilenetv2-hlfd"
TITLE = "Liver, kidneys and their tumors (MobileNetV2 U-Net, distilled by HLFD)"
WITH_TUMORS = "dice_with_tumors"
SHOWN_METRICS = ("dice", "voe", "absolute_rvd", "hd95_mm", "lesion_sensitivity", "false_positive_lesions")
TRAINING_DATA = (
    {
        "name": "Medical Segmentation Decathlon, Task03 Liver (from LiTS): 511 axial slices, 8 bit; kidneys and liver "
        "tumors marked for this model, not by a radiologist",
        "source": "http://medicaldecathlon.com",
        "license": "CC-BY-SA-4.0",
        "patients": 99,
    },
    {
        "name": "KiTS19: 57 axial slices, 8 bit, each with a kidney tumor; livers marked for this model in those that "
        "are learned from, not by a radiologist",
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
PHOTOGRAPHS = {
    "name": "ImageNet: photographs, of which the encoder's first weights (torchvision's MobileNetV2) were learned",
    "source": "https://image-net.org, https://pytorch.org/vision",
    "license": "the photographs for non-commercial research, the weights BSD-3-Clause",
    "patients": 0,
}
LICENSE_TEXT = """\
Creative Commons Attribution-NonCommercial-ShareAlike 4.0 International (CC BY-NC-SA 4.0)
https://creativecommons.org/licenses/by-nc-sa/4.0/legalcode

These weights were trained on data under CC BY-SA 4.0 and CC BY-NC-SA 4.0, which docs/README.md names. Whether weights
are an adaptation of their training data is not settled. They are offered for research under CC BY-NC-SA 4.0, and are
not for diagnosis.
"""
LICENSE_OF_ENCODER = """
The encoder went on from torchvision's weights, which are under the BSD 3-Clause License (https://github.com/pytorch/vision,
Copyright (c) Soumith Chintala 2016, all rights reserved), and come without any warranty. They were learned from
ImageNet's photographs, whose use is for non-commercial research.
"""
BEGAN_WITH_PHOTOGRAPHS = (
    "- Its encoder began with torchvision's weights, which were learned from photographs (ImageNet)."
)
CARD_MEAN = """
The weights are the mean of those of the best epoch and of the {other}, which is better than both on the validation
cases.
"""
CARD_FIGURES = """
Mean ± standard deviation over slices of patients who took no part in training or in choosing the epoch, and the number
of these slices. They helped to choose between two runs, which flatters the model that was chosen. A slice without a
label in which none was found has a Dice of 1 there. False positive lesions are places called tumor that touch none.
Figures of a few slices are a sign, and no more.

{tables}"""
SAME_PEOPLE = """ Four of these patients are also
  among those of KiTS19, which was noticed late: nothing is measured on the one who is for testing (case 28), and one of
  those to learn from (case 133) also helped, painted, to choose the model."""
CARD_LIMITS = """
## Data and licences

- Medical Segmentation Decathlon, Task03 Liver (from LiTS), CC BY-SA 4.0: 511 slices of 99 patients; the liver mask
  holds the tumors undivided. Kidneys and liver tumors were marked in them for this model: proposals of a program,
  accepted, rejected or redrawn by eye, not by a radiologist. Slices with an even liver are shown again with painted
  lesions, slices with kidneys again with a painted kidney tumor, and as they might look without contrast medium.
- KiTS19, CC BY-NC-SA 4.0: 57 slices of 33 patients; kidneys and tumors. The liver was marked for this model in 40 of
  those that are learned from, in the same way. They, and half of the painted kidney tumors, are shown mirrored, too.
- KiTS23, CC BY-NC-SA 4.0: label maps of 100 patients, with computed CT painted on them.{same_people}
- HCC-TACE-Seg (TCIA, DOI 10.7937/TCIA.5FNA-0924), CC BY 4.0: 24 slices of one patient above the kidneys.
- {empty_slices} computed slices of head, chest, pelvis, thighs and air.

The slices are split by patient; the numbers of patients above are those of the whole sets.

## Failures that were seen in models of this script

- Places in the liver called tumor where nothing can be seen, most of all in noisy CT of the arterial phase.
- A bright tumor of the liver, 6 cm large, of which only the middle was marked, or nothing.
- A kidney's tumor called kidney; a stomach full of water called kidney tumor.
- A kidney's pole, or its medulla, which is dark in the arterial phase, called tumor.
- Bowel filled with contrast medium beside a kidney called kidney.
- A tip of the liver missed altogether.
- An organ of a few mL in a chest, where there is none.

## Known limits

- **Liver tumors were learned from marks that no radiologist made, and from painted lesions.** Cysts, vessels and
  partial volume are taken for tumors at times. That none is marked in a liver does not mean that there is none.
- Kidney tumors were learned from few real slices, from painted tumors and from computed slices. Small ones are missed.
- CT without contrast medium was learned only from real slices that a program had changed.
- Head, chest, pelvis and thighs were learned from computed slices. On real ones it may find organs that are not there.
- Dice is measured on single slices that show the organ or a tumor, not on whole CTs.
- Adults, contrast-enhanced CT for the most part; children, transplants and operated organs were not looked at.
"""

TASK = replace(TASKS["abdomen"], window=WINDOW_HU, input_size=(256, 256), spacing=1.6)
PLAN = TrainingPlan(
    task=TASK,
    teacher="resnet50-unet",
    student="mobilenetv2-unet",
    method="hlfd",
    # "full": the teacher's output also tells of the organs that a slice's annotator did not look for. "smaller": at the
    # smaller resolution a step takes less time.
    method_options={"variant": "full", "resize": "smaller"},
    teacher_epochs=8,
    head_epochs=1,
    student_epochs=20,
    batch=32,
    learning_rate=2e-3,
    seed=SEED,
    device="auto",
)


def liver_cases(data: Path, work: Path) -> list[Case]:
    """LiTS slices: the mask is the liver with its tumors; tumors and kidneys are told apart where they were marked."""
    cases = []
    for path in sorted((data / "msd_liver_slices").glob("*.npz")):
        hu, mask, spacing = read_slice(path)
        label, labels = marked(path.stem, mask > 0)
        case = write_slice(work / f"liver_{path.stem}", hu, label, spacing, path.stem.split("_")[0], labels)
        cases.append(replace(case, repeat=TIP_REPEATS if mask.sum() < TIP_PIXELS else 1))
    return cases


def marked(name: str, liver: np.ndarray) -> tuple[np.ndarray, LabelNames]:
    """The label (H, W) of a liver slice with its marks, and what its values stand for."""
    label, marks = np.where(liver, LIVER, 0), marks_of(name, liver.shape)
    labels: dict[int, tuple[str, ...]] = {LIVER: ("liver", "liver tumor")}
    if marks.kidneys is not None:
        label[marks.kidneys & ~liver] = KIDNEY
        labels[KIDNEY] = ("kidney", "kidney tumor")
    if marks.tumors is not None:
        label[marks.tumors & liver] = LIVER_TUMOR
        labels |= {LIVER: ("liver",), LIVER_TUMOR: ("liver tumor",)}
    return label, labels


def arrays_of(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """A case of one slice again: its HU and its label, both (H, W)."""
    hu, label = (sitk.GetArrayFromImage(sitk.ReadImage(str(path)))[0] for path in (case.ct, case.label))
    return hu, label


def lesion_cases(livers: Sequence[Case], work: Path) -> list[Case]:
    """Slices with an even liver without a tumor again, now with painted lesions."""
    cases = []
    for number, case in enumerate(livers):
        hu, label = arrays_of(case)
        if LIVER_TUMOR in case.labels and not (label == LIVER_TUMOR).any() and is_even(hu, label == LIVER):
            for painting in range(LESION_PAINTINGS):
                rng = np.random.default_rng([SEED, number, 3, painting])
                painted, lesions = with_lesions(hu, label == LIVER, rng)
                shown = np.where(lesions == LESION, LIVER_TUMOR, label)
                folder = work / f"lesions_{case.name}_{painting}"
                cases.append(write_slice(folder, painted, shown, LIVER_SPACING_MM, case.patient, case.labels))
    return cases


def kidney_tumor_cases(livers: Sequence[Case], work: Path) -> list[Case]:
    """Slices with kidneys again, now with a painted kidney tumor; to learn from only.

    What else was marked as kidney is taken for kidney: hardly one patient with liver tumors has a kidney tumor, too.
    """
    cases = []
    for number, case in enumerate(livers):
        hu, label = arrays_of(case)
        for painting in range(TUMOR_PAINTINGS):
            rng = np.random.default_rng([SEED, number, 4, painting])
            found = with_kidney_tumor(hu, label == KIDNEY, np.isin(label, (LIVER, LIVER_TUMOR)), LIVER_SPACING_MM, rng)
            if found is not None:
                painted, masses = found
                shown = np.where(masses == TUMOR, KIDNEY_TUMOR, np.where(masses > 0, KIDNEY, label))
                labels = case.labels | {KIDNEY: ("kidney",), KIDNEY_TUMOR: ("kidney tumor",)}
                folder = work / f"tumor_{case.name}_{painting}"
                cases.append(write_slice(folder, painted, shown, LIVER_SPACING_MM, case.patient, labels))
    return cases


def mirrored_cases(cases: Sequence[Case], work: Path) -> list[Case]:
    """Slices again with left and right exchanged, for their kidneys and kidney tumors; to learn from only.

    Real tumors are so few that a network learns on which side they were. Of liver and liver tumors, which do not lie
    there in patients, nothing is told.
    """
    mirrored = []
    for case in cases:
        labels = {value: names for value, names in case.labels.items() if names[0] in ("kidney", "kidney tumor")}
        hu, label = (np.fliplr(array) for array in arrays_of(case))
        label = np.where(np.isin(label, list(labels)), label, 0)
        spacing = sitk.ReadImage(str(case.ct)).GetSpacing()[0]
        written = write_slice(work / f"mirrored_{case.name}", hu, label, spacing, case.patient, labels)
        mirrored.append(replace(written, repeat=case.repeat))
    return mirrored


def unenhanced_cases(livers: Sequence[Case], work: Path) -> list[Case]:
    """Slices with kidneys again, as they might look without contrast medium; their tumors may then not be seen."""
    cases = []
    for number, case in enumerate(livers):
        hu, label = arrays_of(case)
        liver = (label == LIVER) | (label == LIVER_TUMOR)
        if (label == KIDNEY).any():
            computed = without_contrast(hu, liver, label == KIDNEY, np.random.default_rng([SEED, number, 1]))
            label[liver] = LIVER
            folder = work / f"unenhanced_{case.name}"
            cases.append(write_slice(folder, computed, label, LIVER_SPACING_MM, case.patient, UNENHANCED))
    return cases


def kidney_cases(data: Path, work: Path) -> list[Case]:
    """KiTS19 slices: kidneys and their tumors, and the liver where it was marked."""
    cases = []
    for path in sorted((data / "kits19_slices").glob("*.npz")):
        hu, label, spacing = read_slice(path)
        labels, liver = KIDNEYS, liver_of(path.stem, label.shape)
        if liver is not None:
            label, labels = np.where(liver & (label == 0), MARKED_LIVER, label), KIDNEYS | LIVERS
        case = write_slice(work / f"kidney_{path.stem}", hu, label, spacing, path.stem.split("_")[0], labels)
        cases.append(replace(case, repeat=KIDNEY_REPEATS))
    return cases


def painted_cases(data: Path, work: Path, real: list[Case]) -> list[Case]:
    """CT painted on the KiTS23 label maps of patients of whom there is no real slice; to learn from only."""
    known = {case.patient for case in real}
    cases = []
    for path in sorted((data / "kits23_labels").glob("case*.nii.gz")):
        patient = path.name.removesuffix(".nii.gz")
        # The same patient is case00028 in the files of KiTS19 and case_00028 in those of KiTS23.
        if patient.replace("_", "") in known:
            continue
        for number, (hu, label, spacing) in enumerate(painted_slices(path, SEED, PAINTED_SLICES)):
            folder = work / f"painted_{patient}_{number}"
            cases.append(write_slice(folder, hu, label, spacing, f"painted {patient}", KIDNEYS))
    return cases


def negative_cases(data: Path, work: Path) -> list[Case]:
    """Slices of a real CT without kidneys, and without any organ of the task; to learn from only."""
    volume = sitk.GetArrayFromImage(sitk.DICOMOrient(sitk.ReadImage(str(data / CT_WITHOUT_KIDNEYS)), "LPS"))
    spacing = sitk.ReadImage(str(data / CT_WITHOUT_KIDNEYS)).GetSpacing()[0]
    nothing = np.zeros(volume.shape[1:], np.uint8)
    cases = []
    for index in (*SLICES_WITHOUT_KIDNEYS, *SLICES_WITHOUT_ORGANS):
        looked_for = EVERYTHING if index in SLICES_WITHOUT_ORGANS else KIDNEYS
        folder = work / f"without_{index:03d}"
        cases.append(write_slice(folder, volume[index], nothing, spacing, "hcc_011", looked_for))
    return cases


def empty_cases(work: Path) -> list[Case]:
    """Computed slices of parts of the body without any organ of the task; to learn from only."""
    nothing = np.zeros(EMPTY_SHAPE, np.uint8)
    cases = []
    for number in range(EMPTY_SLICES):
        hu = empty_slice(EMPTY_SHAPE, np.random.default_rng([SEED, number, 2]))
        folder = work / f"empty_{number:03d}"
        cases.append(write_slice(folder, hu, nothing, EMPTY_SPACING_MM, COMPUTED, EVERYTHING))
    return cases


def without_known_people(split: Split) -> Split:
    """The split without those cases for learning and choosing whose person is in the test under another number."""
    tested = {case.patient for case in split.test}
    known = frozenset().union(*(people for people in SAME_PERSON if people & tested))
    train, validation = (
        tuple(case for case in part if case.patient not in known) for part in (split.train, split.validation)
    )
    return replace(split, train=train, validation=validation)


def start(data: Path, work: Path, plan: TrainingPlan) -> RunFolder:
    """The run's folder, begun where it is new; both sets are split by patient on their own."""
    run = RunFolder(work / "run")
    if not run.started:
        livers, kidneys = liver_cases(data, work / "cases"), kidney_cases(data, work / "cases")
        painted = painted_cases(data, work / "cases", kidneys)
        parts = [
            without_known_people(split_by_patient(livers, fractions=FRACTIONS, seed=SEED)),
            split_by_patient(kidneys, fractions=FRACTIONS, seed=SEED),
            split_by_patient(painted, fractions=PAINTED_FRACTIONS, seed=SEED),
        ]
        changed = [
            [*lesion_cases(part, work / "cases"), *unenhanced_cases(part, work / "cases")]
            for part in (parts[0].train, parts[0].validation)
        ]
        tumors = kidney_tumor_cases(parts[0].train, work / "cases")
        tumors += mirrored_cases([*parts[1].train, *tumors[::TUMOR_PAINTINGS]], work / "cases")
        negative = [*negative_cases(data, work / "cases"), *empty_cases(work / "cases")]
        shown = [*chain(*(part.train for part in parts)), *changed[0], *tumors, *negative]
        split = Split(
            train=tuple(replace(case, repeat=PASSES * case.repeat) for case in shown),
            validation=(*chain(*(part.validation for part in parts)), *changed[1]),
            test=(*chain(*(part.test for part in parts)),),
            seed=SEED,
        )
        start_run(run, plan, [*split.train, *split.validation, *split.test], split)
    elif run.plan() != plan:
        raise SystemExit(f"{run.path} was begun with another plan. Choose another WORK.")
    return run


@dataclass(frozen=True)
class Measured:
    """Figures of the test patients' slices, which took no part in training or in choosing the epoch.

    Attributes:
        cases: of each slice.
        dice: mean by label. Kidneys and their tumors: KiTS19's own labels. Liver tumors: the marks, on the slices that
            show one.
        tables: mean, deviation and number of slices of all figures, Markdown.
    """

    cases: list[CaseMetrics]
    dice: dict[str, dict[str, float | None]]
    tables: str


def measured(package: ModelPackage, test: Sequence[Case], table: Path) -> Measured:
    """Measures the test slices; `table` receives the figures of each."""
    figures = evaluate(package, [case for case in test if case.patient not in LEARNED_BY_SHIPPED], device="cpu")
    write_metrics_csv(figures, table)
    livers = [each for each in figures if each.case.startswith("liver_")]
    kidneys = [each for each in figures if each.case.startswith("kidney_")]
    with_liver_tumors = [each for each in livers if not math.isnan(each.labels["liver tumor"].rvd)]
    tables = [
        f"{title}, {len(cases)} slices:\n\n{summary_table(summarize(cases), SHOWN_METRICS)}"
        for title, cases in (
            ("LiTS (kidneys: marks)", livers),
            ("Those of them with a marked liver tumor", with_liver_tumors),
            ("KiTS19", kidneys),
        )
    ]
    patients = {case.name: case.patient for case in test}
    dice = {
        label: dice_of(cases, label) | {PATIENTS: len({patients[each.case] for each in cases})}
        for label, cases in (
            ("liver", livers),
            ("kidney", kidneys),
            ("liver tumor", with_liver_tumors),
            ("kidney tumor", kidneys),
        )
    }
    return Measured(figures, dice, "\n\n".join(tables) + "\n")


def dice_of(cases: Sequence[CaseMetrics], label: str) -> dict[str, float | None]:
    """Mean Dice of a label, of an organ also with its tumors, rounded once as in the tables; and of how many slices."""
    summary = summarize(cases)
    names = {"dice": label, WITH_TUMORS: with_tumors(label)}
    means = {metric: summary[name]["dice"] for metric, name in names.items() if name in summary}
    most = max(mean.n for mean in means.values())
    # One number of slices is told of all: a mean over fewer of them would seem to be over as many.
    of_all = {metric: mean for metric, mean in means.items() if mean.n == most}
    return {metric: round(mean.mean, 3) if mean.n else None for metric, mean in of_all.items()} | {SLICES: most}


def origin_in_card(run: RunFolder, dice: dict[str, dict[str, float | None]], method: str) -> str:
    """What the card says of how the student came about, and its main figures."""
    card = model_card(run, TITLE, dice, "student", method)
    return card.replace(WENT_ON, BEGAN_WITH_PHOTOGRAPHS) if began_with_photographs(run.plan()) else card


def limits_in_card(run: RunFolder) -> str:
    """What the card says of data and limits. What goes on from a shipped student has met the same people twice."""
    same_people = SAME_PEOPLE if run.plan().student_weights else ""
    return CARD_LIMITS.format(same_people=same_people, empty_slices=EMPTY_SLICES)


def mean_in_card(run: RunFolder) -> str:
    """What the card says where the weights are a mean."""
    return CARD_MEAN.format(other=run.best("student")["mean_with"]) if is_mean(run) else ""


def began_with_photographs(plan: TrainingPlan) -> bool:
    """Whether the student begins with the weights that `imagenet_encoder.py` writes."""
    return plan.student_weights is not None and Path(plan.student_weights).name == IMAGENET_FILE


def training_data_of(plan: TrainingPlan) -> list[dict[str, str | int]]:
    """What the student has learned from; photographs, too, where it or the package that it went on from began so."""
    went_on = plan.student_weights is not None and not began_with_photographs(plan)
    before = find_package(plan.student_weights).training_data if went_on else []
    return [*TRAINING_DATA, *([PHOTOGRAPHS] if began_with_photographs(plan) or PHOTOGRAPHS in before else [])]


def method_of(run: RunFolder) -> str:
    """All methods by which the student learned, in their order: that of the package that it went on from as well.

    Of a teacher that a package brings, its method is told.
    """
    plan = run.plan()
    if plan.student_weights is None or began_with_photographs(plan):
        taught = plan.method != "none" and plan.teacher_weights is not None
        by = f", from a teacher that was trained by {find_package(plan.teacher_weights).method}" if taught else ""
        return f"{plan.written_method}{by}"
    before = find_package(plan.student_weights).method
    last = "labels alone" if plan.method == "none" else plan.written_method
    return before if before.split(", then ")[-1] == last else f"{before}, then {last}"


def main() -> None:
    """Prepares, trains, measures and packages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument(
        "--plan", type=json.loads, default={}, help='as {"student_weights": "EARLIER/abdomen-…", "seed": 1}'
    )
    arguments = parser.parse_args()
    run = start(arguments.data, arguments.work, replace(PLAN, **arguments.plan))
    TrainingRun(run, report=run.logging(json_lines)).run()
    keep_mean_if_better(run)
    with stage_as_package(run, "student") as package:
        found = measured(package, run.split(run.plan()).test, arguments.work / "test_slices.csv")
    print(found.tables)
    method = method_of(run)
    training_data = training_data_of(run.plan())
    package = package_run(
        run,
        arguments.work / NAME,
        name=NAME,
        title=TITLE,
        license="CC-BY-NC-SA-4.0",
        license_text=LICENSE_TEXT + (LICENSE_OF_ENCODER if PHOTOGRAPHS in training_data else ""),
        training_data=training_data,
        metrics=found.dice,
        card=origin_in_card(run, found.dice, method)
        + mean_in_card(run)
        + CARD_FIGURES.format(tables=found.tables)
        + limits_in_card(run),
        method=method,
        authors="the HLFD developers",
    )
    print(f"Wrote {package}. Copy it to HLFDSegmentation/Resources/Models to ship it.")


if __name__ == "__main__":
    main()
