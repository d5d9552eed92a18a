"""Takes the two pictures of the docs from a report with attention.

hlfd segment CT -o RESULT --attention
python Testing/experiments/docs_pictures.py RESULT docs/images
"""

from __future__ import annotations

import argparse
import base64
import tempfile
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


def side_by_side(rows: list[list[np.ndarray]]) -> np.ndarray:
    """Pictures of one size in rows, white between them."""
    framed = [[np.pad(picture, ((0, GAP), (0, GAP), (0, 0)), constant_values=255) for picture in row] for row in rows]
    return np.concatenate([np.concatenate(row, axis=1) for row in framed], axis=0)


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
        ("attention.png", side_by_side([layers[:3], layers[3:6], layers[6:]])),
    ):
        sitk.WriteImage(sitk.GetImageFromArray(pixels, isVector=True), str(arguments.images / name))


if __name__ == "__main__":
    main()
