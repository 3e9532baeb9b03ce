"""COLMAP's projects: known points on their pixels, every lens straightened, faults named."""

import random
import shutil
import struct

import foreign
import numpy as np
import pytest
import torch
from colmap_files import write_colmap
from hostile import check_error, damaged
from marked import check_marked
from PIL import Image
from scipy.spatial.transform import Rotation

from vader3d.cli.main import main
from vader3d.data.named import open_archive
from vader3d.data.reading.colmap import COLMAP
from vader3d.data.reading.colmap_model import read_model
from vader3d.data.reading.lenses import LENSES, bent, lens_of
from vader3d.data.reading.mask_files import given_mask, is_mask
from vader3d.data.reading.nerfstudio import distortion_of
from vader3d.data.reading.pictures import undistorted
from vader3d.data.recognition import recognised

TURN = Rotation.from_euler("xyz", [100, 20, -35], degrees=True).as_matrix()
# pixels of the points (.3, -.2, 1) and (-.6, .45, 1), as COLMAP 4.2.1 itself projects them (pycolmap, img_from_cam)
PROJECTED = {
    "SIMPLE_PINHOLE": ([400, 320, 240], [[440.0, 160.0], [80.0, 420.0]]),
    "PINHOLE": ([400, 410, 320, 240], [[440.0, 158.0], [80.0, 424.5]]),
    "SIMPLE_RADIAL": ([400, 320, 240, -0.12], [[438.128, 161.248], [96.2, 407.85]]),
    "RADIAL": ([400, 320, 240, -0.12, 0.05], [[438.2294, 161.1804], [92.4031, 410.6977]]),
    "OPENCV": ([400, 410, 320, 240, -0.12, 0.05, 0.01, -0.02], [[435.2694, 161.0549], [79.9831, 423.3598]]),
    "OPENCV_FISHEYE": ([300, 310, 320, 240, 0.03, -0.02, 0.01, -0.004], [[406.6655, 180.2971], [164.0793, 360.8385]]),
    "FULL_OPENCV": (
        [400, 410, 320, 240, -0.12, 0.05, 0.01, -0.02, 0.03, 0.04, -0.01, 0.02],
        [[434.6803, 161.4575], [83.8247, 420.4067]],
    ),
    "SIMPLE_RADIAL_FISHEYE": ([300, 320, 240, 0.03], [[406.6888, 182.2074], [163.6412, 357.2691]]),
    "RADIAL_FISHEYE": ([300, 320, 240, 0.03, -0.02], [[406.6641, 182.224], [164.1708, 356.8719]]),
}


def red_pixel(picture):
    red = (picture[..., 0] > 180) & (picture[..., 1] < 80) & (picture[..., 3] > 128)
    row, column = np.nonzero(red)
    return np.array([column.mean() + 0.5, row.mean() + 0.5])


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
def test_a_known_point_lands_on_its_pixel(tmp_path, views, binary):
    write_colmap(tmp_path / "things" / "marked", views, binary=binary)
    foreign.prepare(
        COLMAP, tmp_path / "things", tmp_path / "out.zip", size=foreign.SIZE, scale=1.0, offset=(0.0, 0.0, 0.0)
    )
    pictures, cameras = open_archive(tmp_path / "out.zip").read(0)
    pixels, depth = cameras.project(torch.tensor(foreign.MARK).float().expand(len(views), 1, 3))
    assert (depth > 1).all()
    for picture, pixel, view in zip(pictures, pixels[:, 0].numpy(), views, strict=True):
        assert np.abs(red_pixel(picture) - pixel).max() < 0.8
        assert np.array_equal(picture[..., 3], view.picture[..., 3])


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
def test_a_tilted_world_is_turned_upright(tmp_path, views, binary):
    """All but what level rows cannot tell: where the cameras stand round the vertical."""
    write_colmap(tmp_path / "marked", views, binary=binary, turn=TURN)
    settings = {"size": foreign.SIZE, "scale": 1.0, "offset": (0.0, 0.0, 0.0)}
    foreign.prepare(COLMAP, tmp_path / "marked", tmp_path / "out.zip", **settings)
    cameras = open_archive(tmp_path / "out.zip").read(0).cameras
    heights = [view.pose[2, 3] / np.linalg.norm(view.pose[:3, 3]) for view in views]
    assert np.allclose(cameras.centres[:, 2] / cameras.centres.norm(dim=1), heights, atol=1e-3)


@pytest.mark.parametrize("model", LENSES)
def test_every_lens_bends_rays_as_colmap_does(model):
    numbers, pixels = PROJECTED[model]
    (fx, fy, cx, cy), distortion = lens_of(model, numbers)
    x, y = bent(np.array([0.3, -0.6]), np.array([-0.2, 0.45]), distortion)
    assert np.allclose(np.stack([x * fx + cx, y * fy + cy], 1), pixels, atol=1e-3)


def test_lenses_that_are_not_known_are_named():
    with pytest.raises(ValueError, match="'FOV'; undistort first"):
        lens_of("FOV", [1, 2, 3, 4, 5])
    with pytest.raises(ValueError, match="'f cx cy k1' of SIMPLE_RADIAL; got 3 numbers"):
        lens_of("SIMPLE_RADIAL", [1, 2, 3])


def test_nerfstudio_fisheyes_are_no_longer_refused():
    frame = {"camera_model": "OPENCV_FISHEYE", "k1": 0.1, "k2": -0.2}
    assert {key: value for key, value in distortion_of(frame).items() if value} == {
        "k1": 0.1,
        "k2": -0.2,
        "fisheye": 1.0,
    }


def test_where_a_lens_folds_back_nothing_is_known():
    pixels = np.full((40, 40, 4), 255, np.uint8)
    straight = undistorted(pixels, np.array([14.0, 14, 20, 20]), {"k1": -0.3})
    assert straight[20, 20, 3] == 255
    assert straight[0, 0, 3] == 0  # r = 2, where r (1 - .3 r^2) falls


@pytest.mark.parametrize(("model", "more"), [("SIMPLE_RADIAL", (12.0,)), ("OPENCV_FISHEYE", (12.0, 0.0, 0.0, 0.0))])
def test_distorted_pictures_are_straightened(tmp_path, views, model, more):
    """Pictures bent by an inverse found by search, not by our own formula's inverse."""
    size, focal = foreign.SIZE, foreign.focal_px()
    rows, columns = np.mgrid[:size, :size]
    plane = (np.stack([columns, rows], -1) + 0.5 - size / 2) / focal
    radii = np.linspace(0, 3, 4000)
    pushed = radii * (1 + more[0] * radii**2) if model == "SIMPLE_RADIAL" else bent_angle(radii, more[0])
    seen = np.linalg.norm(plane, axis=-1)
    straight = plane * (np.interp(seen, pushed, radii) / np.maximum(seen, 1e-9))[..., None] * focal + size / 2
    source = np.floor(straight).astype(int)
    inside = ((source >= 0) & (source < size)).all(-1)
    column, row = np.where(inside[..., None], source, 0).transpose(2, 0, 1)
    bent_views = [
        foreign.ForeignView(np.where(inside[..., None], view.picture[row, column], 0).astype(np.uint8), view.pose)
        for view in views
    ]
    write_colmap(tmp_path / "marked", bent_views, binary=True, model=model, more=more)
    foreign.prepare(COLMAP, tmp_path / "marked", tmp_path / "out.zip", size=size, scale=1.0, offset=(0.0, 0.0, 0.0))
    pictures = open_archive(tmp_path / "out.zip").read(0).pictures
    for picture, bent_view, view in zip(pictures, bent_views, views, strict=True):
        mask, true, before = (each[..., 3] >= 128 for each in (picture, view.picture, bent_view.picture))
        after, untreated = ((each & true).sum() / (each | true).sum() for each in (mask, before))
        assert untreated < 0.85 < after


def bent_angle(radii, k1):
    angle = np.arctan(radii)
    return angle * (1 + k1 * angle**2)


@pytest.mark.parametrize("masks", ["masks/{}.png", "masks/{}", "images/mask_{}", "mask/{}"])
def test_masks_are_found_by_name(tmp_path, views, masks):
    write_colmap(tmp_path / "marked", views, binary=False, masks=masks)
    picture = tmp_path / "marked" / "images" / "photo 03.png"
    found = given_mask(picture)
    assert found == tmp_path / "marked" / masks.format("photo 03.png")
    assert is_mask(found)
    assert not is_mask(picture)


def test_no_mask_is_no_mask(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"")
    assert given_mask(tmp_path / "images" / "a.png") is None


def test_pictures_that_are_not_there_are_left_out(tmp_path, views):
    folder = write_colmap(tmp_path / "marked", views, binary=True)
    for number in (1, 4, 5):
        (folder / "images" / f"photo {number:02d}.png").unlink()
    foreign.prepare(COLMAP, folder, tmp_path / "out.zip", size=16)
    assert len(open_archive(tmp_path / "out.zip").read(0).pictures) == len(views) - 3
    (folder / "images" / "photo 00.png").unlink()
    with pytest.raises(ValueError, match=f"got 3 of {len(views)}, e.g. not photo 00.png"):
        foreign.prepare(COLMAP, folder, tmp_path / "again.zip", size=16)


def test_a_model_whose_pictures_lie_outside_is_refused(tmp_path, views):
    folder = write_colmap(tmp_path / "marked", views, binary=False)
    images = folder / "sparse" / "0" / "images.txt"
    images.write_text(images.read_text().replace("photo 00.png", "../../secret.png"))
    with pytest.raises(ValueError, match=r"wanted files in .* or below"):
        foreign.prepare(COLMAP, folder, tmp_path / "out.zip", size=16)


def test_an_unknown_binary_lens_is_named(tmp_path, views):
    folder = write_colmap(tmp_path / "marked", views, binary=True)
    cameras = folder / "sparse" / "0" / "cameras.bin"
    data = bytearray(cameras.read_bytes())
    struct.pack_into("<i", data, 12, 7)
    cameras.write_bytes(data)
    with pytest.raises(ValueError, match=r"cameras\.bin: camera model: .*; got FOV"):
        read_model(folder / "sparse" / "0")


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
def test_a_damaged_model_is_named_in_one_line(tmp_path, views, binary):
    folder = write_colmap(tmp_path / "marked", views, binary=binary) / "sparse" / "0"
    for path in sorted(folder.iterdir()):
        data, rng = path.read_bytes(), random.Random(path.name)
        for _ in range(150):
            path.write_bytes(damaged(data, rng))
            try:
                read_model(folder)
            except ValueError as error:
                check_error(error, folder / ("images" if "images." in str(error) else "cameras"))
        path.write_bytes(data)


def test_the_command_reads_a_folder_of_projects(tmp_path, views, capsys):
    write_colmap(tmp_path / "scans" / "a", views, binary=True)
    shutil.copytree(tmp_path / "scans" / "a", tmp_path / "scans" / "b")
    for path in (tmp_path / "scans" / "b" / "images").glob("*"):
        Image.new("RGB", (9, 5)).save(path)
    output = str(tmp_path / "out.zip")
    main(["prepare", "colmap", str(tmp_path / "scans"), "--output", output, "--size", "16", "--processes", "1"])
    said = capsys.readouterr().out
    assert "1 objects" in said
    assert "b: " in said


def test_a_model_may_lie_beside_its_pictures_and_begin_with_a_mark(tmp_path, views):
    """As "export model as text" leaves it in a project's folder, edited on Windows."""
    folder = tmp_path / "things" / "marked"
    write_colmap(folder, views, binary=False)
    for path in list((folder / "sparse" / "0").glob("*.txt")):
        (folder / path.name).write_bytes(b"\xef\xbb\xbf" + path.read_text().replace("\n", "\r\n").encode())
    shutil.rmtree(folder / "sparse")
    write_colmap(tmp_path / "things" / "usual", views, binary=True)
    assert recognised(tmp_path / "things").command == "colmap"
    foreign.prepare(COLMAP, tmp_path / "things", tmp_path / "out.zip", size=foreign.SIZE)
    archive = open_archive(tmp_path / "out.zip")
    assert [record.name for record in archive.records] == ["marked", "usual"]
    for index in range(2):
        check_marked(archive.read(index), truth=views)


def test_smaller_copies_of_the_pictures_serve(tmp_path, views):
    folder = tmp_path / "marked"
    write_colmap(folder, views, binary=True)
    (folder / "images").rename(folder / "images_4")
    foreign.prepare(COLMAP, folder, tmp_path / "out.zip", size=foreign.SIZE)
    check_marked(open_archive(tmp_path / "out.zip").read(0), truth=views)


@pytest.mark.parametrize("left", ["no blank lines", "no points"])
def test_lists_of_images_may_lack_lines_of_points(left, tmp_path, views):
    folder = write_colmap(tmp_path / "things" / "marked", views, binary=False)
    path = folder / "sparse" / "0" / "images.txt"
    kept = [line for line in path.read_text().splitlines() if line.strip() and (left != "no points" or "photo" in line)]
    path.write_text("\n".join(kept))
    foreign.prepare(COLMAP, tmp_path / "things", tmp_path / "out.zip", size=foreign.SIZE)
    assert len(open_archive(tmp_path / "out.zip").read(0).pictures) == len(views)
