"""Reads PLY, in words and in binary, with polygons of any size."""

import io
import re
from collections import defaultdict
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from vader3d.data.making.parts import PLAIN, Part, Parts, texels_of
from vader3d.data.making.polygons import triangulated
from vader3d.data.mesh_files import check_faces
from vader3d.untrusted import reason_of

WORDS = "char:i1 uchar:u1 short:i2 ushort:u2 int:i4 uint:u4 float:f4 double:f8 int8:i1 uint8:u1 int16:i2 uint16:u2"
TYPES = dict(pair.split(":") for pair in f"{WORDS} int32:i4 uint32:u4 float32:f4 float64:f8".split())
CORNERS, PLACES = ("vertex_indices", "vertex_index"), (("s", "t"), ("u", "v"), ("texture_u", "texture_v"))
PAINTS = (("red", "green", "blue"), ("r", "g", "b"), ("diffuse_red", "diffuse_green", "diffuse_blue"))

Columns = dict[str, np.ndarray]


class Property(NamedTuple):
    """One of an element; `counted` is the type of a list's length."""

    name: str
    kind: str
    counted: str = ""


def parts_of_ply(data: bytes, resolve: Callable[[str], bytes]) -> Parts:
    """The triangles of a PLY; ValueError for one that is cut short or has no points."""
    head, mark, body = data.partition(b"end_header")
    body = body[2 if body[:2] == b"\r\n" and b"\r\n" in head else 1 :]
    head = head.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    lines = [line.split() for line in head.decode("latin-1").splitlines() if line.strip()]
    kind = next((line[1] for line in lines if line[0] == "format" and len(line) > 1), "")
    if not mark or kind not in ("ascii", "binary_little_endian", "binary_big_endian"):
        raise ValueError(f"ply: wanted a header with a format; got {kind or 'none'}")
    numbers = Numbers(body, kind)
    elements = {name: grouped(numbers, count, properties) for name, count, properties in elements_of(lines)}
    (vertices,) = elements.get("vertex", [{}])
    if not {"x", "y", "z"} <= set(vertices):
        raise ValueError("ply: wanted vertices with x, y and z; got none")
    if "tristrips" in elements:
        raise ValueError("ply: wanted faces; got strips of triangles (tristrips); save it anew (MeshLab, Blender)")
    if not elements.get("face"):
        raise ValueError("ply: wanted faces; got points alone, as of a point cloud or of splats")
    found = Parts()
    named = re.findall(rb"(?mi)^comment\s+TextureFile\s+(.+?)$", head)
    texels = [texels_named(name.decode("latin-1").strip(), resolve, found) for name in named] or [None]
    for rows in elements["face"]:
        if any(name in rows for name in CORNERS):
            none = np.zeros(len(next(iter(rows.values()))))
            which = np.clip(rows.get("texnumber", none), 0, len(texels) - 1)
            for number in np.unique(which):
                some = {name: values[which == number] for name, values in rows.items()}
                part = part_of(some, vertices, texels[int(number)])
                found.parts += [part] if part is not None else []
    return found


def part_of(rows: Columns, vertices: Columns, texels: np.ndarray | None) -> Part | None:
    """The triangles of polygons that have the same number of corners."""
    corners = next(rows[name] for name in CORNERS if name in rows).astype(np.int64)
    points = np.stack([vertices[axis] for axis in "xyz"], -1).astype(float)
    if corners.shape[1] < 3 or not len(corners):
        return None
    check_faces(len(corners) * (corners.shape[1] - 2))
    if corners.min() < 0 or corners.max() >= len(points):
        raise ValueError(f"ply: wanted corners of 0 to {len(points) - 1}; got {corners.min()} to {corners.max()}")
    which, triples = triangulated(points[corners])
    pick = (which[:, None], triples)
    colours = np.full((*corners.shape, 3), PLAIN if texels is None else 1.0)
    if (own := painted(vertices)) is not None:
        colours = own[corners]
    elif (own := painted(rows)) is not None:
        colours = np.repeat(own[:, None], corners.shape[1], 1)
    uv = np.zeros((*corners.shape, 2))
    if "texcoord" in rows and rows["texcoord"].shape[1] == 2 * corners.shape[1]:
        uv = rows["texcoord"].reshape(*corners.shape, 2)
    elif pair := next((pair for pair in PLACES if set(pair) <= set(vertices)), None):
        uv = np.stack([vertices[name] for name in pair], -1)[corners]
    return Part(points[corners][pick], colours[pick], uv[pick].astype(float), texels)


def painted(columns: Columns) -> np.ndarray | None:
    """Colours [N, 3] in [0, 1], of whole numbers or of shares; None where there are none."""
    names = next((names for names in PAINTS if set(names) <= set(columns)), None)
    if names is None:
        return None
    colours = np.stack([columns[name] for name in names], -1)
    top = colours.max(initial=0)
    most = 1 if columns[names[0]].dtype.kind == "f" and top <= 1 else 255 if top <= 255 else 65535
    return np.clip(colours / most, 0, 1)


def texels_named(name: str, resolve: Callable[[str], bytes], found: Parts) -> np.ndarray | None:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(resolve(name))) as image:
            return texels_of(image)
    except (OSError, KeyError, ValueError, SyntaxError) as error:
        found.note(f"textures left out: {name}: {reason_of(error)}")
    return None


def elements_of(lines: list[list[str]]) -> list[tuple[str, int, list[Property]]]:
    """Name, number and properties of every element that a header declares."""
    elements: list[tuple[str, int, list[Property]]] = []
    for line in lines:
        if line[0] == "element":
            elements.append((line[1], int(line[2]), []))
        elif line[0] == "property" and line[1] == "list":
            elements[-1][2].append(Property(line[4], TYPES[line[3]], TYPES[line[2]]))
        elif line[0] == "property":
            elements[-1][2].append(Property(line[2], TYPES[line[1]]))
    return elements


def grouped(numbers: "Numbers", count: int, properties: list[Property]) -> list[Columns]:
    """An element's columns, [N] or [N, length] for lists; one group for each number of entries that lists have."""
    if not any(each.counted for each in properties):
        return [numbers.columns(count, properties, {})]
    start = numbers.at
    if count:
        lengths = {name: len(values) for name, values in numbers.row(properties).items() if np.ndim(values)}
        numbers.at = start
        try:
            rows = numbers.columns(count, properties, lengths)
        except ValueError:
            rows = {}
        if rows and all((rows[f"{name} #"] == length).all() for name, length in lengths.items()):
            return [rows]
    numbers.at, groups = start, defaultdict(list)
    for _ in range(count):
        row = numbers.row(properties)
        groups[tuple(np.size(values) for values in row.values())].append(row)
    return [{name: np.array([row[name] for row in rows]) for name in rows[0]} for rows in groups.values()]


class Numbers:
    """The numbers behind a header, taken one after the other."""

    def __init__(self, body: bytes, kind: str):
        self.words = np.array(body.replace(b",", b".").split(), float) if kind == "ascii" else None
        self.body, self.order, self.at = body, "<" if "little" in kind else ">", 0

    def columns(self, count: int, properties: list[Property], lengths: dict[str, int]) -> Columns:
        """`count` rows whose lists have these lengths; a list's own length stands in the column "NAME #"."""
        fields: list[tuple[str, str, tuple[int, ...]]] = []
        for name, kind, counted in properties:
            fields += [(f"{name} #", self.order + counted, ())] if counted else []
            fields.append((name, self.order + kind, (lengths[name],) if counted else ()))
        layout = np.dtype(fields)
        if self.words is None:
            rows = np.frombuffer(self.body, layout, count, self.at)
            self.at += layout.itemsize * count
            return {name: rows[name] for name, _, _ in fields}
        widths = [int(np.prod(shape)) for _, _, shape in fields]
        table = self.words[self.at : self.at + count * sum(widths)].reshape(count, sum(widths))
        self.at += count * sum(widths)
        ends = np.cumsum(widths)
        return {
            name: table[:, end - width : end].reshape(count, *shape).astype(kind)
            for (name, kind, shape), width, end in zip(fields, widths, ends, strict=True)
        }

    def row(self, properties: list[Property]) -> Columns:
        row = {}
        for name, kind, counted in properties:
            length = int(self.take(counted, 1)[0]) if counted else 1
            values = self.take(kind, length)
            row[name] = values if counted else values[0]
        return row

    def take(self, kind: str, count: int) -> np.ndarray:
        if count < 0:
            raise ValueError(f"ply: wanted a length of at least 0; got {count}")
        if self.words is not None:
            values = self.words[self.at : self.at + count]
            self.at += count
            if len(values) < count:
                raise ValueError("ply: wanted more numbers; got the end, it is cut short")
            return values.astype(kind)
        values = np.frombuffer(self.body, self.order + kind, count, self.at)
        self.at += values.nbytes
        return values
