"""What training minimises: the segmentation loss and the two distances between a student and its teacher.

All are computed in float32, whatever precision the networks run in: the fourth power of the attention overflows half
precision at 16, and softened probabilities differ in digits that half precision does not have.
"""

from __future__ import annotations

import torch
from torch import distributed, nn
from torch.nn import functional as F

from .partial_labels import Target, merged_log_probabilities

FOCAL_GAMMA = 2.0
DICE_SMOOTH = 1.0
ATTENTION_EXPONENT = 4
TEMPERATURE = 4.0
EPSILON = 1e-12
CACHED_VALUES = 1 << 20
"""So many float32 a processor works on at a time, 4 MB."""


class SegmentationLoss(nn.Module):
    """1/2 focal loss + 1/2 soft Dice loss, between groups of classes (see `partial_labels`).

    Focal (Lin et al. 2017, arXiv 1708.02002, equation 4) with gamma 2 is over all groups, the background included,
    and averaged over pixels and slices.

    Soft Dice (Milletari et al. 2016, arXiv 1606.04797, without the squares of its equation) is over the foreground
    classes that are shown, each in those slices whose annotator could tell it apart; 1 is added above and below. Half
    of it pools the pixels of the whole batch, as HLFD's released code does, over all processes that train together:
    what is found in slices without the class counts against it. The other half is the mean over the slices of each
    one's own: the tip of an organ weighs as much as its largest slice. Only slice by slice, and with the classes that
    a slice does not show, it would teach a network to never predict a class that most slices do not have.
    """

    def forward(self, logits: torch.Tensor, target: Target) -> torch.Tensor:
        """The loss, a scalar, of logits (N, C, H, W)."""
        log_probabilities = merged_log_probabilities(logits, target.groups)
        focal = _focal(log_probabilities, target.classes)
        dice = _soft_dice(log_probabilities.exp(), target)
        return 0.5 * focal.mean() + 0.5 * dice


def _focal(log_probabilities: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """(N,) focal loss of log-probabilities (N, C, H, W) and true classes (N, H, W)."""
    truth = log_probabilities.gather(1, classes[:, None])
    return (-((1 - truth.exp()) ** FOCAL_GAMMA) * truth).flatten(1).mean(dim=1)


def _soft_dice(probabilities: torch.Tensor, target: Target) -> torch.Tensor:
    """Soft Dice loss, a scalar, of the groups' probabilities (N, C, H, W): 0 at classes that represent none."""
    classes = torch.arange(probabilities.shape[1], device=probabilities.device)
    truth = (target.classes[:, None] == classes[:, None, None]).float()
    sums = torch.stack([(probabilities * truth).sum(dim=(2, 3)), probabilities.sum(dim=(2, 3)), truth.sum(dim=(2, 3))])
    sums = sums[..., 1:]
    pooled = _mean_over_shown(_over_processes(sums.sum(dim=1)))
    return 0.5 * pooled + 0.5 * _mean_over_shown(sums).mean()


def _mean_over_shown(sums: torch.Tensor) -> torch.Tensor:
    """Mean Dice loss (...) over the classes that are shown, 0 where none is.

    Args:
        sums: (3, ..., C) of the overlap, the prediction and the truth.
    """
    overlap, predicted, shown = sums
    loss = 1 - (2 * overlap + DICE_SMOOTH) / (predicted + shown + DICE_SMOOTH)
    present = shown > 0
    return (loss * present).sum(dim=-1) / present.sum(dim=-1).clamp_min(1)


def _over_processes(sums: torch.Tensor) -> torch.Tensor:
    """The sums over the processes that train together; their gradient goes to all of them."""
    if distributed.is_available() and distributed.is_initialized():
        from torch.distributed.nn.functional import all_reduce  # warns where this torch is not built for it

        return all_reduce(sums)
    return sums


def attention_map(features: torch.Tensor) -> torch.Tensor:
    """Where a layer is active: (N, H, W), of length 1 for each sample, of features (N, C, H, W).

    The mean over channels of the fourth power (Zagoruyko and Komodakis 2017, arXiv 1612.03928, section 3.1), divided by
    its length. A layer that is zero everywhere has the map zero.
    """
    features = features.float()
    # The map does not depend on the features' scale, so dividing by it is exact and keeps the fourth power in range.
    highest, lowest = (extreme(features.detach(), dim=(1, 2, 3), keepdim=True) for extreme in (torch.amax, torch.amin))
    scale = torch.maximum(highest, -lowest).clamp_min(EPSILON)
    rows = _rows_at_a_time(features)
    parts = features.split(rows, dim=2)
    energy = torch.cat([(part / scale).pow(ATTENTION_EXPONENT).mean(dim=1) for part in parts], dim=1)
    return F.normalize(energy.flatten(1), dim=1, eps=EPSILON).view_as(energy)


def _rows_at_a_time(features: torch.Tensor) -> int:
    """Few on a processor: large layers go through its cache once, and not once for each operation. All on others."""
    rows = features.shape[2]
    return max(1, CACHED_VALUES * rows // features.numel()) if features.device.type == "cpu" else rows


def attention_transfer(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """AT: squared distance of the attention map of (N, C, H, W) to the teacher's map (N, H, W), mean over the batch.

    From 0, the same map, to 2, maps that do not overlap (Zagoruyko and Komodakis 2017, equation 2, with squares).
    """
    return (attention_map(student) - teacher).flatten(1).square().sum(dim=1).mean()


def softened_divergence(student: torch.Tensor, teacher: torch.Tensor, temperature: float = TEMPERATURE) -> torch.Tensor:
    """KD: T^2 KL(softmax(teacher / T) || softmax(student / T)) over the channels of (N, C, H, W).

    Mean over batch and pixels (Hinton et al. 2015, arXiv 1503.02531, section 2). T^2 keeps the gradient's size when
    the temperature changes.
    """
    log_student = (student.float() / temperature).log_softmax(dim=1)
    log_teacher = (teacher.float() / temperature).log_softmax(dim=1)
    divergence = F.kl_div(log_student, log_teacher, reduction="none", log_target=True).sum(dim=1)
    return temperature**2 * divergence.mean()
