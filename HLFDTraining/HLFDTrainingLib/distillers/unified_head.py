"""H of HLFD: what the teacher's middle decoder layers, taken together, predict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from HLFDSegmentationLib.layers import LayerTap, evaluating
from torch import nn

from ..losses import SegmentationLoss
from ..partial_labels import Target
from .probing import channels
from .resizing import resize_classes, unify


class UnifiedHead(nn.Module):
    """A 1x1 convolution from the teacher's unified decoder5, decoder4 and decoder3 to the classes.

    It is trained on the labels, with the teacher frozen, before distillation, and frozen then: a target that goes on
    learning from its student shrinks to a constant.

    Args:
        teacher: the network whose layers it reads. It is not kept.
        num_classes: of the prediction, the background included.
    """

    LAYERS: ClassVar[tuple[str, ...]] = ("decoder5", "decoder4", "decoder3")

    def __init__(self, teacher: nn.Module, num_classes: int) -> None:
        super().__init__()
        found = channels(teacher, self.LAYERS)
        device = next(teacher.parameters()).device
        self.projection = nn.Conv2d(sum(found[layer] for layer in self.LAYERS), num_classes, 1, device=device)

    def forward(self, features: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Logits (N, C, h, w), at the smallest resolution of the layers, of the teacher's features by layer name."""
        return self.projection(unify([features[layer] for layer in self.LAYERS]))

    def loss(self, teacher: nn.Module, images: torch.Tensor, target: Target) -> torch.Tensor:
        """The segmentation loss of the prediction, with the labels at its resolution.

        Only the head receives a gradient; the teacher evaluates.
        """
        with evaluating(teacher), torch.no_grad(), LayerTap(teacher, self.LAYERS) as tap:
            teacher(images)
            features = dict(tap.outputs)
        logits = self(features)
        classes = resize_classes(target.classes, logits.shape[-2:])
        return SegmentationLoss()(logits, Target(classes, target.groups))
