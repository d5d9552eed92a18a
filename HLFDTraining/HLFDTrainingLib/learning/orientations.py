"""Slices as they are, but flipped and turned by quarters: eight orientations, in which no value changes."""

from __future__ import annotations

import torch
from torch.nn import functional as F

ORIENTATIONS = 8


def cut_to(slice_: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """A slice (1, H, W) cut, or padded with zeros, around its centre to a size."""
    below, right = size[0] - slice_.shape[1], size[1] - slice_.shape[2]
    return F.pad(slice_, (right // 2, right - right // 2, below // 2, below - below // 2))


def oriented(slice_: torch.Tensor, orientation: int) -> torch.Tensor:
    """A square slice (1, H, W) in one of the orientations, of which 0 changes nothing."""
    turned = torch.rot90(slice_, orientation % 4, (1, 2))
    return (turned.flip(2) if orientation >= 4 else turned).contiguous()
