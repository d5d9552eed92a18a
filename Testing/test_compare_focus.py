"""Focus on annotated regions: what it is, and what is told of an organ that nobody looked for."""

from __future__ import annotations

from dataclasses import replace

import pytest
import SimpleITK as sitk
import torch
from generated_cases import TASK, write_cases
from HLFDSegmentationLib.ct_files import read_ct
from HLFDSegmentationLib.networks import build_network
from HLFDSegmentationLib.volumes import AxialSlices
from HLFDTrainingLib.cases import Case, find_cases
from HLFDTrainingLib.compare.focus import choose_focus_slices
from HLFDTrainingLib.compare.measuring import measure_network

LIVER, TUMOR = "liver", "liver tumor"


def measured_focus(case: Case) -> list[dict]:
    """Of a network that has learned nothing, where a layer has any attention."""
    torch.manual_seed(1)
    network = build_network("mobilenetv2-unet", TASK.num_classes).eval()
    chosen = choose_focus_slices([case], TASK)
    figures = measure_network(network, "mobilenetv2-unet", TASK, [case], chosen, device="cpu", before_each=lambda: None)
    return [one for one in figures["focus"] if one["focus"] is not None]


def test_focus_is_a_share_of_attention_and_its_ratio_is_to_attention_that_is_spread_evenly(tmp_path):
    (case,) = find_cases(write_cases(tmp_path, 1, slices=3), TASK)
    body = AxialSlices(read_ct(case.ct), TASK).body(1, 2)
    label = sitk.GetArrayFromImage(sitk.ReadImage(str(case.label)))[1]  # the only slice with a tumor
    evenly = {"focus": (label == 2).sum() / body.sum(), "organ_focus": (label > 0).sum() / body.sum()}
    measured = measured_focus(case)
    assert measured
    for one in measured:
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
    (found,) = find_cases(write_cases(tmp_path, 1, slices=3), TASK)
    measured = measured_focus(replace(found, labels=labels))
    assert measured and {one["label"] for one in measured} == {region}
    assert {one["organ_focus"] is not None for one in measured} == {organ_is_known}
    assert {one["organ_focus_ratio"] is not None for one in measured} == {organ_is_known}
