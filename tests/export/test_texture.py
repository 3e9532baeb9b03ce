"""Baked textures beside the volume's own colours."""

import io

import numpy as np
import pytest
import torch
import trimesh
from test_mesh import box, sphere, volume_of

from vader3d.export.mesh import outer_surface, surface_colours, voxel_size
from vader3d.export.mesh_pictures import mesh_pictures, sampled_texture
from vader3d.export.simplify import simplified
from vader3d.export.surface import soundness
from vader3d.export.texture import PIECE, spatial_pieces, texels, textured
from vader3d.geometry.cameras import orbit_cameras
from vader3d.render import Volume

SIZE = 200


@pytest.fixture(scope="module")
def volume() -> Volume:
    """A box coloured by place, with stripes across."""
    made = volume_of(box(40, (0.3, 0.5, 0.7)))
    made.colour[0, 1] = (made.colour[0, 1] * 25).sin() * 0.4 + 0.5
    return made


@pytest.fixture(scope="module")
def shape(volume) -> trimesh.Trimesh:
    return simplified(outer_surface(volume), 3000)


@pytest.fixture(scope="module")
def mesh(volume, shape) -> trimesh.Trimesh:
    return textured(shape, volume, SIZE)


def picture_of(mesh: trimesh.Trimesh) -> np.ndarray:
    return np.asarray(mesh.visual.material.baseColorTexture)


def volume_colours(volume: Volume, points: np.ndarray, normals: np.ndarray) -> np.ndarray:
    inward = -torch.tensor(normals, dtype=torch.float32) * voxel_size(volume)
    return surface_colours(volume, torch.tensor(points, dtype=torch.float32), inward).numpy()


def test_the_texture_has_just_the_size_that_was_asked_for_and_a_matt_material(mesh):
    material = mesh.visual.material
    assert (material.baseColorTexture.size, material.baseColorTexture.mode) == ((SIZE, SIZE), "RGB")
    assert (material.metallicFactor, material.roughnessFactor, material.doubleSided) == (0.0, 1.0, False)
    assert mesh.visual.uv.min() > 0
    assert mesh.visual.uv.max() < 1


def test_the_surface_is_the_same_one_cut_along_seams(mesh, shape):
    np.testing.assert_allclose(np.sort(mesh.area_faces), np.sort(shape.area_faces), rtol=1e-4, atol=1e-9)
    assert soundness(mesh)[:2] == (True, 1)
    assert mesh.volume == pytest.approx(shape.volume, rel=1e-5)
    assert len(shape.vertices) < len(mesh.vertices) < 2 * len(shape.vertices)


def test_no_seam_shows(volume, mesh):
    """On both sides of each edge between charts a bilinear reader finds what the volume shows there, and the same."""
    _, place = np.unique(np.float32(mesh.vertices), axis=0, return_inverse=True)
    edges = mesh.faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    key = np.sort(place.reshape(-1)[edges], 1)
    order = np.lexsort(key.T)
    first, second = edges[order[::2]], edges[order[1::2]]
    same = place.reshape(-1)[first[:, 0]] == place.reshape(-1)[second[:, 0]]
    second = np.where(same[:, None], second, second[:, ::-1])
    seams = (first != second).any(1)
    assert seams.sum() > 100
    sides = [
        sampled_texture(np.float32(picture_of(mesh)) / 255, mesh.visual.uv[ends[seams]].mean(1))
        for ends in (first, second)
    ]
    middles = mesh.vertices[first[seams]].mean(1)
    normals = mesh.vertex_normals[first[seams]].mean(1)
    truth = volume_colours(volume, middles, normals / np.linalg.norm(normals, axis=1, keepdims=True))
    assert np.abs(sides[0] - sides[1]).max() < 0.12
    assert np.abs(sides[0] - sides[1]).mean() < 0.01
    assert np.abs(sides[0] - truth).mean() < 0.015


def test_a_texture_is_nearer_to_the_volume_than_vertex_colours_of_so_few_faces(volume):
    few = simplified(outer_surface(volume), 400)
    mesh = textured(few, volume, SIZE)
    uv = mesh.visual.uv[mesh.faces].mean(1)
    normals = mesh.vertex_normals[mesh.faces].mean(1)
    truth = volume_colours(volume, mesh.triangles_center, normals / np.linalg.norm(normals, axis=1, keepdims=True))
    baked = sampled_texture(np.float32(picture_of(mesh)) / 255, uv)
    by_vertices = volume_colours(volume, mesh.vertices, mesh.vertex_normals)[mesh.faces].mean(1)
    assert np.abs(baked - truth).mean() < 0.3 * np.abs(by_vertices - truth).mean()


def test_charts_are_padded(mesh):
    """Round every chart, as far as trilinear readers of the half-size picture reach, its own colours go on."""
    corners = mesh.visual.uv[mesh.faces] * [SIZE, -SIZE] + [0, SIZE]
    owner, shares = texels(corners, SIZE)
    inside = (owner >= 0) & (shares.min(-1) >= 0)
    assert 0.4 < inside.mean() < 0.95
    picture = np.float32(picture_of(mesh))
    grown = inside.copy()
    for axis in (0, 1):
        for step in (-1, 1):
            rolled = np.roll(inside, step, axis)
            bordering = rolled & ~inside
            assert np.abs(picture - np.roll(picture, step, axis))[bordering].mean() < 12
            grown |= rolled
    assert (owner[grown] >= 0).mean() > 0.99


def test_texels_belong_to_the_triangle_that_they_lie_in_or_nearest_to():
    square = np.array(
        [[[10, 10], [30, 10], [10, 30]], [[30, 30], [10, 30], [30, 10]], [[40, 5], [40, 5], [45, 5]]], float
    )
    owner, shares = texels(square, 64)
    assert owner[12, 12] == 0
    assert owner[28, 28] == 1
    assert owner[9, 15] == 0  # half a pixel above the edge
    assert shares[9, 15].min() == pytest.approx(-0.5 / 20)
    assert owner[5, 5] == -1
    assert (owner == 2).sum() == 0  # it has no area
    assert (owner >= 0)[10:30, 10:30].all()


def test_pieces_are_small_and_hold_every_face_once():
    points = np.random.default_rng(0).normal(size=(5 * PIECE + 3, 3))
    pieces = spatial_pieces(points, PIECE)
    assert max(map(len, pieces)) <= PIECE
    assert sorted(np.concatenate(pieces).tolist()) == list(range(len(points)))


def test_a_glb_of_another_hand_gives_the_texture_back(mesh):
    data = mesh.export(file_type="glb")
    (loaded,) = trimesh.load_scene(io.BytesIO(data), file_type="glb", process=False).geometry.values()
    assert np.array_equal(np.asarray(loaded.visual.material.baseColorTexture)[..., :3], picture_of(mesh))
    np.testing.assert_allclose(loaded.visual.uv, mesh.visual.uv, atol=1e-6)


def test_pictures_of_a_textured_mesh_show_its_texture(volume):
    ball = volume_of(sphere())
    mesh = textured(simplified(outer_surface(ball), 1000), ball, 128)
    picture = mesh_pictures(mesh, orbit_cameras(torch.tensor([0.0]), torch.tensor([0.0]), size=33))[0]
    np.testing.assert_allclose(picture[16, 16] / 255, [0.8, 0.5, 0.5, 1], atol=0.04)  # the front, x = .6
    assert picture[0, 0].tolist() == [0, 0, 0, 0]


def test_another_reader_reads_between_texels_as_ours_does():
    texture = np.arange(4 * 4 * 3, dtype=np.float32).reshape(4, 4, 3)
    centres = np.array([[0.125, 0.875], [0.875, 0.125], [0.25, 0.875], [0.0, 1.0]])
    read = sampled_texture(texture, centres)
    np.testing.assert_allclose(read, [texture[0, 0], texture[3, 3], (texture[0, 0] + texture[0, 1]) / 2, texture[0, 0]])


def test_a_missing_package_is_named(monkeypatch, volume, shape):
    monkeypatch.setitem(__import__("sys").modules, "xatlas", None)
    with pytest.raises(ImportError, match=r"xatlas: wanted for textures; got none; pip install 'vader3d\[assets\]'"):
        textured(shape, volume, 64)
