"""Attention maps of a trained network are about what it does: checked where the truth is known."""

import numpy as np
import pytest
import torch
from HLFDSegmentationLib.attention import gradcam, most_likely
from HLFDSegmentationLib.errors import InputError
from HLFDSegmentationLib.faithfulness import (
    OUTPUT,
    area,
    blurred,
    cascading_randomization,
    deletion_curve,
    insertion_curve,
    smooth_random_map,
)
from HLFDSegmentationLib.networks.network import SegmentationNetwork
from scipy import ndimage
from torch import nn
from torch.nn import functional as F

LABEL = 1
SIZE = 48
LAYERS = ("encoder1", "encoder2", "encoder3", "decoder3", "decoder2")


class SmallUNet(nn.Module):
    """Three levels: small enough to train in seconds."""

    def __init__(self):
        super().__init__()
        self.encoder1, self.encoder2, self.encoder3 = _block(1, 8), _block(8, 16), _block(16, 32)
        self.decoder3, self.decoder2 = _block(32 + 16, 16), _block(16 + 8, 8)
        self.head = nn.Conv2d(8, 2, 1)

    def forward(self, x):
        first = self.encoder1(x)
        second = self.encoder2(F.max_pool2d(first, 2))
        x = self.encoder3(F.max_pool2d(second, 2))
        x = self.decoder3(torch.cat([F.interpolate(x, scale_factor=2.0), second], dim=1))
        return self.head(self.decoder2(torch.cat([F.interpolate(x, scale_factor=2.0), first], dim=1)))


def _block(channels_in, channels_out):
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels_out, channels_out, 3, padding=1),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


def _slices(count, seed):
    """Slices of cloudy tissue with a bright blob, which is the label, a bright ring and a dark blob, which are not."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIZE, :SIZE]

    def disc(smallest, largest):
        radius = random.uniform(smallest, largest)
        row, column = random.uniform(radius, SIZE - radius, 2)
        return np.hypot(rows - row, columns - column) <= radius

    images, masks = np.empty((count, 1, SIZE, SIZE), np.float32), np.zeros((count, SIZE, SIZE), np.int64)
    for image, mask in zip(images[:, 0], masks):
        image[:] = 0.35 + 0.7 * ndimage.gaussian_filter(random.standard_normal((SIZE, SIZE)), 3)
        ring, dark, blob = disc(6, 8), disc(4, 7), disc(5, 9)
        image[ring & ~ndimage.binary_erosion(ring, iterations=2)] += 0.35
        image[dark] -= 0.3
        image[blob] = 0.8
        image += 0.05 * random.standard_normal((SIZE, SIZE))
        mask[blob] = LABEL
    return torch.from_numpy(images.clip(0, 1)), torch.from_numpy(masks)


@pytest.fixture(scope="module")
def network():
    """Finds blobs with a Dice above 0.9 in slices that it has not seen."""
    torch.manual_seed(0)
    network = SegmentationNetwork(SmallUNet(), {name: name for name in LAYERS}, stride=4)
    images, masks = _slices(160, seed=1)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=160)
    for step in range(160):
        batch = torch.arange(8 * step, 8 * step + 8) % len(images)
        loss = F.cross_entropy(network(images[batch]), masks[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    network.eval()
    images, masks = _slices(8, seed=2)
    with torch.no_grad():
        found = most_likely(network(images))
    assert 2 * (found * masks).sum() / (found.sum() + masks.sum()) > 0.9
    return network


@pytest.fixture(scope="module")
def images():
    return _slices(6, seed=3)[0]


@pytest.mark.parametrize("layer", LAYERS)
def test_maps_beat_equally_smooth_random_maps(network, images, layer):
    maps = gradcam(network, images, LABEL, layers=[layer])[layer]
    deletion = area(deletion_curve(network, images, LABEL, maps, steps=10))
    insertion = area(insertion_curve(network, images, LABEL, maps, steps=10))
    random = [smooth_random_map(maps, seed) for seed in range(5)]
    random_deletion = [area(deletion_curve(network, images, LABEL, r, steps=10)) for r in random]
    random_insertion = [area(insertion_curve(network, images, LABEL, r, steps=10)) for r in random]
    assert deletion.mean() < 0.5 * np.mean(random_deletion)
    assert insertion.mean() > 1.5 * np.mean(random_insertion)
    # Not only on average: in most pairs of a slice and a random map.
    assert (deletion < random_deletion).mean() >= 0.8
    assert (insertion > random_insertion).mean() >= 0.8


def test_a_map_of_the_wrong_place_is_found_out(network, images):
    maps = gradcam(network, images, LABEL, layers=["decoder2"])["decoder2"]
    right, wrong = (deletion_curve(network, images, LABEL, m, steps=10) for m in (maps, -maps))
    assert (area(right) < area(wrong)).all()


def test_curves_go_from_the_untouched_to_the_blurred_slice(network, images):
    maps = gradcam(network, images, LABEL, layers=["encoder3"])["encoder3"]
    deletion = deletion_curve(network, images, LABEL, maps, steps=4)
    insertion = insertion_curve(network, images, LABEL, maps, steps=4)
    assert deletion.shape == (len(images), 5)
    np.testing.assert_allclose(deletion[:, 0], insertion[:, -1], rtol=1e-6)
    np.testing.assert_allclose(deletion[:, -1], insertion[:, 0], rtol=1e-6)
    with torch.no_grad():
        mask = most_likely(network(images)) == LABEL
        probability = network(images).softmax(dim=1)[:, LABEL]
    untouched = [float(p[m].mean()) for p, m in zip(probability, mask)]
    np.testing.assert_allclose(deletion[:, 0], untouched, rtol=1e-5)
    assert (deletion[:, -1] < 0.3 * deletion[:, 0]).all()


def test_curves_of_slices_of_any_size(network, images):
    odd = images[:, :, :47, :45]
    maps = gradcam(network, odd, LABEL, layers=["encoder3"])["encoder3"]
    assert maps.shape[1:] == (12, 12)
    assert area(deletion_curve(network, odd, LABEL, maps, steps=4)).shape == (len(images),)


def test_a_slice_without_the_label_has_no_curve(network, images):
    empty = torch.cat([images[:1], torch.full_like(images[:1], 0.3)])
    with pytest.raises(InputError, match="slice 1"):
        deletion_curve(network, empty, LABEL, torch.rand(2, 12, 12))


def test_area_under_known_curves():
    np.testing.assert_allclose(area(np.array([[1, 0.5, 0], [1, 1, 1], [0, 0, 1]])), [0.5, 1, 0.25])


@pytest.mark.parametrize("shape", [(40, 12, 12), (40, 9, 15)])
def test_random_maps_are_as_smooth_and_unrelated(shape):
    noise = np.random.default_rng(0).standard_normal(shape)
    maps = torch.from_numpy(ndimage.gaussian_filter(noise, (0, 2, 2), mode="wrap"))
    random = smooth_random_map(maps, seed=0)
    assert random.shape == maps.shape
    torch.testing.assert_close(random.mean(dim=(1, 2)), maps.mean(dim=(1, 2)))
    torch.testing.assert_close(random.std(dim=(1, 2)), maps.std(dim=(1, 2)))
    step, random_step = (m.diff(dim=1).std() for m in (maps, random))
    torch.testing.assert_close(random_step, step, rtol=0.1, atol=0)
    correlations = [np.corrcoef(a.flatten(), b.flatten())[0, 1] for a, b in zip(maps, random)]
    assert abs(np.mean(correlations)) < 0.2
    assert torch.equal(random, smooth_random_map(maps, seed=0))
    assert not torch.allclose(random, smooth_random_map(maps, seed=1))


def test_blurring_keeps_the_mean_and_takes_the_detail(images):
    smooth = blurred(images, 10)
    assert smooth.std() < 0.5 * images.std()
    torch.testing.assert_close(smooth.mean(), images.mean(), rtol=0.05, atol=0)


RANDOMIZED_CORRELATION = 0.2
"""Bound on the rank correlation with the original map once all weights are drawn anew: its absolute value, mean over
draws. Measured: 0.05 to 0.09."""


def test_randomization_from_the_output_down_destroys_the_maps(network, images):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    draws = [cascading_randomization(network, images, LABEL, layers=LAYERS, seed=seed) for seed in range(5)]
    assert list(draws[0]) == [OUTPUT, *reversed(LAYERS)]
    for layer in LAYERS:
        assert np.mean([abs(draw["encoder1"][layer]) for draw in draws]) < RANDOMIZED_CORRELATION, layer
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert draws[0] == cascading_randomization(network, images, LABEL, layers=LAYERS, seed=0)


def test_randomization_leaves_the_random_numbers_of_others_as_they_were(network, images):
    before = torch.get_rng_state()
    cascading_randomization(network, images[:1], LABEL, layers=LAYERS[-1:], seed=1)
    assert torch.equal(torch.get_rng_state(), before)
