"""Every fault of a foreign data set gives one clear error, and spoils no other object."""

import json
import shutil

import foreign
import numpy as np
import pytest
from PIL import Image

from vader3d.data.named import open_archive
from vader3d.data.reading.nerfstudio import prepare_nerfstudio
from vader3d.data.reading.srn import prepare_srn


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


def without_masks(document):
    for frame in document["frames"]:
        del frame["mask_path"]


def empty_masks(folder):
    for path in (folder / "masks").glob("*"):
        Image.new("L", Image.open(path).size).save(path)


def turned_away(matrix):
    return matrix @ np.diag([-1.0, 1, -1, 1])


def moved_inside(matrix):
    return np.block([[matrix[:3, :3], np.array([[0.1], [0.2], [0.1]])], [np.array([[0, 0, 0, 1.0]])]])


NERFSTUDIO_FAULTS = {
    "truncated picture": (cut_short, "frame_00000.png cannot be read"),
    "pictures of different sizes": (
        resized_picture,
        "one size wanted, frame_00003.png is 20 x 24 px, those before it 24 x 24 px; take",
    ),
    "frame without its file": (lambda f: (f / "images" / "frame_00001.png").unlink(), "frame_00001.png does not exist"),
    "mask without its file": (lambda f: (f / "masks" / "frame_00001.png").unlink(), "frame_00001.png does not exist"),
    "absent masks": (edited(without_masks), "neither alpha nor a mask file"),
    "empty masks": (empty_masks, "all are empty"),
    "json cut short": (lambda f: (f / "transforms.json").write_text('{"frames": ['), "transforms.json: cannot be read"),
    "no frames": (edited(lambda d: d["frames"].clear()), "lists none"),
    "frames not a list": (edited(lambda d: d.update(frames=3)), "a list of frames"),
    "no focal length": (edited(lambda d: d.pop("fl_x")), "neither fl_x nor camera_angle_x"),
    "negative focal length": (edited(lambda d: d.update(fl_x=-5.0)), "focal lengths above 0"),
    "fisheye": (edited(lambda d: d.update(camera_model="OPENCV_FISHEYE")), "undistort the pictures"),
    "non-finite matrix": (matrix_changed(lambda m: m * np.nan), "finite numbers wanted; view 2"),
    "matrix with scale": (matrix_changed(lambda m: m @ np.diag([2.0, 2, 2, 1])), "rigid matrix .* view 2"),
    "mirrored matrix": (matrix_changed(lambda m: m @ np.diag([-1.0, 1, 1, 1])), "right-handed .* view 2"),
    "matrix of 3 x 3": (matrix_changed(lambda m: m[:3, :3]), "transform_matrix of 4 x 4"),
    "camera looking away": (matrix_changed(turned_away), "view 2, which looks away"),
    "camera inside the object": (matrix_changed(moved_inside), "view 2, which stands inside"),
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
    options = {"size": 16, "scale": 1.0, "offset": (0.0, 0.0, 0.0), "processes": 1}
    with pytest.raises(ValueError, match=message):
        prepare_nerfstudio(tmp_path / "data", tmp_path / "out.zip", **options)
    assert list(tmp_path.glob("*.zip*")) == []
    shutil.copytree(good / "nerfstudio", tmp_path / "data" / "good")
    report = prepare_nerfstudio(tmp_path / "data", tmp_path / "out.zip", **options)
    assert report.objects == 1
    assert len(report.skipped) == 1
    assert report.skipped[0].startswith("faulty: ")
    assert [record.name for record in open_archive(tmp_path / "out.zip").records] == ["good"]


SRN_FAULTS = {
    "no pictures": (lambda f: shutil.rmtree(f / "rgb"), "there are none in rgb"),
    "picture without pose": (lambda f: (f / "pose" / "000001.txt").unlink(), "000001.txt does not exist"),
    "pose cut short": (
        lambda f: (f / "pose" / "000001.txt").write_text("1 0 0"),
        "16 numbers wanted, 000001.txt holds 3",
    ),
    "words in a pose": (lambda f: (f / "pose" / "000001.txt").write_text("x " * 16), "000001.txt holds something else"),
    "size of another shape": (
        lambda f: (f / "intrinsics.txt").write_text("30 12 12 0.\n24 48\n"),
        "48 x 24 px declared, 24",
    ),
    "pictures of different sizes": (
        lambda f: Image.new("RGB", (20, 24)).save(f / "rgb" / "000002.png"),
        "000002.png is 20 x 24 px",
    ),
    "truncated picture": (lambda f: (f / "rgb" / "000001.png").write_bytes(b"\x89PNG"), "000001.png cannot be read"),
    "non-finite pose": (lambda f: (f / "pose" / "000001.txt").write_text("nan " * 16), "finite numbers wanted; view 1"),
    "empty intrinsics": (lambda f: (f / "intrinsics.txt").write_text(""), "`f cx cy 0.` first"),
    "intrinsics without size": (lambda f: (f / "intrinsics.txt").write_text("30 12 12 0.\n"), "`H W` last"),
}


@pytest.mark.parametrize("fault", SRN_FAULTS)
def test_a_faulty_srn_object_is_refused(fault, good, tmp_path):
    spoil, message = SRN_FAULTS[fault]
    shutil.copytree(good / "srn", tmp_path / "faulty")
    spoil(tmp_path / "faulty")
    with pytest.raises(ValueError, match=message):
        prepare_srn(tmp_path / "faulty", tmp_path / "out.zip", size=16)


@pytest.mark.parametrize("prepare", [prepare_nerfstudio, prepare_srn])
def test_missing_and_empty_folders_are_named(prepare, tmp_path):
    with pytest.raises(ValueError, match=r"folder wanted, .*nowhere"):
        prepare(tmp_path / "nowhere", tmp_path / "out.zip")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"no (transforms.json|intrinsics.txt)"):
        prepare(tmp_path / "empty", tmp_path / "out.zip")
    with pytest.raises(ValueError, match="mask: one of auto, alpha"):
        prepare(tmp_path / "empty", tmp_path / "out.zip", mask="magic")


def test_one_view_needs_a_stated_placement(good, tmp_path):
    with pytest.raises(ValueError, match="got axes all but parallel"):
        prepare_srn(good / "srn", tmp_path / "out.zip", size=16, views=1)
    report = prepare_srn(good / "srn", tmp_path / "out.zip", size=16, views=1, scale=1.0, offset=(0, 0, 0))
    assert report.objects == 1


def test_a_failure_leaves_the_older_archive_intact(good, tmp_path):
    prepare_srn(good / "srn", tmp_path / "out.zip", size=16)
    before = (tmp_path / "out.zip").read_bytes()
    shutil.copytree(good / "srn", tmp_path / "faulty")
    shutil.rmtree(tmp_path / "faulty" / "pose")
    with pytest.raises(ValueError, match="none of 1 objects"):
        prepare_srn(tmp_path / "faulty", tmp_path / "out.zip", size=16)
    assert (tmp_path / "out.zip").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".part"] == []
