"""Are the shipped model's attention maps about what it does? The table of docs/attention.md.

    python Testing/experiments/default_model_faithfulness.py DATA

DATA is the folder with msd_liver_slices. The slices are of patients who took no part in the model's training, one of
each: that with the largest area of the label.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from default_model import FRACTIONS, SEED, liver_cases
from HLFDSegmentationLib.attention import gradcam, most_likely
from HLFDSegmentationLib.ct_files import read_ct
from HLFDSegmentationLib.faithfulness import (
    area,
    cascading_randomization,
    deletion_curve,
    insertion_curve,
    smooth_random_map,
)
from HLFDSegmentationLib.layers import LAYERS
from HLFDSegmentationLib.model_store import find_package
from HLFDSegmentationLib.networks.network import SegmentationNetwork
from HLFDSegmentationLib.tasks import Task
from HLFDSegmentationLib.volumes import AxialSlices
from HLFDTrainingLib.split import split_by_patient

LABELS = ("liver", "kidney")
MOST_SLICES = 12
RANDOM_MAPS = 4
STEPS = 10


def slices_to_test(data: Path, task: Task) -> list[tuple[str, torch.Tensor]]:
    """The patients that the model is tested on, each with a slice (1, 1, H, W)."""
    with tempfile.TemporaryDirectory(prefix="hlfd-") as folder:
        cases = split_by_patient(liver_cases(data, Path(folder)), fractions=FRACTIONS, seed=SEED).test
        return [(case.patient, torch.from_numpy(AxialSlices(read_ct(case.ct), task).images(0, 1))) for case in cases]


def with_label(network: SegmentationNetwork, slices: list[tuple[str, torch.Tensor]], label: int) -> torch.Tensor:
    """Of each patient the slice in which the network finds most of the label, (N, 1, H, W)."""
    largest: dict[str, tuple[int, torch.Tensor]] = {}
    with torch.inference_mode():
        for patient, image in slices:
            pixels = int((most_likely(network(image)) == label).sum())
            if pixels > largest.get(patient, (0, image))[0]:
                largest[patient] = pixels, image
    chosen = [image for _, image in largest.values()]
    return torch.cat(chosen[:: max(1, len(chosen) // MOST_SLICES)][:MOST_SLICES])


Curve = Callable[..., np.ndarray]


def compared(
    curve: Curve, network: SegmentationNetwork, images: torch.Tensor, label: int, maps: torch.Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """Areas (N,) under the curve of the maps, and the mean of those of equally smooth random maps."""
    of_maps = area(curve(network, images, label, maps, steps=STEPS))
    random = [
        area(curve(network, images, label, smooth_random_map(maps, seed), steps=STEPS)) for seed in range(RANDOM_MAPS)
    ]
    return of_maps, np.mean(random, axis=0)


def table(network: SegmentationNetwork, images: torch.Tensor, label: int) -> str:
    """A row a layer, Markdown."""
    maps = gradcam(network, images, label)
    left = [cascading_randomization(network, images, label, seed=seed) for seed in range(RANDOM_MAPS)]
    lines = [
        "| layer | deletion, map : random | better in | insertion, map : random | better in | correlation left |",
        "|---|---|---|---|---|---|",
    ]
    for layer in LAYERS:
        deleted, deleted_random = compared(deletion_curve, network, images, label, maps[layer])
        inserted, inserted_random = compared(insertion_curve, network, images, label, maps[layer])
        correlation = np.mean([abs(list(steps.values())[-1][layer]) for steps in left])
        lines.append(
            f"| {layer} | {deleted.mean():.2f} : {deleted_random.mean():.2f} | {(deleted < deleted_random).sum()} "
            f"| {inserted.mean():.2f} : {inserted_random.mean():.2f} | {(inserted > inserted_random).sum()} "
            f"| {correlation:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Prints a table for each label."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    arguments = parser.parse_args()
    package = find_package()
    network = package.load_network()
    slices = slices_to_test(arguments.data, package.task)
    for name in LABELS:
        label = next(label.value for label in package.task.labels if label.name == name)
        images = with_label(network, slices, label)
        print(f"{name}, {len(images)} slices:\n\n{table(network, images, label)}\n", flush=True)


if __name__ == "__main__":
    main()
