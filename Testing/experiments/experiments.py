"""Compares HLFD with other distillation methods: one command an experiment, from the public data to the tables.

    python Testing/experiments/experiments.py EXPERIMENT DATA WORK

EXPERIMENT is one of liver_slices, repeated_liver_slices, larger_networks, longer_training, kidney_slices,
longer_kidney_slices, repeated_kidney_slices, painted_liver_lesions, repeated_painted_lesions, longer_painted_lesions,
painted_kidney_volumes, longer_kidney_volumes, better_teacher and ablation. DATA is the folder with msd_liver_slices,
kits19_slices and kits23_labels. WORK receives cases and comparison in a folder of the experiment; run again with the
same WORK to go on after an interruption. The sizes below are those for two processor cores and two to four hours an
experiment; with a GPU take --pixels 256 --steps 4000 --teacher-steps 4000 --all-seeds. `--small` is for tests of this
script: its figures mean nothing. docs/experiments.md tells what is compared, and how.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from better_teacher import teacher_cases, with_better_teacher
from experiment_cases import (
    SEED,
    Extent,
    Maker,
    kidney_slices,
    liver_slices,
    painted_kidney_volumes,
    painted_liver_lesions,
    stored_cases,
)
from HLFDSegmentationLib.networks import NETWORKS
from HLFDSegmentationLib.tasks import TASKS, Task
from HLFDTrainingLib.compare.comparison import compare
from HLFDTrainingLib.compare.rows import Row, rows_of
from HLFDTrainingLib.compare.tables import write_tables
from HLFDTrainingLib.learning.epoch_batches import EpochBatches
from HLFDTrainingLib.learning.stored_slices import chosen_slices, list_slices
from HLFDTrainingLib.plan import Precision, TrainingPlan
from HLFDTrainingLib.progress import json_lines
from HLFDTrainingLib.split import Split

STUDENT, LARGER_STUDENT = "mobilenetv2-unet", "resnet18-unet"
MAIN_METHODS = ("none", "kd", "at", "emkd", "hlfd")
FURTHER_METHODS = ("skd", "dkd", "hifd", "hlfd:released", "hlfd:full")
FEW_METHODS = ("none", "kd", "hlfd")
SEEDS = (0, 1, 2)
OTHER_SEEDS = (3, 4, 5)
PAYABLE = (
    *rows_of(MAIN_METHODS, [STUDENT], SEEDS),
    *rows_of(FURTHER_METHODS, [STUDENT], SEEDS[:1]),
    *rows_of(FEW_METHODS, [LARGER_STUDENT], SEEDS[:1]),
)
# Each patient is tested on with one seed: what differs from fold to fold is more than what differs from seed to seed.
OF_A_FOLD = tuple(rows_of((*MAIN_METHODS, *FURTHER_METHODS), [STUDENT], SEEDS[:1]))
REPEATED_OF_A_FOLD = tuple(rows_of(("none", "hlfd"), [STUDENT], SEEDS[1:2]))
MAIN_OF_A_FOLD = tuple(rows_of(MAIN_METHODS, [STUDENT], SEEDS[:1]))
LARGER_NETWORKS = tuple(rows_of(FEW_METHODS, [LARGER_STUDENT, STUDENT], SEEDS))
LONGER_TRAINING = tuple(rows_of(FEW_METHODS, [STUDENT], SEEDS))
REPEATED = tuple(rows_of(("none", "hlfd"), [STUDENT], OTHER_SEEDS))
LONGER_OF_ALL_METHODS = (*LONGER_TRAINING, *rows_of(("at", "emkd", *FURTHER_METHODS), [STUDENT], SEEDS[:1]))
ALL_SEEDS = tuple(rows_of((*MAIN_METHODS, *FURTHER_METHODS), [STUDENT, LARGER_STUDENT], SEEDS))
ABLATION = tuple(
    rows_of(
        (
            "none",
            "hlfd",
            "hlfd:released",
            "hlfd:full",
            *(f"hlfd:terms={terms}" for terms in ("ufd", "ifd", "upd", "ipd", "ufd+ifd", "upd+ipd")),
            *(f"hlfd:terms={terms}" for terms in ("ifd+upd+ipd", "ufd+upd+ipd", "ufd+ifd+ipd", "ufd+ifd+upd")),
            *(f"hlfd:beta={beta}" for beta in (0.3, 2.7, 9)),
            *(f"hlfd:lambda_={weight}" for weight in (0.01, 0.3, 1)),
            *(f"hlfd:temperature={temperature}" for temperature in (1, 2, 8)),
        ),
        [STUDENT],
        SEEDS[:1],
    )
)
SMALL_METHODS = ("none", "hlfd", "hlfd:terms=ufd")


@dataclass(frozen=True)
class Budget:
    """How much work an experiment is.

    Attributes:
        pixels: rows and columns of the networks' input; a slice's field of view stays the same.
        steps: of each student and of the teacher, about (whole epochs); the head takes a fifth of the teacher's.
        teacher_steps: of the teacher.
        rows: the students.
        teacher: its network.
    """

    pixels: int
    steps: int
    teacher_steps: int
    rows: tuple[Row, ...] = PAYABLE
    teacher: str = "resnet50-unet"


@dataclass(frozen=True)
class Experiment:
    """What is compared on what.

    Attributes:
        task: with an input of `FULL_PIXELS`.
        make: makes and divides the cases.
        extent: how much of the data.
        budget: how much work.
        folder: below the one to work in; experiments with the same one share cases, teacher and rows.
        teacher_seed: of its first weights, the order of its slices and their random changes.
    """

    task: Task
    make: Maker
    extent: Extent
    budget: Budget
    folder: str
    teacher_seed: int = SEED


FULL_PIXELS = (256, 256)
SLICE_WINDOW = (0.0, 250.0)
LIVER_TASK = replace(
    TASKS["liver-tumor"],
    name="liver",
    title="Liver with its tumors",
    labels=TASKS["liver-tumor"].labels[:1],
    window=SLICE_WINDOW,
    input_size=FULL_PIXELS,
    spacing=400 / 256,
)
LIVER_TUMOR_TASK = replace(TASKS["liver-tumor"], window=SLICE_WINDOW, input_size=FULL_PIXELS, spacing=400 / 256)
KIDNEY_SLICES_TASK = replace(TASKS["kidney-tumor"], window=SLICE_WINDOW, input_size=FULL_PIXELS, spacing=400 / 256)
KIDNEY_VOLUMES_TASK = replace(TASKS["kidney-tumor"], window=(-100.0, 250.0), input_size=FULL_PIXELS, spacing=320 / 256)

# The slices, folds and networks kept of kidney_slices; students learn four times as long.
LONGER_KIDNEY_SLICES = Experiment(
    KIDNEY_SLICES_TASK,
    kidney_slices,
    Extent(folds=5),
    Budget(128, 1200, 1200, MAIN_OF_A_FOLD, teacher="resnet18-unet"),
    "longer_kidney_slices",
)
VOLUMES = Experiment(
    KIDNEY_VOLUMES_TASK, painted_kidney_volumes, Extent(), Budget(128, 900, 1200), "painted_kidney_volumes"
)
EXPERIMENTS = {
    "liver_slices": Experiment(LIVER_TASK, liver_slices, Extent(), Budget(128, 900, 1200), "liver_slices"),
    # The slices, networks and steps kept of liver_slices once more, with another teacher and other first weights.
    "repeated_liver_slices": Experiment(
        LIVER_TASK,
        liver_slices,
        Extent(),
        Budget(128, 600, 900, REPEATED, teacher="resnet18-unet"),
        "repeated_liver_slices",
        teacher_seed=SEED + 1,
    ),
    # The same slices and steps as were kept of liver_slices, from a larger teacher to a small and a larger student.
    "larger_networks": Experiment(
        LIVER_TASK, liver_slices, Extent(), Budget(128, 600, 900, LARGER_NETWORKS), "larger_networks"
    ),
    # The slices and networks kept of liver_slices; students learn four times, the teacher three times as long.
    "longer_training": Experiment(
        LIVER_TASK,
        liver_slices,
        Extent(),
        Budget(128, 2400, 2700, LONGER_TRAINING, teacher="resnet18-unet"),
        "longer_training",
    ),
    "kidney_slices": Experiment(
        KIDNEY_SLICES_TASK, kidney_slices, Extent(folds=5), Budget(128, 400, 500, OF_A_FOLD), "kidney_slices"
    ),
    "longer_kidney_slices": LONGER_KIDNEY_SLICES,
    # The student alone and HLFD's once more, with other teachers and other first weights.
    "repeated_kidney_slices": replace(
        LONGER_KIDNEY_SLICES,
        budget=replace(LONGER_KIDNEY_SLICES.budget, rows=REPEATED_OF_A_FOLD),
        folder="repeated_kidney_slices",
        teacher_seed=SEED + 1,
    ),
    "painted_liver_lesions": Experiment(
        LIVER_TUMOR_TASK, painted_liver_lesions, Extent(), Budget(128, 900, 1200), "painted_liver_lesions"
    ),
    # The slices, networks and steps kept of painted_liver_lesions once more, as repeated_liver_slices.
    "repeated_painted_lesions": Experiment(
        LIVER_TUMOR_TASK,
        painted_liver_lesions,
        Extent(),
        Budget(128, 450, 900, REPEATED, teacher="resnet18-unet"),
        "repeated_painted_lesions",
        teacher_seed=SEED + 1,
    ),
    # The slices and networks kept of painted_liver_lesions, with the steps of longer_training.
    "longer_painted_lesions": Experiment(
        LIVER_TUMOR_TASK,
        painted_liver_lesions,
        Extent(),
        Budget(128, 2400, 2700, LONGER_OF_ALL_METHODS, teacher="resnet18-unet"),
        "longer_painted_lesions",
    ),
    "painted_kidney_volumes": VOLUMES,
    # The same volumes, with the networks and steps of longer_training.
    "longer_kidney_volumes": replace(
        VOLUMES,
        budget=Budget(128, 2400, 2700, LONGER_OF_ALL_METHODS, teacher="resnet18-unet"),
        folder="longer_kidney_volumes",
    ),
    # The students, volumes and steps of longer_kidney_volumes, with a teacher that has seen more paintings of the same
    # patients.
    "better_teacher": replace(
        VOLUMES,
        extent=Extent(teacher_paintings=12),
        budget=Budget(128, 2400, 5100, LONGER_TRAINING, teacher="resnet18-unet"),
        folder="better_teacher",
    ),
    # Its rows join those of the volumes, of which it needs the teacher.
    "ablation": replace(VOLUMES, budget=replace(VOLUMES.budget, rows=ABLATION)),
}


def small(experiment: Experiment) -> Experiment:
    """The experiment made so small that it shows nothing but that everything runs."""
    extent = replace(experiment.extent, patients=6, paintings=1, training_slices=3, test_slices=4)
    extent = replace(extent, folds=min(2, extent.folds), teacher_paintings=min(1, extent.teacher_paintings))
    rows = experiment.budget.rows
    of_first_student = (row for row in rows if (row.student, row.seed) == (rows[0].student, rows[0].seed))
    rows = tuple(row for row in of_first_student if row.method in SMALL_METHODS)
    return replace(experiment, extent=extent, budget=Budget(64, 2, 2, rows))


def plan_of(experiment: Experiment, split: Split, device: str, precision: str) -> TrainingPlan:
    """What all students of an experiment share: only method, student and seed differ from row to row."""
    budget = experiment.budget
    pixel_mm = experiment.task.spacing * FULL_PIXELS[0] / budget.pixels
    task = replace(experiment.task, input_size=(budget.pixels, budget.pixels), spacing=pixel_mm)
    plan = TrainingPlan(
        task=task,
        teacher=budget.teacher,
        student=STUDENT,
        method="none",
        batch=8,
        learning_rate=2e-3,
        seed=experiment.teacher_seed,
        device=device,
        precision=precision,
        augmentation="orientations",
    )
    return replace(
        plan,
        teacher_epochs=epochs_of(budget.teacher_steps, split, plan),
        head_epochs=epochs_of(budget.teacher_steps / 5, split, plan),
        student_epochs=epochs_of(budget.steps, split, plan),
    )


def epochs_of(steps: float, split: Split, plan: TrainingPlan) -> int:
    """As many as come nearest to so many steps, at least one."""
    slices = chosen_slices(list_slices(split.train, plan.task), plan.seed)
    return max(1, round(steps / EpochBatches(len(slices), plan.batch, plan.seed).steps))


def run(experiment: Experiment, data: Path, work: Path, options: argparse.Namespace) -> list[Path]:
    """Makes the cases, compares, and writes the tables; returns the comparisons' folders, one for each fold."""
    folder = work / experiment.folder
    divisions = stored_cases(experiment.make, data, folder / "cases", experiment.extent, experiment.task)
    folders = []
    for number, split in enumerate(divisions, start=1):
        folders.append(folder / ("comparison" if len(divisions) == 1 else f"fold{number}"))
        plan = plan_of(experiment, split, options.device, options.precision)
        more = teacher_cases(data, folder / "teacher_cases", split, experiment.extent, experiment.task)
        if not options.cases_only:
            if more:
                taught = replace(split, train=(*split.train, *more))
                epochs = epochs_of(experiment.budget.teacher_steps, taught, plan)
                plan = with_better_teacher(plan, taught, epochs, folder / "teacher", options.threads)
            compare(
                folders[-1],
                plan,
                [*split.train, *split.validation, *split.test],
                split,
                experiment.budget.rows,
                scheduler=options.scheduler,
                workers=options.workers,
                threads=options.threads,
                report=json_lines,
            )
    if len(folders) > 1 and not options.cases_only:
        write_tables(folders, folder / "comparison")
    return folders


def chosen_experiment(options: argparse.Namespace) -> Experiment:
    """The experiment that the command line asks for, with its sizes."""
    experiment = EXPERIMENTS[options.experiment]
    if options.all_seeds and options.experiment != "ablation":
        experiment = replace(experiment, budget=replace(experiment.budget, rows=ALL_SEEDS))
    if options.small:
        experiment = small(experiment)
    extent = given(options, ("patients", "paintings", "training_slices", "test_slices", "folds"))
    budget = given(options, ("pixels", "steps", "teacher_steps", "teacher"))
    rows = chosen_rows(experiment.budget.rows, options)
    return replace(
        experiment,
        extent=replace(experiment.extent, **extent),
        budget=replace(experiment.budget, rows=rows, **budget),
    )


def chosen_rows(rows: Sequence[Row], options: argparse.Namespace) -> tuple[Row, ...]:
    """Those of the rows that the command line asks for, in their order.

    Raises:
        SystemExit: it asks for what the experiment does not have.
    """
    for option, there in (("methods", "method"), ("students", "student"), ("seeds", "seed")):
        asked = (getattr(options, option) or "").split(",")
        if missing := set(asked) - {str(getattr(row, there)) for row in rows} - {""}:
            raise SystemExit(f"{options.experiment} has no {there} {', '.join(sorted(missing))}.")
    return tuple(
        row
        for row in rows
        if (not options.methods or row.method in options.methods.split(","))
        and (not options.students or row.student in options.students.split(","))
        and (not options.seeds or str(row.seed) in options.seeds.split(","))
    )


def given(options: argparse.Namespace, names: Sequence[str]) -> dict[str, Any]:
    """Those of the options that the command line has."""
    return {name: getattr(options, name) for name in names if getattr(options, name) is not None}


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", choices=EXPERIMENTS)
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    sizes = parser.add_argument_group("sizes, those of the experiment where they are left out")
    sizes.add_argument("--pixels", type=int, help="rows and columns of the networks' input, a multiple of 32")
    sizes.add_argument("--steps", type=int, help="of each student")
    sizes.add_argument("--teacher-steps", type=int)
    sizes.add_argument("--teacher", choices=NETWORKS, help="a smaller one learns more in the same time on a CPU")
    sizes.add_argument("--patients", type=int, help="only the first so many")
    sizes.add_argument("--paintings", type=int, help="times that a slice is painted with other lesions")
    sizes.add_argument("--training-slices", type=int, help="of a painted volume that is learned from")
    sizes.add_argument("--test-slices", type=int, help="of a painted volume that is tested on")
    sizes.add_argument("--folds", type=int)
    sizes.add_argument("--all-seeds", action="store_true", help="every method and both students with three seeds")
    sizes.add_argument("--small", action="store_true", help="a few slices and steps, to see that it runs")
    rows = parser.add_argument_group("rows, all of the experiment's where they are left out; others can follow later")
    rows.add_argument("--methods", help="as none,kd,hlfd")
    rows.add_argument("--students", help="as mobilenetv2-unet")
    rows.add_argument("--seeds", help="as 0,1")
    parser.add_argument("--cases-only", action="store_true", help="make the cases and stop")
    parser.add_argument("--device", default="auto")
    # On CPUs without units for bfloat16 it is several times slower.
    parser.add_argument("--precision", default="auto", choices=get_args(Precision))
    parser.add_argument("--scheduler", help="of dask.distributed, to use other machines")
    parser.add_argument("--workers", type=int, help="processes on this machine")
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one experiment."""
    options = parsed(arguments)
    run(chosen_experiment(options), options.data, options.work, options)


if __name__ == "__main__":
    main()
