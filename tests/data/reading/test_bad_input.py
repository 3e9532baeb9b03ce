"""Every fault of a foreign data set gives one clear error, and spoils no other object."""

import json
import re
import shutil

import foreign
import numpy as np
import pytest
from PIL import Image

from vader3d.data.named import open_archive
from vader3d.data.reading.nerfstudio import NERFSTUDIO
from vader3d.data.reading.readers import READERS
from vader3d.data.reading.srn import SRN


def edited(change):
    """A fault in transforms.json."""

    def spoil(folder):
        path = folder / "transforms.json"
        document = json.loads(path.read_text())
        change(document)
        path.write_text(json.dumps(document))

    return spoil


def matrix_changed(change):
    def spoil(document):
        matrix = np.array(document["frames"][2]["transform_matrix"])
        document["frames"][2]["transform_matrix"] = change(matrix).tolist()

    return edited(spoil)


def cut_short(folder):
    path = next(iter(sorted((folder / "images").glob("*"))))
    path.write_bytes(path.read_bytes()[:100])


def resized_picture(folder):
    path = folder / "images" / "frame_00003.png"
    Image.open(path).resize((20, 24)).save(path)
    path = folder / "masks" / "frame_00003.png"
    Image.open(path).resize((20, 24)).save(path)


def most_gone(kind):
    """Four of seven files deleted."""

    def spoil(folder):
        for path in sorted((folder / kind).glob("*"))[:4]:
            path.unlink()

    return spoil


def other_mask(folder):
    path = folder / "masks" / "frame_00003.png"
    Image.open(path).resize((24, 12)).save(path)


def striped(folder):
    shutil.rmtree(folder / "masks")
    for path in (folder / "images").glob("*"):
        pixels = np.array(Image.open(path))
        pixels[::2] = 0
        Image.fromarray(pixels).save(path)


def in_degrees(document):
    del document["fl_x"], document["fl_y"]
    document["camera_angle_x"] = 40.0


def empty_masks(folder):
    for path in (folder / "masks").glob("*"):
        Image.new("L", Image.open(path).size).save(path)


def turned_away(matrix):
    return matrix @ np.diag([-1.0, 1, -1, 1])


def moved_inside(matrix):
    return np.block([[matrix[:3, :3], np.array([[0.1], [0.2], [0.1]])], [np.array([[0, 0, 0, 1.0]])]])


NERFSTUDIO_FAULTS = {
    "frames without their files": (most_gone("images"), "wanted those of 7 frames; got 3; picture: wanted .*0000.png"),
    "masks without their files": (most_gone("masks"), "masks: wanted one for each picture; got 3 for 7"),
    "no masks, no plain background": (striped, "wanted alpha, a mask file or a plain ground; got .* without"),
    "empty masks": (empty_masks, "all are empty"),
    "json cut short": (lambda f: (f / "transforms.json").write_text('{"frames": ['), "transforms.json: wanted JSON"),
    "no frames": (edited(lambda d: d["frames"].clear()), "wanted at least 1 in transforms.json; got none"),
    "frames not a list": (edited(lambda d: d.update(frames=3)), "wanted a list of frames"),
    "no focal length": (edited(lambda d: [d.pop("fl_x"), d.pop("fl_y")]), "wanted fl_x or camera_angle_x; got neither"),
    "negative focal length": (edited(lambda d: d.update(fl_x=-5.0)), "focal lengths above 0"),
    "unknown lens": (edited(lambda d: d.update(camera_model="FOV")), "undistort the pictures"),
    "stretched matrix": (matrix_changed(lambda m: m @ np.diag([2.0, 1, 2, 1])), "rigid matrix .* view 2"),
    "degrees": (edited(in_degrees), "camera_angle_x: wanted radians, below pi; got 40, which looks like degrees"),
    "mirrored matrix": (matrix_changed(lambda m: m @ np.diag([-1.0, 1, 1, 1])), "right-handed .* view 2"),
    "camera looking away": (matrix_changed(turned_away), "view 2, which looks away"),
    "camera inside the object": (matrix_changed(moved_inside), "view 2, which stands inside"),
}


# what is wrong with one view costs that view
NERFSTUDIO_VIEW_FAULTS = {
    "truncated picture": (cut_short, "frame_00000.png: wanted a whole picture; got a damaged"),
    "pictures of different sizes": (
        resized_picture,
        "wanted 24 x 24 px as declared, or that scaled; got 20 x 24 px; declare",
    ),
    "masks of another shape": (other_mask, r"wanted \(24, 24\) px as its picture, or that scaled; got \(24, 12\)"),
    "non-finite matrix": (matrix_changed(lambda m: m * np.nan), "frame_00002.png: wanted a pose of finite numbers"),
    "matrix of 3 x 3": (matrix_changed(lambda m: m[:3, :3]), "transform_matrix of 4 x 4"),
    "a pose that is not known": (
        edited(lambda d: d["frames"][2].update(transform_matrix=None)),
        "got .* for frame_00002",
    ),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    views = foreign.trimesh_views(size=24)
    foreign.write_srn(folder / "srn", views)
    foreign.write_nerfstudio(folder / "nerfstudio", views)
    return folder


@pytest.mark.parametrize("fault", NERFSTUDIO_FAULTS)
def test_a_faulty_object_is_refused_alone_and_skipped_among_others(fault, good, tmp_path):
    spoil, message = NERFSTUDIO_FAULTS[fault]
    shutil.copytree(good / "nerfstudio", tmp_path / "data" / "faulty")
    spoil(tmp_path / "data" / "faulty")
    options = {"size": 16, "scale": 1.0, "offset": (0.0, 0.0, 0.0)}
    with pytest.raises(ValueError, match=message):
        foreign.prepare(NERFSTUDIO, tmp_path / "data", tmp_path / "out.zip", **options)
    assert list(tmp_path.glob("*.zip*")) == []
    shutil.copytree(good / "nerfstudio", tmp_path / "data" / "good")
    report = foreign.prepare(NERFSTUDIO, tmp_path / "data", tmp_path / "out.zip", **options)
    assert report.objects == 1
    assert len(report.skipped) == 1
    assert report.skipped[0].startswith("faulty: ")
    assert [record.name for record in open_archive(tmp_path / "out.zip").records] == ["good"]


def on_white(size):
    picture = Image.new("RGB", size, "white")
    picture.paste("red", (6, 6, 12, 12))
    return picture


SRN_FAULTS = {
    "no pictures": (lambda f: shutil.rmtree(f / "rgb"), "wanted at least 1 in rgb/; got none"),
    "size of another shape": (
        lambda f: (f / "intrinsics.txt").write_text("30 12 12 0.\n24 48\n"),
        "wanted 48 x 24 px as declared, or that scaled; got 24 x 24",
    ),
    "empty intrinsics": (lambda f: (f / "intrinsics.txt").write_text(""), "`f cx cy 0.` first"),
    "intrinsics without size": (lambda f: (f / "intrinsics.txt").write_text("30 12 12 0.\n"), "`H W` last"),
}


SRN_VIEW_FAULTS = {
    "picture without pose": (lambda f: (f / "pose" / "000001.txt").unlink(), "wanted .*000001.txt; got no such file"),
    "pose cut short": (
        lambda f: (f / "pose" / "000001.txt").write_text("1 0 0"),
        "wanted 16 numbers; got 3 in 000001.txt",
    ),
    "words in a pose": (
        lambda f: (f / "pose" / "000001.txt").write_text("x " * 16),
        "got something else in 000001.txt",
    ),
    "pictures of different sizes": (
        lambda f: on_white((20, 24)).save(f / "rgb" / "000002.png"),
        "wanted 24 x 24 px as declared, or that scaled; got 20 x 24",
    ),
    "truncated picture": (
        lambda f: (f / "rgb" / "000001.png").write_bytes(b"\x89PNG"),
        "000001.png: wanted a whole picture; got a damaged",
    ),
    "non-finite pose": (
        lambda f: (f / "pose" / "000001.txt").write_text("nan " * 16),
        "000001.png: wanted a pose of finite numbers",
    ),
}


@pytest.mark.parametrize("fault", SRN_FAULTS)
def test_a_faulty_srn_object_is_refused(fault, good, tmp_path):
    spoil, message = SRN_FAULTS[fault]
    shutil.copytree(good / "srn", tmp_path / "faulty")
    spoil(tmp_path / "faulty")
    with pytest.raises(ValueError, match=message):
        foreign.prepare(SRN, tmp_path / "faulty", tmp_path / "out.zip", size=16)


ONE_VIEW = [(NERFSTUDIO, "nerfstudio", fault) for fault in NERFSTUDIO_VIEW_FAULTS]
ONE_VIEW += [(SRN, "srn", fault) for fault in SRN_VIEW_FAULTS]


@pytest.mark.parametrize(("reader", "kind", "fault"), ONE_VIEW)
def test_a_faulty_view_costs_that_view(reader, kind, fault, good, tmp_path):
    spoil, message = (NERFSTUDIO_VIEW_FAULTS if reader is NERFSTUDIO else SRN_VIEW_FAULTS)[fault]
    shutil.copytree(good / kind, tmp_path / "faulty")
    spoil(tmp_path / "faulty")
    report = foreign.prepare(reader, tmp_path / "faulty", tmp_path / "out.zip", size=16)
    assert re.search(rf"1 of 7 views left out, the first: .*{message}", str(report))
    assert len(open_archive(tmp_path / "out.zip").read(0).pictures) == 6


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_missing_and_empty_folders_are_named(reader, tmp_path):
    with pytest.raises(ValueError, match=r"source: wanted a folder, or a .zip or .tar.gz of one; got .*nowhere"):
        foreign.prepare(reader, tmp_path / "nowhere", tmp_path / "out.zip")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"source: wanted \S+.* in .*empty or below; got none"):
        foreign.prepare(reader, tmp_path / "empty", tmp_path / "out.zip")
    with pytest.raises(ValueError, match="mask: wanted one of auto, alpha"):
        foreign.prepare(reader, tmp_path / "empty", tmp_path / "out.zip", mask="magic")


def test_one_view_needs_a_stated_placement(good, tmp_path):
    with pytest.raises(ValueError, match="got axes all but parallel"):
        foreign.prepare(SRN, good / "srn", tmp_path / "out.zip", size=16, views=1)
    report = foreign.prepare(SRN, good / "srn", tmp_path / "out.zip", size=16, views=1, scale=1.0, offset=(0, 0, 0))
    assert report.objects == 1


def test_a_failure_leaves_the_older_archive_intact(good, tmp_path):
    foreign.prepare(SRN, good / "srn", tmp_path / "out.zip", size=16)
    before = (tmp_path / "out.zip").read_bytes()
    shutil.copytree(good / "srn", tmp_path / "faulty")
    shutil.rmtree(tmp_path / "faulty" / "pose")
    with pytest.raises(ValueError, match="got none of 1"):
        foreign.prepare(SRN, tmp_path / "faulty", tmp_path / "out.zip", size=16)
    assert (tmp_path / "out.zip").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".part"] == []
