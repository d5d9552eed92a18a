"""Axial slices as training sees them: changed anew in every epoch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from HLFDSegmentationLib.tasks import Task
from monai.utils import convert_to_tensor

from ..cases import case_groups
from ..partial_labels import Target
from ..plan import Augmentation
from .augmentation import anatomical_changes
from .orientations import ORIENTATIONS, cut_to, oriented
from .stored_slices import SliceItem, StoredSlices


class SliceDataset(torch.utils.data.Dataset):
    """Slices with what is known of them, for one task.

    Items are asked for by (epoch, number): the random changes of a slice depend on the seed, the epoch and the slice
    alone, so that a resumed or distributed run sees exactly what an uninterrupted single one sees.

    Args:
        items: the slices.
        task: their task.
        cache: folder for slices that were read once.
        augmentation: how the slices are changed and cut to the task's input size, see `plan.TrainingPlan`; None leaves
            them as they are.
        seed: of the random changes.
    """

    def __init__(
        self,
        items: Sequence[SliceItem],
        task: Task,
        cache: Path,
        *,
        augmentation: Augmentation | None = None,
        seed: int = 0,
    ) -> None:
        self.items = list(items)
        self.seed = seed
        self.size = task.input_size
        self.groups = {item.case.name: torch.tensor(case_groups(item.case, task)) for item in items}
        self.stored = StoredSlices(self.items, task, cache)
        self.augmentation = augmentation
        self.anatomical = anatomical_changes(task.input_size) if augmentation == "anatomical" else None

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, request: tuple[int, int]) -> tuple[torch.Tensor, Target]:
        """One slice (1, 1, H, W), its window scaled to 0..1, and its target."""
        number = request[1]
        stored = self.stored[number]
        slice_ = self._changed({"image": stored["image"].float(), "label": stored["label"]}, request)
        # Plain tensors: MONAI's carry metadata through every operation of a network, which takes time.
        image = convert_to_tensor(slice_["image"], dtype=torch.float32, track_meta=False)
        classes = convert_to_tensor(slice_["label"], dtype=torch.int64, track_meta=False)
        return image[None], Target(classes, self.groups[self.items[number].case.name][None])

    def orientation(self, request: tuple[int, int]) -> int:
        """In which of the eight orientations a slice is shown with the augmentation "orientations"."""
        return int(np.random.default_rng([self.seed, *request]).integers(ORIENTATIONS))

    def _changed(self, slice_: dict[str, torch.Tensor], request: tuple[int, int]) -> dict[str, torch.Tensor]:
        if self.augmentation == "orientations":
            orientation = self.orientation(request)
            return {name: oriented(cut_to(values, self.size), orientation) for name, values in slice_.items()}
        if self.anatomical is None:
            return slice_
        state = np.random.SeedSequence([self.seed, *request]).generate_state(1)[0]
        return self.anatomical.set_random_state(seed=int(state))(slice_)


def collate(samples: Sequence[tuple[torch.Tensor, Target]]) -> tuple[torch.Tensor, Target]:
    """A batch (N, 1, H, W) and its target, of slices of one size."""
    images = torch.cat([image for image, _ in samples])
    classes = torch.cat([target.classes for _, target in samples])
    groups = torch.cat([target.groups for _, target in samples])
    return images, Target(classes, groups)
