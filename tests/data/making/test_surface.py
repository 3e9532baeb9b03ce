"""Mesh files become upright, framed, coloured triangles; viewpoints are spread evenly."""

import numpy as np
import pytest
import torch
import trimesh

from vader3d.colour import srgb_from_linear
from vader3d.data.archive.splits import heldout_views, training_views
from vader3d.data.making.surface import OBJECT_RADIUS, load_surface, surface_from_scene
from vader3d.data.making.viewpoints import spread_cameras
from vader3d.geometry.cameras import DISTANCE


def post() -> trimesh.Trimesh:
    """A tall box, twice as long in z as in x and y."""
    return trimesh.creation.box((0.5, 0.5, 1.0))


@pytest.mark.parametrize(
    ("suffix", "up", "tall"),
    [("stl", "auto", 2), ("ply", "auto", 2), ("obj", "auto", 1), ("glb", "auto", 1), ("glb", "z", 2), ("stl", "y", 1)],
)
def test_the_files_up_axis_becomes_z(suffix, up, tall, tmp_path):
    post().export(tmp_path / f"post.{suffix}")
    extent = np.ptp(load_surface(tmp_path / f"post.{suffix}", up=up).triangles.reshape(-1, 3), axis=0)
    assert int(extent.argmax()) == tall


def test_y_up_is_turned_not_mirrored(tmp_path):
    corner = trimesh.Trimesh(
        [[0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 3]], [[0, 1, 2], [0, 2, 3], [0, 3, 1]], process=False
    )
    corner.export(tmp_path / "corner.obj")
    points = {tuple(p) for p in load_surface(tmp_path / "corner.obj").triangles.reshape(-1, 3).round(6) + 0.0}
    assert points == {(0, 0, 0), (1, 0, 0), (0, 0, 2), (0, -3, 0)}


def test_framing_centres_the_box_and_keeps_all_within_the_radius():
    mesh = post().apply_translation((5, -3, 2))
    points = surface_from_scene(mesh).framed().triangles.reshape(-1, 3)
    assert np.allclose(points.min(0) + points.max(0), 0)
    assert np.linalg.norm(points, axis=1).max() == pytest.approx(OBJECT_RADIUS)


@pytest.mark.parametrize("suffix", ["glb", "ply"])
def test_vertex_colours_survive(suffix, tmp_path):
    mesh = post()
    mesh.visual.vertex_colors = (200, 100, 50, 255)
    mesh.export(tmp_path / f"m.{suffix}")
    written = np.array([200, 100, 50]) / 255
    expected = srgb_from_linear(written) if suffix == "glb" else written
    assert np.allclose(load_surface(tmp_path / f"m.{suffix}").colours, expected, atol=0.01)


def test_gltf_factors_are_linear_light(tmp_path):
    mesh = post()
    mesh.visual = trimesh.visual.TextureVisuals(
        material=trimesh.visual.material.PBRMaterial(baseColorFactor=[0.5, 0.0, 1.0, 1.0])
    )
    mesh.export(tmp_path / "m.glb")
    assert np.allclose(load_surface(tmp_path / "m.glb").colours[0, 0], [0.735, 0, 1], atol=0.005)


def test_transforms_inside_a_scene_are_applied(tmp_path):
    scene = trimesh.Scene()
    scene.add_geometry(post(), transform=trimesh.transformations.translation_matrix([10, 0, 0]))
    assert np.allclose(surface_from_scene(scene).triangles.mean((0, 1)), (10, 0, 0), atol=1e-6)


def test_meshes_without_substance_are_refused():
    with pytest.raises(ValueError, match="mesh: wanted a triangle"):
        surface_from_scene(trimesh.Scene())
    point = trimesh.Trimesh([[1, 1, 1]] * 3, [[0, 1, 2]], process=False)
    with pytest.raises(ValueError, match="some extent"):
        surface_from_scene(point).framed()
    with pytest.raises(ValueError, match="up: wanted auto, y or z"):
        load_surface("x.obj", up="x")


def directions(views: int, seed: int) -> torch.Tensor:
    return spread_cameras(views, size=8, seed=seed).centres / DISTANCE


def nearest_angle_degrees(points: torch.Tensor) -> float:
    cosines = (points @ points.T).fill_diagonal_(-1)
    return float(torch.rad2deg(torch.arccos(cosines.max().clamp(max=1))))


def test_viewpoints_fill_the_band_and_look_at_the_origin():
    cameras = spread_cameras(240, size=8, seed=5)
    heights = cameras.centres[:, 2] / DISTANCE
    assert torch.allclose(cameras.centres.norm(dim=1), torch.tensor(DISTANCE))
    assert -0.1737 <= heights.min() < -0.15
    assert 0.84 < heights.max() <= 0.8661
    assert heights.mean() == pytest.approx((np.sin(np.deg2rad(-10)) + np.sin(np.deg2rad(60))) / 2, abs=0.02)
    pixels, depth = cameras.project(torch.zeros(240, 1, 3))
    assert torch.allclose(pixels, torch.tensor(4.0), atol=1e-4)
    assert (depth > 0).all()


@pytest.mark.parametrize("seed", range(5))
def test_first_training_and_held_out_views_lie_well_apart(seed):
    points = directions(24, seed)
    assert nearest_angle_degrees(points[:4]) > 60
    assert nearest_angle_degrees(points[heldout_views(24)]) > 60
    assert nearest_angle_degrees(points[training_views(24)]) > 17


def test_each_seed_has_its_own_viewpoints():
    assert not torch.allclose(directions(6, 0), directions(6, 1), atol=0.05)
    assert torch.equal(directions(6, 0), directions(6, 0))
