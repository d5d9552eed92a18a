"""What all networks have in common: named layers, and slices of any size."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional as F

from . import STRIDE


class SegmentationNetwork(nn.Module):
    """A network body with names for its layers.

    Slices whose sides are no multiple of the body's stride are padded with zeros below and to the right, and the
    logits are cropped back. The padding is the lowest value of the CT window, so the network sees air there.

    Args:
        body: maps (N, 1, H, W) to logits (N, num_classes, H, W), H and W multiples of `stride`.
        layers: layer name to module path within the body.
        stride: how many input pixels one pixel of the deepest layer stands for.
    """

    def __init__(self, body: nn.Module, layers: Mapping[str, str], stride: int = STRIDE) -> None:
        super().__init__()
        self.body = body
        self.layers = {name: f"body.{path}" for name, path in layers.items()}
        self.stride = stride

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (N, num_classes, H, W) of slices (N, 1, H, W) whose window is scaled to 0..1."""
        height, width = images.shape[-2:]
        below, right = -height % self.stride, -width % self.stride
        if below or right:
            images = F.pad(images, (0, right, 0, below))
        return self.body(images)[..., :height, :width]
