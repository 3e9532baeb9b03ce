"""Reads ABO's own renders: metadata.json beside render and segmentation."""

from pathlib import Path

import numpy as np

from vader3d.data.reading.assembly import SourceView, assembled_object, chosen_views
from vader3d.data.reading.pictures import PICTURE_SUFFIXES
from vader3d.data.reading.reader import Reader, Reading
from vader3d.data.writer import PreparedObject
from vader3d.geometry.cameras import signs_of
from vader3d.untrusted import read_json
from vader3d.untrusted import reading as parsing

DOCUMENT = "metadata.json"
RENDERED_PX = 512.0  # of the pictures that the lenses are for


def read_object(folder: Path, name: str, reading: Reading) -> PreparedObject:
    """The object of render/0/render_0.jpg and segmentation/segmentation_0.jpg, lit in the first of its surroundings."""
    light = min((path for path in (folder / "render").glob("*") if path.is_dir()), default=folder / "render")
    document = read_json(folder / DOCUMENT)
    with parsing(DOCUMENT, "views with K and pose"):
        numbered = {number: numbered_picture(light, "render", number) for number in range(len(document["views"]))}
        there = [(number, picture) for number, picture in numbered.items() if picture is not None]
        if not there:
            raise ValueError(f"pictures: wanted render_0.jpg and so on in {light.name}; got none")
        views = []
        for number, picture in chosen_views(there, reading.views):
            view = document["views"][number]
            matrix = np.asarray(view["pose"], float).reshape(4, 4)
            matrix[:3, :3] *= signs_of(reading.axes, usual="opengl")
            lens = np.asarray(view["K"], float).reshape(3, 3)[[0, 1, 0, 1], [0, 1, 2, 2]]
            mask = numbered_picture(folder / "segmentation", "segmentation", number)
            views.append(SourceView(picture, matrix, lens, (RENDERED_PX, RENDERED_PX), mask))
    return assembled_object(name, folder, views, reading)


def numbered_picture(folder: Path, name: str, number: int) -> Path | None:
    paths = (folder / f"{name}_{number}{suffix}" for suffix in PICTURE_SUFFIXES)
    return next((path for path in paths if path.is_file()), None)


def object_folders(source: Path) -> list[Path]:
    return sorted(path.parent for path in source.rglob(DOCUMENT) if (path.parent / "render").is_dir())


ABO = Reader(
    name="abo",
    what="ABO's own renders: metadata.json (views with K and pose) beside render/ and segmentation/.",
    source="A folder of objects (abo-benchmark-material), or one of them.",
    markers=(DOCUMENT,),
    mask="auto",
    read_object=read_object,
    folders=object_folders,
)
