"""Reads EG3D's folders: pictures beside dataset.json."""

from pathlib import Path
from typing import Any

import numpy as np

from vader3d.data.reading.assembly import SourceView, assembled_object, chosen_views, each_view
from vader3d.data.reading.frames import matrix_of
from vader3d.data.reading.mask_files import given_mask
from vader3d.data.reading.pictures import picture_size
from vader3d.data.reading.reader import Reader, Reading
from vader3d.data.reading.transforms import declared_size, inside
from vader3d.data.writer import PreparedObject
from vader3d.geometry.cameras import signs_of
from vader3d.untrusted import read_json
from vader3d.untrusted import reading as parsing

DOCUMENT = "dataset.json"
IN_PX = 2.0  # middles from here on are no shares of a side


def read_object(folder: Path, name: str, reading: Reading) -> PreparedObject:
    """The object of a folder's pictures, whose cameras dataset.json has: 16 numbers of world_from_camera, 9 of lenses.

    dataset.json lies in the folder, or in the one above for all folders beside.
    """
    path = next(place for place in (folder / DOCUMENT, folder.parent / DOCUMENT) if place.is_file())
    pairs = labelled(path)
    own = [(picture, label) for picture, label in pairs if picture.parent == folder and picture.is_file()]
    if not own:
        raise ValueError(f"pictures: wanted those of {path.name} in {folder.name}; got none of {len(pairs)}")
    views = each_view(lambda pair: source_view(*pair, reading), chosen_views(own, reading.views))
    return assembled_object(name, folder, views, reading)


def labelled(path: Path) -> list[tuple[Path, Any]]:
    """The pictures that a dataset.json names, with what it says of each: pairs, or numbers by names."""
    document = read_json(path)
    labels = document.get("labels", document) if isinstance(document, dict) else document
    labels = [*labels.items()] if isinstance(labels, dict) else labels
    if not isinstance(labels, list):
        raise ValueError(f"{path}: wanted a list of labels, [picture, numbers]; got none")
    with parsing(path, "a list of labels, [picture, numbers]"):
        return [(inside(path.parent, str(file)), label) for file, label in labels]


def source_view(picture: Path, label: object, reading: Reading) -> SourceView:
    with parsing(picture.name, "numbers of a camera"):
        numbers = np.asarray(label, np.float64)
    if numbers.shape != (25,):
        raise ValueError(f"labels: wanted 25 numbers for each picture; got {numbers.shape} for {picture.name}")
    matrix, lens = matrix_of(numbers[:16], picture.name), numbers[16:].reshape(3, 3)
    matrix[:3, :3] *= signs_of(reading.axes, usual="opencv")
    height, width = picture_size(picture)
    side = width if np.isclose(lens[0, 0], lens[1, 1]) else height  # equal shares are of one side: pixels are square
    intrinsics = lens[[0, 1, 0, 1], [0, 1, 2, 2]]
    if lens[0, 2] < IN_PX:  # shares
        return SourceView(
            picture, matrix, intrinsics * [width, side, width, height], (height, width), given_mask(picture)
        )
    size, note, _ = declared_size({"cx": lens[0, 2], "cy": lens[1, 2]}, picture)
    return SourceView(picture, matrix, intrinsics, size, given_mask(picture), note=note)


def object_folders(source: Path) -> list[Path]:
    """Those with pictures that a dataset.json at `source` or below names."""
    return sorted({picture.parent for path in source.rglob(DOCUMENT) for picture, _ in labelled(path)})


EG3D = Reader(
    name="eg3d",
    what="EG3D's folders: pictures and dataset.json with 25 numbers of a camera each; a folder is an object.",
    source="A folder with dataset.json, or a .zip or .tar.gz of one.",
    markers=(DOCUMENT,),
    mask="auto",
    read_object=read_object,
    folders=object_folders,
)
