"""Solids that furniture is made of.

Right-handed, z up, the front towards -y. A solid is (vertices [N, 3], faces [F, 3]), closed, faces counter-clockwise
from outside.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from trimesh import Trimesh

Solid = tuple[np.ndarray, np.ndarray]
Corner = Sequence[float] | np.ndarray  # [3]
QUADS = np.array([[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [2, 6, 7, 3], [0, 4, 6, 2], [1, 3, 7, 5]])
BOX_FACES = np.concatenate([QUADS[:, [0, 1, 2]], QUADS[:, [0, 2, 3]]])


def box(low: Corner, high: Corner) -> Solid:
    """The axis-parallel box between two corners."""
    corners = np.array([low, high], float)
    bits = np.array([[x, y, z] for z in (0, 1) for y in (0, 1) for x in (0, 1)])
    return corners[bits, np.arange(3)], BOX_FACES


def strut(start: Corner, end: Corner, radius: float, end_radius: float | None = None, *, sides: int = 8) -> Solid:
    """A straight bar of regular cross-section between two points, tapered if the radii differ.

    `radius` reaches to the edges' midpoints' circle for 4 sides (a square bar of width 2 radius), else to the corners.
    """
    start, end = np.array(start, float), np.array(end, float)
    axis = (end - start) / np.linalg.norm(end - start)
    helper = np.array([1.0, 0, 0]) if abs(axis[0]) < 0.7 else np.array([0, 1.0, 0])
    across = np.cross(axis, helper) / np.linalg.norm(np.cross(axis, helper))
    angles = 2 * np.pi * (np.arange(sides) + 0.5) / sides
    ring = np.cos(angles)[:, None] * across + np.sin(angles)[:, None] * np.cross(axis, across)
    scale = np.sqrt(2) if sides == 4 else 1.0
    tip = radius if end_radius is None else end_radius
    vertices = np.concatenate([start + ring * radius * scale, end + ring * tip * scale, [start, end]])
    here, there = np.arange(sides), (np.arange(sides) + 1) % sides
    faces = [
        np.stack([here, there, there + sides], 1),
        np.stack([here, there + sides, here + sides], 1),
        np.stack([np.full(sides, 2 * sides), there, here], 1),
        np.stack([np.full(sides, 2 * sides + 1), here + sides, there + sides], 1),
    ]
    return vertices, np.concatenate(faces)


def leaned(solid: Solid, slope: float, *, from_height: float) -> Solid:
    """The solid sheared backwards (+y) by `slope` per unit of height above `from_height`."""
    vertices = solid[0].copy()
    vertices[:, 1] += slope * np.maximum(vertices[:, 2] - from_height, 0)
    return vertices, solid[1]


def assembled(parts: list[tuple[Solid, np.ndarray]], *, radius: float) -> "Trimesh":
    """One trimesh.Trimesh of (solid, sRGB colour in [0, 1]) pairs: centred, farthest vertex at `radius`."""
    import trimesh

    offsets = np.cumsum([0] + [len(solid[0]) for solid, _ in parts])
    vertices = np.concatenate([solid[0] for solid, _ in parts])
    faces = np.concatenate([solid[1] + offset for (solid, _), offset in zip(parts, offsets, strict=False)])
    colours = np.concatenate([np.tile(np.append(colour, 1.0), (len(solid[1]), 1)) for solid, colour in parts])
    vertices = vertices - (vertices.min(0) + vertices.max(0)) / 2
    vertices *= radius / np.linalg.norm(vertices, axis=1).max()
    face_colours = np.rint(255 * np.clip(colours, 0, 1)).astype(np.uint8)
    return trimesh.Trimesh(vertices, faces, face_colors=face_colours, process=False)
