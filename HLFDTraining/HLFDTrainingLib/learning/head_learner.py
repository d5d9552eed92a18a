"""Trains, on the labels, the head that reads a teacher's unified layers (see docs/distillation.md)."""

from __future__ import annotations

import torch
from HLFDSegmentationLib.layers import LayerTap
from torch import nn
from torch.nn import functional as F

from ..distillers.unified_head import UnifiedHead
from ..partial_labels import Target


class HeadPrediction(nn.Module):
    """What a head says of an image, at the image's resolution: (N, 1, H, W) to logits (N, C, H, W)."""

    def __init__(self, teacher: nn.Module, head: UnifiedHead) -> None:
        super().__init__()
        self.teacher = teacher
        self.head = head

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (N, C, H, W)."""
        with LayerTap(self.teacher, UnifiedHead.LAYERS) as tap:
            self.teacher(images)
            logits = self.head(tap.outputs)
        return F.interpolate(logits, images.shape[-2:], mode="bilinear")


class HeadLearner(nn.Module):
    """A stage's learner for the head; the teacher stays as it is."""

    def __init__(self, teacher: nn.Module, head: UnifiedHead) -> None:
        super().__init__()
        self.teacher = teacher.requires_grad_(False)
        self.student = HeadPrediction(teacher, head)

    def train(self, mode: bool = True) -> HeadLearner:
        """Sets the head's mode; the teacher always evaluates."""
        super().train(mode)
        self.teacher.eval()
        return self

    def trainable_parameters(self) -> list[nn.Parameter]:
        """The head's."""
        return list(self.student.head.parameters())

    def forward(self, images: torch.Tensor, target: Target) -> tuple[None, dict[str, torch.Tensor]]:
        """The head's segmentation loss."""
        return None, {"segmentation": self.student.head.loss(self.teacher, images, target)}
