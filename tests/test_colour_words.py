"""Colours in words: the paints of `chairs` by their names, and most of an object's pixels by their word."""

import numpy as np
import pytest

from vader3d.colour import COLOURS, colour_word, dominant_colours
from vader3d.data.making.chairs import PAINTS


@pytest.mark.parametrize("word", [*PAINTS])
def test_a_paint_is_called_by_its_name_also_in_the_shade(word):
    assert word in COLOURS
    paint = np.array(PAINTS[word])
    assert colour_word(paint) == word
    pictures = np.ones((4, 16, 16, 4))
    pictures[..., :3] = paint * np.linspace(0.75, 1, 4)[:, None, None, None]  # lit from one side
    assert dominant_colours(pictures)[0][0] == word


def test_primaries_and_grey_are_what_they_are():
    found = [colour_word(rgb) for rgb in ((1, 0, 0), (0, 0, 1), (1, 1, 1), (0, 0, 0), (0.5, 0.5, 0.5))]
    assert found == ["red", "blue", "white", "black", "grey"]


def test_the_opaque_pixels_of_all_pictures_vote():
    pictures = np.zeros((2, 4, 4, 4), np.uint8)
    pictures[..., :3] = (0, 0, 255)  # not seen
    pictures[0, :3] = (200, 30, 30, 255)
    pictures[1, 0] = (60, 140, 70, 255)
    assert dominant_colours(pictures) == [("red", 0.75), ("green", 0.25)]
    assert dominant_colours(pictures / 255) == [("red", 0.75), ("green", 0.25)]
    assert dominant_colours(np.zeros((1, 2, 2, 4), np.uint8)) == []
