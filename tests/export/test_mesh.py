"""Meshes of volumes whose surface, size and colours are known."""

import math

import numpy as np
import pytest
import torch
import trimesh

from vader3d.data.making.raycast import render_surface
from vader3d.data.making.surface import surface_from_scene
from vader3d.export.mesh import EmptyVolumeError, sample_surface_points, volume_to_mesh
from vader3d.geometry.cameras import Cameras, orbit_cameras
from vader3d.geometry.rays import Rays
from vader3d.render import March, Volume, render_volume


def coordinates(size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """x, y, z, each [D, H, W]."""
    axis = torch.linspace(-1, 1, size)
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    return x, y, z


def volume_of(distance: torch.Tensor, *, steepness: float = 300.0) -> Volume:
    """One object, dense where the signed distance [D, H, W] is negative, coloured by place (red = x, and so on)."""
    colours = [(axis + 1) / 2 for axis in coordinates(len(distance))]
    return Volume(torch.stack([*colours, -steepness * distance])[None], "softplus", 25.0)


def uniform(raw: float, size: int, **read) -> Volume:
    """One black object of one raw density throughout."""
    return Volume(torch.tensor([0.0, 0.0, 0.0, raw]).view(1, 4, 1, 1, 1).expand(1, 4, size, size, size), **read)


def sphere(size: int = 48, *, radius: float = 0.6, centre: tuple[float, ...] = (0, 0, 0)) -> torch.Tensor:
    offsets = [axis - c for axis, c in zip(coordinates(size), centre, strict=True)]
    return torch.stack(offsets).norm(dim=0) - radius


def box(size: int, half: tuple[float, float, float], centre=(0.0, 0.0, 0.0)) -> torch.Tensor:
    axes = zip(coordinates(size), half, centre, strict=True)
    return torch.stack([(axis - c).abs() - h for axis, h, c in axes]).amax(0)


def test_a_sphere_is_closed_outward_and_of_the_right_size_and_place():
    mesh = volume_to_mesh(volume_of(sphere(centre=(0.2, 0, -0.1))))
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(4 / 3 * math.pi * 0.6**3, rel=0.05)
    np.testing.assert_allclose(mesh.center_mass, [0.2, 0, -0.1], atol=0.01)
    np.testing.assert_allclose(np.linalg.norm(mesh.vertices - [0.2, 0, -0.1], axis=1), 0.6, atol=0.02)


def silhouettes_of(volume: Volume, cameras: Cameras) -> np.ndarray:
    """Where pictures of a volume lose half the light or more, [V, H, W]."""
    seen = render_volume(volume, cameras[None].rays(), March(128), backend="reference")
    return (seen.opacity >= 0.5).view(-1, cameras.height, cameras.width).numpy()


def likeness(mesh: trimesh.Trimesh, volume: Volume) -> float:
    """IoU of silhouettes, the mesh's cast by Embree."""
    cameras = orbit_cameras(torch.tensor([20.0, 110.0, 250.0]), torch.tensor([20.0, -15.0, 45.0]), size=64)
    rendered, target = render_surface(surface_from_scene(mesh), cameras)[..., 3] >= 128, silhouettes_of(volume, cameras)
    return float((rendered & target).sum() / (rendered | target).sum())


def stool(*, seat: float, legs: float, size: int = 32, activation: str = "softplus") -> Volume:
    """A seat on four legs, which absorb these shares of the light within a voxel."""
    x, y, z = coordinates(size)
    feet = [(x - 0.45 * i).square() + (y - 0.45 * j).square() < 0.14**2 for i in (-1, 1) for j in (-1, 1)]
    density = torch.zeros(size, size, size)
    density[torch.stack(feet).any(0) & (z.abs() < 0.7)] = -math.log(1 - legs) * (size - 1) / 2
    density[(torch.maximum(x.abs(), y.abs()) < 0.7) & ((z - 0.5).abs() < 0.12)] = -math.log(1 - seat) * (size - 1) / 2
    raw = density / 25 if activation == "relu" else (density / 25).clamp_min(1e-3).expm1().log()
    return Volume(torch.cat([torch.full((3, size, size, size), 0.5), raw[None]])[None], activation, 25.0)


@pytest.mark.parametrize(
    ("activation", "seat", "legs"), [("relu", 0.9, 0.35), ("softplus", 0.99, 0.99), ("softplus", 0.4, 0.3)]
)
def test_a_mesh_has_the_silhouettes_of_pictures_of_its_volume_however_foggy_that_is(activation, seat, legs):
    volume = stool(seat=seat, legs=legs, activation=activation)
    assert likeness(mesh := volume_to_mesh(volume), volume) > 0.85
    assert mesh.bounds[0, 2] == pytest.approx(-0.7, abs=0.07)  # it has its legs


def test_the_surface_lies_where_the_renderer_sees_it():
    volume = volume_of(box(40, (0.3, 0.5, 0.7)))
    points = sample_surface_points(volume_to_mesh(volume), 200, seed=0)
    outward = torch.nn.functional.one_hot((points.abs() / torch.tensor([0.3, 0.5, 0.7])).argmax(-1), 3) * points.sign()
    rays = Rays((points + 2 * outward)[None], -outward[None].float())
    seen = render_volume(volume, rays, March(512), backend="reference")
    inside_box = (points.abs() < torch.tensor([0.26, 0.46, 0.66])).sum(-1) == 2  # off the edges
    assert inside_box.sum() > 100
    assert (seen.depth[0] / seen.opacity[0] - 2)[inside_box].abs().max() < 2 / 39  # one voxel


def test_the_axes_of_a_grid_are_z_y_x():
    mesh = volume_to_mesh(volume_of(box(40, (0.2, 0.4, 0.8))))
    np.testing.assert_allclose(mesh.extents, [0.4, 0.8, 1.6], atol=0.06)


def test_an_object_that_fills_the_cube_is_closed_at_its_faces():
    mesh = volume_to_mesh(uniform(5.0, 20, activation="softplus", density_scale=25.0))
    assert mesh.is_watertight
    np.testing.assert_allclose(mesh.bounds, [[-1] * 3, [1] * 3], atol=5e-3)


def test_colours_are_those_at_the_surface():
    mesh = volume_to_mesh(volume_of(sphere()))
    colours = mesh.visual.vertex_colors[:, :3] / 255
    np.testing.assert_allclose(colours, (mesh.vertices + 1) / 2, atol=0.04)


def test_colours_are_those_the_renderer_shows():
    mesh = volume_to_mesh(volume := volume_of(box(32, (0.3, 0.5, 0.7))))
    normals = torch.tensor(mesh.vertex_normals, dtype=torch.float32)[None]
    rays = Rays(torch.tensor(mesh.vertices, dtype=torch.float32)[None] + 2 * normals, -normals)
    seen = render_volume(volume, rays, March(512), backend="reference").colour[0]
    assert np.abs(seen.numpy() - mesh.visual.vertex_colors[:, :3] / 255).mean() < 0.01


def test_colours_are_clamped_and_come_from_inside_not_from_empty_space():
    volume = volume_of(sphere(), steepness=300)
    volume.colour[0] = torch.where(sphere() < 0.07, torch.tensor([1.7, 0.5, -0.3])[:, None, None, None], -9.0)
    colours = volume_to_mesh(volume).visual.vertex_colors
    np.testing.assert_allclose(colours.mean(0), [255, 128, 0, 255], atol=3)


def test_floaters_are_dropped_and_large_parts_kept():
    parts = torch.minimum(sphere(centre=(0.35, 0, 0), radius=0.5), sphere(centre=(-0.6, 0, 0), radius=0.25))
    with_floater = torch.minimum(parts, sphere(centre=(-0.9, 0.9, 0.9), radius=0.045))
    mesh = volume_to_mesh(volume_of(with_floater))
    assert mesh.body_count == 2
    assert len(mesh.vertices) == len(np.unique(mesh.faces))
    assert volume_to_mesh(volume_of(with_floater), smallest_part=0).body_count == 3


def test_cavities_that_no_ray_can_see_are_filled():
    hollow = torch.maximum(sphere(), -sphere(radius=0.3))
    mesh = volume_to_mesh(volume_of(hollow))
    assert mesh.body_count == 1
    assert mesh.volume == pytest.approx(4 / 3 * math.pi * 0.6**3, rel=0.05)


def test_a_coarse_grid_is_refined_and_keeps_its_surface():
    volume = volume_of(sphere(16))
    coarse, fine = (volume_to_mesh(volume, resolution=points) for points in (2, 63))
    assert len(fine.faces) > 10 * len(coarse.faces)
    assert fine.volume == pytest.approx(coarse.volume, rel=0.05)


def test_an_even_fog_gives_a_surface_and_an_empty_volume_a_clear_error():
    fog = torch.zeros(1, 4, 32, 32, 32)
    fog[:, 3] = torch.where(sphere(32) < 0, 3.0, 0.0)
    assert volume_to_mesh(Volume(fog)).volume == pytest.approx(0.9, rel=0.15)
    with pytest.raises(EmptyVolumeError, match=r"volume: wanted something that stops half the light; got 0% at most"):
        volume_to_mesh(uniform(0.0, 32, density_scale=25.0))


@pytest.mark.parametrize(("activation", "raw"), [("relu", 0.1), ("softplus", -2.0)])
def test_what_stands_in_a_volume_depends_on_how_its_density_is_read(activation, raw):
    assert volume_to_mesh(uniform(raw, 20, activation=activation, density_scale=25.0)).volume > 7
    with pytest.raises(EmptyVolumeError):
        volume_to_mesh(uniform(raw, 20, activation=activation))


@pytest.mark.parametrize(
    ("grid", "named"),
    [
        (torch.zeros(2, 4, 8, 8, 8), "one object"),
        (torch.zeros(4, 8, 8, 8), "one object"),
        (torch.full((1, 4, 8, 8, 8), torch.nan), "NaN"),
        (torch.zeros(1, 3, 8, 8, 8), r"4 \+ K"),
        (torch.zeros(1, 4, 8, 1, 8), "2 points"),
    ],
)
def test_wrong_grids_are_refused(grid, named):
    with pytest.raises(ValueError, match=named):
        volume_to_mesh(Volume(grid))


def test_surface_points_are_even_and_the_same_for_the_same_seed():
    mesh = trimesh.creation.box(extents=(2, 1, 0.5))
    points = sample_surface_points(mesh, 4000, seed=3)
    assert points.shape == (4000, 3)
    assert torch.equal(points, sample_surface_points(mesh, 4000, seed=3))
    top = (points[:, 2] == 0.25).float().mean().item()
    assert top == pytest.approx(2 / 7, abs=0.03)  # its share of the area
