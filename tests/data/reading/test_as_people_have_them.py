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


def masks_changed(folder, change):
    for path in (folder / "masks").glob("*"):
        change(np.array(Image.open(path))).save(path)


def labelled(values):
    """A palette picture of label 1, dark red, as VOC's tools write."""
    picture = Image.fromarray((values > 127).astype(np.uint8), "P")
    picture.putpalette([0, 0, 0, 64, 0, 0])
    return picture


def painted(values):
    pixels = np.zeros((*values.shape, 3), np.uint8)
    pixels[values > 127] = (0, 0, 200)
    pixels[: len(pixels) // 2][values[: len(pixels) // 2] > 127] = (255, 0, 0)
    return Image.fromarray(pixels)


MASKS = {
    "0 and 1": lambda v: Image.fromarray((v > 127).astype(np.uint8)),
    "booleans": lambda v: Image.fromarray(v > 127),
    "a palette": labelled,
    "colours of labels": painted,
    "label 15": lambda v: Image.fromarray(np.where(v > 127, 15, 0).astype(np.uint8)),
    "16 bits": lambda v: Image.fromarray(np.where(v > 127, 65535, 0).astype(np.uint16)),
    "black where the object is": lambda v: Image.fromarray(255 - v),
    "the picture cut out": lambda v: Image.fromarray(
        np.dstack([np.indices(v.shape).sum(0) * 2, v, 0 * v, v]).astype(np.uint8)
    ),
    "in alpha": lambda v: Image.fromarray(np.stack([np.full_like(v, 255)] * 3 + [v], -1)),
}


@pytest.mark.parametrize("kind", MASKS)
def test_masks_of_any_range_show_the_object(kind, folder, views):
    masks_changed(folder, MASKS[kind])
    check_marked(prepared(folder)[0], truth=views)


def test_faint_masks_are_scaled_and_soft_ones_kept(tmp_path):
    soft = np.linspace(0, 100, 400).reshape(20, 20).astype(np.uint8)
    Image.fromarray(soft).save(tmp_path / "m.png")
    Image.new("RGB", (20, 20)).save(tmp_path / "p.png")
    faint, _ = masked_picture(tmp_path / "p.png", mask="file", mask_path=tmp_path / "m.png")
    assert faint[..., 3].max() == 255
    Image.fromarray((soft * 2).astype(np.uint8)).save(tmp_path / "m.png")
    kept, _ = masked_picture(tmp_path / "p.png", mask="file", mask_path=tmp_path / "m.png")
    assert np.array_equal(kept[..., 3], soft * 2)


def test_masks_of_half_the_size_are_scaled(tmp_path):
    views = foreign.trimesh_views(size=96)
    folder = foreign.write_nerfstudio(tmp_path / "marked", views)
    masks_changed(folder, lambda v: Image.fromarray(v).resize((48, 48)))
    read, report, _ = prepared(folder, size=96)
    check_marked(read, truth=views, least_iou=0.9)
    assert "masks of another size than their pictures scaled: 1 objects" in report


@pytest.mark.parametrize(
    "name", ["masks/{}.png", "masks/{}.jpg.png", "mask/{}.png", "images/{}_mask.png", "Masks/{}.png", "fg_mask/{}.png"]
)
def test_masks_that_are_not_listed_are_found_by_name(name, folder, views):
    edit(folder, each(lambda frame: frame.pop("mask_path")))
    shutil.move(folder / "masks", folder / "old")
    for path in (folder / "images").glob("*"):
        Image.open(path).save(path.with_suffix(".jpg"), quality=95)
        path.unlink()
    edit(folder, each(lambda frame: frame.update(file_path=frame["file_path"].replace(".png", ".jpg"))))
    for path in (folder / "old").glob("*"):
        target = folder / name.format(path.stem)
        target.parent.mkdir(exist_ok=True)
        shutil.copy(path, target)
    read, report, _ = prepared(folder)
    check_marked(read, truth=views, least_iou=1.0)
    assert "plain background" not in report


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


def test_a_zip_writes_nothing_elsewhere(tmp_path):
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as opened:
        opened.writestr("../../outside.json", "{}")
    with pytest.raises(ValueError, match=r"bad.zip: zip: wanted names of files in it; got '../../outside.json'"):
        prepared(tmp_path / "bad.zip")


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
