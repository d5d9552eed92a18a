"""Bringing layers of different resolution together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional as F

from .constants import Grid, Size


def resize(features: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Features (N, C, H, W) at another (H, W), bilinear."""
    if tuple(features.shape[-2:]) == tuple(size):
        return features
    return F.interpolate(features, tuple(size), mode="bilinear", align_corners=False)


def resize_classes(classes: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Classes (N, H, W) at another (H, W): each pixel takes the class at its centre."""
    return F.interpolate(classes[:, None].float(), tuple(size), mode="nearest-exact")[:, 0].long()


def unify(layers: Sequence[torch.Tensor]) -> torch.Tensor:
    """Layers (N, Ci, Hi, Wi) at the smallest of their resolutions, joined to (N, sum of Ci, H, W)."""
    size = tuple(min(layer.shape[axis] for layer in layers) for axis in (-2, -1))
    return torch.cat([resize(layer, size) for layer in layers], dim=1)


def on_grid(student: torch.Tensor, teacher: torch.Tensor, grid: Grid) -> tuple[torch.Tensor, torch.Tensor]:
    """Both at the resolution of the student, the teacher, or the smaller of the two."""
    size = grid_size(student.shape[-2:], teacher.shape[-2:], grid)
    return resize(student, size), resize(teacher, size)


def grid_size(student: Sequence[int], teacher: Sequence[int], grid: Grid) -> Size:
    """(H, W) of the student, of the teacher, or the smaller of the two."""
    sizes = {
        "student": student,
        "teacher": teacher,
        "smaller": (min(student[0], teacher[0]), min(student[1], teacher[1])),
    }
    height, width = sizes[grid]
    return height, width
