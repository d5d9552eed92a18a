"""A teacher that has seen more paintings of the patients to learn from than its students do.

Only trunk, contrast phase and noise are painted anew: kidneys and tumors are those of the same patients.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from experiment_cases import Extent, painted_kidney_volume
from HLFDSegmentationLib.tasks import Task
from HLFDTrainingLib.cases import Case, find_cases, write_cases_json
from HLFDTrainingLib.plan import TrainingPlan
from HLFDTrainingLib.progress import json_lines
from HLFDTrainingLib.runs.run_folder import RunFolder
from HLFDTrainingLib.runs.run_start import start_run
from HLFDTrainingLib.split import Split
from HLFDTrainingLib.trainer import TrainingRun


def teacher_cases(data: Path, folder: Path, split: Split, extent: Extent, task: Task) -> list[Case]:
    """What is painted for the teacher alone, made at the first call and read from the folder after that."""
    if not extent.teacher_paintings:
        return []
    listed = folder / "cases.json"
    if not listed.is_file():
        cases = [
            painted_kidney_volume(
                data / "kits23_labels" / f"{case.patient}.nii.gz", folder, extent.training_slices, painting
            )
            for case in split.train
            for painting in range(1, extent.teacher_paintings + 1)
        ]
        write_cases_json(cases, listed)
    return find_cases(listed, task)


def with_better_teacher(plan: TrainingPlan, split: Split, epochs: int, folder: Path, threads: int) -> TrainingPlan:
    """The plan with a teacher that has learned from the split's cases; the training in `folder` is gone on with."""
    alone = replace(plan, student=plan.teacher, student_epochs=epochs)
    run = RunFolder(folder)
    if not run.started:
        start_run(run, alone, [*split.train, *split.validation, *split.test], split)
    elif run.plan() != alone:
        raise SystemExit(f"{folder} was begun with another plan. Choose another WORK.")
    torch.set_num_threads(threads)
    TrainingRun(run, report=json_lines).run()
    return replace(plan, teacher_weights=str(run.path / "student/best.pt"))
