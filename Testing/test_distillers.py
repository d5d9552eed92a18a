"""The distillation methods: their terms against their formulas in numpy, and what they leave untouched."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from generated_cases import TASK
from HLFDSegmentationLib.errors import TrainingError
from HLFDSegmentationLib.layers import LAYERS
from HLFDSegmentationLib.networks import STRIDE, build_network
from HLFDTrainingLib.compare.rows import Row, check_rows, read_method
from HLFDTrainingLib.distillers import (
    DISTILLERS,
    UnifiedHead,
    build_distiller,
    find_distiller,
    needs_teacher,
    needs_unified_head,
    written,
)
from HLFDTrainingLib.distillers import distiller as distiller_file
from HLFDTrainingLib.distillers.emkd import region_affinity, region_contrast
from HLFDTrainingLib.distillers.resizing import resize_classes
from HLFDTrainingLib.losses import SegmentationLoss
from HLFDTrainingLib.partial_labels import Target
from HLFDTrainingLib.plan import TrainingPlan
from torch import nn
from torch.nn import functional as F

METHODS = [name for name in DISTILLERS if name not in ("none", "hlfd:corrected")]
LEVEL_TO_LEVEL = ["kd", "at", "skd", "dkd"]
HLFD_LAYERS = {"encoder1", "encoder2", "encoder3", "encoder4", "decoder5", "decoder4", "decoder3", "decoder2"}
TAUGHT = {
    "kd": {"out"},
    "at": {"encoder5"},
    "skd": {"out", "encoder5"},
    "dkd": {"out", *LAYERS},
    "hifd": {"out", "encoder5", "encoder2", "encoder4", "decoder4", "decoder2"},
    "emkd": {"out", "encoder1", "encoder3"},
    "hlfd": HLFD_LAYERS,
    "hlfd:full": {*HLFD_LAYERS, "encoder5", "out"},
    "hlfd:released": HLFD_LAYERS,
}
SIZES = dict(zip(LAYERS, [(9, 7), (5, 4), (3, 3), (2, 2), (1, 2), (2, 3), (3, 4), (5, 5), (9, 8)]))


class FixedNetwork(nn.Module):
    """Says the same of every image; each layer is a parameter of its own, so its gradient is its own too."""

    def __init__(self, features):
        super().__init__()
        self.features = nn.ParameterDict(features)
        self.taps = nn.ModuleDict({name: nn.Identity() for name in LAYERS})
        self.layers = {name: f"taps.{name}" for name in LAYERS}

    def forward(self, images):
        for name in LAYERS:
            self.taps[name](self.features[name])
        return 1.0 * self.features["out"]

    def __getitem__(self, name):
        return self.features[name].detach().double().numpy()


def fixed_network(seed, classes, *, width=2, scale=1, image=(9, 7)):
    """Layers of odd sizes, `scale` times as large, with `width` and more channels."""
    generator = torch.Generator().manual_seed(seed)
    features = {
        name: torch.randn(2, width + number % 3, scale * SIZES[name][0], scale * SIZES[name][1], generator=generator)
        for number, name in enumerate(LAYERS)
    }
    return FixedNetwork({**features, "out": torch.randn(2, classes, *image, generator=generator)})


class SmallNetwork(nn.Module):
    """A network that learns, for slices of any size, with the nine layers."""

    def __init__(self, classes, width=3):
        super().__init__()
        self.encoder = nn.ModuleList(
            nn.Conv2d(width * level or 1, width * (level + 1), 3, stride=2, padding=1) for level in range(5)
        )
        self.decoder = nn.ModuleList(
            nn.Conv2d(width * (level + level - 1), width * (level - 1), 3, padding=1) for level in range(5, 1, -1)
        )
        self.head = nn.Conv2d(width, classes, 1)
        self.layers = {f"encoder{level}": f"encoder.{level - 1}" for level in range(1, 6)}
        self.layers.update({f"decoder{level}": f"decoder.{5 - level}" for level in range(5, 1, -1)})

    def forward(self, images):
        skips, x = [], images
        for layer in self.encoder:
            x = layer(F.elu(x) if skips else x)
            skips.append(x)
        for layer, skip in zip(self.decoder, reversed(skips[:-1])):
            x = layer(F.elu(torch.cat([F.interpolate(x, skip.shape[-2:]), skip], dim=1)))
        return F.interpolate(self.head(x), images.shape[-2:])


def batch(classes, height=9, width=7, count=2):
    generator = torch.Generator().manual_seed(5)
    images = torch.rand(count, 1, height, width, generator=generator)
    labels = torch.randint(0, classes, (count, height, width), generator=generator)
    return images, Target(labels, torch.arange(classes).repeat(count, 1))


def distiller_of(name, student, teacher, classes, **options):
    torch.manual_seed(11)
    return build_distiller(name, student, teacher, classes, unified_head=UnifiedHead(teacher, classes), **options)


@pytest.mark.parametrize("name", ["hlfd:full", "dkd"])
def test_how_many_samples_are_compared_at_a_time_changes_nothing(name, monkeypatch):
    """A GPU takes as many as its memory holds, and three are not a multiple of two."""
    student, teacher = SmallNetwork(3), SmallNetwork(3, width=4)
    images, target = batch(3, 64, 64, count=3)
    distiller = distiller_of(name, student, teacher, 3)
    asked = []
    _, alone = distiller(images, target)
    monkeypatch.setattr(distiller_file, "samples_at_a_time", lambda *what: asked.append(what) or 2)
    _, together = distiller(images, target)
    assert asked and together.keys() == alone.keys()
    for term in alone:
        assert float(together[term].detach()) == pytest.approx(float(alone[term].detach()), rel=1e-4), term


def test_a_gpu_compares_no_more_at_a_time_than_its_memory_holds():
    at_a_time, gpu = distiller_file.samples_at_a_time, torch.device("cuda")
    assert at_a_time(torch.device("cpu"), 100, 8) == 1
    assert at_a_time(gpu, 100, 8) == 8
    assert at_a_time(gpu, 1792 * 192**2, 8) == 1  # a large teacher's middle layers for slices of 384x384
    assert at_a_time(gpu, 10**9, 8) == 1


def taught(terms):
    """The sum of a method's own terms."""
    return sum(term for name, term in terms.items() if name != "segmentation")


# The formulas once more, in numpy.


def resized(x, size):
    """Bilinear, pixel centres at half coordinates, no smoothing: (N, C, H, W) to (N, C, *size)."""
    for axis, count in zip((2, 3), size):
        old = x.shape[axis]
        place = np.clip((np.arange(count) + 0.5) * old / count - 0.5, 0, old - 1)
        low = np.floor(place).astype(int)
        high = np.minimum(low + 1, old - 1)
        share = (place - low).reshape([-1 if a == axis else 1 for a in range(4)])
        x = np.take(x, low, axis) * (1 - share) + np.take(x, high, axis) * share
    return x


def size_of(x):
    return x.shape[2:]


def unified(network, names):
    size = min(size_of(network[name])[0] for name in names), min(size_of(network[name])[1] for name in names)
    return np.concatenate([resized(network[name], size) for name in names], axis=1)


def at(a, b):
    maps = [(x**4).mean(axis=1).reshape(len(x), -1) for x in (a, b)]
    maps = [x / np.sqrt((x**2).sum(axis=1, keepdims=True)) for x in maps]
    return ((maps[0] - maps[1]) ** 2).sum(axis=1).mean()


def kd(student, teacher, temperature=4.0):
    student, teacher = np.exp(student / temperature), np.exp(teacher / temperature)
    student, teacher = student / student.sum(axis=1, keepdims=True), teacher / teacher.sum(axis=1, keepdims=True)
    return temperature**2 * (teacher * np.log(teacher / student)).sum(axis=1).mean()


def at_teacher(student, teacher, student_layer, teacher_layer):
    target = teacher[teacher_layer]
    return at(resized(student[student_layer], size_of(target)), target)


def conv(module, x):
    weight, bias = (parameter.detach().double().numpy() for parameter in (module.weight, module.bias))
    return np.einsum("kc,nchw->nkhw", weight[:, :, 0, 0], x) + bias[None, :, None, None]


def golden(name, s, t, distiller):
    """The weighted terms of a method, of two fixed networks."""
    q, out = distiller.projections, t["out"]

    def layer_kd(layer):
        projected = conv(q[f"prediction_{layer}"], s[layer])
        return kd(resized(projected, size_of(t[layer])), t[layer])

    def class_kd(term, layer):
        return kd(resized(conv(q[term], s[layer]), size_of(out)), out)

    output = {"prediction_out": 0.1 * kd(s["out"], out)}
    last = {"attention_encoder5": 0.9 * at_teacher(s, t, "encoder5", "encoder5")}
    if name == "kd":
        return output
    if name == "at":
        return {"attention_encoder5": at_teacher(s, t, "encoder5", "encoder5")}
    if name == "skd":
        return {**output, **last}
    if name == "dkd":
        encoder = {f"attention_encoder{k}": 0.9 * at_teacher(s, t, f"encoder{k}", f"encoder{k}") for k in range(1, 6)}
        return {**output, **encoder, **{f"prediction_decoder{k}": 0.1 * layer_kd(f"decoder{k}") for k in range(2, 6)}}
    if name == "hifd":
        return {
            **output,
            **last,
            "prediction_decoder4": 0.1 * class_kd("prediction_decoder4", "decoder4"),
            "prediction_decoder2": 0.1 * class_kd("prediction_decoder2", "decoder2"),
            "attention_encoder2": 0.9 * at_teacher(s, t, "encoder2", "encoder5"),
            "attention_encoder4": 0.9 * at_teacher(s, t, "encoder4", "encoder5"),
        }
    unified_features = resized(unified(t, ["encoder2", "encoder3", "encoder4"]), size_of(s["encoder1"]))
    unified_prediction = conv(distiller.unified_head.projection, unified(t, ["decoder5", "decoder4", "decoder3"]))
    unified_prediction = resized(unified_prediction, size_of(s["decoder5"]))
    terms = {
        "ufd_encoder1": 0.9 / 2 * at(s["encoder1"], unified_features),
        "upd_decoder5": 0.1 / 2 * kd(conv(q["upd_decoder5"], s["decoder5"]), unified_prediction),
        **{f"ifd_encoder{k}": 0.9 / 2 * at_teacher(s, t, f"encoder{k}", "encoder5") for k in (2, 3, 4)},
        **{f"ipd_decoder{k}": 0.1 / 2 * class_kd(f"ipd_decoder{k}", f"decoder{k}") for k in (4, 3, 2)},
    }
    return {**terms, **output, **last} if name == "hlfd:full" else terms


@pytest.mark.parametrize("name", ["kd", "at", "skd", "dkd", "hifd", "hlfd", "hlfd:full"])
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_terms_have_the_values_of_their_formulas(name, classes):
    student, teacher = fixed_network(1, classes), fixed_network(2, classes, width=6, scale=2)
    distiller = distiller_of(name, student, teacher, classes)
    _, terms = distiller(*batch(classes))
    expected = golden(name, student, teacher, distiller)
    assert next(iter(terms)) == "segmentation"
    assert set(terms) == {"segmentation", *expected}
    for term, value in expected.items():
        assert terms[term].item() == pytest.approx(value, rel=1e-4), term


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("none", {}, "none"),
        ("hlfd", {"temperature": 4.0, "beta": 0.9, "lambda_": 0.1}, "hlfd"),
        ("hlfd:full", {"beta": 0.5}, "hlfd:full:beta=0.5"),
        ("hlfd", {"variant": "full", "resize": "smaller"}, "hlfd:full:resize=smaller"),
        ("hlfd", {"terms": "ufd,ifd"}, "hlfd:terms=ufd+ifd"),
    ],
)
def test_a_method_is_told_as_a_comparison_takes_it(name, options, told):
    """With what differs from the usual options, and so that the same comes of it again."""
    assert written(name, options) == told
    again, given = read_method(told)
    assert written(again, given) == told


def test_hlfd_options_weigh_and_soften():
    student, teacher = fixed_network(1, 3), fixed_network(2, 3, width=6, scale=2)
    _, plain = distiller_of("hlfd", student, teacher, 3)(*batch(3))
    distiller = distiller_of("hlfd", student, teacher, 3, beta=0.3, lambda_=0.7, temperature=2.0)
    _, terms = distiller(*batch(3))
    for layer in ("encoder2", "encoder3", "encoder4"):
        assert terms[f"ifd_{layer}"].item() == pytest.approx(plain[f"ifd_{layer}"].item() / 3, rel=1e-5)
    projected = resized(conv(distiller.projections["ipd_decoder3"], student["decoder3"]), (9, 7))
    assert terms["ipd_decoder3"].item() == pytest.approx(0.7 / 2 * kd(projected, teacher["out"], 2.0), rel=1e-4)


def test_hlfd_can_compare_at_the_smaller_resolution():
    student, teacher = fixed_network(1, 3), fixed_network(2, 3, width=6, scale=2)
    distiller = distiller_of("hlfd", student, teacher, 3, resize="smaller")
    _, terms = distiller(*batch(3))
    names = ["encoder2", "encoder3", "encoder4"]
    target = unified(teacher, names)
    assert terms["ufd_encoder1"].item() == pytest.approx(
        0.45 * at(resized(student["encoder1"], size_of(target)), target), rel=1e-4
    )
    small = size_of(student["decoder4"])
    projected = conv(distiller.projections["ipd_decoder4"], student["decoder4"])
    assert terms["ipd_decoder4"].item() == pytest.approx(0.05 * kd(projected, resized(teacher["out"], small)), rel=1e-4)
    with pytest.raises(TrainingError, match="resize 'larger'"):
        distiller_of("hlfd", student, teacher, 3, resize="larger")


@pytest.mark.parametrize("terms", ["ufd", "ifd,ipd", "upd, ipd,ufd"])
def test_terms_of_hlfd_can_be_left_out(terms):
    student, teacher = fixed_network(1, 3), fixed_network(2, 3, width=6, scale=2)
    whole = distiller_of("hlfd", student, teacher, 3)
    some = distiller_of("hlfd", student, teacher, 3, terms=terms)
    for edge, module in some.projections.items():
        module.load_state_dict(whole.projections[edge].state_dict())
    chosen = {"segmentation", *(term.strip() for term in terms.split(","))}
    expected = {name: value for name, value in whole(*batch(3))[1].items() if name.split("_")[0] in chosen}
    found = some(*batch(3))[1]
    assert {name: value.item() for name, value in found.items()} == {n: v.item() for n, v in expected.items()}


def test_terms_added_by_the_full_variant_stay():
    distiller = distiller_of("hlfd:full", SmallNetwork(3), SmallNetwork(3), 3, terms="ufd")
    assert {edge.name for edge in distiller.edges} == {"ufd_encoder1", "attention_encoder5", "prediction_out"}


@pytest.mark.parametrize("terms", ["", "ufd,ofd"])
def test_unknown_terms_are_refused(terms):
    with pytest.raises(TrainingError, match="ufd, ifd, upd, ipd"):
        distiller_of("hlfd", SmallNetwork(3), SmallNetwork(3), 3, terms=terms)


@pytest.mark.parametrize("name", METHODS)
def test_constants_replace_the_teacher(name):
    """Given what the teacher says of each image alone, the loss of the batch is the same, and no teacher is run."""
    torch.manual_seed(12)
    distiller = distiller_of(name, SmallNetwork(3), SmallNetwork(3, width=4), 3)
    images, target = batch(3, 33, 47)
    wanted = distiller.constants_for_images((33, 47))
    parts = [
        distiller.teacher_constants(images[n : n + 1], Target(target.classes[n : n + 1], target.groups[:1]), wanted)
        for n in range(2)
    ]
    constants = {constant: torch.cat([part[constant] for part in parts]) for constant in wanted}
    torch.manual_seed(0)
    _, expected = distiller(images, target)
    distiller.teacher.forward = None
    torch.manual_seed(0)
    _, found = distiller(images, target, constants)
    assert list(found) == list(expected)
    for term, value in expected.items():
        assert found[term].item() == pytest.approx(value.item(), rel=1e-5, abs=1e-7), term


def regions(network, values):
    """Sets encoder1 and encoder3, 3x3 with two channels, to a row's `values`: the features of columns 0, 1 and 2."""
    columns = torch.tensor(values).T[None, :, None, :].repeat(2, 1, 3, 1)
    for name in ("encoder1", "encoder3"):
        network.features[name] = nn.Parameter(columns.clone())
    return network


def test_emkd_by_hand():
    student = regions(fixed_network(1, 3), [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    teacher = regions(fixed_network(2, 3), [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    labels = torch.zeros(2, 9, 9, dtype=torch.long)
    labels[:, :, 3:6], labels[:, :, 6:] = 1, 2
    labels[1, :, 6:] = 1  # the second sample has no region 2
    target = Target(labels, torch.arange(3).repeat(2, 1))
    distiller = distiller_of("emkd", student, teacher, 3)
    images = torch.zeros(2, 1, 9, 9)
    constants = distiller.teacher_constants(images, target, distiller.constants_for_images((9, 9)))
    terms = distiller.distillation_terms(dict(student.features), constants, target)
    # Cosines of regions 0-1, 0-2, 1-2. Student: 0, 0, 1. Teacher: 1, 0, 0. In the second sample only 0-1, where
    # region 1 is both columns: student 0, teacher cos((1, 0), (1/2, 1/2)).
    affinity = ((1 + 0 + 1) / 3 + 0.5) / 2
    for layer in ("encoder1", "encoder3"):
        assert terms[f"region_affinity_{layer}"].item() == pytest.approx(0.9 * affinity, rel=1e-5)
        assert terms[f"attention_{layer}"].item() == pytest.approx(0, abs=1e-6)
    assert terms["prediction_out"].item() == pytest.approx(0.1 * kd(student["out"], teacher["out"]), rel=1e-4)
    assert len(terms) == 5


def test_regions_that_one_of_the_layers_is_too_small_to_show_are_not_compared():
    shown_by_both, shown_by_one = [0.25, 0.25], [0.9, 0.0]
    first = torch.tensor([[[shown_by_both[0], shown_by_one[0]], [1.0, 1.0]]])
    second = torch.tensor([[[shown_by_both[1], shown_by_one[1]], [1.0, 0.0]]])
    assert float(region_affinity(first, second)) == float(region_affinity(second, first)) == 0


def test_a_region_of_one_pixel_is_shown():
    classes = torch.zeros(1, 4, 4, dtype=torch.long)
    classes[0, 1, 2] = 1
    exists = region_contrast(torch.rand(1, 2, 4, 4), classes, 3)[0, 1]
    assert exists.tolist() == [1, 0, 0]  # of the pairs 0-1, 0-2, 1-2


def test_smaller_labels_have_the_class_in_the_middle_of_each_pixel():
    """By the first pixel, outlines would lie half a pixel beside what the layer shows."""
    classes = torch.arange(36).reshape(1, 6, 6)
    assert resize_classes(classes, (2, 2)).tolist() == [[[7, 10], [25, 28]]]


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_released_projects_at_random_and_scales_by_the_channels(classes):
    student, teacher = fixed_network(1, classes, width=4), fixed_network(2, classes, width=6, scale=2)
    distiller = build_distiller("hlfd:released", student, teacher, classes)
    assert not list(distiller.projections.parameters())
    torch.manual_seed(3)
    _, terms = distiller(*batch(classes))

    torch.manual_seed(3)
    unified_layers = unified(teacher, ["decoder5", "decoder4", "decoder3"])
    channels = student["decoder5"].shape[1]
    projected = conv(nn.Conv2d(unified_layers.shape[1], channels, 1), unified_layers)
    upd = kd(student["decoder5"], resized(projected, size_of(student["decoder5"]))) * 2 / channels
    assert terms["upd_decoder5"].item() == pytest.approx(0.05 * upd, rel=1e-4)
    for layer in ("decoder4", "decoder3", "decoder2"):
        drawn = nn.Conv2d(student[layer].shape[1], classes, 1)
        ipd = kd(resized(conv(drawn, student[layer]), size_of(teacher["out"])), teacher["out"]) * 2 / classes
        assert terms[f"ipd_{layer}"].item() == pytest.approx(0.05 * ipd, rel=1e-4)

    corrected = distiller_of("hlfd", student, teacher, classes)(*batch(classes))[1]
    for name in terms:
        if name.startswith(("ufd", "ifd", "segmentation")):
            torch.testing.assert_close(terms[name], corrected[name])


def test_released_pixel_loss_is_neither_zero_for_equals_nor_the_same_twice():
    student = fixed_network(1, 2)
    for layer in ("decoder4", "decoder3", "decoder2"):
        student.features[layer] = nn.Parameter(student.features["out"].detach().clone())
    torch.manual_seed(0)
    distiller = build_distiller("hlfd:released", student, copy.deepcopy(student), 2)
    first, second = (distiller(*batch(2))[1] for _ in range(2))
    for layer in ("decoder4", "decoder3", "decoder2"):
        values = first[f"ipd_{layer}"].item(), second[f"ipd_{layer}"].item()
        assert min(values) > 1e-4 and values[0] != pytest.approx(values[1], rel=1e-3)


@pytest.mark.parametrize("name", [method for method in METHODS if method != "hlfd:released"])
def test_the_same_weights_give_the_same_loss_twice_through_the_same_projections(name):
    distiller = distiller_of(name, SmallNetwork(3), SmallNetwork(3, width=4), 3)
    projections = dict(distiller.projections.items())
    images, target = batch(3, 33, 47)
    first, second = (distiller(images, target)[1] for _ in range(2))
    assert {term: value.item() for term, value in first.items()} == {t: v.item() for t, v in second.items()}
    assert all(distiller.projections[edge] is module for edge, module in projections.items())


@pytest.mark.parametrize("name", LEVEL_TO_LEVEL)
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_a_student_that_equals_its_teacher_has_nothing_to_learn(name, classes):
    torch.manual_seed(4)
    student = SmallNetwork(classes)
    distiller = distiller_of(name, student, copy.deepcopy(student), classes)
    images, target = batch(classes, 33, 47)
    logits, terms = distiller(images, target)
    assert taught(terms).item() == pytest.approx(0, abs=1e-6)
    assert terms["segmentation"].item() == pytest.approx(SegmentationLoss()(logits, target).item())
    other = distiller_of(name, SmallNetwork(classes), student, classes)
    assert taught(other(images, target)[1]).item() > 1e-4


@pytest.mark.parametrize("name", METHODS)
def test_gradient_reaches_the_layers_that_the_method_names_and_no_teacher(name):
    student, teacher = fixed_network(1, 3, width=4), fixed_network(2, 3, width=6, scale=2)
    distiller = distiller_of(name, student, teacher, 3)
    taught(distiller(*batch(3))[1]).backward()
    reached = {layer for layer, value in student.features.items() if value.grad is not None and value.grad.any()}
    assert reached == TAUGHT[name]
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert all(parameter.grad.any() for parameter in distiller.projections.parameters())
    if distiller.unified_head is not None:
        assert all(parameter.grad is None for parameter in distiller.unified_head.parameters())


@pytest.mark.parametrize("name", DISTILLERS)
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_every_method_takes_odd_sizes_and_any_number_of_classes(name, classes):
    torch.manual_seed(6)
    distiller = distiller_of(name, SmallNetwork(classes), SmallNetwork(classes, width=4), classes)
    logits, terms = distiller(*batch(classes, 37, 51))
    sum(terms.values()).backward()
    assert logits.shape == (2, classes, 37, 51)
    for parameter in distiller.trainable_parameters():
        assert parameter.grad is None or bool(parameter.grad.isfinite().all())
    assert all(parameter.grad is not None for parameter in distiller.student.parameters())


@pytest.mark.parametrize("name", METHODS)
def test_losses_are_float32_in_mixed_precision(name):
    torch.manual_seed(6)
    distiller = distiller_of(name, SmallNetwork(3), SmallNetwork(3, width=4), 3)
    images, target = batch(3, 32, 32)
    torch.manual_seed(0)
    _, full = distiller(images, target)
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        _, mixed = distiller(images, target)
    for term, value in mixed.items():
        assert value.dtype == torch.float32
        assert value.item() == pytest.approx(full[term].item(), rel=0.2, abs=5e-3)


@pytest.mark.parametrize("name", ["hlfd", "hifd", "emkd"])
def test_terms_are_as_exact_in_mixed_precision(name):
    """The networks here give float32 in any precision, so that only the terms could lose digits."""
    student, teacher = fixed_network(1, 3), fixed_network(2, 3, width=6, scale=2)
    distiller = distiller_of(name, student, teacher, 3)
    _, exact = distiller(*batch(3))
    with torch.autocast("cpu", torch.bfloat16):
        _, mixed = distiller(*batch(3))
    for term, value in exact.items():
        assert mixed[term].item() == pytest.approx(value.item(), rel=1e-6), term


@pytest.mark.parametrize("name", ["hlfd", "hifd", "dkd"])
def test_projections_are_trained_and_are_no_part_of_the_student(name):
    torch.manual_seed(7)
    student = SmallNetwork(3)
    keys = list(student.state_dict())
    distiller = distiller_of(name, student, SmallNetwork(3, width=4), 3)
    before = {edge: module.weight.detach().clone() for edge, module in distiller.projections.items()}
    listed = {id(parameter) for parameter in distiller.trainable_parameters()}
    assert before
    assert {id(parameter) for parameter in distiller.projections.parameters()} <= listed
    assert {id(parameter) for parameter in student.parameters()} <= listed
    assert not {id(parameter) for parameter in distiller.teacher.parameters()} & listed

    optimizer = torch.optim.SGD(distiller.trainable_parameters(), lr=1.0)
    sum(distiller(*batch(3, 33, 47))[1].values()).backward()
    optimizer.step()
    assert all(not torch.equal(module.weight, before[edge]) for edge, module in distiller.projections.items())
    assert list(student.state_dict()) == keys


def test_the_student_learns_what_hlfd_teaches():
    torch.manual_seed(8)
    distiller = distiller_of("hlfd", SmallNetwork(3), SmallNetwork(3, width=4), 3)
    optimizer = torch.optim.Adam(distiller.trainable_parameters(), lr=0.01)
    images, target = batch(3, 33, 47)
    losses = []
    for _ in range(30):
        loss = taught(distiller(images, target)[1])
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]


def test_the_segmentation_term_knows_what_the_annotator_did_not_look_for():
    distiller = distiller_of("hlfd", SmallNetwork(3), SmallNetwork(3, width=4), 3)
    images, _ = batch(3, 33, 47)
    target = Target(torch.zeros(2, 33, 47, dtype=torch.long), torch.tensor([[0, 1, 0], [0, 0, 0]]))
    logits, terms = distiller(images, target)
    assert terms["segmentation"].item() == pytest.approx(SegmentationLoss()(logits, target).item())


def test_without_distillation_only_the_segmentation_term_is_there():
    distiller = build_distiller("none", SmallNetwork(3), None, 3)
    _, terms = distiller(*batch(3, 33, 47))
    assert list(terms) == ["segmentation"]


def test_methods_say_what_they_need():
    assert not needs_teacher("none", {}) and all(needs_teacher(name, {}) for name in METHODS)
    assert {name for name in DISTILLERS if needs_unified_head(name, {})} == {"hlfd", "hlfd:corrected", "hlfd:full"}
    assert not needs_unified_head("hlfd", {"variant": "released"})
    assert find_distiller("hlfd", "released") is find_distiller("hlfd:released")
    assert find_distiller("hlfd", "corrected") is find_distiller("hlfd")


def test_a_method_with_options_is_told_from_one_that_does_not_exist():
    with pytest.raises(TrainingError, match="'kd:temperature=2' names a method with options, which `hlfd compare`"):
        find_distiller("kd:temperature=2")
    with pytest.raises(TrainingError, match="needs a teacher"):
        build_distiller("kd", SmallNetwork(3), None, 3)
    with pytest.raises(TrainingError, match="unified head"):
        build_distiller("hlfd", SmallNetwork(3), SmallNetwork(3), 3)
    with pytest.raises(TrainingError, match=r"'hlfd:other'.*none, kd"):
        build_distiller("hlfd", SmallNetwork(3), SmallNetwork(3), 3, variant="other")
    with pytest.raises(TrainingError, match="no option 'betta'"):
        build_distiller("kd", SmallNetwork(3), SmallNetwork(3), 3, betta=1)
    with pytest.raises(TrainingError, match="'kd' has no option 'edges'"):
        build_distiller("kd", SmallNetwork(3), SmallNetwork(3), 3, edges=())
    with pytest.raises(TrainingError, match="teacher tells 5 classes apart, the task has 3"):
        build_distiller("kd", SmallNetwork(3), SmallNetwork(5), 3)


def test_the_unified_head_learns_from_labels_and_leaves_its_teacher_alone():
    torch.manual_seed(9)
    teacher = nn.Sequential(SmallNetwork(3), nn.BatchNorm2d(3)).train()
    teacher.layers = {name: f"0.{path}" for name, path in teacher[0].layers.items()}
    teacher[0].head.eval()
    before = copy.deepcopy(teacher.state_dict())
    head = UnifiedHead(teacher, 3)
    images, target = batch(3, 33, 47)
    target.classes[:, :, 20:] = 1  # something that a coarse prediction can learn
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    losses = []
    for _ in range(20):
        loss = head.loss(teacher, images, target)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.9 * losses[0]
    assert all(torch.equal(value, before[key]) for key, value in teacher.state_dict().items())
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert teacher.training and teacher[1].training and not teacher[0].head.training


def test_the_unified_head_is_not_taught_that_a_label_is_absent_which_nobody_looked_for():
    teacher = fixed_network(2, 3, width=6, scale=2)
    torch.manual_seed(0)
    head = UnifiedHead(teacher, 3)
    images, target = batch(3)
    unknown = Target(torch.where(target.classes == 2, 0, target.classes), torch.tensor([[0, 1, 0]] * 2))
    loss = head.loss(teacher, images, unknown)
    with torch.no_grad():  # Now it says of the label that nobody looked for what it has said of the background.
        for parameter in (head.projection.weight, head.projection.bias):
            parameter.copy_(parameter[[2, 1, 0]])
    torch.testing.assert_close(head.loss(teacher, images, unknown), loss)


def test_real_networks():
    torch.manual_seed(10)
    student, teacher = build_network("mobilenetv2-unet", 5), build_network("resnet18-unet", 5)
    statistics = {key: value.clone() for key, value in student.state_dict().items()}
    frozen = copy.deepcopy(teacher.state_dict())
    distiller = distiller_of("hlfd:full", student, teacher, 5).train()
    assert all(torch.equal(value, statistics[key]) for key, value in student.state_dict().items())
    assert student.training and not any(module.training for module in teacher.modules())

    images, target = batch(5, 64, 64)
    logits, terms = distiller(images, target)
    sum(terms.values()).backward()
    assert logits.shape == (2, 5, 64, 64)
    assert all(bool(term.isfinite()) and term.item() > 0 for term in terms.values())
    assert all(parameter.grad is not None for parameter in distiller.trainable_parameters())
    assert all(torch.equal(value, frozen[key]) for key, value in teacher.state_dict().items())

    fresh = build_network("mobilenetv2-unet", 5)
    fresh.load_state_dict(student.state_dict())
    assert not any(module._forward_hooks for module in student.modules())


@pytest.mark.parametrize("size", [(64, 80), (100, 96)])
def test_slices_that_networks_pad_are_refused_where_a_teacher_teaches(size):
    """Layers of the padded slice and logits that were cut back do not lie on each other."""
    task = replace(TASK, input_size=size)
    with pytest.raises(TrainingError, match=f"{size[0]}x{size[1]}.* as (64|128)x96.*'none'"):
        check_rows([Row("kd", "mobilenetv2-unet", 0)], TrainingPlan(task=task, method="none"))
    check_rows([Row("none", "mobilenetv2-unet", 0)], TrainingPlan(task=task))
    assert build_network(TrainingPlan(task=TASK).student, 2).stride == STRIDE
