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


def build(name: str, num_classes: int) -> SegmentationNetwork:
    """`resnet18-unet` or `resnet50-unet`, with random weights."""
    backbone = name.removesuffix("-unet")
    body = FlexibleUNet(in_channels=1, out_channels=num_classes, backbone=backbone, is_pad=False)
    body.encoder = resnet.ResNetEncoder(backbone)
    return SegmentationNetwork(body, LAYERS)
