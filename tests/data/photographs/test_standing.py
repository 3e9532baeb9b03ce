"""Objects are found by their masks: the right middle and size, past wrong masks."""

import numpy as np
import pytest
import torch
from tiny import Box, Sphere, pictures_of, ring

from vader3d.data.archive.format import ObjectViews
from vader3d.data.photographs.standing import place_by_masks, window
from vader3d.geometry.cameras import Cameras
from vader3d.geometry.placement import placed

BALL = Sphere((1, 0, 0), centre=(0.25, -0.1, 0.15), radius=0.4)
WORLD = {"scale": 3.0, "offset": np.array([0.7, -1.2, 0.4])}  # another world, in which the ball is larger


def views_of(thing, count=16):
    cameras = ring(count, 64)
    moved = placed(cameras, **WORLD)
    return ObjectViews(pictures_of((thing,), cameras), moved)


def check(place, *, tolerance=0.04):
    middle = (np.array(BALL.centre) - WORLD["offset"]) * WORLD["scale"]
    assert np.linalg.norm(place.offset - middle) < tolerance * 1.2
    assert place.scale == pytest.approx(0.98 / (BALL.radius * WORLD["scale"]), rel=0.12)
    assert place.bounded
    assert place.explained > 0.95


def test_a_ball_is_centred_and_fills_the_cube():
    place = place_by_masks(views_of(BALL))
    check(place)
    assert place.good.all()


@pytest.mark.parametrize("fault", ["empty", "full", "cut", "elsewhere"])
def test_a_wrong_mask_in_eight_is_found_and_left_out(fault):
    views = views_of(BALL)
    for number in (3, 10):
        alpha = views.pictures[number, ..., 3]
        if fault == "cut":
            alpha[:, alpha.any(0).nonzero()[0].mean().astype(int) - 3 :] = 0
        elif fault == "elsewhere":
            alpha[:] = np.roll(alpha, 24, 1)
        else:
            alpha[:] = 255 if fault == "full" else 0
    place = place_by_masks(views)
    check(place)
    assert np.flatnonzero(~place.good).tolist() == [3, 10]


def test_objects_that_pictures_cut_keep_their_middle():
    views = views_of(Box((0, 0, 1), (0.2, 0, 0.3), (0.3, 0.3, 0.6)))
    whole = place_by_masks(views)
    rows = views.pictures.shape[1]
    views.pictures[:4, : rows // 3] = 0
    near = Cameras(
        views.cameras.world_from_camera, views.cameras.intrinsics - torch.tensor([0, 0, 0, 10.0]), rows, rows
    )
    shifted = ObjectViews(np.roll(views_of(Box((0, 0, 1), (0.2, 0, 0.3), (0.3, 0.3, 0.6))).pictures, -10, 1), near)
    shifted.pictures[:, -10:] = 0
    cut = place_by_masks(shifted)
    assert np.linalg.norm(cut.offset - whole.offset) < 0.15
    assert cut.scale == pytest.approx(whole.scale, rel=0.1)


def test_masks_of_no_one_object_are_refused():
    views = views_of(BALL)
    rng = np.random.default_rng(0)
    for picture in views.pictures:
        picture[..., 3] = np.roll(picture[..., 3], rng.integers(-30, 30, 2), (0, 1))
    with pytest.raises(ValueError, match="wrong masks or cameras"):
        place_by_masks(views)
    views.pictures[:] = 0
    with pytest.raises(ValueError, match="wanted an object in at least 3 views; got 0"):
        place_by_masks(views)


def test_cameras_in_one_place_are_refused():
    views = views_of(BALL)
    one = views.cameras[torch.zeros(16, dtype=torch.long)]
    with pytest.raises(ValueError, match="walk round the object"):
        place_by_masks(ObjectViews(views.pictures[[0] * 16], one))


def test_the_window_shows_the_unit_sphere_and_little_more():
    camera = ring(3, 200)[1]
    left, top, side = window(camera, 0.0)
    solid = pictures_of((Sphere((1, 1, 1), radius=1.0),), ring(3, 200))[1][..., 3] >= 128
    rows, columns = np.nonzero(solid)
    assert abs(left - columns.min()) < 2
    assert abs(top - rows.min()) < 2
    assert abs(side - (columns.max() + 1 - columns.min())) < 3
