"""HIFD: individual feedback of the teacher's last layers."""

from __future__ import annotations

from .distiller import Distiller
from .edges import LAST_LAYER_ATTENTION, OUT, OUTPUT_PREDICTION, attention, prediction


class HIFD(Distiller):
    """The individual transfers of HLFD without the unified ones, and with output and last layer.

        L = L_seg + 0.1 (KD(s.out, t.out) + KD(Q(s.d4), t.out) + KD(Q(s.d2), t.out))
                  + 0.9 (AT(s.e5, t.e5) + AT(s.e2, t.e5) + AT(s.e4, t.e5))

    A comparison of HLFD's authors (Gorade et al., ISBI 2024). Q is a trained 1x1 convolution for each layer.
    """

    edges = (
        OUTPUT_PREDICTION,
        prediction("decoder4", OUT),
        prediction("decoder2", OUT),
        LAST_LAYER_ATTENTION,
        attention("encoder2", "encoder5"),
        attention("encoder4", "encoder5"),
    )
