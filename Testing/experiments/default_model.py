"""Trains the default model package from the public slices in the data folder: the whole pipeline, with stored seeds.

    python Testing/experiments/default_model.py DATA WORK

DATA is the folder with msd_liver_slices and kits19_slices; WORK receives the cases, the training run and the package.
Run again with the same WORK to go on after an interruption. docs/default_model.md tells the result.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from HLFDSegmentationLib.tasks import TASKS, Task
from HLFDTrainingLib.cases import Case, write_cases_json
from HLFDTrainingLib.plan import TrainingPlan
from HLFDTrainingLib.run_folder import RunFolder
from HLFDTrainingLib.split import Split, split_by_patient
from HLFDTrainingLib.trainer import TrainingRun

SEED = 20261122
FRACTIONS = (0.75, 0.1, 0.15)
WINDOW_HU = (0.0, 250.0)
# The liver slices come without spacing; a 400 mm field of view on 256 pixels is what such a CT usually has.
LIVER_SPACING_MM = 400 / 256
KIDNEY_REPEATS = 4

TASK = replace(TASKS["abdomen"], window=WINDOW_HU, input_size=(256, 256), spacing=1.5)
PLAN = TrainingPlan(
    task=TASK,
    teacher="resnet50-unet",
    student="mobilenetv2-unet",
    method="hlfd",
    teacher_epochs=18,
    head_epochs=1,
    student_epochs=30,
    batch=8,
    learning_rate=1e-3,
    seed=SEED,
    device="auto",
    precision="bfloat16",
)


def write_slice(source: Path, folder: Path, spacing: float, labels: dict[int, tuple[str, ...]], repeat: int) -> Case:
    """One 8-bit slice as a CT of one slice whose intensities were cut to `WINDOW_HU`, and its label."""
    content = np.load(source)
    low, high = WINDOW_HU
    pixels = (content["image"].astype(np.float32) / 255 * (high - low) + low).round().astype(np.int16)
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in (("ct", pixels), ("label", content["label"].astype(np.uint8))):
        image = sitk.GetImageFromArray(array[None])
        image.SetSpacing((spacing, spacing, 5.0))
        sitk.WriteImage(image, str(folder / f"{name}.nii.gz"))
    return Case(
        name=folder.name,
        patient=source.stem.split("_")[0],
        ct=folder / "ct.nii.gz",
        label=folder / "label.nii.gz",
        labels=labels,
        window=WINDOW_HU,
        repeat=repeat,
    )


def liver_cases(data: Path, work: Path) -> list[Case]:
    """LiTS slices: the mask is the liver with its tumors, and nobody looked for kidneys."""
    labels = {1: ("liver", "liver tumor")}
    return [
        write_slice(path, work / f"liver_{path.stem}", LIVER_SPACING_MM, labels, 1)
        for path in sorted((data / "msd_liver_slices").glob("*.npz"))
    ]


def kidney_cases(data: Path, work: Path) -> list[Case]:
    """KiTS19 slices: kidneys and their tumors, and nobody looked for the liver."""
    labels = {1: ("kidney",), 2: ("kidney tumor",)}
    return [
        write_slice(path, work / f"kidney_{path.stem}", float(np.load(path)["spacing"][0]), labels, KIDNEY_REPEATS)
        for path in sorted((data / "kits19_slices").glob("*.npz"))
    ]


def start(data: Path, work: Path, plan: TrainingPlan) -> RunFolder:
    """The run's folder, begun where it is new; both sets are split by patient on their own."""
    run = RunFolder(work / "run")
    if not run.started:
        livers, kidneys = liver_cases(data, work / "cases"), kidney_cases(data, work / "cases")
        parts = [split_by_patient(cases, fractions=FRACTIONS, seed=SEED) for cases in (livers, kidneys)]
        split = Split(
            train=parts[0].train + parts[1].train,
            validation=parts[0].validation + parts[1].validation,
            test=parts[0].test + parts[1].test,
            seed=SEED,
        )
        run.start(plan, [*livers, *kidneys], split)
    return run


def main() -> None:
    """Prepares, trains, evaluates and packages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    arguments = parser.parse_args()
    run = start(arguments.data, arguments.work, PLAN)
    print(json.dumps(TrainingRun(run, report=lambda event: print(json.dumps(event), flush=True)).run(), indent=2))


if __name__ == "__main__":
    main()
