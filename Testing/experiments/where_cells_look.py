"""Where in a slice the cells of a model's layers look from: the table of docs/attention.md, under Grid.

python Testing/experiments/where_cells_look.py CT [CT ...]

Small squares of slices with liver are inverted. What that changes in a layer's map of the liver has a center, which is
compared with the square's: a cell may look from the first of the pixels that it stands for, as padding alone would have
it, from their middle, or from wherever the weights have learned to.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from HLFDSegmentationLib.attention import most_likely, scored_pixels
from HLFDSegmentationLib.ct_files import read_ct
from HLFDSegmentationLib.layers import LAYERS, LayerTap
from HLFDSegmentationLib.model_store import find_package
from HLFDSegmentationLib.networks.network import SegmentationNetwork
from HLFDSegmentationLib.tasks import Task
from HLFDSegmentationLib.volumes import AxialSlices

SEED = 0
SLICES = 3
"""Of each CT, evenly spaced among those with the label."""
SQUARES = 25
"""In a slice."""
HALF_SQUARE = 3
LABEL = 1
TISSUE = 0.1
REACH = 4
"""Cells from the square within which a change counts."""
LEAST_PIXELS = 500


def slices_with_label(network: SegmentationNetwork, ct: Path, task: Task) -> list[torch.Tensor]:
    """Slices (1, 1, H, W) of a CT that show the label."""
    slices = AxialSlices(read_ct(ct), task)
    found = []
    for z in range(slices.count):
        image = torch.from_numpy(slices.images(z, z + 1))
        if (most_likely(network(image)) == LABEL).sum() >= LEAST_PIXELS:
            found.append(image)
    places = (np.arange(SLICES) + 0.5) * len(found) / SLICES
    return [found[int(place)] for place in places] if found else []


def channel_weights(network: SegmentationNetwork, image: torch.Tensor) -> dict[str, torch.Tensor]:
    """What GradCAM weighs the channels of each layer by, (C,), for the label in a slice."""
    with torch.enable_grad(), LayerTap(network) as tap:
        logits = network(image.clone().requires_grad_())
        outputs = dict(tap.outputs)
        score = logits[:, LABEL][scored_pixels(most_likely(logits), LABEL, "mask")].sum()
        gradients = torch.autograd.grad(score, list(outputs.values()))
    return {layer: gradient.mean(dim=(0, 2, 3)) for layer, gradient in zip(outputs, gradients)}


def maps_of(
    network: SegmentationNetwork, image: torch.Tensor, weights: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """The maps (h, w) of a slice by layer, with given weights of the channels."""
    with LayerTap(network) as tap:
        network(image)
        return {layer: torch.einsum("c,chw->hw", weights[layer], output[0]) for layer, output in tap.outputs.items()}


def offset(change: torch.Tensor, place: tuple[int, int], side: int) -> tuple[float, float]:
    """How far behind the first pixel of its cell a place (row, column) lies that made this change (h, w), in cells."""
    axes = [torch.arange(number) * side for number in change.shape]
    near = [((axis - at).abs() <= REACH * side).to(change) for axis, at in zip(axes, place)]
    weight = change**2 * near[0][:, None] * near[1]
    row, column = (float((weight.sum(dim=1 - along) * axis).sum() / weight.sum()) for along, axis in enumerate(axes))
    return (place[0] - row) / side, (place[1] - column) / side


def offsets(network: SegmentationNetwork, image: torch.Tensor, generator: np.random.Generator) -> dict[str, list]:
    """The offsets of some squares of a slice by layer."""
    weights = channel_weights(network, image)
    before = maps_of(network, image, weights)
    height, width = image.shape[-2:]
    margin = 2 * network.stride
    inner = np.argwhere((image[0, 0] > TISSUE).numpy()[margin : height - margin, margin : width - margin]) + margin
    found: dict[str, list] = {layer: [] for layer in LAYERS}
    for row, column in generator.choice(inner, SQUARES, replace=False).tolist():
        square = slice(row - HALF_SQUARE, row + HALF_SQUARE + 1), slice(column - HALF_SQUARE, column + HALF_SQUARE + 1)
        changed = image.clone()
        changed[0, 0][square] = 1 - changed[0, 0][square]
        after = maps_of(network, changed, weights)
        for layer, map_before in before.items():
            side = height // map_before.shape[0]
            found[layer].append((*offset(after[layer] - map_before, (row, column), side), side))
    return found


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cts", type=Path, nargs="+")
    parser.add_argument("--model", help="name or folder of a model; the one that ships with HLFD by default")
    arguments = parser.parse_args()
    package = find_package(arguments.model)
    network = package.load_network().eval()
    generator = np.random.default_rng(SEED)
    images = [image for ct in arguments.cts for image in slices_with_label(network, ct, package.task)]
    of_slices = [offsets(network, image, generator) for image in images]
    print("| layer | middle | rows | columns |\n|---|---|---|---|")
    for layer in LAYERS:
        values = np.array([one for of_slice in of_slices for one in of_slice[layer]])
        side = int(values[0, 2])
        mean, error = values[:, :2].mean(axis=0), values[:, :2].std(axis=0, ddof=1) / len(values) ** 0.5
        cells = [f"{x:+.2f} ± {e:.2f}" for x, e in zip(mean, error)]
        print(f"| {layer} | {(side - 1) / 2 / side:+.2f} | {' | '.join(cells)} |")
    print(f"{len(images)} slices, {SQUARES} squares each.")


if __name__ == "__main__":
    main()
