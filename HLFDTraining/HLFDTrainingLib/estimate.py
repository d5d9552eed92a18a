"""What a training run will take on this computer: time, memory and disk, measured by a few of its own steps.

The trainer itself runs in a private folder, with one case to learn from and one to validate on, and a few steps in
place of each stage. Networks, device, batch and size are the plan's.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import SimpleITK as sitk
import torch
from HLFDSegmentationLib.devices import choose_device, is_out_of_memory
from HLFDSegmentationLib.errors import TrainingError
from HLFDSegmentationLib.output.private_folder import PrivateFolder
from HLFDSegmentationLib.tasks import Task

from .cases import Case
from .learning.memory import DeviceMemory
from .learning.slice_loading import helpers_for
from .learning.slices import collate
from .learning.stage import Result, Stage, StageState
from .learning.stored_slices import SliceItem, chosen_slices, list_slices
from .plan import TrainingPlan
from .runs.given_weights import keep_given_weights
from .runs.run_events import Report
from .runs.run_folder import RunFolder
from .runs.run_start import start_run
from .split import Split
from .trainer import TrainingRun, check_slices

MEASURED_STEPS = 3
MEASURED_SECONDS = 10.0
"""A stage's whole steps are measured until there are this many, or for this long."""

MEASURED_VALIDATION_SLICES = 4

SHARES = {"teacher": 0.45, "head": 0.05, "student": 0.5}
"""How a time budget is divided. The student's share is for both students where one is trained without distillation;
the share of a stage that the plan does not have goes to the others."""


@dataclass(frozen=True)
class Estimate:
    """What a run takes on this computer.

    Attributes:
        epochs: of each stage, by its name, in the order of training.
        epoch_seconds: of one epoch of each stage, validation and checkpoint included.
        reading_seconds: until the slices of all cases are read.
        memory_bytes: most that is held at a time: of the GPU's memory on CUDA, of this computer's otherwise.
        disk_bytes: of the run's folder, when it is largest.
        warnings: sentences on what will not fit.
    """

    epochs: dict[str, int]
    epoch_seconds: dict[str, float]
    reading_seconds: float
    memory_bytes: int
    disk_bytes: int
    warnings: tuple[str, ...] = ()

    @property
    def seconds(self) -> dict[str, float]:
        """Of "reading" and of each stage."""
        stages = {stage: epochs * self.epoch_seconds[stage] for stage, epochs in self.epochs.items()}
        return {"reading": self.reading_seconds, **stages}

    @property
    def total(self) -> float:
        """Seconds of the whole run."""
        return sum(self.seconds.values())

    def to_dict(self) -> dict[str, Any]:
        """The estimate as JSON holds it (docs/training.md)."""
        return {
            "epochs": self.epochs,
            "seconds": {stage: round(seconds, 1) for stage, seconds in self.seconds.items()},
            "total": round(self.total, 1),
            "memory_bytes": self.memory_bytes,
            "disk_bytes": self.disk_bytes,
            "warnings": list(self.warnings),
        }


def estimate(plan: TrainingPlan, split: Split, folder: Path, report: Report = lambda event: None) -> Estimate:
    """Measures a few steps of each stage.

    Takes about as long as reading the labels of all cases to learn from and to validate on, two of the cases, and ten
    steps of each stage. Nothing is written in `folder`, and the random numbers of this process stay as they are.

    Args:
        plan: what is to be done.
        split: its cases.
        folder: where the run is to be, or is; none of it has to exist yet.
        report: receives {"event": "measuring", "stage": name} at the start of each stage, "reading" the first, and of
            this the event `reading` with the labels that are read.

    Raises:
        TrainingError, CasesError: the run could not be trained either.
    """
    listed = _listed((*split.train, *split.validation), plan.task, report)
    training = chosen_slices([item for case in split.train for item in listed[case.name]], plan.seed)
    validation = [item for case in split.validation for item in listed[case.name]]
    check_slices(training, validation)
    sample = _sample(training, split)
    device = choose_device(plan.device)
    memory = DeviceMemory(device)
    cuda = [device] if device.type == "cuda" else []
    # What is in it is CT: where this process is killed, the next private folder removes it.
    with PrivateFolder() as private, torch.random.fork_rng(cuda):
        run = RunFolder(private.path / "run")
        batch = min(plan.batch, len(training))
        start_run(run, replace(plan, batch=batch), [*sample.train, *sample.validation], sample)
        # A run that was begun needs the source of its weights no more: it may be gone.
        _copy_given(RunFolder(folder), run)
        trial = _TrialRun(run, memory, report)
        trial.measure()
    needed, disk = trial.memory_bytes(), trial.disk_bytes(_distinct([*training, *validation]))
    problems = (memory_problem(needed, memory, trial.fitting_batch()), disk_problem(disk, folder))
    return Estimate(
        epochs=plan.stages,
        epoch_seconds=trial.epoch_seconds(len(training) / batch, len(validation)),
        reading_seconds=trial.reading_seconds * _voxels_to_read(split) / _voxels_to_read(sample),
        memory_bytes=needed,
        disk_bytes=disk,
        warnings=tuple(filter(None, problems)),
    )


def _listed(cases: Sequence[Case], task: Task, report: Report) -> dict[str, list[SliceItem]]:
    """The slices of each case by its name; reading all labels takes minutes where they are many."""
    report({"event": "measuring", "stage": "reading"})
    listed = {}
    for number, case in enumerate(cases):
        report({"event": "reading", "done": number, "of": len(cases)})
        listed[case.name] = list_slices([case], task)
    report({"event": "reading", "done": len(cases), "of": len(cases)})
    return listed


def _sample(training: Sequence[SliceItem], split: Split) -> Split:
    """The largest case to learn from and the largest one to validate on."""
    # A case without any label is hardly learned from, and alone not at all.
    with_label = {item.case.name for item in training if item.labelled}
    learned_from = [case for case in split.train if case.name in with_label]
    return Split((max(learned_from, key=_voxels),), (max(split.validation, key=_voxels),), ())


def _copy_given(begun: RunFolder, trial: RunFolder) -> None:
    for role in ("teacher", "student"):
        if begun.given(role).is_file():
            trial.given(role).parent.mkdir(exist_ok=True)
            shutil.copyfile(begun.given(role), trial.given(role))


def epochs_for(seconds: float, plan: TrainingPlan, measured: Estimate) -> tuple[TrainingPlan, Estimate]:
    """The plan with as many epochs as a time budget allows, divided by `SHARES`, and what it takes then.

    Each stage has one epoch at least; where that alone takes longer than the budget, the estimate warns.

    Args:
        seconds: for the whole run, reading included.
        plan: whose epochs are to be chosen.
        measured: the estimate for `plan`, whatever its epochs.
    """
    shares = {stage: share for stage, share in SHARES.items() if stage in measured.epochs}
    of_students = measured.epoch_seconds["student"] + measured.epoch_seconds.get("undistilled", 0.0)
    one_epoch = {**measured.epoch_seconds, "student": of_students}
    left = (seconds - measured.reading_seconds) / sum(shares.values())
    epochs = {stage: max(1, int(left * share / one_epoch[stage])) for stage, share in shares.items()}
    chosen: dict[str, Any] = {f"{stage}_epochs": count for stage, count in epochs.items()}
    plan = replace(plan, **chosen)
    fitted = replace(measured, epochs=plan.stages)
    if fitted.total > seconds:
        sentence = (
            f"{_time(seconds)} do not suffice: one epoch of each stage takes {_time(fitted.total)}. "
            "Allow more time, train with fewer cases, or take a teacher that is trained already."
        )
        fitted = replace(fitted, warnings=(*fitted.warnings, sentence))
    return plan, fitted


def seconds_with_helpers(loading: float, step: float, helpers: int) -> float:
    """What a step takes with the making of its batch: helpers make the batches to come meanwhile."""
    return max(loading / helpers, step) if helpers else loading + step


def memory_problem(needed: int, memory: DeviceMemory, fitting_batch: int) -> str | None:
    """A sentence where training needs more memory than there is; `fitting_batch` is one that was seen to fit."""
    if needed <= memory.limit:
        return None
    where = f"the memory of {memory.device}" if memory.device.type == "cuda" else "memory"
    return (
        f"Training needs about {_size(needed)} of {where}, and {_size(memory.limit)} are free: it would become very "
        f"slow or be ended. Close other programs, or choose a smaller batch, such as {fitting_batch}."
    )


def disk_problem(needed: int, folder: Path) -> str | None:
    """A sentence where a run needs more space than the disk of its folder has."""
    existing = next(path for path in (Path(folder).absolute(), *Path(folder).absolute().parents) if path.is_dir())
    free = shutil.disk_usage(existing).free
    if needed <= free:
        return None
    return (
        f"The run needs about {_size(needed)} of disk, and {_size(free)} are free where its folder is to be. "
        "Free some space, or choose a folder on another disk."
    )


def estimate_text(found: Estimate) -> str:
    """The estimate for a person to read, a line for each figure."""
    lines = [
        f"{stage:<12} {_time(seconds)}" + (f" ({found.epochs[stage]} epochs)" if stage in found.epochs else "")
        for stage, seconds in found.seconds.items()
    ]
    lines += [f"{'in all':<12} {_time(found.total)}"]
    lines += [f"{'memory':<12} {_size(found.memory_bytes)}", f"{'disk':<12} {_size(found.disk_bytes)}"]
    return "\n".join([*lines, *(f"Note: {sentence}" for sentence in found.warnings)])


@dataclass(frozen=True)
class _Measured:
    """Figures of a stage: one step, one validation slice, saving after an epoch, and files."""

    step_seconds: float
    slice_seconds: float
    saving_seconds: float
    memory_bytes: int
    fitting_batch: int
    checkpoint_bytes: int
    files_bytes: int

    def epoch_seconds(self, steps: float, slices: int) -> float:
        """Of an epoch with so many steps and slices to validate on."""
        return steps * self.step_seconds + slices * self.slice_seconds + self.saving_seconds


class _TrialRun(TrainingRun):
    """The trainer, with a few steps in place of each stage."""

    def __init__(self, folder: RunFolder, memory: DeviceMemory, report: Report) -> None:
        super().__init__(folder)
        self.memory = memory
        self.measured: dict[str, _Measured] = {}
        self.stage_type = partial(_TrialStage, memory=memory, keep=self.measured.__setitem__, tell=report)

    def measure(self) -> None:
        """Reads the cases and measures each stage."""
        keep_given_weights(self.folder, self.plan, self.split)
        self.given_bytes = _total_size(self.folder.path / "given")
        started = time.monotonic()
        slices = self.read_slices()
        self.reading_seconds = time.monotonic() - started
        self.train_stages(*slices)
        self.slice_bytes = _mean_size(self.folder.cache)

    def epoch_seconds(self, steps: float, slices: int) -> dict[str, float]:
        """Of an epoch of each stage with so many steps and slices to validate on."""
        return {name: stage.epoch_seconds(steps, slices) for name, stage in self.measured.items()}

    def memory_bytes(self) -> int:
        """Most that is held at a time."""
        return max(stage.memory_bytes for stage in self.measured.values())

    def fitting_batch(self) -> int:
        """One that was seen to fit into the memory in every stage."""
        return min(stage.fitting_batch for stage in self.measured.values())

    def disk_bytes(self, slices: int) -> int:
        """Of the folder of a run with so many slices, when it is largest."""
        stages = self.measured.values()
        files = self.given_bytes + sum(stage.files_bytes for stage in stages)
        # A checkpoint is written beside the former one.
        return slices * self.slice_bytes + files + max(stage.checkpoint_bytes for stage in stages)


class _TrialStage(Stage):
    """A stage that trains a few steps and leaves checkpoints of them."""

    def __init__(
        self,
        *arguments: Any,
        memory: DeviceMemory,
        keep: Callable[[str, _Measured], None],
        tell: Report,
        **named: Any,
    ) -> None:
        self.tried = 0
        super().__init__(*arguments, **named)
        self.memory = memory
        self.keep = keep
        self.tell = tell

    def run(self) -> StageState:
        """Measures."""
        self.tell({"event": "measuring", "stage": self.name})
        self.learner.train()
        largest, memory = self._grow_batch()
        step = self._mean_step(largest) * self.plan.batch / largest
        self._validation_seconds(1)  # the first slice of a size takes longer
        slices = min(MEASURED_VALIDATION_SLICES, len(self.validation))
        validation = self._validation_seconds(slices) / slices
        started = time.monotonic()
        self.save()
        self.save_best({})
        self.keep(
            self.name,
            _Measured(
                step_seconds=step,
                slice_seconds=validation,
                saving_seconds=time.monotonic() - started,
                memory_bytes=max(memory, self.memory.peak()),
                fitting_batch=largest,
                checkpoint_bytes=self.last.stat().st_size,
                files_bytes=_total_size(self.folder),
            ),
        )
        return self.state

    def when_there_is_memory(self, work: Callable[[], Result]) -> Result:
        """The work's result; where there is too little memory, waiting would only put off what is to be told."""
        try:
            return work()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            tried = f" with {self.tried} slices a step" if self.tried else ""
            raise TrainingError(
                f"The memory of {self.device} does not suffice for the {self.name}{tried}. Close other programs, or "
                "choose a smaller batch or smaller networks."
            ) from error

    def _grow_batch(self) -> tuple[int, int]:
        """The largest batch, up to the plan's, that surely fits into the memory, and the memory for the plan's.

        Doubles the batch and sees by how much the memory grew, so that this computer is never filled by measuring.
        """
        batch, wanted = min(2, self.plan.batch), self.plan.batch
        self.memory.begin()
        self._step_seconds(batch)
        while batch < wanted:
            before = self.memory.peak()
            larger = min(2 * batch, wanted)
            self.memory.begin()
            self._step_seconds(larger)
            a_slice = (self.memory.peak() - before) / (larger - batch)
            batch = larger
            needed = self.memory.peak() + int(a_slice * (wanted - batch))
            if self.memory.peak() + a_slice * (min(2 * batch, wanted) - batch) > self.memory.limit:
                return batch, needed
        return batch, self.memory.peak()

    def _mean_step(self, slices: int) -> float:
        times: list[float] = []
        while len(times) < MEASURED_STEPS and sum(times) < MEASURED_SECONDS:
            times.append(self._step_seconds(slices))
        return sum(times) / len(times)

    def _step_seconds(self, slices: int) -> float:
        self.tried = slices
        requests = [(0, number % len(self.training)) for number in range(slices)]
        started = time.monotonic()
        batch = collate([self.training[request] for request in requests])
        loaded = time.monotonic()
        self.train_step(self.learner, requests, *batch, 1.0, 0)
        return seconds_with_helpers(loaded - started, time.monotonic() - loaded, helpers_for(self.device))

    def _validation_seconds(self, slices: int) -> float:
        started = time.monotonic()
        self.overlaps(range(slices))
        return time.monotonic() - started


def _voxels_to_read(split: Split) -> int:
    return sum(map(_voxels, (*split.train, *split.validation)))


def _voxels(case: Case) -> int:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(case.label))
    reader.ReadImageInformation()
    return prod(reader.GetSize())


def _distinct(items: Sequence[SliceItem]) -> int:
    return len({(item.case.name, item.index) for item in items})


def _total_size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _mean_size(folder: Path) -> int:
    sizes = [path.stat().st_size for path in folder.iterdir()]
    return round(sum(sizes) / len(sizes))


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} seconds"
    return f"{round(seconds / 60)} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
