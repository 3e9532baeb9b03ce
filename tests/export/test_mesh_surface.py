"""Surfaces made for a purpose: closed, simplified, in levels of detail, and what is refused."""

import dataclasses

import numpy as np
import pytest
import torch
import trimesh
from test_mesh import box, sphere, stool, uniform, volume_of

from vader3d.export.mesh import EmptyVolumeError, outer_surface
from vader3d.export.simplify import simplified
from vader3d.export.surface import SURFACE_PRESETS, SurfaceConfig, soundness, surface_preset, surfaces_of
from vader3d.render import Volume

PLAIN = SurfaceConfig(colour="vertex")


@pytest.fixture(scope="module")
def rough() -> Volume:
    """Thin plates and rods whose density varies at random: a surface that simplifying pinches and folds."""
    noise = torch.rand(1, 1, 32, 32, 32, generator=torch.Generator().manual_seed(0)) * 8
    volume = stool(seat=0.9, legs=0.7)
    grid = volume.grid.clone()
    grid[:, 3:] += noise * (grid[:, 3:] > -1)
    return volume.with_grid(grid)


@pytest.mark.parametrize("faces", [150, 500, 1500, 4000])
def test_simplified_meshes_stay_manifold_also_after_readers_merge_their_vertices(rough, faces):
    whole = outer_surface(rough)
    assert len(whole.faces) > 4000
    mesh = simplified(whole, faces)
    assert 0.9 * faces < len(mesh.faces) <= faces
    merged = trimesh.Trimesh(np.float32(mesh.vertices), mesh.faces, process=True)  # as readers of STL do
    assert merged.is_watertight
    assert merged.is_winding_consistent
    assert mesh.volume == pytest.approx(whole.volume, rel=0.1 if faces < 1000 else 0.02)  # no leg shrinks


def test_touching_sheets_are_drawn_apart_into_their_own_sides():
    cube = trimesh.creation.box((1, 1, 1))
    above = cube.copy()
    above.apply_translation([1, 1, 0])  # they share an edge
    pair = trimesh.Trimesh(
        np.concatenate([cube.vertices, above.vertices]), np.concatenate([cube.faces, above.faces + 8]), process=False
    ).subdivide()
    assert not soundness(pair).watertight
    mesh = simplified(pair, len(pair.faces) - 1)
    assert soundness(mesh).watertight
    assert mesh.volume == pytest.approx(2, rel=0.02)


def test_crumbs_are_dropped_and_parts_kept():
    parts = [trimesh.creation.icosphere(subdivisions=3, radius=radius) for radius in (0.4, 0.2, 0.01)]
    for place, part in enumerate(parts):
        part.apply_translation([place, 0, 0])
    mesh = simplified(trimesh.util.concatenate(parts), 2000)
    assert soundness(mesh)[:2] == (True, 2)
    assert mesh.bounds[1, 0] == pytest.approx(1.2, abs=0.01)


def test_small_meshes_are_left_alone_and_open_ones_refused():
    ball = trimesh.creation.icosphere(subdivisions=3)
    assert simplified(ball, len(ball.faces)) is ball
    opened = trimesh.Trimesh(ball.vertices, ball.faces[20:], process=False)
    with pytest.raises(ValueError, match=r"mesh: wanted a closed one of more than 200 faces; got NotManifold"):
        simplified(opened, 200)


def test_levels_of_detail_halve_and_keep_the_shape():
    meshes = surfaces_of(volume_of(sphere()), dataclasses.replace(PLAIN, faces=4000, lods=3))
    assert [round(len(mesh.faces) / 1000, 1) for mesh in meshes] == [4.0, 2.0, 1.0]
    for mesh in meshes:
        assert mesh.volume == pytest.approx(meshes[0].volume, rel=0.01)
        assert np.einsum("nd,nd->n", mesh.vertex_normals, mesh.vertices).min() > 0  # outward
        np.testing.assert_allclose(mesh.visual.vertex_colors[:, :3] / 255, (mesh.vertices + 1) / 2, atol=0.05)


def test_smoothing_takes_steps_away_and_leaves_thin_legs_as_thick():
    solid = torch.where(sphere(32) < 0, 60.0, 0.0)  # by whole voxels
    ball = Volume(torch.cat([torch.zeros(3, 32, 32, 32), solid[None]])[None])
    stepped, smooth = (outer_surface(ball, smoothing=steps) for steps in (0, 10))
    uneven = [np.linalg.norm(mesh.vertices, axis=1).std() for mesh in (stepped, smooth)]
    bends = [np.sqrt((mesh.face_adjacency_angles**2).mean()) for mesh in (stepped, smooth)]
    assert uneven[1] < 0.9 * uneven[0]
    assert bends[1] < 0.9 * bends[0]
    assert smooth.volume == pytest.approx(stepped.volume, rel=0.01)
    volume = stool(seat=0.99, legs=0.99)
    stepped, smooth = (outer_surface(volume, smoothing=steps) for steps in (0, 10))
    legs = [mesh.vertices[np.abs(mesh.vertices[:, 2]) < 0.25] for mesh in (stepped, smooth)]
    radii = [np.linalg.norm(np.abs(corners[:, :2]) - 0.45, axis=1).mean() for corners in legs]
    assert 0.1 < radii[0] < 0.2
    assert radii[1] == pytest.approx(radii[0], rel=0.03)


def test_one_shell_joins_what_a_thin_joint_parts_and_drops_what_stays_apart():
    blocks = torch.minimum(box(32, (0.3, 0.3, 0.3), (0.5, 0, 0)), box(32, (0.3, 0.3, 0.3), (-0.5, 0, 0)))
    density = torch.where(blocks < 0, 60.0, 0.0)
    joint = box(32, (0.3, 0.15, 0.15)) < 0
    apart = volume_of(
        torch.minimum(sphere(32, radius=0.5, centre=(-0.4, 0, 0)), sphere(32, radius=0.2, centre=(0.7, 0, 0)))
    )
    joined = Volume(
        torch.cat([torch.zeros(3, 32, 32, 32), torch.where(joint, density.clamp_min(4.0), density)[None]])[None]
    )
    for volume, extent in ((joined, 1.6), (apart, 1.0)):
        assert soundness(outer_surface(volume, smallest_part=0)).shells == 2
        mesh = outer_surface(volume, one_shell=True)
        assert soundness(mesh).shells == 1
        assert mesh.extents[0] == pytest.approx(extent, abs=0.1)


def test_what_cannot_be_printed_is_said():
    ball = trimesh.creation.icosphere()
    assert str(soundness(ball)) == "watertight: yes, shells: 1, faces: 1280"
    inside_out = trimesh.Trimesh(ball.vertices, ball.faces[:, ::-1], process=False)
    opened = trimesh.Trimesh(ball.vertices, ball.faces[1:], process=False)
    assert not soundness(inside_out).watertight
    assert str(soundness(opened)) == "watertight: no, shells: 1, faces: 1279"


@pytest.mark.parametrize("name", SURFACE_PRESETS)
def test_presets_make_what_they_say(name):
    config = dataclasses.replace(surface_preset(name), texture_size=64, faces=min(surface_preset(name).faces, 2000))
    meshes = surfaces_of(volume_of(sphere(24)), config)
    assert len(meshes) == config.lods
    assert all(soundness(mesh)[:2] == (True, 1) for mesh in meshes)
    assert all(hasattr(mesh.visual, "uv") == (config.colour == "texture") for mesh in meshes)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"faces": 0}, "faces: wanted at least 100 and at most 2000000; got 0"),
        ({"texture_size": 0}, "texture_size: wanted at least 16 and at most 8192; got 0"),
        ({"texture_size": 100_000}, "texture_size: wanted at least 16 and at most 8192; got 100000"),
        ({"lods": 0}, "lods: wanted at least 1 and at most 8; got 0"),
        ({"colour": "paint"}, "colour: wanted one of vertex, texture; got 'paint'"),
    ],
)
def test_senseless_wishes_are_refused_by_name(fields, said):
    with pytest.raises(ValueError, match=f"^{said}$"):
        SurfaceConfig(**fields)


def test_empty_volumes_and_unknown_presets_are_refused():
    with pytest.raises(EmptyVolumeError, match="stops half the light"):
        surfaces_of(uniform(0.0, 16), SurfaceConfig())
    with pytest.raises(ValueError, match="preset: wanted one of print, mobile, game, high; got 'film'"):
        surface_preset("film")


def test_missing_packages_are_named_with_how_to_get_them(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "manifold3d", None)
    with pytest.raises(
        ImportError, match=r"manifold3d: wanted for fewer faces; got none; pip install 'vader3d\[assets\]'"
    ):
        surfaces_of(volume_of(sphere(24)), PLAIN)
