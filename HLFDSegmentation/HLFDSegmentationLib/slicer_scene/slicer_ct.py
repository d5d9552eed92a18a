"""A CT in the scene: whether it can be segmented, where it lies, and its voxels as a raw file for the worker."""

from __future__ import annotations

import math
from concurrent.futures import CancelledError
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util.numpy_support import vtk_to_numpy

from ..child_process.raw_voxels import stored_type
from ..child_process.worker_protocol import RawImage, VoxelType
from ..errors import InputError, OutputError
from ..grids import Grid
from ..measures import Point, RasPoint
from .slicer_scene_result import is_linear, own_to_world, voxel_to_world

Extent = tuple[int, int, int, int, int, int]
"""First and last voxel along i, j and k."""

Box = tuple[slice, slice, slice]
"""A part [k, j, i] of an array."""

RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])

CONTEXT_MM = 10.0
"""Slices beyond a region of interest are looked at as well, up to here: the network's answers support each other over
some slices, and what is found in a region's last slice may go on beyond it."""

TILT_OF_A_PART_DEGREES = 10.0
"""The network looks at slices across the patient. Those of a CT that lies askew by more may be cut anew, through many
of its own: no part of these alone will do."""

# Rounding in files, transforms and regions stays below this; what matters does not.
TOLERANCE = 1e-3

# What travels as it is, or in a wider type. float32 holds every other CT value exactly enough.
RAW_TYPES: dict[str, VoxelType] = {"int8": "int16", "uint8": "uint8", "int16": "int16"}


@dataclass(frozen=True, eq=False)
class CtPart:
    """A CT volume node, or those of its slices that hold a region of interest, as it was at one moment.

    The network has learned from whole slices: of a box cut out of them it would find little. So whole slices are
    handed over, and only the region is labeled.

    Slicer may put other voxels into the node while a run goes on, as the browser of a sequence does: what is kept
    here stays.

    Attributes:
        voxels: a view [k, j, i] of the slices. Nothing is copied.
        extent: the slices, in the node's voxels.
        region: what is to be labeled of them, in the node's voxels.
        whole: all of the node's voxels.
        voxel_to_own: (4, 4), from the node's voxels to mm in RAS, without its parent transform.
        own_to_world: (4, 4), its parent transform.
        grid: where the slices lie, as the worker is told. The parent transform counts: it may be what turns the
            patient upright, and slices must be axial in the patient. Only what it stretches is left out, around the
            CT's center, as volumes are measured in the CT that was acquired.
        told_to_own: (4, 4) in RAS, from where the worker believes a point to lie.
    """

    voxels: np.ndarray
    extent: Extent
    region: Extent
    whole: Extent
    voxel_to_own: np.ndarray
    own_to_world: np.ndarray
    grid: Grid
    told_to_own: np.ndarray

    def lies_as(self, volume_node: slicer.vtkMRMLVolumeNode) -> bool:
        """Whether the node's voxels still lie where they lay, apart from its parent transform."""
        return np.allclose(self.voxel_to_own, voxel_matrix(volume_node), rtol=0, atol=TOLERANCE)

    @property
    def voxel_to_world(self) -> np.ndarray:
        """(4, 4), from the node's voxels to RAS in the world."""
        return self.own_to_world @ self.voxel_to_own

    @property
    def told_to_voxel(self) -> np.ndarray:
        """(4, 4), from where the worker believes a point to lie, in RAS, to the node's voxels."""
        return np.linalg.inv(self.voxel_to_own) @ self.told_to_own

    @property
    def is_stretched(self) -> bool:
        """Whether the parent transform does more than to move or to mirror."""
        return not _is_rigid(self.own_to_world)

    def grid_of(self, volume_node: slicer.vtkMRMLVolumeNode) -> Grid:
        """Where the voxels of another volume that lies on this CT are, as the worker is told."""
        world_to_told = np.linalg.inv(self.own_to_world @ self.told_to_own)
        voxel_to_told = world_to_told @ slicer.util.arrayFromVTKMatrix(voxel_to_world(volume_node))
        return _grid(voxel_to_told, volume_node.GetImageData().GetExtent())

    def to_world(self, told: Point) -> RasPoint:
        """A point in the world, from one that the worker told."""
        x, y, z, _one = self.own_to_world @ self.told_to_own @ RAS_FROM_LPS @ [*told, 1.0]
        return float(x), float(y), float(z)

    def to_own(self, told: Grid) -> Grid:
        """A grid in the CT's own coordinates, without its parent transform, from one that the worker told."""
        movement = RAS_FROM_LPS @ self.told_to_own @ RAS_FROM_LPS
        direction = movement[:3, :3] @ np.reshape(told.direction, (3, 3))
        origin = movement @ [*told.origin, 1.0]
        return replace(told, origin=tuple(origin[:3].tolist()), direction=tuple(direction.ravel().tolist()))


def problem_with(volume_node: slicer.vtkMRMLVolumeNode | None) -> str | None:
    """A sentence why a volume node cannot be segmented; None where it can. Whether it looks like HU is not asked."""
    if volume_node is None:
        return _("Choose the CT to segment.")
    name = volume_node.GetName()
    if not volume_node.IsA("vtkMRMLScalarVolumeNode") or volume_node.IsA("vtkMRMLLabelMapVolumeNode"):
        return _("'{name}' is not a CT: its voxels are labels, colors or vectors. Choose a CT.").format(name=name)
    image = volume_node.GetImageData()
    if image is None or not image.GetNumberOfPoints() or image.GetPointData().GetScalars() is None:
        return _("'{name}' holds no voxels. Load the CT again, or choose another one.").format(name=name)
    if image.GetNumberOfScalarComponents() != 1:
        return _("'{name}' has several values in each voxel, like a color picture. Choose a CT.").format(name=name)
    transform = volume_node.GetParentTransformNode()
    if not is_linear(transform):
        return _(
            "'{name}' is under the transform '{transform}', which bends it. Harden the transform, or take the CT out "
            "of it (Transforms module), then segment."
        ).format(name=name, transform=transform.GetName())
    if not _is_regular(slicer.util.arrayFromVTKMatrix(voxel_to_world(volume_node))):
        return _("The transform or the spacing of '{name}' makes it flat. Correct it, then segment.").format(name=name)
    if not _has_right_angles(voxel_matrix(volume_node)):
        return _(
            "The axes of '{name}' do not stand at right angles to each other. Resample the CT (Resample Scalar/Vector/"
            "DWI Volume module), then segment."
        ).format(name=name)
    return None


def part_of(
    volume_node: slicer.vtkMRMLVolumeNode | None, roi_node: slicer.vtkMRMLMarkupsROINode | None = None
) -> CtPart:
    """What is to be segmented of a volume node, without copying a voxel.

    Args:
        volume_node: the CT.
        roi_node: only what this region of interest holds is to be labeled; a rotated region gets the box of voxels
            around it.

    Raises:
        InputError: the node cannot be segmented, or the region lies beside it.
    """
    if problem := problem_with(volume_node):
        raise InputError(problem)
    assert volume_node is not None  # That is a problem, too.
    image = volume_node.GetImageData()
    whole = image.GetExtent()
    to_world = slicer.util.arrayFromVTKMatrix(own_to_world(volume_node))
    voxel_to_own = voxel_matrix(volume_node)
    center = voxel_to_own @ [*np.add(whole[::2], whole[1::2]) / 2, 1.0]
    own_to_told = _without_stretch(to_world, center)
    voxel_to_told = own_to_told @ voxel_to_own
    region = _box_around(roi_node, to_world @ voxel_to_own, whole) if roi_node is not None else whole
    extent = _slices_around(region, voxel_to_told, whole)
    voxels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
    return CtPart(
        voxels=voxels[box_within(extent, whole)],
        extent=extent,
        region=region,
        whole=whole,
        voxel_to_own=voxel_to_own,
        own_to_world=to_world,
        grid=_grid(voxel_to_told, extent),
        told_to_own=np.linalg.inv(own_to_told),
    )


def write_raw(voxels: np.ndarray, grid: Grid, path: Path, stopped: Event | None = None) -> RawImage:
    """Writes voxels as the worker reads them. Touches no node, so that a thread of its own can do it.

    Args:
        voxels: [z, y, x], of any type.
        grid: where they lie.
        path: the file.
        stopped: set it to end the writing early.

    Raises:
        OutputError: the file cannot be written.
        CancelledError: it was stopped before its end.
    """
    voxel_type = RAW_TYPES.get(voxels.dtype.name, "float32")
    stored = stored_type(voxel_type)
    try:
        with open(path, "wb") as file:
            for plane in voxels:
                if stopped is not None and stopped.is_set():
                    raise CancelledError
                file.write(np.ascontiguousarray(plane, stored).data)
    except OSError as error:
        raise OutputError(
            _(
                "The voxels could not be handed to the segmentation process: {reason}. Free some space on the disk "
                "that holds temporary files, then try again."
            ).format(reason=error.strerror or error)
        ) from error
    return RawImage(str(path), voxel_type, grid)


def voxel_to_lps(grid: Grid) -> np.ndarray:
    """(4, 4), from the voxels (i, j, k) of a grid to mm in LPS."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(grid.direction, (3, 3)) * grid.spacing
    matrix[:3, 3] = grid.origin
    return matrix


def voxel_matrix(volume_node: slicer.vtkMRMLVolumeNode) -> np.ndarray:
    """(4, 4), from a volume's voxels to mm in RAS, without its parent transform."""
    matrix = vtk.vtkMatrix4x4()
    volume_node.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def _is_regular(matrix: np.ndarray) -> bool:
    return bool(np.isfinite(matrix).all()) and abs(np.linalg.det(matrix)) > 1e-12


def _has_right_angles(matrix: np.ndarray) -> bool:
    axes = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
    return np.allclose(axes.T @ axes, np.eye(3), rtol=0, atol=TOLERANCE)


def _is_rigid(matrix: np.ndarray) -> bool:
    return np.allclose(matrix[:3, :3].T @ matrix[:3, :3], np.eye(3), rtol=0, atol=TOLERANCE)


def _without_stretch(matrix: np.ndarray, center: np.ndarray) -> np.ndarray:
    """The movement closest to a matrix that takes a point (x, y, z, 1) to the same place. A mirror stays one."""
    left, _sizes, right = np.linalg.svd(matrix[:3, :3])
    movement = np.eye(4)
    movement[:3, :3] = left @ right
    movement[:3, 3] = (matrix @ center - movement @ center)[:3]
    return movement


def box_within(extent: Extent, whole: Extent) -> Box:
    """Voxels of a larger extent as a part [k, j, i] of its array."""
    i, j, k = (slice(extent[a] - whole[a], extent[a + 1] - whole[a] + 1) for a in (0, 2, 4))
    return k, j, i


def _slices_around(region: Extent, voxel_to_ras: np.ndarray, whole: Extent) -> Extent:
    """The axial slices that hold a region, and those up to `CONTEXT_MM` beyond it."""
    axes = voxel_to_ras[:3, :3]
    spacing = np.linalg.norm(axes, axis=0)
    cosines = np.abs(axes / spacing)
    if np.degrees(np.arccos(min(1.0, cosines.max(axis=0).min()))) > TILT_OF_A_PART_DEGREES:
        return whole
    up = int(cosines[2].argmax())
    reach = math.ceil(CONTEXT_MM / spacing[up])
    first, last = max(whole[2 * up], region[2 * up] - reach), min(whole[2 * up + 1], region[2 * up + 1] + reach)
    i, j, k = ((first, last) if axis == up else whole[2 * axis : 2 * axis + 2] for axis in range(3))
    return i[0], i[1], j[0], j[1], k[0], k[1]


def _grid(voxel_to_ras: np.ndarray, extent: Extent) -> Grid:
    """Voxels as the worker is told them.

    Args:
        voxel_to_ras: (4, 4), axes at right angles.
        extent: which voxels.
    """
    lps = RAS_FROM_LPS @ voxel_to_ras
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    origin = lps @ [extent[0], extent[2], extent[4], 1]
    columns, rows, slices = (last - first + 1 for first, last in zip(extent[::2], extent[1::2]))
    return Grid(
        shape=(slices, rows, columns),
        spacing=tuple(spacing.tolist()),
        origin=tuple(origin[:3].tolist()),
        direction=tuple((lps[:3, :3] / spacing).ravel().tolist()),
    )


def _box_around(roi_node: slicer.vtkMRMLMarkupsROINode, voxel_to_world: np.ndarray, whole: Extent) -> Extent:
    """The voxels that a region of interest touches.

    Raises InputError where there are none.
    """
    object_to_world = slicer.util.arrayFromVTKMatrix(roi_node.GetObjectToWorldMatrix())
    corners = np.array([[*(np.array(corner) - 0.5) * roi_node.GetSize(), 1.0] for corner in np.ndindex(2, 2, 2)])
    voxels = (np.linalg.inv(voxel_to_world) @ object_to_world @ corners.T)[:3]
    extent = []
    for low, high, first, last in zip(voxels.min(axis=1), voxels.max(axis=1), whole[::2], whole[1::2]):
        # A voxel reaches half a voxel to either side; one that is only touched from outside does not count.
        extent += [max(first, math.floor(low + 0.5 + TOLERANCE)), min(last, math.ceil(high - 0.5 - TOLERANCE))]
    if any(first > last for first, last in zip(extent[::2], extent[1::2])) or not min(roi_node.GetSize()) > 0:
        raise InputError(
            _("The region of interest '{name}' does not meet the CT. Move it onto the CT, or choose none.").format(
                name=roi_node.GetName()
            )
        )
    return tuple(extent)
