"""Cameras project where their rays go."""

import math

import pytest
import torch

from vader3d.geometry.cameras import OPENCV_FROM_OPENGL, Cameras, look_at, orbit_cameras


def crooked_cameras(height: int = 5, width: int = 7) -> Cameras:
    """Four cameras with unlike focal lengths and principal points off the centre, in float64."""
    generator = torch.Generator().manual_seed(0)
    eye = 3 * torch.nn.functional.normalize(torch.randn(4, 3, generator=generator), dim=-1).double()
    target = 0.2 * torch.randn(4, 3, generator=generator).double()
    poses = look_at(eye, target, torch.tensor([0.1, 0.2, 0.9], dtype=torch.float64))
    intrinsics = torch.tensor([8.0, 11.0, 3.1, 2.2], dtype=torch.float64) + torch.rand(4, 4, generator=generator)
    return Cameras(poses, intrinsics, height, width)


def pixel_centres(cameras: Cameras) -> torch.Tensor:
    """(x, y) of all pixels, row by row: [H * W, 2]."""
    return torch.tensor(
        [(x + 0.5, y + 0.5) for y in range(cameras.height) for x in range(cameras.width)], dtype=torch.float64
    )


@pytest.mark.parametrize("depth", [0.7, 2.0, 9.0])
def test_a_ray_through_a_pixel_projects_back_onto_it(depth):
    cameras = crooked_cameras()
    rays = cameras[None].rays()
    assert rays.origins.shape == rays.directions.shape == (1, 4 * 5 * 7, 3)
    points = (rays.origins + depth * rays.directions)[0].view(4, 35, 3)
    pixels, z = cameras.project(points)
    torch.testing.assert_close(pixels, pixel_centres(cameras).expand(4, 35, 2))
    assert (z > 0).all()
    assert (z <= depth + 1e-12).all()


def test_rays_are_unit_long_and_start_at_the_camera():
    cameras = crooked_cameras()
    rays = cameras[None].rays()
    torch.testing.assert_close(rays.directions.norm(dim=-1), torch.ones(1, 140, dtype=torch.float64))
    assert torch.equal(rays.origins[0].view(4, 35, 3), cameras.centres[:, None].expand(4, 35, 3))


def test_projection_by_hand():
    """x right, y down, z forward: a camera at the origin with axes along the world's."""
    cameras = Cameras(torch.eye(4)[None], torch.tensor([[100.0, 50.0, 32.0, 24.0]]), 48, 64)
    pixels, z = cameras.project(torch.tensor([[[0.2, 0.1, 2.0], [-0.2, 0.0, 1.0]]]))
    torch.testing.assert_close(pixels, torch.tensor([[[42.0, 26.5], [12.0, 24.0]]]))
    torch.testing.assert_close(z, torch.tensor([[2.0, 1.0]]))


@pytest.mark.parametrize("step", [2, 3])
@pytest.mark.parametrize("first", [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_strided_cameras_hit_exactly_the_pixels_left_over(step, first):
    cameras = crooked_cameras(height=8, width=7)
    row, column = first
    strided = cameras.strided(step, row, column)
    every = cameras[None].rays().directions.view(4, 8, 7, 3)[:, row::step, column::step]
    assert (strided.height, strided.width) == every.shape[1:3]
    torch.testing.assert_close(strided[None].rays().directions.view(every.shape), every, rtol=0, atol=1e-12)


def test_a_step_of_one_changes_nothing():
    cameras = crooked_cameras()
    same = cameras.strided(1, 0, 0)
    torch.testing.assert_close(same.intrinsics, cameras.intrinsics)
    assert (same.height, same.width) == (5, 7)


def test_resized_cameras_see_the_same_things_at_the_same_places():
    cameras = crooked_cameras()
    points = 0.5 * torch.randn(4, 9, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    small, _ = cameras.project(points)
    resized = cameras.resized(15, 14)
    large, _ = resized.project(points)
    assert (resized.height, resized.width) == (15, 14)
    torch.testing.assert_close(large, small * torch.tensor([2.0, 3.0], dtype=torch.float64))


def test_look_at_sees_its_target_in_the_middle_and_upright():
    eye, target = torch.tensor([2.0, -1.0, 0.5]), torch.tensor([0.1, 0.2, -0.3])
    pose = look_at(eye, target, torch.tensor([0.0, 0.0, 1.0]))
    rotation = pose[:3, :3]
    torch.testing.assert_close(rotation.T @ rotation, torch.eye(3), atol=1e-6, rtol=0)
    assert float(torch.linalg.det(rotation)) == pytest.approx(1, abs=1e-6)
    cameras = Cameras(pose[None], torch.tensor([[50.0, 50.0, 16.0, 16.0]]), 32, 32)
    up = torch.tensor([0.0, 0.0, 0.2])
    (middle, above), z = (value[0] for value in cameras.project(torch.stack([target, target + up])[None]))
    torch.testing.assert_close(middle, torch.tensor([16.0, 16.0]))
    assert float(z[0]) == pytest.approx(float((target - eye).norm()), abs=1e-5)
    assert float(above[0]) == pytest.approx(16, abs=1e-4)
    assert above[1] < 16  # y points down


def test_orbit_cameras_stand_where_their_angles_say():
    azimuths, elevations = torch.tensor([0.0, 90.0, 0.0]), torch.tensor([0.0, 30.0, -45.0])
    cameras = orbit_cameras(azimuths, elevations, distance=4.0, fov_degrees=30.0, size=64)
    half = math.sqrt(0.5)
    expected = torch.tensor([[4, 0, 0], [0, 4 * math.cos(math.pi / 6), 2], [4 * half, 0, -4 * half]])
    torch.testing.assert_close(cameras.centres, expected, atol=1e-5, rtol=0)
    middle, z = cameras.project(torch.zeros(3, 1, 3))
    torch.testing.assert_close(middle, torch.full((3, 1, 2), 32.0), atol=1e-4, rtol=0)
    torch.testing.assert_close(z, torch.full((3, 1), 4.0))
    edge = 4 * math.tan(math.radians(15))  # the field of view ends here: at the picture's right edge
    pixels, _ = cameras[:1].project(torch.tensor([[[0.0, edge, 0.0]]]))
    torch.testing.assert_close(pixels[0, 0], torch.tensor([64.0, 32.0]), atol=1e-3, rtol=0)


def test_a_turn_of_the_object_is_a_turn_of_the_camera():
    """Azimuth grows counter-clockwise seen from above: the object appears to turn clockwise."""
    cameras = orbit_cameras(torch.tensor([0.0, 10.0]), torch.zeros(2), distance=4, fov_degrees=30, size=64)
    front = torch.tensor([[0.5, 0.0, 0.0]]).expand(2, 1, 3)
    pixels, _ = cameras.project(front)
    assert pixels[1, 0, 0] < pixels[0, 0, 0]


def test_turned_cameras_see_turned_objects_where_they_saw_them():
    cameras = orbit_cameras(torch.tensor([0.0, 50.0]), torch.tensor([20.0, -10.0]), size=32)
    points = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
    turned_points = torch.stack([-points[:, 1], points[:, 0], points[:, 2]], 1)  # x becomes y: 90 degrees
    turned = cameras.turned(torch.tensor(90.0))
    torch.testing.assert_close(turned.project(turned_points)[0], cameras.project(points)[0], rtol=0, atol=1e-3)
    each = cameras.turned(torch.tensor([[90.0], [0.0]]))  # B by V
    torch.testing.assert_close(each.centres[0], turned.centres)
    torch.testing.assert_close(each.centres[1], cameras.centres)
    expected = orbit_cameras(torch.tensor([120.0, 170.0]), torch.tensor([20.0, -10.0]), size=32)
    torch.testing.assert_close(cameras.turned(torch.tensor(120.0)).world_from_camera, expected.world_from_camera)


def test_straight_down_and_up_are_rigid_too():
    cameras = orbit_cameras(torch.tensor([0.0, 40.0]), torch.tensor([90.0, -90.0]), distance=4, fov_degrees=30, size=8)
    rotation = cameras.world_from_camera[:, :3, :3]
    torch.testing.assert_close(rotation.mT @ rotation, torch.eye(3).expand(2, 3, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(rotation[..., 2], torch.tensor([[0.0, 0, -1], [0, 0, 1]]), atol=1e-5, rtol=0)


def test_opengl_cameras_become_opencv_by_two_signs():
    """An OpenGL camera at the origin looks along -z with y up; as OpenCV its z looks there and its y down."""
    converted = torch.eye(3) * torch.tensor(OPENCV_FROM_OPENGL)
    torch.testing.assert_close(converted @ torch.tensor([0.0, 0.0, 1.0]), torch.tensor([0.0, 0.0, -1.0]))
    torch.testing.assert_close(converted @ torch.tensor([0.0, 1.0, 0.0]), torch.tensor([0.0, -1.0, 0.0]))


def test_indexing_and_moving_keep_the_rest():
    cameras = crooked_cameras()
    one = cameras[2:3]
    assert one.world_from_camera.shape == (1, 4, 4)
    assert (one.height, one.width) == (5, 7)
    assert torch.equal(one.to("cpu").intrinsics, cameras.intrinsics[2:3])


@pytest.mark.parametrize(
    ("target", "up"),
    [((0.0, 0.0, 0.0), (0.0, 0.0, 1.0)), ((0.0, 0.0, 4.0), (0.0, 1.0, 0.0)), ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0))],
)
def test_a_view_without_an_upright_is_refused(target, up):
    eye = torch.tensor([[0.0, 3.0, 2.0], [0.0, 0.0, 4.0]])
    with pytest.raises(ValueError, match="another up"):
        look_at(eye, torch.tensor(target), torch.tensor(up))
    assert look_at(eye, torch.tensor([1.0, 2.0, 0.5]), torch.tensor([0.0, 1.0, 0.3])).isfinite().all()
