"""Reads LLFF: pictures beside poses_bounds.npy."""

import io
from pathlib import Path

import numpy as np

from vader3d.data.reading.assembly import SourceView, assembled_object, chosen_views, each_view
from vader3d.data.reading.mask_files import given_mask
from vader3d.data.reading.projections import pictures_in
from vader3d.data.reading.reader import Reader, Reading
from vader3d.data.writer import PreparedObject
from vader3d.geometry.cameras import signs_of
from vader3d.untrusted import read_bytes
from vader3d.untrusted import reading as parsing

POSES = "poses_bounds.npy"
PICTURES = ("images", "images_2", "images_4", "images_8", "rgb")
POSES_BYTES = 2**24


def read_object(folder: Path, name: str, reading: Reading) -> PreparedObject:
    """The object of poses_bounds.npy, a row a picture of images/ (or images_4/ ...) in the order of names.

    A row is 3 x 5 numbers, world_from_camera with axes down, right, backwards beside height, width, focal length, and
    how near and far something is.
    """
    rows = read_poses(folder / POSES)
    found = [(place, pictures) for place in PICTURES if (pictures := pictures_in(folder / place))]
    fitting = [pictures for _, pictures in found if len(pictures) == len(rows)]
    if not fitting:
        counts = ", ".join(f"{len(pictures)} in {place}" for place, pictures in found) or "none"
        raise ValueError(f"pictures: wanted {len(rows)}, one a row of {POSES}; got {counts}")
    pairs = chosen_views(list(zip(fitting[0], rows, strict=True)), reading.views)
    views = each_view(lambda pair: source_view(*pair, reading), pairs)
    return assembled_object(name, folder, views, reading)


def read_poses(path: Path) -> np.ndarray:
    """Float [N, 17]; ValueError for another array."""
    with parsing(path, "an array of 17 numbers a picture"):
        rows = np.load(io.BytesIO(read_bytes(path, most=POSES_BYTES)), allow_pickle=False).astype(np.float64)
        if rows.ndim != 2 or rows.shape[1] not in (15, 17) or not np.isfinite(rows[:, :15]).all():
            raise ValueError(f"poses: wanted 17 finite numbers a picture; got {rows.shape}")
    return rows


def source_view(picture: Path, row: np.ndarray, reading: Reading) -> SourceView:
    numbers = row[:15].reshape(3, 5)
    down, right, backwards, centre, (height, width, focal) = numbers.T
    matrix = np.eye(4)
    matrix[:3] = np.stack([right, down, -backwards, centre], 1)
    matrix[:3, :3] *= signs_of(reading.axes, usual="opencv")
    lens = np.array([focal, focal, width / 2, height / 2])
    return SourceView(picture, matrix, lens, (height, width), given_mask(picture))


LLFF = Reader(
    name="llff",
    what="LLFF: images/ beside poses_bounds.npy.",
    source="A folder of scenes, each with poses_bounds.npy, or one of them.",
    markers=(POSES,),
    mask="auto",
    read_object=read_object,
)
