"""One validation slice with its truth and what a network makes of it, for someone who watches the training.

`preview.npz` holds `image` (window scaled to 0..255), `truth` and `prediction` (classes), each uint8 (H, W), the first
row anterior and the first column on the patient's right, and nothing that names the patient. The truth holds the lowest
of the classes that an annotator did not tell apart.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from HLFDSegmentationLib.attention import most_likely
from HLFDSegmentationLib.devices import memory_format
from HLFDSegmentationLib.output.safe_files import replacing
from HLFDSegmentationLib.tasks import Task
from torch import nn

from ..runs.weights_files import writing
from .slices import SliceDataset


def largest_slice(slices: SliceDataset, task: Task) -> int:
    """Number of the slice with the largest area of tumor; without a tumor, with the largest area of any label."""
    tumors = torch.tensor([label.value for label in task.tumors])

    def areas(number: int) -> tuple[int, int]:
        classes = slices[(0, number)][1].classes
        return int(torch.isin(classes, tumors).sum()), int((classes > 0).sum())

    return max(range(len(slices)), key=areas)


@torch.no_grad()
def write_preview(path: Path, network: nn.Module, slices: SliceDataset, number: int, device: torch.device) -> None:
    """Writes what an evaluating network makes of a slice, aside and renamed.

    Raises:
        OutputError: the file cannot be written.
    """
    image, target = slices[(0, number)]
    prediction = most_likely(network(image.to(device, memory_format=memory_format(device))))
    with replacing(path) as part, writing(path):
        np.savez_compressed(
            part,
            image=(image[0, 0].numpy() * 255).round().astype(np.uint8),
            truth=target.classes.squeeze().numpy().astype(np.uint8),
            prediction=prediction[0].cpu().numpy().astype(np.uint8),
        )
