"""What a loss needs of the teacher: constants of the image, because nothing on the teacher's side learns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Grid = Literal["student", "teacher", "smaller"]
Size = tuple[int, int]


@dataclass(frozen=True)
class Constant:
    """One such thing. Two edges that need the same of the teacher name the same constant.

    Attributes:
        kind: "attention" is the attention map of the layers, (N, H, W), at the resolution where it is compared;
            "prediction" the logits (N, C, h, w) of the teacher or of its unified head, at their own resolution;
            "features" the layers themselves, unified, (N, C, h, w); "contrast" how a layer tells the regions of the
            labels apart, (N, 2, pairs), which depends on the labels too.
        layers: of the teacher; several are unified.
        grid, size: whose resolution an attention map has, and (H, W) of the student's layer where it counts.
    """

    kind: Literal["attention", "prediction", "features", "contrast"]
    layers: tuple[str, ...]
    grid: Grid = "teacher"
    size: Size | None = None

    @property
    def name(self) -> str:
        """The constant in words that can be part of a file's name."""
        grid = "" if self.size is None else f"_at_{self.grid}_{self.size[0]}x{self.size[1]}"
        return f"{self.kind}_of_{'+'.join(self.layers)}{grid}"

    @property
    def small(self) -> bool:
        """Whether it pays to keep it: features have many channels and take more time to read than to compute."""
        return self.kind != "features"
