"""Files of attention: a volume for each layer and label, and a table of the focus."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from ..attention import LayerAttention
from ..measures import decimal
from ..tasks import file_name
from ..volumes import AxialSlices
from .segmentation_files import write_image

FOCUS_COLUMNS = (
    "focus_segment",
    "focus_organ",
    "segment_share_of_body",
    "organ_share_of_body",
    "segment_ratio",
    "organ_ratio",
    "empty",
)


def write_attention(attention: Iterable[LayerAttention], slices: AxialSlices, folder: Path) -> None:
    """Writes attention/LABEL_LAYER.nii.gz for each map, on its layer's own grid, and attention.csv with the focus."""
    rows = []
    for layer in attention:
        name = f"{file_name(layer.label)}_{layer.layer}.nii.gz"
        write_image(slices.layer_image(layer.maps), folder / "attention" / name)
        rows.append({"label": layer.label, "layer": layer.layer, "file": f"attention/{name}", **_focus_columns(layer)})
    columns = ("label", "layer", "file", *FOCUS_COLUMNS)
    with open(folder / "attention.csv", "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)


def _focus_columns(layer: LayerAttention) -> dict[str, str]:
    focus = layer.focus
    values: tuple[float, ...] = ()
    if focus:
        values = (
            focus.segment,
            focus.organ,
            focus.segment_share_of_body,
            focus.organ_share_of_body,
            focus.segment_ratio,
            focus.organ_ratio,
        )
    return {
        **dict(zip(FOCUS_COLUMNS, (decimal(value, 4) for value in values))),
        "empty": "yes" if layer.empty else "no",
    }
