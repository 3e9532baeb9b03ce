"""Foreign data sets keep their cameras: known points land on their pixels."""

import json

import foreign
import numpy as np
import pytest
import torch
from PIL import Image

from vader3d.data.named import open_archive
from vader3d.data.reading.eg3d import EG3D
from vader3d.data.reading.nerfstudio import NERFSTUDIO
from vader3d.data.reading.objaverse import OBJAVERSE
from vader3d.data.reading.pictures import squared, undistorted
from vader3d.data.reading.srn import SRN
from vader3d.geometry.placement import automatic_placement

KINDS = {
    "blender": (foreign.write_blender, NERFSTUDIO),
    "nerfstudio": (foreign.write_nerfstudio, NERFSTUDIO),
    "srn": (foreign.write_srn, SRN),
    "eg3d": (foreign.write_eg3d, EG3D),
    "objaverse": (foreign.write_objaverse, OBJAVERSE),
}


def marked_pixels(picture: np.ndarray) -> np.ndarray:
    """Centre (x, y) of the red ball in a picture, in px."""
    red = (picture[..., 0] > 180) & (picture[..., 1] < 80) & (picture[..., 3] > 128)
    row, column = np.nonzero(red)
    return np.array([column.mean() + 0.5, row.mean() + 0.5])


def prepared(kind, tmp_path, views, **options):
    write, reader = KINDS[kind]
    write(tmp_path / "things" / "marked", views)
    options |= {"fov": foreign.FOV_DEGREES} if reader is OBJAVERSE else {}
    report = foreign.prepare(reader, tmp_path / "things", tmp_path / "out.zip", size=foreign.SIZE, **options)
    return open_archive(tmp_path / "out.zip"), report


@pytest.mark.parametrize("kind", KINDS)
def test_a_known_point_lands_on_its_pixel(kind, tmp_path, views):
    archive, _ = prepared(kind, tmp_path, views, scale=1.0, offset=(0, 0, 0))
    pictures, cameras = archive.read(0)
    pixels, depth = cameras.project(torch.tensor(foreign.MARK).float().expand(len(pictures), 1, 3))
    assert len(pictures) == len(foreign.ANGLES)
    assert (depth > 1).all()
    for picture, pixel in zip(pictures, pixels[:, 0].numpy(), strict=True):
        assert np.abs(marked_pixels(picture) - pixel).max() < 0.8


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_masks_and_cameras_come_through(kind, tmp_path, views):
    archive, _ = prepared(kind, tmp_path, views, scale=1.0, offset=(0, 0, 0))
    pictures, cameras = archive.read(0)
    for picture, pose, view in zip(pictures, cameras.world_from_camera, views, strict=True):
        visible = view.picture[..., 3] > 0
        assert np.array_equal(picture[..., 3] > 0, visible)
        assert np.array_equal(picture[visible], view.picture[visible])
        assert np.allclose(pose.numpy(), view.pose @ np.diag([1, -1, -1, 1]), atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_scale_and_offset_move_the_world(kind, tmp_path, views):
    offset = (0.1, -0.2, 0.05)
    archive, _ = prepared(kind, tmp_path, views, scale=1.5, offset=offset)
    pictures, cameras = archive.read(0)
    moved = torch.tensor((foreign.MARK - offset) * 1.5).float()
    pixels, _ = cameras.project(moved.expand(len(pictures), 1, 3))
    for picture, pixel in zip(pictures, pixels[:, 0].numpy(), strict=True):
        assert np.abs(marked_pixels(picture) - pixel).max() < 0.8


def test_cameras_alone_place_the_object_in_the_cube(tmp_path, views):
    archive, _ = prepared("srn", tmp_path, views, scale=1.0, offset=(0, 0, 0))
    scale, offset = automatic_placement(archive.read(0).cameras)
    # everything looked at the origin from 2.5 through 40 degrees: the sphere of radius 2.5 sin(20) becomes radius 1
    assert scale == pytest.approx(1 / (2.5 * np.sin(np.deg2rad(20))), rel=1e-3)
    assert np.allclose(offset, 0, atol=1e-4)


def test_a_stated_aabb_fills_the_cube(tmp_path, views):
    folder = foreign.write_nerfstudio(tmp_path / "marked", views)
    document = json.loads((folder / "transforms.json").read_text())
    document["aabb"] = [[-0.5, -0.5, -0.5], [0.5, 0.5, 0.5]]
    (folder / "transforms.json").write_text(json.dumps(document))
    foreign.prepare(NERFSTUDIO, folder, tmp_path / "out.zip", size=foreign.SIZE)
    archive = open_archive(tmp_path / "out.zip")
    assert archive.records[0].name == "marked"
    assert torch.allclose(archive.read(0).cameras.centres.norm(dim=1), torch.tensor(5.0))


@pytest.mark.parametrize("kind", KINDS)
def test_smaller_pictures_keep_the_point_on_its_pixel(kind, tmp_path, views):
    write, reader = KINDS[kind]
    write(tmp_path / "marked", views)
    options = {"views": 3, "scale": 1.0, "offset": (0, 0, 0), "fov": foreign.FOV_DEGREES}
    foreign.prepare(reader, tmp_path, tmp_path / "out.zip", size=24, **options)
    pictures, cameras = open_archive(tmp_path / "out.zip").read(0)
    assert pictures.shape == (3, 24, 24, 4)
    pixels, _ = cameras.project(torch.tensor(foreign.MARK).float().expand(3, 1, 3))
    for picture, pixel in zip(pictures, pixels[:, 0].numpy(), strict=True):
        red = picture[..., 0].astype(float) - picture[..., 1]
        assert np.abs(np.array(np.unravel_index(red.argmax(), red.shape))[::-1] + 0.5 - pixel).max() < 1.2


def test_a_wide_picture_is_centred_on_a_square():
    pixels = np.full((20, 40, 4), 255, np.uint8)
    square, lens = squared(pixels, np.array([50.0, 50.0, 20.0, 10.0]), size=20)
    assert square[..., 3].sum(1).nonzero()[0].tolist() == list(range(5, 15))
    assert lens.tolist() == [25.0, 25.0, 10.0, 10.0]


def test_undistortion_puts_a_point_where_a_pinhole_would():
    lens, size = np.array([60.0, 62.0, 41.0, 39.0]), 80
    distortion = {"k1": 0.2, "k2": -0.03, "p1": 0.004, "p2": -0.003}
    x, y = 0.48, -0.41
    r2 = x * x + y * y
    radial = 1 + 0.2 * r2 - 0.03 * r2**2
    bent = (
        x * radial + 2 * 0.004 * x * y - 0.003 * (r2 + 2 * x * x),
        y * radial + 0.004 * (r2 + 2 * y * y) - 0.006 * x * y,
    )
    column, row = np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5)
    blob = np.exp(-((column - bent[0] * 60 - 41) ** 2 + (row - bent[1] * 62 - 39) ** 2) / 8)
    pixels = np.full((size, size, 4), 255, np.uint8)
    pixels[..., 0] = np.rint(255 * blob)
    straight = undistorted(pixels, lens, distortion)[..., 0].astype(float)
    found = (straight * column).sum() / straight.sum(), (straight * row).sum() / straight.sum()
    assert np.allclose(found, (x * 60 + 41, y * 62 + 39), atol=0.15)
    assert not np.allclose(found, (bent[0] * 60 + 41, bent[1] * 62 + 39), atol=0.3)


def test_original_srn_intrinsics_of_six_lines_for_another_size_are_understood(tmp_path, views):
    folder = foreign.write_srn(tmp_path / "thing", views)
    size = foreign.SIZE
    lines = [
        f"{4 * foreign.focal_px()} {2 * size} {2 * size} 0.",
        "0. 0. 0.",
        "1.",
        "0.5",
        f"{4 * size} {4 * size}",
        "1",
    ]
    (folder / "intrinsics.txt").write_text("\n".join(lines))
    foreign.prepare(SRN, folder, tmp_path / "out.zip", size=size)
    intrinsics = open_archive(tmp_path / "out.zip").read(0).cameras.intrinsics
    assert torch.allclose(intrinsics[0], torch.tensor([foreign.focal_px()] * 2 + [size / 2] * 2).float())


def test_nested_splits_become_names_and_captions_are_read(tmp_path, views):
    foreign.write_srn(tmp_path / "data" / "tables_train" / "a1", views)
    foreign.write_srn(tmp_path / "data" / "tables_test" / "стол", views)
    (tmp_path / "data" / "tables_train" / "a1" / "caption.txt").write_text("a grey box\n")
    foreign.prepare(SRN, tmp_path / "data", tmp_path / "out.zip", size=16, category="table")
    records = open_archive(tmp_path / "out.zip").records
    assert [r.name for r in records] == ["tables_test.стол", "tables_train.a1"]
    assert [r.caption for r in records] == ["table", "a grey box"]


def test_white_inside_jpegs_and_alpha_are_told_apart(tmp_path, views):
    folder = foreign.write_srn(tmp_path / "thing", views)
    Image.fromarray(views[0].picture).save(folder / "rgb" / "000000.png")
    with pytest.raises(ValueError, match="--mask white"):
        foreign.prepare(SRN, folder, tmp_path / "out.zip", size=16, mask="alpha")


def test_eg3d_and_objaverse_name_what_is_wrong(tmp_path, views):
    folder = foreign.write_eg3d(tmp_path / "faces" / "00000", views)
    document = json.loads((tmp_path / "faces" / "dataset.json").read_text())
    for label in document["labels"]:
        label[1].pop()
    (tmp_path / "faces" / "dataset.json").write_text(json.dumps(document))
    with pytest.raises(ValueError, match=r"00000: labels: wanted 25 numbers .* img00000000.png"):
        foreign.prepare(EG3D, tmp_path / "faces", tmp_path / "out.zip")
    assert folder.is_dir()
    folder = foreign.write_objaverse(tmp_path / "renders" / "uid", views)
    for number in range(len(views)):
        np.save(folder / f"{number:03d}.npy", np.zeros(5))
    with pytest.raises(ValueError, match=r"000.npy: pose: wanted 3 x 4 finite numbers; got \(5,\)"):
        foreign.prepare(OBJAVERSE, tmp_path / "renders", tmp_path / "out.zip")
    for number in range(len(views)):
        np.save(folder / f"{number:03d}.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"000.npy: wanted an array of 3 x 4 numbers; got a damaged or foreign one"):
        foreign.prepare(OBJAVERSE, tmp_path / "renders", tmp_path / "out.zip")
    with pytest.raises(ValueError, match="fov: wanted degrees above 0"):
        foreign.prepare(OBJAVERSE, tmp_path / "renders", tmp_path / "out.zip", fov=200)
