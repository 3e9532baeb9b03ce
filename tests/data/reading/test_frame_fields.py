"""Documents of frames by other names."""

import foreign
import numpy as np
import pytest
from marked import check_marked, each, edit, prepared

CALLED = ["c2w", "pose", "camera_to_world", "cam2world_matrix", "cameraToWorld"]


def opencv(frame):
    return np.array(frame["transform_matrix"]) @ np.diag([1.0, -1, -1, 1])


@pytest.mark.parametrize("name", CALLED)
def test_poses_may_be_called_otherwise(name, folder, views):
    edit(folder, each(lambda frame: frame.update({name: frame.pop("transform_matrix")})))
    check_marked(prepared(folder)[0], truth=views)


def inverted(frame):
    matrix = np.linalg.inv(opencv(frame))
    return {"extrinsics": matrix[:3].tolist()}


def apart(frame):
    matrix = np.linalg.inv(opencv(frame))
    return {"R": matrix[:3, :3].tolist(), "T": matrix[:3, 3].tolist()}


def splatted(frame):
    matrix = opencv(frame)
    return {"rotation": matrix[:3, :3].tolist(), "position": matrix[:3, 3].tolist()}


@pytest.mark.parametrize("written", [inverted, apart, splatted])
def test_poses_may_be_written_otherwise(written, folder, views):
    edit(folder, each(lambda frame: (frame.update(written(frame)), frame.pop("transform_matrix"))))
    read, report, _ = prepared(folder)
    check_marked(read, truth=views)
    assert "read as" not in report


@pytest.mark.parametrize("name", ["image_path", "img_path", "image", "filename", "imageName", "path"])
def test_pictures_may_be_called_otherwise(name, folder, views):
    edit(folder, each(lambda frame: frame.update({name: frame.pop("file_path")})))
    check_marked(prepared(folder)[0], truth=views)


def test_a_frame_without_a_picture_says_what_it_has(folder):
    edit(folder, each(lambda frame: frame.pop("file_path")))
    with pytest.raises(ValueError, match=r"wanted a file_path in each; got one with .*transform_matrix"):
        prepared(folder)


KEYED = {
    "by name": lambda frames: {frame.pop("file_path").split("/")[1]: frame for frame in frames},
    "by number": lambda frames: {str(number): frame for number, frame in enumerate(frames)},
    "matrices": lambda frames: {frame["file_path"].split("/")[1]: frame["transform_matrix"] for frame in frames},
}


@pytest.mark.parametrize("kind", KEYED)
def test_frames_may_have_keys(kind, folder):
    edit(folder, lambda document: document.update(frames=KEYED[kind](document["frames"])))
    check_marked(prepared(folder)[0])


def test_a_list_is_its_frames(folder, views):
    focal = foreign.focal_px()
    edit(folder, each(lambda frame: frame.update(fx=focal, fy=focal, width=foreign.SIZE, height=foreign.SIZE)))
    path = folder / "transforms.json"
    edit(folder, lambda document: [document.pop(key) for key in list(document) if key != "frames"] and None)
    path.write_text(path.read_text().removeprefix('{"frames": ').removesuffix("}"))
    check_marked(prepared(folder)[0], truth=views)


def lens(document, *names):
    return {name: document.pop(name) for name in names or ("fl_x", "fl_y", "cx", "cy", "w", "h")}


def of_cameras(document, make):
    other = {"fl_x": 7.0, "w": 9, "h": 9}
    document.update(cameras=make(lens(document), other))
    for frame in document["frames"]:
        frame["camera_id"] = 3


def flat(document):
    names = lens(document)
    matrix = [names["fl_x"], 0, names["cx"], 0, names["fl_y"], names["cy"], 0, 0, 1]
    document.update(K=matrix, w=names["w"], h=names["h"])


LENSES = {
    "an object": lambda document: document.update(camera=lens(document)),
    "its own names": lambda document: document.update(
        intrinsics={
            "fx": document.pop("fl_x"),
            "fy": document.pop("fl_y"),
            "width": document.pop("w"),
            "height": document.pop("h"),
        }
    ),
    "of each frame": lambda document: [
        frame.update(intrinsics=own) for own in [lens(document)] for frame in document["frames"]
    ],
    "of cameras with numbers": lambda document: of_cameras(
        document, lambda own, other: [{"camera_id": 1, **other}, {"camera_id": 3, **own}]
    ),
    "of cameras by their names": lambda document: of_cameras(document, lambda own, other: {"1": other, "3": own}),
    "nine numbers": flat,
}


@pytest.mark.parametrize("kind", LENSES)
def test_lenses_may_be_objects_of_their_own(kind, folder, views):
    edit(folder, lambda document: LENSES[kind](document) and None)
    read, report, _ = prepared(folder)
    check_marked(read, truth=views)
    assert np.allclose(read.cameras.intrinsics[:, 0].numpy(), foreign.focal_px())
    assert "lenses: " not in report
