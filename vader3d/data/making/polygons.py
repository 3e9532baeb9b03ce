"""Polygons into triangles, also those that are not convex."""

import numpy as np

LONGEST = 4096  # corners of a polygon that is cut with care


def triangulated(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Polygons [F, N, 3] -> of each triangle which polygon it is of [T], and which of its corners it has [T, 3]."""
    faces, sides = corners.shape[:2]
    fan = np.stack([np.zeros(sides - 2, int), np.arange(1, sides - 1), np.arange(2, sides)], -1)
    rows, triples = np.repeat(np.arange(faces), sides - 2), np.tile(fan, (faces, 1))
    if sides == 3 or not faces:
        return rows, triples
    bent = np.flatnonzero(~convex(corners))
    if len(bent) and sides <= LONGEST:
        cut = triples.reshape(faces, sides - 2, 3)
        for face in bent:
            cut[face] = ears(corners[face], fan)
    return rows, triples


def convex(corners: np.ndarray) -> np.ndarray:
    """Which polygons [F, N, 3] turn one way all round."""
    after, before = np.roll(corners, -1, 1), np.roll(corners, 1, 1)
    normals = np.cross(corners - corners[:, :1], after - corners[:, :1]).sum(1)
    turns = (np.cross(corners - before, after - corners) * normals[:, None]).sum(-1)
    return ~(turns < -1e-9 * np.abs(turns).max(1, keepdims=True)).any(1)


def ears(corners: np.ndarray, fan: np.ndarray) -> np.ndarray:
    """One polygon [N, 3] cut ear by ear, [N - 2, 3]; `fan` where it crosses itself."""
    normal = np.cross(corners - corners[0], np.roll(corners, -1, 0) - corners[0]).sum(0)
    away = int(np.abs(normal).argmax())
    flat = np.delete(corners, away, 1) * ([1, 1] if (normal[away] > 0) == (away != 1) else [1, -1])
    left, cut = list(range(len(corners))), []
    while len(left) > 3:
        for at in range(len(left)):
            triple = [left[at - 1], left[at], left[(at + 1) % len(left)]]
            a, b, c = flat[triple]
            if cross(b - a, c - b) <= 0:
                continue
            others = flat[[corner for corner in left if corner not in triple]]
            inside = (cross(b - a, others - a) >= 0) & (cross(c - b, others - b) >= 0) & (cross(a - c, others - c) >= 0)
            if not inside.any():
                cut.append(triple)
                del left[at]
                break
        else:
            return fan
    return np.array([*cut, left])


def cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
