"""What all relatives of Blender's transforms.json share."""

import math
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vader3d.data.reading.pictures import existing_picture
from vader3d.geometry.cameras import OPENCV_FROM_OPENGL
from vader3d.untrusted import read_json


def read_document(path: Path) -> dict:
    """A file with a list of frames; ValueError, with the file's name, for another."""
    document = read_json(path)
    frames = document.get("frames") if isinstance(document, dict) else None
    if not isinstance(frames, list) or not all(isinstance(frame, dict) for frame in frames):
        raise ValueError(f"{path.name}: wanted a list of frames; got none")
    return document


def frame_picture(folder: Path, frame: Mapping) -> Path:
    """The picture of a frame; Blender leaves the suffix out."""
    if not isinstance(frame.get("file_path"), str):
        raise ValueError("frames: wanted a file_path in each; got one without")
    return existing_picture(inside(folder, frame["file_path"]))


def inside(folder: Path, name: str) -> Path:
    """A file that a document names, in its folder or below; ValueError for one elsewhere. Links are followed."""
    if not Path(os.path.normpath(folder / name)).is_relative_to(os.path.normpath(folder)):
        raise ValueError(f"frames: wanted files in {folder} or below; got {name!r}; move or link them there")
    return folder / name


def frame_intrinsics(frame: Mapping, height: float, width: float) -> np.ndarray:
    """(fx, fy, cx, cy) in px of a picture of this size: from `fl_x`, else from `camera_angle_x` (radians)."""
    if "fl_x" in frame:
        fx, fy = float(frame["fl_x"]), float(frame.get("fl_y", frame["fl_x"]))
    elif "camera_angle_x" in frame:
        fx = 0.5 * width / math.tan(0.5 * float(frame["camera_angle_x"]))
        fy = 0.5 * height / math.tan(0.5 * float(frame["camera_angle_y"])) if "camera_angle_y" in frame else fx
    else:
        raise ValueError("cameras: wanted fl_x or camera_angle_x; got neither")
    return np.array([fx, fy, float(frame.get("cx", width / 2)), float(frame.get("cy", height / 2))])


def frame_pose(frame: Mapping, picture: str) -> np.ndarray:
    """world_from_camera [4, 4], OpenCV axes, of a `transform_matrix` whose camera looks along -z with y up."""
    matrix = np.array(frame.get("transform_matrix", []), np.float64)
    if matrix.shape == (3, 4):
        matrix = np.concatenate([matrix, [[0, 0, 0, 1]]])
    if matrix.shape != (4, 4):
        raise ValueError(f"cameras: wanted a transform_matrix of 4 x 4 numbers; got {matrix.shape} for {picture}")
    matrix[:3, :3] *= OPENCV_FROM_OPENGL
    return matrix
