"""What a reader sees above the columns of the table of measures; their names are for programs."""

from __future__ import annotations

import slicer
from slicer.i18n import tr as _


def give_titles(node: slicer.vtkMRMLTableNode) -> None:
    """Gives the columns of a table of measures their titles and units, which table views show in place of the names.

    Descriptions are shown where the mouse rests on a cell.
    """
    for column, (title, unit) in _titles().items():
        node.SetColumnTitle(column, title)
        node.SetColumnUnitLabel(column, unit)
    for column, description in _descriptions().items():
        node.SetColumnDescription(column, description)


def _titles() -> dict[str, tuple[str, str]]:
    return {
        "segment": (_("Segment"), ""),
        "lesion": (_("Lesion"), ""),
        "volume_mL": (_("Volume"), "mL"),
        "volume_with_tumors_mL": (_("With tumors"), "mL"),
        "mean_HU": (_("Mean"), "HU"),
        "lesion_count": (_("Lesions"), ""),
        "longest_axial_diameter_mm": (_("Diameter"), "mm"),
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


def _descriptions() -> dict[str, str]:
    return {
        "volume_mL": _("Volume. An organ's is without its tumors."),
        "volume_with_tumors_mL": _("Volume of an organ with its tumors."),
        "mean_HU": _("Mean of all voxels in Hounsfield units."),
        "longest_axial_diameter_mm": _("Longest axial diameter of a lesion."),
        "center_R_mm": _("Center of a lesion, to the patient's right; negative to the left."),
        "center_A_mm": _("Center of a lesion, anterior; negative posterior."),
        "center_S_mm": _("Center of a lesion, superior; negative inferior."),
        "sd_HU": _("Standard deviation of all voxels in Hounsfield units."),
        "right_volume_mL": _("Volume on the patient's right side."),
        "left_volume_mL": _("Volume on the patient's left side."),
    }
