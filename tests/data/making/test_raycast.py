"""Rendered surfaces: silhouettes, places, colours and light are those of the geometry."""

import math

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from vader3d.data.making.raycast import AMBIENT, DIRECT, LIFT, SKY, render_surface
from vader3d.data.making.surface import Surface, load_surface, surface_from_scene
from vader3d.data.making.viewpoints import spread_cameras
from vader3d.geometry.cameras import DISTANCE, orbit_cameras


def cameras_at(azimuth: float, elevation: float, size: int = 64):
    return orbit_cameras(torch.tensor([azimuth]), torch.tensor([elevation]), distance=4, fov_degrees=30, size=size)


def test_a_sphere_covers_the_disc_that_it_must():
    sphere = surface_from_scene(trimesh.creation.icosphere(subdivisions=5, radius=0.9))
    alpha = render_surface(sphere, spread_cameras(3, size=64, seed=0))[..., 3] / 255
    angle = math.tan(math.asin(0.9 / DISTANCE)) / math.tan(math.radians(15)) * 32
    assert np.allclose(alpha.sum((1, 2)), math.pi * angle**2, rtol=5e-3)


def test_a_small_ball_is_where_the_camera_says():
    centre = np.array([0.4, -0.5, 0.3])
    ball = surface_from_scene(trimesh.creation.icosphere(subdivisions=2, radius=0.05).apply_translation(centre))
    cameras = spread_cameras(12, size=64, seed=3)
    alpha = render_surface(ball, cameras)[..., 3].astype(float)
    row, column = np.meshgrid(np.arange(64) + 0.5, np.arange(64) + 0.5, indexing="ij")
    pixels, _ = cameras.project(torch.from_numpy(centre).float().expand(12, 1, 3))
    for picture, pixel in zip(alpha, pixels[:, 0].numpy(), strict=True):
        found = (picture * column).sum() / picture.sum(), (picture * row).sum() / picture.sum()
        assert np.allclose(found, pixel, atol=0.1)


def test_nearer_things_hide_farther_ones():
    near = trimesh.creation.box((0.2, 0.2, 0.2), transform=trimesh.transformations.translation_matrix([0.6, 0, 0]))
    far = trimesh.creation.box((0.2, 1.2, 1.2), transform=trimesh.transformations.translation_matrix([-0.6, 0, 0]))
    near.visual.face_colors, far.visual.face_colors = (255, 0, 0, 255), (0, 0, 255, 255)
    surface = surface_from_scene(trimesh.util.concatenate([far, near]))
    front, back = (render_surface(surface, cameras_at(a, 0.0))[0, 32, 32] for a in (0.0, 180.0))
    assert front[0] > 3 * front[2]
    assert back[2] > 3 * back[0]


def test_light_is_what_the_formula_says_and_the_same_from_both_sides():
    sheet = Surface(
        np.array([[[-0.9, -0.9, 0], [0.9, -0.9, 0], [0, 0.9, 0]]]),
        np.full((1, 3, 3), 0.5),
        np.zeros((1, 3, 2)),
        np.array([-1]),
    )
    above = render_surface(sheet, cameras_at(30.0, 70.0))[0, 32, 32, 0]
    below = render_surface(sheet, cameras_at(30.0, -70.0))[0, 32, 32, 0]
    colour = LIFT + (1 - LIFT) * 0.5
    assert above == pytest.approx(255 * colour * (AMBIENT + SKY + DIRECT * 0.61), abs=1.5)
    assert below == pytest.approx(255 * colour * (AMBIENT - SKY), abs=1.5)


def test_black_things_are_still_seen():
    box = trimesh.creation.box()
    box.visual.face_colors = (0, 0, 0, 255)
    picture = render_surface(surface_from_scene(box), cameras_at(20.0, 30.0))[0]
    assert picture[picture[..., 3] == 255][:, :3].min() > 10


def textured_quad(tmp_path, picture):
    """A unit square that faces +x, upright along z, with `picture` on it as an OBJ file's texture."""
    Image.fromarray(picture).save(tmp_path / "t.png")
    (tmp_path / "m.mtl").write_text("newmtl m\nmap_Kd t.png\n")
    (tmp_path / "m.obj").write_text(
        "mtllib m.mtl\nusemtl m\nv 0 -0.5 -0.5\nv 0 0.5 -0.5\nv 0 0.5 0.5\nv 0 -0.5 0.5\n"
        "vt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nf 1/1 2/2 3/3\nf 1/1 3/3 4/4\n"
    )
    return load_surface(tmp_path / "m.obj", up="z")


def test_textures_stand_upright(tmp_path):
    picture = np.zeros((8, 8, 3), np.uint8)
    picture[:4, :4], picture[:4, 4:], picture[4:, :4], picture[4:, 4:] = (
        (200, 0, 0),
        (0, 200, 0),
        (0, 0, 200),
        (200, 200, 200),
    )
    rendered = render_surface(textured_quad(tmp_path, picture), cameras_at(0.0, 0.0))[0]
    # from +x, +y lies to the right: the texture reads as it is painted
    for (row, column), brightest in (((26, 26), [0]), ((26, 38), [1]), ((38, 26), [2]), ((38, 38), [0, 1, 2])):
        channels = rendered[row, column, :3].astype(int)
        assert np.flatnonzero(channels > channels.max() * 0.9).tolist() == brightest


def test_transparent_texels_are_holes(tmp_path):
    picture = np.full((8, 8, 4), 255, np.uint8)
    picture[:, 4:, 3] = 0
    alpha = render_surface(textured_quad(tmp_path, picture), cameras_at(0.0, 0.0))[0, ..., 3]
    assert alpha[32, 26] == 255
    assert alpha[32, 38] == 0


def test_glass_and_leaves_show_what_stands_behind(tmp_path):
    picture = np.full((8, 8, 4), 255, np.uint8)
    picture[..., 3] = 0
    screen = textured_quad(tmp_path, picture)
    wall = trimesh.creation.box((0.1, 1, 1), transform=trimesh.transformations.translation_matrix([-0.5, 0, 0]))
    wall.visual.face_colors = (0, 0, 250, 255)
    behind = surface_from_scene(wall)
    both = Surface(
        np.concatenate([screen.triangles, behind.triangles]),
        np.concatenate([screen.colours, behind.colours]),
        np.concatenate([screen.uv, behind.uv]),
        np.concatenate([screen.texture, behind.texture]),
        screen.textures,
    )
    pixel = render_surface(both, cameras_at(0.0, 0.0))[0, 32, 32]
    assert pixel[3] == 255
    assert pixel[2] > 3 * pixel[0]
