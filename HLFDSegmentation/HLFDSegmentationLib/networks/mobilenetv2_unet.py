"""A small U-Net with the MobileNetV2 encoder (Sandler et al. 2018, arXiv 1801.04381).

MONAI has no MobileNetV2, and torchvision is not among this project's packages.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from .network import SegmentationNetwork

LAYERS = {
    **{f"encoder{level}": f"encoder.{level - 1}" for level in range(1, 6)},
    **{f"decoder{level}": f"decoder.{5 - level}" for level in range(5, 1, -1)},
}

# Expansion, channels, blocks and first stride of each group of inverted residuals (table 2 of the paper), gathered
# into five stages, each at half the resolution of the one before.
STAGES = (
    ((1, 16, 1, 1),),
    ((6, 24, 2, 2),),
    ((6, 32, 3, 2),),
    ((6, 64, 4, 2), (6, 96, 3, 1)),
    ((6, 160, 3, 2), (6, 320, 1, 1)),
)
STEM_CHANNELS = 32
DECODER_CHANNELS = (160, 96, 64, 48)


def _conv(channels_in: int, channels_out: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(channels_out),
    ]


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project; added to the input where the shapes agree (section 3.3 of the paper)."""

    def __init__(self, channels_in: int, channels_out: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = channels_in * expansion
        expand = [*_conv(channels_in, hidden, 1), nn.ReLU6(inplace=True)] if expansion > 1 else []
        depthwise = [*_conv(hidden, hidden, 3, stride, groups=hidden), nn.ReLU6(inplace=True)]
        self.block = nn.Sequential(*expand, *depthwise, *_conv(hidden, channels_out, 1))
        self.residual = stride == 1 and channels_in == channels_out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to (N, channels_out, H / stride, W / stride)."""
        return x + self.block(x) if self.residual else self.block(x)


class DecoderBlock(nn.Module):
    """Doubles the resolution, joins the encoder's layer of that resolution, and filters with separable convolutions."""

    def __init__(self, channels_in: int, channels_skip: int, channels_out: int) -> None:
        super().__init__()
        joined = channels_in + channels_skip
        self.block = nn.Sequential(
            *_conv(joined, joined, 3, groups=joined),
            *_conv(joined, channels_out, 1),
            nn.ReLU(inplace=True),
            *_conv(channels_out, channels_out, 3, groups=channels_out),
            *_conv(channels_out, channels_out, 1),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) and the encoder's (N, channels_skip, 2 H, 2 W) to (N, channels_out, 2 H, 2 W)."""
        x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        return self.block(torch.cat([x, skip], dim=1))


class MobileNetV2UNet(nn.Module):
    """Maps (N, 1, H, W) to logits (N, num_classes, H, W); H and W multiples of 32.

    The last doubling of the resolution is a pixel shuffle of the head's channels (Shi et al. 2016, arXiv
    1609.05158): fine edges without any layer at full resolution, which is what costs time in a small network.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        skips: list[int] = []
        channels = STEM_CHANNELS
        for index, groups in enumerate(STAGES):
            blocks: list[nn.Module] = []
            if index == 0:
                blocks += [*_conv(1, STEM_CHANNELS, 3, stride=2), nn.ReLU6(inplace=True)]
            for expansion, channels_out, count, stride in groups:
                for number in range(count):
                    blocks.append(InvertedResidual(channels, channels_out, stride if number == 0 else 1, expansion))
                    channels = channels_out
            stages.append(nn.Sequential(*blocks))
            skips.append(channels)
        self.encoder = nn.ModuleList(stages)
        decoder: list[nn.Module] = []
        for channels_skip, channels_out in zip(reversed(skips[:-1]), DECODER_CHANNELS):
            decoder.append(DecoderBlock(channels, channels_skip, channels_out))
            channels = channels_out
        self.decoder = nn.ModuleList(decoder)
        self.head = nn.Sequential(nn.Conv2d(channels, num_classes * 4, 3, padding=1), nn.PixelShuffle(2))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (N, num_classes, H, W)."""
        skips: list[torch.Tensor] = []
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
        for block, skip in zip(self.decoder, reversed(skips[:-1])):
            x = block(x, skip)
        return self.head(x)


def build(name: str, num_classes: int) -> SegmentationNetwork:
    """`mobilenetv2-unet`, with random weights."""
    return SegmentationNetwork(MobileNetV2UNet(num_classes), LAYERS)
