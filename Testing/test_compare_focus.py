"""Focus on annotated regions: what is told of an organ that nobody looked for."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from generated_cases import TASK, write_cases
from HLFDSegmentationLib.networks import build_network
from HLFDTrainingLib.cases import find_cases
from HLFDTrainingLib.compare.focus import choose_focus_slices
from HLFDTrainingLib.compare.measuring import measure_network

LIVER, TUMOR = "liver", "liver tumor"


@pytest.mark.parametrize(
    ("labels", "region", "organ_is_known"),
    [
        ({1: (LIVER,), 2: (TUMOR,)}, TUMOR, True),
        ({1: (), 2: (TUMOR,)}, TUMOR, False),
        ({1: (LIVER,), 2: (LIVER,)}, LIVER, False),  # Where the tumor was not looked for, it may be anywhere.
    ],
)
def test_focus_on_an_organ_is_measured_where_it_was_annotated(tmp_path, labels, region, organ_is_known):
    torch.manual_seed(1)
    network = build_network("mobilenetv2-unet", TASK.num_classes).eval()
    (found,) = find_cases(write_cases(tmp_path, 1, slices=3), TASK)
    case = replace(found, labels=labels)
    chosen = choose_focus_slices([case], TASK)
    figures = measure_network(network, "mobilenetv2-unet", TASK, [case], chosen, device="cpu", before_each=lambda: None)
    measured = [one for one in figures["focus"] if one["focus"] is not None]
    assert measured and {one["label"] for one in measured} == {region}
    assert {one["organ_focus"] is not None for one in measured} == {organ_is_known}
    assert {one["organ_focus_ratio"] is not None for one in measured} == {organ_is_known}
