"""RAUNet (Ni et al. 2019, arXiv 1909.10360): ResNet-34 encoder, skip connections weighed by augmented attention."""

from __future__ import annotations

import torch
from torch import nn

from . import resnet
from .network import SegmentationNetwork

LAYERS = {**resnet.LAYERS, **{f"decoder{level}": f"decoder{level}" for level in range(5, 1, -1)}}

HEAD_CHANNELS = 32


def _normalized(convolution: nn.Module, channels: int) -> list[nn.Module]:
    return [convolution, nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]


def _doubling(channels_in: int, channels_out: int) -> nn.ConvTranspose2d:
    # A kernel twice the stride reaches every output pixel equally often, so that no checkerboard appears.
    return nn.ConvTranspose2d(channels_in, channels_out, 4, stride=2, padding=1, bias=False)


class Upsampling(nn.Sequential):
    """Doubles the resolution by a transposed convolution over a quarter of the channels."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        narrow = channels_in // 4
        super().__init__(
            *_normalized(nn.Conv2d(channels_in, narrow, 1, bias=False), narrow),
            *_normalized(_doubling(narrow, narrow), narrow),
            *_normalized(nn.Conv2d(narrow, channels_out, 1, bias=False), channels_out),
        )


class AugmentedAttention(nn.Module):
    """Weighs the channels of an encoder layer by what it and the decoder hold together, and adds the decoder's.

    weights = softmax(C ReLU(A mean(high) + B mean(low))) over the channels, with 1x1 convolutions A, B and C; the
    result is high + weights * low. The paper's batch normalization of the pooled vector is left out: a batch of one
    slice gives it one value a channel, and nothing to normalize by.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.high = nn.Conv2d(channels, channels, 1)
        self.low = nn.Conv2d(channels, channels, 1)
        self.joint = nn.Conv2d(channels, channels, 1)

    def forward(self, high: torch.Tensor, low: torch.Tensor) -> torch.Tensor:
        """Joins decoder features `high` and encoder features `low`, both (N, C, H, W)."""
        pooled = self.high(high.mean((2, 3), keepdim=True)) + self.low(low.mean((2, 3), keepdim=True))
        weights = self.joint(pooled.relu()).softmax(dim=1)
        return high + weights * low


class DecoderBlock(nn.Module):
    """Doubles the resolution and joins the encoder's layer of that resolution."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.upsampling = Upsampling(channels_in, channels_out)
        self.attention = AugmentedAttention(channels_out)

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """Joins `x` (N, channels_in, H, W) and the encoder's layer `skip` (N, channels_out, 2 H, 2 W)."""
        return self.attention(self.upsampling(x), skip)


class RAUNet(nn.Module):
    """Maps (N, 1, H, W) to logits (N, num_classes, H, W); H and W multiples of 32."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.encoder = resnet.ResNetEncoder("resnet34")
        self.decoder5 = DecoderBlock(512, 256)
        self.decoder4 = DecoderBlock(256, 128)
        self.decoder3 = DecoderBlock(128, 64)
        # As in the paper, the stem has no skip connection.
        self.decoder2 = Upsampling(64, 64)
        self.head = nn.Sequential(
            *_normalized(_doubling(64, HEAD_CHANNELS), HEAD_CHANNELS),
            *_normalized(nn.Conv2d(HEAD_CHANNELS, HEAD_CHANNELS, 3, padding=1, bias=False), HEAD_CHANNELS),
            nn.Conv2d(HEAD_CHANNELS, num_classes, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of slices."""
        _, level2, level3, level4, x = self.encoder(x)
        x = self.decoder5(x, level4)
        x = self.decoder4(x, level3)
        x = self.decoder3(x, level2)
        return self.head(self.decoder2(x))


def build(name: str, num_classes: int) -> SegmentationNetwork:
    """`raunet`, with random weights."""
    return SegmentationNetwork(RAUNet(num_classes), LAYERS)
