"""Folders of meshes and furniture libraries become archives."""

import zipfile

import numpy as np
import pytest
import trimesh

from vader3d.data.making.meshes import Photography, prepare_meshes
from vader3d.data.making.sweethome import load_model, read_catalogue
from vader3d.data.named import open_archive

CATALOGUE = r"""# a comment
id=Test
version=1.2
license=Creative Commons Attribution 3.0 United States license  (C) somebody
id#1=Test#post
name#1=Tall post
tags#1=Blend Swap, Decoration, Wood
category#1=Living room
model#1=/models/post/post.obj
creator#1=Andr\u00e9
id#2=Test#lying
name#2=Lying post
tags#2=
category#2=Miscellaneous
model#2=/models/post/post.obj
modelRotation#2=1 0 0 0 0 1 0 -1 0
creator#2=Somebody
id#3=Test#broken
name#3=Nothing
tags#3=
category#3=Miscellaneous
model#3=/models/broken/broken.obj
creator#3=Nobody
"""


def post() -> trimesh.Trimesh:
    return trimesh.creation.box((0.5, 1.0, 0.4))  # tall along y, as OBJ and glTF have it


def library(path):
    text = "mtllib post.mtl\nusemtl red\n" + trimesh.exchange.obj.export_obj(post(), include_normals=False)
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr("PluginFurnitureCatalog.properties", CATALOGUE.encode("latin-1"))
        opened.writestr("models/post/post.obj", text)
        opened.writestr("models/post/post.mtl", "newmtl red\nKd 0.8 0.1 0.1\n")
        opened.writestr("models/broken/broken.obj", "# nothing\n")
    return path


def prepared(source, tmp_path, *, views=6, size=16, **options):
    photography = Photography(views, size, rays_per_side=2)
    report = prepare_meshes([source], tmp_path / "out.zip", photography, processes=1, **options)
    return open_archive(tmp_path / "out.zip"), report


def test_a_folder_of_meshes_is_rendered_with_captions(tmp_path):
    folder = tmp_path / "meshes"
    (folder / "more").mkdir(parents=True)
    post().export(folder / "red_post.glb")
    trimesh.creation.icosphere().export(folder / "more" / "ball.ply")
    (folder / "more" / "ball.txt").write_text("a round ball\n")
    (folder / "bad.stl").write_text("no mesh at all")
    (folder / "notes.md").write_text("not a mesh")
    archive, report = prepared(folder, tmp_path)
    assert [(r.name, r.caption) for r in archive.records] == [("more.ball", "a round ball"), ("red_post", "red post")]
    assert [line.split(":")[0] for line in report.skipped] == ["bad"]
    views = archive.read(1)
    assert views.pictures.shape == (6, 16, 16, 4)
    assert views.pictures[..., 3].any((1, 2)).all()


def test_nothing_is_cut_from_any_side(tmp_path):
    trimesh.creation.box((1.0, 1.0, 1.0)).export(tmp_path / "cube.stl")
    archive, _ = prepared(tmp_path / "cube.stl", tmp_path, views=24, size=64)
    alpha = archive.read(0).pictures[..., 3]
    assert not alpha[:, [0, -1]].any()
    assert not alpha[:, :, [0, -1]].any()


def test_the_same_mesh_twice_is_taken_once(tmp_path):
    folder = tmp_path / "meshes"
    folder.mkdir()
    for name in ("a", "b"):
        post().export(folder / f"{name}.stl")
    archive, report = prepared(folder, tmp_path)
    assert [record.name for record in archive.records] == ["a"]
    assert report.skipped == ["b: the same as a"]


def test_a_library_gives_captions_credits_and_rotations(tmp_path):
    entries = read_catalogue(library(tmp_path / "Test-Lib.sh3f"))
    first = entries[0].record
    assert (first.name, first.caption) == ("test-lib.post", "a tall post")
    assert (first.creator, first.category, first.tags) == ("André", "living room", ("Decoration", "Wood", "type:post"))
    assert first.licence == "CC-BY-3.0-US https://creativecommons.org/licenses/by/3.0/us/"
    assert first.source == "Sweet Home 3D library Test-Lib 1.2, post"
    upright, lying = (np.ptp(load_model(entry).triangles.reshape(-1, 3), axis=0) for entry in entries[:2])
    assert np.allclose(upright, (0.5, 0.4, 1.0), atol=1e-5)
    assert np.allclose(lying, (0.5, 1.0, 0.4), atol=1e-5)
    assert np.allclose(load_model(entries[0]).colours, (0.8, 0.1, 0.1), atol=0.01)


def test_a_library_is_rendered_past_its_broken_model(tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text("# chosen\ntest-lib.lying  # this one\n\n")
    archive, report = prepared(library(tmp_path / "Test-Lib.sh3f"), tmp_path, subsets={"some": listed})
    assert [record.name for record in archive.records] == ["test-lib.post", "test-lib.lying"]
    assert [record.name for record in archive.subset("some").records] == ["test-lib.lying"]
    assert report.skipped[0].startswith("test-lib.broken: ")


def test_wrong_sources_are_named(tmp_path):
    with pytest.raises(ValueError, match="nowhere, which does not exist"):
        prepared(tmp_path / "nowhere", tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"wanted mesh files or \.sh3f libraries; got none in .*empty"):
        prepared(tmp_path / "empty", tmp_path)
    (tmp_path / "no.sh3f").write_bytes(b"no zip")
    with pytest.raises(ValueError, match=r"no\.sh3f: wanted a Sweet Home 3D"):
        prepared(tmp_path / "no.sh3f", tmp_path)
