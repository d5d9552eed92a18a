"""Figures of a model are told alike, and of how many patients they are."""

import re

import pytest
from HLFDSegmentationLib.model_files.model_figures import figures_in_words, patients
from HLFDSegmentationLib.model_store import find_package


def test_figures_are_told_with_the_number_of_patients():
    told = figures_in_words({"dice": 0.9321, "dice_with_tumors": None, "patients": 4})
    assert told == "dice 0.932, dice with tumors not measured (4 patients)"
    assert figures_in_words({"validation_dice": None, "validation_patients": 0}) == "validation dice not measured"
    assert figures_in_words({"test_dice": 0.5}) == "test dice 0.500"
    own = {"validation_dice": 0.91, "validation_patients": 2, "test_dice": 0.8, "test_hd95": 4.0, "test_patients": 1}
    assert figures_in_words(own) == ("validation dice 0.910 (2 patients), test dice 0.800 (1 patient), test hd95 4.000")
    assert figures_in_words({"dice": 0.5, "patients": 3, "slices": 6}) == "dice 0.500 (6 slices of 3 patients)"
    assert patients(1) == "1 patient"


@pytest.mark.parametrize("label", ["liver", "kidney", "liver tumor", "kidney tumor"])
def test_the_shipped_model_has_one_rounding_of_each_figure(label):
    """Figures that were rounded to four decimals, and to three from there, are not those of the tables."""
    package = find_package()
    figures = package.metrics[label]
    assert f"- {label}: {figures_in_words(figures)}\n" in package.card
    assert figures["patients"] > 1
    whole = figures.get("dice_with_tumors") or figures["dice"]
    name = f"{label} with tumors" if "dice_with_tumors" in figures else label
    assert f"{whole:.3f}" in re.findall(rf"^\| {name} \| ([0-9.]+) ", package.card, re.MULTILINE)
    assert all(value == round(value, 3) for value in figures.values())
