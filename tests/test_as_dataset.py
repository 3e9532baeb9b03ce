"""Generated objects as a data set: our readers, and nerfstudio's rules, take it."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from vader3d.assets import Asset, as_dataset
from vader3d.data.archive.reader import Archive
from vader3d.data.reading.nerfstudio import read_object
from vader3d.data.reading.reader import Reading
from vader3d.geometry.cameras import Cameras
from vader3d.render import RenderConfig, Volume


def block(name: str, density: float = 30.0, **provenance) -> Asset:
    grid = torch.full((1, 4, 16, 16, 16), 0.5)
    grid[0, 3] = -50
    grid[0, 3, 4:12, 5:9, 3:13] = density
    return Asset(Volume(grid, "softplus", 25.0), RenderConfig(samples_per_ray=64), name, provenance)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("data")
    things = iter([block("one", prompt="a grey block"), block("fog", -50), block("two")])
    assert as_dataset(things, place, views=5, size=32) == {"one": True, "fog": False, "two": True}
    return place


def test_only_what_is_seen_is_there(folder):
    assert sorted(path.name for path in folder.iterdir()) == ["objects.zip", "one", "two"]
    assert sorted(path.name for path in (folder / "one").iterdir()) == [
        "caption.txt", "depth", "images", "masks", "transforms.json",
    ]  # fmt: skip


@pytest.mark.parametrize("mask", ["alpha", "file"])
def test_our_two_readers_find_the_same_pictures_and_cameras(folder, mask):
    archive = Archive(folder / "objects.zip")
    assert [record.name for record in archive.records] == ["one", "two"]
    assert archive.records[0].caption == "a grey block"
    stored = archive.read(0)
    prepared = read_object(folder / "one", "one", Reading(size=32, mask=mask))
    assert prepared.record.caption == "a grey block"
    if mask == "alpha":
        np.testing.assert_array_equal(prepared.pictures, stored.pictures)
    else:
        np.testing.assert_array_equal(prepared.pictures[..., 3] > 0, stored.pictures[..., 3] >= 128)
    torch.testing.assert_close(prepared.cameras.world_from_camera, stored.cameras.world_from_camera)
    torch.testing.assert_close(prepared.cameras.intrinsics, stored.cameras.intrinsics)


def test_a_transforms_json_is_nerfstudio_s(folder):
    document = json.loads((folder / "two" / "transforms.json").read_text())
    assert document["camera_model"] == "OPENCV"
    assert (document["w"], document["h"], len(document["frames"])) == (32, 32, 5)
    assert {*document} >= {"fl_x", "fl_y", "cx", "cy", "k1", "k2", "p1", "p2"}
    for frame in document["frames"]:
        matrix = np.array(frame["transform_matrix"])
        assert matrix.shape == (4, 4)
        assert np.linalg.det(matrix[:3, :3]) == pytest.approx(1, abs=1e-5)
        toward = -matrix[:3, 2]  # OpenGL looks along -z: at the origin
        np.testing.assert_allclose(toward * np.linalg.norm(matrix[:3, 3]), -matrix[:3, 3], atol=1e-5)
        assert matrix[2, 1] > 0  # y is up in the picture, z in the world
        for key in ("file_path", "mask_path", "depth_file_path"):
            assert (folder / "two" / frame[key]).is_file()
        with Image.open(folder / "two" / frame["mask_path"]) as mask:
            assert mask.mode == "L"
            assert {*np.unique(np.asarray(mask))} == {0, 255}


def test_depths_stand_on_the_block(folder):
    document = json.loads((folder / "two" / "transforms.json").read_text())
    for frame in document["frames"]:
        depth = np.asarray(Image.open(folder / "two" / frame["depth_file_path"])) / 1000
        rows, columns = np.nonzero(depth)
        matrix = np.array(frame["transform_matrix"])
        local = np.stack([(columns + 0.5 - document["cx"]) / document["fl_x"],
                          -(rows + 0.5 - document["cy"]) / document["fl_y"], -np.ones(len(rows))], -1)  # fmt: skip
        points = local * depth[rows, columns, None] @ matrix[:3, :3].T + matrix[:3, 3]
        half = np.array([9, 3, 7]) / 15 + 0.05  # the raw density passes 0 there
        away = (np.abs(points - np.array([0, -2, 0]) / 15) - half).max(1)
        assert np.median(np.abs(away)) < 0.06
        assert away.max() < 0.1


def test_cameras_are_others_for_each_object(folder):
    archive = Archive(folder / "objects.zip")
    first, second = (archive.read(i).cameras for i in range(2))
    assert isinstance(first, Cameras)
    assert not torch.equal(first.world_from_camera, second.world_from_camera)


@pytest.mark.parametrize(("field", "more"), [("views", {"views": 0}), ("size", {"size": 5}), ("size", {"size": 9000})])
def test_bad_numbers_are_named_before_anything_is_made(tmp_path, field, more):
    with pytest.raises(ValueError, match=rf"^{field}: wanted .*; got "):
        as_dataset(iter([block("one")]), tmp_path / "new", **more)
    assert not (tmp_path / "new").exists()


def test_a_file_in_the_place_and_no_objects_are_told(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match=r"output: wanted a folder; got .*file, which is a file"):
        as_dataset([block("one")], tmp_path / "file")
    with pytest.raises(ValueError, match="wanted at least 1 object; got none"):
        as_dataset([block("fog", -50)], tmp_path / "none", views=2, size=16)
    with pytest.raises(ValueError, match="name: wanted one that is not taken; got 'one' again"):
        as_dataset([block("one"), block("one")], tmp_path / "twice", views=2, size=16)
