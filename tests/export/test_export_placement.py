"""Size, place and axes of objects in their files."""

import numpy as np
import pytest

from vader3d.export.placement import PRINT_CM, ExportConfig, placement, usual_size_cm

BOUNDS = np.array([[-0.2, -0.5, -0.75], [0.4, 0.3, 0.75]])  # 1.5 high
CORNERS = np.array([[x, y, z] for x in BOUNDS[:, 0] for y in BOUNDS[:, 1] for z in BOUNDS[:, 2]])


@pytest.mark.parametrize("up", ["z", "y", "-y"])
def test_a_size_is_that_of_the_longest_side(up):
    placed = placement(BOUNDS, ExportConfig(size_cm=90), up=up).points(CORNERS)
    assert np.ptp(placed, axis=0).max() == pytest.approx(0.9)
    axis = {"z": 2, "y": 1, "-y": 1}[up]
    assert np.ptp(placed, axis=0)[axis] == pytest.approx(0.9)
    highest = placed[CORNERS[:, 2] > 0][:, axis]
    assert np.sign(highest).tolist() == [-1.0 if up == "-y" else 1.0] * 4


@pytest.mark.parametrize("up", ["z", "y", "-y"])
def test_no_axes_mirror_an_object(up):
    assert np.linalg.det(placement(BOUNDS, ExportConfig(), up=up).rotation) == pytest.approx(1)


def test_as_it_is_nothing_moves():
    np.testing.assert_array_equal(placement(BOUNDS, ExportConfig(), up="z").points(CORNERS), CORNERS)


def test_a_pivot_at_the_base_is_the_middle_of_its_underside():
    placed = placement(BOUNDS, ExportConfig(pivot="base"), up="y").points(CORNERS)
    np.testing.assert_allclose(placed.min(0) + placed.max(0), [0, 1.5, 0], atol=1e-12)
    assert placed[:, 1].min() == pytest.approx(0)


def test_printers_count_in_millimetres_and_get_something_to_hold():
    for config, longest in ((ExportConfig(size_cm=14), 140), (ExportConfig(), PRINT_CM * 10)):
        placed = placement(BOUNDS, config, up="z", millimetres=True).points(CORNERS)
        assert np.ptp(placed, axis=0).max() == pytest.approx(longest)


def test_what_is_asked_for_goes_before_a_format_s_habit():
    rotation = placement(BOUNDS, ExportConfig(up="y"), up="z").rotation
    np.testing.assert_allclose(rotation @ [0, 0, 1], [0, 1, 0])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("size_cm", 0), ("size_cm", float("nan")), ("size_cm", 1e9), ("size_cm", "large"), ("frames", 0),
        ("picture_size", 100_000), ("frames_per_second", 0), ("elevation_degrees", 90), ("pivot", "top"), ("up", "x"),
    ],
)  # fmt: skip
def test_numbers_out_of_range_are_named(field, value):
    with pytest.raises(ValueError, match=rf"^{field}: wanted .*; got "):
        ExportConfig(**{field: value})


@pytest.mark.parametrize(
    ("caption", "size"),
    [
        ("a wooden chair", 90), ("two Chairs", 90), ("a table lamp", 50), ("a lamp table", 140), ("bookshelves", None),
        ("a chair with a table", 90), ("benches", 130), ("", None), ("something odd", None),
    ],
)  # fmt: skip
def test_captions_know_usual_sizes(caption, size):
    assert usual_size_cm(caption) == size


def test_auto_is_the_usual_size_of_what_is_named():
    auto = ExportConfig(size_cm="auto")
    assert [auto.size_for(caption) for caption in ("a red chair", "something odd")] == [90, None]
    assert auto.sized("a red chair") == ExportConfig(size_cm=90)
    assert ExportConfig(size_cm=7).size_for("a red chair") == 7
