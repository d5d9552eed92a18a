"""What is measured of a segmentation, and its rows in the table that the command writes and the scene holds.

Standard library only: Slicer reads measures that the worker made.
"""

# Annotations are types here, and not text: `worker_protocol` reads measures by them.

import math
from dataclasses import dataclass
from typing import Literal

Point = tuple[float, float, float]
"""Left, posterior and superior in mm, as DICOM and SimpleITK count."""

RasPoint = tuple[float, float, float]
"""Right, anterior and superior in mm, as Slicer counts."""

Side = Literal["right", "left"]

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

SMALLEST_RATIO = 1 / 32
"""A smaller ratio of a focus is drawn there: its logarithm has no end."""


@dataclass(frozen=True)
class Lesion:
    """One connected piece of a tumor label.

    Attributes:
        number: 1 for the largest lesion of its label.
        volume_ml: volume in mL.
        mean_hu: mean HU of its voxels.
        sd_hu: standard deviation of their HU.
        longest_axial_diameter_mm: the longest distance between two points of the lesion's outline in one axial slice.
            Where a slice cuts the lesion into pieces, both points are of the same piece. The outline runs through the
            middles of the voxels' outer edges: a row of n voxels is n voxels long, a single voxel as long as its longer
            side, and a disc comes out at its diameter to within one voxel.
        diameter_ends_mm: the two ends of that diameter.
        center_mm: center of gravity.
        slice_index: index (from 0) along array axis 0 of the CT at the middle of that diameter. In a CT that was
            acquired axially this is the slice of the diameter.
        side: of an organ that a body has two of, on which the lesion lies; none where that is not clear, and for
            other organs.
    """

    number: int
    volume_ml: float
    mean_hu: float
    sd_hu: float
    longest_axial_diameter_mm: float
    diameter_ends_mm: tuple[Point, Point]
    center_mm: Point
    slice_index: int
    side: Side | None


@dataclass(frozen=True)
class SegmentMeasures:
    """What was measured of one label.

    Attributes:
        label: name of the label.
        volume_ml: volume of the voxels of this label in mL; for an organ, without its tumors. 0 where there are none.
        volume_with_tumors_ml: for an organ, its volume with its tumors, in mL; none for a tumor.
        mean_hu: mean HU of the voxels of this label; none where there are none.
        sd_hu: standard deviation of their HU; none where there are none.
        lesions: the lesions of a tumor, largest first; none for an organ.
        side_ml: of an organ that a body has two of, or its tumor, the volume in mL on each side; empty where the sides
            are not clear, see `find_sides`, and for other labels.
    """

    label: str
    volume_ml: float
    volume_with_tumors_ml: float | None
    mean_hu: float | None
    sd_hu: float | None
    lesions: list[Lesion]
    side_ml: dict[Side, float]

    @property
    def of_tumor(self) -> bool:
        """Whether the label is a tumor."""
        return self.volume_with_tumors_ml is None


def percent(share: float) -> str:
    """A share in percent, with a decimal where it is small: a third of a percent is not nothing."""
    if 0 < share < 0.0005:
        return "less than 0.1"
    return f"{100 * share:.{0 if share >= 0.1 else 1}f}"


def in_ml(ml: float) -> str:
    """A volume above 0 as sentences tell it."""
    return f"{ml:.1f} mL" if ml >= 0.05 else "less than 0.1 mL"


def decimal(value: float, decimals: int) -> str:
    """A number of a table with so many decimals; with four digits that count where it is above 0 and below 0.01."""
    if 0 < value < 0.01:
        decimals = 3 - math.floor(math.log10(value))
    return f"{value:.{decimals}f}"


def segment_row(name: str, measured: SegmentMeasures) -> dict[str, str]:
    """The texts of a segment's row, by column of `CSV_COLUMNS`; nothing in those that are not its own."""
    row = {"segment": name, "volume_mL": decimal(measured.volume_ml, 3)}
    if measured.volume_with_tumors_ml is None:
        row["lesion_count"] = str(len(measured.lesions))
    else:
        row["volume_with_tumors_mL"] = decimal(measured.volume_with_tumors_ml, 3)
    if measured.mean_hu is not None and measured.sd_hu is not None:
        row |= {"mean_HU": f"{measured.mean_hu:.1f}", "sd_HU": f"{measured.sd_hu:.1f}"}
    return row | {f"{side}_volume_mL": decimal(ml, 3) for side, ml in measured.side_ml.items()}


def lesion_row(name: str, lesion: Lesion, center_ras: RasPoint, slice_index: int) -> dict[str, str]:
    """The texts of a lesion's row, by column of `CSV_COLUMNS`.

    Args:
        name: of its segment.
        lesion: what was measured.
        center_ras: its center.
        slice_index: of its diameter.
    """
    right, anterior, superior = center_ras
    return {
        "segment": name,
        "lesion": str(lesion.number),
        "volume_mL": decimal(lesion.volume_ml, 3),
        "mean_HU": f"{lesion.mean_hu:.1f}",
        "longest_axial_diameter_mm": f"{lesion.longest_axial_diameter_mm:.1f}",
        "center_R_mm": f"{right:.1f}",
        "center_A_mm": f"{anterior:.1f}",
        "center_S_mm": f"{superior:.1f}",
        "slice_index": str(slice_index),
        "sd_HU": f"{lesion.sd_hu:.1f}",
        "side": lesion.side or "",
    }
