"""Curves land where their values say."""

import math
import re

import pytest

from vader3d.pages.charts import (
    BOTTOM,
    HEIGHT,
    LEFT,
    MOST_POINTS,
    RIGHT,
    TOP,
    WIDTH,
    Curve,
    compact,
    labels,
    line_chart,
    linear_ticks,
    logarithmic_ticks,
)


def drawn(svg: str, style: str = "raw") -> list[list[tuple[float, float]]]:
    lines = re.findall(rf'class="{style} c\d" points="([^"]*)"', svg)
    return [[tuple(map(float, place.split(","))) for place in line.split()] for line in lines]


def test_a_straight_line_is_drawn_from_corner_to_corner_and_smoothing_keeps_it():
    svg = line_chart([Curve("a", range(11), [2.0 * k for k in range(11)])], x_label="x", y_label="y")
    (raw,), (smooth,) = drawn(svg), drawn(svg, "smooth")
    assert raw[0] == (LEFT, HEIGHT - BOTTOM)
    assert raw[-1] == (WIDTH - RIGHT, TOP)
    assert raw == smooth


def test_a_logarithmic_axis_gives_equal_ratios_equal_heights():
    svg = line_chart([Curve("a", range(3), [1.0, 10.0, 100.0])], x_label="x", y_label="y", logarithmic=True)
    heights = [y for _, y in drawn(svg)[0]]
    assert heights[0] - heights[1] == pytest.approx(heights[1] - heights[2], abs=0.2)


def test_long_curves_are_thinned_to_their_means_and_noise_is_smoothed():
    values = [5.0 + (-1) ** (k // 50) for k in range(12_000)]
    svg = line_chart([Curve("a", range(12_000), values)], x_label="x", y_label="y")
    (raw,), (smooth,) = drawn(svg), drawn(svg, "smooth")
    assert len(raw) == MOST_POINTS
    middle = [y for _, y in smooth[20:-20]]
    assert max(middle) - min(middle) < 0.1 * (max(y for _, y in raw) - min(y for _, y in raw))


def test_points_without_a_place_are_left_out():
    curve = Curve("a", range(5), [math.nan, 0.0, 1.0, math.inf, 2.0])
    assert len(drawn(line_chart([curve], x_label="x", y_label="y", logarithmic=True))[0]) == 2
    assert len(drawn(line_chart([curve], x_label="x", y_label="y"))[0]) == 3
    nothing = line_chart([Curve("a", [], []), Curve("b", [1], [math.nan])], x_label="x", y_label="y")
    assert "No values" in nothing
    assert "<svg" in line_chart([Curve("a", [3], [0.5])], x_label="x", y_label="y")


def test_ticks_are_round_numbers_inside_the_range():
    assert linear_ticks(0, 1) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    assert linear_ticks(17, 26.5) == [18, 20, 22, 24, 26]
    assert logarithmic_ticks(0.15, 3) == pytest.approx([0.2, 0.5, 1, 2])
    assert logarithmic_ticks(2e-5, 20) == pytest.approx([1e-4, 1e-3, 1e-2, 0.1, 1, 10])


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.01234, "0.0123"),
        (4.5, "4.5"),
        (1234, "1234"),
        (12_000, "12k"),
        (1_240_000, "1.24M"),
        (-0.03, "-0.03"),
        (0, "0"),
    ],
)
def test_numbers_are_short(number, text):
    assert compact(number) == text


@pytest.mark.parametrize(
    ("ticks", "texts"),
    [
        ([268.8, 269.0, 269.2], ["268.8", "269", "269.2"]),
        ([12000.0, 12010.0], ["12k", "12.01k"]),
        ([1200.0, 1200.5], ["1200.0", "1200.5"]),
        ([0.0, 5.0], ["0", "5"]),
    ],
)
def test_ticks_are_told_apart(ticks, texts):
    assert labels(ticks) == texts
