"""A student's encoder that began with photographs sees in a gray slice what it would see in a gray photograph."""

import sys
from pathlib import Path

import pytest
import torch
from HLFDSegmentationLib.networks import build_network

sys.path.append(str(Path(__file__).parent / "experiments"))

from imagenet_encoder import COLOR_DEVIATION, COLOR_MEAN, with_encoder
from torch.nn import functional as F

ENCODER = ".encoder."


@pytest.fixture
def network():
    torch.manual_seed(0)
    return build_network("mobilenetv2-unet", 5).eval()


@pytest.fixture
def learned(network) -> dict[str, torch.Tensor]:
    """Weights as torchvision stores them: by other names, with three colors, and a classifier at the end."""
    generator = torch.Generator().manual_seed(1)
    tensors = [value for name, value in network.state_dict().items() if ENCODER in name]
    drawn = [torch.rand(value.shape, generator=generator) if value.is_floating_point() else value for value in tensors]
    drawn[0] = torch.randn(32, 3, 3, 3, generator=generator)
    return {f"features.{number}": value for number, value in enumerate([*drawn, torch.zeros(1000, 1280)])}


def test_a_gray_slice_gives_what_a_gray_photograph_gives(network, learned):
    network.load_state_dict(with_encoder(network, learned))
    gray = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(2))
    colors = (gray.expand(-1, 3, -1, -1) - COLOR_MEAN[:, None, None]) / COLOR_DEVIATION[:, None, None]
    kernels, weight, bias, mean, variance = list(learned.values())[:5]
    expected = F.batch_norm(F.conv2d(colors, kernels, stride=2, padding=1), mean, variance, weight, bias)
    convolution, norm = network.body.encoder[0][:2]
    inner = (..., slice(1, None), slice(1, None))  # beside the image, torchvision sees the mean color, and we see black
    torch.testing.assert_close(norm(convolution(gray))[inner], expected[inner], rtol=1e-3, atol=1e-3)


def test_the_decoder_stays_and_everything_else_is_taken_over(network, learned):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    after = with_encoder(network, learned)
    assert after.keys() == before.keys()
    same = {name for name in before if torch.equal(before[name], after[name]) and before[name].is_floating_point()}
    assert same == {name for name in before if ENCODER not in name and before[name].is_floating_point()}


def test_weights_of_another_network_are_refused(network, learned):
    learned["features.5"] = torch.zeros(7, 7)
    with pytest.raises(SystemExit, match="has the shape"):
        with_encoder(network, learned)
