"""GradCAM of named layers, against maps made by hand and against MONAI's; attention of a CT and its focus."""

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from HLFDSegmentationLib.attention import AttentionCollector, GradCAM, area_average, gradcam, most_likely
from HLFDSegmentationLib.errors import NetworkError
from HLFDSegmentationLib.layers import LAYERS
from HLFDSegmentationLib.networks import NETWORKS, build_network
from HLFDSegmentationLib.networks.network import SegmentationNetwork
from HLFDSegmentationLib.tasks import TASKS
from torch import nn

sys.path.append(str(Path(__file__).parent / "experiments"))

from attention_without_effect import attention_of_slice, score_without

TASK = TASKS["liver-tumor"]
ORGAN, TUMOR = 0.5, 1.0


def _convolution(weights, biases):
    """A 1x1 convolution; weights [outputs][inputs]."""
    convolution = nn.Conv2d(len(weights[0]), len(weights), 1)
    convolution.weight.data = torch.tensor(weights, dtype=torch.float32)[:, :, None, None]
    convolution.bias.data = torch.tensor(biases, dtype=torch.float32)
    return convolution


def _by_hand():
    """encoder1 = (x, -x); decoder2 = ReLU(x - 1), ReLU(2 - x); logits 0 and decoder2[0] - decoder2[1] / 2."""
    return SegmentationNetwork(
        nn.Sequential(
            _convolution([[1], [-1]], [0, 0]),
            nn.Sequential(_convolution([[1, 0], [0, 1]], [-1, 2]), nn.ReLU(inplace=True)),
            _convolution([[0, 0], [1, -0.5]], [0, 0]),
        ),
        {"encoder1": "0", "decoder2": "1"},
        stride=1,
    )


class _Transparent(nn.Module):
    """Background, organ and tumor where the image is 0, 0.5 and 1.

    encoder1 is the image, so its map is the image times a constant; decoder2 is 1 everywhere and raises both labels'
    logits; decoder3 is 1 everywhere and lowers them.
    """

    def __init__(self):
        super().__init__()
        self.image, self.even, self.against = (_convolution([[w]], [b]) for w, b in ((1, 0), (0, 1), (0, 1)))
        self.head = _convolution([[0, 0, 0], [1, 0.5, -0.5], [3, 0.5, -0.5]], [0, -0.25, -1.75])

    def forward(self, x):
        return self.head(torch.cat([self.image(x), self.even(x), self.against(x)], dim=1))


TRANSPARENT_LAYERS = {"encoder1": "image", "decoder3": "against", "decoder2": "even"}


def _segmented(network, images):
    return most_likely(network(torch.from_numpy(images)).detach()).numpy()


def _collect(images, body=None, slab=2, shown=(8, 8), classes=None, signed=False):
    network = SegmentationNetwork(_Transparent(), TRANSPARENT_LAYERS, stride=1)
    body = np.ones(images[:, 0].shape, bool) if body is None else body
    classes = _segmented(network, images) if classes is None else classes
    collector = AttentionCollector(network, TASK, len(images), shown, signed=signed)
    for z in range(0, len(images), slab):
        there = slice(z, z + slab)
        collector.add(z, torch.from_numpy(images[there]), classes[there], body[there])
    return {(attention.label, attention.layer): attention for attention in collector.result()}


@pytest.fixture
def images():
    """Five slices: nothing, organ, organ with tumor, a smaller organ, nothing."""
    images = np.zeros((5, 1, 8, 8), np.float32)
    images[1, 0, 1:7, 1:7] = ORGAN
    images[2, 0, 1:7, 1:7] = ORGAN
    images[2, 0, 2:4, 2:4] = TUMOR
    images[3, 0, 1:3, 1:3] = ORGAN
    return images


@pytest.mark.parametrize(
    ("target", "encoder1", "decoder2"),
    [
        ("mask", [[0, 0.5], [1, 1.5]], [[-0.5, -0.25], [0.5, 1]]),
        ("all", [[0, 0.75], [1.5, 2.25]], [[-1, -0.5], [1, 2]]),
    ],
)
def test_maps_made_by_hand(target, encoder1, decoder2):
    maps = gradcam(_by_hand(), torch.tensor([[[[0.0, 1], [2, 3]]]]), 1, layers=["encoder1", "decoder2"], target=target)
    assert maps["encoder1"].tolist() == [encoder1]
    assert maps["decoder2"].tolist() == [decoder2]


def test_attention_is_bright_where_the_score_depends_on_nothing():
    """As the docs say: a channel has one weight for the whole slice, also where no pixel of the label looks."""
    decoder = nn.Conv2d(1, 2, 3, padding=1)
    decoder.weight.data = torch.ones(2, 1, 3, 3)
    decoder.bias.data = torch.tensor([0.0, -10.0])
    network = SegmentationNetwork(nn.Sequential(_convolution([[1]], [0]), decoder), {"decoder2": "0"}, stride=1)
    network.requires_grad_(False)
    image = torch.zeros(1, 1, 12, 12)
    image[..., 1:4, 1:4] = 2.0
    image[..., 9, 9] = 1.0
    image[..., 11, 11] = 50.0
    pixels, shown, everywhere = torch.zeros(3, 1, 12, 12, dtype=torch.bool)
    pixels[:, 2, 2] = shown[:, :10, :10] = everywhere[:] = True
    weight = 9 / 12**2
    assert GradCAM(network, image, ["decoder2"]).maps(1, pixels)["decoder2"][0, 9, 9] == weight
    found = attention_of_slice(network, image, 1, pixels, shown)["decoder2"]
    assert (found.total, found.idle) == (pytest.approx(weight * (9 * 2 + 1)), weight)
    assert (found.peak, found.change) == (pytest.approx(weight * 2), 0)
    without = [score_without(network, image, 1, pixels, "decoder2", idle) for idle in (~everywhere, everywhere)]
    assert without == [9 * 2 - 10, -10]


ROOT = Path(__file__).parents[1]
TOLD = ("README.md", "docs/*.md", "HLFD*/**/*.py", "HLFD*/**/*.ui")


def test_no_text_says_that_a_bright_place_moved_the_score():
    paths = [path for pattern in TOLD for path in ROOT.glob(pattern)]
    assert len(paths) > 100
    texts = {path: " ".join(path.read_text(encoding="utf-8").split()) for path in paths}
    assert {name for name, text in texts.items() if re.search(r"(raised|lowered)\W.{,30}\bscore", text)} == set()


@pytest.mark.parametrize("name", NETWORKS)
def test_agrees_with_monai(name, monkeypatch):
    from monai.visualize import GradCAM, class_activation_maps
    from monai.visualize.class_activation_maps import ModelWithHooks

    torch.manual_seed(0)
    network = build_network(name, num_classes=3).eval()
    images = torch.rand(1, 1, 64, 64)
    label = int(most_likely(network(images)).mode(dim=-1).values.mode().values)
    ours = gradcam(network, images, label, target="all")
    # MONAI's ReLU would hide the negative half of the map.
    monkeypatch.setattr(class_activation_maps, "F", SimpleNamespace(relu=lambda maps: maps))
    hooked = ModelWithHooks(network, [network.layers[layer] for layer in LAYERS], True, True)
    monai = GradCAM(hooked, "", upsampler=lambda _size: lambda maps: maps, postprocessing=lambda maps: maps)
    for number, layer in enumerate(LAYERS):
        theirs = monai(images, class_idx=label, layer_idx=number)[:, 0]
        assert ours[layer].shape == theirs.shape
        assert theirs.abs().max() > 0
        assert (ours[layer] - theirs).abs().max() <= 1e-5 * theirs.abs().max(), layer


def test_a_slice_alone_and_in_a_batch_have_the_same_maps():
    torch.manual_seed(0)
    network = build_network("mobilenetv2-unet", num_classes=2).train()
    images = torch.rand(3, 1, 64, 64) * torch.tensor([0.2, 1, 5]).reshape(3, 1, 1, 1)
    together = gradcam(network, images, 1)
    for number in range(3):
        for layer, alone in gradcam(network, images[number : number + 1], 1).items():
            assert alone.abs().max() > 0
            torch.testing.assert_close(together[layer][number], alone[0], rtol=0, atol=1e-5 * float(alone.abs().max()))


def test_the_network_is_left_as_it_was():
    network = build_network("mobilenetv2-unet", num_classes=2).train()
    network.body.head.eval()
    network.body.encoder[0].requires_grad_(False)
    training = [module.training for module in network.modules()]
    asking = [parameter.requires_grad for parameter in network.parameters()]
    state = {name: value.clone() for name, value in network.state_dict().items()}
    gradcam(network, torch.rand(1, 1, 32, 32), 1)
    assert [module.training for module in network.modules()] == training
    assert [parameter.requires_grad for parameter in network.parameters()] == asking
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_works_where_gradients_are_off(mode):
    network, images = _by_hand(), torch.tensor([[[[0.0, 1], [2, 3]]]])
    with mode():
        maps = gradcam(network, images + 0, 1, layers=["encoder1"])
    assert maps["encoder1"].tolist() == [[[0, 0.5], [1, 1.5]]]


@pytest.mark.parametrize("target", ["mask", "all"])
def test_a_slice_without_the_label_has_a_map_of_zeros(target):
    images = torch.tensor([[[[0.0, 1], [2, 3]]], [[[0.0, 1], [1, 0]]]])
    maps = gradcam(_by_hand(), images, 1, layers=["encoder1", "decoder2"], target=target)
    for layer_maps in maps.values():
        assert layer_maps[0].abs().max() > 0
        assert not layer_maps[1].any()


def test_slices_of_any_size():
    torch.manual_seed(0)
    network = build_network("mobilenetv2-unet", num_classes=2)
    maps = gradcam(network, torch.rand(1, 1, 45, 70), 1)
    assert maps["encoder1"].shape == (1, 32, 48)
    assert maps["encoder5"].shape == (1, 2, 3)
    mask = torch.zeros(1, 45, 70)
    mask[0, 31:45, 50:70] = 1
    cells = area_average(mask, (2, 3), stride=32)
    # 14 x 20 pixels, cut by the grid's lines at row 32 and column 64.
    assert (cells[0] * 1024).round().int().tolist() == [[0, 14, 6], [0, 13 * 14, 13 * 6]]


def test_a_layer_that_the_network_does_not_name():
    with pytest.raises(NetworkError, match="decoder5"):
        gradcam(_by_hand(), torch.rand(1, 1, 4, 4), 1, layers=["decoder5"])


def test_maps_are_scaled_over_the_volume_and_marked(images):
    found = _collect(images)
    organ, tumor = found["liver", "encoder1"], found["liver tumor", "encoder1"]
    assert organ.slices_with_label.tolist() == [False, True, True, True, False]
    assert tumor.slices_with_label.tolist() == [False, False, True, False, False]
    assert organ.maps.dtype == np.float32
    assert organ.maps.shape == (5, 8, 8)
    assert not organ.maps[[0, 4]].any()
    assert not tumor.maps[[0, 1, 3, 4]].any()
    # The map is the image times the number of the organ's pixels (36, 32 and 4), here over the largest, 32 * 1.
    assert organ.maps.max() == 1
    np.testing.assert_allclose(organ.maps[1:4].max(axis=(1, 2)), [36 * 0.5 / 32, 1, 4 * 0.5 / 32], rtol=1e-6)
    np.testing.assert_allclose(tumor.maps[2], images[2, 0], rtol=1e-6)


@pytest.mark.parametrize("slab", [1, 5])
def test_slabs_of_any_thickness_give_the_same(images, slab):
    for key, attention in _collect(images, slab=slab).items():
        other = _collect(images)[key]
        np.testing.assert_allclose(attention.maps, other.maps, rtol=1e-6)
        assert attention.focus == other.focus


def test_slices_that_are_given_again_after_memory_ran_out_do_not_count_twice(images, monkeypatch):
    whole, calls = _collect(images), 0

    def short(*arguments):
        nonlocal calls
        calls += 1
        if calls == 8:  # in the second label of the second slab
            raise MemoryError
        return area_average(*arguments)

    monkeypatch.setattr("HLFDSegmentationLib.attention.area_average", short)
    network = SegmentationNetwork(_Transparent(), TRANSPARENT_LAYERS, stride=1)
    collector = AttentionCollector(network, TASK, len(images), (8, 8))
    given = torch.from_numpy(images), _segmented(network, images), np.ones(images[:, 0].shape, bool)
    collector.add(0, *(part[:2] for part in given))
    with pytest.raises(MemoryError):
        collector.add(2, *(part[2:] for part in given))
    collector.add(2, *(part[2:] for part in given))
    for attention in collector.result():
        assert attention.focus == whole[attention.label, attention.layer].focus


def test_attention_beside_the_ct_counts_nothing_and_is_not_shown(images):
    """decoder2 attends to every pixel alike, those that pad the canvas too."""
    beside, whole = (_collect(images, shown=shown)["liver", "decoder2"] for shown in ((8, 7), (8, 8)))
    assert beside.focus.segment == pytest.approx(whole.focus.segment * 8 / 7)
    assert not beside.maps[..., 7:].any() and beside.maps[1, :, :7].all()
    assert beside.maps.max() == whole.maps.max() == 1


def test_a_layer_without_positive_attention_is_reported_and_its_signed_map_is_not_empty(images):
    positive, signed = _collect(images), _collect(images, signed=True)
    for label in ("liver", "liver tumor"):
        assert positive[label, "decoder3"].empty
        assert positive[label, "decoder3"].focus is None
        assert not positive[label, "decoder3"].maps.any()
        assert signed[label, "decoder3"].empty
        assert signed[label, "decoder3"].maps.min() == -1
        assert not positive[label, "decoder2"].empty
        assert signed[label, "decoder2"].focus == positive[label, "decoder2"].focus


def test_focus_of_known_maps(images):
    found = _collect(images)
    tumor = found["liver tumor", "encoder1"].focus
    assert tumor.segment == pytest.approx(4 * TUMOR / (4 * TUMOR + 32 * ORGAN))
    assert tumor.organ == pytest.approx(1)
    assert tumor.segment_share_of_body == pytest.approx(4 / 64)
    assert tumor.organ_share_of_body == pytest.approx(36 / 64)
    assert tumor.organ_ratio == pytest.approx(64 / 36)
    even = found["liver tumor", "decoder2"].focus
    assert (even.segment_ratio, even.organ_ratio) == (pytest.approx(1), pytest.approx(1))
    organ = found["liver", "encoder1"].focus
    assert organ.organ == pytest.approx(1)
    # A slice's map is the image times the number of the organ's pixels: 36, 32 (without the tumor) and 4.
    attention = np.array([36 * 36 * ORGAN, 32 * (32 * ORGAN + 4 * TUMOR), 4 * 4 * ORGAN])
    assert organ.segment_share_of_body == pytest.approx(attention @ [36, 32, 4] / attention.sum() / 64)
    assert organ.organ_share_of_body == pytest.approx(attention @ [36, 36, 4] / attention.sum() / 64)


def test_maps_that_are_even_over_the_body_have_the_focus_1_however_much_the_slices_differ(images):
    """decoder2's attention is even, and nine times as strong where the organ has 36 pixels as where it has 4."""
    even = _collect(images[[1, 3]])["liver", "decoder2"]
    np.testing.assert_allclose(even.maps.max(axis=(1, 2)), [1, 4 / 36], rtol=1e-6)
    assert even.focus.segment_ratio == pytest.approx(1)
    assert even.focus.organ_ratio == pytest.approx(1)


def test_a_map_that_is_even_over_the_whole_slice_has_the_bodys_share_of_the_slice_as_its_focus(images):
    body = np.zeros(images[:, 0].shape, bool)
    body[:, :, :7] = True
    focus = _collect(images, body)["liver", "decoder2"].focus
    assert (focus.segment_ratio, focus.organ_ratio) == (pytest.approx(7 / 8), pytest.approx(7 / 8))


def test_focus_expects_the_share_of_the_body_not_of_the_image(images):
    body = np.zeros(images[:, 0].shape, bool)
    body[:, 1:7, 1:7] = True
    focus = _collect(images, body)["liver tumor", "encoder1"].focus
    assert focus.segment_share_of_body == pytest.approx(4 / 36)
    assert focus.organ_ratio == pytest.approx(1)
    assert _collect(images, np.zeros_like(body))["liver tumor", "encoder1"].focus is None


def test_a_label_that_is_nowhere_has_no_attention(images):
    assert {label for label, _ in _collect(images[:2])} == {"liver"}
    assert _collect(images[:1]) == {}


def test_attention_follows_the_classes_that_the_segmentation_shows(images):
    all_tumor = np.where(images[:, 0] > 0, 2, 0)
    found = _collect(images, classes=all_tumor)
    assert {label for label, _ in found} == {"liver tumor"}
    assert found["liver tumor", "encoder1"].slices_with_label.tolist() == [False, True, True, True, False]
