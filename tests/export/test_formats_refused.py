"""What formats refuse, and what a failed write leaves behind."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from solids import PROVENANCE, coloured_mesh, egg, need, textured_mesh

from vader3d import assets
from vader3d.assets import Asset, AssetFolder, save_assets
from vader3d.export import extras
from vader3d.export.formats import FORMATS, check_formats, format_of, table_text
from vader3d.export.mesh import EmptyVolumeError
from vader3d.export.placement import ExportConfig
from vader3d.export.provenance import read_provenance
from vader3d.render import RenderConfig, Volume

SMALL = ExportConfig(frames=3, picture_size=24)
MESHES = [name for name, form in FORMATS.items() if "mesh" in form.needs]
Y_UP = ([0, 2, 1], [1, 1, -1])  # columns of the world, and their signs


@pytest.mark.parametrize("name", ["glb", "obj", "ply", "3mf", "webp", "png"])
def test_a_file_that_says_nothing_is_told_apart(tmp_path, name):
    path = Asset(egg().volume, RenderConfig(), "bare").save(tmp_path / f"a.{name}", SMALL)
    with pytest.raises(ValueError, match=r"provenance: wanted what made the file; got none"):
        read_provenance(path)


def test_names_are_told_apart_by_their_longest_end():
    assert [format_of(Path(name)) for name in ("a.GLB", "a.splats.glb", "a.b.both.glb", "x.depth.png", "x.png")] == [
        "glb", "splats.glb", "both.glb", "depth.png", "png",
    ]  # fmt: skip
    for name in ("a.fbx", "a", "glb"):
        with pytest.raises(ValueError, match=r"formats: wanted a name that ends in glb, obj, .*; got .*"):
            format_of(Path(name))


def test_unknown_formats_are_named_with_the_nearest():
    with pytest.raises(ValueError, match=r"formats: wanted one or more of glb, .*; got .*gbl.*; did you mean glb\?"):
        check_formats(["obj", "gbl"], ["obj", "gbl"])


def test_the_table_names_every_format_and_extra():
    lines = table_text().splitlines()
    assert [line.split()[0] for line in lines] == [*FORMATS]
    assert [line.split()[0] for line in lines if "vader3d[usd]" in line] == ["usdz"]
    assert {form.extra for form in FORMATS.values()} == {"", "usd", "video"}
    assert all(form.up or not {"mesh", "splats"} & {*form.needs} for form in FORMATS.values())


@pytest.mark.parametrize("name", ["usdz", "mp4"])
def test_a_package_that_is_not_here_is_named_before_anything_is_made(tmp_path, monkeypatch, name):
    monkeypatch.setattr(extras.importlib.util, "find_spec", lambda package: None)
    with pytest.raises(
        ImportError, match=rf"wanted for this format; got none; pip install 'vader3d\[{FORMATS[name].extra}"
    ):
        egg().save(tmp_path / "new" / f"a.{name}")
    assert not (tmp_path / "new").exists()


def nothing() -> Asset:
    return Asset(Volume(torch.full((1, 4, 8, 8, 8), -50.0), "softplus"), RenderConfig(), "nothing")


@pytest.mark.parametrize("name", [*MESHES, "splats.ply", "splats.glb"])
def test_an_empty_volume_or_mesh_is_refused_and_nothing_is_written(tmp_path, name):
    need(name)
    with pytest.raises(EmptyVolumeError, match=r"volume: wanted something that stops .*; got "):
        nothing().save(tmp_path / f"a.{name}")
    if name in MESHES:
        with pytest.raises(EmptyVolumeError, match="mesh: wanted faces to write; got none"):
            egg().save(tmp_path / f"a.{name}", mesh=trimesh.Trimesh())
        broken = coloured_mesh()
        broken.vertices[3, 1] = np.nan
        with pytest.raises(ValueError, match="mesh: wanted finite vertices; got NaN"):
            egg().save(tmp_path / f"a.{name}", mesh=broken)
    assert os.listdir(tmp_path) == []


def test_a_texture_without_its_coordinates_is_refused(tmp_path):
    bare = textured_mesh()
    bare.visual.uv = None
    with pytest.raises(ValueError, match=r"mesh: wanted a texture with its picture and uv \[P, 2\]; got one without"):
        egg().save(tmp_path / "a.glb", mesh=bare)


@pytest.mark.parametrize("name", FORMATS)
def test_a_full_disk_is_named_and_leaves_what_was_there(tmp_path, monkeypatch, name):
    """The last step before a file gets its name fails."""
    need(name)
    path = tmp_path / f"a.{name}"
    textured = textured_mesh() if "mesh" in FORMATS[name].needs else None
    egg().save(path, SMALL, mesh=textured)
    before = {file: (tmp_path / file).read_bytes() for file in os.listdir(tmp_path)}

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    other = coloured_mesh() if textured is not None else None
    with pytest.raises(
        OSError, match=rf"could not write .*a\.{name.rpartition('.')[0]}.*: No space left on device; what was"
    ):
        Asset(egg(size=12).volume, RenderConfig(), "other").save(path, SMALL, mesh=other)
    assert {file: (tmp_path / file).read_bytes() for file in os.listdir(tmp_path)} == before


def test_damaged_files_say_so(tmp_path):
    (tmp_path / "a.glb").write_bytes(b"glTF" + b"\xff" * 30)
    (tmp_path / "a.png").write_bytes(b"no picture")
    (tmp_path / "a.3mf").write_bytes(b"no zip")
    (tmp_path / "a.obj").write_text("v 0 0 0\n")
    for name in ("a.glb", "a.png", "a.3mf", "a.obj"):
        with pytest.raises(ValueError, match=rf"{name}: .*wanted .*; got "):
            read_provenance(tmp_path / name)
    with pytest.raises(ValueError, match=r"none\.glb: wanted an exported file; got no such file"):
        read_provenance(tmp_path / "none.glb")


def test_a_3mf_with_entities_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.3mf", "w") as file:
        file.writestr("3D/3dmodel.model", '<!DOCTYPE x [<!ENTITY a "b">]><model>&a;<resources></resources></model>')
    with pytest.raises(ValueError, match="format: wanted a plain 3MF model; got declarations"):
        read_provenance(tmp_path / "a.3mf")


def test_a_folder_remembers_all_files_of_a_textured_obj(tmp_path, monkeypatch):
    monkeypatch.setattr(assets, "volume_to_mesh", lambda volume: textured_mesh())
    monkeypatch.setattr(Asset, "mesh_likeness", lambda self: 1.0)
    asset = egg()
    save_assets([asset], tmp_path, formats=["obj", "splats.ply"])
    known = AssetFolder(tmp_path)
    assert {*known.objects["egg"]["files"]} == {"egg.obj", "egg.mtl", "egg.texture.png", "egg.splats.ply"}
    assert known.holds("egg", PROVENANCE, ["obj", "splats.ply"])
    assert not known.holds("egg", PROVENANCE, ["obj", "glb"])
    (tmp_path / "egg.texture.png").unlink()
    assert not known.holds("egg", PROVENANCE, ["obj"])
    assert known.holds("egg", PROVENANCE, ["splats.ply"])
