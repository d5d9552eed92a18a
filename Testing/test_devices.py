"""Which graphics cards are offered: those that this PyTorch can compute on."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import SimpleITK as sitk
import torch
from HLFDSegmentationLib.devices import (
    available_devices,
    choose_device,
    device_title,
    is_card_fault,
    is_out_of_memory,
    memory_format,
)
from HLFDSegmentationLib.errors import InputError
from HLFDSegmentationLib.inference import Segmenter
from HLFDSegmentationLib.model_package import read_package

BUILT_FOR = ["sm_80", "sm_86", "sm_90a", "compute_90"]


@pytest.fixture
def cards(monkeypatch):
    """Makes this a computer with cards of these compute capabilities."""

    def put_in(*capabilities: tuple[int, int], built_for: list[str] = BUILT_FOR) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(capabilities))
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda number: capabilities[number])
        monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: built_for)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: f"Card {capabilities[number][0]}")
        monkeypatch.setattr(
            torch.cuda,
            "get_device_properties",
            lambda name: SimpleNamespace(name=torch.cuda.get_device_name(int(name[-1])), total_memory=24 * 2**30),
        )

    return put_in


@pytest.mark.parametrize(
    ("capability", "offered"), [((8, 0), True), ((8, 9), True), ((9, 0), True), ((12, 0), True), ((7, 5), False)]
)
def test_a_card_is_offered_where_this_pytorch_has_code_for_it(capability, offered, cards):
    cards(capability)
    assert ("cuda:0" in available_devices()) == offered
    assert choose_device().type == ("cuda" if offered else choose_device("cpu").type)


def test_a_card_that_is_newer_than_all_that_pytorch_holds_is_not_offered(cards):
    cards((12, 0), (9, 0), built_for=["sm_80", "sm_90"])
    assert available_devices()[0] == "cuda:1" and "cuda:0" not in available_devices()
    with pytest.raises(
        InputError, match=r"no device 'cuda:0'.* Card 12 cannot be used: the installed PyTorch .* no code"
    ):
        choose_device("cuda:0")


def test_a_result_tells_that_a_card_was_not_used(cards, untrained_package):
    cards((6, 1))
    found = Segmenter(read_package(untrained_package)).segment(sitk.Image(32, 32, 1, sitk.sitkInt16))
    assert any("The CPU computed this: Card 6 cannot be used" in note for note in found.notes)
    chosen = Segmenter(read_package(untrained_package), "cpu").segment(sitk.Image(32, 32, 1, sitk.sitkInt16))
    assert not any("Card 6" in note for note in chosen.notes)


def test_cards_of_other_makers_are_offered(cards):
    cards((11, 0), built_for=["gfx1100"])
    assert "cuda:0" in available_devices()


def test_the_card_that_can_be_computed_on_is_taken_whatever_its_number(cards):
    cards((6, 1), (8, 6), (9, 0))
    assert [choose_device().index, choose_device("cuda").index] == [1, 1]
    assert [choose_device("auto", rank).index for rank in (0, 1)] == [1, 2]
    with pytest.raises(InputError, match="no device 'cuda for process 3'"):
        choose_device("cuda", 2)


def test_cards_that_are_alike_are_told_apart(cards):
    """One of them may drive the display."""
    cards((8, 6), (8, 6), (9, 0))
    titles = [device_title(f"cuda:{number}") for number in range(3)]
    assert titles == ["Card 8 (24 GB), cuda:0", "Card 8 (24 GB), cuda:1", "Card 9 (24 GB)"]


@pytest.mark.parametrize(
    "told",
    [
        "CUDA out of memory. Tried to allocate 20.00 GiB",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "GET was unable to find an engine to execute this computation",
        "FIND was unable to find an engine to execute this computation",
        "DefaultCPUAllocator: not enough memory: you tried to allocate 4 bytes.",
    ],
)
def test_too_little_memory_is_known_in_all_its_words(told):
    assert is_out_of_memory(RuntimeError(told))
    assert not is_out_of_memory(RuntimeError("CUDA error: device-side assert triggered"))


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (RuntimeError("CUDA error: device-side assert triggered"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), True),
        (RuntimeError("HIP error: unspecified launch failure"), True),
        (FileNotFoundError(2, "No such file", "/data/CUDA/ct.raw"), False),
        (NotImplementedError("The operator 'x' is not currently implemented for the MPS device."), False),
        (RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"), False),
    ],
)
def test_a_failed_card_is_told_from_other_errors(error, fault):
    assert is_card_fault(error) == fault


def test_networks_on_an_apple_gpu_keep_the_usual_order_in_memory():
    """PyTorch's gradients are wrong in the other one there."""
    assert memory_format(torch.device("mps")) == torch.contiguous_format
    assert memory_format(torch.device("cpu")) == memory_format(torch.device("cuda:1")) == torch.channels_last
