"""Published data sets and phones' exports keep their cameras: known points land on their pixels."""

import json
import shutil

import foreign
import foreign_sets
import numpy as np
import pytest
import torch
from foreign_sets import SETS
from marked import check_marked
from PIL import Image

from vader3d.data.named import open_archive
from vader3d.data.reading.metashape import lens_of
from vader3d.data.reading.projections import decomposed
from vader3d.data.reading.readers import READERS
from vader3d.data.reading.tables import found_pictures

PLACED = {"scale": 1.0, "offset": (0.0, 0.0, 0.0)}


def red_pixel(picture):
    red = (picture[..., 0] > 180) & (picture[..., 1] < 80) & (picture[..., 3] > 128)
    row, column = np.nonzero(red)
    return np.array([column.mean() + 0.5, row.mean() + 0.5])


def read(kind, room, views, **options):
    """The archive of a data set, the report, and the only object's pictures and cameras."""
    write, reader, _ = SETS[kind]
    write(room / "set", views)
    size = foreign.SIZE + (16 if kind == "co3d" else 0)  # whose pictures are wider
    report = foreign.prepare(READERS[reader], room / "set", room / "out.zip", **{"size": size, **PLACED, **options})
    archive = open_archive(room / "out.zip")
    return archive, report, archive.read(0)


@pytest.mark.parametrize("kind", SETS)
def test_a_known_point_lands_on_its_pixel_and_all_comes_through(kind, tmp_path, views):
    archive, report, (pictures, cameras) = read(kind, tmp_path, views)
    assert [record.name for record in archive.records] == [SETS[kind][2]]
    assert len(pictures) == len(views)
    pixels, depth = cameras.project(torch.tensor(foreign.MARK).float().expand(len(pictures), 1, 3))
    assert (depth > 1).all()
    border = (len(pictures[0]) - foreign.SIZE) // 2
    for picture, pixel, pose, view in zip(
        pictures, pixels[:, 0].numpy(), cameras.world_from_camera, views, strict=True
    ):
        assert np.abs(red_pixel(picture) - pixel).max() < 0.8
        assert np.allclose(pose.numpy(), view.pose @ foreign_sets.CV, atol=1e-5)
        inner = picture[border : border + foreign.SIZE, border : border + foreign.SIZE]
        assert np.array_equal(inner[..., 3], view.picture[..., 3])
        assert np.array_equal(inner[view.picture[..., 3] > 0], view.picture[view.picture[..., 3] > 0])
    assert not any("read as" in note for note in report.notes)  # the format's own axes, not those that fit


@pytest.mark.parametrize("kind", SETS)
def test_pictures_of_half_the_size_have_lenses_of_half_the_size(kind, tmp_path, views):
    SETS[kind][0](tmp_path / "set", views)
    for path in (tmp_path / "set").rglob("*"):
        if path.suffix in (".png", ".jpg"):
            with Image.open(path) as picture:
                half = picture.resize([side // 2 for side in picture.size], Image.Resampling.BOX)
            half.save(path)
    size = (foreign.SIZE + (16 if kind == "co3d" else 0)) // 2
    report = foreign.prepare(READERS[SETS[kind][1]], tmp_path / "set", tmp_path / "out.zip", size=size, **PLACED)
    pictures, cameras = open_archive(tmp_path / "out.zip").read(0)
    assert len(pictures) == len(views), str(report)
    assert np.allclose(cameras.intrinsics[:, :2].numpy(), foreign.focal_px() / 2, rtol=1e-3)


def test_classes_become_categories(tmp_path, views):
    for kind, category in (("co3d", "chair"), ("mvimgnet", "stove"), ("omniobject3d", "anise")):
        archive, *_ = read(kind, tmp_path / kind, views[:4], size=16)
        assert archive.records[0].category == category


def test_what_was_not_downloaded_is_left_out_or_named(tmp_path, views):
    _, report, _ = read("mvimgnet", tmp_path / "a", views[:4], size=16)
    assert report.skipped == ["7.without: cameras: wanted sparse/0; got none, as in about a third of this data set"]
    _, report, _ = read("metashape", tmp_path / "b", views, size=16)
    (tmp_path / "b" / "set" / "capture" / "photos" / "DSC0.png").unlink()
    report = foreign.prepare(READERS["metashape"], tmp_path / "b" / "set", tmp_path / "c.zip", size=16)
    assert "1 of 7 cameras without their pictures left out: 1 objects" in report.notes


@pytest.mark.parametrize("kind", ["realitycapture", "metashape"])
def test_pictures_of_one_name_in_two_folders_are_left_out(kind, tmp_path, views):
    SETS[kind][0](tmp_path / "set", views)
    pictures = sorted((tmp_path / "set" / "capture" / "photos").glob("*"))
    (tmp_path / "set" / "capture" / "others").mkdir()
    shutil.copy(pictures[1], tmp_path / "set" / "capture" / "others" / pictures[0].name)  # another view
    report = foreign.prepare(READERS[kind], tmp_path / "set", tmp_path / "out.zip", size=foreign.SIZE, **PLACED)
    assert len(open_archive(tmp_path / "out.zip").read(0).pictures) == len(views) - 1
    assert "1 of 7 cameras without their pictures left out, 1 of them with names that several have" in str(report)


def test_the_longest_common_path_tells_pictures_of_one_name(tmp_path):
    for place in ("a/photos", "b/photos"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "1.png").touch()
    found, said = found_pictures(tmp_path, ["D:\\me\\B\\photos\\1.png", "D:\\me\\a\\photos\\1.png"], None)
    assert [path.relative_to(tmp_path).parts[0] for _, path in found] == ["b", "a"]
    assert said == ""


def test_pictures_that_are_missing_of_dtu_do_not_move_the_others(tmp_path, views):
    foreign_sets.write_dtu(tmp_path / "set", views)
    pictures = sorted((tmp_path / "set").rglob("image/*.png"))
    pictures[2].unlink()
    foreign.prepare(READERS["dtu"], tmp_path / "set", tmp_path / "out.zip", size=foreign.SIZE)
    check_marked(open_archive(tmp_path / "out.zip").read(0), views=len(views) - 1, truth=[*views[:2], *views[3:]])
    pictures[0].unlink()  # names may as well count from 1
    with pytest.raises(ValueError, match=r"pictures: wanted 7, one a world_mat; got 5"):
        foreign.prepare(READERS["dtu"], tmp_path / "set", tmp_path / "again.zip", size=foreign.SIZE)


def test_both_units_of_co3d_mean_the_same(tmp_path, views):
    for form in ("ndc_norm_image_bounds", "ndc_isotropic"):
        foreign_sets.write_co3d(tmp_path / form, views[:3], form=form)
        foreign.prepare(READERS["co3d"], tmp_path / form, tmp_path / f"{form}.zip", size=64, **PLACED)
    first, second = (
        open_archive(tmp_path / f"{form}.zip").read(0).cameras for form in ("ndc_isotropic", "ndc_norm_image_bounds")
    )
    assert torch.allclose(first.intrinsics, second.intrinsics)
    assert first.intrinsics[0].tolist() == pytest.approx([foreign.focal_px()] * 2 + [32, 32])


def test_the_sphere_of_dtu_fills_the_cube(tmp_path, views):
    _, _, (_, cameras) = read("dtu", tmp_path, views, scale=None, offset=None)
    assert torch.allclose(cameras.centres.norm(dim=1), torch.tensor(2.5), atol=1e-4)


def test_projections_come_apart_whatever_their_scale_and_sign():
    pose = np.linalg.inv(np.array([[0.36, 0.48, -0.8, 1], [-0.8, 0.6, 0, 2], [0.48, 0.64, 0.6, 3], [0, 0, 0, 1.0]]))
    lens = np.array([[300.0, 0, 160], [0, 310, 120], [0, 0, 1]])
    for factor in (1.0, -1.0, 0.01, -7.0):
        matrix, numbers = decomposed(factor * lens @ pose[:3])
        assert np.allclose(matrix @ pose, np.eye(4), atol=1e-9)
        assert np.allclose(numbers, [300, 310, 160, 120])


def test_lenses_of_metashape_are_opencv_s():
    """Its p1 is OpenCV's p2, b1 lengthens fx, and the principal point is from the middle."""
    from xml.etree import ElementTree

    sensor = ElementTree.fromstring(
        '<sensor id="0"><resolution width="640" height="480"/><calibration class="initial"><f>1</f></calibration>'
        '<calibration class="adjusted"><f>500</f><cx>3</cx><cy>-4</cy><b1>2</b1><k1>.1</k1><p1>.01</p1><p2>.02</p2>'
        "</calibration></sensor>"
    )
    lens, size, distortion = lens_of(sensor)
    assert lens.tolist() == [502, 500, 323, 236]
    assert size == (480, 640)
    assert distortion == {"k1": 0.1, "p2": 0.01, "p1": 0.02}


def spoilt(kind, room, views):
    """A file of each format made wrong, and what must be said of it."""
    thing = room / "set"
    if kind == "co3d":
        (thing / "chair" / "frame_annotations.jgz").write_bytes(b"\x1f\x8bnothing")
    elif kind == "dtu":
        np.savez(thing / "scan24" / "cameras_sphere.npz", **{f"world_mat_{number}": np.eye(2) for number in range(3)})
    elif kind == "llff":
        np.save(thing / "fern" / "poses_bounds.npy", np.zeros((3, 5)))
    elif kind == "gobjaverse":
        (thing / "0" / "10010" / "campos_512_v4" / "00001" / "00001.json").write_text('{"x": [1, 0, 0]}')
    elif kind == "polycam":
        (thing / "capture" / "keyframes" / "cameras" / "1700.json").write_text("{}")
    elif kind == "record3d":
        (thing / "capture" / "metadata").write_text(json.dumps({"K": [1] * 9, "poses": [[0] * 5], "w": 9, "h": 9}))
    elif kind == "realitycapture":
        (thing / "capture" / "cameras.csv").write_text("#name,x,y,alt,heading,pitch,roll\nIMG_0.png,a,b,c,d,e,f\n")
    elif kind == "metashape":
        (thing / "capture" / "cameras.xml").write_text('<!DOCTYPE a [<!ENTITY b "c">]><document><chunk/></document>')


FAULTS = {
    "co3d": r"frame_annotations.jgz: wanted a gzipped list of frames",
    "dtu": r"world_mat: wanted 4 x 4 finite numbers; got \(2, 2\)",
    "llff": r"poses: wanted 17 finite numbers a picture; got \(3, 5\)",
    "gobjaverse": r"00001.json: wanted origin, x, y, z, x_fov",
    "polycam": r"1700.json: wanted fx, fy, cx, cy",
    "record3d": r"metadata: wanted K, poses, w, h",
    "realitycapture": r"cameras.csv: .*(wanted a heading|got)",
    "metashape": r"XML: wanted no document type; got one",
}


@pytest.mark.parametrize("kind", FAULTS)
def test_faults_are_named_in_one_line(kind, tmp_path, views):
    write, reader, _ = SETS[kind]
    write(tmp_path / "set", views[:3])
    spoilt(kind, tmp_path, views)
    with pytest.raises(ValueError, match=FAULTS[kind]):
        foreign.prepare(READERS[reader], tmp_path / "set", tmp_path / "out.zip", size=16)
