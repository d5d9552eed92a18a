"""How much of a layer's attention lies where the score does not depend on the layer: the table of docs/attention.md.

    python Testing/experiments/attention_without_effect.py DATA

DATA is the folder with volumes. A cell without any gradient cannot move the score, whatever its channels do. All such
cells of a layer are set to 0 at once, and the score is computed anew, to see that it is so. Beside it stands in how
many slices nothing reaches the threshold below which the panel in Slicer leaves attention out, and how the attention of
a slice goes with the area of the label in it.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from HLFDSegmentationLib.attention import area_average
from HLFDSegmentationLib.ct_files import read_ct
from HLFDSegmentationLib.inference import Segmenter
from HLFDSegmentationLib.layers import LAYERS, LayerTap
from HLFDSegmentationLib.model_store import find_package
from HLFDSegmentationLib.networks.network import SegmentationNetwork
from HLFDSegmentationLib.volumes import AxialSlices
from scipy.stats import spearmanr

LABELS = ("liver tumor", "liver")
THRESHOLD = 0.2
"""That of the panel, as a share of the layer's strongest attention in the CT."""


@dataclass(frozen=True)
class SliceAttention:
    """Positive attention of a layer to a label in a slice.

    Attributes:
        total: of all cells.
        idle: of those on which the score does not depend.
        peak: of the strongest cell.
        change: by how much the score changes where those are set to 0.
    """

    total: float
    idle: float
    peak: float
    change: float


def score_without(
    network: SegmentationNetwork, image: torch.Tensor, label: int, pixels: torch.Tensor, layer: str, idle: torch.Tensor
) -> float:
    """The sum of the label's logit over the pixels, with some cells (1, h, w) of a layer set to 0."""
    module = network.get_submodule(network.layers[layer])
    handle = module.register_forward_hook(lambda _module, _inputs, output: output * ~idle[:, None])
    with torch.no_grad():
        logits = network(image)
    handle.remove()
    return float(logits[:, label][pixels].sum())


def attention_of_slice(
    network: SegmentationNetwork, image: torch.Tensor, label: int, pixels: torch.Tensor, shown: torch.Tensor
) -> dict[str, SliceAttention]:
    """Of a slice (1, 1, H, W), by layer: for the label's pixels, where it shows the CT, both bool (1, H, W)."""
    with LayerTap(network, network.layers) as tap:
        logits = network(image.clone().requires_grad_())
        outputs = dict(tap.outputs)
        score = logits[:, label][pixels].sum()
        gradients = torch.autograd.grad(score, list(outputs.values()))
    found = {}
    for (layer, output), gradient in zip(outputs.items(), gradients):
        attention = (gradient.mean(dim=(2, 3), keepdim=True) * output.detach()).sum(dim=1).clamp(min=0)
        attention = attention * area_average(shown, attention.shape[-2:], network.stride)
        idle = (gradient == 0).all(dim=1)
        change = (
            score_without(network, image, label, pixels, layer, idle) - float(score.detach()) if idle.any() else 0.0
        )
        values = (attention.sum(), attention[idle].sum(), attention.max())
        found[layer] = SliceAttention(*map(float, values), abs(change))
    return found


def main() -> None:
    """Prints a table for each CT and label."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    package = find_package()
    network = package.load_network().eval().requires_grad_(False)
    for path in sorted((parser.parse_args().data / "volumes").glob("*/ct.nii.gz")):
        ct = read_ct(path)
        classes = torch.from_numpy(Segmenter(package, "cpu").segment(ct).network_labels)
        slices = AxialSlices(ct, package.task)
        shown = torch.zeros(1, *slices.shape, dtype=torch.bool)
        shown[:, : slices.shown[0], : slices.shown[1]] = True
        for name in LABELS:
            label = package.task.label(name).value
            masks = classes == label
            chosen = np.flatnonzero(masks.any(dim=2).any(dim=1))
            images = (torch.from_numpy(slices.images(z, z + 1)) for z in chosen)
            found = [
                attention_of_slice(network, image, label, masks[z : z + 1], shown) for z, image in zip(chosen, images)
            ]
            if found:
                tell(f"{path.parent.name}, {name}", found, masks[chosen].sum(dim=(1, 2)).tolist())


def tell(title: str, of_slices: list[dict[str, SliceAttention]], areas: list[int]) -> None:
    """Prints a row a layer, Markdown."""
    print(f"\n{title}, {len(of_slices)} slices:\n")
    print(f"| layer | without effect | the score then changes by | slices below {THRESHOLD} | area and attention |")
    print("|---|---|---|---|---|")
    blank = np.ones(len(of_slices), bool)
    for layer in LAYERS:
        found = [of_slice[layer] for of_slice in of_slices]
        totals, peaks = [one.total for one in found], np.array([one.peak for one in found])
        idle = sum(one.idle for one in found) / max(sum(totals), 1e-12)
        below, change = peaks < THRESHOLD * peaks.max(), max(one.change for one in found)
        print(f"| {layer} | {idle:.0%} | {change:g} | {below.mean():.0%} | {spearmanr(areas, totals)[0]:.2f} |")
        blank &= below
    print(f"\nBelow it in all layers: {blank.sum()} slices.", flush=True)


if __name__ == "__main__":
    main()
