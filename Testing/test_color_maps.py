"""Color maps in which equal steps of attention look equal."""

import numpy as np
import pytest
from HLFDSegmentationLib.color_maps import (
    AGAINST,
    COURSES,
    DEFAULT,
    FOR,
    AttentionColors,
    color_map,
    diverging_map,
)
from HLFDSegmentationLib.tasks import TASKS

RGB_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def lab(colors: np.ndarray) -> np.ndarray:
    """L*, a* and b* of sRGB colors (..., 3) in 0 to 1."""
    linear = np.where(colors > 0.04045, ((colors + 0.055) / 1.055) ** 2.4, colors / 12.92)
    shares = linear @ RGB_TO_XYZ.T / RGB_TO_XYZ.sum(axis=1)
    f = np.where(shares > (6 / 29) ** 3, np.cbrt(shares), shares / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


def lightness(colors: np.ndarray) -> np.ndarray:
    """L*, 0 to 100, of sRGB colors (..., 3) in 0 to 1."""
    return lab(colors)[..., 0]


def test_lightness_is_that_of_cielab():
    known = np.array([[0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0.5]])
    assert lightness(known) == pytest.approx([0, 100, 53.24, 87.73, 32.30, 53.39], abs=0.02)


@pytest.mark.parametrize("name", COURSES)
def test_equal_steps_of_attention_are_equal_steps_of_lightness(name):
    steps = np.diff(lightness(color_map(name)))
    assert steps.min() > 0
    assert steps == pytest.approx(steps.mean(), rel=0.02)


@pytest.mark.parametrize("name", COURSES)
def test_colors_differ_much_from_weak_to_strong_and_no_two_are_alike(name):
    colors = color_map(name)
    assert np.ptp(lightness(colors)) > 75
    assert len(np.unique(np.rint(255 * colors), axis=0)) > 200


def test_for_and_against_are_equally_light_and_rise_evenly_from_the_middle():
    against, strong = np.split(lightness(diverging_map()), 2)
    assert strong == pytest.approx(against[::-1], abs=0.3)
    steps = np.diff(strong)
    assert steps == pytest.approx(steps.mean(), rel=0.02)


@pytest.mark.parametrize("course", [*COURSES.values(), AGAINST, FOR])
def test_no_color_had_to_be_cut_to_what_a_screen_shows(course):
    # A cut color would have another lightness than its place asks for, and an edge where the cutting begins.
    position = np.linspace(0, 1, 501)
    wanted = course.lightness[0] + position * (course.lightness[1] - course.lightness[0])
    assert lightness(course.colors(position)) == pytest.approx(wanted, abs=0.02)
    assert np.abs(np.diff(course.colors(position), n=2, axis=0)).max() < 0.002


def test_blue_and_orange_stay_apart_without_red_or_green_cones():
    # Brettel's dichromats confuse red with green, but not blue with yellow: the blue channel against the others.
    blue, orange = diverging_map()[[20, -20]]
    assert blue[2] - blue[:2].mean() > 0.3
    assert orange[:2].mean() - orange[2] > 0.2


def test_an_unknown_name_is_refused():
    with pytest.raises(KeyError):
        color_map("jet")


@pytest.mark.parametrize("signed", [False, True])
def test_attention_below_the_threshold_is_transparent_and_all_else_is_not(signed):
    colors = AttentionColors(signed=signed, threshold=0.3)
    values = np.linspace(-1, 1, 201)
    shown = colors.table[colors.steps(values), 3] > 0
    expected = (np.abs(values) if signed else values) >= 0.3
    # A table has steps: a value may be shown or not within one of them.
    unclear = np.abs(np.abs(values) - 0.3) < 0.01
    assert (shown == expected)[~unclear].all()


@pytest.mark.parametrize("signed", [False, True])
def test_no_attention_is_transparent_without_a_threshold(signed):
    colors = AttentionColors(signed=signed)
    assert colors.table[colors.steps(np.zeros(1)), 3] == 0
    assert colors.table[colors.steps(np.array([0.02])), 3] == 1


@pytest.mark.parametrize("gray", [0.3, 0.5, 0.7])
def test_outlines_of_organs_and_tumors_stand_out_from_the_default_map(gray):
    """As views show it at first: 60 % over tissue, from a fifth of the strongest attention on."""
    seen = 0.6 * color_map(DEFAULT)[51:] + 0.4 * gray
    for label in TASKS["abdomen"].labels:
        difference = np.linalg.norm(lab(seen) - lab(np.array(label.color) / 255), axis=-1)
        assert difference.min() > 20, label.name


def test_the_default_map_is_used_and_a_signed_map_has_its_own():
    assert np.allclose(AttentionColors().table[-1, :3], color_map(DEFAULT)[-1])
    assert np.allclose(AttentionColors("ice", signed=True).table[[0, -1], :3], diverging_map()[[0, -1]])
