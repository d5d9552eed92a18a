"""Cost of the attention of all nine layers, side by side with a training step's passes and with MONAI's GradCAM.

    python Testing/benchmarks/attention_speed.py [--size 256] [--repeats 7]

Prints a Markdown table of medians. Each repeat runs all ways once, one after the other, and the ratios are medians of
the repeats' own ratios, so that other work on the machine falls on all ways alike.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
import warnings
from collections.abc import Callable

import torch
from HLFDSegmentationLib.attention import gradcam, most_likely
from HLFDSegmentationLib.layers import LAYERS
from HLFDSegmentationLib.networks import build_network
from HLFDSegmentationLib.networks.network import SegmentationNetwork
from monai.visualize import GradCAM as MonaiGradCAM

NETWORKS = ("mobilenetv2-unet", "resnet18-unet")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=256, help="rows and columns of the slice")
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", category=UserWarning)
    size = arguments.size
    print(f"One {size}x{size} slice, {torch.get_num_threads()} threads, torch {torch.__version__}\n")
    print("| network | forward | forward + backward | nine layers | MONAI by layer | nine : pass | MONAI : nine |")
    print("|---|---|---|---|---|---|---|")
    for name in NETWORKS:
        ways = _ways(build_network(name, num_classes=3).eval(), torch.rand(1, 1, size, size))
        for way in ways.values():
            way()
        seconds = [{what: _seconds(way) for what, way in ways.items()} for _ in range(arguments.repeats)]
        cells = [f"{1000 * statistics.median(row[what] for row in seconds):.0f} ms" for what in ways]
        to_pass = statistics.median(row["nine"] / row["pass"] for row in seconds)
        to_monai = statistics.median(row["monai"] / row["nine"] for row in seconds)
        print(f"| {name} | {' | '.join(cells)} | {to_pass:.2f} | {to_monai:.1f} |", flush=True)


def _ways(network: SegmentationNetwork, images: torch.Tensor) -> dict[str, Callable[[], object]]:
    with torch.no_grad():
        label = int(most_likely(network(images)).mode(dim=-1).values.mode().values)

    # A network for each layer, as MONAI's hooks stay in it.
    monai = [
        MonaiGradCAM(copy.deepcopy(network), network.layers[layer], upsampler=_as_is, postprocessing=lambda maps: maps)
        for layer in LAYERS
    ]

    def forward() -> None:
        with torch.no_grad():
            network(images)

    def forward_and_backward() -> None:
        """What a training step does but for the optimizer: gradients of all parameters."""
        network.zero_grad()
        network(images)[:, label].sum().backward()

    return {
        "forward": forward,
        "pass": forward_and_backward,
        "nine": lambda: gradcam(network, images, label),
        "monai": lambda: [method(images, class_idx=label) for method in monai],
    }


def _as_is(_size: torch.Size) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda maps: maps


def _seconds(way: Callable[[], object]) -> float:
    start = time.perf_counter()
    way()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
