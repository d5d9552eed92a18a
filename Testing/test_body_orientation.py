"""A CT that is stored mirrored, turned or upside down is told: files lose how a patient lies in them."""

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from HLFDSegmentationLib.cautions import body_orientation
from HLFDSegmentationLib.cautions.body_orientation import MirroredSearch, misplaced_organs, side_cautions, width_doubts
from HLFDSegmentationLib.ct_files import read_ct
from HLFDSegmentationLib.inference import Segmenter
from HLFDSegmentationLib.model_store import find_package
from HLFDSegmentationLib.tasks import TASKS
from HLFDSegmentationLib.volumes import AxialSlices
from test_inference import NearestTissue, Package

TASK = replace(TASKS["abdomen"], spacing=5.0)
LIVER, KIDNEY = 1, 2
SPACING_MM = (5.0, 5.0, 8.0)


def body() -> tuple[np.ndarray, np.ndarray]:
    """A CT (z, y, x) in HU and its labels, in LPS: a bright liver on the right, in front of the kidneys and above."""
    _, y, x = np.mgrid[:20, :64, :64]
    hu = np.where(((y - 32) / 22) ** 2 + ((x - 32) / 28) ** 2 < 1, 30, -1000).astype(np.int16)
    labels = np.zeros(hu.shape, np.uint8)
    labels[8:18, 20:36, 10:30] = LIVER
    labels[3:12, 42:50, 16:22] = labels[3:12, 42:50, 42:48] = KIDNEY
    hu[labels == LIVER] = 150
    hu[labels == KIDNEY] = 220
    return hu, labels


def image(array: np.ndarray) -> sitk.Image:
    made = sitk.GetImageFromArray(np.ascontiguousarray(array))
    made.SetSpacing(SPACING_MM)
    return made


WAYS = {
    (): [],
    (2,): ["to the left of the body's middle"],
    (1,): ["behind the kidneys"],
    (0,): ["below the kidneys"],
    (1, 2): ["to the left of the body's middle", "behind the kidneys"],
}


@pytest.mark.parametrize(("axes", "told"), WAYS.items())
@pytest.mark.parametrize("orientation", ["LPS", "RAI", "SLP"])
def test_where_organs_lie_tells_how_a_ct_is_stored(axes, told, orientation):
    """However the voxels are ordered in the file, where its directions are right."""
    hu, labels = (np.flip(array, axes) for array in body())
    ct = sitk.DICOMOrient(image(hu), orientation)
    slices = AxialSlices(ct, TASK)
    drawn = slices.labels_of(sitk.DICOMOrient(image(labels), orientation))
    found = misplaced_organs(slices.to_canvas(drawn), slices, TASK)
    assert found.count("the liver lies") == len(told) and all(words in found for words in told)


@pytest.mark.parametrize("orientation", ["LPS", "RAI"])
def test_a_body_that_is_deeper_than_wide_is_told_first(orientation):
    """As where rows and columns are exchanged; and then alone, for what was found need not be the organs."""
    hu = body()[0]
    right = AxialSlices(sitk.DICOMOrient(image(hu), orientation), TASK)
    assert side_cautions(right) == []
    wrong = sitk.DICOMOrient(image(hu.transpose(0, 2, 1)), orientation)
    (caution,) = side_cautions(AxialSlices(wrong, TASK))
    assert "is 275 mm deep, from front to back, and 215 mm wide" in caution
    result = Segmenter(find_package(), "cpu").segment(wrong)
    assert result.cautions[0].startswith("In the CT's slices the body is")
    assert not any("sure of" in told or "than kidneys are" in told for told in result.cautions[1:])


def test_a_head_and_a_box_of_the_body_are_not_told_to_lie_on_the_side():
    hu = body()[0].transpose(0, 2, 1)
    tilted = image(hu)
    tilted.SetDirection(sitk.Euler3DTransform((0, 0, 0), 0, np.radians(30), 0).GetMatrix())
    assert side_cautions(AxialSlices(tilted, TASK)) == []
    head = image(hu)
    head.SetSpacing((3.5, 3.5, 8.0))
    assert side_cautions(AxialSlices(head, TASK)) == []
    assert side_cautions(AxialSlices(image(hu[:, :, 20:44]), TASK)) == []


@pytest.mark.parametrize(("factor", "told"), [(0.6, "162 mm"), (0.8, ""), (1.0, ""), (2.0, ""), (2.5, "685 mm")])
@pytest.mark.parametrize("turned", [False, True])
def test_a_body_that_is_narrower_or_wider_than_bodies_are_is_told(factor, told, turned):
    """The spacing may be wrong then, also where the patient lies on the side."""
    hu = body()[0]
    ct = image(hu.transpose(0, 2, 1) if turned else hu)
    ct.SetSpacing([mm * factor for mm in SPACING_MM])
    doubts = width_doubts(AxialSlices(ct, TASK))
    assert [f"the body is {told} wide" in doubt for doubt in doubts] == ([True] if told else [])
    assert all(f"{5 * factor:.3g} x {5 * factor:.3g} x {8 * factor:.3g} mm by the file" in doubt for doubt in doubts)
    assert all(("child" in doubt) == (factor < 1) for doubt in doubts)


def test_the_width_tells_nothing_where_the_body_is_not_whole():
    """Cut by a box, by the box around straight slices, or by a window without fat."""
    hu = body()[0]
    hu[:, 30:34, 30:34] = -1000  # gas

    def narrow(hu: np.ndarray) -> sitk.Image:
        ct = image(hu)
        ct.SetSpacing((2.5, 2.5, 8.0))
        return ct

    tilted = narrow(hu)
    tilted.SetDirection(sitk.Euler3DTransform((0, 0, 0), 0, np.radians(30), 0).GetMatrix())
    assert len(width_doubts(AxialSlices(narrow(hu), TASK))) == 1
    for ct in (narrow(hu[:, 16:48, 16:48]), tilted, narrow(hu.clip(-20, None))):
        assert width_doubts(AxialSlices(ct, TASK)) == []


def test_a_doubtful_width_is_a_note_beside_a_result_and_what_is_explained():
    hu, labels = body()
    narrow, given = image(hu), image(labels)
    for made in (narrow, given):
        made.SetSpacing((2.5, 2.5, 4.0))
    segmenter = Segmenter(Package(NearestTissue(), TASK), "cpu")
    for result in (segmenter.segment(narrow), segmenter.explain(narrow, given)):
        assert sum("mm wide: if it is not a child's" in note for note in result.notes) == 1


@pytest.mark.parametrize(("factor", "told"), [(0.5, 1), (1.0, 0), (2.0, 1)])
@pytest.mark.parametrize("name", ["hcc_011_acq1", "totalseg_dicom20", "totalseg_example_3mm"])
def test_a_wrong_scale_of_real_cts_is_told(name, factor, told, data):
    ct = read_ct(data / "volumes" / name / "ct.nii.gz")
    ct.SetSpacing([mm * factor for mm in ct.GetSpacing()])
    assert len(width_doubts(AxialSlices(ct, TASKS["abdomen"]))) == told


def test_a_tip_of_the_liver_tells_nothing():
    hu, labels = (np.flip(array, 2) for array in body())
    slices = AxialSlices(image(hu), TASK)
    labels = labels.copy()
    labels[:17][labels[:17] == LIVER] = 0
    labels[17, 24:] = 0
    assert misplaced_organs(slices.to_canvas(labels), slices, TASK) == ""


def network_that_learned(images: np.ndarray, *, mirrored_too: bool = False) -> torch.Tensor:
    """Logits of a stand-in that is sure of what is bright, on the side and in the half where it has learned it."""
    bright = (images[:, 0] > 0.5) & (images[:, 0] < 0.8)
    if not mirrored_too:
        bright[:, :, images.shape[-1] // 2 :] = bright[:, 36:] = False
    logits = np.zeros((len(images), TASK.num_classes, *images.shape[-2:]), np.float32)
    logits[:, 0], logits[:, LIVER] = 9.0, 18.0 * bright
    return torch.from_numpy(logits)


def searched(hu: np.ndarray, network) -> list[str]:
    search = MirroredSearch(AxialSlices(image(hu), TASK), TASK)
    for number in search.slices:
        list(search.steps(int(number), int(number) + 1, network))
    return search.cautions()


@pytest.mark.parametrize(
    ("axes", "told"),
    [
        ((), []),
        ((2,), ["With left and right exchanged"]),
        ((1,), ["With front and back exchanged"]),
        ((1, 2), ["With left and right as well as front and back exchanged"]),
    ],
)
def test_a_network_that_finds_more_in_mirrored_slices_tells(axes, told):
    doubts = searched(np.flip(body()[0], axes), network_that_learned)
    assert len(doubts) == len(told)
    assert all(doubt.startswith(words) for doubt, words in zip(doubts, told))
    assert searched(np.flip(body()[0], axes), lambda images: network_that_learned(images, mirrored_too=True)) == []


def test_little_of_an_organ_in_mirrored_slices_tells_nothing():
    hu = np.flip(body()[0], 2).copy()
    hu[:, 24:36] = 30
    assert searched(hu, network_that_learned) == []


def test_a_box_around_a_part_of_the_body_tells_nothing():
    """Within it, the liver lies wherever the box was drawn, and on the left the mirrored spleen looks like a liver."""
    hu, labels = (np.flip(array, 2)[:, :, 16:48] for array in body())
    assert searched(hu, network_that_learned) == []
    slices = AxialSlices(image(hu), TASK)
    labels = np.where(labels == LIVER, LIVER, 0).astype(np.uint8)
    assert misplaced_organs(slices.to_canvas(np.ascontiguousarray(labels)), slices, TASK) == ""


class FailingLater:
    """A network for which the memory does not suffice at the second way of a slice."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, images: np.ndarray) -> torch.Tensor:
        self.asked += 1
        if self.asked == 2:
            raise MemoryError
        return network_that_learned(images)


def test_each_slice_of_a_batch_is_looked_at_by_itself():
    """Thick slices come in batches: one that cuts the body does not speak for those beside it."""
    hu = np.flip(body()[0], 2).copy()
    hu[::2] = 30  # the body fills the whole slice
    ct = image(hu)
    ct.SetSpacing((*SPACING_MM[:2], 25.0))
    search = MirroredSearch(AxialSlices(ct, TASK), TASK)
    list(search.steps(0, len(hu), network_that_learned))
    assert len(search.cautions()) == 1


def test_a_gpu_with_several_slices_in_a_batch_searches_no_others():
    """Or the same CT would be told there and not on a processor."""
    ct, asked = image(np.flip(body()[0], 2)), []
    ct.SetSpacing((*SPACING_MM[:2], 5.0))
    search = MirroredSearch(AxialSlices(ct, TASK), TASK)
    shares = list(search.steps(0, ct.GetSize()[2], lambda images: asked.append(1) or network_that_learned(images)))
    assert len(search.slices) == 4 and len(asked) == 4 * 4
    assert shares == [0.25, 0.5, 0.75, 1.0]


def test_slices_that_are_searched_again_with_less_memory_count_once():
    hu = np.flip(body()[0], 2)
    search = MirroredSearch(AxialSlices(image(hu), TASK), TASK)
    for number in [*search.slices, *search.slices]:
        with pytest.raises(MemoryError):
            list(search.steps(int(number), int(number) + 1, FailingLater()))
        list(search.steps(int(number), int(number) + 1, network_that_learned))
    assert search.cautions() == searched(hu, network_that_learned)


def test_a_task_of_kidneys_alone_is_not_searched():
    """They look alike on either side."""
    assert len(MirroredSearch(AxialSlices(image(body()[0]), TASKS["kidney-tumor"]), TASKS["kidney-tumor"]).slices) == 0


def test_an_upside_down_ct_is_told_first_with_the_result(monkeypatch):
    hu, labels = (np.flip(array, 0) for array in body())
    monkeypatch.setattr("HLFDSegmentationLib.inference.clean", lambda found, *_: np.copyto(found, labels) or [])
    monkeypatch.setattr(MirroredSearch, "cautions", lambda search: [])  # this body is none that the model knows
    segmenter = Segmenter(find_package(), "cpu")
    cautions = segmenter.segment(image(hu)).cautions
    assert "below the kidneys: it may be stored mirrored, turned or upside down" in cautions[0]
    assert "below the kidneys" in segmenter.explain(image(hu), image(labels)).cautions[0]


def test_a_segmentation_that_is_mirrored_against_a_good_ct_is_named_itself():
    hu, labels = body()
    segmenter = Segmenter(Package(NearestTissue(), TASK), "cpu")
    assert not any("mirrored" in told for told in segmenter.explain(image(hu), image(labels)).cautions)
    caution = segmenter.explain(image(hu), image(labels[:, :, ::-1])).cautions[0]
    assert (
        caution.startswith("By the segmentation given, the liver lies") and "export the segmentation again" in caution
    )


def test_explaining_tells_first_that_the_patient_lies_on_the_side():
    hu, labels = (image(array.transpose(0, 2, 1)) for array in body())
    cautions = Segmenter(Package(NearestTissue(), TASK), "cpu").explain(hu, labels).cautions
    assert cautions[0].startswith("In the CT's slices the body is")


@pytest.mark.parametrize("axes", [(), (2,), (1,), (1, 2)])
def test_the_shipped_model_tells_a_real_ct_that_is_mirrored_or_turned(axes, data):
    ct = sitk.DICOMOrient(read_ct(data / "volumes" / "totalseg_dicom20" / "ct.nii.gz"), "LPS")
    stored = sitk.GetImageFromArray(np.ascontiguousarray(np.flip(sitk.GetArrayViewFromImage(ct), axes)))
    stored.CopyInformation(ct)
    cautions = Segmenter(find_package(), "cpu").segment(stored).cautions
    told = [caution for caution in cautions if body_orientation.ADVICE in caution]
    assert len(told) == (1 if axes else 0) and (not axes or cautions[0] == told[0])


@pytest.mark.parametrize(
    ("z", "y", "x", "told"),
    [
        (8, 20, 27, ""),
        (8, 20, 29, "32 mm to the left of the body's middle"),
        (8, 39, 10, ""),
        (8, 41, 10, "15 mm behind the kidneys"),
        (2, 20, 10, ""),
        (0, 20, 10, "28 mm below the kidneys"),
    ],
)
def test_how_far_the_liver_may_lie_from_where_it_does(z, y, x, told):
    slices = AxialSlices(image(body()[0]), TASK)
    labels = np.zeros((20, 64, 64), np.uint8)
    labels[4:13, 42:50, 5:9] = labels[4:13, 42:50, 50:54] = KIDNEY
    labels[z : z + 10, y : y + 16, x : x + 20] = LIVER
    labels[4:13, 42:50, 5:9] = labels[4:13, 42:50, 50:54] = KIDNEY
    found = misplaced_organs(slices.to_canvas(labels), slices, TASK)
    assert found == (f"the liver lies {told}" if told else "")


@pytest.mark.parametrize(("rows", "told"), [(4, False), (8, True)])
def test_so_much_of_a_liver_tells_where_it_lies(rows, told):
    """32 and 64 mL."""
    slices = AxialSlices(image(body()[0]), TASK)
    labels = np.zeros((20, 64, 64), np.uint8)
    labels[8:12, 20 : 20 + rows, 45:55] = LIVER
    assert bool(misplaced_organs(slices.to_canvas(labels), slices, TASK)) == told


@pytest.mark.parametrize(("first_row", "told"), [(11, True), (12, False)])
def test_a_body_that_touches_the_edge_is_whole_and_one_that_is_cut_there_is_not(first_row, told):
    """Along 85 and 125 mm of 320: the middle of what is left of a body is not its own."""
    hu, labels = (np.ascontiguousarray(np.flip(array, 2)[:, first_row:]) for array in body())
    slices = AxialSlices(image(hu), TASK)
    assert bool(misplaced_organs(slices.to_canvas(labels), slices, TASK)) == told
