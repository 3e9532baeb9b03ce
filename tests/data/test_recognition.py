"""A folder's format is told, and by what."""

import foreign
import pytest
import trimesh
from clips import passing
from colmap_files import write_colmap
from foreign_sets import SETS
from PIL import Image
from tiny import THINGS, write_things

from vader3d.cli.main import main
from vader3d.data.named import open_archive
from vader3d.data.reading.readers import READERS
from vader3d.data.recognition import SIGNS, recognised

SIMPLE = {
    "nerfstudio": foreign.write_nerfstudio,
    "srn": foreign.write_srn,
    "eg3d": foreign.write_eg3d,
    "objaverse": foreign.write_objaverse,
    "colmap": lambda folder, views: write_colmap(folder, views, binary=False),
}


@pytest.fixture(scope="module")
def views():
    return foreign.trimesh_views()


@pytest.mark.parametrize("kind", SETS)
def test_data_sets_and_exports_are_told(kind, tmp_path, views):
    write, reader, _ = SETS[kind]
    write(tmp_path / "set", views[:2])
    found = recognised(tmp_path / "set")
    assert found.command == reader
    assert found.others == ()
    assert "set" not in found.why  # names are those below it


@pytest.mark.parametrize("kind", SIMPLE)
def test_posed_pictures_are_told(kind, tmp_path, views):
    SIMPLE[kind](tmp_path / "things" / "a", views[:2])
    assert recognised(tmp_path / "things").command == kind


def test_blender_s_split_files_are_told_and_a_file_alone(tmp_path, views):
    foreign.write_blender(tmp_path / "lego", views)
    found = recognised(tmp_path / "lego")
    assert found.command == "nerfstudio"
    assert found.why == "transforms.json: transforms_test.json and 2 more"
    assert recognised(tmp_path / "lego" / "transforms_train.json").command == "nerfstudio"


def test_meshes_photographs_and_frames_are_told(tmp_path):
    for name in ("meshes/chair.GLB", "photos/chair/IMG_1.JPG", "photos/stool.mov", "cats/train/tom/000.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    for name, command in (("meshes", "meshes"), ("photos", "photos"), ("cats", "video")):
        assert recognised(tmp_path / name).command == command
    assert recognised(tmp_path / "photos" / "stool.mov").command == "video"
    with pytest.raises(ValueError, match=r"got .*IMG_1.JPG with 1 files"):
        recognised(tmp_path / "photos" / "chair" / "IMG_1.JPG")
    (tmp_path / "celebv").mkdir()
    (tmp_path / "celebv" / "celebvtext_info.json").write_text('{"clips": {}}')
    assert recognised(tmp_path / "celebv").command == "video"


def test_other_signs_are_said(tmp_path, views):
    write_colmap(tmp_path / "fern", views[:2], binary=True)
    (tmp_path / "fern" / "poses_bounds.npy").write_bytes(b"")
    found = recognised(tmp_path / "fern")
    assert (found.command, found.others) == ("colmap", ("llff",))


def test_what_nobody_knows_is_told_with_all_that_was_looked_for(tmp_path):
    (tmp_path / "readme.txt").write_text("none")
    with pytest.raises(ValueError, match=r"got .* with 1 files \(readme.txt\)") as error:
        recognised(tmp_path)
    for command in (*READERS, "meshes", "photos", "video"):
        assert f"({command})" in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="which does not exist"):
        recognised(tmp_path / "nowhere")


def test_every_reader_has_a_sign():
    assert {sign.command for sign in SIGNS} == {*READERS, "meshes", "photos", "video"}


def test_the_command_does_what_the_recognised_one_does(tmp_path, views, capsys):
    SETS["llff"][0](tmp_path / "set", views)
    more = ["--size", "24", "--processes", "1"]
    main(["prepare", "auto", str(tmp_path / "set"), "--output", str(tmp_path / "auto.zip"), *more])
    said = capsys.readouterr().out
    assert "poses_bounds.npy: fern/poses_bounds.npy; as vader3d prepare llff" in said
    main(["prepare", "llff", str(tmp_path / "set"), "--output", str(tmp_path / "llff.zip"), *more])
    first, second = (open_archive(tmp_path / f"{name}.zip") for name in ("auto", "llff"))
    assert [record.name for record in first.records] == [record.name for record in second.records] == ["fern"]
    assert (first.read(0).pictures == second.read(0).pictures).all()


def test_the_command_takes_meshes_zips_and_frames(tmp_path, capsys):
    import shutil

    pytest.importorskip("av", reason="clips need PyAV")
    (tmp_path / "meshes").mkdir()
    trimesh.creation.box((1, 2, 3)).export(tmp_path / "meshes" / "box.ply")
    shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "meshes")
    for number, (frame, mask) in enumerate(zip(*passing(8), strict=True)):
        path = tmp_path / "cats" / "train" / "tom" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(frame)
        picture.putalpha(Image.fromarray(mask))
        picture.save(path)
    for name in ("packed.zip", "cats"):
        output = tmp_path / f"{name}.out.zip"
        options = ["--size", "16", "--views", "4", "--processes", "1"]
        main(["prepare", "auto", str(tmp_path / name), "--output", str(output), *options])
        (record,) = open_archive(output).records
        assert record.views == 4
        assert record.posed == (name == "packed.zip")
    write_things(tmp_path / "done.zip", dict(list(THINGS.items())[:1]), views=2, size=8)
    with pytest.raises(SystemExit):
        main(["prepare", "auto", str(tmp_path / "done.zip"), "--output", str(tmp_path / "x.zip")])
    assert "which is one; vader3d inspect it" in capsys.readouterr().err
