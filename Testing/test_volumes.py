"""A CT becomes axial slices and comes back without moving by a tenth of a pixel."""

from itertools import permutations, product

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from HLFDSegmentationLib.axial_volume import AxialVolume
from HLFDSegmentationLib.ct_files import read_ct
from HLFDSegmentationLib.errors import InputError
from HLFDSegmentationLib.hounsfield import hu_problem
from HLFDSegmentationLib.tasks import TASKS
from HLFDSegmentationLib.volumes import AxialSlices

TASK = TASKS["liver-tumor"]
RADIUS_MM = 9.0
IDENTITY = np.eye(3)


def orientations() -> list[np.ndarray]:
    """All 48 ways in which an image's axes can lie along the patient's."""
    return [
        IDENTITY[:, list(order)] * signs for order in permutations(range(3)) for signs in product((1, -1), repeat=3)
    ]


def rotation(degrees: float) -> np.ndarray:
    x, z = (sitk.Euler3DTransform() for _ in range(2))
    x.SetRotation(np.radians(degrees), 0, 0)
    z.SetRotation(0, 0, np.radians(degrees / 2))
    return np.array(x.GetMatrix()).reshape(3, 3) @ np.array(z.GetMatrix()).reshape(3, 3)


def ball(direction=IDENTITY, size=(34, 40, 30), spacing=(1.5, 1.2, 1.7), offset=(4.3, -5.1, 6.7), value=160.0):
    """A CT of a ball of `value` HU in -40 HU, `offset` mm (LPS) away from the CT's center, and the ball's center.

    Its edge is as wide as the largest voxel side, as partial volume makes it.
    """
    ct = sitk.Image(size, sitk.sitkInt16)
    ct.SetSpacing(spacing)
    ct.SetDirection(np.ravel(direction).tolist())
    ct.SetOrigin((-210.0, 33.0, 1007.0))
    center = np.array(ct.TransformContinuousIndexToPhysicalPoint((np.array(size) - 1) / 2)) + offset
    index = np.stack(np.meshgrid(*(np.arange(n) for n in size), indexing="ij"), axis=-1)
    points = np.array(ct.GetOrigin()) + (index * spacing) @ np.asarray(direction).T
    inside = np.clip((RADIUS_MM - np.linalg.norm(points - center, axis=-1)) / max(spacing) + 0.5, 0, 1)
    voxels = (-40 + (value + 40) * inside).transpose(2, 1, 0)
    image = sitk.GetImageFromArray(np.round(voxels).astype(np.int16))
    image.CopyInformation(ct)
    return image, center


def center_of_mass(image: sitk.Image) -> np.ndarray:
    """In mm."""
    weights = sitk.GetArrayFromImage(image).astype(float)
    index = [float((np.indices(weights.shape)[axis] * weights).sum() / weights.sum()) for axis in (2, 1, 0)]
    return np.array(image.TransformContinuousIndexToPhysicalPoint(index))


def there_and_back(ct: sitk.Image) -> tuple[AxialSlices, np.ndarray, sitk.Image]:
    """The slices, all of them as the network sees them, and what is bright in them as labels on the CT."""
    slices = AxialSlices(ct, TASK)
    images = slices.images(0, slices.count)
    bright = slices.to_grid(torch.from_numpy(images))[:, 0] >= 0.5
    return slices, images, slices.own.image_of(slices.to_own(bright.numpy().astype(np.uint8)))


def same_grid(a: sitk.Image, b: sitk.Image) -> bool:
    return (
        a.GetSize() == b.GetSize()
        and a.GetSpacing() == b.GetSpacing()
        and a.GetOrigin() == b.GetOrigin()
        and a.GetDirection() == b.GetDirection()
    )


def test_a_ball_stays_in_its_place_in_all_orientations():
    for direction in orientations():
        ct, center = ball(direction)
        slices, images, labels = there_and_back(ct)
        assert np.allclose(center_of_mass(slices.layer_image(images[:, 0])), center, atol=0.1 * TASK.spacing)
        assert same_grid(labels, ct)
        assert np.allclose(center_of_mass(labels), center, atol=0.15)


@pytest.mark.parametrize("degrees", [10, 35, -35, 80])
def test_a_ball_stays_in_its_place_in_a_tilted_ct(degrees):
    for base in orientations()[::7]:
        ct, center = ball(rotation(degrees) @ base)
        slices, images, labels = there_and_back(ct)
        assert np.allclose(center_of_mass(slices.layer_image(images[:, 0])), center, atol=0.1 * TASK.spacing)
        assert same_grid(labels, ct)
        assert np.allclose(center_of_mass(labels), center, atol=0.15)
        volume_mm3 = np.count_nonzero(sitk.GetArrayViewFromImage(labels)) * np.prod(ct.GetSpacing())
        assert volume_mm3 == pytest.approx(4 / 3 * np.pi * RADIUS_MM**3, rel=0.05)


@pytest.mark.parametrize("spacing", [(0.45, 0.45, 0.8), (0.8, 1.4, 5.0), (3.0, 2.6, 2.0)])
def test_a_ball_stays_in_its_place_with_any_spacing(spacing):
    size = tuple(round(48 / mm) for mm in spacing)
    ct, center = ball(size=size, spacing=spacing)
    slices, images, labels = there_and_back(ct)
    assert np.allclose(center_of_mass(slices.layer_image(images[:, 0])), center, atol=0.1 * TASK.spacing)
    assert np.allclose(center_of_mass(labels), center, atol=0.1 * np.array(spacing))


def test_only_a_ct_tilted_by_more_than_20_degrees_is_cut_straight():
    tilted, little = (AxialSlices(ball(rotation(degrees))[0], TASK) for degrees in (35, 10))
    directions = [s.layer_image(np.zeros((s.count, 4, 4), np.float32)).GetDirection() for s in (tilted, little)]
    assert directions[0] == pytest.approx(IDENTITY.ravel())
    assert directions[1] == pytest.approx(rotation(10).ravel())
    assert little.grid_shape == (30, 40, 34)


def test_rows_run_from_anterior_columns_from_right_and_slices_from_inferior():
    for direction in orientations()[::5]:
        ct, _ = ball(direction, size=(40, 40, 40), spacing=(1, 1, 1), offset=(9.0, 6.0, -8.0))
        slices = AxialSlices(ct, TASK)
        z, y, x = np.argwhere(slices.images(0, slices.count)[:, 0] > 0.5).mean(axis=0)
        assert (z, y, x) == pytest.approx((19.5 - 8, 19.5 + 6, 19.5 + 9), abs=0.2)


def test_window_is_scaled_to_0_and_1_and_padding_is_0():
    ct = sitk.GetImageFromArray(np.array([[[-1000, -40, 60, 160, 3000]]], np.int16))
    slices = AxialSlices(ct, TASK)
    image = slices.images(0, 1)
    assert image.shape == (1, 1, 32, 32)
    assert image.dtype == np.float32
    assert image[0, 0, 0, :5] == pytest.approx([0, 0, 0.5, 1, 1])
    assert not image[0, 0, 1:].any() and not image[0, 0, :, 5:].any()


@pytest.mark.parametrize(
    ("size", "spacing", "shape"),
    [
        ((4, 3, 2), (0.7, 0.7, 2.0), (32, 32)),
        ((1, 1, 1), (0.3, 0.3, 1.0), (32, 32)),
        ((512, 512, 1), (0.78125, 0.78125, 2.5), (416, 416)),
        ((96, 64, 2), (10.0, 10.0, 5.0), (640, 960)),
    ],
)
def test_canvas_holds_the_field_of_view_in_multiples_of_32(size, spacing, shape):
    ct = sitk.Image(size, sitk.sitkInt16)
    ct.SetSpacing(spacing)
    slices = AxialSlices(ct, TASK)
    assert (slices.shape, slices.count) == (shape, size[2])
    assert same_grid(slices.own.image_of(slices.to_own(np.ones(slices.grid_shape, np.uint8))), ct)


def test_a_layer_covers_exactly_the_canvas():
    for direction in (orientations()[13], rotation(10)):
        slices = AxialSlices(ball(direction)[0], TASK)
        corners = []
        for cells in (slices.shape, (slices.shape[0] // 16, slices.shape[1] // 8)):
            image = slices.layer_image(np.zeros((slices.count, *cells), np.float32))
            edges = ((-0.5, n - 0.5) for n in image.GetSize())
            corners.append([image.TransformContinuousIndexToPhysicalPoint(corner) for corner in product(*edges)])
        assert np.allclose(corners[0], corners[1])


def test_labels_at_the_nearest_canvas_pixels():
    slices = AxialSlices(ball(size=(20, 20, 4), spacing=(2.0, 2.0, 2.0))[0], TASK)
    labels = np.arange(400, dtype=np.uint16).reshape(1, 20, 20)
    canvas = slices.to_canvas(labels)
    assert canvas.shape == (1, 64, 64)
    assert np.array_equal(canvas[0, :40, :40], labels[0].repeat(2, axis=0).repeat(2, axis=1))
    assert not canvas[0, 40:].any() and not canvas[0, :, 40:].any()


def test_a_field_of_view_of_ten_meters_is_refused():
    ct = sitk.Image((512, 512, 1), sitk.sitkInt16)
    ct.SetSpacing((20.0, 20.0, 1.0))
    with pytest.raises(InputError, match=r"10\.2 m wide.*spacing"):
        AxialSlices(ct, TASK)


def test_body_has_lungs_but_no_table_and_no_air():
    y, x = np.mgrid[:100, :140]
    ct = np.full((2, 100, 140), -1000, np.int16)
    ct[:, ((y - 45) / 35) ** 2 + ((x - 70) / 55) ** 2 < 1] = 40
    lung = ((y - 45) / 12) ** 2 + ((x - 45) / 15) ** 2 < 1
    ct[:, lung] = -850
    ct[:, 79:83, 20:120] = 100  # A table, which the back lies on.
    body = AxialSlices(sitk.GetImageFromArray(ct), TASK).body(0, 2)
    assert body.shape == (2, 128, 160)
    assert body[:, :100, :140][:, lung].all()
    assert not body[:, 79:83, 20:50].any() and not body[:, 79:83, 90:120].any()
    assert body[0].sum() == pytest.approx(np.pi * 35 * 55, rel=0.03)


def test_body_of_a_ct_that_was_cut_to_a_window_is_not_the_image():
    """As slices of public data sets are: air, fat and lung are all at the window's lowest value."""
    ct = np.zeros((1, 100, 140), np.int16)
    y, x = np.mgrid[:100, :140]
    inside = np.hypot((y - 50) / 35, (x - 70) / 55) <= 1
    ct[0, inside] = 60
    ct[0, 40:50, 60:80] = 0  # fat within, that a ring of tissue encloses
    image = sitk.GetImageFromArray(ct)
    image.SetSpacing((TASK.spacing,) * 3)
    body = AxialSlices(image, TASK).body(0, 1)[0, :100, :140]
    assert body[45, 70]
    assert body.sum() == pytest.approx(inside.sum(), rel=0.03)


def test_body_of_a_cropped_ct_is_everything_shown():
    slices = AxialSlices(sitk.GetImageFromArray(np.full((1, 40, 50), 30, np.int16)), TASK)
    body = slices.body(0, 1)[0]
    assert body[:40, :50].all() and body.sum() == 40 * 50


def test_real_ct(data):
    folder = data / "volumes" / "totalseg_dicom20"
    ct, liver = read_ct(folder / "ct.nii.gz"), sitk.ReadImage(str(folder / "label.nii.gz")) == 1
    before = sitk.Hash(ct)
    slices = AxialSlices(ct, TASK)
    assert slices.shape == (512, 512)
    images, body = slices.images(8, 10), slices.body(8, 10)
    assert images.min() == 0 and images.max() == 1
    assert 0.2 < body.mean() < 0.4
    # Seen from below: the liver is on the left of the picture.
    on_canvas = slices.to_canvas(sitk.GetArrayFromImage(liver))[8:10]
    assert np.argwhere(on_canvas)[:, 2].mean() < np.argwhere(body)[:, 2].mean() - 30
    assert body[on_canvas > 0].all()
    # There and back at 1 mm.
    back = slices.to_grid(torch.from_numpy(on_canvas)[:, None].float())[:, 0] >= 0.5
    own = sitk.GetArrayFromImage(liver)[8:10] > 0
    assert 2 * (back.numpy() & own).sum() / (back.sum() + own.sum()) > 0.98
    assert sitk.Hash(ct) == before


@pytest.mark.parametrize("name", ["totalseg_dicom20", "totalseg_example_3mm"])
def test_real_ct_is_in_hu_and_what_was_made_of_it_is_not(data, name):
    ct = sitk.GetArrayFromImage(read_ct(data / "volumes" / name / "ct.nii.gz"))[:, ::2, ::2]
    rows, columns = (slice(n // 3, 2 * n // 3) for n in ct.shape[1:])
    padded = ct.copy()
    padded[:, :9] = -2000
    far_padded = np.where(ct < -900, -3024, ct)
    cut = [ct.clip(*window) for window in ((-200, 300), (-50, 350), (-30, 250))]
    for fine in (ct, ct[5:6], ct[:, rows, columns], padded, far_padded, ct.astype(np.float32), *cut):
        assert hu_problem(sitk.GetImageFromArray(fine)) is None
    raw = (ct.clip(-1024) + 1024).astype(np.uint16)
    raw_padded = raw.astype(np.int16)
    raw_padded[:, :9] = -2000
    for shifted in (raw, raw_padded):
        assert "shifted by about 1024: 1024 must be subtracted" in hu_problem(sitk.GetImageFromArray(shifted))
    lean = ct.copy()
    lean[(lean > -150) & (lean < -30)] = 40
    lean.reshape(-1)[: lean.size // 200] = -100
    assert hu_problem(sitk.GetImageFromArray(lean)) is None
    assert "1024 must be added" in hu_problem(sitk.GetImageFromArray(ct - 1024))
    for inverted in (-1 - ct, -ct.clip(-1024, 1500)):
        assert "opposite sign" in hu_problem(sitk.GetImageFromArray(inverted))
    eight_bit = ((ct.clip(-200, 300) + 200) / 500 * 255).astype(np.uint8)
    assert "from 0 to 255, like a picture" in hu_problem(sitk.GetImageFromArray(eight_bit))


@pytest.mark.parametrize(
    ("name", "shift"),
    [
        ("totalseg_dicom20", -100),
        ("totalseg_dicom20", -900),
        ("totalseg_dicom20", 1200),
        ("totalseg_example_3mm", -200),
        ("totalseg_example_3mm", -800),
        ("totalseg_example_3mm", 500),
    ],
)
def test_a_shift_that_is_not_about_1024_is_not_called_so(data, name, shift):
    """Lung or noise may then lie where fat and soft tissue do in values that are shifted by 1024."""
    ct = sitk.GetArrayFromImage(read_ct(data / "volumes" / name / "ct.nii.gz"))[:, ::2, ::2]
    problem = hu_problem(sitk.GetImageFromArray(ct + shift))
    assert f"go from {ct.min() + shift:g} to {ct.max() + shift:g}, but fat and soft tissue are not where" in problem
    assert "1024 must be" not in problem


@pytest.mark.parametrize("shift", [-1050, -1024, -1000, 1000, 1024, 1050])
@pytest.mark.parametrize("name", ["totalseg_dicom20", "totalseg_example_3mm"])
def test_a_shift_of_about_1024_is_called_so_in_every_part_of_a_ct(data, name, shift):
    ct = sitk.GetArrayFromImage(read_ct(data / "volumes" / name / "ct.nii.gz"))
    rows, columns = (slice(n // 3, 2 * n // 3) for n in ct.shape[1:])
    for part in (ct[:, rows, columns], ct[:, rows, columns].clip(-500, 1000)):
        problem = hu_problem(sitk.GetImageFromArray(part + shift))
        assert f"shifted by about {1024 if shift > 0 else -1024}" in problem


@pytest.mark.parametrize("shape", [1.0, 2.0, 4.0])
def test_mr_is_not_hu(shape):
    mr = np.random.default_rng(0).gamma(shape, 300 / shape, (20, 40, 40))
    assert "without negative values" in hu_problem(sitk.GetImageFromArray(mr))
    standardized = (mr - mr.mean()) / mr.std()
    assert "not where they lie in HU" in hu_problem(sitk.GetImageFromArray(standardized))


@pytest.mark.parametrize("noise", [12, 25])
def test_mr_whose_zeros_became_negative_too_is_not_hu(noise):
    """As resampling and noise leave it: some of its values lie where fat is, and others where soft tissue is."""
    generator = np.random.default_rng(0)
    mr = generator.gamma(4.0, 60.0, (20, 60, 60))
    mr[:, :20] = 0
    mr += generator.normal(0, noise, mr.shape)
    assert "fat and soft tissue are not where they lie" in hu_problem(sitk.GetImageFromArray(mr))


@pytest.mark.parametrize("type_", [np.uint8, np.float32])
def test_a_label_map_is_called_one(type_):
    labels = np.zeros((4, 40, 40), type_)
    labels[1:3, 10:20, 10:30] = 4
    assert "like a label map" in hu_problem(sitk.GetImageFromArray(labels))
    labels[1, 10, 10] = 200
    assert "like a picture" in hu_problem(sitk.GetImageFromArray(labels))


def test_dicom_modality_tells_what_is_no_ct():
    ct, _ = ball()
    ct.SetMetaData("0008|0060", "MR")
    assert "MR, not CT" in hu_problem(ct)


def test_a_few_voxels_are_too_few_to_tell():
    assert hu_problem(sitk.GetImageFromArray(np.full((2, 3, 4), 50, np.int16))) is None


def test_labels_of_a_tilted_ct_are_not_mixed():
    ct, _ = ball(rotation(35))
    label = sitk.Cast(ct > 60, sitk.sitkUInt8) * 2
    assert np.unique(AxialSlices(ct, TASK).labels_of(label)).tolist() == [0, 2]


@pytest.mark.parametrize("stored", ["SPL", "SAR", "SLP", "PSL", "ASR", "PLS"])
def test_slices_lie_in_one_piece_in_memory_whatever_axis_the_file_stores_first(stored):
    """Else each look at a slice reads the whole CT, which makes KiTS's own files several times as slow."""
    lps = ball()[0]
    ct = sitk.DICOMOrient(lps, stored)
    volume, labels = AxialVolume(ct), AxialSlices(ct, TASK).labels_of(sitk.Cast(ct > 60, sitk.sitkUInt8))
    assert volume.voxels.strides[2] == volume.voxels.itemsize and labels.strides[2] == 1
    assert np.array_equal(volume.voxels, sitk.GetArrayViewFromImage(lps))
    assert np.array_equal(labels, volume.voxels > 60)
    back = volume.image_of(volume.voxels)
    assert same_grid(back, ct) and np.array_equal(*map(sitk.GetArrayViewFromImage, (back, ct)))


@pytest.mark.parametrize("stored", ["LPS", "RAI", "LSA"])
def test_no_copy_is_made_of_a_ct_whose_rows_lie_in_one_piece(stored):
    ct = sitk.DICOMOrient(ball()[0], stored)
    assert np.shares_memory(AxialVolume(ct).voxels, sitk.GetArrayViewFromImage(ct))


def test_labels_on_coarser_pixels_are_those_at_their_centers():
    fine = TASK.spacing / 3
    slices = AxialSlices(ball(size=(60, 60, 2), spacing=(fine, fine, 2.0))[0], TASK)
    labels = np.arange(3600, dtype=np.uint16).reshape(1, 60, 60)
    assert np.array_equal(slices.to_canvas(labels)[0, :20, :20], labels[0, 1::3, 1::3])


def test_coarser_pixels_average_what_the_window_shows():
    ct = np.full((1, 96, 96), -1000, np.int16)
    ct[..., ::3] = 3000
    image = sitk.GetImageFromArray(ct)
    image.SetSpacing((TASK.spacing / 3, TASK.spacing / 3, 1.0))
    inner = AxialSlices(image, TASK).images(0, 1)[0, 0, 4:28, 4:28]
    assert inner == pytest.approx(np.full(inner.shape, 1 / 3), abs=0.03)


def test_straight_slices_of_a_coronal_ct_lie_as_close_as_its_rows():
    coronal = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
    ct, _ = ball(rotation(30) @ coronal, size=(60, 60, 12), spacing=(0.8, 0.8, 6.0))
    assert AxialSlices(ct, TASK).spacing[2] < 1.2
