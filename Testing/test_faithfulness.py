"""Attention maps of a trained network are about what it does: checked where the truth is known."""

import numpy as np
import pytest
import torch
from HLFDSegmentationLib.attention import most_likely
from HLFDSegmentationLib.networks import SegmentationNetwork
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
