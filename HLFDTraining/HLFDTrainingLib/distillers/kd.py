"""Knowledge distillation."""

from __future__ import annotations

from .distiller import Distiller
from .edges import OUTPUT_PREDICTION


class KD(Distiller):
    """L = L_seg + 0.1 KD(s.out, t.out).

    Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network, 2015, arXiv 1503.02531; for each pixel.
    """

    edges = (OUTPUT_PREDICTION,)
