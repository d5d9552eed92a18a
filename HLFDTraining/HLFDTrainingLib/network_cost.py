"""What a network costs: parameters, and multiply-adds for one slice."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from math import prod

import torch
from torch import nn
from torch.func import functional_call


@dataclass(frozen=True)
class NetworkCost:
    """Size of a network and work for one slice.

    Attributes:
        parameters: numbers that are trained.
        macs: multiply-adds of all convolutions, transposed convolutions and linear layers; the rest is small.
    """

    parameters: int
    macs: int


def network_cost(network: nn.Module, height: int, width: int) -> NetworkCost:
    """The cost of a network for one slice (1, 1, height, width).

    Only shapes are worked out, on PyTorch's meta device: it costs no memory, and the network is left as it is.
    """
    macs = 0

    def count(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal macs
        macs += _macs(module, inputs[0], output)

    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)]
    handles = [layer.register_forward_hook(count) for layer in layers]
    tensors = chain(network.named_parameters(), network.named_buffers())
    try:
        slice_ = torch.empty(1, 1, height, width, device="meta", dtype=next(network.parameters()).dtype)
        functional_call(network, {name: tensor.to("meta") for name, tensor in tensors}, slice_)
    finally:
        for handle in handles:
            handle.remove()
    return NetworkCost(sum(parameter.numel() for parameter in network.parameters()), macs)


def _macs(layer: nn.Module, received: torch.Tensor, output: torch.Tensor) -> int:
    if isinstance(layer, nn.Linear):
        return output.numel() * layer.in_features
    if isinstance(layer, nn.ConvTranspose2d):
        return received.numel() * layer.out_channels // layer.groups * prod(layer.kernel_size)
    return output.numel() * layer.in_channels // layer.groups * prod(layer.kernel_size)
