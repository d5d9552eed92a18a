"""UNet++ (Zhou et al. 2018, arXiv 1807.10165), from MONAI's BasicUNetPlusPlus."""

from __future__ import annotations

import torch
from monai.networks.nets import BasicUNetPlusPlus
from torch import nn

from .network import SegmentationNetwork

# Encoder: the first column x(0,0)..x(4,0). Decoder: the last diagonal x(3,1), x(2,2), x(1,3), x(0,4).
LAYERS = {
    "encoder1": "conv_0_0",
    "encoder2": "conv_1_0",
    "encoder3": "conv_2_0",
    "encoder4": "conv_3_0",
    "encoder5": "conv_4_0",
    "decoder5": "upcat_3_1",
    "decoder4": "upcat_2_2",
    "decoder3": "upcat_1_3",
    "decoder2": "upcat_0_4",
}


class _UNetPlusPlus(BasicUNetPlusPlus):
    """MONAI's network, which gives a list of outputs, as a network with the one that is used."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(
            spatial_dims=2,
            in_channels=1,
            out_channels=num_classes,
            features=(64, 128, 256, 512, 1024, 64),
            act=("relu", {"inplace": True}),
            norm="batch",
        )
        # The heads of deep supervision: nothing would train them, and distributed training stops at such parameters.
        self.final_conv_0_1 = self.final_conv_0_2 = self.final_conv_0_3 = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x)[-1]


def build(name: str, num_classes: int) -> SegmentationNetwork:
    """`unet++`, with random weights."""
    return SegmentationNetwork(_UNetPlusPlus(num_classes), LAYERS, stride=16)
