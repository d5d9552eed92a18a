"""What a network costs: parameters, and multiply-adds for one slice."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

import torch
from torch import nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode


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
    tensors = chain(network.named_parameters(), network.named_buffers())
    slice_ = torch.empty(1, 1, height, width, device="meta", dtype=next(network.parameters()).dtype)
    with FlopCounterMode(display=False) as counter:
        functional_call(network, {name: tensor.to("meta") for name, tensor in tensors}, slice_)
    # PyTorch counts a multiply-add as two operations.
    macs = counter.get_total_flops() // 2
    return NetworkCost(sum(parameter.numel() for parameter in network.parameters()), macs)
