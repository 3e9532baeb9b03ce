"""What would fill memory, or lies outside a data set's folder, is refused before it is parsed."""

import io
import json
import tracemalloc
import zipfile
from contextlib import contextmanager

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image
from tiny import write_things

from vader3d import untrusted
from vader3d.data import mesh_files
from vader3d.data.archive.format import ArchiveError, check_cameras
from vader3d.data.archive.reader import Archive
from vader3d.data.making import sweethome
from vader3d.data.making.meshes import Photography, prepare_meshes
from vader3d.data.making.surface import load_surface
from vader3d.data.making.sweethome import load_model, read_catalogue
from vader3d.data.reading import pictures
from vader3d.data.reading.nerfstudio import NERFSTUDIO
from vader3d.data.reading.reader import Reading
from vader3d.geometry.cameras import orbit_cameras
from vader3d.untrusted import parsed_json, zip_member

HEAD = b'{"format": "vader3d-archive", "version": 1, "resolution": [8, 8], "subsets": {}, "objects": ['


@contextmanager
def little_memory():
    """Under a megabyte at any moment."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()


def zipped(path, compression=zipfile.ZIP_DEFLATED, **members):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, data in members.items():
            file.writestr(name.replace("_", "."), data)
    return path


@pytest.mark.parametrize(
    ("compression", "told"),
    [(zipfile.ZIP_DEFLATED, "250 a packed one; got"), (zipfile.ZIP_BZIP2, "wanted stored or deflated")],
)
def test_a_bomb_of_a_manifest_is_never_unpacked(tmp_path, compression, told):
    path = zipped(tmp_path / "bomb.zip", compression, archive_json=HEAD + b"{}," * 500_000 + b"{}]}")
    with little_memory(), pytest.raises(ArchiveError, match=told):
        Archive(path)


def test_a_member_that_is_longer_than_it_says_is_not_unpacked_further(tmp_path):
    path = zipped(tmp_path / "liar.zip", x=bytes(50_000_000))
    with zipfile.ZipFile(path) as opened:
        opened.getinfo("x").file_size = 100
        with little_memory(), pytest.raises(ValueError, match=r"x: wanted a whole member"):
            zip_member(opened, "x", most=1000)


def test_json_of_more_values_than_any_of_ours_is_not_parsed():
    data = b"[" + b"1," * 2**23 + b"1]"
    with little_memory(), pytest.raises(ValueError, match="JSON: wanted at most"):
        parsed_json(data)


def test_no_archive_is_written_that_could_not_be_read(tmp_path, monkeypatch):
    monkeypatch.setattr(untrusted, "JSON_VALUES", 40)
    with pytest.raises(ArchiveError, match=r"a\.zip: wanted fewer objects; got 4 .*--objects-per-shard"):
        write_things(tmp_path / "a.zip", views=2, size=8)
    assert list(tmp_path.iterdir()) == []


def test_a_mesh_in_words_has_a_limit_of_its_own(tmp_path, monkeypatch):
    ball = trimesh.creation.icosphere(subdivisions=2)
    monkeypatch.setattr(mesh_files, "TEXT_MESH_BYTES", 5000)
    for kind, options in (("obj", {}), ("off", {}), ("ply", {"encoding": "ascii"}), ("stl_ascii", {})):
        path = tmp_path / f"ball.{kind.partition('_')[0]}"
        path.write_bytes(data if isinstance(data := ball.export(file_type=kind, **options), bytes) else data.encode())
        with pytest.raises(ValueError, match=rf"{path.name}: mesh: wanted at most 5000 bytes"):
            load_surface(path)
    for kind in ("glb", "ply", "stl"):
        ball.export(tmp_path / f"ball.{kind}")
        assert len(load_surface(tmp_path / f"ball.{kind}").triangles) == len(ball.faces)


def test_what_a_mesh_declares_is_checked_first(tmp_path, monkeypatch):
    path = tmp_path / "liar.ply"
    path.write_bytes(b"ply\nformat ascii 1.0\nelement vertex 90000000000\nproperty float x\nend_header\n0\n")
    with pytest.raises(ValueError, match="wanted 90000000000 elements"):
        load_surface(path)
    path = tmp_path / "liar.gltf"
    path.write_text(json.dumps({"asset": {"version": "2.0"}, "accessors": [{"count": 10**9}]}))
    with pytest.raises(ValueError, match="elements; got 1000000000"):
        load_surface(path)
    monkeypatch.setattr(mesh_files, "FACES", 1000)
    ball, scene = trimesh.creation.icosphere(subdivisions=1), trimesh.Scene()
    for number in range(20):
        scene.add_geometry(ball, geom_name="ball", node_name=f"node {number}")
    scene.export(tmp_path / "many.glb")
    with pytest.raises(ValueError, match=r"many\.glb: mesh: wanted at most 1000 faces; got 1040"):
        load_surface(tmp_path / "many.glb")


def test_a_mesh_takes_nothing_from_outside_its_folder(tmp_path):
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "mesh").mkdir()
    (tmp_path / "mesh" / "own.png").write_bytes(b"own")
    resolver = mesh_files.Neighbours(tmp_path / "mesh" / "ball.obj")
    assert resolver.get("own.png") == b"own"
    for name in ("../secret.png", str(tmp_path / "secret.png")):
        with pytest.raises(FileNotFoundError, match=r"secret\.png.* beside ball\.obj or below"):
            resolver.get(name)


def test_a_library_unpacks_no_more_than_a_model_may_have(tmp_path, monkeypatch):
    catalogue = "name#1=Ball\nid#1=b\nmodel#1=/b/ball.obj\n"
    path = tmp_path / "lib.sh3f"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("PluginFurnitureCatalog.properties", catalogue)
        file.writestr("b/ball.obj", b"v 0 0 0\n" * 1_000_000)
    with pytest.raises(ValueError, match="250 a packed one"):
        load_model(read_catalogue(path)[0])
    monkeypatch.setattr(sweethome, "MESH_BYTES", 1000)
    with pytest.raises(ValueError, match="b: wanted at most 1000 bytes; got 8000000"):
        load_model(read_catalogue(path)[0])


def test_a_library_that_cannot_be_read_costs_itself_alone(tmp_path):
    (tmp_path / "bad.sh3f").write_bytes(b"no zip")
    trimesh.creation.icosphere(subdivisions=1).export(tmp_path / "ball.glb")
    report = prepare_meshes([tmp_path], tmp_path / "out.zip", Photography(2, 8, 1), processes=1)
    assert report.objects == 1
    assert len(report.skipped) == 1
    assert "bad.sh3f: wanted a Sweet Home 3D furniture library" in report.skipped[0]


def test_pictures_have_a_size_and_a_format_that_may_be_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "PICTURE_PIXELS", 100)
    Image.new("RGB", (10, 11)).save(tmp_path / "large.png")
    with pytest.raises(ValueError, match=r"large\.png: picture: wanted at most 100 px; got 10 x 11"):
        pictures.read_picture(tmp_path / "large.png", mode="RGB")
    Image.new("RGB", (4, 4)).save(tmp_path / "program.png", "EPS")
    with pytest.raises(ValueError, match=r"program\.png: picture: wanted PNG, .*; got EPS"):
        pictures.read_picture(tmp_path / "program.png", mode="RGB")


def test_a_scene_takes_no_picture_from_elsewhere(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "private.png")
    (tmp_path / "scene").mkdir()
    for name in ("../private.png", str(tmp_path / "private.png")):
        frame = {"file_path": name, "camera_angle_x": 1.0, "transform_matrix": np.eye(4).tolist()}
        (tmp_path / "scene" / "transforms.json").write_text(json.dumps({"frames": [frame]}))
        with pytest.raises(ValueError, match=r"frames: wanted files in .*scene or below"):
            NERFSTUDIO.read_object(tmp_path / "scene", "scene", Reading())


@pytest.mark.parametrize(("scale", "told"), [(1e9, r"no number beyond 1e\+06"), (1e-9, "focal lengths of at least")])
def test_cameras_whose_rays_float32_cannot_hold_are_refused(scale, told):
    cameras = orbit_cameras(torch.zeros(1), torch.zeros(1), distance=4, fov_degrees=30, size=8)
    cameras.intrinsics.mul_(scale)
    with pytest.raises(ValueError, match=told):
        check_cameras(cameras, 1)


def test_pictures_are_not_decoded_for_cameras_that_are_wrong(tmp_path, monkeypatch):
    path = write_things(tmp_path / "a.zip").path
    data = io.BytesIO()
    np.save(data, np.zeros((12, 16), np.float32))
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w") as new:
        for name, member in (members | {"000001/cameras.npy": data.getvalue()}).items():
            new.writestr(name, member)
    decoded = []
    monkeypatch.setattr("vader3d.data.archive.reader.pictures_from_sheet", lambda *_, **__: decoded.append(1))
    with pytest.raises(ArchiveError, match="cameras: wanted a rigid matrix"):
        Archive(path).read(1)
    assert decoded == []
