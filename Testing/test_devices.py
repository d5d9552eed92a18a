"""Which graphics cards are offered: those that this PyTorch can compute on."""

from __future__ import annotations

import pytest
import torch
from HLFDSegmentationLib.devices import available_devices, choose_device
from HLFDSegmentationLib.errors import InputError

BUILT_FOR = ["sm_80", "sm_86", "sm_90a", "compute_90"]


@pytest.fixture
def cards(monkeypatch):
    """Makes this a computer with cards of these compute capabilities."""

    def put_in(*capabilities: tuple[int, int], built_for: list[str] = BUILT_FOR) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(capabilities))
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda number: capabilities[number])
        monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: built_for)

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
    with pytest.raises(InputError, match="no device 'cuda:0'"):
        choose_device("cuda:0")


def test_cards_of_other_makers_are_offered(cards):
    cards((11, 0), built_for=["gfx1100"])
    assert "cuda:0" in available_devices()


def test_the_card_that_can_be_computed_on_is_taken_whatever_its_number(cards):
    cards((6, 1), (8, 6), (9, 0))
    assert [choose_device().index, choose_device("cuda").index] == [1, 1]
    assert [choose_device("auto", rank).index for rank in (0, 1)] == [1, 2]
    with pytest.raises(InputError, match="no device 'cuda for process 3'"):
        choose_device("cuda", 2)
