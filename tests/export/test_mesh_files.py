"""Mesh files, read back by trimesh, by our own reader of data sets, and bit by bit."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import trimesh

from vader3d.colour import srgb_from_linear
from vader3d.data.making.surface import load_surface
from vader3d.export.glb import glb_bytes
from vader3d.export.mesh import save_mesh

PROVENANCE = {"model": "ab" * 32, "seed": 3, "index": 17, "steps": 32, "churn": "Stuhl, 椅子"}


@pytest.fixture(scope="module")
def mesh() -> trimesh.Trimesh:
    """An egg that is longest upwards and off the centre, each corner of a colour of its own."""
    made = trimesh.creation.icosphere(subdivisions=3)
    made.apply_scale([0.2, 0.4, 0.8])
    made.apply_translation([0.1, 0.2, 0.05])
    colours = np.random.default_rng(0).integers(0, 256, (len(made.vertices), 3), dtype=np.uint8)
    made.visual = trimesh.visual.ColorVisuals(made, vertex_colors=colours)
    return made


def parsed_glb(data: bytes) -> tuple[dict, list[np.ndarray]]:
    """The document and the arrays of its accessors, by the letter of the specification."""
    magic, version, length = struct.unpack_from("<4sII", data)
    assert (magic, version, length) == (b"glTF", 2, len(data))
    size, kind = struct.unpack_from("<I4s", data, 12)
    assert kind == b"JSON"
    document = json.loads(data[20 : 20 + size])
    body_size, kind = struct.unpack_from("<I4s", data, 20 + size)
    assert kind == b"BIN\0"
    assert size % 4 == body_size % 4 == 0
    assert length == 28 + size + body_size
    arrays = []
    for accessor in document["accessors"]:
        view = document["bufferViews"][accessor["bufferView"]]
        kind = {5126: "<f4", 5125: "<u4", 5123: "<u2"}[accessor["componentType"]]
        columns = {"SCALAR": 1, "VEC3": 3}[accessor["type"]]
        start = 28 + size + view["byteOffset"]
        assert view["byteOffset"] % 4 == 0
        assert view["byteLength"] == accessor["count"] * columns * np.dtype(kind).itemsize
        assert view["byteOffset"] + view["byteLength"] <= document["buffers"][0]["byteLength"] <= body_size
        flat = np.frombuffer(data[start : start + view["byteLength"]], kind)
        arrays.append(flat.reshape(-1, columns))
    return document, arrays


def test_a_glb_is_y_up_with_linear_float_colours_that_come_back_exact(tmp_path, mesh):
    save_mesh(tmp_path / "a.glb", mesh)
    document, (positions, normals, colours, indices) = parsed_glb((tmp_path / "a.glb").read_bytes())
    np.testing.assert_allclose(positions, mesh.vertices[:, [0, 2, 1]] * [1, 1, -1], atol=1e-6)
    np.testing.assert_allclose(normals, mesh.vertex_normals[:, [0, 2, 1]] * [1, 1, -1], atol=1e-6)
    np.testing.assert_array_equal(indices.reshape(-1, 3), mesh.faces)
    attributes = document["meshes"][0]["primitives"][0]["attributes"]
    assert document["accessors"][attributes["COLOR_0"]]["componentType"] == 5126  # float32, which nobody reads wrong
    np.testing.assert_array_equal(np.rint(srgb_from_linear(colours) * 255), mesh.visual.vertex_colors[:, :3])
    assert document["accessors"][0]["max"] == positions.max(0).tolist()


def test_a_glb_is_read_by_trimesh(tmp_path, mesh):
    save_mesh(tmp_path / "a.GLB", mesh)
    (tmp_path / "a.GLB").rename(tmp_path / "a.glb")
    (loaded,) = trimesh.load_scene(tmp_path / "a.glb", process=False).geometry.values()
    assert loaded.volume == pytest.approx(mesh.volume, rel=1e-5)  # not mirrored
    np.testing.assert_allclose(loaded.vertex_normals, mesh.vertex_normals[:, [0, 2, 1]] * [1, 1, -1], atol=1e-3)
    assert loaded.visual.material.metallicFactor == 0


@pytest.mark.parametrize(("vertices", "kind"), [(65535, 5123), (65536, 5125)])
def test_indices_are_short_where_65535_is_none_of_them(vertices, kind):
    positions = np.random.default_rng(0).normal(size=(vertices, 3))
    faces = np.array([[0, 1, vertices - 1]])
    document, arrays = parsed_glb(glb_bytes(positions, faces, positions, np.zeros_like(positions)))
    assert document["accessors"][3]["componentType"] == kind
    np.testing.assert_array_equal(arrays[3][:, 0], faces[0])


def test_an_obj_is_y_up_with_colours_normals_and_a_material_that_exists(tmp_path, mesh):
    save_mesh(tmp_path / "a.obj", mesh)
    lines = [line.split() for line in (tmp_path / "a.obj").read_text().splitlines()]
    rows = {key: np.array([line[1:] for line in lines if line[0] == key]) for key in ("v", "vn", "f")}
    corners = rows["v"].astype(float)
    np.testing.assert_allclose(corners[:, :3], mesh.vertices[:, [0, 2, 1]] * [1, 1, -1], atol=1e-6)
    np.testing.assert_array_equal(np.rint(corners[:, 3:] * 255), mesh.visual.vertex_colors[:, :3])
    np.testing.assert_allclose(rows["vn"].astype(float), mesh.vertex_normals[:, [0, 2, 1]] * [1, 1, -1], atol=1e-4)
    assert rows["f"].tolist() == [[f"{corner + 1}//{corner + 1}" for corner in face] for face in mesh.faces]
    (library,), (used,) = ([line[1] for line in lines if line[0] == key] for key in ("mtllib", "usemtl"))
    material = dict(line.split(maxsplit=1) for line in (tmp_path / library).read_text().splitlines())
    assert material["newmtl"] == used
    mean = mesh.visual.vertex_colors[:, :3].mean(0) / 255
    np.testing.assert_allclose([float(part) for part in material["Kd"].split()], mean, atol=1e-4)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mtl", "a.obj"]


@pytest.mark.parametrize("suffix", ["glb", "obj", "ply"])
def test_our_own_reader_finds_a_saved_mesh_upright_again(tmp_path, mesh, suffix):
    save_mesh(tmp_path / f"a.{suffix}", mesh, PROVENANCE)
    surface = load_surface(tmp_path / f"a.{suffix}")
    np.testing.assert_allclose(surface.triangles, mesh.vertices[mesh.faces], atol=1e-5)
    np.testing.assert_allclose(surface.colours * 255, mesh.visual.vertex_colors[mesh.faces, :3], atol=0.51)


def test_a_ply_keeps_axes_and_colours(tmp_path, mesh):
    save_mesh(tmp_path / "a.ply", mesh)
    loaded = trimesh.load(tmp_path / "a.ply", process=False, maintain_order=True)
    np.testing.assert_allclose(loaded.vertices, mesh.vertices, atol=1e-6)
    np.testing.assert_array_equal(loaded.visual.vertex_colors, mesh.visual.vertex_colors)


def test_every_mesh_file_says_what_made_it(tmp_path, mesh):
    for suffix in ("glb", "obj", "ply"):
        save_mesh(tmp_path / f"a.{suffix}", mesh, PROVENANCE)
    document, _ = parsed_glb((tmp_path / "a.glb").read_bytes())
    assert document["asset"]["extras"] == {"vader3d": PROVENANCE}
    first = (tmp_path / "a.obj").read_text().splitlines()[0]
    assert json.loads(first.removeprefix("# vader3d ")) == PROVENANCE
    assert json.loads(ply_comment(tmp_path / "a.ply")) == PROVENANCE


def ply_comment(path: Path) -> bytes:
    head = path.read_bytes().partition(b"end_header")[0].splitlines()
    return next(line.removeprefix(b"comment vader3d ") for line in head if line.startswith(b"comment vader3d "))


def test_files_are_whole_or_absent(tmp_path, monkeypatch, mesh):
    (tmp_path / "a.glb").write_bytes(b"older")

    def full_disk(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full_disk)
    with pytest.raises(OSError, match="No space"):
        save_mesh(tmp_path / "a.glb", mesh)
    assert (tmp_path / "a.glb").read_bytes() == b"older"
    assert [path.name for path in tmp_path.iterdir()] == ["a.glb"]
    with pytest.raises(ValueError, match=r"\.glb, \.obj, \.ply"):
        save_mesh(tmp_path / "a.stl", mesh)
