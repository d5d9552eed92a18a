"""A training run: a teacher, the head that reads its layers, and the student that is distilled from it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from HLFDSegmentationLib.devices import choose_device
from HLFDSegmentationLib.errors import TrainingError
from HLFDSegmentationLib.model_store import find_package
from HLFDSegmentationLib.networks import build_network
from HLFDSegmentationLib.networks.network import SegmentationNetwork
from torch import nn

from .distillers import build_distiller, needs_teacher, needs_unified_head
from .distillers.hlfd import UnifiedHead
from .head_learner import HeadLearner
from .plan import TrainingPlan
from .processes import Processes
from .run_folder import RunFolder, read_weights, writing
from .slices import SliceDataset, list_slices, training_slices
from .split import Split
from .stage import CRITERION, Report, Stage, StageState


class TrainingRun:
    """Runs the stages of a plan in a folder, and goes on where they were left.

    Args:
        folder: the run, started or to be resumed.
        report: receives each progress event of this process.
        stop_requested: asked after every step; when true, a checkpoint is left and `stage.Stopped` raised.
        processes: this process among those that train together.
    """

    def __init__(
        self,
        folder: RunFolder,
        *,
        report: Report = lambda event: None,
        stop_requested: Callable[[], bool] = lambda: False,
        processes: Processes | None = None,
    ) -> None:
        self.folder = folder
        self.plan: TrainingPlan = folder.plan()
        self.split: Split = folder.split(self.plan)
        self.report = report
        self.stop_requested = stop_requested
        self.processes = processes or Processes()
        self.device = choose_device(self.plan.device, self.processes.local_rank)

    def run(self) -> dict[str, Any]:
        """Trains what is not trained yet; returns the result, which `result.json` holds as well.

        Raises:
            TrainingError: training cannot go on (docs/training.md lists the reasons).
            Stopped: stopping was asked for.
        """
        if self.folder.finished:
            return self._finished(self.folder.result())
        training = SliceDataset(
            training_slices(self.split.train, self.plan.task, self.plan.seed),
            self.plan.task,
            self.folder.cache,
            augment=True,
            seed=self.plan.seed,
        )
        validation = SliceDataset(list_slices(self.split.validation, self.plan.task), self.plan.task, self.folder.cache)
        if not len(training) or not len(validation):
            raise TrainingError("There is nothing to train on: training and validation each need a case with slices.")
        self._fill_cache(training, validation)
        teacher = self._teacher(training, validation) if needs_teacher(self.plan.method) else None
        head = self._head(teacher, training, validation) if needs_unified_head(self.plan.method) else None
        state = self._student(teacher, head, training, validation)
        result = self._result(state)
        if self.processes.first:
            self.folder.write("result.json", result)
            shutil.rmtree(self.folder.cache, ignore_errors=True)
        return self._finished(result)

    def _finished(self, result: dict[str, Any]) -> dict[str, Any]:
        self.report({"event": "finished", **result})
        return result

    def _fill_cache(self, *datasets: SliceDataset) -> None:
        """Reads every slice once, in the order of the files; several processes share the reading."""
        items = [(dataset, number) for dataset in datasets for number in range(len(dataset))]
        for count, (dataset, number) in enumerate(items):
            if count % self.processes.world == self.processes.rank:
                with writing(self.folder.cache):
                    dataset.stored[number]
            if count % 100 == 0:
                self.report({"event": "reading", "done": count, "of": len(items)})
        self.processes.wait()

    def _seed(self, stage: int) -> None:
        torch.manual_seed(int(np.random.SeedSequence([self.plan.seed, stage]).generate_state(1)[0]))

    def _network(self, name: str, stage: int) -> SegmentationNetwork:
        self._seed(stage)
        return build_network(name, self.plan.task.num_classes)

    def _stage(
        self, name: str, learner: nn.Module, epochs: int, training: SliceDataset, validation: SliceDataset
    ) -> StageState:
        stage = Stage(
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
        )
        return stage.run()

    def _teacher(self, training: SliceDataset, validation: SliceDataset) -> nn.Module:
        """The best teacher, trained here unless the plan brings one."""
        network = self._network(self.plan.teacher, 1)
        if self.plan.teacher_weights:
            _load_teacher(network, self.plan)
        else:
            learner = build_distiller("none", network, None, self.plan.task.num_classes)
            self._stage("teacher", learner, self.plan.teacher_epochs, training, validation)
            network.load_state_dict(self.folder.best("teacher")["network"])
        return network.to(self.device, memory_format=torch.channels_last).eval().requires_grad_(False)

    def _head(self, teacher: nn.Module, training: SliceDataset, validation: SliceDataset) -> UnifiedHead:
        self._seed(2)
        head = UnifiedHead(teacher, self.plan.task.num_classes)
        learner = HeadLearner(teacher, head)
        self._stage("head", learner, self.plan.head_epochs, training, validation)
        learner.student.load_state_dict(self.folder.best("head")["network"], strict=False)
        return head.eval().requires_grad_(False)

    def _student(
        self, teacher: nn.Module | None, head: UnifiedHead | None, training: SliceDataset, validation: SliceDataset
    ) -> StageState:
        student = self._network(self.plan.student, 3)
        learner = build_distiller(
            self.plan.method,
            student,
            teacher,
            self.plan.task.num_classes,
            unified_head=head,
            **self.plan.method_options,
        )
        return self._stage("student", learner, self.plan.student_epochs, training, validation)

    def _result(self, state: StageState) -> dict[str, Any]:
        best = state.history[state.best_epoch]
        return {
            "student": self.plan.student,
            "method": self.plan.method,
            "chosen_by": CRITERION,
            "best_epoch": best["epoch"],
            "validation_dice": best["dice"],
            "criterion": best["criterion"],
        }


def _load_teacher(network: nn.Module, plan: TrainingPlan) -> None:
    """Weights of a teacher from a run folder, a best.pt, or a model package."""
    source = Path(str(plan.teacher_weights))
    if (source / "teacher" / "best.pt").is_file():
        source = source / "teacher" / "best.pt"
    weights = read_weights(source)["network"] if source.suffix == ".pt" else _package_weights(plan)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise TrainingError(
            f"The teacher in {plan.teacher_weights} is no {plan.teacher} for the task '{plan.task.name}'. "
            "Name its network with --teacher, or choose other weights."
        ) from error


def _package_weights(plan: TrainingPlan) -> dict[str, torch.Tensor]:
    package = find_package(plan.teacher_weights)
    if package.task.num_classes != plan.task.num_classes or package.network_name != plan.teacher:
        raise TrainingError(
            f"The model '{package.name}' is a {package.network_name} for the task '{package.task.name}'; "
            f"the plan wants a {plan.teacher} for '{plan.task.name}'."
        )
    return package.load_network().state_dict()
