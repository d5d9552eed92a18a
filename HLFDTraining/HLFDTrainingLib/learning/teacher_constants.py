"""The teacher's part of the loss for slices in their orientations, computed once and kept for all runs of a comparison.

On the teacher's side nothing learns while distilling, so what it says of a slice in one of the eight orientations is
the same in every epoch, and for every method, student and seed that asks the same of it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from zlib import crc32

import torch
from HLFDSegmentationLib.errors import OutputError
from torch import nn

from ..distillers import Distiller
from ..distillers.constants import Constant, Size
from ..partial_labels import Target
from .constant_store import KEPT_FREE, ConstantStore
from .orientations import ORIENTATIONS
from .slices import SliceDataset
from .stored_slices import SliceItem

logger = logging.getLogger(__name__)


class TeacherConstants:
    """What a distiller's loss needs of its teacher for slices of an epoch, from the store where it is there.

    The teacher sees one slice at a time, so that what is computed does not depend on the other slices of a batch or on
    what is in the store: a run with a store ends bitwise as one without, on the same kind of processor, and so does one
    whose store takes no more.

    Args:
        distiller: with its networks on their device.
        slices: what it learns from, with the augmentation "orientations".
        store: with a row for each of `listed` in each orientation; without it every constant is computed.
        listed: all slices of the cases that are learned from, in an order that does not depend on the seed.
    """

    def __init__(
        self,
        distiller: Distiller,
        slices: SliceDataset,
        store: ConstantStore | None = None,
        listed: Sequence[SliceItem] = (),
    ) -> None:
        self.distiller = distiller
        self.slices = slices
        self.store = store
        self._keeping = store is not None
        self._places = {(item.case.name, item.index): place for place, item in enumerate(listed)}
        self._needed: dict[Size, tuple[Constant, ...]] = {}
        self._names: dict[Constant, str] = {}

    def __call__(
        self, images: torch.Tensor, target: Target, requests: Sequence[tuple[int, int]]
    ) -> dict[Constant, torch.Tensor]:
        """The constants of a batch (N, 1, H, W) of slices that were asked for by these requests."""
        size = (images.shape[2], images.shape[3])
        if size not in self._needed:
            self._needed[size] = self.distiller.constants_for_images(size)
        samples = [
            self._of_slice(images[n : n + 1], Target(target.classes[n : n + 1], target.groups[n : n + 1]), request)
            for n, request in enumerate(requests)
        ]
        return {constant: torch.cat([sample[constant] for sample in samples]) for constant in self._needed[size]}

    def _of_slice(self, image: torch.Tensor, target: Target, request: tuple[int, int]) -> dict[Constant, torch.Tensor]:
        device = next(self.distiller.student.parameters()).device
        wanted = self._needed[(image.shape[2], image.shape[3])]
        row, source = (self._row(request), _source(image, target)) if self.store else (0, 0)
        found = {constant: value for constant in wanted if (value := self._read(constant, row, source)) is not None}
        missing = [constant for constant in wanted if constant not in found]
        if missing:
            computed = self.distiller.teacher_constants(image.to(device), target.to(device), missing)
            for constant, value in computed.items():
                self._write(constant, row, source, value)
                found[constant] = value
        # Strides decide in what order sums are taken, so they must not tell where a value comes from.
        return {constant: found[constant].to(device).contiguous() for constant in wanted}

    def _row(self, request: tuple[int, int]) -> int:
        item = self.slices.items[request[1]]
        return self._places[item.case.name, item.index] * ORIENTATIONS + self.slices.orientation(request)

    def _read(self, constant: Constant, row: int, source: int) -> torch.Tensor | None:
        if self.store is None or not constant.small:
            return None
        value = self.store.read(self._name(constant), row, source)
        return None if value is None else value[None]

    def _write(self, constant: Constant, row: int, source: int, value: torch.Tensor) -> None:
        if self.store is None or not self._keeping or not constant.small:
            return
        try:
            self.store.write(self._name(constant), row, source, value[0])
        except OutputError:
            self._keeping = False
            logger.warning(
                "%s is not filled any more: it cannot be written, or less than %g GB of its disk are free, which are "
                "left to the checkpoints. What the teacher says of further slices is computed anew each time: training "
                "goes on and takes longer. Free some space.",
                self.store.folder,
                KEPT_FREE / 1e9,
            )

    def _name(self, constant: Constant) -> str:
        """The constant's file. The unified head is not part of the store's folder, because few methods have one."""
        if constant not in self._names:
            name = constant.name
            if constant.kind == "prediction" and len(constant.layers) > 1:
                assert self.distiller.unified_head is not None  # Who makes such a constant needs one.
                name += f"_by_{weights_fingerprint(self.distiller.unified_head)}"
            self._names[constant] = name
        return self._names[constant]


def open_store(
    folder: Path,
    teacher: nn.Module,
    listed: Sequence[SliceItem],
    size: Size,
    device: torch.device,
    precision: torch.dtype | None,
) -> ConstantStore:
    """The store for this teacher, these slices and this way of computing, in a folder of its own below `folder`."""
    depends_on = [
        [[item.case.name, item.index] for item in listed],
        size,
        device.type,
        str(precision),
        torch.__version__,
    ]
    key = sha256(json.dumps(depends_on).encode()).hexdigest()[:16]
    return ConstantStore(Path(folder) / f"{weights_fingerprint(teacher)}-{key}", len(listed) * ORIENTATIONS)


def weights_fingerprint(module: nn.Module) -> str:
    """Sixteen hexadecimal digits that tell a module's weights from all others."""
    digest = sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _source(image: torch.Tensor, target: Target) -> int:
    """CRC-32 of what the constants of a slice are computed from."""
    return crc32(target.classes.contiguous().numpy().data, crc32(image.contiguous().numpy().data))
