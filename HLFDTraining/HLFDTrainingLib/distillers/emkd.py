"""EMKD: prediction maps, importance maps and the affinity of regions."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.nn import functional as F

from ..partial_labels import Target
from .constants import Constant, Size
from .distiller import Constants, Distiller, Features
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

    def distillation_terms(self, student: Features, constants: Constants, target: Target) -> dict[str, torch.Tensor]:
        """The terms of the edges, and one of region affinity for each of the two layers."""
        terms = super().distillation_terms(student, constants, target)
        for layer in (LOW, HIGH):
            learns = region_contrast(student[layer], target.classes, self.num_classes)
            terms[f"region_affinity_{layer}"] = FEATURE_WEIGHT * region_affinity(learns, constants[_contrast(layer)])
        return terms

    def make_constant(self, constant: Constant, teacher: Features, target: Target) -> torch.Tensor:
        """Also the teacher's region contrasts."""
        if constant.kind != "contrast":
            return super().make_constant(constant, teacher, target)
        return region_contrast(teacher[constant.layers[0]].float(), target.classes, self.num_classes)

    def needed_constants(self, student_sizes: Mapping[str, Size]) -> tuple[Constant, ...]:
        """Also the two region contrasts."""
        return (*super().needed_constants(student_sizes), _contrast(LOW), _contrast(HIGH))


def _contrast(layer: str) -> Constant:
    return Constant("contrast", (layer,))


def region_affinity(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """How differently two layers relate regions, of their `region_contrast`: a scalar, 0 to 4.

    For each sample the mean over the pairs of regions that both resolutions show; then the mean over the batch.
    """
    valid = student[:, 1].bool() & teacher[:, 1].bool()
    difference = (student[:, 0] - teacher[:, 0]).square() * valid
    return (difference.sum(dim=1) / valid.sum(dim=1).clamp_min(1)).mean()


def region_contrast(features: torch.Tensor, classes: torch.Tensor, num_classes: int) -> torch.Tensor:
    """How differently a layer (N, Ci, Hi, Wi) shows the regions of `classes` (N, H, W): (N, 2, pairs of regions).

    First the cosine of the mean features of each two regions, second 1 where both regions exist, 0 otherwise.
    """
    regions = F.one_hot(resize_classes(classes, features.shape[-2:]), num_classes).float()
    pixels = regions.sum(dim=(1, 2))
    means = torch.einsum("nchw,nhwk->nkc", features, regions) / pixels.clamp_min(1)[..., None]
    first, second = torch.triu_indices(num_classes, num_classes, offset=1, device=features.device)
    exists = pixels > 0
    both = exists[:, first] & exists[:, second]
    return torch.stack((F.cosine_similarity(means[:, first], means[:, second], dim=2), both.float()), dim=1)
