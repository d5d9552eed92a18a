"""Edges: which teacher layers teach which student layer, how, and with what weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from HLFDSegmentationLib.layers import DECODER_LAYERS, ENCODER_LAYERS

from .constants import Constant, Grid, Size

OUT = "out"
"""Names a network's logits beside its layers."""

FEATURE_WEIGHT = 0.9
PIXEL_WEIGHT = 0.1
"""Weights of the feature-level and the pixel-level terms, the same in HLFD and in the methods it is compared with."""


@dataclass(frozen=True)
class Edge:
    """One lesson of a distillation method.

    Attributes:
        name: of the loss term.
        level: "attention" compares where layers are active (`losses.attention_transfer`); "prediction" compares
            softened probabilities (`losses.softened_divergence`).
        student: the layer that learns, or `OUT`.
        teacher: the layers that teach, or `OUT`. Several are unified: resized to the smallest of them and joined
            channel by channel; on the prediction level the unified head then reads them.
        weight: of the term in the total loss.
        grid: whose resolution both sides are brought to; "smaller" is the smaller of the two.
    """

    name: str
    level: Literal["attention", "prediction"]
    student: str
    teacher: tuple[str, ...]
    weight: float
    grid: Grid = "teacher"

    @property
    def teaches_classes(self) -> bool:
        """Whether the teacher's side is a prediction of the classes, and not the features of one layer."""
        return self.teacher == (OUT,) or len(self.teacher) > 1

    def constant(self, student_size: Size) -> Constant:
        """What the edge needs of the teacher where its student layer has this (H, W)."""
        if self.level == "attention":
            return Constant("attention", self.teacher, self.grid, None if self.grid == "teacher" else student_size)
        return Constant("prediction" if self.teaches_classes else "features", self.teacher)


def attention(student: str, teacher: str, weight: float = FEATURE_WEIGHT) -> Edge:
    """One teacher layer's attention to a student layer."""
    return Edge(f"attention_{student}", "attention", student, (teacher,), weight)


def prediction(student: str, teacher: str) -> Edge:
    """One teacher layer's, or the teacher's, softened prediction to a student layer."""
    return Edge(f"prediction_{student}", "prediction", student, (teacher,), PIXEL_WEIGHT)


ENCODER_ATTENTION = tuple(attention(layer, layer) for layer in ENCODER_LAYERS)
DECODER_PREDICTION = tuple(prediction(layer, layer) for layer in DECODER_LAYERS)
OUTPUT_PREDICTION = prediction(OUT, OUT)
LAST_LAYER_ATTENTION = ENCODER_ATTENTION[-1]
