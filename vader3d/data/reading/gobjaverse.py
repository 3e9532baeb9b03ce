"""Reads G-Objaverse and Cap3D's renders: 00000.json beside 00000.png."""

import math
from pathlib import Path

import numpy as np

from vader3d.data.reading.assembly import SourceView, assembled_object, chosen_views
from vader3d.data.reading.mask_files import given_mask
from vader3d.data.reading.pictures import picture_size
from vader3d.data.reading.reader import Reader, Reading
from vader3d.data.writer import PreparedObject
from vader3d.geometry.cameras import signs_of
from vader3d.untrusted import is_litter, read_json
from vader3d.untrusted import reading as parsing

INNER = "campos_512_v4"


def read_object(folder: Path, name: str, reading: Reading) -> PreparedObject:
    """The object of 00000/00000.json and .png (or without folders), in campos_512_v4 or right in its folder."""
    place = folder / INNER if (folder / INNER).is_dir() else folder
    documents = sorted(path for path in (*place.glob("[0-9]*/*.json"), *place.glob("*.json")) if path.stem.isdigit())
    found = [path for path in documents if path.with_suffix(".png").is_file()]
    if not found:
        raise ValueError("pictures: wanted 00000.png beside 00000.json; got none")
    views = [source_view(path, reading) for path in chosen_views(found, reading.views)]
    return assembled_object(name, folder, views, reading)


def source_view(path: Path, reading: Reading) -> SourceView:
    """A camera of `origin` and the directions `x` right, `y` down, `z` forward; `x_fov`, `y_fov` in radians."""
    picture = path.with_suffix(".png")
    height, width = picture_size(picture)
    document = read_json(path)
    with parsing(path, "origin, x, y, z, x_fov"):
        matrix = np.eye(4)
        matrix[:3] = np.stack([np.asarray(document[key], float) for key in ("x", "y", "z", "origin")], 1)
        fovs = [float(document["x_fov"]), float(document.get("y_fov", document["x_fov"]))]
        across, down = (math.radians(fov) if fov > math.pi else fov for fov in fovs)
        lens = [width / 2 / math.tan(across / 2), height / 2 / math.tan(down / 2), width / 2, height / 2]
    matrix[:3, :3] *= signs_of(reading.axes, usual="opencv")
    alpha = path.with_name(f"{path.stem}_MatAlpha.png")
    mask = alpha if alpha.is_file() else given_mask(picture)
    return SourceView(picture, matrix, np.array(lens), (height, width), mask)


def object_folders(source: Path) -> list[Path]:
    """The folders that hold 00000/00000.json or 00000.json; of campos_512_v4 the one above."""
    flat = {path.parent for path in source.rglob("00000.json") if not is_litter(path.relative_to(source))}
    folders = {folder.parent if folder.name == "00000" and folder != source else folder for folder in flat}
    return sorted({folder.parent if folder.name == INNER and folder != source else folder for folder in folders})


GOBJAVERSE = Reader(
    name="gobjaverse",
    what="G-Objaverse and Cap3D's renders: 00000/00000.json (origin, x, y, z, x_fov) and 00000.png.",
    source="A folder of objects at any depth, or one of them.",
    markers=("00000.json",),
    mask="auto",
    read_object=read_object,
    folders=object_folders,
)
