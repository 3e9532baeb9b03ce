"""Squares about a subject: where it is, steady, and whole."""

import numpy as np
import pytest
from clips import disc

from vader3d.data.videos.crops import cropped, largest_only, pieces_of, several, square_about, steadied


def mask_of(*discs, size=(96, 128)):
    return np.where(np.any([disc(*each, size=size)[1] for each in discs], axis=0), 255, 0).astype(np.uint8)


def test_the_square_is_about_the_subject_and_not_about_specks():
    numbers, areas = pieces_of(mask_of((40, 50, 20), (120, 5, 2)))
    assert len(areas) == 1
    assert np.allclose(square_about(numbers, (96, 128)), (40, 50, 40), atol=1)
    assert not len(pieces_of(np.zeros((9, 9), np.uint8))[1])


def test_two_subjects_are_told_apart_also_in_large_pictures():
    two = mask_of((100, 150, 80), (400, 150, 60), size=(300, 500))
    numbers, areas = pieces_of(two)
    assert several(areas)
    assert not several(pieces_of(mask_of((100, 150, 80), (400, 150, 40), size=(300, 500)))[1])
    one = largest_only(two, numbers)
    assert np.array_equal(one >= 128, mask_of((100, 150, 80), size=(300, 500)) >= 128)
    assert np.allclose(square_about(np.where(numbers == 1, 1, 0), (300, 500)), (100, 150, 160), atol=4)


def test_shaking_is_taken_out_and_even_motion_stays():
    seconds = np.sort(np.random.default_rng(0).uniform(0, 3, 60))
    even = np.column_stack([50 + 10 * seconds, 40 - 3 * seconds, np.full(60, 30.0)])
    assert np.allclose(steadied(even, seconds, 0.5), even, atol=1e-6)
    shaken = even + np.random.default_rng(1).normal(0, 2, even.shape) * [1, 1, 0]
    found = steadied(shaken, seconds, 0.5)
    assert np.abs(found[:, :2] - even[:, :2]).mean() < 0.5 * np.abs(shaken[:, :2] - even[:, :2]).mean()
    assert np.array_equal(steadied(shaken, seconds, 0), shaken)


@pytest.mark.parametrize("smoothing", [0.1, 1.0, np.inf])
def test_steadied_squares_hold_the_given_ones(smoothing):
    rng = np.random.default_rng(0)
    squares = np.column_stack([rng.normal(50, 9, (40, 2)), rng.uniform(10, 40, 40)])
    found = steadied(squares, np.arange(40) / 25, smoothing)
    assert (found[:, 2] / 2 + 1e-9 >= np.abs(squares[:, :2] - found[:, :2]).max(1) + squares[:, 2] / 2).all()


def test_a_square_is_cut_out_and_what_lies_beyond_is_clear():
    pixels = np.zeros((96, 128, 4), np.uint8)
    pixels[..., 3] = 255
    pixels[40:60, 100:120, 0] = 200
    inner = cropped(pixels, np.array([110.0, 50.0, 40.0]), 40)
    assert np.argwhere(inner[..., 0] > 100).min(0).tolist() == [10, 10]
    assert np.argwhere(inner[..., 0] > 100).max(0).tolist() == [29, 29]
    assert inner[..., 3].all(0).tolist() == [column < 38 for column in range(40)]  # the picture ends at 128
    assert not cropped(pixels, np.array([400.0, 50.0, 40.0]), 40).any()
    half = cropped(pixels, np.array([110.0, 50.0, 40.0]), 20)
    assert np.argwhere(half[..., 0] > 100).min(0).tolist() == [5, 5]
