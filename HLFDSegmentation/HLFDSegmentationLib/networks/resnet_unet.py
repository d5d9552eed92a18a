"""U-Nets (Ronneberger et al. 2015, arXiv 1505.04597) with a ResNet encoder, from MONAI's FlexibleUNet."""

from __future__ import annotations

from monai.networks.nets import FlexibleUNet

from . import resnet
from .network import SegmentationNetwork

LAYERS = {
    **resnet.LAYERS,
    "decoder5": "decoder.blocks.0",
    "decoder4": "decoder.blocks.1",
    "decoder3": "decoder.blocks.2",
    "decoder2": "decoder.blocks.3",
}


DECODER_CHANNELS = {
    "resnet18": (256, 128, 64, 32, 16),
    # As wide as the decoder of mobilenetv2-unet where the resolution is high: a teacher should not know less of edges
    # than its student, and that student then takes a fifteenth of its multiply-adds at most.
    "resnet50": (256, 128, 64, 48, 32),
}
"""Channels of decoder5 to decoder2, and of the block at full resolution."""


def build(name: str, num_classes: int) -> SegmentationNetwork:
    """`resnet18-unet` or `resnet50-unet`, with random weights."""
    backbone = name.removesuffix("-unet")
    body = FlexibleUNet(
        in_channels=1,
        out_channels=num_classes,
        backbone=backbone,
        decoder_channels=DECODER_CHANNELS[backbone],
        is_pad=False,
    )
    body.encoder = resnet.ResNetEncoder(backbone)
    return SegmentationNetwork(body, LAYERS)
