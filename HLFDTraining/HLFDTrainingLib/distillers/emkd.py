"""EMKD: prediction maps, importance maps and the affinity of regions."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from ..partial_labels import Target
from .distiller import Distiller, Features
from .edges import FEATURE_WEIGHT, OUTPUT_PREDICTION, attention
from .resizing import resize_classes

LOW, HIGH = "encoder1", "encoder3"


class EMKD(Distiller):
    """L = L_seg + 0.1 PMD + 0.9 IMD + 0.9 RAD.

        PMD = KD(s.out, t.out)
        IMD = AT(s.low, t.low) + AT(s.high, t.high)
        RAD = sum over low and high of the squared difference of `region_contrast` between student and teacher

    Qin et al.: Efficient Medical Image Segmentation Based on Knowledge Distillation, IEEE TMI 40(12), 2021, arXiv
    2108.09987. As in its released code, low is the encoder's first layer and high its third, and attention has the
    exponent 4. Regions there are a label and its background; here RAD is the mean over all pairs of regions that a
    slice has.
    """

    edges = (OUTPUT_PREDICTION, attention(LOW, LOW), attention(HIGH, HIGH))

    def distillation_terms(self, student: Features, teacher: Features, target: Target) -> dict[str, torch.Tensor]:
        """The terms of the edges, and one of region affinity for each of the two layers."""
        terms = super().distillation_terms(student, teacher, target)
        for layer in (LOW, HIGH):
            affinity = region_affinity(student[layer], teacher[layer], target.classes, self.num_classes)
            terms[f"region_affinity_{layer}"] = FEATURE_WEIGHT * affinity
        return terms


def region_affinity(
    student: torch.Tensor, teacher: torch.Tensor, classes: torch.Tensor, num_classes: int
) -> torch.Tensor:
    """How differently two layers (N, Ci, Hi, Wi) relate the regions of `classes` (N, H, W): a scalar, 0 to 4.

    For each sample the mean over the pairs of regions that both resolutions show; then the mean over the batch.
    """
    learns, learns_valid = region_contrast(student, classes, num_classes)
    teaches, teaches_valid = region_contrast(teacher, classes, num_classes)
    valid = learns_valid & teaches_valid
    difference = (learns - teaches).square() * valid
    return (difference.sum(dim=1) / valid.sum(dim=1).clamp_min(1)).mean()


def region_contrast(
    features: torch.Tensor, classes: torch.Tensor, num_classes: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosine of the mean features of each two regions: (N, pairs), and (N, pairs) bool, whether both regions exist."""
    regions = F.one_hot(resize_classes(classes, features.shape[-2:]), num_classes).float()
    pixels = regions.sum(dim=(1, 2))
    means = torch.einsum("nchw,nhwk->nkc", features, regions) / pixels.clamp_min(1)[..., None]
    first, second = torch.triu_indices(num_classes, num_classes, offset=1, device=features.device)
    exists = pixels > 0
    return F.cosine_similarity(means[:, first], means[:, second], dim=2), exists[:, first] & exists[:, second]
