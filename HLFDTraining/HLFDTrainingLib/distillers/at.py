"""Attention transfer."""

from __future__ import annotations

from .distiller import Distiller
from .edges import attention


class AT(Distiller):
    """L = L_seg + AT(s.e5, t.e5).

    Zagoruyko, Komodakis: Paying More Attention to Attention, ICLR 2017, arXiv 1612.03928; of the last encoder layer,
    with weight 1, as HLFD's authors compare with it.
    """

    edges = (attention("encoder5", "encoder5", weight=1.0),)
