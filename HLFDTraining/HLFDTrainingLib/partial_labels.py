"""Labels that an annotator did not look for, or did not tell apart.

A case's annotation divides the task's classes into groups: classes that it cannot tell apart are in one group, and
classes that nobody looked for are in the background's group, because such a pixel may be either. A group is named by
its lowest class, its representative. The loss compares groups and not classes, so that a liver slice with unlabelled
kidneys does not teach "no kidney": the marginal loss of Shi et al. 2021 (Medical Image Analysis 70, arXiv 2007.03868).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

NO_GROUP = -1e4
"""Log-probability at classes that represent no group: finite, so that gradients are."""


@dataclass(frozen=True)
class Target:
    """What is known of a batch of slices.

    Attributes:
        classes: (N, H, W), the representative class of each pixel's group; long, but a byte each on the way from a
            helper of `slice_loading`.
        groups: (N, C) long, for each class the representative of its group in this slice.
    """

    classes: torch.Tensor
    groups: torch.Tensor

    def to(self, device: torch.device | str) -> Target:
        """The same on another device, with classes of 64 bits, whatever they had on the way there."""
        classes = self.classes.to(device, non_blocking=True).long()
        return Target(classes, self.groups.to(device, non_blocking=True))

    def forgotten(self) -> Target:
        """The target of the same slices when nothing is known of them."""
        return Target(torch.zeros_like(self.classes), torch.zeros_like(self.groups))


def representatives(groups: torch.Tensor) -> torch.Tensor:
    """(N, C) bool: which classes stand for a group, of `groups` (N, C)."""
    return groups == torch.arange(groups.shape[1], device=groups.device)


def merged_log_probabilities(logits: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
    """Log-probabilities of the groups.

    Args:
        logits: (N, C, H, W).
        groups: (N, C), see `Target`.

    Returns:
        (N, C, H, W) float32: at a representative's channel the logarithm of the summed softmax probability of its
        group; `NO_GROUP` at the other channels.
    """
    log_probabilities = logits.float().log_softmax(dim=1)
    if bool(representatives(groups).all()):
        return log_probabilities
    probabilities = torch.zeros_like(log_probabilities)
    index = groups[:, :, None, None].expand_as(log_probabilities)
    probabilities = probabilities.scatter_add(1, index, log_probabilities.exp())
    smallest = torch.finfo(torch.float32).tiny
    merged = probabilities.clamp_min(smallest).log()
    return merged.where(representatives(groups)[:, :, None, None], torch.full_like(merged, NO_GROUP))


def merged_classes(classes: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
    """Classes (N, H, W) with each replaced by the representative of its group, of `groups` (N, C)."""
    count, height, width = classes.shape
    return groups.gather(1, classes.reshape(count, -1)).reshape(count, height, width)
