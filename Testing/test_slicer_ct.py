"""A CT in the scene as the worker is given it: where it lies, which part of it, and what cannot be segmented."""

import os
from concurrent.futures import CancelledError
from threading import Event

import numpy as np
import pytest
import SimpleITK as sitk
from HLFDSegmentationLib.child_process.raw_images import read_raw
from HLFDSegmentationLib.errors import InputError, OutputError
from slicer_cases import (
    LPS_TO_RAS,
    Later,
    add_bending_transform,
    add_roi,
    add_transform,
    add_volume,
    shift,
    slicer,
    turn,
    vtk,
)

ct = Later("HLFDSegmentationLib.slicer_scene.slicer_ct")

pytestmark = pytest.mark.usefixtures("slicer_shell")

SHAPE = (7, 9, 11)
OBLIQUE = sitk.Euler3DTransform((0, 0, 0), 0.3, -0.2, 0.5).GetMatrix()
FLIPPED = (-1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, -1.0, 0.0)
MIRRORED = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
DIRECTIONS = {"oblique": OBLIQUE, "flipped": FLIPPED, "mirrored": MIRRORED, "straight": tuple(np.eye(3).ravel())}


def image(direction="oblique", dtype=np.int16):
    """Anisotropic, and each voxel has a value of its own."""
    made = sitk.GetImageFromArray((np.arange(np.prod(SHAPE)).reshape(SHAPE) - 300).astype(dtype))
    made.SetSpacing((0.7, 0.9, 2.5))
    made.SetOrigin((-120.0, 34.0, 560.0))
    made.SetDirection(DIRECTIONS[direction])
    return made


def told(part, folder):
    """What the worker gets to see."""
    return read_raw(ct.write_raw(part.voxels, part.grid, folder / "ct.raw"))


def same_place(one, other):
    return all(
        np.allclose(getattr(one, get)(), getattr(other, get)(), rtol=0, atol=1e-6)
        for get in ("GetSpacing", "GetOrigin", "GetDirection")
    )


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_worker_gets_the_very_image_that_was_loaded(direction, tmp_path):
    loaded = image(direction)
    seen = told(ct.part_of(add_volume(loaded)), tmp_path)
    assert same_place(seen, loaded)
    assert np.array_equal(sitk.GetArrayViewFromImage(seen), sitk.GetArrayViewFromImage(loaded))


@pytest.mark.parametrize(
    ("dtype", "travels_as"),
    [
        (np.int8, sitk.sitkInt16),
        (np.uint8, sitk.sitkUInt8),
        (np.uint16, sitk.sitkFloat32),
        (np.int32, sitk.sitkFloat32),
        (np.float32, sitk.sitkFloat32),
        (np.float64, sitk.sitkFloat32),
    ],
)
def test_every_type_of_voxel_keeps_its_values(dtype, travels_as, tmp_path):
    values = (np.arange(np.prod(SHAPE)).reshape(SHAPE) % 100).astype(dtype)
    loaded = image()
    node = add_volume(loaded)
    slicer.util.updateVolumeFromArray(node, values)
    seen = told(ct.part_of(node), tmp_path)
    assert seen.GetPixelID() == travels_as
    assert np.array_equal(sitk.GetArrayViewFromImage(seen), values)


def test_nothing_is_copied_in_memory():
    node = add_volume(image())
    assert np.shares_memory(ct.part_of(node).voxels, slicer.util.arrayFromVolume(node))


def test_what_was_read_stays_when_the_node_gets_other_voxels(tmp_path):
    node = add_volume(image())
    part = ct.part_of(node)
    before = part.voxels.copy()
    other = vtk.vtkImageData()
    other.SetDimensions(4, 4, 4)
    other.AllocateScalars(vtk.VTK_SHORT, 1)
    node.SetAndObserveImageData(other)
    node.SetSpacing(5, 5, 5)
    assert np.array_equal(sitk.GetArrayFromImage(told(part, tmp_path)), before)


# Transforms


@pytest.mark.parametrize("direction", ["oblique", "flipped"])
def test_a_rigid_movement_counts_for_what_is_axial(direction, tmp_path):
    """The worker sees the patient upright, as the slice views show it."""
    loaded = image(direction)
    node = add_volume(loaded)
    movement = shift(10, -20, 30) @ turn(80, "x") @ turn(25, "y")
    outer = add_transform(turn(10))
    add_transform(movement, node, parent=outer)
    part = ct.part_of(node)
    seen = told(part, tmp_path)
    moved = LPS_TO_RAS @ turn(10) @ movement @ LPS_TO_RAS
    for index in [(0, 0, 0), (10, 8, 6), (3, 1, 5)]:
        expected = moved @ [*loaded.TransformIndexToPhysicalPoint(index), 1]
        assert np.allclose(seen.TransformIndexToPhysicalPoint(index), expected[:3])
        world = LPS_TO_RAS @ expected
        assert np.allclose(part.to_world(seen.TransformIndexToPhysicalPoint(index)), world[:3])
    back = part.to_own(part.grid)
    assert np.allclose(back.origin, loaded.GetOrigin())
    assert np.allclose(back.direction, loaded.GetDirection())


@pytest.mark.parametrize("side", [1.0, -1.0], ids=["as it is", "mirrored"])
def test_of_a_transform_that_stretches_only_the_stretch_is_left_out(side, tmp_path):
    """Volumes are those of the CT that was acquired. It lies where the views show it, and is turned as they do."""
    loaded = image()
    node = add_volume(loaded)
    movement = shift(30, -20, 112) @ turn(80, "x") @ np.diag([side, 1.0, 1.0, 1.0])
    add_transform(movement @ np.diag([1.1, 1.0, 0.9, 1.0]), node)
    part = ct.part_of(node)
    seen = told(part, tmp_path)
    assert np.allclose(seen.GetSpacing(), loaded.GetSpacing())
    turned = (LPS_TO_RAS @ movement @ LPS_TO_RAS)[:3, :3] @ np.reshape(loaded.GetDirection(), (3, 3))
    assert np.allclose(np.reshape(seen.GetDirection(), (3, 3)), turned)
    middle = np.array(seen.TransformIndexToPhysicalPoint((5, 4, 3)))
    for index in [(5, 4, 3), (0, 0, 0), (10, 8, 6)]:
        point = np.array(seen.TransformIndexToPhysicalPoint(index))
        shown = (part.voxel_to_world @ [*index, 1])[:3]
        assert np.allclose(part.to_world(point), shown)
        off = np.linalg.norm(LPS_TO_RAS[:3, :3] @ point - shown)
        assert off <= 0.1 * np.linalg.norm(point - middle) + 1e-6
    back = part.to_own(part.grid)
    assert np.allclose(back.origin, loaded.GetOrigin()) and np.allclose(back.direction, loaded.GetDirection())


@pytest.mark.parametrize(
    ("matrix", "stretched"),
    [
        (lambda: shift(300, -200, 100) @ turn(33, "y"), False),
        (lambda: np.diag([-1.0, 1.0, 1.0, 1.0]), False),
        (lambda: turn(33) @ np.diag([1.0, 1.01, 1.0, 1.0]), True),
    ],
)
def test_a_stretch_is_told_from_a_movement(matrix, stretched):
    node = add_volume(image())
    add_transform(matrix(), node)
    assert ct.part_of(node).is_stretched is stretched


# Region of interest


def test_a_region_of_interest_is_the_voxels_that_it_touches():
    loaded = image("straight")
    first, last = (2, 1, 3), (6, 4, 5)
    corners = [
        (LPS_TO_RAS @ [*loaded.TransformContinuousIndexToPhysicalPoint([i + half for i in index]), 1])[:3]
        for index, half in ((first, -0.4), (last, 0.4))
    ]
    roi = add_roi(np.mean(corners, axis=0), np.abs(np.subtract(*corners)))
    assert ct.part_of(add_volume(loaded), roi).region == (2, 6, 1, 4, 3, 5)


@pytest.mark.parametrize(
    ("direction", "up"),
    [((1, 0, 0, 0, 1, 0, 0, 0, 1), 2), ((1, 0, 0, 0, 0, 1, 0, -1, 0), 1), ((0, 0, 1, 1, 0, 0, 0, 1, 0), 1)],
    ids=["axial", "coronal", "sagittal"],
)
def test_the_network_is_given_whole_axial_slices_around_a_region(direction, up, tmp_path):
    """It has learned from whole slices, and would find little in a box that is cut out of them."""
    loaded = sitk.GetImageFromArray(np.random.default_rng(0).integers(-100, 100, (20, 21, 22), np.int16))
    loaded.SetSpacing((4.0, 4.0, 4.0))
    loaded.SetDirection(direction)
    center = LPS_TO_RAS @ [*loaded.TransformIndexToPhysicalPoint((10, 10, 10)), 1]
    part = ct.part_of(add_volume(loaded), add_roi(center[:3], (4, 4, 4)))
    assert part.region == (10, 10, 10, 10, 10, 10)
    slices = [slice(None)] * 3
    slices[up] = slice(7, 14)  # 10 mm on either side
    seen = told(part, tmp_path)
    assert same_place(seen, loaded[tuple(slices)])
    assert np.array_equal(sitk.GetArrayViewFromImage(seen), sitk.GetArrayViewFromImage(loaded[tuple(slices)]))


def test_of_a_ct_that_lies_askew_a_region_takes_all_slices():
    """The network's slices, across the patient, are cut through many of its own."""
    node = add_volume(image("straight"))
    add_transform(turn(30, "x"), node)
    part = ct.part_of(node, add_roi((0, 0, 0), (5000, 5000, 5000)))
    assert part.extent == part.whole
    center = np.array(part.voxel_to_world @ [5, 4, 0, 1])[:3]
    part = ct.part_of(node, add_roi(center, (0.5, 0.5, 0.5)))
    assert part.region != part.whole and part.extent == part.whole


def test_a_region_as_large_as_voxels_takes_those_voxels_only():
    node = add_volume(image("straight"))
    low, high = (
        (LPS_TO_RAS @ [*image("straight").TransformContinuousIndexToPhysicalPoint(index), 1])[:3]
        for index in ((1.5, 2.5, 0.5), (4.5, 5.5, 3.5))
    )
    part = ct.part_of(node, add_roi((low + high) / 2, np.abs(high - low)))
    assert part.region == (2, 4, 3, 5, 1, 3)


@pytest.mark.parametrize("transformed", [False, True])
def test_a_turned_region_gets_the_box_around_it_in_the_cts_own_voxels(transformed):
    loaded = image("oblique")
    node = add_volume(loaded)
    movement = np.eye(4)
    if transformed:
        movement = shift(5, 6, 7) @ turn(40, "y")
        add_transform(movement, node)
    center = movement @ LPS_TO_RAS @ [*loaded.TransformIndexToPhysicalPoint((5, 4, 3)), 1]
    size = np.array([2.0, 3.0, 4.0])
    rotation = turn(33, "x") @ turn(20)
    roi = add_roi(center[:3], size, rotation)
    own = np.linalg.inv(movement)
    inside = []
    for share in np.random.default_rng(0).uniform(-0.5, 0.5, (2000, 3)):
        world = np.array([*(center[:3] + rotation[:3, :3] @ (share * size)), 1])
        point = (LPS_TO_RAS @ own @ world)[:3].tolist()
        inside.append(loaded.TransformPhysicalPointToContinuousIndex(point))
    low, high = np.min(inside, axis=0), np.max(inside, axis=0)
    expected = [round(end) for ends in zip(low, high) for end in ends]
    extent = ct.part_of(node, roi).region
    # The samples do not reach the region's very corners.
    assert all(0 <= (e - x if i % 2 == 0 else x - e) <= 1 for i, (x, e) in enumerate(zip(extent, expected)))


def test_a_region_that_reaches_beyond_the_ct_is_cut_to_it():
    part = ct.part_of(add_volume(image()), add_roi((0, 0, 0), (5000, 5000, 5000)))
    assert part.region == part.extent == (0, 10, 0, 8, 0, 6)


@pytest.mark.parametrize("region", [((900, 0, 0), (10, 10, 10)), ((0, 0, 0), (0, 0, 0))])
def test_a_region_beside_the_ct_is_refused(region):
    with pytest.raises(InputError, match="'ROI' does not meet the CT"):
        ct.part_of(add_volume(image()), add_roi(*region))


# What cannot be segmented


def no_node():
    return None


def no_image():
    return slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT 1")


def empty_image():
    node = no_image()
    node.SetAndObserveImageData(vtk.vtkImageData())
    return node


def colors():
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "CT 1")
    slicer.util.updateVolumeFromArray(node, np.zeros((3, 4, 5, 3), np.uint8))
    return node


def labels():
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "CT 1")
    slicer.util.updateVolumeFromArray(node, np.zeros((3, 4, 5), np.uint8))
    return node


def bent():
    node = add_volume(image())
    add_bending_transform(node)
    return node


def bent_further_up():
    node = add_volume(image())
    straight = add_transform(turn(10), node)
    add_bending_transform(straight)
    return node


def flat():
    node = add_volume(image())
    add_transform(np.diag([1.0, 0.0, 1.0, 1.0]), node)
    return node


def leaning():
    node = add_volume(image())
    node.SetIJKToRASDirections(1, 0.2, 0, 0, 1, 0, 0, 0, 1)
    return node


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (no_node, "Choose the CT"),
        (no_image, "'CT 1' holds no voxels"),
        (empty_image, "'CT 1' holds no voxels"),
        (colors, "'CT 1' is not a CT|several values"),
        (labels, "'CT 1' is not a CT"),
        (bent, "'CT 1' is under the transform 'Bending', which bends it"),
        (bent_further_up, "'CT 1' is under the transform 'Transform', which bends it"),
        (flat, "'CT 1' makes|of 'CT 1' makes it flat"),
        (leaning, "axes of 'CT 1' do not stand at right angles"),
    ],
)
def test_what_cannot_be_segmented_is_refused_with_a_sentence(make, sentence):
    node = make()
    with pytest.raises(InputError, match=sentence) as error:
        ct.part_of(node)
    assert ct.problem_with(node) == str(error.value)
    assert ct.problem_with(node).count(".") >= 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_disk_is_told_in_a_sentence():
    part = ct.part_of(add_volume(image()))
    with pytest.raises(OutputError, match=r"No space left on device\. Free some space"):
        ct.write_raw(part.voxels, part.grid, "/dev/full")


def test_writing_ends_when_it_is_stopped(tmp_path):
    part = ct.part_of(add_volume(image()))
    stopped = Event()
    stopped.set()
    with pytest.raises(CancelledError):
        ct.write_raw(part.voxels, part.grid, tmp_path / "ct.raw", stopped)
    assert (tmp_path / "ct.raw").stat().st_size == 0
