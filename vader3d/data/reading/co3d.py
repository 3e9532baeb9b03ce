"""Reads CO3D v2: sequences whose cameras stand in frame_annotations."""

import gzip
import json
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from vader3d.data.reading.assembly import SourceView, assembled_object, chosen_views
from vader3d.data.reading.mask_files import given_mask
from vader3d.data.reading.reader import Reader, Reading
from vader3d.data.reading.transforms import inside
from vader3d.data.writer import PreparedObject
from vader3d.geometry.cameras import signs_of
from vader3d.untrusted import ZIP_FREE_BYTES, ZIP_RATIO
from vader3d.untrusted import reading as parsing

ANNOTATIONS = "frame_annotations.jgz"
UNPACKED_BYTES = 2**30


def read_object(folder: Path, name: str, reading: Reading) -> PreparedObject:
    """The object of CATEGORY/SEQUENCE/images, whose cameras CATEGORY/frame_annotations.jgz has.

    Pictures that were not downloaded are left out. The category becomes the object's.
    """
    root, listed = folder.parent.parent, sequences(folder.parent / ANNOTATIONS).get(folder.name, [])
    frames = [json.loads(text) for text in listed]
    with parsing(f"{ANNOTATIONS}: {folder.name}", "image, viewpoint of each frame"):
        there = [frame for frame in frames if inside(root, frame["image"]["path"]).is_file()]
        if not there:
            raise ValueError(f"pictures: wanted those of {len(frames)} frames; got none")
        views = [source_view(root, frame, reading) for frame in chosen_views(there, reading.views)]
    return assembled_object(name, folder, views, replace(reading, category=reading.category or folder.parent.name))


@lru_cache(maxsize=1)
def sequences(path: Path) -> dict[str, list[str]]:
    """The frames of each sequence, as the JSON that they are: a category's are too many to hold them otherwise."""
    most = min(UNPACKED_BYTES, ZIP_FREE_BYTES + ZIP_RATIO * path.stat().st_size)
    found: dict[str, list[str]] = {}
    with parsing(path, "a gzipped list of frames"):
        with gzip.open(path) as file:
            data = file.read(most + 1)
        if len(data) > most:
            raise ValueError(f"frames: wanted at most {most} bytes unpacked; got more")
        text, decode, at = data.decode(), json.JSONDecoder().raw_decode, 0
        while (start := text.find("{", at)) >= 0:
            frame, at = decode(text, start)
            found.setdefault(str(frame["sequence_name"]), []).append(text[start:at])
    return found


def source_view(root: Path, frame: Mapping[str, Any], reading: Reading) -> SourceView:
    """A frame's camera: rows of X R + T, axes left, up, forward; a lens in units of the picture's halves."""
    picture, seen = inside(root, frame["image"]["path"]), frame["viewpoint"]
    height, width = (float(side) for side in frame["image"]["size"])
    camera_from_world = np.eye(4)
    camera_from_world[:3, :3] = np.asarray(seen["R"], float).T
    camera_from_world[:3, 3] = seen["T"]
    matrix = np.linalg.inv(camera_from_world)
    matrix[:3, :3] *= signs_of(reading.axes, usual="pytorch3d")
    half = np.array([width, height]) / 2
    form = seen.get("intrinsics_format", "ndc_norm_image_bounds")
    if form not in ("ndc_norm_image_bounds", "ndc_isotropic"):
        raise ValueError(f"intrinsics_format: wanted ndc_norm_image_bounds or ndc_isotropic; got {form!r}")
    unit = half if form == "ndc_norm_image_bounds" else np.full(2, half.min())
    focal, point = np.asarray(seen["focal_length"], float), np.asarray(seen["principal_point"], float)
    lens = np.concatenate([np.broadcast_to(focal, 2) * unit, half - point * unit])
    listed = inside(root, frame["mask"]["path"]) if (frame.get("mask") or {}).get("path") else None
    mask = listed if listed is not None and listed.is_file() else given_mask(picture)
    return SourceView(picture, matrix, lens, (height, width), mask)


def object_folders(source: Path) -> list[Path]:
    """The sequences that annotations at `source` or below, or right above it, list and that are there."""
    if (source.parent / ANNOTATIONS).is_file() and (source / "images").is_dir():
        return [source]
    return sorted(folder for path in source.rglob(ANNOTATIONS) for folder in listed_folders(path))


def listed_folders(path: Path) -> list[Path]:
    """A category's sequences; where its annotations are damaged all folders with images, so that they are named."""
    try:
        return [folder for name in sequences(path) if (folder := path.parent / Path(name).name).is_dir()]
    except ValueError:
        return [folder for folder in path.parent.iterdir() if (folder / "images").is_dir()]


CO3D = Reader(
    name="co3d",
    what="CO3D v2: CATEGORY/SEQUENCE/images and masks, and CATEGORY/frame_annotations.jgz.",
    source="A folder of categories, or one of them, or a sequence in it.",
    markers=(ANNOTATIONS,),
    mask="auto",
    read_object=read_object,
    folders=object_folders,
)
