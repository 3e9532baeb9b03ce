"""Mesh files in words: encodings, ends of lines, decimal commas."""

import re

import numpy as np
import pytest
from surfaces import area, colour_of

from vader3d.data.making.surface import load_surface

OBJ = "mtllib m.mtl\nusemtl m\nv 0.5 0.0 0.0\nv 2.0 0.0 0.0\nv 2.0 1.0 0.0\nv 0.5 1.0 0.0\nf 1 2 3 4\n"
FACET = "facet normal 0 0 1\nouter loop\nvertex {}\nvertex {}\nvertex {}\nendloop\nendfacet\n"
CORNERS = ("0.5 0.0 0.0", "2.0 0.0 0.0", "2.0 1.0 0.0", "0.5 1.0 0.0")
PLY = "ply\nformat ascii 1.0\nelement vertex 4\nproperty float x\nproperty float y\nproperty float z\nelement face 1\n"
FILES = {  # a rectangle of 1.5 x 1, in each format
    "m.obj": OBJ,
    "m.off": "OFF\n4 1 0\n" + "\n".join(CORNERS) + "\n4 0 1 2 3\n",
    "m.ply": f"{PLY}property list uchar int vertex_indices\nend_header\n" + "\n".join(CORNERS) + "\n4 0 1 2 3\n",
    "m.stl": f"solid x\n{FACET.format(*CORNERS[:3])}{FACET.format(CORNERS[0], *CORNERS[2:])}endsolid x\n",
}
WRITTEN = {
    "old Macs' lines": lambda text: text.replace("\n", "\r").encode(),
    "Windows' lines": lambda text: text.replace("\n", "\r\n").encode(),
    "decimal commas": lambda text: re.sub(r"(?<=\d)\.(?=\d)", ",", text).encode(),
    "UTF-16": lambda text: text.encode("utf-16"),
    "UTF-16 of the other order": lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
    "a byte order mark": lambda text: text.encode("utf-8-sig"),
}


@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("name", FILES)
def test_a_rectangle_is_read_however_it_is_written(name, written, tmp_path):
    (tmp_path / "m.mtl").write_bytes(WRITTEN[written]("newmtl m\nKd 0.5 0.25 1.0\n"))
    (tmp_path / name).write_bytes(WRITTEN[written](FILES[name]))
    surface = load_surface(tmp_path / name, up="z")
    assert area(surface) == pytest.approx(1.5)
    corners = surface.triangles.reshape(-1, 3)
    assert np.allclose([corners.min(0), corners.max(0)], [[0.5, 0, 0], [2, 1, 0]])
    if name == "m.obj":
        assert colour_of(surface) == (128, 64, 255)


def test_a_binary_ply_may_have_old_macs_lines_in_its_header(tmp_path):
    head = FILES["m.ply"].partition("end_header")[0].replace("ascii", "binary_little_endian").replace("\n", "\r")
    body = (
        np.array([corner.split() for corner in CORNERS], "<f4").tobytes() + b"\4" + np.arange(4, dtype="<i4").tobytes()
    )
    (tmp_path / "m.ply").write_bytes(head.encode() + b"end_header\r" + body)
    assert area(load_surface(tmp_path / "m.ply")) == pytest.approx(1.5)
