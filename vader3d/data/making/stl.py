"""Reads binary STL with the colours that some programs put into it."""

import re

import numpy as np

from vader3d.data.making.parts import PLAIN, Part, Parts
from vader3d.data.mesh_files import check_faces

ROW = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("colour", "<u2")])
OWN = 0x8000  # the bit of a facet's colour: of its own (VisCAM), or the whole part's (Magics)


def parts_of_stl(data: bytes) -> Parts:
    """The triangles; 5 bits a colour: blue lowest, or red where the header says COLOR=, as Magics does."""
    rows = np.frombuffer(data, ROW, int.from_bytes(data[80:84], "little"), 84)
    check_faces(len(rows))
    channels = ((rows["colour"][:, None] >> np.array([10, 5, 0])) & 31) / 31
    whole = re.search(rb"COLOR=(...)", data[:80], re.DOTALL)
    own, rest = (rows["colour"] & OWN) > 0, np.full(3, PLAIN)
    if whole is not None:
        own, rest, channels = ~own, np.frombuffer(whole[1], np.uint8) / 255, channels[:, ::-1]
    colours = np.where(own[:, None] & (rows["colour"] > 0)[:, None], channels, rest)
    corners = rows["corners"].astype(float)
    return Parts([Part(corners, np.repeat(colours[:, None], 3, 1), np.zeros((len(rows), 3, 2)), None)])
