"""A network whose batch normalizations are folded gives what it gave, with fewer steps."""

from copy import deepcopy

import pytest
import torch
from HLFDSegmentationLib.layers import LAYERS, LayerTap
from HLFDSegmentationLib.model_store import find_package
from HLFDSegmentationLib.networks import NETWORKS, build_network
from HLFDSegmentationLib.segmenting.batch_norm_folding import fold_batch_norms
from torch import nn


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def with_learned_norms(name: str) -> nn.Module:
    """As after a training: no normalization leaves anything as it is."""
    torch.manual_seed(0)
    network = build_network(name, 3).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.2)
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network


def seen(network: nn.Module, images: torch.Tensor) -> list[torch.Tensor]:
    """The logits, each layer's output, and the gradient of class 1 at it."""
    with LayerTap(network, LAYERS) as tap:
        logits = network(images)
        outputs = [tap.outputs[layer] for layer in LAYERS]
        gradients = torch.autograd.grad(logits[:, 1].sum(), outputs)
    return [each.detach() for each in (logits, *outputs, *gradients)]


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_layers_and_gradients_stay(name):
    network = with_learned_norms(name)
    folded = deepcopy(network)
    fold_batch_norms(folded)
    images = torch.rand(2, 1, 64, 96)
    for before, after in zip(seen(network, images), seen(folded, images), strict=True):
        torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-4 * float(before.abs().max()))


def test_none_is_left_in_the_network_that_ships():
    network = find_package(None).load_network().eval()
    assert norms(network) > 60
    fold_batch_norms(network)
    assert norms(network) == 0
