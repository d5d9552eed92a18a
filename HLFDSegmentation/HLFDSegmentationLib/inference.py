"""Segments a CT: from the CT to labels on its own grid, and what the layers looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
import torch

from .attention import AttentionCollector, LayerAttention, most_likely
from .axial_volume import AxialVolume
from .cautions.body_orientation import MirroredSearch, placement_cautions, side_cautions, width_doubts
from .cautions.doubts import (
    AROUND_REGION,
    absence_cautions,
    anatomy_doubts,
    class_voxels,
    contrast_cautions,
    cut_doubts,
    geometry_doubts,
    little_doubts,
    model_cautions,
    second_kidney_cautions,
    tilt_doubts,
)
from .cautions.hounsfield_offset import offset_cautions, window_cautions
from .cautions.slice_stack import SliceStack, spacing_cautions
from .devices import choose_device, unusable_cards
from .errors import InputError
from .model_package import ModelPackage
from .networks.network import SegmentationNetwork
from .phases import EXPLAINING, SEGMENTING
from .segmenting.batch_norm_folding import fold_batch_norms
from .segmenting.cleaning import clean
from .segmenting.neighboring_slices import NeighboringSlices
from .segmenting.network_runner import NetworkRunner
from .tasks import Task
from .volumes import AxialSlices

Progress = Callable[[str, float], None]
"""Called with the phase (`SEGMENTING`, `EXPLAINING`) and the share of it that is done, 0 to 1. What it raises stops the
segmentation."""


@dataclass(frozen=True)
class Segmentation:
    """What was segmented.

    Attributes:
        labels: uint8, on exactly the CT's grid.
        task: says what the label values mean.
        network_labels: the same labels at the nearest pixels of the network's canvas, uint8 (Z, H, W).
        cautions: sentences that a reader must not miss, why nothing of a kind here may be right.
        notes: sentences about what a user should know of how the result came about.
        attention: of each label found and each layer; empty unless it was asked for.
        device: where the network ran to the end, for example "cpu" or "cuda:0".
    """

    labels: sitk.Image
    task: Task
    network_labels: np.ndarray
    cautions: list[str]
    notes: list[str]
    attention: list[LayerAttention]
    device: str


class Segmenter:
    """Segments CTs with the network of a model package, which it loads once.

    Args:
        package: the model.
        device: see `choose_device`.

    Raises:
        InputError: this computer has no such device.
    """

    def __init__(self, package: ModelPackage, device: str = "auto") -> None:
        self.task: Task = package.task
        self._metrics = package.metrics
        self.device = choose_device(device)
        unusable = unusable_cards() if device == "auto" and self.device.type == "cpu" else None
        self._device_notes = [f"The CPU computed this: {unusable}"] if unusable else []
        self._network: SegmentationNetwork = package.load_network().eval()
        fold_batch_norms(self._network)

    def segment(
        self,
        ct: sitk.Image,
        *,
        region: tuple[slice, ...] | None = None,
        tumor_threshold: float | None = None,
        attention: bool = False,
        signed: bool = False,
        probabilities: Sequence[np.ndarray] = (),
        progress: Progress | None = None,
    ) -> Segmentation:
        """Segments a CT in HU, slab by slab.

        Probabilities are averaged over neighboring slices (`NeighboringSlices`) and brought to the CT's voxels, as
        logarithms, before they are compared, which gives smooth edges at the CT's resolution. The labels are then
        cleaned, see `cleaning.clean`.

        Args:
            ct: any orientation, spacing and field of view.
            region: the part [z, y, x] of the CT's own array that is labeled; without it, all. The network looks at
                whole slices all the same, which it has learned from. How the patient lies, how much of an organ was
                found and what was cleaned away is told of all that it found there.
            tumor_threshold: a voxel is tumor where the probabilities of the tumor labels sum up to at least this
                value; without it, where a tumor label is the most likely one.
            attention: also make the attention maps of every layer for every label found.
            signed: make them signed.
            probabilities: arrays that are filled slab by slab, one for each label in the task's order: float32, in
                the shape of the CT's own array. Give memory-mapped ones for a large CT. They hold what is compared,
                before anything is cleaned away; outside of what the network saw they are 0.
            progress: see `Progress`.

        Raises:
            InputError: the threshold is not between 0 and 1, or the field of view is larger than any CT's.
            HLFDError: the network gives no numbers.
            MemoryShortError: the memory does not suffice for a single slice.
        """
        check_threshold(tumor_threshold)
        slices = AxialSlices(ct, self.task)
        runner = NetworkRunner(self._network, self.device)
        search = MirroredSearch(slices, self.task)
        segmenting, searching = _shared(_phase(SEGMENTING, progress), slices.count, search.passes)
        seen = slices.to_own(self._classified(runner, slices, tumor_threshold, probabilities, segmenting))
        seen[slices.own.blank] = 0  # they show nothing
        cleaned = self._cleaned(seen, slices.own)
        own_labels = slices.own.within(seen, region) if region else seen
        found = slices.own.image_of(own_labels)
        network_labels = slices.to_canvas(slices.labels_of(found))
        stack = SliceStack(slices.own)
        position = self._position_cautions(runner, slices, search, searching)
        cautions = position or self._shape_cautions(slices, seen)
        cautions += offset_cautions(sitk.GetArrayViewFromImage(ct)) + stack.cautions()
        cautions += window_cautions(sitk.GetArrayViewFromImage(ct), self.task.window)
        cautions += absence_cautions(class_voxels(seen, self.task), self.task, of_region=region is not None)
        around = f"{AROUND_REGION.capitalize()}: " if region else ""
        if not position:  # Front and back need not be where the CT says.
            cautions += [around + caution for caution in second_kidney_cautions(seen, self.task, slices.own)]
        cautions += contrast_cautions(slices.own.voxels, seen, self.task, slices.own.voxel_ml)
        cautions += model_cautions(class_voxels(own_labels, self.task), self.task, self._metrics)
        notes = _ct_doubts(ct, slices) + stack.doubts() + cut_doubts(own_labels, slices.own, self.task)
        notes += [around + note for note in self._volume_doubts(seen, slices.own) + cleaned]
        notes += _threshold_notes(tumor_threshold)
        maps = self._explain(runner, slices, network_labels, signed, progress) if attention else []
        notes += self._device_notes + runner.notes
        return Segmentation(found, self.task, network_labels, cautions, notes, maps, str(runner.device))

    def _classified(
        self,
        runner: NetworkRunner,
        slices: AxialSlices,
        tumor_threshold: float | None,
        probabilities: Sequence[np.ndarray],
        done: Callable[[float], None],
    ) -> np.ndarray:
        """Labels uint8 (Z, Y, X) of the slices, as the network gives them; fills the probabilities."""
        labels = np.zeros(slices.grid_shape, dtype=np.uint8)
        to_fill = slices.volumes_to_fill(probabilities)
        neighboring = NeighboringSlices(slices.blank, slices.spacing[2])

        def classify_slab(start: int, stop: int) -> Iterator[float]:
            for number, averaged in neighboring.averaged(start, runner.logits(slices.images(start, stop))):
                logits = slices.to_grid(averaged)
                labels[number] = classify(logits, self.task, tumor_threshold)[0].to(torch.uint8).cpu().numpy()
                if to_fill:
                    for target, values in zip(to_fill, logits[0].softmax(dim=0)[1:], strict=True):
                        target[number] = values.cpu().numpy()
            yield 1.0

        runner.run(range(slices.count), classify_slab, done)
        slices.filled_to_ct(to_fill, probabilities)
        return labels

    def explain(
        self, ct: sitk.Image, labels: sitk.Image, *, signed: bool = False, progress: Progress | None = None
    ) -> Segmentation:
        """What the layers look at for labels that are given and not found here, such as corrected ones.

        Args:
            ct: any orientation, spacing and field of view.
            labels: uint8 on exactly the CT's grid, with the task's values.
            signed: make signed maps.
            progress: see `Progress`.

        Raises:
            InputError: the field of view is larger than any CT's.
            HLFDError: the network gives no numbers.
            MemoryShortError: the memory does not suffice for a single slice.
        """
        slices = AxialSlices(ct, self.task)
        runner = NetworkRunner(self._network, self.device)
        own_labels = slices.own.order.view(sitk.GetArrayViewFromImage(labels))
        network_labels = slices.to_canvas(slices.labels_of(labels))
        maps = self._explain(runner, slices, network_labels, signed, progress)
        stack = SliceStack(slices.own)
        cautions = side_cautions(slices) or self._shape_cautions(slices, own_labels, given=True)
        cautions += offset_cautions(sitk.GetArrayViewFromImage(ct)) + stack.cautions()
        cautions += window_cautions(sitk.GetArrayViewFromImage(ct), self.task.window)
        notes = _ct_doubts(ct, slices) + stack.doubts() + cut_doubts(own_labels, slices.own, self.task)
        notes += self._device_notes + runner.notes
        return Segmentation(labels, self.task, network_labels, cautions, notes, maps, str(runner.device))

    def _position_cautions(
        self, runner: NetworkRunner, slices: AxialSlices, search: MirroredSearch, searching: Callable[[float], None]
    ) -> list[str]:
        """About how the patient lies, by the CT alone."""
        if on_side := side_cautions(slices):
            searching(1.0)
            return on_side
        runner.run(search.slices, lambda start, stop: search.steps(start, stop, runner.logits), searching)
        return search.cautions()

    def _shape_cautions(self, slices: AxialSlices, own_labels: np.ndarray, *, given: bool = False) -> list[str]:
        """About where organs lie and how high they are. Where the patient lies otherwise, they need not be organs."""
        network_labels = slices.to_canvas(slices.labels_of(slices.own.image_of(own_labels)))
        return placement_cautions(network_labels, slices, self.task, given=given) or spacing_cautions(
            own_labels[slices.own.not_blank], slices.own.spacing, self.task
        )

    def _cleaned(self, labels: np.ndarray, ct: AxialVolume) -> list[str]:
        """Cleans labels in the CT's own slices; what is told of that.

        Blank slices are left out: the CT ends where they begin, and one between others parts no organ.
        """
        shown = ct.not_blank
        numbers = np.arange(ct.count)[shown]
        cleaned = labels[shown]

        def place(index: np.ndarray) -> str:
            return ct.place(np.array([np.interp(index[0], np.arange(len(numbers)), numbers), *index[1:]]))

        notes = clean(cleaned, self.task, ct.spacing, place)
        labels[shown] = cleaned
        return notes

    def _volume_doubts(self, labels: np.ndarray, ct: AxialVolume) -> list[str]:
        """How much of an organ or tumor makes labels doubtful, once they are cleaned."""
        voxels = class_voxels(labels, self.task)
        return little_doubts(voxels, self.task, ct.voxel_ml) + anatomy_doubts(voxels, self.task, ct.voxel_ml)

    def _explain(
        self,
        runner: NetworkRunner,
        slices: AxialSlices,
        network_labels: np.ndarray,
        signed: bool,
        progress: Progress | None,
    ) -> list[LayerAttention]:
        """The attention for what the segmentation shows, from the slices that hold a label."""
        collector = AttentionCollector(self._network, self.task, slices.count, slices.shown, signed=signed)

        def explain_slab(start: int, stop: int) -> Iterator[float]:
            # Within the generator: memory may run out while the slices are brought to the device, too.
            images = runner.to_device(slices.images(start, stop))
            yield from collector.steps(start, images, network_labels[start:stop], slices.body(start, stop))

        runner.run(np.flatnonzero(network_labels.any(axis=(1, 2))), explain_slab, _phase(EXPLAINING, progress))
        return collector.result()


def check_threshold(tumor_threshold: float | None) -> None:
    """Raises InputError for a threshold that is not between 0 and 1."""
    if tumor_threshold is not None and not 0 < tumor_threshold < 1:
        raise InputError(f"The tumor threshold must lie between 0 and 1; it is {tumor_threshold:g}.")


def _threshold_notes(tumor_threshold: float | None) -> list[str]:
    if tumor_threshold is None:
        return []
    return [
        f"As was asked for, a voxel was called tumor from a probability of {tumor_threshold:g} on, in place of "
        "the most likely label, also outside of an organ. The model's figures are not of that."
    ]


def classify(logits: torch.Tensor, task: Task, tumor_threshold: float | None) -> torch.Tensor:
    """Classes (N, H, W) of logits (N, num_classes, H, W); see `Segmenter.segment` for the threshold."""
    if tumor_threshold is None or not task.tumors:
        return most_likely(logits)
    tumors = torch.tensor([label.value for label in task.tumors], device=logits.device)
    tumor_logits = logits[:, tumors]
    is_tumor = logits.softmax(dim=1)[:, tumors].sum(dim=1) >= tumor_threshold
    no_tumor = logits.index_fill(1, tumors, -torch.inf)
    return torch.where(is_tumor, tumors[most_likely(tumor_logits)], most_likely(no_tumor))


def _ct_doubts(ct: sitk.Image, slices: AxialSlices) -> list[str]:
    """What makes a CT less fit for the network, whatever it shows."""
    return (
        geometry_doubts(slices.own.shape, slices.own.spacing, _single_slice_mm(ct))
        + width_doubts(slices)
        + tilt_doubts(slices.slice_tilt, cut_straight=slices.cut_straight)
    )


def _single_slice_mm(ct: sitk.Image) -> float | None:
    """How thick a CT is that is a single slice, axial or not; none where there are more."""
    return next((mm for count, mm in zip(ct.GetSize(), ct.GetSpacing()) if count == 1), None)


def _shared(
    tell: Callable[[float], None], first: int, second: int
) -> tuple[Callable[[float], None], Callable[[float], None]]:
    """What tells the shares of two parts of a phase, so long as their numbers of slices."""
    whole = first + second
    return lambda share: tell(share * first / whole), lambda share: tell((first + share * second) / whole)


def _phase(name: str, progress: Progress | None) -> Callable[[float], None]:
    return (lambda fraction: progress(name, fraction)) if progress else (lambda fraction: None)
