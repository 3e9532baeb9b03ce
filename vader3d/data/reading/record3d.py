"""Reads Record3D's exports: rgbd/ beside metadata."""

from pathlib import Path

import numpy as np

from vader3d.data.reading.assembly import SourceView, assembled_object, chosen_views
from vader3d.data.reading.mask_files import given_mask
from vader3d.data.reading.pictures import PICTURE_SUFFIXES
from vader3d.data.reading.reader import Reader, Reading
from vader3d.data.writer import PreparedObject
from vader3d.geometry.cameras import signs_of
from vader3d.untrusted import read_json
from vader3d.untrusted import reading as parsing

DOCUMENTS = ("metadata", "metadata.json")
PICTURES = ("rgbd", "rgb", "EXR_RGBD/rgb")


def read_object(folder: Path, name: str, reading: Reading) -> PreparedObject:
    """The object of rgbd/0.jpg, 1.jpg, ... and metadata: K (column by column), w, h, poses (a quaternion, a place)."""
    path = next((folder / document for document in DOCUMENTS if (folder / document).is_file()), None)
    if path is None:
        raise ValueError("metadata: wanted it beside rgbd/; got none")
    document = read_json(path)
    places = (folder / place for place in PICTURES)
    pictures = [each for place in places for each in place.glob("[0-9]*") if each.suffix.lower() in PICTURE_SUFFIXES]
    with parsing(path, "K, poses, w, h"):
        columns = np.asarray(document["K"], float).reshape(3, 3)
        lens = np.array([columns[0, 0], columns[1, 1], columns[2, 0], columns[2, 1]])
        size, poses = (float(document["h"]), float(document["w"])), np.asarray(document["poses"], float).reshape(-1, 7)
        numbered = {int(each.stem): each for each in pictures if each.stem.isdigit()}
        chosen = chosen_views(sorted(number for number in numbered if number < len(poses)), reading.views)
        if not chosen:
            raise ValueError(f"pictures: wanted rgbd/0.jpg and so on for {len(poses)} poses; got {len(pictures)}")
        views = [
            SourceView(numbered[number], pose_of(poses[number], reading), lens, size, given_mask(numbered[number]))
            for number in chosen
        ]
    return assembled_object(name, folder, views, reading)


def pose_of(numbers: np.ndarray, reading: Reading) -> np.ndarray:
    """world_from_camera [4, 4] of (qx, qy, qz, qw, x, y, z), whose axes are ARKit's: right, up, backwards."""
    from scipy.spatial.transform import Rotation

    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = Rotation.from_quat(numbers[:4]).as_matrix(), numbers[4:]
    matrix[:3, :3] *= signs_of(reading.axes, usual="opengl")
    return matrix


RECORD3D = Reader(
    name="record3d",
    what="Record3D's exports: rgbd/0.jpg ... beside metadata (K, w, h, poses).",
    source="A folder of captures, each with rgbd/ and metadata, or one of them, or its .zip.",
    markers=("rgbd", "EXR_RGBD"),
    mask="auto",
    read_object=read_object,
)
