"""Where an image's voxels lie, without SimpleITK: as the worker tells it to Slicer."""

# Annotations are types here, and not text: `worker_protocol` reads grids by them.

from dataclasses import dataclass


@dataclass(frozen=True)
class Grid:
    """Where voxels lie.

    Attributes:
        shape: number of voxels (z, y, x).
        spacing: mm between voxels along (x, y, z).
        origin: center of the first voxel, mm in LPS.
        direction: 3x3 row-major, columns are the directions of x, y and z in LPS, as SimpleITK has them.
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: tuple[float, float, float, float, float, float, float, float, float]
