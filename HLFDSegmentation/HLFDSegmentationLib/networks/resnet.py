"""ResNet encoders (He et al. 2016, arXiv 1512.03385), from MONAI's ResNet."""

from __future__ import annotations

import torch
from monai.networks.nets import ResNet

BLOCKS = {
    "resnet18": ("basic", [2, 2, 2, 2]),
    "resnet34": ("basic", [3, 4, 6, 3]),
    "resnet50": ("bottleneck", [3, 4, 6, 3]),
}
"""Kind of block and blocks a stage (table 1 of the paper)."""

LAYERS = {
    # The stem's activation comes before the max pooling, so encoder1 has half the input's resolution.
    "encoder1": "encoder.act",
    "encoder2": "encoder.layer1",
    "encoder3": "encoder.layer2",
    "encoder4": "encoder.layer3",
    "encoder5": "encoder.layer4",
}


class ResNetEncoder(ResNet):
    """Maps slices (N, 1, H, W) to the features of five levels, at 1/2, 1/4, 1/8, 1/16 and 1/32 of the resolution.

    The shortcuts that change the number of channels are 1x1 convolutions (option B of the paper). MONAI's own encoders
    with 18 and 34 layers pad with zeros there (option A) and cut the gradient on the way, which would hide half of
    what an early layer does from training, from distillation and from attention maps.

    Args:
        name: one of `BLOCKS`.
    """

    def __init__(self, name: str) -> None:
        block, blocks = BLOCKS[name]
        super().__init__(
            block=block,
            layers=blocks,
            block_inplanes=[64, 128, 256, 512],
            spatial_dims=2,
            n_input_channels=1,
            conv1_t_size=7,
            conv1_t_stride=2,
            shortcut_type="B",
            bias_downsample=False,
            feed_forward=False,
        )

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:  # type: ignore[override]
        """The features of the five levels, finest first."""
        features = [self.act(self.bn1(self.conv1(x)))]
        x = self.maxpool(features[0])
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            features.append(x)
        return features
