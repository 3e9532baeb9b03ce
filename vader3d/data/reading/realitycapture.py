"""Reads RealityCapture's exports: a CSV of cameras beside pictures."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vader3d.data.reading.assembly import SourceView, assembled_object
from vader3d.data.reading.mask_files import given_mask
from vader3d.data.reading.pictures import picture_size
from vader3d.data.reading.reader import Reader, Reading
from vader3d.data.reading.tables import beginning, found_pictures
from vader3d.data.writer import PreparedObject
from vader3d.geometry.cameras import signs_of
from vader3d.untrusted import read_bytes, text_of
from vader3d.untrusted import reading as parsing

HEAD = "#name,x,y,alt,heading,pitch,roll"
FILM_MM = 36.0  # of which focal lengths and principal points are
TABLE_BYTES = 2**24
KEYS = {"k1": "k1", "k2": "k2", "k3": "k3", "k4": "k4", "t1": "p1", "t2": "p2"}


def read_object(folder: Path, name: str, reading: Reading) -> PreparedObject:
    """The object of "internal/external camera parameters": a line a picture, which lies in the folder or below."""
    path = tables_in(folder)[0]
    with parsing(path, f"a heading {HEAD},f,px,py,k1,..."):
        text = text_of(read_bytes(path, most=TABLE_BYTES))
        lines = csv.DictReader(io.StringIO(text), delimiter=";" if text.startswith("#name;") else ",")
        rows = {str(row["#name"]): row for row in lines}
        found, note = found_pictures(folder, list(rows), reading.views)
        views = [source_view(picture, rows[each], reading) for each, picture in found]
    return assembled_object(name, folder, views, reading, notes=[note])


def source_view(picture: Path, row: Mapping[str, str], reading: Reading) -> SourceView:
    """World z up; heading clockwise from y, pitch from looking down, roll: degrees; then axes right, up, backwards."""
    from scipy.spatial.transform import Rotation

    height, width = picture_size(picture)
    values = {key: float(value.replace(",", ".")) for key, value in row.items() if key not in ("#name", None) and value}
    angles = [-values["heading"], values["pitch"], values["roll"]]
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("ZXY", angles, degrees=True).as_matrix()
    matrix[:3, 3] = [values["x"], values["y"], values["alt"]]
    matrix[:3, :3] *= signs_of(reading.axes, usual="opengl")
    unit = max(width, height) / FILM_MM
    focal, x, y = (values.get(key, 0.0) * unit for key in ("f", "px", "py"))
    distortion = {ours: values[theirs] for theirs, ours in KEYS.items() if values.get(theirs)}
    lens = np.array([focal, focal, width / 2 + x, height / 2 + y])
    return SourceView(picture, matrix, lens, (height, width), given_mask(picture), distortion)


def tables_in(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.glob("[!.]*.csv")) if HEAD.encode() in beginning(path).replace(b";", b",")]


def object_folders(source: Path) -> list[Path]:
    return sorted({path.parent for path in source.rglob("[!.]*.csv") if path in tables_in(path.parent)})


REALITYCAPTURE = Reader(
    name="realitycapture",
    what='RealityCapture\'s "internal/external camera parameters", a .csv (#name,x,y,alt,...) beside the pictures.',
    source="A folder of captures, each with such a .csv and its pictures, or one of them.",
    markers=("*.csv",),
    mask="auto",
    read_object=read_object,
    folders=object_folders,
)
