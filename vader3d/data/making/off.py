"""Reads OFF: polygons, with colours of corners or of faces."""

import re
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from vader3d.data.making.parts import PLAIN, Part, Parts
from vader3d.data.making.polygons import triangulated
from vader3d.data.mesh_files import check_faces

HEADER = re.compile(rb"(ST)?(C)?(N)?OFF(?!\s*BINARY)")


def parts_of_off(data: bytes) -> Parts:
    """The triangles of an OFF; ValueError for another file, or for corners that it does not have."""
    text = re.sub(rb"#[^\r\n]*", b"", data).replace(b",", b".").lstrip()  # decimal commas
    header = HEADER.match(text)
    if header is None:
        raise ValueError(f"off: wanted OFF or COFF in words; got {text[:12].decode('latin-1')!r}")
    lines = [line.split() for line in text[header.end() :].splitlines() if line.strip()]
    points, faces = int(lines[0][0]), int(lines[0][1])
    if min(points, faces) < 0 or points + faces > len(lines) - 1:
        raise ValueError(f"off: wanted {points} points and {faces} faces; got {len(lines) - 1} lines")
    rows = np.array(lines[1 : 1 + points], np.float64).reshape(points, -1)
    position, own = rows[:, :3], None
    if header[2] and rows.shape[1] >= 6:
        own = rows[:, 6:9] if header[3] else rows[:, 3:6]
        own = (own / (255 if own.max(initial=0) > 1 else 1)).clip(0, 1)
    groups: dict[int, list[tuple[list[int], list[float]]]] = defaultdict(list)
    for line in lines[1 + points : 1 + points + faces]:
        sides = int(line[0])
        corners = [int(word) for word in line[1 : 1 + sides]]
        if len(corners) < sides or (sides and not 0 <= min(corners) <= max(corners) < points):
            raise ValueError(f"off: wanted {sides} corners of {points} points; got {corners[:8]}")
        if sides > 2:
            groups[sides].append((corners, colour_of(line[1 + sides :])))
    check_faces(sum((sides - 2) * len(group) for sides, group in groups.items()))
    found = Parts()
    for group in groups.values():
        polygons = np.array([corners for corners, _ in group])
        chosen, triples = triangulated(position[polygons])
        places = polygons[chosen[:, None], triples]
        painted = np.array([colour for _, colour in group])[chosen]
        colours = np.repeat(painted[:, None], 3, 1) if own is None else own[places]
        found.parts.append(Part(position[places], colours, np.zeros((len(places), 3, 2)), None))
    return found


def colour_of(words: Sequence[bytes]) -> list[float]:
    """A face's colour, whole numbers to 255 or shares; grey where it has none, or the number of one."""
    if len(words) < 3:
        return [PLAIN] * 3
    most = 1.0 if any(b"." in word for word in words) else 255.0
    return [min(max(float(word) / most, 0.0), 1.0) for word in words[:3]]
