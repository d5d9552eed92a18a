"""No distillation: the student alone."""

from __future__ import annotations

from .distiller import Distiller


class NoDistillation(Distiller):
    """L = L_seg: what every method is compared with, in the same trainer."""

    needs_teacher = False
