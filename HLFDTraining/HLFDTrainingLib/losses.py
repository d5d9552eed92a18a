"""What training minimises: the segmentation loss and the two distances between a student and its teacher.

All are computed in float32, whatever precision the networks run in: the fourth power of the attention overflows half
precision at 16, and softened probabilities differ in digits that half precision does not have.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from .partial_labels import Target, merged_log_probabilities, representatives

FOCAL_GAMMA = 2.0
DICE_SMOOTH = 1.0
ATTENTION_EXPONENT = 4
TEMPERATURE = 4.0
EPSILON = 1e-12


class SegmentationLoss(nn.Module):
    """1/2 focal loss + 1/2 soft Dice loss, between groups of classes (see `partial_labels`).

    Focal (Lin et al. 2017, arXiv 1708.02002, equation 4) with gamma 2 is over all groups, the background included,
    and averaged over pixels. Soft Dice (Milletari et al. 2016, arXiv 1606.04797, without the squares of its equation)
    is over the foreground classes that the annotator could tell apart, and averaged over them; 1 is added above and
    below, so that a label that is neither present nor predicted costs nothing.

    Both are a value for each sample, then the mean: a batch that is split evenly over devices gives the same gradient.
    """

    def forward(self, logits: torch.Tensor, target: Target) -> torch.Tensor:
        """The loss, a scalar, of logits (N, C, H, W)."""
        log_probabilities = merged_log_probabilities(logits, target.groups)
        focal = _focal(log_probabilities, target.classes)
        dice = _soft_dice(log_probabilities.exp(), target)
        return (0.5 * focal + 0.5 * dice).mean()


def _focal(log_probabilities: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """(N,) focal loss of log-probabilities (N, C, H, W) and true classes (N, H, W)."""
    truth = log_probabilities.gather(1, classes[:, None])
    return (-((1 - truth.exp()) ** FOCAL_GAMMA) * truth).flatten(1).mean(dim=1)


def _soft_dice(probabilities: torch.Tensor, target: Target) -> torch.Tensor:
    """(N,) soft Dice loss of probabilities (N, C, H, W)."""
    classes = torch.arange(probabilities.shape[1], device=probabilities.device)
    truth = (target.classes[:, None] == classes[:, None, None]).float()
    overlap = (probabilities * truth).sum(dim=(2, 3))
    total = (probabilities + truth).sum(dim=(2, 3))
    loss = 1 - (2 * overlap + DICE_SMOOTH) / (total + DICE_SMOOTH)
    known = representatives(target.groups)[:, 1:]
    return (loss[:, 1:] * known).sum(dim=1) / known.sum(dim=1).clamp_min(1)


def attention_map(features: torch.Tensor) -> torch.Tensor:
    """Where a layer is active: (N, H*W), of length 1 for each sample, of features (N, C, H, W).

    The mean over channels of the fourth power (Zagoruyko and Komodakis 2017, arXiv 1612.03928, section 3.1), flattened
    and divided by its length. A layer that is zero everywhere has the map zero.
    """
    features = features.float()
    # The map does not depend on the features' scale, so dividing by it is exact and keeps the fourth power in range.
    scale = features.detach().abs().amax(dim=(1, 2, 3), keepdim=True).clamp_min(EPSILON)
    energy = (features / scale).pow(ATTENTION_EXPONENT).mean(dim=1).flatten(1)
    return F.normalize(energy, dim=1, eps=EPSILON)


def attention_transfer(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """AT: squared distance of the attention maps of (N, Cs, H, W) and (N, Ct, H, W), mean over the batch.

    From 0, the same map, to 2, maps that do not overlap (Zagoruyko and Komodakis 2017, equation 2, with squares).
    """
    return (attention_map(student) - attention_map(teacher)).square().sum(dim=1).mean()


def softened_divergence(student: torch.Tensor, teacher: torch.Tensor, temperature: float = TEMPERATURE) -> torch.Tensor:
    """KD: T^2 KL(softmax(teacher / T) || softmax(student / T)) over the channels of (N, C, H, W).

    Mean over batch and pixels (Hinton et al. 2015, arXiv 1503.02531, section 2). T^2 keeps the gradient's size when
    the temperature changes.
    """
    log_student = (student.float() / temperature).log_softmax(dim=1)
    log_teacher = (teacher.float() / temperature).log_softmax(dim=1)
    divergence = F.kl_div(log_student, log_teacher, reduction="none", log_target=True).sum(dim=1)
    return temperature**2 * divergence.mean()
