"""Looking at a network without leaving a trace in it."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from HLFDSegmentationLib.layers import LayerTap, evaluating
from torch import nn

from .constants import Size
from .edges import OUT

PROBE_SIZE = 64


def channels(network: nn.Module, layers: Iterable[str]) -> dict[str, int]:
    """How many channels the named layers and the logits (`OUT`) of a network have, found by one small image.

    Raises:
        NetworkError: the network does not name one of the layers.
    """
    return {name: shape[1] for name, shape in _shapes(network, layers, (PROBE_SIZE, PROBE_SIZE)).items()}


def sizes(network: nn.Module, layers: Iterable[str], image_size: Size) -> dict[str, Size]:
    """(H, W) of the named layers and of the logits (`OUT`) of a network for images of a size, found by one image.

    Raises:
        NetworkError: the network does not name one of the layers.
    """
    return {name: (shape[2], shape[3]) for name, shape in _shapes(network, layers, image_size).items()}


def _shapes(network: nn.Module, layers: Iterable[str], image_size: Size) -> dict[str, torch.Size]:
    image = torch.zeros(1, 1, *image_size, device=next(network.parameters()).device)
    with evaluating(network), torch.no_grad(), LayerTap(network, layers) as tap:
        logits = network(image)
        return {OUT: logits.shape, **{name: output.shape for name, output in tap.outputs.items()}}
