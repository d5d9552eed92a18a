"""Is an attention map about what the network does? Checks to run before a map is believed.

Deletion and insertion curves: Petsiuk et al. 2018, RISE (arXiv 1806.07421), section 4.3. Cascading randomization:
Adebayo et al. 2018, Sanity Checks for Saliency Maps (arXiv 1810.03292), section 3.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from scipy import ndimage, stats
from scipy.integrate import trapezoid
from torch import nn
from torch.nn import functional as F

from .attention import GradCAM, most_likely
from .errors import InputError
from .layers import LAYERS
from .networks.network import SegmentationNetwork

OUTPUT = "output"
"""The first step of `cascading_randomization`: what follows the last named layer."""

BLUR = 10.0
"""Standard deviation of the Gaussian blur of the curves, in pixels; it wipes out what a label looks like."""


def deletion_curve(
    network: SegmentationNetwork,
    images: torch.Tensor,
    label: int,
    maps: torch.Tensor,
    *,
    steps: int = 20,
) -> np.ndarray:
    """How the label's probability falls while pixels are blurred, the most attended first.

    The score is the mean softmax probability of the label over the pixels that the network assigns to it in the
    untouched slice. The lower the area under the curve, the more the map is about what the network uses.

    Args:
        network: in evaluation mode.
        images: slices (N, 1, H, W), each with the label.
        label: value of the label.
        maps: attention (N, h, w) on a layer's grid. Only the order of its values counts.
        steps: pixels are blurred in this many equal shares.

    Returns:
        float32 (N, steps + 1): the score with 0, 1/steps, ..., all pixels blurred.

    Raises:
        InputError: a slice does not hold the label.
    """
    return _exchange_curve(network, images, label, maps, images, blurred(images, BLUR), steps)


def insertion_curve(
    network: SegmentationNetwork,
    images: torch.Tensor,
    label: int,
    maps: torch.Tensor,
    *,
    steps: int = 20,
) -> np.ndarray:
    """How the label's probability rises while pixels of a blurred slice are put back, the most attended first.

    The higher the area under the curve, the more the map is about what the network uses. All else as in
    `deletion_curve`.
    """
    return _exchange_curve(network, images, label, maps, blurred(images, BLUR), images, steps)


def area(curves: np.ndarray) -> np.ndarray:
    """Area under each curve (N, steps + 1) over the share of pixels from 0 to 1: (N,)."""
    return trapezoid(curves, dx=1 / (curves.shape[1] - 1), axis=1)


@torch.no_grad()
def _exchange_curve(
    network: SegmentationNetwork,
    images: torch.Tensor,
    label: int,
    maps: torch.Tensor,
    before: torch.Tensor,
    after: torch.Tensor,
    steps: int,
) -> np.ndarray:
    mask = most_likely(network(images)) == label
    without = [number for number, slice_mask in enumerate(mask) if not slice_mask.any()]
    if without:
        raise InputError(
            f"The network does not see label {label} in slice {without[0]} of those given. Its curve measures the "
            "probability of what was segmented: give slices in which the label was found."
        )
    rank = _rank(_on_pixels(maps, images.shape[-2:], network.stride))
    scores = []
    for step in range(steps + 1):
        exchanged = (rank < step / steps * rank[0].numel()).unsqueeze(1)
        probability = network(torch.where(exchanged, after, before)).softmax(dim=1)[:, label]
        scores.append((probability * mask).sum(dim=(1, 2)) / mask.sum(dim=(1, 2)))
    return torch.stack(scores, dim=1).cpu().numpy()


def blurred(images: torch.Tensor, sigma: float) -> torch.Tensor:
    """Slices (N, 1, H, W) after a Gaussian blur with a standard deviation of `sigma` pixels."""
    smooth = ndimage.gaussian_filter(images.cpu().numpy(), (0, 0, sigma, sigma), mode="nearest")
    return torch.as_tensor(smooth, device=images.device)


def _on_pixels(maps: torch.Tensor, size: Sequence[int], stride: int) -> torch.Tensor:
    """Maps (N, h, w) of a layer as (N, H, W), less what the network padded."""
    height, width = size
    padded = (height + -height % stride, width + -width % stride)
    return F.interpolate(maps.unsqueeze(1), padded, mode="bilinear", align_corners=False)[:, 0, :height, :width]


def _rank(maps: torch.Tensor) -> torch.Tensor:
    """Each pixel's place (N, H, W) in its slice's order of falling attention, from 0."""
    order = maps.flatten(1).argsort(dim=1, descending=True, stable=True)
    places = torch.arange(order.shape[1], device=maps.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places).reshape(maps.shape)


def smooth_random_map(maps: torch.Tensor, seed: int) -> torch.Tensor:
    """Random maps that are as smooth as the given ones (N, h, w): their power spectrum with random phases.

    What a deletion or insertion curve must beat. Maps of noise would be beaten by any smooth map.
    """
    noise = torch.randn(maps.shape, generator=torch.Generator().manual_seed(seed)).to(maps)
    spectrum = torch.fft.rfft2(maps)
    random = torch.polar(spectrum.abs(), torch.fft.rfft2(noise).angle())
    random[:, 0, 0] = spectrum[:, 0, 0]  # keeps the mean
    return torch.fft.irfft2(random, s=maps.shape[-2:])


def cascading_randomization(
    network: SegmentationNetwork,
    images: torch.Tensor,
    label: int,
    *,
    layers: Iterable[str] = LAYERS,
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """How alike each layer's map stays while the network's weights are drawn anew, from the output down.

    A map that shows what the network has learned must change. Each step adds one stage of the network to those
    drawn anew: first `OUTPUT`, then each of `LAYERS` with all that lies between it and the named layer before it.
    The score stays the sum of the label's logit over the pixels that the trained network assigned to the label.

    Args:
        network: trained; a copy of it is changed.
        images: slices (N, 1, H, W) with the label.
        label: value of the label.
        layers: whose maps are compared.
        seed: of the weights drawn anew.

    Returns:
        For each step, in order, and each layer: Spearman's rank correlation of the raw signed map with the original,
        mean over the slices; 0 for a map without any contrast.
    """
    layers = tuple(layers)
    changed = copy.deepcopy(network).eval()
    forward = GradCAM(changed, images, layers)
    pixels = most_likely(forward.logits) == label
    original = forward.maps(label, pixels)
    correlations = {}
    with torch.random.fork_rng(devices=[images.device] if images.device.type == "cuda" else []):
        torch.manual_seed(seed)
        for stage, modules in reversed(_stages(changed, images[:1]).items()):
            for module in reversed(modules):
                # torch's hints take what a module has beside theirs for a tensor.
                module.reset_parameters()  # type: ignore[operator]
            maps = GradCAM(changed, images, layers).maps(label, pixels)
            correlations[stage] = {layer: _rank_correlation(original[layer], maps[layer]) for layer in layers}
    return correlations


def _stages(network: SegmentationNetwork, images: torch.Tensor) -> dict[str, list[nn.Module]]:
    """The modules with weights in the order in which data flows through them, cut at the named layers."""
    stages: dict[str, list[nn.Module]] = {}
    since: list[nn.Module] = []
    names = {network.get_submodule(path): name for name, path in network.layers.items()}

    def passed(module: nn.Module, _inputs: tuple, _output: torch.Tensor) -> None:
        if hasattr(module, "reset_parameters"):
            since.append(module)
        if module in names:
            stages[names[module]] = since.copy()
            since.clear()

    handles = [module.register_forward_hook(passed) for module in network.modules()]
    with torch.no_grad():
        network(images)
    for handle in handles:
        handle.remove()
    return {**stages, OUTPUT: since}


def _rank_correlation(originals: torch.Tensor, maps: torch.Tensor) -> float:
    """Spearman's rank correlation of maps (N, h, w), mean over the slices."""
    pairs = zip(originals.flatten(1).cpu().numpy(), maps.flatten(1).cpu().numpy())
    # The ranks of a map without contrast are undefined: it tells nothing of the original.
    return float(np.mean([stats.spearmanr(a, b).statistic if np.ptp(a) and np.ptp(b) else 0.0 for a, b in pairs]))
