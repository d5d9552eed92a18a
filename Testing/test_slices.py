"""What training sees of annotated cases."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from generated_cases import TASK, blob_case, write_cases
from HLFDSegmentationLib.ct_files import read_ct
from HLFDSegmentationLib.errors import CasesError, OutputError, TrainingError
from HLFDSegmentationLib.image_files.label_files import read_label
from HLFDSegmentationLib.volumes import AxialSlices
from HLFDTrainingLib.cases import case_groups, find_cases
from HLFDTrainingLib.learning import stored_slices
from HLFDTrainingLib.learning.augmentation import anatomical_changes
from HLFDTrainingLib.learning.orientations import cut_to
from HLFDTrainingLib.learning.slices import SliceDataset, collate
from HLFDTrainingLib.learning.stored_slices import SliceItem, chosen_slices, list_slices
from HLFDTrainingLib.losses import SegmentationLoss
from HLFDTrainingLib.partial_labels import Target, merged_classes, merged_log_probabilities
from HLFDTrainingLib.plan import TrainingPlan
from test_bad_ct import stack, write_series


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    return find_cases(write_cases(tmp_path_factory.mktemp("cases"), 1), TASK)[0]


def dataset(case, folder, **options) -> SliceDataset:
    return SliceDataset(list_slices([case], TASK), TASK, folder, **options)


def test_training_sees_what_segmenting_sees(case, tmp_path):
    slices = dataset(case, tmp_path)
    expected = AxialSlices(sitk.ReadImage(str(case.ct)), TASK).images(0, len(slices))
    seen = torch.cat([slices[0, number][0] for number in range(len(slices))])
    np.testing.assert_allclose(seen.numpy(), expected, atol=5e-4)  # kept in 16 bits


@pytest.mark.parametrize("augmentation", [None, "orientations", "anatomical"])
def test_labels_are_brought_to_the_tasks_spacing_as_the_images_are(augmentation, case, tmp_path):
    """Of a CT with finer pixels; the tissue on which the label lies is bright."""
    coarse = replace(TASK, spacing=10.0)
    slices = SliceDataset(list_slices([case], coarse), coarse, tmp_path, augmentation=augmentation)
    image, target = slices[0, 0]
    assert image.shape[2:] == target.classes.shape[1:]
    liver, outside = image[0, 0][target.classes[0] > 0], image[0, 0][target.classes[0] == 0]
    assert liver.median() > torch.quantile(outside, 0.9)


def test_stored_slices_are_those_that_were_read(case, tmp_path):
    first = dataset(case, tmp_path)[0, 2]
    again = dataset(case, tmp_path)[0, 2]
    assert any(tmp_path.iterdir())
    assert torch.equal(first[0], again[0]) and torch.equal(first[1].classes, again[1].classes)


@pytest.mark.parametrize("kept", [0, 100, 400])
def test_a_stored_slice_that_is_cut_short_is_read_again(kept, case, tmp_path):
    """As a full disk or a power failure leaves it; the run could never be gone on with."""
    first = dataset(case, tmp_path)[0, 2][0]
    (stored,) = tmp_path.iterdir()
    whole = stored.read_bytes()
    stored.write_bytes(whole[:kept])
    assert torch.equal(dataset(case, tmp_path)[0, 2][0], first)
    assert len(stored.read_bytes()) == len(whole)


def test_a_stored_slice_that_was_damaged_is_read_again(case, tmp_path):
    """As by a disk that lost a block or a byte. Torch does not see changed voxels, and has many words for the rest."""
    first, _ = dataset(case, tmp_path)[0, 2]
    (stored,) = tmp_path.iterdir()
    whole = stored.read_bytes()
    lost = [(place, bytes(512)) for place in range(0, len(whole), 512)]
    turned = [(place, bytes([whole[place] ^ 255])) for place in range(0, 700, 7)]
    for place, damage in lost + turned:
        stored.write_bytes((whole[:place] + damage + whole[place + len(damage) :])[: len(whole)])
        image, target = dataset(case, tmp_path)[0, 2]
        assert torch.equal(image, first) and target.classes.any()


@pytest.mark.parametrize("what", ["image", "label"])
def test_a_stored_slice_of_which_a_voxel_was_changed_is_read_again(what, case, tmp_path):
    slices = dataset(case, tmp_path)
    image, target = slices[0, 1]
    (stored,) = tmp_path.iterdir()
    kept = torch.load(stored, weights_only=True)
    kept[what][0, 30, 30] += 1
    torch.save(kept, stored)
    again, label = slices[0, 1]
    assert torch.equal(again, image) and torch.equal(label.classes, target.classes)


def test_a_slice_is_not_taken_for_damaged_where_memory_runs_out(case, tmp_path, monkeypatch):
    slices = dataset(case, tmp_path)
    slices[0, 2]

    def fill_the_memory(*arguments, **options):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(torch, "load", fill_the_memory)
    with pytest.raises(RuntimeError, match="allocate memory"):
        slices[0, 2]


@pytest.mark.parametrize("kept", [0, 5, None])
def test_which_slices_have_labels_is_looked_for_once(kept, case, tmp_path, monkeypatch):
    """Reading all annotations again takes minutes whenever a training goes on. What is cut short is read again."""
    found = list_slices([case], TASK, tmp_path)
    assert found == list_slices([case], TASK) and {item.labelled for item in found} == {True, False}
    (stored,) = tmp_path.iterdir()
    stored.write_bytes(stored.read_bytes()[:kept])
    reads = []
    monkeypatch.setattr(stored_slices, "read_label", lambda path: reads.append(path) or read_label(path))
    assert list_slices([case], TASK, tmp_path) == found
    assert reads == ([] if kept is None else [case.label])


def test_which_slices_have_labels_is_looked_for_again_where_that_changed(tmp_path):
    (case,) = find_cases(write_cases(tmp_path / "cases", 1), TASK)
    found = list_slices([case], TASK, tmp_path)
    others = replace(case, labels=dict.fromkeys(case.labels, ()))
    assert not any(item.labelled for item in list_slices([others], TASK, tmp_path))
    label = sitk.ReadImage(str(case.label))
    sitk.WriteImage(label * 0, str(case.label))
    assert len(found) == len(list_slices([case], TASK, tmp_path)) and any(item.labelled for item in found)
    assert not any(item.labelled for item in list_slices([case], TASK, tmp_path))


def test_a_slice_that_could_not_be_stored_leaves_nothing(case, tmp_path, monkeypatch):
    def fill_the_disk(content, path):
        path.write_bytes(b"begun")
        raise RuntimeError("[enforce fail at inline_container.cc] PytorchStreamWriter failed writing file")

    with monkeypatch.context() as changed:
        changed.setattr(torch, "save", fill_the_disk)
        with pytest.raises(OutputError, match="Free some space"):
            dataset(case, tmp_path)[0, 2]
    assert not any(tmp_path.iterdir())
    dataset(case, tmp_path)[0, 2]


def test_changed_case_is_read_anew(tmp_path):
    folder = write_cases(tmp_path / "cases", 1)
    case = find_cases(folder, TASK)[0]
    before = dataset(case, tmp_path / "cache")[0, 2][0]
    sitk.WriteImage(blob_case(7)[0], str(case.ct))
    assert not torch.equal(before, dataset(case, tmp_path / "cache")[0, 2][0])


@pytest.mark.parametrize(
    ("labels", "task"),
    [
        ({1: ("liver tumor",), 2: ("liver",)}, TASK),
        (None, replace(TASK, window=(0.0, 100.0))),
        (None, replace(TASK, spacing=2 * TASK.spacing)),
    ],
)
def test_slices_that_were_kept_for_other_labels_or_another_task_are_not_learned_from(case, tmp_path, labels, task):
    other = replace(case, labels=labels or case.labels)

    def slice_of(case, task, cache):
        image, target = SliceDataset(list_slices([case], task), task, tmp_path / cache)[0, 1]
        return image, target.classes

    before = slice_of(case, TASK, "shared")
    found, expected = slice_of(other, task, "shared"), slice_of(other, task, "fresh")
    assert all(torch.equal(*both) for both in zip(found, expected))
    assert not all(torch.equal(*both) for both in zip(found, before))


def test_a_case_that_is_changed_while_it_is_learned_from_stays_as_it_was(tmp_path):
    """Epochs before and after a correction could not be compared, and the run would be refused when it goes on."""
    case = find_cases(write_cases(tmp_path / "cases", 1), TASK)[0]
    slices = dataset(case, tmp_path / "cache")
    before = slices[0, 2][1].classes
    empty = sitk.ReadImage(str(case.label)) * 0
    sitk.WriteImage(empty, str(case.label))

    assert before.any() and torch.equal(slices[0, 2][1].classes, before)
    slices.stored.read.forget()
    with pytest.raises(CasesError, match=f"{case.name}.*was changed while it was learned from"):
        slices[0, 3]


def test_what_a_file_manager_leaves_beside_slices_is_no_change_of_a_case(case, tmp_path):
    """Whoever only looked into the folder would end the training."""
    folder = write_series(tmp_path / "ct", stack(*range(0, 20, 5)), size=(80, 80))
    label = sitk.Cast(read_ct(folder) > 0, sitk.sitkUInt8)
    sitk.WriteImage(label, str(tmp_path / "label.nii.gz"))
    slices = dataset(replace(case, ct=folder, label=tmp_path / "label.nii.gz"), tmp_path / "cache")
    slices[0, 1]
    (folder / ".DS_Store").write_text("x")
    slices.stored.read.forget()
    slices[0, 2]
    (folder / "slice000.dcm").touch()
    slices.stored.read.forget()
    with pytest.raises(CasesError, match="was changed while it was learned from"):
        slices[0, 3]


@pytest.mark.parametrize("order", ["RAS", "LPI", "PIR", "LSA"])
def test_orientation_of_the_files_does_not_matter(case, tmp_path, order):
    turned = tmp_path / "turned"
    turned.mkdir()
    for path in (case.ct, case.label):
        sitk.WriteImage(sitk.DICOMOrient(sitk.ReadImage(str(path)), order), str(turned / path.name))
    other = replace(case, ct=turned / "ct.nii.gz", label=turned / "label.nii.gz")
    for one in (case, other, replace(case, label=other.label)):
        assert [item.labelled for item in list_slices([one], TASK)] == [True] * 5 + [False]
    for number in range(len(dataset(case, tmp_path / "a"))):
        image, target = dataset(case, tmp_path / "a")[0, number]
        turned_image, turned_target = dataset(other, tmp_path / "b")[0, number]
        assert torch.equal(image, turned_image) and torch.equal(target.classes, turned_target.classes)


def test_random_changes_depend_on_seed_epoch_and_slice_alone(case, tmp_path):
    slices, again = (dataset(case, tmp_path, augmentation="anatomical", seed=1) for _ in range(2))
    other = dataset(case, tmp_path, augmentation="anatomical", seed=2)
    slices[0, 3]
    assert torch.equal(slices[4, 2][0], again[4, 2][0])
    assert not torch.equal(slices[4, 2][0], slices[5, 2][0])
    assert not torch.equal(slices[4, 2][0], other[4, 2][0])


def test_image_and_label_are_moved_together(case, tmp_path):
    slices = dataset(case, tmp_path, augmentation="anatomical", seed=0)
    for epoch in range(5):
        image, target = slices[epoch, 2]
        liver, outside = image[0, 0][target.classes[0] == 1], image[0, 0][target.classes[0] == 0]
        assert liver.median() > outside.median() + 0.2
        assert image.min() >= 0 and image.max() <= 1


def test_orientations_are_the_eight_flips_and_quarter_turns(case, tmp_path):
    plain = dataset(case, tmp_path)[0, 2]
    image, classes = plain[0][0, 0].numpy(), plain[1].classes[0].numpy()
    eight = [np.rot90(flipped, turns) for flipped in (image, image[:, ::-1]) for turns in range(4)]
    slices = dataset(case, tmp_path, augmentation="orientations", seed=1)
    seen = set()
    for epoch in range(40):
        shown, target = slices[epoch, 2]
        number = next(number for number, one in enumerate(eight) if np.array_equal(one, shown[0, 0]))
        turned = np.rot90(classes if number < 4 else classes[:, ::-1], number % 4)
        assert np.array_equal(turned, target.classes[0])
        seen.add(number)
    assert len(seen) == 8


def test_orientation_depends_on_seed_epoch_and_slice_alone(case, tmp_path):
    def orientations(seed):
        slices = dataset(case, tmp_path, augmentation="orientations", seed=seed)
        return [[slices.orientation((epoch, number)) for number in range(6)] for epoch in range(6)]

    assert orientations(0) == orientations(0) != orientations(1)
    assert len({tuple(row) for row in orientations(0)}) == 6


@pytest.mark.parametrize("augmentation", ["anatomical", "orientations"])
def test_a_slice_that_is_shown_twice_in_an_epoch_is_changed_in_two_ways(augmentation, case, tmp_path):
    slices = SliceDataset(list_slices([case], TASK)[:1] * 4, TASK, tmp_path, augmentation=augmentation)
    assert not all(torch.equal(slices[0, number][0], slices[0, 0][0]) for number in range(4))


@pytest.mark.parametrize("size", [(48, 48), (80, 80), (63, 63), (65, 65)])
def test_oriented_slices_are_cut_or_padded_around_the_centre(case, tmp_path, size):
    task = replace(TASK, input_size=size)
    slices = SliceDataset(list_slices([case], TASK), task, tmp_path, augmentation="orientations")
    whole, whole_target = dataset(case, tmp_path / "whole")[0, 2]
    image, target = next(slices[epoch, 2] for epoch in range(99) if slices.orientation((epoch, 2)) == 0)
    assert image.shape[2:] == target.classes.shape[1:] == size
    low, small = (abs(size[0] - 64) // 2, min(size[0], 64))
    inner, outer = slice(low, low + small), slice(0, 64)
    if size[0] < 64:
        low = -((size[0] - 64) // 2)
        inner, outer = slice(0, small), slice(low, low + small)
    assert torch.equal(image[0, 0, inner, inner], whole[0, 0, outer, outer])
    assert torch.equal(target.classes[0, inner, inner], whole_target.classes[0, outer, outer])
    assert image.sum() == image[0, 0, inner, inner].sum()


def test_slices_that_are_not_square_are_cut_and_padded_each_way_by_its_own():
    slice_ = torch.zeros(1, 60, 80)
    slice_[0, 30, 40] = 1
    cut = cut_to(slice_, (64, 64))
    assert cut.shape == (1, 64, 64)
    assert cut.nonzero().tolist() == [[0, 32, 32]]


def test_slices_that_are_not_square_cannot_be_turned():
    with pytest.raises(TrainingError, match="64x32"):
        TrainingPlan(task=replace(TASK, input_size=(64, 32)), augmentation="orientations")
    with pytest.raises(TrainingError, match="'mirrored'"):
        TrainingPlan(task=TASK, augmentation="mirrored")


def test_slices_without_a_label_are_a_share(tmp_path):
    cases = find_cases(write_cases(tmp_path, 4), TASK)
    items = chosen_slices(list_slices(cases, TASK), seed=0)
    labelled = [item for item in items if item.labelled]
    assert len(labelled) == 4 * 5
    assert len(items) - len(labelled) == 4  # there are four, and five would be allowed
    repeated = chosen_slices(list_slices([replace(cases[0], repeat=3)], TASK), seed=0)
    assert [item.labelled for item in repeated].count(True) == 15
    assert len(repeated) == 15 + 3  # the slice without a label is repeated as well


def test_one_empty_slice_for_four_with_a_label_is_drawn_by_the_seed_and_none_twice(case):
    items = [SliceItem(case, index, labelled=100 <= index < 140) for index in range(300)]

    def empty(seed):
        return [item.index for item in chosen_slices(items, seed) if not item.labelled]

    assert all(len(empty(seed)) == len(set(empty(seed))) == 10 for seed in range(20))
    assert empty(0) == empty(0) != empty(1)
    assert max(empty(0)) > 140  # On both sides of the organ.


# Partial labels

UNDIVIDED = {1: ("liver", "liver tumor")}
TUMOR_ONLY = {2: ("liver tumor",)}


def logits_and_target(case, tmp_path, labels) -> tuple[torch.Tensor, Target]:
    slices = dataset(replace(case, labels=labels), tmp_path)
    _, target = collate([slices[0, number] for number in range(1, 4)])
    generator = torch.Generator().manual_seed(0)
    shape = (3, TASK.num_classes, *target.classes.shape[1:])
    return torch.randn(shape, generator=generator).requires_grad_(), target


def test_what_was_not_looked_for_is_not_taught(case, tmp_path):
    """Only the tumor was looked for: moving probability between background and liver changes nothing."""
    logits, target = logits_and_target(case, tmp_path, TUMOR_ONLY)
    swapped = logits[:, [1, 0, 2]]
    loss = SegmentationLoss()
    torch.testing.assert_close(loss(logits, target), loss(swapped, target))
    assert not torch.isclose(loss(logits, target), loss(logits[:, [0, 2, 1]], target))


def test_undivided_labels_teach_their_sum(case, tmp_path):
    logits, target = logits_and_target(case, tmp_path, UNDIVIDED)
    loss = SegmentationLoss()
    torch.testing.assert_close(loss(logits, target), loss(logits[:, [0, 2, 1]], target))
    merged = merged_log_probabilities(logits, target.groups).exp()
    torch.testing.assert_close(merged[:, 1], logits.softmax(1)[:, 1:].sum(1))
    assert merged[:, 2].max() == 0


def test_every_slice_of_a_batch_knows_what_its_own_annotator_looked_for(tmp_path):
    """As in a training with several data sets, of which one has no tumors."""
    found = find_cases(write_cases(tmp_path / "cases", 3, slices=2), TASK)
    known = ({1: ("liver",)}, {1: ("liver",), 2: ("liver tumor",)}, UNDIVIDED)
    cases = [replace(case, labels=labels) for case, labels in zip(found, known)]
    slices = SliceDataset(list_slices(cases, TASK), TASK, tmp_path / "cache")
    _, target = collate([slices[0, number] for number in range(len(slices))])
    assert target.groups.tolist() == [case_groups(item.case, TASK) for item in slices.items]


def test_predictions_are_merged_before_they_are_compared(case, tmp_path):
    _, target = logits_and_target(case, tmp_path, UNDIVIDED)
    predicted = torch.tensor([0, 1, 2]).expand(3, 4, 3)
    assert merged_classes(predicted, target.groups).unique().tolist() == [0, 1]


# Random changes


def test_changed_labels_are_not_mixed_and_bright_tissue_stays_bright():
    label = torch.zeros(1, 64, 64, dtype=torch.uint8)
    label[:, 12:52, 12:52] = 2
    changes = anatomical_changes((64, 64))
    for seed in range(20):
        changed = changes.set_random_state(seed=seed)({"image": (label / 2).float(), "label": label})
        image, classes = (np.asarray(changed[key]) for key in ("image", "label"))
        assert set(np.unique(classes)) <= {0, 2}
        assert np.median(image[classes == 2]) > 0.5


def test_changed_images_lie_on_their_labels():
    """On the mean of many: a change that always moves the image one way teaches outlines that lie beside the organ."""
    rows, columns = np.mgrid[:96, :96]
    edge = np.clip((24 - np.hypot(rows - 47.5, columns - 47.5)) / 4 + 0.5, 0, 1)
    blob = {
        "image": torch.tensor(0.7 * edge[None], dtype=torch.float32),
        "label": torch.tensor(edge[None] > 0.5).byte(),
    }
    changes = anatomical_changes((96, 96))
    beside = []
    for seed in range(100):
        changed = changes.set_random_state(seed=seed)(dict(blob))
        image, label = np.asarray(changed["image"])[0], np.asarray(changed["label"])[0] > 0
        seen = image > image[label].mean() / 2
        beside.append(np.argwhere(seen).mean(axis=0) - np.argwhere(label).mean(axis=0))
    assert np.abs(np.mean(beside, axis=0)).max() < 0.05


def test_nothing_is_known_to_lie_beyond_a_slice_that_was_moved():
    slice_ = {"image": torch.ones(1, 64, 64), "label": torch.full((1, 64, 64), 2, dtype=torch.uint8)}
    changes = anatomical_changes((64, 64))
    moved = [np.asarray(changes.set_random_state(seed=seed)(dict(slice_))["label"]) for seed in range(10)]
    assert any((label == 0).any() for label in moved)


def blobs(*centers, size=128):
    """A slice with a disc for each (row, column), 1, 2, ... in the label, as bright as 0.5 in the image."""
    rows, columns = np.mgrid[:size, :size]
    label = np.zeros((1, size, size), np.uint8)
    for value, (row, column) in enumerate(centers, start=1):
        label[0, np.hypot(rows - row, columns - column) < 10] = value
    return {"image": torch.tensor(label > 0).float() / 2, "label": torch.tensor(label)}


def test_slices_are_moved_scaled_and_brightened_both_ways_and_neither_mirrored_nor_turned_far():
    slice_, changes = blobs((64, 44), (64, 84), (84, 64)), anatomical_changes((128, 128))
    angles, below, middles, areas, brightness = [], [], [], [], []
    for seed in range(40):
        changed = changes.set_random_state(seed=seed)(dict(slice_))
        image, label = (np.asarray(changed[name])[0] for name in ("image", "label"))
        left, right, back = (np.argwhere(label == value).mean(axis=0) for value in (1, 2, 3))
        angles.append(np.arctan2(*(right - left)))
        below.append(back[0] - (left[0] + right[0]) / 2)
        middles.append((left + right) / 2 - (64, 64))
        areas.append((label > 0).sum() / (slice_["label"] > 0).sum().item())
        brightness.append(image[label > 0].mean())
    assert np.abs(angles).max() < 0.5, "left stays left: the liver lies on the right, and nobody is turned"
    assert min(below) > 0, "nor upside down"
    assert np.abs(np.mean(middles, axis=0)).max() < 8 and np.std(middles, axis=0).min() > 4, "moved to all sides"
    assert min(areas) < 0.85 and max(areas) > 1.1, "larger and smaller"
    assert min(brightness) < 0.4 and max(brightness) > 0.55, "brighter and darker, as CT with and without contrast"


def test_changed_slices_have_the_networks_size():
    changed = anatomical_changes((64, 64)).set_random_state(seed=0)(blobs((64, 64)))
    assert changed["image"].shape == changed["label"].shape == (1, 64, 64)
    assert int(changed["label"].max()) == 1, "cut around the center"
