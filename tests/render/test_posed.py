"""Posed volumes: held to the literal march, in which every sample of a ray goes through all parts."""

import math

import pytest
import torch
from near import assert_near
from torch import Tensor

from vader3d.geometry.cameras import Cameras, orbit_cameras
from vader3d.geometry.rays import Rays, cube_crossing
from vader3d.geometry.rotations import rotation_from_vector
from vader3d.geometry.skinning import at_rest, inverse, read_logits
from vader3d.render import March, RenderConfig, Volume, render_views, render_volume
from vader3d.render.posed import COARSE, cube_points, posed_volume, read_among_zeros

MARCH = March(48, early_stop=0)
NEAR_GRADIENTS = {"colour": 0.98, "density": 0.98, "logits": 0.4, "turns": 0.99, "shifts": 0.99}  # cosines


def literal_march(volume: Volume, rays: Rays, march: March, poses: Tensor) -> tuple[Tensor, Tensor]:
    """The definition: colour [B, V * R, 3] and opacity [B, V * R]."""
    objects, views, parts = poses.shape[:3]
    near, far = cube_crossing(*rays)
    step = ((far - near) / march.samples_per_ray)[..., None]
    depth = near[..., None] + (torch.arange(march.samples_per_ray) + 0.5) * step
    samples = rays.origins[:, :, None] + depth[..., None] * rays.directions[:, :, None]
    rest, _ = at_rest(samples.reshape(objects, views, -1, 3), poses, volume.grid[:, 4 : 4 + parts])
    rest = rest.view_as(samples)
    sampled = torch.nn.functional.grid_sample(
        volume.grid[:, :4], rest[:, :, :, None], padding_mode="border", align_corners=True
    )[..., 0]
    inside = (rest.abs() <= 1).all(-1)
    thickness = volume.density_from_raw(sampled[:, 3]) * step * inside
    light = torch.exp(-torch.nn.functional.pad(thickness[..., :-1].cumsum(-1), (1, 0)))
    weights = light * -torch.expm1(-thickness)
    return torch.einsum("bcrs,brs->brc", sampled[:, :3], weights), weights.sum(-1)


def figure(resolution: int = 32, parts: int = 2) -> Volume:
    """A striped head on a striped torso, and logits that part them along z; [1, 4 + parts, ...]."""
    x, y, z = cube_points((resolution,) * 3).T.view(3, *(resolution,) * 3)
    head = 1 - ((x / 0.35) ** 2 + (y / 0.35) ** 2 + ((z - 0.35) / 0.4) ** 2)
    torso = 1 - ((x / 0.6) ** 2 + (y / 0.35) ** 2 + ((z + 0.55) / 0.4) ** 2)
    raw = 6 * torch.maximum(head, torso).clamp_min(-2)
    colour = [0.5 + 0.5 * torch.sin(8 * axis + phase) for axis, phase in ((x, 0), (y, 1), (z, 2))]
    seeds = torch.linspace(-0.55, 0.35, parts)
    logits = [-20 * (z - seed) ** 2 for seed in seeds]
    return Volume(torch.stack([*colour, raw, *logits])[None], "softplus", 10.0)


def part_poses(views: int, parts: int, degrees: float) -> Tensor:
    """Heads turned about z by up to `degrees`, lower parts less; [1, V, K, 3, 4]."""
    angle = torch.linspace(-1, 1, views)[:, None] * torch.linspace(0.2, 1, parts) * math.radians(degrees)
    vectors = torch.zeros(views, parts, 3)
    vectors[..., 2], vectors[..., 0] = angle, 0.2 * angle
    return torch.cat([rotation_from_vector(vectors), 0.03 * vectors[..., None]], -1)[None]


def front(views: int, size: int = 32) -> Cameras:
    return orbit_cameras(torch.full((views,), -90.0), torch.full((views,), 10.0), size=size)[None]


def db(found: Tensor, wanted: Tensor) -> float:
    return float(-10 * (found - wanted).square().mean().log10())


@pytest.mark.parametrize("parts", [2, 4])
def test_the_posed_volume_is_near_the_literal_march(parts):
    volume, rays, poses = figure(parts=parts), front(4).rays(), part_poses(4, parts, 35)
    wanted, opacity = literal_march(volume, rays, MARCH, poses)
    found = render_volume(volume, rays, MARCH, poses=poses)
    still = render_volume(volume.with_grid(volume.grid[:, :4]), rays, MARCH)
    print(f"{parts} parts, {COARSE}^3 and 32^3 voxels: {db(found.colour, wanted):.1f} dB of the literal march")
    assert db(found.colour, wanted) > 37
    assert db(found.opacity, opacity) > 37
    assert db(still.colour, wanted) < 26
    assert found.extra.shape == (1, 4 * 32**2, 0)


def test_finer_grids_come_nearer():
    volume, rays, poses = figure(48), front(2).rays(), part_poses(2, 2, 35)
    wanted, _ = literal_march(volume, rays, MARCH, poses)
    each = Rays(*(tensor.unflatten(1, (2, -1)).flatten(0, 1) for tensor in rays))
    near = [
        db(render_volume(posed_volume(volume, poses, coarse=coarse), each, MARCH).colour.view_as(wanted), wanted)
        for coarse in (6, 12, 24)
    ]
    print("coarse grids of 6, 12, 24 voxels, in dB of the literal march:", [round(value, 1) for value in near])
    assert near[0] + 1 < near[1] < near[2] + 1
    assert near[2] > 34


def test_gradients_point_where_those_of_the_literal_march_do():
    """Of the grid's blocks of 2^3 voxels and of the poses, for one score of the pictures.

    Those of the logits fall on the coarse grid's points only: less alike.
    """
    rays, truth = front(3).rays(), part_poses(3, 2, 25)
    target = literal_march(figure(), rays, MARCH, truth)[0]
    weights, gradients = None, []
    for literal in (True, False):
        grid, poses = figure().grid.requires_grad_(), part_poses(3, 2, 15).requires_grad_()
        volume = figure().with_grid(grid)
        colour = render_volume(volume, rays, MARCH, poses=poses).colour
        if literal:
            colour = literal_march(volume, rays, MARCH, poses)[0]
            weights = (colour - target).detach()
        (weights * colour).sum().backward()
        blocks = torch.nn.functional.avg_pool3d(grid.grad, 2)
        gradients.append({"colour": blocks[:, :3], "density": blocks[:, 3], "logits": blocks[:, 4:]})
        gradients[-1] |= {"turns": poses.grad[..., :3], "shifts": poses.grad[..., 3]}
    for name, wanted in gradients[0].items():
        found = gradients[1][name]
        cosine = torch.nn.functional.cosine_similarity(found.flatten(), wanted.flatten(), dim=0)
        print(f"{name}: cosine {cosine:.3f}, length {found.norm() / wanted.norm():.2f} of the literal march's")
        assert cosine > NEAR_GRADIENTS[name], name
        assert name == "logits" or 0.8 < found.norm() / wanted.norm() < 1.25, name


def test_gradients_of_posed_volumes_are_those_of_differences():
    generator = torch.Generator().manual_seed(0)
    grid = torch.randn(1, 7, 4, 4, 4, generator=generator, dtype=torch.float64).requires_grad_()
    poses = part_poses(2, 2, 20).double().requires_grad_()
    pose = lambda grid, poses: posed_volume(Volume(grid), poses, coarse=3).grid  # noqa: E731
    assert torch.autograd.gradcheck(pose, (grid, poses))


@pytest.mark.parametrize("size", [(5, 4, 3), (1, 2, 6)])
def test_logits_are_read_as_they_are_by_definition(size):
    """Within, in the last voxel's width around the cube, where they fade, and beyond."""
    logits, places = torch.randn(2, 1, *size), torch.rand(2, 3, 200, 3) * 4 - 2
    results = []
    for read in (read_logits, read_among_zeros):
        leaves = logits.clone().requires_grad_(), places.clone().requires_grad_()
        values = read(*leaves).reshape(2, 1, 3, 200)
        results.append([values, *torch.autograd.grad(values.sin().sum(), leaves)])
    for wanted, found in zip(*results, strict=True):
        assert_near(found, wanted)


def test_one_part_moves_the_camera_exactly():
    """Values and normals are those of the camera seen from the object at rest."""
    volume = figure().with_grid(figure().grid[:, :4])
    cameras, poses = front(3, 16), part_poses(3, 1, 40)
    square = torch.cat([poses[:, :, 0], torch.tensor([0.0, 0, 0, 1]).expand(1, 3, 1, 4)], 2)
    moved = Cameras(square @ cameras.world_from_camera, cameras.intrinsics, 16, 16)
    found = render_volume(volume, cameras.rays(), MARCH, poses=poses, normals=True)
    wanted = render_volume(volume, moved.rays(), MARCH, normals=True)
    assert_near(found.colour, wanted.colour)
    assert_near(found.depth, wanted.depth)
    turned = wanted.normals.unflatten(1, (3, -1)) @ poses[:, :, 0, :, :3]
    assert_near(found.normals, turned.flatten(1, 2))
    literal, _ = literal_march(figure(parts=1), cameras.rays(), MARCH, poses)
    assert db(found.colour, literal) > 28  # whose rays end at the posed world's cube


def test_poses_at_rest_change_nothing_and_other_channels_follow():
    volume = figure()
    volume = volume.with_grid(torch.cat([volume.grid, volume.colour[:, :1]], 1))
    still = torch.eye(3, 4).expand(1, 2, 2, 3, 4)
    assert_near(posed_volume(volume, still).grid[1], torch.cat([volume.grid[0, :4], volume.colour[0, :1]]))
    found = render_volume(volume, front(2).rays(), MARCH, poses=still)
    assert_near(found.extra[..., 0], found.colour[..., 0])


def test_what_comes_from_outside_is_empty():
    volume = Volume(torch.full((1, 6, 8, 8, 8), 3.0))
    away = torch.eye(3, 4).repeat(1, 1, 2, 1, 1)
    away[..., 0, 3] = 5.0
    assert not render_volume(volume, front(1).rays(), MARCH, poses=away).opacity.any()


def test_views_are_posed_each_by_its_own():
    """And the seed's jitter is that of the same rays without poses."""
    volume, config = figure(), RenderConfig(24, "softplus", 10.0, 0.0)
    poses = part_poses(3, 2, 30)
    together, opacity = render_views(volume, front(3), config, poses=poses)
    assert opacity.shape == (1, 3, 1, 32, 32)
    for view in range(3):
        alone, _ = render_views(volume, front(1), config, poses=poses[:, view : view + 1])
        assert_near(together[:, view], alone[:, 0])
    still = torch.eye(3, 4).expand(1, 3, 2, 3, 4)
    jittered, _ = render_views(volume, front(3), config, poses=still, generator=torch.Generator().manual_seed(3))
    plain = volume.with_grid(volume.grid[:, :4])
    wanted, _ = render_views(plain, front(3), config, generator=torch.Generator().manual_seed(3))
    assert_near(jittered, wanted)


def test_poses_that_do_not_fit_are_named():
    volume, rays = figure(), front(2).rays()
    with pytest.raises(ValueError, match="as many parts as the volume has skinning channels, 2; got 3"):
        render_volume(volume, rays, MARCH, poses=part_poses(2, 3, 10))
    with pytest.raises(ValueError, match="rays: wanted as many for each of 3 poses; got 2048 in all"):
        render_volume(volume, rays, MARCH, poses=part_poses(3, 2, 10))


def test_inverse_poses_bring_the_figure_back():
    volume, poses = figure(48), part_poses(1, 1, 30).expand(1, 1, 2, 3, 4)
    there = posed_volume(volume, poses)
    logits = volume.grid[:, 4:]
    back = posed_volume(there.with_grid(torch.cat([there.grid, logits], 1)), inverse(poses))
    rays = front(1).rays()
    plain = volume.with_grid(volume.grid[:, :4])
    assert db(render_volume(back, rays, MARCH).colour, render_volume(plain, rays, MARCH).colour) > 30
