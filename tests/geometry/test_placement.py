"""Cameras are moved into the cube's world, and those that do not see it are found."""

import math

import numpy as np
import pytest
import torch

from vader3d.geometry.cameras import Cameras, orbit_cameras
from vader3d.geometry.placement import automatic_placement, blind_views, check_placement, inner_views, placed


def ring(*, distance: float = 4.0, centre=(0.0, 0.0, 0.0), fov_degrees: float = 30.0) -> Cameras:
    azimuths, elevations = torch.arange(8) * 45.0, torch.arange(8) * 7.0 - 10
    cameras = orbit_cameras(azimuths, elevations, distance=distance, fov_degrees=fov_degrees, size=20)
    matrices = cameras.world_from_camera.clone()
    matrices[:, :3, 3] += torch.tensor(centre)
    return Cameras(matrices, cameras.intrinsics, 20, 20)


def test_points_keep_their_pixels_when_the_world_moves():
    cameras, offset = ring(), (0.3, -0.1, 0.2)
    points = torch.rand(5, 3, generator=torch.Generator().manual_seed(0))
    before, _ = cameras.project(points.expand(8, 5, 3))
    after, _ = placed(cameras, scale=2.5, offset=offset).project(
        ((points - torch.tensor(offset)) * 2.5).expand(8, 5, 3)
    )
    assert torch.allclose(before, after, atol=1e-3)


@pytest.mark.parametrize("fov_degrees", [20.0, 50.0])
def test_what_all_cameras_look_at_fills_the_cube(fov_degrees):
    scale, offset = automatic_placement(ring(distance=7.0, centre=(3.0, -2.0, 1.0), fov_degrees=fov_degrees))
    assert np.allclose(offset, (3, -2, 1), atol=1e-5)
    assert scale == pytest.approx(1 / (7 * math.sin(math.radians(fov_degrees / 2))), rel=1e-5)


def test_cameras_that_do_not_tell_where_the_object_is_are_refused():
    with pytest.raises(ValueError, match="got axes all but parallel"):
        automatic_placement(ring()[:1])
    back = ring()
    flipped = back.world_from_camera * torch.tensor([1.0, -1, -1, 1])
    with pytest.raises(ValueError, match="wanted one common point"):
        automatic_placement(Cameras(flipped, back.intrinsics, 20, 20))


def test_good_cameras_pass():
    check_placement(ring())
    check_placement(ring(distance=1.8))


def test_cameras_that_look_away_or_stand_inside_are_found():
    cameras = ring()
    matrices = cameras.world_from_camera.clone()
    matrices[3, :3, :3] = matrices[3, :3, :3] * torch.tensor([-1.0, 1, -1])
    matrices[5, :3, 3] = torch.tensor([0.5, -0.9, 0.2])
    spoilt = Cameras(matrices, cameras.intrinsics, 20, 20)
    assert blind_views(spoilt) == [3]
    assert inner_views(spoilt) == [5]
    with pytest.raises(ValueError, match=r"view 5, which stands inside the object's cube \(1 of 8 do\)"):
        check_placement(spoilt)


@pytest.mark.parametrize(
    ("scale", "offset"), [(0.0, (0, 0, 0)), (math.nan, (0, 0, 0)), (1.0, (0, 0)), (1.0, (0, 0, math.inf))]
)
def test_senseless_placements_are_refused(scale, offset):
    with pytest.raises(ValueError, match="placement: wanted a scale above 0"):
        placed(ring(), scale=scale, offset=offset)
