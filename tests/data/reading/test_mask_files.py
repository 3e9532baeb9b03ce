"""Mask files as people have them: of any range, called after the habits of other software."""

import shutil

import foreign
import numpy as np
import pytest
from marked import check_marked, each, edit, prepared
from PIL import Image
from scipy.ndimage import binary_dilation

from vader3d.data.reading.pictures import masked_picture


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
    "soft, of 16 bits": lambda v: Image.fromarray(
        np.where(v > 127, 65535, np.where(binary_dilation(v > 127), 9000, 0)).astype(np.uint16)
    ),
    "16 bits": lambda v: Image.fromarray(np.where(v > 127, 65535, 0).astype(np.uint16)),
    "black where the object is": lambda v: Image.fromarray(255 - v),
    "the picture cut out": lambda v: Image.fromarray(
        np.dstack([np.indices(v.shape).sum(0) * 2, v, 0 * v, v]).astype(np.uint8)
    ),
    "label 15 within a rim of 255": lambda v: Image.fromarray(
        np.where(v > 127, 15, np.where(binary_dilation(v > 127), 255, 0)).astype(np.uint8)
    ),
    "two labels": lambda v: Image.fromarray(
        np.where(v > 127, np.where(np.indices(v.shape)[0] > 24, 38, 150), 0).astype(np.uint8)
    ),
    "0 and 128": lambda v: Image.fromarray(np.where(v > 127, 128, 0).astype(np.uint8)),
    "3 around 7": lambda v: Image.fromarray(np.where(v > 127, 7, 3).astype(np.uint8)),
    "yellow on violet": lambda v: Image.fromarray(
        np.where((v > 127)[..., None], (253, 231, 37), (68, 1, 84)).astype(np.uint8)
    ),
    "in alpha": lambda v: Image.fromarray(np.stack([np.full_like(v, 255)] * 3 + [v], -1)),
}


@pytest.mark.parametrize("kind", MASKS)
def test_masks_of_any_range_show_the_object(kind, folder, views):
    masks_changed(folder, MASKS[kind])
    read = prepared(folder)[0]
    check_marked(read, truth=views)
    assert (read[0][..., 3] >= 250).any((1, 2)).all()


def test_a_photograph_cut_out_of_white_is_a_mask(folder, views):
    """With dark parts and noise, as a tool that removes backgrounds saves JPEGs."""
    rng = np.random.default_rng(0)

    def cut(values):
        pixels = np.where(values[..., None] > 127, rng.integers(0, 160, (*values.shape, 3)), 255)
        return Image.fromarray(pixels.astype(np.uint8))

    masks_changed(folder, cut)
    check_marked(prepared(folder)[0], truth=views, least_iou=0.9)


def test_full_masks_are_none(folder):
    masks_changed(folder, lambda v: Image.fromarray(np.full_like(v, 255)))
    with pytest.raises(ValueError, match="masks: wanted an object before something else; got none, all are full"):
        prepared(folder)


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
    "name",
    [
        *("masks/{}.png", "masks/{}.jpg.png", "mask/{}.png", "images/{}_mask.png", "Masks/{}.png", "fg_mask/{}.png"),
        *("masks/{}_mask.png", "mask/{}.mask.png", "images_mask/{}.png", "image_masks/{}.png", "sam_masks/{}.PNG"),
        *("images/{}_seg.png", "images/{}-removebg-preview.png", "images/{}_Alpha.png", "masks/images/{}.png"),
    ],
)
def test_masks_that_are_not_listed_are_found_by_name(name, folder, views):
    mask_by_name(name, folder)
    read, report, _ = prepared(folder)
    check_marked(read, truth=views, least_iou=1.0)
    assert "plain background" not in report


@pytest.mark.parametrize("name", ["masks/{:04d}.png", "masks/mask_{}.jpg", "alpha/a{:d}.png"])
def test_masks_are_found_by_the_number_that_they_alone_have(name, folder, views):
    mask_by_name("kept/{}.png", folder)
    for number, path in enumerate(sorted((folder / "kept").glob("*"))):
        target = folder / name.format(number)
        target.parent.mkdir(exist_ok=True)
        Image.open(path).save(target)
    read, report, _ = prepared(folder)
    check_marked(read, truth=views, least_iou=0.95)
    assert "plain background" not in report


@pytest.mark.parametrize("name", ["depth_masks/{}.png", "sky_mask/{}.png", "labels/{}.txt"])
def test_what_masks_something_else_is_not_taken(name, folder):
    mask_by_name(name, folder)
    assert "masks made from the plain background" in prepared(folder)[1]


@pytest.mark.parametrize("key", ["mask_file_path", "mask", "alpha_path"])
def test_a_frame_may_call_its_mask_otherwise(key, folder, views):
    shutil.move(folder / "masks", folder / "there")
    edit(folder, each(lambda frame: frame.update({key: frame.pop("mask_path").replace("masks", "there")})))
    read, report, _ = prepared(folder)
    check_marked(read, truth=views, least_iou=1.0)
    assert "plain background" not in report


def mask_by_name(name, folder):
    """JPEGs whose masks, of which no frame tells, are called so."""
    edit(folder, each(lambda frame: frame.pop("mask_path")))
    shutil.move(folder / "masks", folder / "old")
    for path in (folder / "images").glob("*"):
        Image.open(path).save(path.with_suffix(".jpg"), quality=95)
        path.unlink()
    edit(folder, each(lambda frame: frame.update(file_path=frame["file_path"].replace(".png", ".jpg"))))
    for path in (folder / "old").glob("*"):
        target = folder / name.format(path.stem)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)


def close_up(folder, views, change):
    """Pictures so near that the object leaves them, of the lower right."""
    for kind in ("images", "masks"):
        for path in (folder / kind).glob("*"):
            pixels = np.array(Image.open(path))[16:40, 16:40]
            Image.fromarray(change(pixels) if kind == "masks" else pixels).save(path)
    edit(folder, lambda document: document.update(w=24, h=24, cx=8, cy=8))
    return prepared(folder, size=24)[:2]


def test_masks_are_turned_round_together_also_where_objects_leave_their_pictures(tmp_path, views):
    right, report = close_up(foreign.write_nerfstudio(tmp_path / "right", views), views, lambda mask: mask)
    assert "turned round" not in report
    turned, report = close_up(foreign.write_nerfstudio(tmp_path / "turned", views), views, lambda mask: 255 - mask)
    assert "turned round" in report
    assert np.array_equal(right[0], turned[0])


@pytest.mark.parametrize("kept", [True, False])
def test_alpha_may_be_turned_round_where_colours_are_left(kept, folder, views):
    for path, view in zip(sorted((folder / "images").glob("*")), views, strict=True):
        alpha = 255 - view.picture[..., 3:]
        pixels = np.concatenate([foreign.on_white(view.picture) * (alpha > 0 if not kept else 1), alpha], -1)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    shutil.rmtree(folder / "masks")
    if not kept:
        with pytest.raises(ValueError, match=r"mask: wanted alpha of 255 on the object; got it on the background"):
            prepared(folder)
        return
    read, report, _ = prepared(folder)
    check_marked(read, truth=views)
    assert "masks are black or clear where the object is, turned round" in report


@pytest.mark.parametrize("values", [(1, 254), (0, 255), (20, 235)])
def test_noise_of_jpegs_is_no_label(values, folder, views):
    clear, solid = values
    for path in (folder / "masks").glob("*"):
        mask = np.array(Image.open(path)) > 127
        Image.fromarray(np.where(mask, solid, clear).astype(np.uint8)).save(path.with_suffix(".jpg"), quality=60)
        path.unlink()
    edit(folder, each(lambda frame: frame.pop("mask_path")))
    check_marked(prepared(folder)[0], truth=views)


def test_alpha_of_0_and_1_is_a_mask(folder, views):
    shutil.rmtree(folder / "masks")
    for path, view in zip(sorted((folder / "images").glob("*")), views, strict=True):
        Image.fromarray(np.dstack([view.picture[..., :3], view.picture[..., 3] // 255])).save(path)
    check_marked(prepared(folder)[0], truth=views)
