"""Annotated cases as axial slices: read once, kept on disk, changed anew in every epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch
from HLFDSegmentationLib.ct_files import read_ct
from HLFDSegmentationLib.label_files import read_label
from HLFDSegmentationLib.safe_files import replacing
from HLFDSegmentationLib.tasks import Task
from HLFDSegmentationLib.volumes import AxialSlices
from monai.utils import convert_to_tensor

from .augmentation import anatomical_changes
from .cases import Case, case_groups, target_values
from .orientations import ORIENTATIONS, cut_to, oriented
from .partial_labels import Target
from .plan import Augmentation
from .run_folder import writing

EMPTY_SLICES = 0.25
"""Share of the slices without any label that training sees, as a fraction of those with one."""


@dataclass(frozen=True)
class SliceItem:
    """One axial slice of a case: its index counts from the most inferior slice."""

    case: Case
    index: int
    labelled: bool


def list_slices(cases: Sequence[Case], task: Task) -> list[SliceItem]:
    """Every axial slice of the cases, in order. Only the annotations are read."""
    items = []
    for case in cases:
        image = read_label(case.label)
        # The annotation lies on the CT's grid, so its own slices are the CT's.
        annotation = AxialSlices(image, task).labels_of(image)
        labelled = np.isin(annotation, [value for value, names in case.labels.items() if names]).any(axis=(1, 2))
        items += [SliceItem(case, index, bool(any_label)) for index, any_label in enumerate(labelled)]
    return items


def training_slices(cases: Sequence[Case], task: Task, seed: int) -> list[SliceItem]:
    """The slices of an epoch: see `chosen_slices`."""
    return chosen_slices(list_slices(cases, task), seed)


def chosen_slices(items: Sequence[SliceItem], seed: int) -> list[SliceItem]:
    """Of all slices, each `case.repeat` times, those of an epoch: all with a label and a seeded share of the others."""
    repeated = [item for item in items for _ in range(item.case.repeat)]
    labelled = [item for item in repeated if item.labelled]
    empty = [item for item in repeated if not item.labelled]
    count = min(len(empty), round(EMPTY_SLICES * len(labelled)))
    chosen = np.random.default_rng(seed).choice(len(empty), count, replace=False) if count else []
    return labelled + [empty[number] for number in sorted(chosen)]


class SliceReader:
    """Reads one slice of a case as segmenting would: `image` float16 and `label` uint8, both (1, H, W).

    The image has the task's spacing, its window scaled to 0..1; the label holds the representatives of the task's
    classes.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self._last: _AxialCase | None = None

    def __call__(self, item: SliceItem) -> dict[str, torch.Tensor]:
        """The slice."""
        case, index = item.case, item.index
        # Slices are asked for in order at first, so each case is read once and not once for each of its slices.
        if self._last is None or self._last.case != case:
            self._last = _AxialCase(case, self.task)
        return {
            "image": torch.from_numpy(self._last.slices.images(index, index + 1)[0]).half(),
            "label": torch.from_numpy(self._last.slices.to_canvas(self._last.classes[index : index + 1])),
        }


class _AxialCase:
    """A case's CT and classes in axial order."""

    def __init__(self, case: Case, task: Task) -> None:
        self.case = case
        self.slices = AxialSlices(read_ct(case.ct), task)
        annotation = self.slices.labels_of(read_label(case.label))
        self.classes = np.zeros(annotation.shape, np.uint8)
        for value, representative in target_values(case, task).items():
            self.classes[annotation == value] = representative


class StoredSlices:
    """Slices as `SliceReader` gives them, read once: after that they come from files in a folder.

    MONAI's PersistentDataset does the same, but writes to the system's temporary folder and moves the file. Where that
    is another disk, a file can be seen, or left behind, half written, and then it is never read again.

    Args:
        items: the slices.
        task: their task.
        folder: where they are kept; several processes may share it.
    """

    def __init__(self, items: Sequence[SliceItem], task: Task, folder: Path) -> None:
        self.items = items
        self.task = task
        self.folder = folder
        self.read = SliceReader(task)

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        """One slice.

        Raises:
            OutputError: the folder cannot be written.
        """
        path = self.folder / f"{self._key(self.items[number])}.pt"
        try:
            return torch.load(path, weights_only=True)
        # Not there, or damaged by a disk or a power failure.
        except (OSError, EOFError, RuntimeError, UnpicklingError):
            slice_ = self.read(self.items[number])
        with replacing(path) as part, writing(path):
            torch.save(slice_, part)
        return slice_

    def _key(self, item: SliceItem) -> str:
        """Of a slice as it is now, so that a changed file or task is read anew."""
        case, task = item.case, self.task
        files = [
            file for path in (case.ct, case.label) for file in (sorted(path.iterdir()) if path.is_dir() else [path])
        ]
        stamp = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
        identity = (stamp, item.index, sorted(case.labels.items()), task.window, task.spacing, task.num_classes)
        return sha256(repr(identity).encode()).hexdigest()


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
        if self.augmentation is None:
            return slice_
        if self.augmentation == "orientations":
            orientation = self.orientation(request)
            return {name: oriented(cut_to(values, self.size), orientation) for name, values in slice_.items()}
        state = np.random.SeedSequence([self.seed, *request]).generate_state(1)[0]
        return self.anatomical.set_random_state(seed=int(state))(slice_)


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
