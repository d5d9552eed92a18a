"""What a training run is to do, in a form that can be stored and run again."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from HLFDSegmentationLib.errors import TrainingError
from HLFDSegmentationLib.networks import NETWORKS, STRIDE
from HLFDSegmentationLib.tasks import Task

Precision = Literal["auto", "float32", "bfloat16", "float16"]
Augmentation = Literal["anatomical", "orientations"]


@dataclass(frozen=True)
class TrainingPlan:
    """Everything that decides a run's result, apart from its cases.

    Attributes:
        task: what is segmented.
        teacher: network name of the teacher.
        student: network name of the student.
        method: distillation method, see `distillers.DISTILLERS`; "none" trains the student alone.
        method_options: arguments of the method, for example {"beta": 0.9}.
        teacher_weights: a run folder, a model package or a best.pt to take the teacher from; none trains one.
        student_weights: a run folder, a model package or a best.pt whose student the student starts from, so that it
            goes on learning with new cases; none starts from random weights.
        undistilled: whether the same student is also trained without distillation, with the same epochs, order and
            first weights, to be compared with.
        teacher_epochs, head_epochs, student_epochs: length of each stage.
        batch: slices a step and process.
        learning_rate: highest rate of AdamW; it rises over the first steps and falls along a cosine.
        weight_decay: of AdamW.
        augmentation: how slices are changed from epoch to epoch. "anatomical" is for models that are used: position,
            size, shape, contrast, noise, never mirrored. "orientations" is for comparing methods: each slice in one of
            the eight flips and quarter turns, nothing else; what the teacher says of them can be kept from run to run.
        seed: of weights, order and random changes.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        precision: "auto" is bfloat16 on GPUs that have it and float32 elsewhere. bfloat16 is faster on some CPUs and
            many times slower on others, so it has to be asked for there.
    """

    task: Task
    teacher: str = "resnet50-unet"
    student: str = "mobilenetv2-unet"
    method: str = "hlfd"
    method_options: dict[str, Any] = field(default_factory=dict)
    teacher_weights: str | None = None
    student_weights: str | None = None
    undistilled: bool = False
    teacher_epochs: int = 40
    head_epochs: int = 2
    student_epochs: int = 60
    batch: int = 8
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    augmentation: Augmentation = "anatomical"
    seed: int = 0
    device: str = "auto"
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        for role, network in (("teacher", self.teacher), ("student", self.student)):
            if network not in NETWORKS:
                raise TrainingError(f"There is no {role} network '{network}'. Use one of {', '.join(NETWORKS)}.")
        if min(self.teacher_epochs, self.head_epochs, self.student_epochs) < 1 or self.batch < 1:
            raise TrainingError("Epochs and batch size must be 1 or more.")
        if not 0 < self.learning_rate < math.inf or not 0 <= self.weight_decay < math.inf:
            raise TrainingError("The learning rate must be greater than 0, the weight decay 0 or more.")
        if self.seed < 0:
            raise TrainingError(f"The seed must be 0 or more; it is {self.seed}.")
        if self.augmentation not in get_args(Augmentation):
            raise TrainingError(
                f"There is no augmentation '{self.augmentation}'. Use one of {', '.join(get_args(Augmentation))}."
            )
        if self.precision not in get_args(Precision):
            raise TrainingError(
                f"There is no precision '{self.precision}'. Use one of {', '.join(get_args(Precision))}."
            )
        height, width = self.task.input_size
        if self.augmentation == "orientations" and height != width:
            raise TrainingError(
                f"The task '{self.task.name}' has an input size of {height}x{width}, which cannot be turned by a "
                "quarter. Give it a square one, or use the augmentation 'anatomical'."
            )
        if self.undistilled and self.method == "none":
            raise TrainingError(
                "The method 'none' is training without distillation already. Choose another method to compare it with."
            )

    @property
    def written_method(self) -> str:
        """The method with those of its options that are not the usual ones, see `distillers.written`."""
        from .distillers import written

        return written(self.method, self.method_options)

    @property
    def stages(self) -> dict[str, int]:
        """Epochs of each stage by its name, in the order of training. Raises TrainingError for an unknown method."""
        from .distillers import needs_teacher, needs_unified_head  # a plan can be made before torch is installed

        stages = {}
        if needs_teacher(self.method, self.method_options) and not self.teacher_weights:
            stages["teacher"] = self.teacher_epochs
        if needs_unified_head(self.method, self.method_options):
            stages["head"] = self.head_epochs
        stages["student"] = self.student_epochs
        if self.undistilled:
            stages["undistilled"] = self.student_epochs
        return stages

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON holds it."""
        return asdict(self)

    def check_input_size(self) -> None:
        """Raises TrainingError where the teacher's layers would not lie on the student's.

        Asked before a run is begun, and not of every plan: what a comparison's rows share names a method that no row
        need have.
        """
        height, width = self.task.input_size
        # Networks pad other slices below and to the right and cut the logits back: a layer would not lie on the logits.
        if self.method != "none" and (height % STRIDE or width % STRIDE):
            raise TrainingError(
                f"The task '{self.task.name}' has an input size of {height}x{width}. A teacher's layers lie on the "
                f"student's only where rows and columns are multiples of {STRIDE}, as "
                f"{_multiple(height)}x{_multiple(width)}. Give the task such a size (in 3D Slicer, the crop "
                "under Advanced), or use the method 'none'."
            )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> TrainingPlan:
        """A plan from what `to_dict` gave. Raises TrainingError or TaskError where entries are wrong."""
        try:
            return cls(**{**data, "task": Task.from_dict(data["task"])})
        except (KeyError, TypeError) as error:
            raise TrainingError(f"The training plan has a wrong or missing entry: {error}.") from error


def _multiple(pixels: int) -> int:
    """The next multiple of `STRIDE`."""
    return pixels + -pixels % STRIDE
