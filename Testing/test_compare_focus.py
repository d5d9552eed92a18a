"""Focus on annotated regions: what it is, where it is measured, and of an organ that nobody looked for."""

from __future__ import annotations

from dataclasses import replace

import pytest
import SimpleITK as sitk
import torch
from generated_cases import TASK, blob_case, write_cases
from HLFDSegmentationLib.attention import AttentionCollector
from HLFDSegmentationLib.ct_files import read_ct
from HLFDSegmentationLib.networks import build_network
from HLFDSegmentationLib.networks.network import SegmentationNetwork
from HLFDSegmentationLib.volumes import AxialSlices
from HLFDTrainingLib.cases import Case, find_cases
from HLFDTrainingLib.compare import focus
from HLFDTrainingLib.compare.focus import choose_focus_slices, focus_of_case
from HLFDTrainingLib.compare.measuring import measure_network

LIVER, TUMOR = "liver", "liver tumor"


def unlearned_network() -> SegmentationNetwork:
    torch.manual_seed(1)
    return build_network("mobilenetv2-unet", TASK.num_classes).eval()


def measured(case: Case) -> dict[str, list[dict]]:
    """The figures of a network that has learned nothing."""
    chosen = choose_focus_slices([case], TASK)
    return measure_network(
        unlearned_network(), "mobilenetv2-unet", TASK, [case], chosen, device="cpu", before_each=lambda: None
    )


def measured_focus(case: Case) -> list[dict]:
    """Where a layer has any attention."""
    return [one for one in measured(case)["focus"] if one["focus"] is not None]


def test_focus_is_a_share_of_attention_and_its_ratio_is_to_attention_that_is_spread_evenly(tmp_path):
    (case,) = find_cases(write_cases(tmp_path, 1, slices=3), TASK)
    body = AxialSlices(read_ct(case.ct), TASK).body(1, 2)
    label = sitk.GetArrayFromImage(sitk.ReadImage(str(case.label)))[1]  # the only slice with a tumor
    evenly = {"focus": (label == 2).sum() / body.sum(), "organ_focus": (label > 0).sum() / body.sum()}
    found = measured_focus(case)
    assert found
    for one in found:
        assert 0 <= one["focus"] <= one["organ_focus"] <= 1
        for name, share in evenly.items():
            assert one[f"{name}_ratio"] == pytest.approx(one[name] / share)


@pytest.mark.parametrize(
    ("labels", "region", "organ_is_known"),
    [
        ({1: (LIVER,), 2: (TUMOR,)}, TUMOR, True),
        ({1: (), 2: (TUMOR,)}, TUMOR, False),
        ({1: (LIVER,), 2: (LIVER,)}, LIVER, False),  # Where the tumor was not looked for, it may be anywhere.
    ],
)
def test_focus_on_an_organ_is_measured_where_it_was_annotated(tmp_path, labels, region, organ_is_known):
    (case,) = find_cases(write_cases(tmp_path, 1, slices=3), TASK)
    found = measured_focus(replace(case, labels=labels))
    assert found and {one["label"] for one in found} == {region}
    assert {one["organ_focus"] is not None for one in found} == {organ_is_known}
    assert {one["organ_focus_ratio"] is not None for one in found} == {organ_is_known}


def test_figures_of_a_ct_are_told_as_its_patients(tmp_path):
    """Intervals and tests are over patients."""
    (case,) = find_cases(write_cases(tmp_path, 1, slices=2), TASK)
    for found in measured(replace(case, patient="one")).values():
        assert {(one["patient"], one["case"]) for one in found} == {("one", "case0")}


def test_attention_beside_the_ct_is_no_part_of_a_focus():
    """A CT whose slices are 8 pixels narrower than the network's; what a layer looks at beside them is of no body."""
    ct, label = (image[4:-4, 4:-4, :] for image in blob_case(0, 2))
    slices = AxialSlices(ct, TASK)
    assert slices.shown == (56, 56) and slices.shape == (64, 64)
    network, truth = unlearned_network(), slices.labels_of(label)
    found = focus_of_case(network, slices, truth, [0, 1, 2], {LIVER: [0]}, TASK, torch.device("cpu"))
    collector = AttentionCollector(network, TASK, slices.count, (56, 56))
    collector.add(0, torch.from_numpy(slices.images(0, 1)), slices.to_canvas(truth[:1]), slices.body(0, 1))
    expected = {one.layer: one.focus.segment for one in collector.result() if one.label == LIVER and one.focus}
    assert {one.layer: one.focus.segment for one in found if one.focus} == pytest.approx(expected)


@pytest.mark.parametrize(("most", "chosen"), [(8, [2, 4, 6, 8]), (2, [5]), (1, [5]), (99, [1, 2, 3, 4, 5, 6, 7, 8, 9])])
def test_focus_is_measured_on_so_many_slices_of_all_cases_together_spaced_evenly(most, chosen, tmp_path, monkeypatch):
    """Of each case nine slices show a tumor, from the second on."""
    cases = find_cases(write_cases(tmp_path, 2, slices=11), TASK)
    monkeypatch.setattr(focus, "FOCUS_SLICES", most)
    assert choose_focus_slices(cases, TASK) == {case.name: {TUMOR: chosen} for case in cases}


@pytest.mark.parametrize("order", ["RAS", "LPI", "PIR"])
def test_focus_is_measured_on_the_same_slices_however_the_files_lie(order, tmp_path):
    (case,) = find_cases(write_cases(tmp_path / "cases", 1, slices=4), TASK)
    turned = replace(case, label=tmp_path / "label.nii.gz")
    sitk.WriteImage(sitk.DICOMOrient(sitk.ReadImage(str(case.label)), order), str(turned.label))
    assert choose_focus_slices([turned], TASK) == choose_focus_slices([case], TASK) == {case.name: {TUMOR: [1, 2]}}
