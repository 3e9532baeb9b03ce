"""Folders that say the same in other words: names of lenses, paths, numbers and places of masks."""

import json
import shutil
from unicodedata import normalize

import foreign
import numpy as np
import pytest
from colmap_files import write_colmap
from marked import check_marked, each, edit, prepared
from PIL import Image

from vader3d.data.reading.colmap import COLMAP
from vader3d.data.reading.eg3d import EG3D
from vader3d.data.reading.srn import SRN

FOCAL, HALF = foreign.focal_px(), foreign.SIZE / 2
LENSES = {
    "fx and fy": {"fx": FOCAL, "fy": FOCAL},
    "focal": {"focal": FOCAL},
    "K": {"K": [[FOCAL, 0, HALF], [0, FOCAL, HALF], [0, 0, 1]]},
    "a matrix of 4 x 4": {"intrinsics": np.diag([FOCAL, FOCAL, 1, 1]).tolist(), "cx": HALF, "cy": HALF},
}


@pytest.mark.parametrize("kind", LENSES)
def test_lenses_by_other_names(kind, folder, views):
    edit(folder, lambda document: [document.pop(name) for name in ("fl_x", "fl_y", "cx", "cy")])
    edit(folder, lambda document: document.update(LENSES[kind]))
    read, _, _ = prepared(folder)
    check_marked(read, truth=views)


def test_a_middle_in_shares_of_the_picture_is_named(folder):
    edit(folder, lambda document: document.update(cx=0.5))
    with pytest.raises(ValueError, match=r"cx: wanted px of 48; got 0\.5, which looks like a share of it"):
        prepared(folder)


PATHS = {
    "a blank in a folder": ("my images", "my%20images/{}"),
    "letters and their marks": (normalize("NFD", "Möbel"), normalize("NFC", "Möbel") + "/{}"),
    "letters of their own": (normalize("NFC", "Möbel"), normalize("NFD", "Möbel") + "/{}"),
}


@pytest.mark.parametrize("kind", PATHS)
def test_paths_may_be_spelt_otherwise(kind, folder, views):
    place, name = PATHS[kind]
    (folder / "images").rename(folder / place)
    edit(folder, each(lambda frame: frame.update(file_path=name.format(frame["file_path"].split("/")[1]))))
    check_marked(prepared(folder)[0], truth=views)


def test_pictures_of_raw_formats_may_have_been_saved_anew(folder, views):
    edit(folder, each(lambda frame: frame.update(file_path=frame["file_path"].replace(".png", ".exr"))))
    check_marked(prepared(folder)[0], truth=views)


def test_a_document_in_a_folder_beside_its_pictures(folder, views):
    (folder / "cameras").mkdir()
    shutil.move(folder / "transforms.json", folder / "cameras" / "transforms.json")

    def from_there(frame):
        frame.update(file_path=f"../{frame['file_path']}", mask_path=f"../{frame['mask_path']}")

    edit(folder / "cameras", each(from_there))
    check_marked(prepared(folder)[0], truth=views)
    with pytest.raises(ValueError, match=r"wanted files in .*cameras or below; got .*prepare the folder that holds"):
        prepared(folder / "cameras")


def test_another_json_is_said(folder):
    (folder / "transforms.json").rename(folder / "poses.json")
    with pytest.raises(ValueError, match=r"or below; got none; if it is poses\.json, give that file"):
        prepared(folder)


def test_a_pose_of_zeros_costs_its_view(folder):
    edit(folder, lambda document: document["frames"][2].update(transform_matrix=np.zeros((4, 4)).tolist()))
    read, report, _ = prepared(folder)
    check_marked(read, views=6)
    assert "1 of 7 views left out, the first: frame_00002.png: wanted a pose" in report


@pytest.mark.parametrize("value", [0, 255])
def test_a_mask_that_failed_costs_its_view(value, folder):
    Image.new("L", (foreign.SIZE, foreign.SIZE), value).save(folder / "masks" / "frame_00002.png")
    whole = prepared(folder)
    check_marked(whole[0], views=6)
    assert "1 of 7 views left out, whose masks are empty or full: 1 objects" in whole[1]
    assert "cameras alone" not in whole[1]


def test_masks_may_be_counted_from_one(folder, views):
    edit(folder, each(lambda frame: frame.pop("mask_path")))
    for number, path in reversed([*enumerate(sorted((folder / "masks").glob("*")))]):
        path.rename(folder / "masks" / f"mask{number + 1:03d}.png")
    check_marked(prepared(folder)[0], truth=views, least_iou=1.0)


@pytest.mark.parametrize("name", ["train_masks", "masks_train", "masks/train"])
def test_masks_may_lie_beside_a_split(name, folder, views):
    (folder / "images").rename(folder / "train")
    (folder / "masks").rename(folder / "kept")
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / "kept").rename(folder / name)

    def elsewhere(frame):
        frame.update(file_path=frame["file_path"].replace("images", "train"))
        frame.pop("mask_path")

    edit(folder, each(elsewhere))
    read, report, _ = prepared(folder)
    check_marked(read, truth=views, least_iou=1.0)
    assert "plain background" not in report


@pytest.mark.parametrize("place", ["sparse_text", "colmap_text", "model"])
def test_colmap_s_models_may_lie_in_other_folders(place, tmp_path, views):
    write_colmap(tmp_path / "marked", views, binary=False)
    (tmp_path / "marked" / "sparse" / "0").rename(tmp_path / "marked" / place)
    (tmp_path / "marked" / "images").rename(tmp_path / "marked" / "photos")
    for path in (tmp_path / "marked" / "photos").glob("*"):
        Image.open(path).save(path.with_suffix(".TIFF"))
        path.unlink()
    check_marked(prepared(tmp_path / "marked", COLMAP)[0], truth=views, least_iou=0.9)


@pytest.mark.parametrize("inner", ["distorted", "dense/0"])
def test_colmap_s_pictures_may_lie_above_a_model_s_folder(inner, tmp_path, views):
    folder = write_colmap(tmp_path / "marked", views, binary=False)
    (folder / inner).mkdir(parents=True)
    shutil.move(folder / "sparse", folder / inner / "sparse")
    check_marked(prepared(folder, COLMAP)[0], truth=views)
    shutil.copytree(folder / inner / "sparse", folder / "sparse")
    _, report, archive = prepared(folder, COLMAP)
    assert [record.name for record in archive.records] == ["marked"]
    assert "skipped" not in report


def test_the_largest_of_colmap_s_models_is_read(tmp_path, views):
    folder = write_colmap(tmp_path / "marked", views, binary=False)
    shutil.move(folder / "sparse" / "0", folder / "sparse" / "1")
    shutil.move(write_colmap(tmp_path / "small", views[:3], binary=False) / "sparse" / "0", folder / "sparse" / "0")
    check_marked(prepared(folder, COLMAP)[0], truth=views)


INTRINSICS = {
    "fx fy cx cy": f"{FOCAL} {FOCAL} {HALF} {HALF}\n",
    "and zeros": f"{FOCAL} {FOCAL} {HALF} {HALF}\n0. 0. 0.\n1.\n48 48\n",
    "one below the other": f"{FOCAL}\n{FOCAL}\n{HALF}\n{HALF}\n",
    "commas": f"{FOCAL}, {FOCAL}, {HALF}, {HALF}\n48, 48\n",
    "shares": f"{FOCAL / 48} 0.5 0.5 0.\n0. 0. 0.\n1.\n48 48\n",
    "decimal commas": f"{FOCAL} {HALF} {HALF} 0.\n48 48\n".replace(".", ","),
    "a size of decimals": f"{FOCAL} {HALF} {HALF} 0.\n0. 0. 0.\n1.\n48.0 48.0\n",
}


@pytest.mark.parametrize("kind", INTRINSICS)
def test_srn_s_lenses_may_be_written_otherwise(kind, tmp_path, views):
    folder = foreign.write_srn(tmp_path / "marked", views)
    (folder / "intrinsics.txt").write_text(INTRINSICS[kind])
    check_marked(prepared(folder, SRN)[0], truth=views)


def in_px(label):
    return [*label[:16], FOCAL, 0, HALF, 0, FOCAL, HALF, 0, 0, 1]


LABELS = {
    "labels by names": lambda labels: {"labels": dict(labels)},
    "names alone": lambda labels: dict(labels),
    "a list": lambda labels: labels,
    "px": lambda labels: {"labels": [[name, in_px(label)] for name, label in labels]},
    "columns": lambda labels: {
        "labels": [[name, [*np.reshape(label[:16], (4, 4)).T.ravel().tolist(), *label[16:]]] for name, label in labels]
    },
}


@pytest.mark.parametrize("kind", LABELS)
def test_eg3d_s_labels_may_be_written_otherwise(kind, tmp_path, views):
    foreign.write_eg3d(tmp_path / "data" / "marked", views)
    path = tmp_path / "data" / "dataset.json"
    path.write_text(json.dumps(LABELS[kind](json.loads(path.read_text())["labels"])))
    check_marked(prepared(tmp_path / "data", EG3D)[0], truth=views)
