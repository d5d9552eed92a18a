"""The axial slices of annotated cases: which ones an epoch has, read once and kept on disk."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from HLFDSegmentationLib.ct_files import read_ct
from HLFDSegmentationLib.devices import is_out_of_memory
from HLFDSegmentationLib.errors import CasesError
from HLFDSegmentationLib.image_files.label_files import read_label
from HLFDSegmentationLib.output.safe_files import replacing, write_json
from HLFDSegmentationLib.tasks import Task
from HLFDSegmentationLib.volumes import AxialSlices

from ..annotations.ct_fingerprints import files_in
from ..cases import Case, classes_of
from ..runs.process_files import read_object
from ..runs.weights_files import writing

EMPTY_SLICES = 0.25
"""Share of the slices without any label that training sees, as a fraction of those with one."""


@dataclass(frozen=True)
class SliceItem:
    """One axial slice of a case: its index counts from the most inferior slice."""

    case: Case
    index: int
    labelled: bool


def list_slices(cases: Sequence[Case], task: Task, folder: Path | None = None) -> list[SliceItem]:
    """Every axial slice of the cases, in order. Only the annotations are read.

    Args:
        cases: the cases.
        task: their task.
        folder: keeps what was found, so that an annotation which has not changed is not read again.

    Raises:
        OutputError: the folder cannot be written.
    """
    found = {case.name: _kept_labelled(case, task, folder) if folder else _labelled(case, task) for case in cases}
    return [SliceItem(case, index, labelled) for case in cases for index, labelled in enumerate(found[case.name])]


def _kept_labelled(case: Case, task: Task, folder: Path) -> list[bool]:
    """`_labelled`, from a file in the folder where it is there."""
    path = folder / f"{_digest((_stamp(case.label), sorted(case.labels.items())))[:32]}.json"
    kept = read_object(path)
    if kept is None:
        kept = {"labelled": _labelled(case, task)}
        write_json(path, kept)
    return kept["labelled"]


def _labelled(case: Case, task: Task) -> list[bool]:
    """Of each axial slice of a case, the most inferior first, whether a label is in it."""
    image = read_label(case.label)
    # The annotation lies on the CT's grid, so its own slices are the CT's.
    annotation = AxialSlices(image, task).labels_of(image)
    annotated = np.isin(annotation, [value for value, names in case.labels.items() if names])
    return np.any(annotated, axis=(1, 2)).tolist()


def chosen_slices(items: Sequence[SliceItem], seed: int) -> list[SliceItem]:
    """Of all slices, each `case.repeat` times, those of an epoch: all with a label and a seeded share of the others."""
    repeated = [item for item in items for _ in range(item.case.repeat)]
    labelled = [item for item in repeated if item.labelled]
    empty = [item for item in repeated if not item.labelled]
    count = min(len(empty), round(EMPTY_SLICES * len(labelled)))
    chosen: Iterable[int] = np.random.default_rng(seed).choice(len(empty), count, replace=False) if count else []
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
        index = item.index
        # Slices are asked for case by case at first, so each case is read once and not once for each of its slices.
        if self._last is None or not self.has(item.case):
            self.forget()  # Two whole CTs at once need twice the memory.
            self._last = _AxialCase(item.case, self.task)
        return {
            "image": torch.from_numpy(self._last.slices.images(index, index + 1)[0]).half(),
            "label": torch.from_numpy(self._last.slices.to_canvas(self._last.classes[index : index + 1])),
        }

    def has(self, case: Case) -> bool:
        """Whether this is the case that is in memory."""
        return self._last is not None and self._last.case == case

    def forget(self) -> None:
        """Gives the memory of the case back that was read last."""
        self._last = None


class _AxialCase:
    """A case's CT and classes in axial order."""

    def __init__(self, case: Case, task: Task) -> None:
        self.case = case
        self.slices = AxialSlices(read_ct(case.ct), task)
        self.classes = classes_of(self.slices.labels_of(read_label(case.label)), case, task)


class StoredSlices:
    """Slices as `SliceReader` gives them, read once: after that they come from files in a folder.

    They are those of the cases as they are now: an annotation that is changed later is not learned from, for epochs
    before and after could not be compared.

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
        cases = {item.case.name: item.case for item in items}.values()
        self.stamps = {case.name: _stamp(case.ct, case.label) for case in cases}
        self._digests = {name: _digest(stamp) for name, stamp in self.stamps.items()}

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        """One slice.

        Raises:
            CasesError: it has to be read, and its case is not as it was.
            OutputError: the folder cannot be written.
        """
        item = self.items[number]
        path = self._path(item)
        return _kept(path) or self._keep(item, path)

    def fill(self, number: int) -> None:
        """Reads a slice that is not in the folder yet. Raises as `__getitem__`."""
        item = self.items[number]
        path = self._path(item)
        if not path.is_file():
            self._keep(item, path)

    def by_case(self) -> list[list[int]]:
        """The numbers of each case's slices, in the order of the cases."""
        numbers: dict[str, list[int]] = {}
        for number, item in enumerate(self.items):
            numbers.setdefault(item.case.name, []).append(number)
        return list(numbers.values())

    def _keep(self, item: SliceItem, path: Path) -> dict[str, torch.Tensor]:
        if not self.read.has(item.case):
            self._check_unchanged(item.case)
        slice_ = self.read(item)
        with replacing(path) as part, writing(path):
            torch.save({**slice_, "check": _check(slice_)}, part)
        return slice_

    def _path(self, item: SliceItem) -> Path:
        """Of a slice as it was at first, so that a file or task that was changed before is read anew."""
        case, task = item.case, self.task
        labels = sorted(case.labels.items())
        identity = (self._digests[case.name], item.index, labels, task.window, task.spacing, task.num_classes)
        # Short, as Windows cuts off long paths.
        return self.folder / f"{_digest(identity)[:32]}.pt"

    def _check_unchanged(self, case: Case) -> None:
        if _stamp(case.ct, case.label) != self.stamps[case.name]:
            raise CasesError(
                f"Case {case.name}: its CT or its label was changed while it was learned from, so that what is learned "
                "from now on could not be compared with what was before. Restore the files and continue (in a terminal "
                "with --resume), or begin a new run."
            )


def _kept(path: Path) -> dict[str, torch.Tensor] | None:
    """The slice in a file, unless it is not there, or damaged by a disk or a power failure."""
    try:
        kept = torch.load(path, weights_only=True)
        slice_ = {name: kept[name] for name in ("image", "label")}
        whole = kept["check"] == _check(slice_)
    except Exception as error:  # torch raises many kinds for damaged files
        if is_out_of_memory(error):
            raise
        return None
    return slice_ if whole else None


def _check(slice_: dict[str, torch.Tensor]) -> int:
    """CRC-32 of the voxels: torch does not see where those of a file were changed."""
    return crc32(slice_["label"].contiguous().numpy().data, crc32(slice_["image"].contiguous().numpy().data))


def _digest(value: object) -> str:
    return sha256(repr(value).encode()).hexdigest()


def _stamp(*paths: Path) -> list[tuple[str, int, int]]:
    """What changes with files, and with those in folders."""
    files = [file for path in paths for file in (sorted(files_in(path)) if path.is_dir() else [path])]
    states = [(str(file), file.stat()) for file in files]
    return [(file, state.st_size, state.st_mtime_ns) for file, state in states]
