"""What all distillation methods have in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

import torch
from HLFDSegmentationLib.errors import TrainingError
from HLFDSegmentationLib.layers import LayerTap
from torch import nn

from ..losses import TEMPERATURE, SegmentationLoss, attention_map, attention_transfer, softened_divergence
from ..partial_labels import Target
from .constants import Constant, Size
from .edges import OUT, Edge
from .probing import channels, sizes
from .resizing import grid_size, on_grid, resize, unify
from .unified_head import UnifiedHead

GPU_VALUES = 1 << 26
"""So many float32 of a layer a GPU works on at a time, 256 MB: a teacher's unified layers at a student's resolution are
large."""

Features = Mapping[str, torch.Tensor]
Constants = Mapping[Constant, torch.Tensor]


class Distiller(nn.Module):
    """A student, its frozen teacher, and the edges by which the one teaches the other.

    A method is a subclass that names its edges. Both networks stay untouched: their layers are read with `LayerTap`.
    A student layer that learns a prediction is projected by a 1x1 convolution: to the classes where the teacher's
    side predicts classes, to the teacher layer's channels where their numbers differ. These projections are made
    once, are trained with the student, and are no part of it.

    Args:
        student: the network that learns; gives logits (N, C, H, W) and names its layers.
        teacher: the network that teaches; frozen here, always in evaluation mode. None for a method without one.
        num_classes: of both networks, the background included.
        unified_head: H of HLFD, trained; frozen here.
        temperature: T of the softened predictions.

    Raises:
        TrainingError: teacher or unified head are missing, or a network has another number of classes.
    """

    needs_teacher: ClassVar[bool] = True
    needs_unified_head: ClassVar[bool] = False
    edges: tuple[Edge, ...] = ()

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module | None,
        num_classes: int,
        *,
        unified_head: UnifiedHead | None = None,
        temperature: float = TEMPERATURE,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.temperature = temperature
        self.segmentation_loss = SegmentationLoss()
        self.student = student
        self.teacher = self._frozen(teacher, "a teacher", self.needs_teacher)
        self.unified_head = self._frozen(unified_head, "the teacher's unified head", self.needs_unified_head)
        self.student_layers = _layers(edge.student for edge in self.edges)
        self.teacher_layers = _layers(layer for edge in self.edges for layer in edge.teacher)
        self.projections = self._make_projections()

    def forward(
        self, images: torch.Tensor, target: Target, constants: Constants | None = None
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The student's logits (N, C, H, W) and the weighted terms of the loss, whose sum is the total.

        The first term is "segmentation"; the others are the method's. `constants` are what `teacher_constants` gives
        for these images; without them the teacher is run here.
        """
        logits, student = _run(self.student, images, self.student_layers)
        student = {name: features.float() for name, features in student.items()}
        if constants is None:
            found = {name: (features.shape[2], features.shape[3]) for name, features in student.items()}
            constants = self.teacher_constants(images, target, self.needed_constants(found))
        with torch.autocast(images.device.type, enabled=False):
            terms = {"segmentation": self.segmentation_loss(logits, target)}
            terms.update(self.distillation_terms(student, constants, target))
        return logits, terms

    def constants_for_images(self, image_size: Size) -> tuple[Constant, ...]:
        """What the loss of images (N, 1, H, W) of this (H, W) needs of the teacher."""
        return self.needed_constants(sizes(self.student, self.student_layers, image_size)) if self.edges else ()

    @torch.no_grad()
    def teacher_constants(
        self, images: torch.Tensor, target: Target, wanted: Iterable[Constant]
    ) -> dict[Constant, torch.Tensor]:
        """Runs the teacher on images (N, 1, H, W). The first dimension of each constant is the image."""
        wanted = tuple(wanted)
        if not wanted:
            return {}
        assert self.teacher is not None  # Edges that want something of it need one.
        _, teacher = _run(self.teacher, images, _layers(layer for constant in wanted for layer in constant.layers))
        with torch.autocast(images.device.type, enabled=False):
            return {constant: self.make_constant(constant, teacher, target) for constant in wanted}

    def make_constant(self, constant: Constant, teacher: Features, target: Target) -> torch.Tensor:
        """A constant of the teacher's features. Logits keep the precision in which the network gave them."""
        if constant.layers == (OUT,):
            return teacher[OUT]
        layers = {layer: teacher[layer].float() for layer in constant.layers}
        if constant.kind == "attention":
            own = next(iter(layers.values()))
            pixels = max(*own.shape[-2:], *(constant.size or ())) ** 2
            count = samples_at_a_time(own.device, sum(one.shape[1] for one in layers.values()) * pixels, len(own))
            samples = zip(*(features.split(count) for features in layers.values()))
            return torch.cat([_attention(unify(sample), constant) for sample in samples])
        if constant.kind == "prediction":
            assert self.unified_head is not None  # The edges of a method that needs one.
            return self.unified_head(layers)
        return unify(list(layers.values())) if len(layers) > 1 else layers[constant.layers[0]]

    def distillation_terms(self, student: Features, constants: Constants, target: Target) -> dict[str, torch.Tensor]:
        """The weighted terms of the method by name, of the student's features, float32, and the teacher's constants."""
        return {edge.name: edge.weight * self._edge_loss(edge, student, constants) for edge in self.edges}

    def train(self, mode: bool = True) -> Distiller:
        """Sets the student's mode; the teacher's side always evaluates."""
        super().train(mode)
        for frozen in (self.teacher, self.unified_head):
            if frozen is not None:
                frozen.eval()
        return self

    def trainable_parameters(self) -> list[nn.Parameter]:
        """What the optimiser changes: the student's parameters and the projections'."""
        return [*self.student.parameters(), *self.projections.parameters()]

    def constant_of(self, edge: Edge, student_size: Size) -> Constant:
        """What an edge needs of the teacher where its student layer has this (H, W)."""
        return edge.constant(student_size)

    def needed_constants(self, student_sizes: Mapping[str, Size]) -> tuple[Constant, ...]:
        """What all terms need of the teacher, each once, where the student's layers have these (H, W)."""
        return tuple(dict.fromkeys(self.constant_of(edge, student_sizes[edge.student]) for edge in self.edges))

    def prediction_loss(self, edge: Edge, learns: torch.Tensor, teaches: torch.Tensor) -> torch.Tensor:
        """The unweighted term of an edge on the prediction level, of the student's layer and the teacher's constant."""
        if edge.name in self.projections:
            learns = self.projections[edge.name](learns)
        return softened_divergence(*on_grid(learns, teaches, edge.grid), self.temperature)

    def projected_channels(self, edge: Edge, student: Mapping[str, int], teacher: Mapping[str, int]) -> int | None:
        """To how many channels the edge's student layer is projected, or none: `student`, `teacher` say what is."""
        if edge.level == "attention" or edge.student == OUT:
            return None
        if edge.teaches_classes:
            return self.num_classes
        taught = teacher[edge.teacher[0]]
        return None if taught == student[edge.student] else taught

    def _edge_loss(self, edge: Edge, student: Features, constants: Constants) -> torch.Tensor:
        learns = student[edge.student]
        teaches = constants[self.constant_of(edge, (learns.shape[2], learns.shape[3]))]
        if edge.level == "prediction":
            return self.prediction_loss(edge, learns, teaches.float())
        pixels = max(*learns.shape[-2:], *teaches.shape[1:]) ** 2
        count = samples_at_a_time(learns.device, learns.shape[1] * pixels, len(learns))
        samples = zip(learns.split(count), teaches.split(count))
        losses = [
            len(taught) * attention_transfer(resize(layer, teaches.shape[1:]), taught) for layer, taught in samples
        ]
        return torch.stack(losses).sum() / len(learns)

    def _frozen(self, module: nn.Module | None, what: str, needed: bool) -> nn.Module | None:
        if not needed:
            return None
        if module is None:
            raise TrainingError(
                f"The method {type(self).__name__} needs {what}, and none was given. Train it first, or choose "
                "another method."
            )
        return module.eval().requires_grad_(False)

    def _make_projections(self) -> nn.ModuleDict:
        student = self._channels(self.student, "student", self.student_layers)
        teacher = self._channels(self.teacher, "teacher", self.teacher_layers) if self.teacher is not None else {}
        device = next(self.student.parameters()).device
        projections = nn.ModuleDict()
        for edge in self.edges:
            projected = self.projected_channels(edge, student, teacher)
            if projected is not None:
                projections[edge.name] = nn.Conv2d(student[edge.student], projected, 1, device=device)
        return projections

    def _channels(self, network: nn.Module, role: str, layers: tuple[str, ...]) -> dict[str, int]:
        found = channels(network, layers)
        if found[OUT] != self.num_classes:
            raise TrainingError(
                f"The {role} tells {found[OUT]} classes apart, the task has {self.num_classes} (background included). "
                f"Choose a {role} that was made for this task."
            )
        return found


def _layers(names: Iterable[str]) -> tuple[str, ...]:
    """The names without repetition and without `OUT`, which is no layer."""
    return tuple(dict.fromkeys(name for name in names if name != OUT))


def _run(network: nn.Module, images: torch.Tensor, layers: tuple[str, ...]) -> tuple[torch.Tensor, Features]:
    with LayerTap(network, layers) as tap:
        logits = network(images)
        return logits, {**tap.outputs, OUT: logits}


def samples_at_a_time(device: torch.device, values: int, samples: int) -> int:
    """Into how large parts layers are split that hold, at the resolution they are compared at, so many values a sample.

    On a processor samples go one by one: they fit into its cache then.
    """
    return 1 if device.type == "cpu" else max(1, min(samples, GPU_VALUES // values))


def _attention(features: torch.Tensor, constant: Constant) -> torch.Tensor:
    own = features.shape[-2:]
    return attention_map(resize(features, grid_size(constant.size or own, own, constant.grid)))
