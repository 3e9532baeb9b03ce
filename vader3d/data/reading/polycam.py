"""Reads Polycam's raw data: keyframes with a camera in a JSON file each."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vader3d.data.reading.assembly import SourceView, assembled_object, chosen_views
from vader3d.data.reading.mask_files import given_mask
from vader3d.data.reading.projections import pictures_in
from vader3d.data.reading.reader import Reader, Reading
from vader3d.data.writer import PreparedObject
from vader3d.geometry.cameras import signs_of
from vader3d.untrusted import read_json
from vader3d.untrusted import reading as parsing

PLACES = (("corrected_images", "corrected_cameras"), ("images", "cameras"))  # the first that there is


def read_object(folder: Path, name: str, reading: Reading) -> PreparedObject:
    """The object of keyframes/corrected_images and corrected_cameras, else images and cameras."""
    inner = folder / "keyframes"
    for images, cameras in PLACES:
        paths = [(path, inner / cameras / f"{path.stem}.json") for path in pictures_in(inner / images)]
        pairs = [(picture, camera) for picture, camera in paths if camera.is_file()]
        if pairs:
            views = [source_view(picture, camera, reading) for picture, camera in chosen_views(pairs, reading.views)]
            return assembled_object(name, folder, views, reading)
    raise ValueError("pictures: wanted keyframes/images/NAME.jpg with keyframes/cameras/NAME.json; got none")


def source_view(picture: Path, camera: Path, reading: Reading) -> SourceView:
    document = read_json(camera)
    with parsing(camera, "fx, fy, cx, cy, width, height and t_00 to t_23"):
        lens = np.array([float(document[key]) for key in ("fx", "fy", "cx", "cy")])
        size = (float(document["height"]), float(document["width"]))
        matrix = pose_of(document)
    matrix[:3, :3] *= signs_of(reading.axes, usual="opengl")
    return SourceView(picture, matrix, lens, size, given_mask(picture))


def pose_of(document: Mapping[str, Any]) -> np.ndarray:
    """ARKit's world_from_camera [4, 4], axes right, up, backwards."""
    matrix = np.eye(4)
    matrix[:3] = [[float(document[f"t_{row}{column}"]) for column in range(4)] for row in range(3)]
    return matrix


POLYCAM = Reader(
    name="polycam",
    what="Polycam's raw data: keyframes/images (or corrected_images) and keyframes/cameras, a JSON file a picture.",
    source="A folder of captures, each with keyframes/, or one of them, or its .zip.",
    markers=("keyframes/cameras", "keyframes/corrected_cameras"),
    mask="auto",
    read_object=read_object,
)
