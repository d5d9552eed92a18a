"""One stage of a training run: a learner, its slices, and checkpoints that it can go on from."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from HLFDSegmentationLib.devices import is_out_of_memory, memory_format, release_memory
from HLFDSegmentationLib.errors import TrainingError
from HLFDSegmentationLib.output.safe_files import LONG_WAITS, replacing, write_through
from torch import nn

from ..distillers import Distiller
from ..partial_labels import Target
from ..plan import TrainingPlan
from ..runs.processes import Processes
from ..runs.run_events import Report
from ..runs.run_folder import PREVIEW
from ..runs.weights_files import load_tensors, read_weights, writing
from .epoch_batches import EpochBatches
from .head_learner import HeadLearner
from .preview import write_preview
from .slice_loading import Requests, SliceLoader, helpers_for
from .slices import SliceDataset
from .teacher_constants import TeacherConstants
from .validation import Counts, count_overlaps, mean_dice, patients_showing

CRITERION = "mean validation Dice over labels and patients"
WARM_UP_STEPS = 100
LARGEST_GRADIENT_NORM = 5.0
MOST_VALIDATED = 16
"""Slices at a time."""
MEMORY_WAITS = (1, 5, 15, 30)
"""Seconds between the trials of a step for which the device's memory was too full, as by a segmentation."""

Result = TypeVar("Result")

TEACHERS = ("teacher.", "student.teacher.")
"""What the names of a learner's weights begin with that are its teacher's, or that of the head, which reads one."""


class Stopped(Exception):  # noqa: N818  it is no error
    """The user asked to stop; a checkpoint was left."""


@dataclass
class StageState:
    """Where a stage is: everything beside weights and optimiser that a checkpoint holds.

    `step`, `seconds` (spent, waiting for a resume left out) and `terms` (sums) are those of the epoch that is going on.
    """

    epoch: int = 0
    step: int = 0
    best: float = -math.inf
    best_epoch: int = -1
    seconds: float = 0.0
    terms: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)


class Stage:
    """Trains a learner for a number of epochs and keeps its best and its last state in a folder.

    Files: `last.pt` (to go on from: after the steps of each epoch, after its validation, and where a run was stopped),
    `best.pt` (the network whose `CRITERION` was highest, on the validation cases) and `preview.npz` (see `preview`).
    All are written aside and renamed.

    `run` does all of it. Who measures a stage (see `estimate`) overrides `run` and takes the parts of an epoch that are
    public: `train_step`, `when_there_is_memory`, `overlaps`, `save_best` and `save`.

    Args:
        name: what the user reads: "teacher", "head", "student", "undistilled".
        folder: of this stage.
        learner: what is trained, a distiller or the head that reads a teacher's layers. Of images and `Target` (and,
            where there are `constants`, theirs) it gives the student's logits and the named terms whose sum is the
            loss; it has a `student`, and tells its `trainable_parameters`.
        training, validation: the slices.
        epochs: how many.
        plan: for batch, learning rate, seed and precision.
        device: where to train.
        processes: this process among those that train together.
        report: receives one event, a JSON-able dictionary, at a time (docs/training.md).
        stop_requested: asked after every step, and where one process trains after every validated slice.
        shown: number of the validation slice in the preview.
        constants: what gives the learner the teacher's part of the loss; without it the learner runs the teacher.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        learner: Distiller | HeadLearner,
        training: SliceDataset,
        validation: SliceDataset,
        *,
        epochs: int,
        plan: TrainingPlan,
        device: torch.device,
        processes: Processes,
        report: Report,
        stop_requested: Callable[[], bool],
        shown: int,
        constants: TeacherConstants | None = None,
    ) -> None:
        self.name = name
        self.folder = folder
        self.learner = learner
        self.training = training
        self.validation = validation
        self.epochs = epochs
        self.plan = plan
        self.device = device
        self.processes = processes
        self.report = report
        self.stop_requested = stop_requested
        self.shown = shown
        self.constants = constants
        self.when_there_is_memory(self._move_learner)
        self.batches = EpochBatches(len(training), plan.batch, plan.seed, processes.rank, processes.world)
        self.loader = SliceLoader(training, helpers_for(device, processes.local_world))
        self.optimizer = torch.optim.AdamW(
            learner.trainable_parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay
        )
        self.autocast = autocast_type(plan.precision, device)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.autocast == torch.float16)
        self.state = StageState()
        # A CPU validates one slice as fast as several; a GPU takes no more than it trains on.
        self.validated = min(MOST_VALIDATED, plan.batch) if device.type == "cuda" else 1

    @property
    def last(self) -> Path:
        """The checkpoint to go on from."""
        return self.folder / "last.pt"

    @property
    def best(self) -> Path:
        """The best network so far."""
        return self.folder / "best.pt"

    @property
    def preview(self) -> Path:
        """What the network made of one validation slice after the last epoch; see `preview`."""
        return self.folder / PREVIEW

    def run(self) -> StageState:
        """Trains to the last epoch, from the last checkpoint where there is one.

        Raises:
            Stopped: stopping was asked for; `last.pt` holds the state.
            TrainingError: the loss or its gradient became infinite or no number, the memory does not suffice,
                `last.pt` is damaged, lost or another network's, or `best.pt` is damaged or lost.
            OutputError: a file cannot be written.
        """
        if len(self._depending()) > 1:  # Who learns from this stage's network needs no more of it: it is finished.
            self._check_best()
            return self.state
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.last.is_file():
            self._load()
        elif self.best.is_file():  # It is written after the first `last.pt`.
            raise TrainingError(f"{self.last}, the checkpoint to go on from, is lost. {self._remedy()}")
        parallel = self.processes.wrap(self.learner)
        while self.state.epoch < self.epochs:
            self._train_epoch(parallel)
            self._finish_epoch()
            if self.state.epoch < self.epochs and self._stop_wanted():
                raise Stopped
        self._check_best()
        return self.state

    def train_step(
        self,
        parallel: nn.Module,
        requests: Requests,
        images: torch.Tensor,
        target: Target,
        share: float,
        step: int,
    ) -> None:
        """Learns from one batch.

        Args:
            parallel: the learner, as `Processes.wrap` gives it.
            requests: for the batch's slices, see `SliceDataset`.
            images, target: the batch.
            share: of this process in the step, see `EpochBatches`.
            step: its number in the epoch.
        """
        rate = self._learning_rate(self.state.epoch * self.batches.steps + step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        terms = self.when_there_is_memory(lambda: self._gradients(parallel, requests, images, target, share, step))
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.learner.trainable_parameters(), LARGEST_GRADIENT_NORM)
        # All at once, when everything is under way: a GPU stands still while somebody waits for a number.
        *values, length = torch.stack([*terms.values(), norm.float()]).tolist()
        self._check(dict(zip(terms, values)), length, step)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        for name, term in zip(terms, values):
            self.state.terms[name] = self.state.terms.get(name, 0.0) + share * term

    def overlaps(self, numbers: Iterable[int]) -> Counts:
        """The student's overlaps with the annotations, see `validation`, on the validation slices of these numbers."""
        with self._precision():
            return count_overlaps(self.learner.student, self.validation, numbers, self.device, self.validated)

    def save_best(self, entry: dict[str, Any]) -> None:
        """Writes `best.pt`: the student as it is, and what is told of its epoch."""
        best = {"network": _trained_state(self.learner.student), "chosen_by": CRITERION, **entry}
        self._write(self.best, best)

    def save(self) -> None:
        """Writes `last.pt`, with everything that going on takes."""
        checkpoint = {
            "learner": _trained_state(self.learner),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "state": vars(self.state),
            "world": self.processes.world,
        }
        self._write(self.last, checkpoint)

    def _stop_wanted(self) -> bool:
        return self.processes.any(self.stop_requested())

    def _train_epoch(self, parallel: nn.Module) -> None:
        self.learner.train()
        epoch, started, first_step = self.state.epoch, time.monotonic() - self.state.seconds, self.state.step
        steps = list(self.batches.epoch(epoch))[first_step:]
        batches = self.loader.batches([requests for requests, _ in steps])
        for step, ((requests, share), (images, target)) in enumerate(zip(steps, batches), start=first_step):
            if not share:  # This slice only keeps the process in step with the others.
                target = target.forgotten()
            self.train_step(parallel, requests, images, target, share, step)
            self.state.step = step + 1
            self._report(
                event="step",
                epoch=epoch + 1,
                epochs=self.epochs,
                step=step + 1,
                steps=self.batches.steps,
                seconds=round(time.monotonic() - started, 2),
            )
            if self.state.step < self.batches.steps and self._stop_wanted():
                self.state.seconds = time.monotonic() - started
                self.save()
                raise Stopped
        self.state.seconds = time.monotonic() - started

    def _gradients(
        self,
        parallel: nn.Module,
        requests: Requests,
        images: torch.Tensor,
        target: Target,
        share: float,
        step: int,
    ) -> dict[str, torch.Tensor]:
        """The terms of the loss, whose gradients are left with the parameters."""
        # Methods that draw random numbers draw the same ones after a resume.
        torch.manual_seed(int(np.random.SeedSequence([self.plan.seed, self.state.epoch, step]).generate_state(1)[0]))
        with self._precision():
            given = (self.constants(images, target, requests),) if self.constants else ()
            images = images.to(self.device, memory_format=memory_format(self.device))
            _, terms = parallel(images, target.to(self.device), *given)
        stacked = torch.stack([term.float() for term in terms.values()])
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(stacked.sum() * share).backward()
        return dict(zip(terms, stacked.detach()))

    def _move_learner(self) -> None:
        self.learner.to(device=self.device)
        self.learner.student.to(memory_format=memory_format(self.device))  # type: ignore[call-overload]

    def when_there_is_memory(self, work: Callable[[], Result]) -> Result:
        """The work's result, begun again while another program fills the device's memory."""
        waits = list(MEMORY_WAITS)
        while True:
            try:
                return work()
            except (RuntimeError, MemoryError) as error:
                # Processes that train together would no longer be at the same step.
                if not is_out_of_memory(error):
                    raise
                if not waits or self.processes.world > 1:
                    raise self._too_little_memory() from error
            self.learner.zero_grad(set_to_none=True)
            release_memory()
            time.sleep(waits.pop(0))

    def _too_little_memory(self) -> TrainingError:
        return TrainingError(
            f"The memory of {self.device} does not suffice for the {self.name} with {self.plan.batch} slices a step. "
            "Training stopped; what was learned until the last checkpoint is kept. Close other programs and "
            "continue (in a terminal with --resume), or start again with a smaller batch."
        )

    def _precision(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, self.autocast) if self.autocast else nullcontext()

    def _check(self, terms: dict[str, float], gradient: float, step: int) -> None:
        what = "gradient" if math.isfinite(sum(terms.values())) else "loss"
        # The scaler of float16 passes over steps whose gradient is no number.
        if what == "gradient" and (math.isfinite(gradient) or self.scaler.is_enabled()):
            return
        values = ", ".join(f"{name} {term:.4g}" for name, term in terms.items())
        raise TrainingError(
            f"The {what} of the {self.name} is no longer a number (epoch {self.state.epoch + 1}, step {step + 1}: loss "
            f"{values}). Training stopped; the state after the last whole epoch is kept. Start again with a lower "
            f"learning rate than {self.plan.learning_rate:g}, or in a terminal with --precision float32."
        )

    def _learning_rate(self, step: int) -> float:
        total = self.epochs * self.batches.steps
        warm_up = min(WARM_UP_STEPS, total // 10 + 1)
        if step < warm_up:
            return self.plan.learning_rate * (step + 1) / warm_up
        return self.plan.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, total - warm_up)))

    def _finish_epoch(self) -> None:
        started = time.monotonic()
        # What follows may be stopped or fail, and on a CPU it takes minutes.
        self.save()
        counts = self.when_there_is_memory(self._validate)
        dice = mean_dice(counts)
        measured = dice[1:][~np.isnan(dice[1:])]
        value = float(measured.mean()) if len(measured) else math.nan
        entry = {
            "epoch": self.state.epoch + 1,
            "terms": self._mean_terms(),
            "dice": {
                label.name: None if math.isnan(dice[label.value]) else round(float(dice[label.value]), 5)
                for label in self.plan.task.labels
            },
            "criterion": None if math.isnan(value) else round(value, 5),
        }
        self.state.history.append(entry)
        # Where nothing can be measured, or nothing was found so far, whoever has learned longer is taken for better.
        if not value < self.state.best:
            self.state.best, self.state.best_epoch = value if not math.isnan(value) else -math.inf, self.state.epoch
            showing = patients_showing(counts)
            patients = {label.name: int(showing[label.value]) for label in self.plan.task.labels}
            self.save_best({**entry, "patients": patients})
        seconds = self.state.seconds
        self.state.epoch += 1
        self.state.step, self.state.seconds, self.state.terms = 0, 0.0, {}
        # Before the checkpoint: whoever is killed between them tells the epoch twice, and not never.
        self._report(
            event="epoch",
            epochs=self.epochs,
            best_epoch=self.state.best_epoch + 1,
            seconds=round(seconds + time.monotonic() - started, 2),
            **entry,
        )
        self.save()

    def _mean_terms(self) -> dict[str, float]:
        """Over the steps of the epoch, and so over the processes."""
        of_all = self.processes.gather(self.state.terms)
        steps = self.batches.steps * len(of_all)
        return {name: sum(terms[name] for terms in of_all) / steps for name in self.state.terms}

    def _validate(self) -> Counts:
        self.processes.share_buffers(self.learner.student)
        counts = self.overlaps(self._numbers_until_stopped())
        if self.processes.first:
            with self._precision():
                write_preview(self.preview, self.learner.student, self.validation, self.shown, self.device)
        merged: Counts = {}
        for part in self.processes.gather(counts):
            for name, rows in part.items():
                merged[name] = merged[name] + rows if name in merged else rows
        return merged

    def _numbers_until_stopped(self) -> Iterator[int]:
        """Numbers of this process's validation slices. Raises Stopped."""
        for number in range(self.processes.rank, len(self.validation), self.processes.world):
            # Processes that validate together are never at the same slice, and cannot agree before the end.
            if self.processes.world == 1 and self.stop_requested():
                raise Stopped
            yield number

    def _write(self, path: Path, content: dict[str, Any]) -> None:
        if self.processes.first:
            with replacing(path, LONG_WAITS) as aside, writing(path), aside.open("wb") as file:
                torch.save(content, file)
                write_through(file)
        self.processes.wait()

    def _load(self) -> None:
        # The optimizer counts its steps on the CPU: on a GPU, each step would wait for every count.
        checkpoint = load_tensors(self.last, "the checkpoint is damaged", self._remedy(), LONG_WAITS)
        load_trained_state(self.learner, checkpoint["learner"], self.last)
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        if checkpoint["scaler"]:  # empty where the run was in full precision, as on a CPU
            self.scaler.load_state_dict(checkpoint["scaler"])
        self.state = StageState(**checkpoint["state"])
        # Another number of processes takes other steps through the same slices; a few may be seen twice, none is lost.
        before, now = checkpoint["world"], self.processes.world
        self.state.step = self.state.step * before // now
        self.state.terms = {name: total * before / now for name, total in self.state.terms.items()}
        if self.state.best_epoch >= 0:
            self._check_best()

    def _check_best(self) -> None:
        """Raises TrainingError where the best epoch's network is lost, which no later epoch may replace."""
        try:
            read_weights(self.best)
        except TrainingError as error:
            raise TrainingError(
                f"{self.best}, the network of the best epoch so far, is lost or damaged. {self._remedy()}"
            ) from error

    def _remedy(self) -> str:
        """What to do where a file of this stage is lost or damaged."""
        return (
            f"Put it back from a copy, or delete {' and '.join(map(str, self._depending()))}, and continue (in a "
            "terminal with --resume): what is deleted begins anew, and the rest is kept."
        )

    def _depending(self) -> list[Path]:
        """The folder of this stage, and of those that have learned from its network."""
        names = list(self.plan.stages)
        place = names.index(self.name)
        after = [self.folder.parent / name for name in names[place + 1 : names.index("student") + 1]]
        return [self.folder, *(folder for folder in after if folder.is_dir())]

    def _report(self, **event: Any) -> None:
        self.report({"stage": self.name, **event})


def _trained_state(learner: nn.Module) -> dict[str, torch.Tensor]:
    """What a checkpoint needs: the teacher does not change and is kept with its own stage."""
    return {name: value for name, value in learner.state_dict().items() if not name.startswith(TEACHERS)}


def load_trained_state(learner: nn.Module, state: Mapping[str, torch.Tensor], source: Path) -> None:
    """Loads what was kept of a learner, or of its student, beside the teacher, which it has already.

    Args:
        learner: gets the weights.
        state: the weights.
        source: the file that they come from.

    Raises:
        TrainingError: they are another network's.
    """
    try:
        missing, unexpected = learner.load_state_dict(state, strict=False)
        fits = not unexpected and all(name.startswith(TEACHERS) for name in missing)
    except RuntimeError:  # other shapes
        fits = False
    if not fits:
        raise TrainingError(
            f"{source} holds the weights of another network. Restore the file that the training wrote, or train anew."
        )


def autocast_type(precision: str, device: torch.device) -> torch.dtype | None:
    """The lower precision that the network's forward pass runs in, or none.

    "auto" never takes float16: a teacher's features can grow beyond its largest number, 65504.
    """
    if precision == "auto":
        return torch.bfloat16 if device.type == "cuda" and _has_bfloat16(device) else None
    return {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}[precision]


def _has_bfloat16(device: torch.device) -> bool:
    with torch.cuda.device(device):
        return torch.cuda.is_bf16_supported(including_emulation=False)
