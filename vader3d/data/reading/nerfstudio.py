"""Reads transforms.json as Blender, NeRF-synthetic, instant-ngp and nerfstudio write it."""

import json
import math
from pathlib import Path

import numpy as np

from vader3d.data.making.conversion import Job, PreparedObject, PrepareReport, write_archive
from vader3d.data.reading.assembly import Reading, assembled_object, chosen_views, object_names
from vader3d.data.reading.pictures import (
    PICTURE_SUFFIXES,
    check_aspect,
    check_mask,
    check_one_size,
    masked_picture,
    squared,
    undistorted,
)
from vader3d.geometry.cameras import OPENCV_FROM_OPENGL

WHOLE, SPLITS = "transforms.json", ("transforms_train.json", "transforms_val.json", "transforms_test.json")
PINHOLES = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "PERSPECTIVE")
DISTORTION = ("k1", "k2", "k3", "k4", "p1", "p2")


def prepare_nerfstudio(
    source: Path,
    output: Path,
    *,
    size: int = 64,
    views: int | None = None,
    mask: str = "auto",
    scale: float | None = None,
    offset: tuple[float, float, float] | None = None,
    category: str = "",
    quality: int = 100,
    processes: int = 2,
    title: str = "",
) -> PrepareReport:
    """Convert a folder of objects, or of one, into the archive `output`.

    source: a folder with transforms.json (or transforms_train/val/test.json, joined in this order), or one that holds
    such folders at any depth. Pictures become squares of `size` px; at most `views` of an object, evenly chosen.
    mask: `alpha`, `file` (mask_path), `white` (background), `auto` (alpha, else file).
    scale, offset: a point x of the data set's world moves to (x - offset) * scale. By default the `aabb` in the file
    fills the cube; without one the point nearest to all optical axes becomes the origin, and the largest sphere about
    it that all pictures show whole gets radius 1; the report prints what was taken.
    ValueError when no object can be used; single broken ones are skipped and reported.
    """
    source = Path(source)
    check_mask(mask)
    if not source.is_dir():
        raise ValueError(f"source: a folder wanted, {source} is none")
    folders = sorted({path.parent for name in (WHOLE, *SPLITS) for path in source.rglob(name)})
    if not folders:
        raise ValueError(f"source: no transforms.json and no transforms_train.json in {source} or below")
    reading = Reading(size, views, mask, scale, offset, category)
    names = object_names(folders, source)
    jobs = [Job(name, read_object, (folder, name, reading)) for folder, name in zip(folders, names, strict=True)]
    return write_archive(
        Path(output),
        jobs,
        title=title or source.resolve().name,
        resolution=(size, size),
        quality=quality,
        processes=processes,
    )


def read_object(folder: Path, name: str, reading: Reading) -> PreparedObject:
    """The object of one folder; ValueError says what is wrong with it."""
    files = [folder / WHOLE] if (folder / WHOLE).exists() else [folder / split for split in SPLITS]
    documents = [_document(path) for path in files if path.exists()]
    frames = [{**document, **frame} for document in documents for frame in document["frames"]]
    if not frames:
        raise ValueError(f"frames: {files[0].name} lists none")
    squares, matrices, intrinsics, shapes = [], [], [], []
    for number in chosen_views(len(frames), reading.views):
        frame = frames[number]
        path = _picture_path(folder, frame)
        mask_path = folder / frame["mask_path"] if frame.get("mask_path") else None
        pixels = masked_picture(path, mask=reading.mask, mask_path=mask_path)
        shapes.append(pixels.shape[:2])
        check_one_size(path, shapes)
        lens = _intrinsics(frame, pixels.shape[0], pixels.shape[1])
        distortion = _distortion(frame)
        if any(distortion.values()):
            pixels = undistorted(pixels, lens, distortion)
        square, lens = squared(pixels, lens, size=reading.size)
        squares.append(square)
        intrinsics.append(lens)
        matrices.append(_world_from_camera(frame, path.name))
    return assembled_object(name, folder, squares, matrices, intrinsics, reading, aabb=documents[0].get("aabb"))


def _document(path: Path) -> dict:
    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path.name}: cannot be read ({error})") from error
    if not isinstance(document, dict) or not isinstance(document.get("frames"), list):
        raise ValueError(f"{path.name}: a list of frames wanted")
    return document


def _picture_path(folder: Path, frame: dict) -> Path:
    """Blender leaves the suffix out."""
    if not isinstance(frame.get("file_path"), str):
        raise ValueError("frames: one has no file_path")
    path = folder / frame["file_path"]
    candidates = [path, *(path.with_name(path.name + suffix) for suffix in PICTURE_SUFFIXES)]
    found = next((candidate for candidate in candidates if candidate.is_file()), None)
    if found is None:
        raise ValueError(f"picture: {path} does not exist")
    return found


def _intrinsics(frame: dict, height: int, width: int) -> np.ndarray:
    """(fx, fy, cx, cy) in px of the picture as it is on the disk; declared for another size, they are scaled."""
    declared_width, declared_height = (float(frame.get(key, side)) for key, side in (("w", width), ("h", height)))
    check_aspect((declared_height, declared_width), (height, width))
    across, down = width / declared_width, height / declared_height
    if "fl_x" in frame:
        fx = float(frame["fl_x"]) * across
        fy = float(frame.get("fl_y", frame["fl_x"])) * down
    elif "camera_angle_x" in frame:
        fx = 0.5 * width / math.tan(0.5 * float(frame["camera_angle_x"]))
        fy = 0.5 * height / math.tan(0.5 * float(frame["camera_angle_y"])) if "camera_angle_y" in frame else fx
    else:
        raise ValueError("cameras: neither fl_x nor camera_angle_x is given")
    cx, cy = float(frame.get("cx", declared_width / 2)) * across, float(frame.get("cy", declared_height / 2)) * down
    return np.array([fx, fy, cx, cy])


def _distortion(frame: dict) -> dict[str, float]:
    model = frame.get("camera_model", "OPENCV")
    if model not in PINHOLES:
        raise ValueError(
            f"camera_model: {', '.join(PINHOLES)} are known, {model!r} found; undistort the pictures first"
        )
    values = frame.get("distortion_params") or [frame.get(key, 0.0) for key in DISTORTION]
    return dict(zip(DISTORTION, map(float, values), strict=False))


def _world_from_camera(frame: dict, picture: str) -> np.ndarray:
    """[4, 4] with OpenCV axes; the file's camera looks along -z with y up."""
    matrix = np.array(frame.get("transform_matrix", []), np.float64)
    if matrix.shape == (3, 4):
        matrix = np.concatenate([matrix, [[0, 0, 0, 1]]])
    if matrix.shape != (4, 4):
        raise ValueError(f"cameras: a transform_matrix of 4 x 4 numbers wanted for {picture}, {matrix.shape} found")
    matrix[:3, :3] *= OPENCV_FROM_OPENGL
    return matrix
