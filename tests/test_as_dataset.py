"""Generated objects as a data set: our readers, and nerfstudio's rules, take it."""

import json

import numpy as np
import pytest
import torch
from judged_models import write_model
from PIL import Image
from tiny import write_things

from vader3d.assets import Asset, as_dataset
from vader3d.cli.main import main
from vader3d.data.archive.reader import Archive
from vader3d.data.reading.nerfstudio import read_object
from vader3d.data.reading.reader import Reading
from vader3d.export.provenance import read_provenance
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


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    place = tmp_path_factory.mktemp("model")
    return write_model(place, write_things(place / "things.zip", views=6))


def generate(model, output, *more: str) -> None:
    command = ["generate", "--model", str(model), "--output", str(output), "--steps", "1", "--device", "cpu"]
    main([*command, "--views", "3", "--size", "24", *more])


def test_the_command_makes_a_data_set_that_our_commands_read(model, tmp_path, capsys):
    generate(model, tmp_path / "new", "--count", "2", "--seed", "7", "--as-dataset")
    assert capsys.readouterr().out.startswith(f"{tmp_path / 'new' / 'objects.zip'}: 2 objects, each also a folder")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["objects.zip", "seed7-000", "seed7-001"]
    main(["prepare", "nerfstudio", str(tmp_path / "new"), "--size", "24", "--output", str(tmp_path / "again.zip")])
    ours, theirs = Archive(tmp_path / "new" / "objects.zip"), Archive(tmp_path / "again.zip")
    assert [record.name for record in ours.records] == [record.name for record in theirs.records]
    for index in range(2):
        apart = np.abs(ours.read(index).pictures.astype(int) - theirs.read(index).pictures)
        assert apart.max() <= 16  # where a picture's border cuts the object, which is drawn anew there
        assert (apart > 0).mean() < 0.002
    assert ours.resolution == (24, 24)
    assert ours.records[0].views == 3


def test_an_object_of_the_data_set_can_be_made_again(model, tmp_path, capsys):
    generate(model, tmp_path / "files", "--count", "2", "--formats", "ply")
    generate(model, tmp_path / "new", "--count", "2", "--as-dataset", "--format", "json")
    printed = capsys.readouterr().out
    said = json.loads(printed[printed.index("{") :])
    scene = said["scenes"]["seed0-001"]
    assert read_provenance(scene) == read_provenance(tmp_path / "files" / "seed0-001.ply")
    generate(model, tmp_path / "again", "--again", scene, "--formats", "ply")
    files = [tmp_path / place / "seed0-001.ply" for place in ("files", "again")]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize("text", ["[]", "{}", '{"vader3d": 3}', "{"])
def test_a_json_file_of_another_making_is_refused(tmp_path, text):
    (tmp_path / "transforms.json").write_text(text)
    with pytest.raises(ValueError, match=r"transforms\.json: (provenance: )?wanted "):
        read_provenance(tmp_path / "transforms.json")


def test_numbers_of_the_data_set_are_refused_by_the_command(model, tmp_path, capsys):
    with pytest.raises(SystemExit):
        generate(model, tmp_path / "new", "--as-dataset", "--views", "0")
    assert capsys.readouterr().err == "error: views: wanted at least 1; got 0\n"
    assert not (tmp_path / "new").exists()
