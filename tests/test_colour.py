"""The sRGB curve against the standard's numbers, and colours in words."""

import numpy as np
import pytest

from vader3d.colour import COLOURS, colour_word, dominant_colours, linear_from_srgb, srgb_from_linear
from vader3d.data.making.chairs import PAINTS, WOODS


def test_srgb_conversion_is_the_standard_one_and_inverts_itself():
    assert linear_from_srgb(np.array([0.0, 0.5, 1.0])) == pytest.approx([0, 0.214041, 1], abs=1e-6)
    ramp = np.arange(256) / 255
    np.testing.assert_allclose(srgb_from_linear(linear_from_srgb(ramp)), ramp, atol=1e-7)
    stored = np.round(linear_from_srgb(ramp) * 65535) / 65535
    np.testing.assert_array_equal(np.round(srgb_from_linear(stored) * 255), np.arange(256))


def test_what_is_below_black_goes_on_as_a_line_and_warns_of_nothing(recwarn):
    assert srgb_from_linear(np.array([-0.1])) == pytest.approx([-1.292])
    assert not recwarn


def test_paints_and_woods_are_called_what_they_are():
    for paint, rgb in PAINTS.items():
        assert colour_word(rgb) == paint
    assert [colour_word(WOODS[wood]) for wood in ("light", "brown", "dark")] == ["beige", "brown", "brown"]
    assert set(PAINTS) < set(COLOURS)
    for word, rgb in {"red": (1, 0, 0), "blue": (0, 0, 1), "green": (0, 1, 0), "yellow": (1, 1, 0)}.items():
        assert colour_word(rgb) == word


def shaded(rgb, light=(0.5, 1.0), views: int = 2, side: int = 24) -> np.ndarray:
    """Pictures of a surface of one colour, from its darkest to its brightest, mostly bright."""
    ramp = np.linspace(0, 1, views * side * side) ** 0.3 * (light[1] - light[0]) + light[0]
    pictures = np.full((views, side, side, 4), 255, np.uint8)
    pictures[..., :3] = (np.array(rgb) * ramp.reshape(views, side, side, 1) * 255).round()
    return pictures


@pytest.mark.parametrize("paint", PAINTS)
def test_shade_changes_no_colour(paint):
    (word, share), *others = dominant_colours(shaded(PAINTS[paint]))
    assert (word, others) == (paint, [])
    assert share == pytest.approx(1, abs=0.02)
    assert dominant_colours(shaded(PAINTS[paint]) / np.float32(255))[0][0] == paint


def test_the_shares_are_those_of_the_object():
    pictures = shaded(PAINTS["red"])
    pictures[:, :6] = shaded(PAINTS["blue"])[:, :6]
    pictures[:, :3] = shaded(PAINTS["green"])[:, :3]
    pictures[:, 20:] = 0  # the ground: black, but not there
    named = dominant_colours(pictures)
    assert named[0][0] == "red"
    assert {word for word, _ in named} == {"red", "green", "blue"}
    assert [share for _, share in named] == pytest.approx([14 / 20, 3 / 20, 3 / 20], abs=0.02)
    assert dominant_colours(np.zeros((4, 4, 4), np.uint8)) == []


def test_a_white_thing_with_black_legs_is_not_grey():
    pictures = shaded(PAINTS["white"])
    pictures[:, 18:] = shaded(PAINTS["black"])[:, 18:]
    assert {word for word, _ in dominant_colours(pictures)} == {"white", "black"}


def test_any_pixels_come_to_an_end():
    random = np.random.default_rng(0)
    for number in range(300):
        pixels = random.integers(0, 256, (random.integers(1, 40), 4)).astype(np.uint8)
        pixels[:, 3] = 255
        pixels[:, 1:3] = pixels[:, :1] if number % 2 else pixels[:, 1:3]
        assert sum(share for _, share in dominant_colours(pixels)) <= 1 + 1e-6
    assert dominant_colours(np.array([[0, 0, 0, 255]] * 9, np.uint8)) == [("black", 1.0)]
