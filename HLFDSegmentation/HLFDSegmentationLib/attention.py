"""What each layer of a network looks at: GradCAM of all named layers in one pass, and its focus.

GradCAM is Selvaraju et al. 2017 (arXiv 1610.02391), equations 1 and 2, with a segmentation's score: the sum of the
label's logit over the pixels that the network assigns to the label, or over all pixels (Seg-Grad-CAM, Vinogradova et
al. 2020, arXiv 2002.11434). A layer's map keeps the layer's own grid.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from .errors import HLFDError
from .layers import LAYERS, LayerTap, evaluating
from .networks.network import SegmentationNetwork
from .segmenting.network_runner import NO_NUMBERS
from .tasks import Label, Task

Target = Literal["mask", "all"]


class GradCAM:
    """One forward pass of a batch of slices, from which the maps of any number of labels follow.

    A label costs one backward pass, whatever the number of layers: parameters are frozen, and nothing before the
    first layer is differentiated. The network runs in evaluation mode, so that a slice's maps depend on that slice
    alone, and gets its parameters' and modules' state back. Works under `no_grad` and `inference_mode` too.

    Args:
        network: names its layers.
        images: slices (N, 1, H, W), their window scaled to 0..1.
        layers: which layers.

    Attributes:
        logits: (N, num_classes, H, W), outside of the graph.

    Raises:
        NetworkError: the network does not name one of the layers.
    """

    def __init__(self, network: SegmentationNetwork, images: torch.Tensor, layers: Iterable[str] = LAYERS) -> None:
        with torch.inference_mode(False), torch.enable_grad(), _frozen(network), LayerTap(network, layers) as tap:
            # The graph needs one input that asks for gradients. They are never carried back to it.
            self._logits = network(images.detach().clone().requires_grad_())
            self._outputs = dict(tap.outputs)
        self.logits = self._logits.detach()

    def maps(self, label: int, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Raw, signed maps (N, h, w) of each layer, for the sum of the label's logit over `pixels` (N, H, W) bool.

        A slice with none of the pixels gets a map of zeros.
        """
        with torch.inference_mode(False):
            gradient_of_score = torch.zeros_like(self.logits)
            gradient_of_score[:, label] = pixels.to(gradient_of_score)
            gradients = torch.autograd.grad(
                self._logits, list(self._outputs.values()), gradient_of_score, retain_graph=True
            )
            return {
                layer: torch.einsum("nc,nchw->nhw", gradient.mean(dim=(2, 3)), output.detach())
                for (layer, output), gradient in zip(self._outputs.items(), gradients)
            }


def gradcam(
    network: SegmentationNetwork,
    images: torch.Tensor,
    label: int,
    *,
    layers: Iterable[str] = LAYERS,
    target: Target = "mask",
) -> dict[str, torch.Tensor]:
    """Raw, signed GradCAM (N, h, w) of a label for each layer, in one forward and one backward pass.

    Args:
        network: names its layers.
        images: slices (N, 1, H, W), their window scaled to 0..1.
        label: value of the label.
        layers: which layers.
        target: sum the label's logit over the pixels that the network assigns to the label ("mask"), or over all
            pixels ("all"). A slice without the label gets a map of zeros, with both.

    Raises:
        NetworkError: the network does not name one of the layers.
    """
    forward = GradCAM(network, images, layers)
    return forward.maps(label, scored_pixels(most_likely(forward.logits), label, target))


def most_likely(logits: torch.Tensor) -> torch.Tensor:
    """The most likely class (N, H, W) of each pixel of logits (N, num_classes, H, W); the first of equal ones."""
    # On a CPU, `argmax` over the channels of logits takes up to ten times as long as this.
    return logits.max(dim=1).indices


def scored_pixels(classes: torch.Tensor, label: int, target: Target) -> torch.Tensor:
    """The pixels (N, H, W) bool whose logits make the label's score; none in a slice without the label."""
    mask = classes == label
    return mask if target == "mask" else mask.any(dim=(1, 2), keepdim=True).expand_as(mask)


@dataclass(frozen=True)
class Focus:
    """How much of a layer's positive attention lies where the label is, over the slices that hold label and body.

    Attributes:
        segment: share of the attention inside the segment, 0 to 1.
        organ: share of the attention inside the organ with its tumors.
        segment_share_of_body: what `segment` would be if the attention of each slice were spread evenly over the
            patient's body in that slice.
        organ_share_of_body: the same for `organ`.
    """

    segment: float
    organ: float
    segment_share_of_body: float
    organ_share_of_body: float

    @property
    def segment_ratio(self) -> float:
        """How many times more attention the segment gets than if it were spread evenly over the body of each slice."""
        return self.segment / self.segment_share_of_body

    @property
    def organ_ratio(self) -> float:
        """How many times more attention the organ gets than if it were spread evenly over the body of each slice."""
        return self.organ / self.organ_share_of_body


@dataclass(frozen=True)
class LayerAttention:
    """The attention of one layer for one label, over a whole CT.

    Attributes:
        label: name of the label.
        layer: name of the layer.
        maps: float32 (Z, h, w), the layer's own grid for each axial slice; divided by the largest absolute value in
            the volume, so that slices share a scale. Positive maps have no negative values; signed maps have them.
        signed: which of the two.
        slices_with_label: bool (Z,). In the other slices the map is zero, as there is nothing to attend to.
        focus: of the positive attention, in signed maps too; none where the layer has no positive attention, or
            where the label lies wholly outside the body.
        empty: the layer has no positive attention anywhere. Its signed map may still show something.
    """

    label: str
    layer: str
    maps: np.ndarray
    signed: bool
    slices_with_label: np.ndarray
    focus: Focus | None
    empty: bool


class AttentionCollector:
    """Attention of all layers for all labels that a segmentation of a CT shows, fed slab by slab.

    A label's score is the sum of its logit over its pixels in the segmentation.

    >>> collector = AttentionCollector(network, task, slices.count, slices.shown)
    >>> for start in range(0, slices.count, 8):
    ...     images = torch.from_numpy(slices.images(start, start + 8)).to(device)
    ...     collector.add(start, images, classes[start : start + 8], slices.body(start, start + 8))
    >>> attention = collector.result()

    Args:
        network: names its layers.
        task: says which labels there are, and which organ a tumor belongs to.
        count: number of axial slices of the CT.
        shown: rows and columns of the canvas that show the CT. Attention beside them counts nothing.
        signed: keep signed maps instead of positive ones.
    """

    def __init__(
        self,
        network: SegmentationNetwork,
        task: Task,
        count: int,
        shown: tuple[int, int],
        *,
        signed: bool = False,
    ) -> None:
        self.network = network
        self.task = task
        self.count = count
        self.shown = shown
        self.layers = tuple(network.layers)
        self.signed = signed
        self._found: dict[Label, _Collected] = {}

    def add(self, start: int, images: torch.Tensor, classes: np.ndarray, body: np.ndarray) -> None:
        """Takes the next slices.

        Slices for which memory ran out can be given again in smaller slabs: they do not count twice.

        Args:
            start: index of the first of them in the CT.
            images: slices (n, 1, H, W) on the network's device.
            classes: what the segmentation shows (n, H, W).
            body: the patient's body, bool (n, H, W).

        Raises:
            HLFDError: the network gives no numbers.
        """
        for _ in self.steps(start, images, classes, body):
            pass

    def steps(self, start: int, images: torch.Tensor, classes: np.ndarray, body: np.ndarray) -> Iterator[float]:
        """Does what `add` does, and pauses after the forward pass and after each label.

        Yields the share of the work that is done, 0 to 1.
        """
        forward = GradCAM(self.network, images, self.layers)
        if not torch.isfinite(forward.logits).all():
            raise HLFDError(NO_NUMBERS)
        shown = torch.as_tensor(classes)
        labels = [label for label in self.task.labels if (shown == label.value).any()]
        found = {}
        for done, label in enumerate(labels, start=1):
            yield done / (len(labels) + 1)
            maps = forward.maps(label.value, (shown == label.value).to(images.device))
            found[label] = {layer: layer_maps.cpu() for layer, layer_maps in maps.items()}
        for label, maps in found.items():
            self._collect(label, start, maps, shown, torch.as_tensor(body))
        yield 1.0

    def _collect(
        self, label: Label, start: int, maps: dict[str, torch.Tensor], classes: torch.Tensor, body: torch.Tensor
    ) -> None:
        if label not in self._found:
            # Pages of zeros that are never written cost no memory: only slices with the label do.
            volumes = {layer: np.zeros((self.count, *m.shape[1:]), np.float32) for layer, m in maps.items()}
            self._found[label] = _Collected(self.count, volumes)
        collected = self._found[label]
        present = (classes == label.value).any(dim=(1, 2))
        slices = start + np.flatnonzero(present.numpy())
        organ_values = self.task.values_with_tumors(self.task.organ_of(label))
        classes, body = classes[present], body[present]
        rows, columns = self.shown
        whole = torch.zeros_like(body)
        whole[:, :rows, :columns] = True
        # The whole slice, the segment, and the organ with its tumors.
        regions = torch.stack([whole, classes == label.value, torch.isin(classes, torch.tensor(organ_values))])
        collected.slices_with_label[slices] = True
        collected.area[slices] = (regions & body).sum(dim=(2, 3)).T.numpy()
        for layer, layer_maps in maps.items():
            shares = area_average(regions, layer_maps.shape[-2:], self.network.stride)
            values = layer_maps[present].float() * (shares[0] > 0)
            positive = values.clamp(min=0)
            collected.volumes[layer][slices] = values if self.signed else positive
            collected.attention[layer][slices] = (positive * shares).double().sum(dim=(2, 3)).T.numpy()

    def result(self) -> list[LayerAttention]:
        """For each label that was found, in the task's order, and each layer."""
        return [
            self._found[label].layer_attention(label, layer, self.signed)
            for label in self.task.labels
            if label in self._found
            for layer in self.layers
        ]


@dataclass
class _Collected:
    """What is known of one label so far.

    All of it is kept by slice: a slice that is given again, as after memory ran out, does not count twice. `area`, and
    `attention` of each layer, are of the whole slice, the segment and the organ: (count, 3).
    """

    count: int
    volumes: dict[str, np.ndarray]

    def __post_init__(self) -> None:
        self.slices_with_label = np.zeros(self.count, bool)
        self.area = np.zeros((self.count, 3), np.int64)
        self.attention = {layer: np.zeros((self.count, 3)) for layer in self.volumes}

    def layer_attention(self, label: Label, layer: str, signed: bool) -> LayerAttention:
        maps = self.volumes[layer]
        slices = np.flatnonzero(self.slices_with_label)
        peak = max(np.abs(maps[z]).max() for z in slices)
        if peak > 0:
            for z in slices:
                maps[z] /= peak
        return LayerAttention(
            label=label.name,
            layer=layer,
            maps=maps,
            signed=signed,
            slices_with_label=self.slices_with_label.copy(),
            focus=self._focus(layer),
            empty=bool(self.attention[layer][:, 0].sum() == 0),
        )

    def _focus(self, layer: str) -> Focus | None:
        with_body = self.area[:, 0] > 0
        attention, area = self.attention[layer][with_body], self.area[with_body]
        everywhere, in_segment, in_organ = attention.sum(axis=0).tolist()
        # Slice by slice: where the segment is large its score is, and so is the attention of the whole slice.
        evenly_in_segment, evenly_in_organ = (attention[:, :1] * area[:, 1:] / area[:, :1]).sum(axis=0).tolist()
        if evenly_in_segment == 0:
            return None
        return Focus(*(one / everywhere for one in (in_segment, in_organ, evenly_in_segment, evenly_in_organ)))


def area_average(masks: torch.Tensor, grid: Sequence[int], stride: int) -> torch.Tensor:
    """How much of each cell of a layer's grid (h, w) the masks (..., H, W) cover: (..., h, w), 0 to 1.

    Like the network, it pads the slices below and to the right to multiples of the network's stride.
    """
    height, width = masks.shape[-2:]
    padded = F.pad(masks.float(), (0, -width % stride, 0, -height % stride))
    rows, columns = grid
    return F.adaptive_avg_pool2d(padded, (rows, columns))


@contextmanager
def _frozen(network: nn.Module) -> Iterator[None]:
    """The network in evaluation mode and without gradients of its parameters; afterwards as it was."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        with evaluating(network):
            yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
