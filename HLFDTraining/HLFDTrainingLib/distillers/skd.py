"""SKD: output distillation and last-layer attention transfer."""

from __future__ import annotations

from .distiller import Distiller
from .edges import LAST_LAYER_ATTENTION, OUTPUT_PREDICTION


class SKD(Distiller):
    """L = L_seg + 0.1 KD(s.out, t.out) + 0.9 AT(s.e5, t.e5).

    What HLFD's authors (Gorade et al., ISBI 2024, arXiv 2311.16700) call SKD. They credit Liu et al. 2019 (Structured
    Knowledge Distillation for Semantic Segmentation, arXiv 1903.04197), whose pairwise and adversarial terms it does
    not have.
    """

    edges = (OUTPUT_PREDICTION, LAST_LAYER_ATTENTION)
