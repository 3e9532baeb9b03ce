"""Posed pictures as people have them: what is odd about them costs nothing, and the report says it."""

import shutil
import zipfile

import foreign
import numpy as np
import pytest
from marked import check_marked, each, edit, prepared
from PIL import Image

from vader3d.data.named import open_archive
from vader3d.data.reading.nerfstudio import NERFSTUDIO
from vader3d.data.reading.pictures import masked_picture
from vader3d.data.reading.srn import SRN

LEFT_OUT = [("images", "frames without their pictures"), ("masks", "pictures without masks")]


@pytest.mark.parametrize(("kind", "what"), LEFT_OUT)
def test_a_few_missing_files_cost_their_frames_only(kind, what, folder):
    (folder / kind / "frame_00002.png").unlink()
    read, report, _ = prepared(folder)
    check_marked(read, views=6)
    assert f"1 of 7 {what} left out: 1 objects" in report


def test_a_split_that_was_never_rendered_is_left_out(tmp_path, views):
    folder = foreign.write_blender(tmp_path / "marked", views)
    shutil.rmtree(folder / "test")
    read, report, _ = prepared(folder)
    check_marked(read, views=6)
    assert "1 of 7 frames without their pictures left out" in report


GROUNDS = {"white": (255, 255, 255), "black": (0, 0, 0), "green": (30, 200, 60)}


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("ground", GROUNDS)
def test_a_plain_background_of_any_colour_is_taken_away(ground, suffix, tmp_path):
    views = foreign.trimesh_views(size=128)
    folder = foreign.write_nerfstudio(tmp_path / "marked", views)
    shutil.rmtree(folder / "masks")
    for path, view in zip(sorted((folder / "images").glob("*")), views, strict=True):
        alpha = view.picture[..., 3:] / 255
        pixels = np.rint(view.picture[..., :3] * alpha + np.array(GROUNDS[ground]) * (1 - alpha)).astype(np.uint8)
        path.unlink()
        Image.fromarray(pixels).save(path.with_suffix(f".{suffix}"), quality=85)
    edit(folder, each(lambda frame: frame.update(file_path=frame["file_path"].replace(".png", f".{suffix}"))))
    read, report, _ = prepared(folder, size=128)
    check_marked(read, truth=views, least_iou=0.9 if suffix == "jpg" else 0.99)  # of 40 px: a third of a pixel's rim
    assert "masks made from the plain background" in report
    rim = read[0][..., :3][read[0][..., 3] >= 128].astype(int)
    greys = np.abs(rim - (110, 115, 120)).max(-1) < 60
    reds = np.abs(rim - (240, 10, 10)).max(-1) < 90
    assert (greys | reds).mean() > 0.99  # no rim of the background


def test_a_wall_that_is_lit_unevenly_is_told_from_the_object(tmp_path):
    (view,) = foreign.trimesh_views(size=96)[:1]
    y, x = np.meshgrid(np.linspace(0, 1, 96), np.linspace(0, 1, 96), indexing="ij")
    wall = 205 - 25 * ((x - 0.4) ** 2 + (y - 0.5) ** 2)[..., None] * np.array([1, 1.05, 1.15])
    noise = np.random.default_rng(0).normal(0, 1.5, wall.shape)
    pixels = np.where(view.picture[..., 3:] > 0, view.picture[..., :3], wall + noise).clip(0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "p.jpg", quality=90)
    cut = masked_picture(tmp_path / "p.jpg", mask="auto")[0][..., 3] >= 128
    true = view.picture[..., 3] > 0
    assert (cut & true).sum() > 0.97 * (cut | true).sum()


def test_what_a_background_shines_through_is_background(tmp_path):
    pixels = np.full((40, 40, 3), 250, np.uint8)
    pixels[8:32, 8:32] = (90, 30, 30)
    pixels[16:24, 16:24] = 250
    Image.fromarray(pixels).save(tmp_path / "ring.png")
    alpha = masked_picture(tmp_path / "ring.png", mask="plain")[0][..., 3]
    assert alpha[20, 20] == 0
    assert alpha[12, 20] == 255


PATHS = {
    "backslashes": lambda name: name.replace("/", "\\"),
    "another machine": lambda name: f"/home/somebody/data/lego/{name}",
    "Windows": lambda name: "C:\\Users\\me\\data\\" + name.replace("/", "\\"),
    "a folder above": lambda name: f"../marked/{name}",
    "the data set's folder": lambda name: f"./data/marked/{name}",
    "other case": lambda name: name.upper().replace("IMAGES/", "images/").replace("MASKS/", "masks/"),
    "no suffix": lambda name: name.removesuffix(".png"),
}


@pytest.mark.parametrize("kind", PATHS)
def test_paths_of_other_machines_lead_here(kind, folder, views):
    edit(folder, each(lambda frame: frame.update(file_path=PATHS[kind](frame["file_path"]))))
    check_marked(prepared(folder)[0], truth=views)


def test_a_suffix_in_capitals_may_be_left_out(folder, views):
    for path in (folder / "images").glob("*"):
        Image.open(path).save(path.with_suffix(".JPG"), "JPEG", quality=95)
        path.unlink()
    edit(folder, each(lambda frame: frame.update(file_path=frame["file_path"].removesuffix(".png"))))
    check_marked(prepared(folder)[0], truth=views)


def test_a_byte_order_mark_and_litter_do_no_harm(folder):
    path = folder / "transforms.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    (folder.parent / "__MACOSX" / "marked").mkdir(parents=True)
    for place in (folder.parent / "__MACOSX" / "marked" / "transforms.json", folder / "._transforms.json"):
        place.write_bytes(b"\0\5\x16\7")
    read, report, _ = prepared(folder.parent)
    check_marked(read)
    assert "skipped" not in report


def test_litter_beside_srn_pictures_is_no_picture(tmp_path, views):
    folder = foreign.write_srn(tmp_path / "marked", views)
    (folder / "rgb" / "._000000.png").write_bytes(b"\0\5\x16\7")
    check_marked(prepared(folder, SRN)[0])


def test_pictures_of_two_sizes_are_one_object(folder, views):
    for kind in ("images", "masks"):
        path = folder / kind / "frame_00003.png"
        Image.open(path).resize((96, 96)).save(path)
    check_marked(prepared(folder)[0], truth=views, least_iou=0.9)


def test_a_scale_in_rotations_is_taken_out(folder):
    def scaled(frame):
        frame["transform_matrix"] = (np.array(frame["transform_matrix"]) @ np.diag([0.4, 0.4, 0.4, 1])).tolist()

    edit(folder, each(scaled))
    read, report, _ = prepared(folder)
    check_marked(read)
    assert "a scale of 0.4 taken out of their rotations" in report


def test_a_zip_and_the_file_itself_are_sources(folder, views):
    with zipfile.ZipFile(folder.parent / "things.zip", "w") as opened:
        for path in sorted(folder.rglob("*")):
            opened.write(path, path.relative_to(folder))
        opened.writestr("__MACOSX/._transforms.json", b"\0")
    read, _, archive = prepared(folder.parent / "things.zip")
    check_marked(read, truth=views)
    assert [record.name for record in archive.records] == ["things"]
    read, _, archive = prepared(folder / "transforms.json")
    assert [record.name for record in archive.records] == ["marked"]
    check_marked(read, truth=views)


def test_one_split_alone_may_be_given(tmp_path, views):
    folder = foreign.write_blender(tmp_path / "marked", views)
    assert len(prepared(folder / "transforms_train.json")[0].pictures) == 5


def test_captions_and_splits_beside_the_objects_are_read(tmp_path, views):
    for split, name in (("cars_train", "red_chair"), ("cars_train", "b"), ("cars_test", "c")):
        foreign.write_srn(tmp_path / "data" / split / name, views)
    (tmp_path / "data" / "captions.csv").write_text("name,caption\ncars_train/red_chair,a red chair\n")
    (tmp_path / "data" / "metadata.jsonl").write_text('{"file_name": "cars_train/b", "text": "a blue one"}\n')
    (tmp_path / "data" / "metadata.csv").write_text('"')
    _, report, archive = prepared(tmp_path / "data", SRN, size=16)
    said = {record.name: record.caption for record in archive.records}
    assert said["cars_train.red_chair"] == "a red chair"
    assert said["cars_train.b"] == "a blue one"
    assert {k: sorted(archive.records[i].name for i in v) for k, v in archive.subsets.items()} == {
        "train": ["cars_train.b", "cars_train.red_chair"],
        "test": ["cars_test.c"],
    }
    assert "captions not read: " in report


def test_srn_poses_of_twelve_numbers_and_intrinsics_for_all(tmp_path, views):
    folder = foreign.write_srn(tmp_path / "cars" / "a", views)
    shutil.move(folder / "intrinsics.txt", tmp_path / "cars" / "intrinsics.txt")
    for path in (folder / "pose").glob("*"):
        path.write_text(" ".join(path.read_text().split()[:12]))
    read, _, archive = prepared(tmp_path / "cars", SRN)
    check_marked(read)
    assert [record.name for record in archive.records] == ["a"]


def test_what_a_frame_says_as_nothing_is_as_if_it_were_not_there(folder, views):
    edit(folder, lambda document: document.update(k1=None, w=None))
    edit(folder, each(lambda frame: frame.update(fl_x=None, mask_path=None)))
    edit(folder, lambda document: document.update(camera_angle_y=np.deg2rad(foreign.FOV_DEGREES)))
    edit(folder, lambda document: [document.pop(key) for key in ("fl_x", "fl_y")] and None)
    check_marked(prepared(folder)[0], truth=views)


@pytest.mark.parametrize("names", [("data",), ("one", "two")])
def test_a_folder_of_zips_is_read_as_what_is_in_them(names, folder, views, tmp_path):
    (tmp_path / "packed").mkdir()
    for name in names:
        with zipfile.ZipFile(tmp_path / "packed" / f"{name}.zip", "w") as packed:
            for path in folder.rglob("*"):
                packed.write(path, path.relative_to(folder))
    foreign.prepare(NERFSTUDIO, tmp_path / "packed", tmp_path / "out.zip", size=foreign.SIZE)
    archive = open_archive(tmp_path / "out.zip")
    assert sorted(record.name for record in archive.records) == list(names)
    check_marked(archive.read(0), truth=views)


MATRICES = {
    "16 numbers": lambda m: m.ravel(),
    "12 numbers": lambda m: m[:3].ravel(),
    "columns": lambda m: m.T,
    "16 numbers, column by column": lambda m: m.T.ravel(),
}


@pytest.mark.parametrize("kind", MATRICES)
def test_a_matrix_may_be_written_otherwise(kind, folder, views):
    edit(folder, each(lambda f: f.update(transform_matrix=MATRICES[kind](np.array(f["transform_matrix"])).tolist())))
    check_marked(prepared(folder)[0], truth=views)


def test_worlds_of_maps_coordinates_keep_their_digits(folder, views):
    away = np.array([500_120.25, 5_400_003.5, 212.0])

    def move(frame):
        matrix = np.array(frame["transform_matrix"])
        matrix[:3, 3] += away
        frame.update(transform_matrix=matrix.tolist())

    near = prepared(folder)[0].cameras.world_from_camera
    edit(folder, each(move))
    read, report, _ = prepared(folder)
    assert (read.cameras.world_from_camera - near).abs().max() < 1e-3
    assert "offset (500120." in report
    given = prepared(folder, scale=1.0, offset=tuple(away))[0]
    assert np.abs(given.cameras.centres.numpy()).max() < 3
    assert check_marked(given, truth=views) == pytest.approx(foreign.MARK, abs=0.03)


@pytest.mark.parametrize("orientation", [6, 8])
def test_a_photograph_that_lies_is_turned_where_its_file_says_how_it_stands(orientation, folder, views):
    """Declared upright, stored lying, as a phone does; declared as stored it stays."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    for kind in ("images", "masks"):
        for path in (folder / kind).glob("*"):
            tall = Image.new("RGB" if kind == "images" else "L", (48, 64), "white" if kind == "images" else 0)
            tall.paste(Image.open(path), (0, 8))
            path.unlink()
            if kind == "masks":
                tall.save(path)
            else:
                lying = tall.rotate(90 if orientation == 6 else -90, expand=True)
                lying.save(path.with_suffix(".jpg"), quality=97, subsampling=0, exif=exif)
    edit(folder, each(lambda frame: frame.update(file_path=frame["file_path"].replace(".png", ".jpg"))))
    edit(folder, lambda document: document.update(h=64, cy=32))
    read, _, _ = prepared(folder, size=64)
    check_marked(read)
    for picture, own in zip(read.pictures, views, strict=True):
        assert np.array_equal(picture[8:56, 8:56, 3] >= 128, own.picture[..., 3] >= 128)


def test_what_exif_says_of_a_picture_as_declared_counts_for_nothing(folder, views):
    exif = Image.Exif()
    exif[0x0112] = 6
    for path in (folder / "images").glob("*"):
        Image.open(path).save(path, exif=exif)
    check_marked(prepared(folder)[0], truth=views)


def test_pictures_saved_anew_and_blanks_in_names_are_found(folder, views):
    for path in (folder / "images").glob("*"):
        Image.open(path).save(path.with_name(path.stem.replace("_", " ") + ".jpg"), quality=97, subsampling=0)
        path.unlink()
    for path in (folder / "masks").glob("*"):
        path.rename(path.with_name(path.name.replace("_", " ")))
    edit(folder, each(lambda f: f.update(file_path=f["file_path"].replace("_", "%20"), mask_path=None)))
    check_marked(prepared(folder)[0], truth=views)


def test_smaller_copies_serve_where_the_pictures_are_not_there(folder, views):
    for kind in ("images", "masks"):
        (folder / kind).rename(folder / f"{kind}_2")
    check_marked(prepared(folder)[0], truth=views)


def test_grey_photographs_of_16_bits_are_not_cut(tmp_path):
    grey = np.arange(256, dtype=np.uint16).reshape(16, 16) * 257
    Image.fromarray(grey).save(tmp_path / "p.png")
    Image.fromarray(np.pad(np.full((8, 8), 255, np.uint8), 4)).save(tmp_path / "m.png")
    pixels, _ = masked_picture(tmp_path / "p.png", mask="file", mask_path=tmp_path / "m.png")
    assert np.array_equal(pixels[..., 0], grey // 257)


@pytest.mark.parametrize("size", [3, 4])
def test_srn_s_relatives_have_a_matrix_for_a_lens(size, tmp_path, views):
    folder = foreign.write_srn(tmp_path / "marked", views)
    focal = foreign.focal_px()
    matrix = np.eye(size)
    matrix[:2, :3] = [[focal, 0, 24], [0, focal, 24]]
    np.savetxt(folder / "intrinsics.txt", matrix)
    check_marked(prepared(folder, SRN)[0], truth=views)


def test_a_focal_length_in_shares_of_the_picture_is_named(folder):
    edit(folder, lambda document: document.update(fl_x=1.4, fl_y=1.4, cx=0.5, cy=0.5))
    with pytest.raises(ValueError, match=r"fl_x: wanted px of 48; got 1.4, which looks like a share of it"):
        prepared(folder)
