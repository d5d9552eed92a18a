"""Takes the two pictures of the docs from a report with attention.

hlfd segment CT -o RESULT --attention
python Testing/experiments/docs_pictures.py RESULT docs/images
"""

from __future__ import annotations

import argparse
import base64
import tempfile
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from HLFDSegmentationLib.layers import LAYERS

LABEL = "liver"
GAP = 4


class Pictures(HTMLParser):
    """A report's pictures, by their description."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, np.ndarray] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        entries = dict(attrs)
        if tag == "img":
            self.found[entries["alt"]] = decoded(entries["src"].partition("base64,")[2])

    def picture(self, words: str) -> np.ndarray:
        """The first picture whose description holds the words."""
        return next(pixels for alt, pixels in self.found.items() if words in alt)


def decoded(text: str) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        path.write_bytes(base64.b64decode(text))
        pixels = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    return pixels if pixels.ndim == 3 else np.stack([pixels] * 3, axis=-1)


def side_by_side(row: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures of one height, uint8 (height, width, 3), with `GAP` white pixels on the right of each and below."""
    return np.concatenate([np.pad(one, ((0, GAP), (0, GAP), (0, 0)), constant_values=255) for one in row], axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result", type=Path)
    parser.add_argument("images", type=Path)
    arguments = parser.parse_args()
    pictures = Pictures()
    pictures.feed((arguments.result / "report.html").read_text(encoding="utf-8"))
    layers = [pictures.picture(f"Attention of {layer} for {LABEL} ") for layer in LAYERS]
    arguments.images.mkdir(parents=True, exist_ok=True)
    for name, pixels in (
        ("segmentation.png", pictures.picture(f"largest area of {LABEL}.")),
        ("attention.png", np.concatenate([side_by_side(row) for row in (layers[:3], layers[3:6], layers[6:])])),
    ):
        sitk.WriteImage(sitk.GetImageFromArray(pixels, isVector=True), str(arguments.images / name))


if __name__ == "__main__":
    main()
