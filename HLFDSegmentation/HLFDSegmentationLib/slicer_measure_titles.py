"""What a reader sees above the columns of the table of measures; their names are for programs."""

from __future__ import annotations

import slicer
from slicer.i18n import tr as _


def give_titles(node: slicer.vtkMRMLTableNode) -> None:
    """Gives the columns of a table of measures their titles and units, which table views show in place of the names."""
    for column, (title, unit) in _titles().items():
        node.SetColumnTitle(column, title)
        node.SetColumnUnitLabel(column, unit)


def _titles() -> dict[str, tuple[str, str]]:
    return {
        "segment": (_("Segment"), ""),
        "lesion": (_("Lesion"), ""),
        "volume_mL": (_("Volume"), "mL"),
        "volume_with_tumors_mL": (_("With tumors"), "mL"),
        "mean_HU": (_("Mean"), "HU"),
        "lesion_count": (_("Lesions"), ""),
        "longest_axial_diameter_mm": (_("Longest axial diameter"), "mm"),
        "center_R_mm": (_("Center R"), "mm"),
        "center_A_mm": (_("Center A"), "mm"),
        "center_S_mm": (_("Center S"), "mm"),
        "slice_index": (_("Slice"), ""),
        "sd_HU": (_("SD"), "HU"),
        "side": (_("Side"), ""),
        "right_volume_mL": (_("Right"), "mL"),
        "left_volume_mL": (_("Left"), "mL"),
        "note": (_("Note"), ""),
    }
