"""The columns of the table of measures, as the command writes it and as the scene holds it."""

from __future__ import annotations

CSV_COLUMNS = (
    "segment",
    "lesion",
    "volume_mL",
    "volume_with_tumors_mL",
    "mean_HU",
    "lesion_count",
    "longest_axial_diameter_mm",
    "center_R_mm",
    "center_A_mm",
    "center_S_mm",
    "slice_index",
    "sd_HU",
    "side",
    "right_volume_mL",
    "left_volume_mL",
)

COLUMNS_TO_LOOK_AT = (
    "segment",
    "lesion",
    "volume_mL",
    "longest_axial_diameter_mm",
    "volume_with_tumors_mL",
    "mean_HU",
    "lesion_count",
    "side",
    "right_volume_mL",
    "left_volume_mL",
)
"""What a radiologist reads in the panel, in this order. The rest is for programs."""
