"""The runs of a comparison: one trains the teacher, one the head, and each row takes both from there."""

from __future__ import annotations

from typing import Any

from HLFDSegmentationLib.networks import build_network
from HLFDSegmentationLib.networks.network import SegmentationNetwork
from torch import nn

from ..distillers.unified_head import UnifiedHead
from ..learning.head_learner import HeadLearner
from ..learning.slices import SliceDataset
from ..learning.stage import StageState, load_trained_state
from ..runs.run_folder import RunFolder
from ..runs.weights_files import read_weights
from ..trainer import TrainingRun


class TeacherRun(TrainingRun):
    """Trains the teacher alone, or copies the weights that the plan brings."""

    def train_stages(self, training: SliceDataset, validation: SliceDataset) -> dict[str, StageState]:
        """Trains the teacher; there is no student."""
        self.trained_teacher(training, validation)
        return {}

    def result(self, _students: dict[str, StageState]) -> dict[str, Any]:
        """The teacher's name."""
        return {"network": self.plan.teacher}


class HeadRun(TrainingRun):
    """Trains the head that reads the teacher's unified layers, and nothing else."""

    def train_stages(self, training: SliceDataset, validation: SliceDataset) -> dict[str, StageState]:
        """Trains the head; there is no student."""
        self.trained_head(self.trained_teacher(training, validation), training, validation)
        return {}

    def result(self, _students: dict[str, StageState]) -> dict[str, Any]:
        """The name of the teacher whose layers the head reads."""
        return {"network": self.plan.teacher}


class RowRun(TrainingRun):
    """Trains a student with the comparison's head.

    Args:
        folder: the row's run.
        head: the run that has trained the head.

    The other arguments are those of `TrainingRun`.
    """

    def __init__(self, folder: RunFolder, *, head: RunFolder, **options: Any) -> None:
        super().__init__(folder, **options)
        self.head_run = head

    def trained_head(self, teacher: nn.Module, _training: SliceDataset, _validation: SliceDataset) -> UnifiedHead:
        """The comparison's head."""
        head = UnifiedHead(teacher, self.plan.task.num_classes)
        trained = self.head_run.best("head")["network"]
        load_trained_state(HeadLearner(teacher, head).student, trained, self.head_run.stage("head"))
        return head.eval().requires_grad_(False)


def teacher_network(run: RunFolder) -> SegmentationNetwork:
    """The teacher of a finished `TeacherRun`, in evaluation mode."""
    plan = run.plan()
    if not plan.teacher_weights:
        return run.network("teacher")
    network = build_network(plan.teacher, plan.task.num_classes)
    network.load_state_dict(read_weights(run.given("teacher"))["network"])
    return network.eval()
