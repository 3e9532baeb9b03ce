"""Photographs that viewers turn, and pictures of other sizes than lenses are for."""

import shutil

import foreign
import numpy as np
import pytest
from marked import check_marked, each, edit, prepared
from PIL import Image

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    6: Image.Transpose.ROTATE_90,
}


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("orientation", TURNS)
def test_pictures_are_turned_as_viewers_do_unless_colours_tell_otherwise(orientation, stored, folder, views):
    """Declared for the pictures as viewers show them, or as they lie in the files."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    for path in (folder / "images").glob("*"):
        picture = Image.open(path)
        (picture if stored else picture.transpose(TURNS[orientation])).save(
            path.with_suffix(".webp"), lossless=True, exif=exif
        )
        path.unlink()
    edit(folder, each(lambda frame: frame.update(file_path=frame["file_path"].replace(".png", ".webp"))))
    read, _, _ = prepared(folder)
    check_marked(read, truth=views)
    for picture, own in zip(read.pictures, views, strict=True):
        solid = own.picture[..., 3] >= 128
        assert np.abs(picture[solid, :3].astype(int) - own.picture[solid, :3]).mean() < 1


@pytest.mark.parametrize("known", ["cx and cy", "the folder", "the larger pictures"])
def test_lenses_for_larger_pictures_are_scaled_where_that_can_be_told(known, folder, views):
    for kind in ("images", "masks"):
        shutil.copytree(folder / kind, folder / f"{kind}_2")
        for path in (folder / f"{kind}_2").glob("*"):
            Image.open(path).resize((24, 24), Image.Resampling.BOX).save(path)
        if known != "the larger pictures":
            shutil.rmtree(folder / kind)
    names = ("w", "h") if known == "cx and cy" else ("w", "h", "cx", "cy")
    edit(folder, lambda document: [document.pop(name) for name in names] and None)
    edit(folder, each(lambda frame: frame.update(file_path=frame["file_path"].replace("images", "images_2"))))
    edit(folder, each(lambda frame: frame.pop("mask_path")))
    read, report, _ = prepared(folder, size=24)
    assert "pictures of 1/2 of the size that their lenses are for" in report
    focal = read.cameras.intrinsics[:, 0].numpy()
    assert np.allclose(focal, foreign.focal_px() / 2)


def only_focal(folder, factor, **more):
    """The document says nothing but focal lengths, for pictures that are so many times as large as these."""
    names = ("w", "h", "cx", "cy")
    edit(folder, lambda document: [document.pop(name) for name in names] and None)
    edit(folder, lambda document: document.update(fl_x=factor * document.pop("fl_x"), **more))
    edit(folder, lambda document: document.pop("fl_y") and None)


@pytest.mark.parametrize("factor", [1, 2, 4, 0.5])
def test_masks_and_colours_tell_what_size_focal_lengths_are_for(factor, folder, views):
    only_focal(folder, factor)
    read, report, _ = prepared(folder)
    assert np.allclose(read.cameras.intrinsics[:, 0].numpy(), foreign.focal_px())
    assert (f"lenses: for pictures of {factor:g} times this size" in report) == (factor != 1)


@pytest.mark.parametrize("factor", [1, 2])
def test_an_angle_beside_a_focal_length_tells_its_size(factor, folder, views):
    edit(folder, lambda document: document.update(frames=document["frames"][:4]))
    only_focal(folder, factor, camera_angle_x=float(np.deg2rad(foreign.FOV_DEGREES)))
    read, report, _ = prepared(folder)
    assert np.allclose(read.cameras.intrinsics[:, 0].numpy(), foreign.focal_px())
    assert "lenses: nothing" not in report


def test_an_angle_in_degrees_beside_a_focal_length_tells_nothing(folder, views):
    only_focal(folder, 1, camera_angle_x=foreign.FOV_DEGREES)
    read, _, _ = prepared(folder)
    assert np.allclose(read.cameras.intrinsics[:, 0].numpy(), foreign.focal_px())


@pytest.mark.parametrize("factor", [1, 2])
def test_exif_tells_the_size_of_a_focal_length(factor, folder, views):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = round(36 * foreign.focal_px() / foreign.SIZE)
    for path in (folder / "images").glob("*"):
        Image.open(path).save(path.with_suffix(".jpg"), quality=98, exif=exif)
        path.unlink()
    edit(folder, lambda document: document.update(frames=document["frames"][:4]))
    edit(folder, each(lambda frame: frame.update(file_path=frame["file_path"].replace(".png", ".jpg"))))
    only_focal(folder, factor)
    read, report, _ = prepared(folder)
    assert np.allclose(read.cameras.intrinsics[:, 0].numpy(), foreign.focal_px())
    assert "lenses: nothing" not in report


def test_a_focal_length_of_no_known_size_is_doubted(folder):
    edit(folder, lambda document: document.update(frames=document["frames"][:4]))
    only_focal(folder, 2)
    _, report, _ = prepared(folder)
    assert "lenses: nothing says for which picture size their px are" in report


@pytest.mark.parametrize("side", ["w", "h"])
def test_one_side_is_enough(side, folder, views):
    only_focal(folder, 2, **{side: 2 * foreign.SIZE})
    read, _, _ = prepared(folder)
    assert np.allclose(read.cameras.intrinsics[:, 0].numpy(), foreign.focal_px())
