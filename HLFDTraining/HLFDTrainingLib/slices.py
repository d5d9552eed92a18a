"""Annotated cases as axial slices: read once, kept on disk, changed anew in every epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from HLFDSegmentationLib.tasks import BACKGROUND, Task
from monai.data import PersistentDataset
from monai.transforms import CastToTyped, Compose, ScaleIntensityRanged, Transform
from monai.utils import convert_to_tensor
from torch.nn import functional as F

from .augmentation import augmentation
from .cases import Case, case_groups, target_values
from .partial_labels import Target

EMPTY_SLICES = 0.25
"""Share of the slices without any label that training sees, as a fraction of those with one."""


@dataclass(frozen=True)
class SliceItem:
    """One axial slice of a case: its index counts from the most inferior slice."""

    case: Case
    index: int
    labelled: bool


@lru_cache(maxsize=2)
def _axial_volume(path: str, _modified: float) -> tuple[np.ndarray, tuple[float, float]]:
    """Voxels [z, y, x] with rows from anterior to posterior and columns from right to left, and (row, column) mm."""
    image = sitk.DICOMOrient(sitk.ReadImage(path), "LPS")
    spacing = image.GetSpacing()
    return sitk.GetArrayFromImage(image), (spacing[1], spacing[0])


def _volume(path: Path) -> tuple[np.ndarray, tuple[float, float]]:
    return _axial_volume(str(path), path.stat().st_mtime)


def list_slices(cases: Sequence[Case]) -> list[SliceItem]:
    """Every axial slice of the cases, in order."""
    items = []
    for case in cases:
        labels, _ = _volume(case.label)
        known = np.isin(labels, list(case.labels))
        items += [SliceItem(case, index, bool(known[index].any())) for index in range(len(labels))]
    return items


def training_slices(cases: Sequence[Case], seed: int) -> list[SliceItem]:
    """The slices of an epoch: all with a label, `case.repeat` times, and a seeded share of those without."""
    items = list_slices(cases)
    labelled = [item for item in items if item.labelled for _ in range(item.case.repeat)]
    empty = [item for item in items if not item.labelled]
    count = min(len(empty), round(EMPTY_SLICES * len(labelled)))
    chosen = np.random.default_rng(seed).choice(len(empty), count, replace=False) if count else []
    return labelled + [empty[number] for number in sorted(chosen)]


class ReadSliced(Transform):
    """Reads one slice of a case: `image` float32 in HU and `label` uint8, both (1, H, W) at the task's spacing.

    The image is resized bilinearly with antialiasing, as segmenting does it; the label by nearest neighbour, its
    values replaced by the task's classes.
    """

    def __init__(self, task: Task) -> None:
        self.task = task

    def __call__(self, data: dict[str, Any]) -> dict[str, torch.Tensor]:
        case: Case = data["case"]
        image, spacing = _volume(case.ct)
        labels, _ = _volume(case.label)
        pixels = torch.from_numpy(image[data["index"]].astype(np.float32))
        classes = np.full(labels.shape[1:], BACKGROUND, np.float32)
        for value, representative in target_values(case, self.task).items():
            classes[labels[data["index"]] == value] = representative
        size = [max(1, round(count * mm / self.task.spacing)) for count, mm in zip(pixels.shape, spacing)]
        resized = F.interpolate(pixels[None, None], size, mode="bilinear", antialias=True)[0]
        nearest = F.interpolate(torch.from_numpy(classes)[None, None], size, mode="nearest-exact")[0]
        return {"image": resized, "label": nearest.to(torch.uint8)}


def _stored(task: Task) -> Compose:
    low, high = task.window
    return Compose(
        [
            ReadSliced(task),
            ScaleIntensityRanged("image", low, high, 0.0, 1.0, clip=True),
            CastToTyped("image", torch.float16),
        ]
    )


def _cache_key(task: Task) -> Any:
    """A hash function for a slice of a task, so that a changed file or task is read anew."""

    def key(data: dict[str, Any]) -> bytes:
        case: Case = data["case"]
        stamp = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in (case.ct, case.label)]
        identity = (stamp, data["index"], sorted(case.labels.items()), task.window, task.spacing, task.num_classes)
        return sha256(repr(identity).encode()).hexdigest().encode()

    return key


class SliceDataset(torch.utils.data.Dataset):
    """Slices with what is known of them, for one task.

    Items are asked for by (epoch, number): the random changes of a slice depend on the seed, the epoch and the slice
    alone, so that a resumed or distributed run sees exactly what an uninterrupted single one sees.

    Args:
        items: the slices.
        task: their task.
        cache: folder for slices that were read once.
        augment: whether to change the slices and cut them to the task's input size.
        seed: of the random changes.
    """

    def __init__(
        self, items: Sequence[SliceItem], task: Task, cache: Path, *, augment: bool = False, seed: int = 0
    ) -> None:
        self.items = list(items)
        self.seed = seed
        self.groups = {item.case.name: torch.tensor(case_groups(item.case, task)) for item in items}
        data = [{"case": item.case, "index": item.index} for item in items]
        self.stored = PersistentDataset(data, _stored(task), cache, hash_func=_cache_key(task))
        self.augmentation = augmentation(task.input_size) if augment else None

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, request: tuple[int, int]) -> tuple[torch.Tensor, Target]:
        """One slice (1, 1, H, W), its window scaled to 0..1, and its target."""
        epoch, number = request
        stored = self.stored[number]
        slice_ = {"image": stored["image"].float(), "label": stored["label"]}
        if self.augmentation is not None:
            state = np.random.SeedSequence([self.seed, epoch, number]).generate_state(1)[0]
            slice_ = self.augmentation.set_random_state(seed=int(state))(slice_)
        # Plain tensors: MONAI's carry metadata through every operation of a network, which takes time.
        image = convert_to_tensor(slice_["image"], dtype=torch.float32, track_meta=False)
        classes = convert_to_tensor(slice_["label"], dtype=torch.int64, track_meta=False)
        return image[None], Target(classes, self.groups[self.items[number].case.name][None])


def collate(samples: Sequence[tuple[torch.Tensor, Target]]) -> tuple[torch.Tensor, Target]:
    """A batch (N, 1, H, W) and its target, of slices of one size."""
    images = torch.cat([image for image, _ in samples])
    classes = torch.cat([target.classes for _, target in samples])
    groups = torch.cat([target.groups for _, target in samples])
    return images, Target(classes, groups)


@dataclass(frozen=True)
class EpochBatches:
    """The batches of one epoch for one of several processes, each slice exactly once over all of them.

    Attributes:
        count: number of slices.
        batch: slices in a batch of one process.
        seed: of the order.
        rank: this process.
        world: number of processes.
    """

    count: int
    batch: int
    seed: int
    rank: int = 0
    world: int = 1

    def epoch(self, epoch: int) -> Iterator[tuple[list[tuple[int, int]], float]]:
        """For each step the requests of this process, and its share of the slices of the step.

        The share is what the mean loss of the requests must be multiplied by, so that the mean over the processes is
        the mean over the slices. A process without a slice in the last step gets one with share 0: it must take part.
        """
        order = np.random.default_rng([self.seed, epoch]).permutation(self.count)
        for start in range(0, self.count, self.batch * self.world):
            step = order[start : start + self.batch * self.world]
            own = step[self.rank :: self.world]
            requests = own if len(own) else step[:1]
            yield [(epoch, int(number)) for number in requests], len(own) * self.world / len(step)

    @property
    def steps(self) -> int:
        """Steps in an epoch, the same for every process."""
        return -(-self.count // (self.batch * self.world))
