"""A training run: a teacher, the head that reads its layers, and the student that is distilled from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Sized
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from HLFDSegmentationLib.devices import choose_device, device_title, memory_format, unusable_cards
from HLFDSegmentationLib.errors import CasesError, HLFDError, TrainingError
from HLFDSegmentationLib.networks import build_network, network_module
from HLFDSegmentationLib.networks.network import SegmentationNetwork
from HLFDSegmentationLib.output.private_folder import remove_tree
from torch import nn

from .cases import Case
from .distillers import Distiller, build_distiller, needs_teacher, needs_unified_head
from .distillers.unified_head import UnifiedHead
from .learning.epoch_batches import EpochBatches
from .learning.head_learner import HeadLearner
from .learning.preview import largest_slice
from .learning.slices import SliceDataset
from .learning.stage import CRITERION, Stage, StageState, Stopped, autocast_type, load_trained_state
from .learning.stored_slices import SliceItem, chosen_slices, list_slices
from .learning.teacher_constants import TeacherConstants, open_store
from .plan import TrainingPlan
from .runs.earlier_runs import keep_patients_by_ct
from .runs.given_weights import keep_given_weights, read_given_weights
from .runs.process_files import there
from .runs.processes import Processes
from .runs.run_events import Report
from .runs.run_folder import RunFolder
from .runs.software import software_versions
from .split import Split


class TrainingRun:
    """Runs the stages of a plan in a folder, and goes on where they were left.

    A run that trains something else than its whole plan overrides `train_stages`, `trained_head` or `result`, and takes
    what it needs of the other public methods (see `compare.shared_runs`).

    Attributes:
        stage_type: makes a stage; another one measures it (see `estimate`).

    Args:
        folder: the run, started or to be resumed.
        report: receives each progress event of this process.
        stop_requested: asked after every step, beside the run's stop file; when true, a checkpoint is left and
            `stage.Stopped` raised.
        processes: this process among those that train together.
        constants: folder for what the teacher says of the slices, see `teacher_constants`; runs that share it compute
            it once. Not used but with the augmentation "orientations", nor on CUDA.
        slices: folder for slices that other runs read too; without it, the run keeps them to itself until it ends.

    Raises:
        InputError: this computer has no such device.
    """

    def __init__(
        self,
        folder: RunFolder,
        *,
        report: Report = lambda event: None,
        stop_requested: Callable[[], bool] = lambda: False,
        processes: Processes | None = None,
        constants: Path | None = None,
        slices: Path | None = None,
    ) -> None:
        self.folder = folder
        self.slices = slices or folder.cache
        self.plan: TrainingPlan = folder.plan()
        self.split: Split = folder.split(self.plan)
        self.report = report
        self.stop_requested = lambda: stop_requested() or there(folder.stop_file)
        self.processes = processes or Processes()
        self.constants = constants
        self.stage_type: Callable[..., Stage] = Stage
        self.device = choose_device(self.plan.device, self.processes.local_rank)

    def run(self) -> dict[str, Any]:
        """Trains what is not trained yet; returns the result, which `result.json` holds as well.

        Raises:
            TrainingError: training cannot go on (docs/training.md lists the reasons).
            CasesError: a case that is learned from or validated on is gone.
            OutputError: a file of the run cannot be written.
            Stopped: stopping was asked for.
        """
        if self.folder.finished:
            return self._finished(self.folder.result())
        # It is built hours later, and the files of an extension can be exchanged, or removed, by then.
        network_module(self.plan.student)
        with _telling_missing_files(self.split):
            result = self.result(self.train_stages(*self.read_slices()))
        if self.processes.first:
            # In this order: of a run that is finished, nobody would remove them any more.
            remove_tree(self.folder.cache)
            self.folder.write_result(result)
        return self._finished(result)

    def read_slices(self) -> tuple[SliceDataset, SliceDataset]:
        """The slices for training and validation, in the cache, when all that the plan brings was found fit.

        To be called before any stage is trained.
        """
        if self.processes.first:
            keep_given_weights(self.folder, self.plan, self.split)
            keep_patients_by_ct(self.folder, self.split)
        self.processes.wait()
        self.listed = self._listed(self.split.train)
        training = SliceDataset(
            chosen_slices(self.listed, self.plan.seed),
            self.plan.task,
            self.slices,
            augmentation=self.plan.augmentation,
            seed=self.plan.seed,
        )
        validation = SliceDataset(self._listed(self.split.validation), self.plan.task, self.slices)
        check_slices(training, validation)
        self._report_plan(training)
        self._fill_cache(training, validation)
        self.shown = largest_slice(validation, self.plan.task)
        return training, validation

    def train_stages(self, training: SliceDataset, validation: SliceDataset) -> dict[str, StageState]:
        """Trains the stages in their order; how the students went, by stage, for `result`."""
        method = (self.plan.method, self.plan.method_options)
        teacher = self.trained_teacher(training, validation) if needs_teacher(*method) else None
        with_head = needs_unified_head(*method)
        head = self.trained_head(teacher, training, validation) if teacher is not None and with_head else None
        students = {"student": self._student(teacher, head, training, validation)}
        if self.plan.undistilled:
            students["undistilled"] = self._undistilled(training, validation)
        return students

    def trained_teacher(self, training: SliceDataset, validation: SliceDataset) -> nn.Module:
        """The best teacher, trained here unless the plan brings one."""
        network = self._network("teacher", 1)
        if not self.plan.teacher_weights:
            learner = build_distiller("none", network, None, self.plan.task.num_classes)
            self._stage("teacher", learner, self.plan.teacher_epochs, training, validation)
            network.load_state_dict(self.folder.best("teacher")["network"])
        # Its stage moves it to the device, and waits there for memory.
        network.to(memory_format=memory_format(self.device))  # type: ignore[call-overload]
        return network.eval().requires_grad_(False)

    def trained_head(self, teacher: nn.Module, training: SliceDataset, validation: SliceDataset) -> UnifiedHead:
        """The best head that reads this teacher's unified layers, trained here."""
        self._seed(2)
        head = UnifiedHead(teacher, self.plan.task.num_classes)
        learner = HeadLearner(teacher, head)
        self._stage("head", learner, self.plan.head_epochs, training, validation)
        load_trained_state(learner.student, self.folder.best("head")["network"], self.folder.stage("head"))
        return head.eval().requires_grad_(False)

    def result(self, students: dict[str, StageState]) -> dict[str, Any]:
        """What `result.json` is to hold, of what `train_stages` gave."""
        result = {
            "student": self.plan.student,
            "method": self.plan.method,
            "chosen_by": CRITERION,
            **_best(students["student"]),
        }
        if "undistilled" in students:
            result["undistilled"] = _best(students["undistilled"])
        return result

    def _report_plan(self, training: SliceDataset) -> None:
        steps = EpochBatches(len(training), self.plan.batch, self.plan.seed, world=self.processes.world).steps
        stages = [{"stage": name, "epochs": epochs, "steps": steps} for name, epochs in self.plan.stages.items()]
        precision = autocast_type(self.plan.precision, self.device) or torch.float32
        computed = {
            "device": str(self.device),
            "device_title": device_title(str(self.device)),
            "precision": str(precision).removeprefix("torch."),
            "unusable": unusable_cards() if self.plan.device == "auto" and self.device.type == "cpu" else None,
            "software": software_versions(),
        }
        self.report({"event": "plan", "stages": stages, **computed})

    def _finished(self, result: dict[str, Any]) -> dict[str, Any]:
        self.report({"event": "finished", **result})
        return result

    def _listed(self, cases: Sequence[Case]) -> list[SliceItem]:
        """Every slice of the cases. Their labels take a second each to read, or many. Raises Stopped."""
        listed = []
        for case in cases:
            self._end_if_asked()
            listed += list_slices([case], self.plan.task, self.slices)
        return listed

    def _end_if_asked(self) -> None:
        if self.processes.any(self.stop_requested()):
            raise Stopped

    def _fill_cache(self, *datasets: SliceDataset) -> None:
        """Reads every slice once, case by case; several processes share the cases."""
        world = self.processes.world
        cases = [(dataset.stored, numbers) for dataset in datasets for numbers in dataset.stored.by_case()]
        shares = [
            [(stored, number) for stored, numbers in cases[rank::world] for number in numbers] for rank in range(world)
        ]
        mine, total = shares[self.processes.rank], sum(map(len, datasets))
        for count in range(max(map(len, shares))):
            if count < len(mine):
                stored, number = mine[count]
                stored.fill(number)
                if count + 1 == len(mine) or mine[count + 1][0] is not stored:
                    stored.read.forget()
            if count % 100 == 0:
                self.report({"event": "reading", "done": min(count * world, total), "of": total})
                self._end_if_asked()
        self.report({"event": "reading", "done": total, "of": total})
        self.processes.wait()

    def _seed(self, stage: int) -> None:
        torch.manual_seed(int(np.random.SeedSequence([self.plan.seed, stage]).generate_state(1)[0]))

    def _network(self, role: str, stage: int) -> SegmentationNetwork:
        """The teacher's or student's network, as training it begins: with seeded weights or the given ones."""
        self._seed(stage)
        network = build_network(getattr(self.plan, role), self.plan.task.num_classes)
        if getattr(self.plan, f"{role}_weights"):
            network.load_state_dict(read_given_weights(self.folder, self.plan, role))
        return network

    def _stage(
        self,
        name: str,
        learner: Distiller | HeadLearner,
        epochs: int,
        training: SliceDataset,
        validation: SliceDataset,
        constants: TeacherConstants | None = None,
    ) -> StageState:
        stage = self.stage_type(
            name,
            self.folder.stage(name),
            learner,
            training,
            validation,
            epochs=epochs,
            plan=self.plan,
            device=self.device,
            processes=self.processes,
            report=self.report,
            stop_requested=self.stop_requested,
            shown=self.shown,
            constants=constants,
        )
        return stage.run()

    def _student(
        self, teacher: nn.Module | None, head: UnifiedHead | None, training: SliceDataset, validation: SliceDataset
    ) -> StageState:
        student = self._network("student", 3)
        learner = build_distiller(
            self.plan.method,
            student,
            teacher,
            self.plan.task.num_classes,
            unified_head=head,
            **self.plan.method_options,
        )
        constants = self._teacher_constants(learner, training)
        return self._stage("student", learner, self.plan.student_epochs, training, validation, constants)

    def _teacher_constants(self, learner: Distiller, training: SliceDataset) -> TeacherConstants | None:
        """Where slices come back, what gives the teacher's part of the loss of them.

        A GPU runs the teacher on a whole batch in less time than what was kept of its slices is read in.
        """
        if self.plan.augmentation != "orientations" or learner.teacher is None or self.device.type == "cuda":
            return None
        if self.constants is None:
            return TeacherConstants(learner, training)
        size, precision = self.plan.task.input_size, autocast_type(self.plan.precision, self.device)
        store = open_store(self.constants, learner.teacher, self.listed, size, self.device, precision)
        return TeacherConstants(learner, training, store, self.listed)

    def _undistilled(self, training: SliceDataset, validation: SliceDataset) -> StageState:
        """The same student as `_student` begins with, on the labels alone."""
        learner = build_distiller("none", self._network("student", 3), None, self.plan.task.num_classes)
        return self._stage("undistilled", learner, self.plan.student_epochs, training, validation)


@contextmanager
def _telling_missing_files(split: Split) -> Iterator[None]:
    """Whatever a file that was moved away has led to, raises CasesError with the case's name."""
    try:
        yield
    except (HLFDError, OSError, RuntimeError) as error:
        for case in (*split.train, *split.validation):
            for path in (case.ct, case.label):
                if not there(path):
                    raise CasesError(
                        f"Case {case.name}: {path} is no longer there. Training stopped; what was done before is kept. "
                        "Put it back and continue (in a terminal with --resume), or begin a new run without the case."
                    ) from error
        raise


def check_slices(training: Sized, validation: Sized) -> None:
    """Raises TrainingError where there are no slices to learn from or to choose the best network with."""
    if not len(training):
        raise TrainingError(
            "There is nothing to learn from: no slice of the training cases has a label. Annotate one of them, or "
            "divide the cases anew."
        )
    if not len(validation):
        raise TrainingError(
            "There is no case to choose the best network with. Add cases of other patients, or divide the cases anew."
        )


def _best(state: StageState) -> dict[str, Any]:
    best = state.history[state.best_epoch]
    return {"best_epoch": best["epoch"], "validation_dice": best["dice"], "criterion": best["criterion"]}
