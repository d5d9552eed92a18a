"""Segmenting with networks whose right answer is known."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from HLFDSegmentationLib.cautions.body_orientation import MirroredSearch
from HLFDSegmentationLib.ct_files import read_ct
from HLFDSegmentationLib.errors import HLFDError, InputError
from HLFDSegmentationLib.inference import Segmenter, classify
from HLFDSegmentationLib.layers import LAYERS
from HLFDSegmentationLib.networks.network import SegmentationNetwork
from HLFDSegmentationLib.phases import EXPLAINING, SEGMENTING
from HLFDSegmentationLib.segmenting import network_runner
from HLFDSegmentationLib.segmenting.network_runner import NetworkRunner
from HLFDSegmentationLib.tasks import TASKS, Task
from torch import nn

TASK = TASKS["abdomen"]
LIVER, KIDNEY, LIVER_TUMOR, KIDNEY_TUMOR = (label.value for label in TASK.labels)
# HU of each class in the CTs made here. The background is water, the low end of the window: edges then lie halfway.
HU = {0: 0, LIVER: 110, KIDNEY: 170, LIVER_TUMOR: 60, KIDNEY_TUMOR: 230}


class NearestTissue(nn.Module):
    """The class whose HU is nearest, as a 1x1 convolution would find it; the deep layers see it, too."""

    deep_share = 1e-4

    def __init__(self) -> None:
        super().__init__()
        low, high = TASK.window
        tissue = torch.tensor([(max(hu, low) - low) / (high - low) for hu in HU.values()])
        self.classes = nn.Conv2d(1, len(HU), 1)
        self.classes.weight.data = 400 * tissue.reshape(-1, 1, 1, 1)
        self.classes.bias.data = -200 * tissue**2
        self.levels = nn.ModuleList([nn.Identity(), *(nn.AvgPool2d(2) for _ in range(4))])
        self.ups = nn.ModuleList([nn.Upsample(scale_factor=2) for _ in range(4)])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        deep = images
        for level in (*self.levels, *self.ups):
            deep = level(deep)
        return self.classes(images + self.deep_share * deep)


class DeepLayersAgainst(NearestTissue):
    """What the deep layers see of a label speaks against it, and hardly counts."""

    deep_share = -1e-4


class OutOfMemory(NearestTissue):
    """Takes no more than so many slices at a time."""

    def __init__(self, fits: int) -> None:
        super().__init__()
        self.fits = fits

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if len(images) > self.fits:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return super().forward(images)


class OutOfGPUMemory(NearestTissue):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if images.is_cuda:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return super().forward(images)


class NotNumbers(NearestTissue):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images) / 0


def network(body: nn.Module) -> SegmentationNetwork:
    paths = [f"levels.{i}" for i in range(5)] + [f"ups.{i}" for i in range(4)]
    return SegmentationNetwork(body, dict(zip(LAYERS, paths)))


@dataclass
class Package:
    """What a segmenter needs of a model package."""

    body: nn.Module
    task: Task = TASK
    metrics: dict = field(default_factory=dict)

    def load_network(self) -> SegmentationNetwork:
        return network(self.body).eval()


def segmenter(body: nn.Module | None = None) -> Segmenter:
    return Segmenter(Package(body or NearestTissue()), "cpu")


def patient(size=(20, 60, 80), pieces=()) -> sitk.Image:
    """Boxes of tissue, `(class, z0, z1, y0, y1, x0, x1)`, in water; 1 mm pixels, 2.5 mm slices."""
    voxels = np.full(size, HU[0], np.int16)
    voxels[:, -1, -1] -= 1  # a slice of one value is taken for a blank one
    for value, z0, z1, y0, y1, x0, x1 in pieces:
        voxels[z0:z1, y0:y1, x0:x1] = HU[value]
    ct = sitk.GetImageFromArray(voxels)
    ct.SetSpacing((1.0, 1.0, 2.5))
    ct.SetOrigin((-40, 12, 900))
    return ct


LIVER_WITH_TUMOR = ((LIVER, 4, 16, 10, 40, 5, 35), (LIVER_TUMOR, 8, 12, 20, 30, 10, 20))
KIDNEYS = ((KIDNEY, 2, 10, 40, 55, 40, 50), (KIDNEY, 3, 9, 40, 55, 65, 75))


def expected(ct: sitk.Image) -> np.ndarray:
    voxels = sitk.GetArrayViewFromImage(ct)
    return sum(value * (voxels == hu) for value, hu in HU.items()).astype(np.uint8)


def other_notes(result) -> list[str]:
    """Those that do not doubt these small boxes, in slices that are alike."""
    of_boxes = ("just its end", "to the last voxel", "changes abruptly")
    return [note for note in result.notes if not any(words in note for words in of_boxes)]


def test_every_voxel_gets_its_label():
    ct = patient(pieces=(*LIVER_WITH_TUMOR, *KIDNEYS))
    result = segmenter().segment(ct)
    assert np.array_equal(sitk.GetArrayViewFromImage(result.labels), expected(ct))
    assert np.array_equal(result.network_labels[:, :60, :80], expected(ct))
    assert result.network_labels.shape == (20, 64, 96) and result.network_labels.dtype == np.uint8
    assert other_notes(result) == [] and result.attention == [] and result.device == "cpu"
    assert result.labels.GetPixelID() == sitk.sitkUInt8
    assert result.labels.GetOrigin() == ct.GetOrigin() and result.labels.GetSpacing() == ct.GetSpacing()


@pytest.mark.parametrize("degrees", [0, 12, 40])
def test_turned_ct(degrees):
    """The same patient lying otherwise in a finer, anisotropic image gets the same volumes."""
    ct = patient((24, 60, 60), pieces=[(LIVER_TUMOR, 6, 18, 15, 45, 15, 45)])
    turn = sitk.Euler3DTransform()
    turn.SetRotation(np.radians(degrees), np.radians(degrees / 2), 0)
    turned = sitk.Image(140, 40, 110, sitk.sitkInt16)
    turned.SetSpacing((0.7, 1.9, 0.8))
    axes = np.array(turn.GetMatrix()).reshape(3, 3) @ np.array([[0, 1, 0], [0, 0, -1], [-1, 0, 0]]).T
    turned.SetDirection(axes.ravel().tolist())
    middle, own = (
        np.array(image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()]))
        for image in (ct, turned)
    )
    turned.SetOrigin((middle - own).tolist())
    turned = sitk.Resample(ct, turned, sitk.Transform(), sitk.sitkLinear, HU[0])
    turned = sitk.AdditiveGaussianNoise(turned, 1.0, 0.0, 1)  # slices of one value would be taken for blank ones
    labels = segmenter().segment(turned).labels
    assert labels.GetDirection() == turned.GetDirection() and labels.GetSize() == turned.GetSize()
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(sitk.Cast(labels > 0, sitk.sitkUInt8))
    assert shape.GetPhysicalSize(1) == pytest.approx(30 * 30 * 12 * 2.5, rel=0.08)
    assert np.allclose(shape.GetCentroid(1), middle, atol=0.4)


@pytest.mark.parametrize("size", [(1, 60, 80), (2, 3, 4), (1, 1, 1)])
def test_small_volumes(size):
    ct = patient(size, pieces=[(LIVER, 0, 9, 0, 2, 0, 9)])
    assert np.array_equal(sitk.GetArrayFromImage(segmenter().segment(ct, attention=True).labels), expected(ct))


def test_ct_is_left_as_it_is():
    ct = patient(pieces=LIVER_WITH_TUMOR)
    before = sitk.Hash(ct)
    segmenter().segment(ct, attention=True)
    assert sitk.Hash(ct) == before


# Tumors


def logits(**probabilities: float) -> torch.Tensor:
    names = ("background", "liver", "kidney", "liver_tumor", "kidney_tumor")
    return torch.tensor([probabilities.get(name, 1e-9) for name in names]).log().reshape(1, 5, 1, 1)


@pytest.mark.parametrize(
    ("threshold", "probabilities", "found"),
    [
        (None, {"liver": 0.6, "liver_tumor": 0.4}, LIVER),
        (0.3, {"liver": 0.6, "liver_tumor": 0.4}, LIVER_TUMOR),
        (0.3, {"liver": 0.6, "liver_tumor": 0.15, "kidney_tumor": 0.25}, KIDNEY_TUMOR),
        (0.5, {"liver": 0.6, "liver_tumor": 0.15, "kidney_tumor": 0.25}, LIVER),
        (0.9, {"liver": 0.05, "kidney": 0.15, "liver_tumor": 0.8}, KIDNEY),
        (None, {"liver": 0.05, "kidney": 0.15, "liver_tumor": 0.8}, LIVER_TUMOR),
    ],
)
def test_tumor_threshold(threshold, probabilities, found):
    assert classify(logits(**probabilities), TASK, threshold).item() == found


def test_a_lower_threshold_finds_more_tumor():
    ct = patient(pieces=[(LIVER, 4, 16, 10, 40, 5, 35)])
    voxels = sitk.GetArrayFromImage(ct)
    voxels[8:12, 20:30, 10:20] = 86  # Between liver (110) and tumor (60), a little nearer to liver.
    between = sitk.GetImageFromArray(voxels)
    results = [segmenter().segment(between, tumor_threshold=p) for p in (None, 0.1)]
    found = [int(np.count_nonzero(sitk.GetArrayViewFromImage(s.labels) == LIVER_TUMOR)) for s in results]
    assert found[0] == 0 and found[1] >= 4 * 10 * 10
    told = [any("from a probability of 0.1 on" in note for note in result.notes) for result in results]
    assert told == [False, True]


@pytest.mark.parametrize(("slices", "stays"), [(1, False), (6, True)])
def test_what_a_single_thin_slice_alone_shows_is_not_told(slices, stays):
    """An organ, of which nothing is cleaned away as specks of tumor are."""
    ct = patient(pieces=[(LIVER, 4, 4 + slices, 10, 40, 5, 35)])
    ct.SetSpacing((1.0, 1.0, 1.0))
    assert bool(sitk.GetArrayFromImage(segmenter().segment(ct).labels).any()) == stays
    ct.SetSpacing((1.0, 1.0, 7.0))
    assert np.array_equal(sitk.GetArrayFromImage(segmenter().segment(ct).labels), expected(ct))


@pytest.mark.parametrize("orientation", ["LPS", "RAI", "SLP"])
def test_a_region_is_labeled_and_the_rest_is_seen_all_the_same(orientation):
    """What of an organ lies outside of a region is neither labeled nor does its absence seem a doubt."""
    ct = sitk.DICOMOrient(patient(pieces=(*LIVER_WITH_TUMOR, *KIDNEYS)), orientation)
    whole = segmenter().segment(ct)
    around_tumor = np.argwhere(sitk.GetArrayViewFromImage(whole.labels) == LIVER_TUMOR)
    region = tuple(slice(low, high + 1) for low, high in zip(around_tumor.min(axis=0), around_tumor.max(axis=0)))
    found = segmenter().segment(ct, region=region, attention=True)
    inside = np.zeros(sitk.GetArrayViewFromImage(ct).shape, bool)
    inside[region] = True
    assert np.array_equal(
        sitk.GetArrayViewFromImage(found.labels), np.where(inside, sitk.GetArrayViewFromImage(whole.labels), 0)
    )
    assert {layer.label for layer in found.attention} == {"liver tumor"}
    assert found.cautions == whole.cautions
    little = next(note for note in found.notes if "kidney was found" in note)
    assert little.startswith("In the slices around the region: Only")


def test_an_organ_that_the_ct_cuts_is_not_told_of_a_region_away_from_the_cut():
    ct = patient(pieces=((LIVER, 0, 16, 10, 40, 5, 35), LIVER_WITH_TUMOR[1]))
    region = (slice(6, 14), slice(0, 60), slice(0, 80))
    assert any("begins or ends where liver" in note for note in segmenter().segment(ct).notes)
    assert not any("begins or ends" in note for note in segmenter().segment(ct, region=region).notes)


def test_a_model_that_is_poor_at_tumors_is_told_of_what_was_found_in_the_region_alone():
    of_poor_model = Segmenter(Package(NearestTissue(), metrics={"liver tumor": {"dice": 0.4}}), "cpu")
    without_tumor = (slice(13, 16), slice(0, 60), slice(0, 80))
    cautions = of_poor_model.segment(patient(pieces=LIVER_WITH_TUMOR), region=without_tumor).cautions
    assert any(caution.startswith("No liver tumor was marked") for caution in cautions)
    assert not any("what was found of liver tumor" in caution for caution in cautions)


def test_that_nothing_was_found_is_told():
    assert any("No liver and no kidney was found" in caution for caution in segmenter().segment(patient()).cautions)


@pytest.mark.parametrize("threshold", [0, 1, -0.2, 1.5, float("nan")])
def test_impossible_threshold(threshold):
    with pytest.raises(InputError, match="between 0 and 1"):
        segmenter().segment(patient(), tumor_threshold=threshold)


# Pieces


def test_pieces_apart_from_the_organ_are_dropped_and_told():
    body = (*LIVER_WITH_TUMOR, *KIDNEYS)
    stray = ((LIVER, 4, 14, 2, 6, 50, 70), (LIVER_TUMOR, 14, 15, 2, 6, 50, 52), (KIDNEY, 17, 19, 50, 54, 5, 10))
    result = segmenter().segment(patient(pieces=(*body, *stray)))
    assert np.array_equal(sitk.GetArrayViewFromImage(result.labels), expected(patient(pieces=body)))
    assert np.array_equal(result.network_labels[:, :60, :80], expected(patient(pieces=body)))
    speck, apart = other_notes(result)  # The piece of kidney is 0.1 mL and needs no words.
    assert speck.startswith("1 speck called liver tumor was removed, and given to what lies around")
    assert apart.startswith("2.0 mL called liver were removed")
    assert result.notes[-2:] == [speck, apart]  # after what a reader must not miss


@pytest.mark.parametrize("orientation", ["LPS", "RAI", "SLP"])
def test_a_blank_slice_between_others_parts_no_organ(orientation):
    """Nothing but that slice is missing. Where something was left out is told as it lies in the CT."""
    body = (*LIVER_WITH_TUMOR, *KIDNEYS)
    ct = patient(pieces=(*body, (LIVER, 12, 18, 2, 6, 50, 70), (LIVER_TUMOR, 13, 17, 2, 6, 50, 56)))
    truth = expected(patient(pieces=body))
    for z in (5, 10):
        ct[:, :, z] = -1024
        truth[z] = 0
    result = segmenter().segment(sitk.DICOMOrient(ct, orientation))
    assert np.array_equal(sitk.GetArrayFromImage(sitk.DICOMOrient(result.labels, "LPS")), truth)
    (note,) = [note for note in result.notes if "were removed" in note]
    assert note.startswith("1.0 mL called liver") and "S 936.2 mm" in note


def test_nothing_is_marked_in_a_slice_of_a_single_value():
    """Though that value is the one of liver."""
    ct = patient(pieces=LIVER_WITH_TUMOR)
    ct[:, :, 10] = ct[:, :, 19] = HU[LIVER]
    labels = sitk.GetArrayFromImage(segmenter().segment(ct).labels)
    assert not labels[[10, 19]].any() and labels[9].any()


@pytest.mark.parametrize("orientation", ["LPS", "RAI", "SLP"])
def test_where_tumor_was_left_out_is_told_in_mm(orientation):
    ct = patient(pieces=(*LIVER_WITH_TUMOR, *KIDNEYS, (LIVER, 4, 14, 2, 6, 50, 70), (LIVER_TUMOR, 6, 10, 2, 6, 50, 56)))
    middle = np.array([7.5, 3.5, 52.5])
    left, posterior, superior = ct.TransformContinuousIndexToPhysicalPoint(middle[::-1].tolist())
    (note,) = other_notes(segmenter().segment(sitk.DICOMOrient(ct, orientation)))
    assert min(left, posterior, superior) > 0
    told = f"L {left:.1f}, P {posterior:.1f}, S {superior:.1f} mm"
    assert note.endswith(f"Look at what was called tumor there: {told}.")


def test_a_tumor_keeps_its_organ_together():
    """Liver on both sides of a tumor is one piece."""
    pieces = ((LIVER, 4, 16, 10, 20, 5, 35), (LIVER_TUMOR, 4, 16, 20, 24, 5, 35), (LIVER, 4, 16, 24, 34, 5, 35))
    ct = patient(pieces=pieces)
    assert np.array_equal(sitk.GetArrayFromImage(segmenter().segment(ct).labels), expected(ct))


# Attention


def test_attention_of_every_label_found_and_every_layer():
    ct = patient(pieces=(*LIVER_WITH_TUMOR, *KIDNEYS))
    result = segmenter().segment(ct, attention=True)
    names = [TASK.label(value).name for value in (LIVER, KIDNEY, LIVER_TUMOR)]
    assert [(a.label, a.layer) for a in result.attention] == [(name, layer) for name in names for layer in LAYERS]
    for layer in result.attention:
        shown = (result.network_labels == TASK.label(layer.label).value).any(axis=(1, 2))
        assert np.array_equal(layer.slices_with_label, shown)
        assert np.isfinite(layer.maps).all() and len(layer.maps) == 20
        assert not layer.signed and layer.maps.min() >= 0
    deepest = result.attention[LAYERS.index("encoder5")]
    assert deepest.maps.shape == (20, 4, 6)


def test_attention_is_for_what_is_shown():
    """Dropped pieces have none: neither a kidney in other slices, nor a tumor beside the kidneys."""
    stray = ((KIDNEY, 15, 18, 2, 6, 50, 70), (KIDNEY_TUMOR, 4, 7, 2, 6, 50, 70))
    result = segmenter().segment(patient(pieces=(*KIDNEYS, *stray)), attention=True)
    assert {a.label for a in result.attention} == {"kidney"}
    assert np.flatnonzero(result.attention[0].slices_with_label).tolist() == list(range(2, 10))


def test_nothing_found():
    result = segmenter().segment(patient(), attention=True)
    assert not sitk.GetArrayViewFromImage(result.labels).any()
    assert result.attention == []


def test_signed_attention():
    result = segmenter().segment(patient(pieces=LIVER_WITH_TUMOR), attention=True, signed=True)
    assert all(layer.signed for layer in result.attention)


def test_attention_against_a_label_is_in_signed_maps_alone():
    one, ct = segmenter(DeepLayersAgainst()), patient(pieces=LIVER_WITH_TUMOR)
    for signed, extremes in ((True, (-1, 0)), (False, (0, 0))):
        attention = one.segment(ct, attention=True, signed=signed).attention
        # The first layer is the image itself, which speaks for the label.
        against = [layer for layer in attention if layer.layer != LAYERS[0]]
        assert len(against) == 2 * (len(LAYERS) - 1)
        assert all((layer.maps.min(), layer.maps.max()) == extremes and layer.empty for layer in against)


# Probabilities


@pytest.mark.parametrize("direction", [(1, 0, 0, 0, 1, 0, 0, 0, 1), (0, 0, 1, -1, 0, 0, 0, -1, 0)])
def test_probabilities_lie_on_the_voxels_of_the_ct(direction):
    ct = patient((20, 60, 60), pieces=[(LIVER, 4, 16, 10, 40, 5, 35), (LIVER_TUMOR, 8, 12, 20, 30, 10, 20)])
    ct.SetSpacing((1.0, 1.0, 1.0))
    ct.SetDirection(direction)
    filled = [np.full((20, 60, 60), np.nan, np.float32) for _ in TASK.labels]
    result = segmenter().segment(ct, probabilities=filled)
    for label, shares in zip(TASK.labels, filled):
        assert np.array_equal(shares > 0.5, expected(ct) == label.value)
        assert shares.min() >= 0 and shares.max() <= 1.0001
    assert np.array_equal(sitk.GetArrayViewFromImage(result.labels), expected(ct))


def test_probabilities_of_a_ct_that_is_cut_anew():
    ct = patient((40, 60, 60), pieces=[(LIVER, 10, 30, 15, 45, 15, 45)])
    ct.SetSpacing((1.0, 1.0, 1.0))
    turn = sitk.Euler3DTransform()
    turn.SetRotation(0.0, 0.0, np.radians(35))
    ct.SetDirection(turn.GetMatrix())
    filled = [np.zeros((40, 60, 60), np.float32) for _ in TASK.labels]
    segmenter().segment(ct, probabilities=filled)
    liver = filled[LIVER - 1]
    # Within 6 mm of its ends, slices beside it count, too.
    assert liver[17:23, 18:42, 18:42].min() > 0.9
    assert liver[:4].max() < 0.1 and liver[:, :12].max() < 0.1


# Progress and trouble


def test_progress_rises_to_1_in_each_phase():
    told = []
    segmenter().segment(
        patient(pieces=KIDNEYS), attention=True, progress=lambda phase, share: told.append((phase, share))
    )
    assert list(dict.fromkeys(phase for phase, _ in told)) == [SEGMENTING, EXPLAINING]
    for name in (SEGMENTING, EXPLAINING):
        shares = [share for phase, share in told if phase == name]
        assert shares == sorted(shares) and shares[-1] == 1


def test_the_search_for_mirrored_slices_is_part_of_the_progress(monkeypatch):
    told, before = [], []

    def steps(search, *arguments):
        before.append(told[-1])
        yield from searched(search, *arguments)

    searched = MirroredSearch.steps
    monkeypatch.setattr(MirroredSearch, "steps", steps)
    segmenter().segment(patient(pieces=KIDNEYS), progress=lambda _phase, share: told.append(share))
    assert 0 < before[0] < 1 and told[-1] == 1


def test_progress_rises_to_1_where_nothing_is_searched_because_the_patient_lies_on_the_side(monkeypatch):
    told = []
    monkeypatch.setattr("HLFDSegmentationLib.inference.side_cautions", lambda slices: ["on the side"])
    segmenter().segment(patient(pieces=KIDNEYS), progress=lambda _phase, share: told.append(share))
    assert told == sorted(told) and told[-1] == 1


@pytest.mark.parametrize("stop_in", [SEGMENTING, EXPLAINING])
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_stopping_leaves_the_segmenter_usable(stop_in, error):
    def stop(phase: str, _share: float) -> None:
        if phase == stop_in:
            raise error("out of memory")  # Even so: it is not the network that raises.

    ct = patient(pieces=KIDNEYS)
    one = segmenter()
    with pytest.raises(error):
        one.segment(ct, attention=True, progress=stop)
    again = one.segment(ct, attention=True)
    assert np.array_equal(sitk.GetArrayViewFromImage(again.labels), expected(ct))
    hooks = sum(len(module._forward_hooks) for module in one._network.modules())
    assert hooks == 0 and all(parameter.requires_grad for parameter in one._network.parameters())


@pytest.mark.parametrize(("fits", "told"), [(8, []), (3, ["2 at a time"]), (1, ["1 at a time"])])
def test_short_memory_halves_the_batch(monkeypatch, fits, told):
    monkeypatch.setattr(network_runner, "CPU_BATCH", 8)
    ct = patient(pieces=KIDNEYS)
    result = segmenter(OutOfMemory(fits)).segment(ct, attention=True)
    assert np.array_equal(sitk.GetArrayViewFromImage(result.labels), expected(ct))
    notes = other_notes(result)
    assert len(notes) == len(told)
    assert all(words in note for words, note in zip(told, notes))
    again = segmenter(NearestTissue()).segment(ct, attention=True)
    assert all(np.array_equal(a.maps, b.maps) for a, b in zip(result.attention, again.attention, strict=True))


def test_too_little_memory_for_one_slice():
    with pytest.raises(HLFDError, match=r"not enough memory.*Close other programs"):
        segmenter(OutOfMemory(0)).segment(patient())


def test_memory_that_runs_out_while_slices_are_brought_to_the_device(monkeypatch):
    """The attention is then computed in smaller steps."""
    ct = patient(pieces=KIDNEYS)
    labels = segmenter(NearestTissue()).segment(ct).labels
    whole = segmenter(NearestTissue()).explain(ct, labels)
    bring = NetworkRunner.to_device

    def full(runner, images):
        if len(images) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return bring(runner, images)

    monkeypatch.setattr(network_runner, "CPU_BATCH", 8)
    monkeypatch.setattr(NetworkRunner, "to_device", full)
    result = segmenter(NearestTissue()).explain(ct, labels)
    assert "1 at a time" in " ".join(result.notes)
    assert all(np.array_equal(a.maps, b.maps) for a, b in zip(result.attention, whole.attention, strict=True))


class OutOfMemoryUntilOnTheCPU(NearestTissue):
    """On a GPU that is none: what is brought there stays where it is."""

    def __init__(self) -> None:
        super().__init__()
        self.on_cpu = False

    def to(self, device: torch.device, **_options) -> NearestTissue:
        self.on_cpu = device.type == "cpu"
        return self

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if not self.on_cpu:
            raise torch.OutOfMemoryError("MPS backend out of memory")
        return super().forward(images)


def test_the_cpu_takes_over_from_a_gpu_without_memory_and_says_so():
    body = OutOfMemoryUntilOnTheCPU()
    runner = NetworkRunner(body, torch.device("mps"))
    runner.to_device = torch.from_numpy
    images, batches = np.random.default_rng(0).random((3, 1, 32, 32), dtype=np.float32), []

    def work(start: int, stop: int):
        logits = runner.logits(images[start:stop])
        batches.append((start, stop, logits))
        yield 1.0

    runner.run(range(3), work, lambda share: None)
    assert [batch[:2] for batch in batches] == [(0, 1), (1, 2), (2, 3)]
    expected_logits = NearestTissue()(torch.from_numpy(images))
    assert torch.allclose(torch.cat([logits for *_, logits in batches]), expected_logits, atol=1e-3)
    assert runner.device == torch.device("cpu")
    assert runner.notes == ["The memory of mps was too small; the CPU computed the rest."]


def test_the_cpu_takes_over_from_a_gpu_that_does_not_even_hold_the_network():
    """As while another program trains there."""

    class TooLarge(OutOfMemoryUntilOnTheCPU):
        def to(self, device: torch.device, **options) -> NearestTissue:
            if device.type != "cpu":
                raise torch.OutOfMemoryError("MPS backend out of memory")
            return super().to(device, **options)

    runner = NetworkRunner(TooLarge(), torch.device("mps"))
    assert runner.device == torch.device("cpu")
    assert runner.notes == ["The memory of mps was too small; the CPU computed the rest."]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_gpu_gives_the_same_and_the_cpu_takes_over():
    ct = patient(pieces=(*LIVER_WITH_TUMOR, *KIDNEYS))
    for body, device in ((NearestTissue(), "cuda:0"), (OutOfGPUMemory(), "cpu")):
        result = Segmenter(Package(body), "cuda").segment(ct, attention=True)
        assert np.array_equal(sitk.GetArrayViewFromImage(result.labels), expected(ct))
        assert result.device == device
        assert any("the CPU computed the rest" in note for note in result.notes) == (device == "cpu")


def test_a_network_that_gives_no_numbers_is_told():
    with pytest.raises(HLFDError, match="no numbers"):
        segmenter(NotNumbers()).segment(patient())


def test_a_network_that_gives_no_numbers_explains_nothing():
    """Or its maps would not be written, and the disk be blamed."""
    ct = patient(pieces=LIVER_WITH_TUMOR)
    given = sitk.GetImageFromArray(expected(ct))
    with pytest.raises(HLFDError, match="no numbers"):
        segmenter(NotNumbers()).explain(ct, given)


@pytest.mark.parametrize("name", ["cuda:99", "gpu", "tpu", "mps:7", ""])
def test_absent_device(name):
    with pytest.raises(InputError, match=r"no device.*auto.*cpu"):
        Segmenter(Package(NearestTissue()), name)


def test_real_ct(data):
    """The labels of a real CT lie on its own grid; with tissue for a network, they are within the body."""
    ct = read_ct(data / "volumes" / "totalseg_example_3mm" / "ct.nii.gz")[:, :, 60:72]
    result = segmenter().segment(ct)
    labels = sitk.GetArrayViewFromImage(result.labels)
    assert result.labels.GetDirection() == ct.GetDirection() and result.labels.GetSize() == ct.GetSize()
    hu = sitk.GetArrayViewFromImage(ct)
    assert labels.any() and hu[labels > 0].mean() > 30
    assert result.notes


def test_a_lesion_in_one_of_thick_slices_stays():
    ct = patient(pieces=(LIVER_WITH_TUMOR[0], (LIVER_TUMOR, 8, 9, 15, 35, 8, 28)))
    ct.SetSpacing((1.0, 1.0, 5.0))
    assert (sitk.GetArrayFromImage(segmenter().segment(ct).labels) == LIVER_TUMOR).any()


def test_hardly_anything_of_an_organ_is_told_with_the_result():
    ct = patient(pieces=((LIVER, 8, 12, 20, 30, 20, 30),))
    assert any("Only 1.0 mL of liver was found" in note for note in segmenter().segment(ct).notes)


def test_explaining_tells_a_doubtful_geometry_too():
    ct = patient(pieces=LIVER_WITH_TUMOR)
    ct.SetSpacing((0.1, 0.1, 40.0))
    labels = sitk.GetImageFromArray(expected(ct))
    labels.CopyInformation(ct)
    assert any("40 mm apart" in note for note in segmenter().explain(ct, labels).notes)


class Broken(NearestTissue):
    def forward(self, images):
        raise RuntimeError("Expected all tensors to be on the same device")


def test_what_is_no_lack_of_memory_is_not_called_one():
    with pytest.raises(RuntimeError, match="on the same device"):
        segmenter(Broken()).segment(patient())


def test_an_organ_that_is_not_found_around_a_region_may_lie_elsewhere():
    ct = patient(pieces=LIVER_WITH_TUMOR)
    whole, part = (segmenter().segment(ct, region=region) for region in (None, np.s_[6:10, :, :]))
    for result, around in ((whole, False), (part, True)):
        (caution,) = [caution for caution in result.cautions if caution.startswith("No kidney was found")]
        assert ("in the slices around the region" in caution and "these slices show it" in caution) == around
