"""Frames of a document, whatever other software calls their fields."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vader3d.untrusted import read_json

FRAMES = ("frames", "images", "views", "cameras")
CAMERA_KEYS, NUMBERS = ("camera_id", "camera", "cam_id", "cameraId"), ("camera_id", "id", "cam_id", "name")
LENSES = ("camera", "intrinsics", "intrinsic", "camera_intrinsics", "K")  # objects with fields of a lens
PICTURES = [
    "filepath",
    "imagepath",
    "imgpath",
    "rgbpath",
    "imagefile",
    "filename",
    "imagename",
    "imgname",
    "image",
    "rgb",
    "img",
    "path",
    "file",
    "name",
]
POSES = ["transform", "transformation", "c2w", "wfromc", "pose", "cpose", "matrix"]
INVERSES = ["w2c", "cfromw", "extrinsic", "extrinsics", "view"]  # usually with OpenCV's axes
WORDS = ((r"camera|cam", "c"), ("world", "w"), (r"(?<=[cw])to(?=[cw])", "2"), ("(?<=.)matrix$", ""), ("(?<=.)mat$", ""))


def read_document(path: Path) -> dict:
    """A file with a list of frames, or frames by their pictures' names; ValueError, with its name, for another."""
    document = read_json(path)
    document = document if isinstance(document, dict) else {FRAMES[0]: document}
    frames = next((document[name] for name in FRAMES if isinstance(document.get(name), (list, dict))), None)
    if isinstance(frames, dict):
        frames = [{"name": name, **as_frame(frame)} for name, frame in frames.items()]
    if not isinstance(frames, list) or not all(isinstance(frame, dict) for frame in frames):
        raise ValueError(f"{path.name}: wanted a list of frames; got none")
    return {**document, FRAMES[0]: frames}


def whole_frame(document: Mapping, frame: Mapping) -> dict:
    """A frame's fields and, where it has them not, its camera's, by number or name, and the document's.

    Lenses may be an object in either, `camera` or `intrinsics`.
    """
    cameras, key = document.get("cameras"), next((frame[name] for name in CAMERA_KEYS if name in frame), None)
    if isinstance(cameras, list):
        numbered = (
            (camera, next((camera[name] for name in NUMBERS if name in camera), number))
            for number, camera in enumerate(cameras)
            if isinstance(camera, Mapping)
        )
        cameras = {str(number): camera for camera, number in numbered}
    shared = cameras.get(str(key), {}) if isinstance(cameras, Mapping) and key is not None else {}
    fields: dict = {}
    for each in (document, shared, frame):
        inner = (each[name] for name in LENSES if isinstance(each.get(name), Mapping))
        fields |= {name: value for part in inner for name, value in part.items()} | dict(each)
    return fields


def as_frame(value: Any) -> Mapping:
    """A frame that is nothing but its matrix has it by the usual name."""
    return value if isinstance(value, dict) else {"transform_matrix": value}


def plain_name(field: str) -> str:
    """A field's name as the tables here have it: `cam_to_world_matrix` is `c2w`."""
    name = re.sub(r"[_\-\s]", "", field.lower())
    for pattern, word in WORDS:
        name = re.sub(pattern, word, name)
    return name


def named(frame: Mapping, names: Sequence[str], kind: type | tuple[type, ...]) -> Any:
    """A frame's first field of these names and of a kind; None where it has none."""
    fields = {plain_name(field): value for field, value in reversed([*frame.items()]) if isinstance(value, kind)}
    return next((fields[name] for name in names if name in fields), None)


def picture_name(frame: Mapping) -> str:
    """ValueError for a frame that names no picture."""
    name = named(frame, PICTURES, str)
    if not name:
        raise ValueError(f"frames: wanted a file_path in each; got one with {', '.join(frame) or 'nothing'}")
    return name


def matrix_of(values: Any, what: str) -> np.ndarray:
    """[4, 4] of 4 x 4 or 3 x 4 numbers, of a list of 16 or 12, also column by column; ValueError for others."""
    matrix = np.array(values, np.float64)
    if matrix.shape in ((12,), (16,)):
        matrix = matrix.reshape(-1, 4)
    if matrix.shape == (4, 4) and not matrix[:3, 3].any() and matrix[3, :3].any():
        matrix = matrix.T  # column by column
    if matrix.shape == (3, 4):
        matrix = np.concatenate([matrix, [[0, 0, 0, 1]]])
    if matrix.shape != (4, 4):
        raise ValueError(f"cameras: wanted a transform_matrix of 4 x 4 numbers; got {matrix.shape} for {what}")
    return matrix


def pose_of(frame: Mapping, what: str) -> tuple[np.ndarray, str]:
    """world_from_camera [4, 4] as a frame has it, and the axes that are usual of what it calls so.

    ValueError where it has none, or a broken one.
    """
    values = named(frame, POSES, (list, np.ndarray))
    if values is not None:
        return matrix_of(values, what), "opengl"
    fields = {field.lower(): value for field, value in frame.items() if isinstance(value, list)}
    if {"rotation", "position"} <= set(fields):  # gaussian splatting's
        return matrix_of(np.column_stack([fields["rotation"], np.ravel(fields["position"])]), what), "opencv"
    values = named(frame, INVERSES, (list, np.ndarray))
    if values is None and {"r", "t"} <= set(fields):
        values = np.column_stack([fields["r"], np.ravel(fields["t"])])
    if values is None:
        raise ValueError(f"cameras: wanted a transform_matrix of 4 x 4 numbers; got {', '.join(frame)} for {what}")
    matrix = matrix_of(values, what)
    if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix[:3, :3])) < 1e-9:
        raise ValueError(f"cameras: wanted a matrix that can be inverted; got another for {what}")
    return np.linalg.inv(matrix), "opencv"
