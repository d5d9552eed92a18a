"""DKD: deep distillation, level to level."""

from __future__ import annotations

from .distiller import Distiller
from .edges import DECODER_PREDICTION, ENCODER_ATTENTION, OUTPUT_PREDICTION


class DKD(Distiller):
    """L = L_seg + 0.1 (KD(s.out, t.out) + sum over k=5..2 of KD(s.dk, t.dk)) + 0.9 sum over k=1..5 of AT(s.ek, t.ek).

    Deep knowledge distillation, as HLFD's authors (Gorade et al., ISBI 2024) compare with it: every layer learns from
    the same layer. It is not Decoupled Knowledge Distillation (Zhao et al. 2022), which has the same initials.

    KD between decoder layers is over their channels. Where the numbers of channels differ, a trained 1x1 convolution
    brings the student's to the teacher's. The released code compares s.d5 with itself; here it learns from t.d5.
    """

    edges = (OUTPUT_PREDICTION, *DECODER_PREDICTION, *ENCODER_ATTENTION)
