"""Networks: what the documentation says of them is so, and they take any slice and any number of classes."""

import re
import subprocess
import sys
from itertools import pairwise
from math import ceil
from pathlib import Path

import pytest
import torch
from HLFDSegmentationLib.errors import NetworkError
from HLFDSegmentationLib.layers import LAYERS, LayerTap
from HLFDSegmentationLib.networks import NETWORKS, STUDENTS, TEACHERS, build_network
from HLFDSegmentationLib.networks.raunet import AugmentedAttention
from HLFDSegmentationLib.networks.resnet import BLOCKS, ResNetEncoder
from HLFDTrainingLib.network_cost import network_cost
from torch import nn

DOCUMENT = Path(__file__).parents[1] / "docs" / "networks.md"


def documented() -> dict[str, list[str]]:
    """The rows of the table of networks by network, the other cells in order."""
    text = DOCUMENT.read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([^`]+)` \| (teacher|student) \|(.+)\|$", text, re.MULTILINE)
    return {name: [role, *(cell.strip() for cell in rest.split("|"))] for name, role, rest in rows}


@pytest.fixture(scope="module", params=NETWORKS)
def named_network(request):
    torch.manual_seed(0)
    return request.param, build_network(request.param, 3).eval()


@pytest.fixture
def network(named_network):
    return named_network[1]


def on_meta(name: str, num_classes: int = 2) -> nn.Module:
    """A network of which only the shapes are worked out."""
    with torch.device("meta"):
        return build_network(name, num_classes).eval()


def test_the_table_lists_every_network_and_its_role():
    roles = {name: cells[0] for name, cells in documented().items()}
    assert roles == {**dict.fromkeys(TEACHERS, "teacher"), **dict.fromkeys(STUDENTS, "student")}


@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_and_multiply_adds_are_those_of_the_table(name):
    _, parameters, gmacs, *_ = documented()[name]
    cost = network_cost(on_meta(name), 384, 384)
    assert f"{cost.parameters / 1e6:.2f}" == parameters
    assert f"{cost.macs / 1e9:.2f}" == gmacs


@pytest.mark.parametrize(("num_classes", "share"), [(2, 17), (5, 15)])
def test_the_small_student_takes_the_share_of_a_large_teachers_multiply_adds_that_is_told(num_classes, share):
    teacher, student = (
        network_cost(on_meta(name, num_classes), 384, 384).macs for name in ("resnet50-unet", "mobilenetv2-unet")
    )
    assert share <= teacher / student < share + 1


@pytest.mark.parametrize("name", NETWORKS)
def test_layers_are_those_of_the_table(name):
    network = on_meta(name)
    assert tuple(network.layers) == LAYERS
    with LayerTap(network) as tap:
        network(torch.empty(1, 1, 384, 384, device="meta"))
        shapes = [tuple(tap.outputs[layer].shape) for layer in LAYERS]
    channels_and_sides = ", ".join(documented()[name][3:]).split(", ")
    assert [f"{channels}@{height}" for _, channels, height, _ in shapes] == channels_and_sides
    assert all(height == width for *_, height, width in shapes)


def test_layers_of_unetplusplus_are_its_first_column_and_last_diagonal():
    assert build_network("unet++", 2).layers == {
        "encoder1": "body.conv_0_0",
        "encoder2": "body.conv_1_0",
        "encoder3": "body.conv_2_0",
        "encoder4": "body.conv_3_0",
        "encoder5": "body.conv_4_0",
        "decoder5": "body.upcat_3_1",
        "decoder4": "body.upcat_2_2",
        "decoder3": "body.upcat_1_3",
        "decoder2": "body.upcat_0_4",
    }


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("num_classes", [2, 3, 5])
def test_every_slice_size_and_number_of_classes(name, num_classes):
    network = on_meta(name, num_classes)
    for height, width in [(1, 1), (37, 53), (100, 70), (384, 384), (512, 511)]:
        logits = network(torch.empty(2, 1, height, width, device="meta"))
        assert logits.shape == (2, num_classes, height, width)


@torch.no_grad()
def test_a_slice_that_fits_is_not_padded(network):
    images = torch.rand(1, 1, 2 * network.stride, 3 * network.stride)
    assert torch.equal(network(images), network.body(images))


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), [(1, 1), (37, 53), (32, 33)])
def test_another_slice_is_padded_with_air_below_and_to_the_right(network, height, width):
    images = torch.rand(1, 1, height, width)
    fitting = [ceil(side / network.stride) * network.stride for side in (height, width)]
    padded = torch.zeros(1, 1, *fitting)
    padded[..., :height, :width] = images
    logits = network(images)
    assert torch.isfinite(logits).all()
    assert torch.equal(logits, network.body(padded)[..., :height, :width])


@torch.no_grad()
def test_slices_of_a_batch_do_not_influence_each_other(network):
    images = torch.rand(2, 1, 32, 32)
    torch.testing.assert_close(network(images)[1:], network(images[1:]), rtol=1e-4, atol=1e-4)


def test_a_single_slice_trains_every_parameter(named_network):
    """A parameter that nothing trains would stop distributed training; a batch may hold one slice."""
    name, _ = named_network
    torch.manual_seed(0)
    network = build_network(name, 3).train()
    network(torch.rand(1, 1, 64, 64)).square().sum().backward()
    untrained = [key for key, parameter in network.named_parameters() if parameter.grad is None]
    assert untrained == []
    assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters())


@pytest.mark.parametrize("name", BLOCKS)
def test_the_shortcuts_of_a_resnet_carry_the_gradient(name):
    """With every residual branch silenced, the first level still influences the last one."""
    torch.manual_seed(0)
    encoder = ResNetEncoder(name).eval()
    for stage in (encoder.layer1, encoder.layer2, encoder.layer3, encoder.layer4):
        for block in stage:
            last = block.bn3 if hasattr(block, "bn3") else block.bn2
            nn.init.zeros_(last.weight)
    features = encoder(torch.rand(1, 1, 64, 64))
    for finer, coarser in pairwise(features):
        (gradient,) = torch.autograd.grad(coarser.sum(), finer, retain_graph=True)
        assert gradient.any()


@torch.no_grad()
def test_augmented_attention_adds_weighed_encoder_channels_to_the_decoder():
    torch.manual_seed(0)
    attention = AugmentedAttention(4)
    high, low = torch.rand(2, 4, 5, 6), torch.rand(2, 4, 5, 6) + 0.5
    added = attention(high, low) - high
    weights = added / low
    assert torch.allclose(weights, weights[..., :1, :1].expand_as(weights), atol=1e-5)
    assert torch.allclose(weights[..., 0, 0].sum(dim=1), torch.ones(2), atol=1e-5)
    other_weights = (attention(high + torch.arange(4.0)[:, None, None], low) - high) / low
    assert not torch.allclose(weights, other_weights, atol=1e-3)


def test_an_unknown_network_is_answered_with_the_known_ones():
    with pytest.raises(NetworkError, match=r"no network 'u-net'.*unet\+\+.*raunet.*mobilenetv2-unet"):
        build_network("u-net", 2)


def test_the_smallest_student_does_without_monai():
    """Importing MONAI costs seconds that segmenting with the default model should not pay."""
    program = (
        "import sys; from HLFDSegmentationLib.networks import build_network; "
        "build_network('mobilenetv2-unet', 2); print(any(name.split('.')[0] == 'monai' for name in sys.modules))"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert finished.stdout == "False\n"


class Small(nn.Module):
    """A network whose cost can be counted by hand."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1),  # 8x8: 4 * 9 * 64 = 2304
            nn.BatchNorm2d(4),
            nn.ConvTranspose2d(4, 2, 2, stride=2),  # from 8x8: 4 * 64 * 2 * 4 = 2048
            nn.Conv2d(2, 2, 3, padding=1, groups=2),  # 16x16: 2 * 9 * 256 = 4608
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(2, 3),  # 6
        )

    def forward(self, x):
        return self.body(x)


def test_cost_of_a_network_counted_by_hand():
    cost = network_cost(Small(), 8, 8)
    assert cost.macs == 2304 + 2048 + 4608 + 6
    assert cost.parameters == (36 + 4) + 8 + (32 + 2) + (18 + 2) + 9


def test_counting_the_cost_leaves_the_network_as_it_is():
    network = Small()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    network_cost(network, 8, 8)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert all(not module._forward_hooks for module in network.modules())
