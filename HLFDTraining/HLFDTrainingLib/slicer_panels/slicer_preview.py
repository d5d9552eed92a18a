"""The picture of one validation slice: the truth on the left, what the network makes of it on the right."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import qt
from HLFDSegmentationLib.slicer_tools.slicer_pictures import pixmap_of
from slicer.i18n import tr as _

SIDE = 170
"""Pixels that a side may be wide: both do not widen the panel. A smaller slice is enlarged by a whole number, a larger
one is scaled down."""

GAP = 6
MARGIN = 4
GROUND = qt.QColor(0, 0, 0, 153)
FILLED = 0.35
"""How much of a label's color its inside gets; its border gets all."""

Colors = Mapping[int, tuple[int, int, int]]


@dataclass(frozen=True)
class Preview:
    """A slice: `image` (0..255), `truth` and `prediction` (label values), each uint8 (H, W), the first row anterior."""

    image: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray


def read_preview(path: Path) -> Preview | None:
    """What the trainer wrote last; none where there is nothing (yet), or it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as content:
            preview = Preview(*(np.asarray(content[name]) for name in ("image", "truth", "prediction")))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    shapes = {part.shape for part in (preview.image, preview.truth, preview.prediction)}
    return preview if len(shapes) == 1 and preview.image.ndim == 2 else None


def picture_of(preview: Preview, colors: Colors) -> np.ndarray:
    """Both sides, uint8 (height, width, 3).

    Args:
        preview: the slice.
        colors: red, green and blue, 0 to 255, of each label value.
    """
    times = max(1, SIDE // preview.image.shape[1])
    pixel = np.ones((times, times), np.uint8)
    image = np.kron(preview.image, pixel)
    sides = [_side(image, np.kron(labels, pixel), colors) for labels in (preview.truth, preview.prediction)]
    gap = np.full((sides[0].shape[0], GAP, 3), 255, np.uint8)
    return np.concatenate([sides[0], gap, sides[1]], axis=1)


def preview_pixmap(preview: Preview, colors: Colors) -> qt.QPixmap:
    """The picture with its captions, for a label of the panel."""
    pixmap = pixmap_of(picture_of(preview, colors))
    if pixmap.width() > 2 * SIDE + GAP:
        pixmap = pixmap.scaledToWidth(2 * SIDE + GAP, qt.Qt.SmoothTransformation)
    painter = qt.QPainter()
    painter.begin(pixmap)
    _write(painter, 0, _("Truth"))
    _write(painter, (pixmap.width() + GAP) // 2, _("Prediction"))
    painter.end()
    return pixmap


def _write(painter: qt.QPainter, left: int, text: str) -> None:
    """Writes a text at the upper border of a picture, on a darkened ground."""
    metrics = painter.fontMetrics()
    width, height = metrics.boundingRect(text).width(), metrics.height()
    painter.fillRect(left, 0, width + 2 * MARGIN, height + 2 * MARGIN, GROUND)
    painter.setPen(qt.QColor(255, 255, 255))
    painter.drawText(left + MARGIN, MARGIN + metrics.ascent(), text)


def _side(image: np.ndarray, labels: np.ndarray, colors: Colors) -> np.ndarray:
    picture = np.repeat(image[..., None], 3, axis=2).astype(float)
    border = _borders(labels)
    for value, color in colors.items():
        inside = labels == value
        picture[inside] = (1 - FILLED) * picture[inside] + FILLED * np.array(color)
        picture[inside & border] = color
    return picture.round().astype(np.uint8)


def _borders(labels: np.ndarray) -> np.ndarray:
    """Where a pixel's label differs from a neighbor's."""
    inner, around = slice(1, -1), np.pad(labels, 1, mode="edge")
    neighbors = around[:-2, inner], around[2:, inner], around[inner, :-2], around[inner, 2:]
    return np.any([labels != neighbor for neighbor in neighbors], axis=0)
