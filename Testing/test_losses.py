"""The losses, against values worked out by hand."""

import math

import pytest
import torch
import torch.distributed.nn.functional
from HLFDTrainingLib.losses import SegmentationLoss, attention_map, attention_transfer, softened_divergence
from HLFDTrainingLib.partial_labels import Target, merged_log_probabilities

GROUPS = {"all": [0, 1, 2], "no label 2": [0, 1, 0], "1 and 2 as one": [0, 1, 1]}


def whole(classes, num_classes):
    """A target whose annotator could tell all classes apart."""
    return Target(classes, torch.arange(num_classes).repeat(len(classes), 1))


def random_logits(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def transfer(student, teacher):
    """AT between the features of two layers."""
    return attention_transfer(student, attention_map(teacher))


def test_attention_transfer_by_hand():
    student = torch.tensor([[[[1.0, 0.0]], [[0.0, 2.0]]]])  # fourth powers, mean of two channels: 1/2 and 8
    teacher = torch.tensor([[[[3.0, 0.0]]]])  # all of it on the first pixel
    expected = 2 - 2 * 0.5 / math.hypot(0.5, 8)
    assert float(transfer(student, teacher)) == pytest.approx(expected, rel=1e-6)


def test_attention_transfer_is_a_mean_over_the_batch():
    student = torch.tensor([[[[1.0, 0.0]]], [[[1.0, 0.0]]]])
    teacher = torch.tensor([[[[1.0, 0.0]]], [[[0.0, 1.0]]]])
    assert float(transfer(student, teacher)) == pytest.approx((0 + 2) / 2)


def test_softened_divergence_by_hand():
    student = torch.zeros(1, 2, 1, 1)
    teacher = torch.tensor([4 * math.log(3), 0.0]).reshape(1, 2, 1, 1)  # at temperature 4: 3/4 and 1/4
    expected = 16 * (0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5))
    assert float(softened_divergence(student, teacher)) == pytest.approx(expected, rel=1e-6)
    assert float(softened_divergence(student, teacher, temperature=1)) != pytest.approx(expected, rel=1e-2)


def test_softened_divergence_is_a_mean_over_pixels_and_batch():
    student = torch.zeros(2, 2, 1, 2)
    teacher = torch.zeros(2, 2, 1, 2)
    teacher[0, 0, 0, 0] = 4 * math.log(3)
    one = 16 * (0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    assert float(softened_divergence(student, teacher)) == pytest.approx(one / 4, rel=1e-6)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_distances_of_a_layer_to_itself_are_zero(classes):
    layer = random_logits(2, classes, 7, 5)
    assert float(transfer(layer, layer)) == 0
    assert float(softened_divergence(layer, layer)) == 0


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e4])
def test_attention_does_not_depend_on_the_features_scale(scale):
    layer = random_logits(1, 3, 5, 7)
    torch.testing.assert_close(attention_map(layer * scale), attention_map(layer), rtol=1e-4, atol=1e-6)


def test_attention_has_the_gradient_of_its_formula():
    layer = random_logits(1, 3, 2, 2).requires_grad_()
    other = random_logits(1, 3, 2, 2, seed=1)
    transfer(layer, other).backward()
    plain = layer.detach().double().requires_grad_()
    maps = [x.double().pow(4).mean(1).flatten(1) for x in (plain, other)]
    normalized = [x / x.norm(dim=1, keepdim=True) for x in maps]
    (normalized[0] - normalized[1]).square().sum().backward()
    torch.testing.assert_close(layer.grad.double(), plain.grad, rtol=1e-4, atol=1e-6)


def test_a_silent_layer_has_finite_loss_and_gradient():
    layer = torch.zeros(1, 3, 4, 4, requires_grad=True)
    loss = transfer(layer, random_logits(1, 2, 4, 4))
    loss.backward()
    assert math.isfinite(loss.item()) and bool(layer.grad.isfinite().all())


def test_a_layer_that_is_negative_everywhere_has_the_map_of_its_opposite():
    """A layer before its activation may be: scaled by its highest value, its fourth power is no number."""
    layer = 1 + torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(attention_map(-layer), attention_map(layer))
    assert bool(attention_map(-layer).isfinite().all())


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16])
def test_half_precision_features_do_not_overflow(precision):
    layer, other = (100 * random_logits(2, 4, 8, 8, seed=seed) for seed in (0, 1))
    with torch.autocast("cpu", torch.bfloat16):
        attention = transfer(layer.to(precision), other.to(precision))
        prediction = softened_divergence(layer.to(precision), other.to(precision))
    assert attention.dtype == prediction.dtype == torch.float32
    assert float(attention) == pytest.approx(float(transfer(layer, other)), rel=0.05)
    assert float(prediction) == pytest.approx(float(softened_divergence(layer, other)), rel=0.05)


def test_segmentation_loss_by_hand():
    logits = torch.zeros(1, 2, 2, 2)
    classes = torch.tensor([[[0, 0], [0, 1]]])
    focal = 0.5**2 * math.log(2)
    dice = 1 - (2 * 0.5 + 1) / (4 * 0.5 + 1 + 1)
    assert float(SegmentationLoss()(logits, whole(classes, 2))) == pytest.approx((focal + dice) / 2, rel=1e-6)


def test_segmentation_loss_by_hand_where_one_label_is_unknown():
    logits = torch.zeros(1, 3, 1, 2)
    target = Target(torch.tensor([[[0, 1]]]), torch.tensor([[0, 1, 0]]))
    background, label = 2 / 3, 1 / 3  # the unknown label's third belongs to the background's group
    focal = -((1 - background) ** 2 * math.log(background) + (1 - label) ** 2 * math.log(label)) / 2
    dice = 1 - (2 * label + 1) / (2 * label + 1 + 1)  # of the known label only
    assert float(SegmentationLoss()(logits, target)) == pytest.approx((focal + dice) / 2, rel=1e-5)


def test_an_unknown_label_is_taught_neither_presence_nor_absence():
    logits = random_logits(1, 3, 6, 5)
    target = Target(torch.zeros(1, 6, 5, dtype=torch.long), torch.tensor([[0, 1, 0]]))
    swapped = logits[:, [2, 1, 0]]
    torch.testing.assert_close(SegmentationLoss()(logits, target), SegmentationLoss()(swapped, target))
    known = whole(target.classes, 3)
    assert not torch.isclose(SegmentationLoss()(logits, known), SegmentationLoss()(swapped, known))


def test_nothing_known_costs_nothing():
    target = Target(torch.zeros(1, 4, 4, dtype=torch.long), torch.zeros(1, 3, dtype=torch.long))
    logits = random_logits(1, 3, 4, 4).requires_grad_()
    loss = SegmentationLoss()(logits, target)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6) and bool(logits.grad.isfinite().all())


def test_a_network_that_is_wrong_and_sure_of_it_learns_on_where_a_label_is_unknown():
    """The probability of what is shown is too small for float32; the logarithm of 0 would end the training."""
    logits = torch.zeros(1, 3, 4, 4)
    logits[:, 0] = 300.0
    logits.requires_grad_()
    target = Target(torch.ones(1, 4, 4, dtype=torch.long), torch.tensor([GROUPS["no label 2"]]))
    loss = SegmentationLoss()(logits, target)
    loss.backward()
    assert bool(loss.isfinite()) and bool(logits.grad.isfinite().all())


@pytest.mark.parametrize("order", [("all", "no label 2"), ("no label 2", "all"), ("no label 2", "1 and 2 as one")])
def test_slices_of_several_annotators_in_a_batch_count_each_by_its_own(order):
    logits = random_logits(2, 3, 6, 5)
    groups = torch.tensor([GROUPS[name] for name in order])
    together = merged_log_probabilities(logits, groups)
    for number in range(2):
        alone = merged_log_probabilities(logits[number : number + 1], groups[number : number + 1])
        torch.testing.assert_close(together[number : number + 1], alone)


def test_a_label_that_one_annotator_did_not_look_for_is_not_untaught_beside_one_who_did():
    logits = random_logits(2, 3, 6, 5)
    classes = torch.zeros(2, 6, 5, dtype=torch.long)
    classes[0, 2] = 2
    target = Target(classes, torch.tensor([GROUPS["all"], GROUPS["no label 2"]]))
    moved = logits.clone()  # In the second slice, between the background and the label that nobody looked for there.
    moved[1] = logits[1][[2, 1, 0]]
    torch.testing.assert_close(SegmentationLoss()(moved, target), SegmentationLoss()(logits, target))


@pytest.mark.parametrize("num_classes", [2, 3, 5])
def test_a_perfect_segmentation_costs_nothing_and_a_wrong_one_does(num_classes):
    classes = torch.arange(42).reshape(1, 6, 7) % num_classes
    logits = 50 * torch.nn.functional.one_hot(classes, num_classes).permute(0, 3, 1, 2).float()
    assert float(SegmentationLoss()(logits, whole(classes, num_classes))) == pytest.approx(0, abs=1e-4)
    assert float(SegmentationLoss()(-logits, whole(classes, num_classes))) > 1


def test_an_absent_label_that_is_not_predicted_costs_nothing():
    classes = torch.zeros(1, 4, 4, dtype=torch.long)
    logits = torch.zeros(1, 3, 4, 4)
    logits[:, 0] = 50
    assert float(SegmentationLoss()(logits, whole(classes, 3))) == pytest.approx(0, abs=1e-4)


def test_dice_is_half_of_the_batch_and_half_of_each_slice():
    """By hand: two slices of four pixels, of which one shows the label; every pixel's probability is a half."""
    logits = torch.zeros(2, 2, 2, 2)
    classes = torch.tensor([[[0, 0], [0, 1]], [[0, 0], [0, 0]]])
    focal = 0.5**2 * math.log(2)
    pooled = 1 - (2 * 0.5 + 1) / (8 * 0.5 + 1 + 1)
    by_slice = (1 - (2 * 0.5 + 1) / (4 * 0.5 + 1 + 1)) / 2
    dice = (pooled + by_slice) / 2
    assert float(SegmentationLoss()(logits, whole(classes, 2))) == pytest.approx((focal + dice) / 2, rel=1e-6)


def test_a_missed_tip_costs_more_than_the_same_pixels_of_a_large_organ():
    truth = torch.zeros(2, 16, 16, dtype=torch.long)
    truth[0, 2:14, 2:14] = 1
    truth[1, 6:8, 6:10] = 1
    found = truth.clone()

    def cost(missed):
        logits = 12 * torch.nn.functional.one_hot(missed, 2).permute(0, 3, 1, 2).float()
        return float(SegmentationLoss()(logits, whole(truth, 2)))

    without_tip, without_corner = found.clone(), found.clone()
    without_tip[1] = 0
    without_corner[0, 2:4, 2:6] = 0
    assert cost(without_tip) > cost(without_corner) + 0.08


def test_slices_without_a_label_do_not_drown_the_one_that_has_it():
    """A label that is predicted nowhere yet must become more likely where it is, also where most slices lack it."""
    logits = torch.zeros(8, 3, 6, 6)
    logits[:, 2] = -6.0
    logits.requires_grad_()
    classes = torch.zeros(8, 6, 6, dtype=torch.long)
    classes[0, 2:4, 2:4] = 2
    SegmentationLoss()(logits, whole(classes, 3)).backward()
    # A step against the gradient, summed as the last layer's bias would take it.
    assert float(logits.grad[:, 2].sum()) < 0


def test_a_label_that_no_slice_shows_costs_no_dice():
    logits = random_logits(2, 3, 6, 5)
    classes = torch.zeros(2, 6, 5, dtype=torch.long)
    classes[:, 1] = 1
    without_last = torch.tensor([[0, 1, 0]] * 2)
    predicted = logits.clone()
    predicted[:, 2] = -30.0  # Focal has nothing to add either, then.
    known, unknown = (
        float(SegmentationLoss()(predicted, target)) for target in (whole(classes, 3), Target(classes, without_last))
    )
    assert known == pytest.approx(unknown, rel=1e-6)


def losses_of_processes(monkeypatch, *slices):
    """Of each of the (logits, target), as if each were in a process of its own that trains with the others."""
    sums = []
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed.nn.functional, "all_reduce", lambda own: sums.append(own) or own)
    for slice_ in slices:
        SegmentationLoss()(*slice_)
    monkeypatch.setattr(torch.distributed.nn.functional, "all_reduce", lambda _own: sum(sums))
    found = [SegmentationLoss()(*slice_) for slice_ in slices]
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: False)
    return found


def test_dice_pools_the_slices_of_all_processes(monkeypatch):
    """What one finds on a slice without the label counts against it in the others as well."""
    classes = torch.zeros(2, 6, 5, dtype=torch.long)
    classes[0, 1:4, 1:4] = 1
    logits = random_logits(2, 2, 6, 5)
    slices = [(logits[n : n + 1], whole(classes[n : n + 1], 2)) for n in range(2)]
    together = SegmentationLoss()(logits, whole(classes, 2))
    torch.testing.assert_close(sum(losses_of_processes(monkeypatch, *slices)) / 2, together)


def test_a_slice_that_only_keeps_a_process_in_step_adds_nothing_to_what_the_others_learn(monkeypatch):
    classes = torch.zeros(1, 6, 5, dtype=torch.long)
    classes[0, 1:4, 1:4] = 1
    own = random_logits(1, 2, 6, 5), whole(classes, 2)
    idle = random_logits(1, 2, 6, 5, seed=1), whole(classes, 2).forgotten()
    torch.testing.assert_close(losses_of_processes(monkeypatch, own, idle)[0], SegmentationLoss()(*own))
