"""Heads on shoulders that move, in two parts."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vader3d.data.making.surface import Surface

PARTS = ("head", "torso")
CENTRE, TOP = np.array([0.0, 0.0, 0.0]), 0.78  # of the cube: heads end so high, and shoulders so low


@dataclass(frozen=True)
class Bust:
    """P vertices at rest [P, 3] in the cube, z up, facing -y; faces [F, 3]; colours [P, 3], sRGB.

    head, neck: shares [P] of a vertex that go with the head and with what joins it to the torso, which has the rest.
    neck_joint, head_joint [3]: what the two turn round. expressions [E, P, 3]: how vertices move at full strength.
    """

    vertices: np.ndarray
    faces: np.ndarray
    colours: np.ndarray
    head: np.ndarray
    neck: np.ndarray
    neck_joint: np.ndarray
    head_joint: np.ndarray
    expressions: np.ndarray


class BustPose(NamedTuple):
    """Yaw, pitch, roll [3] in radians of the torso, and of the head beside it; a shift [3]; expressions [E], 0 to 1."""

    torso: np.ndarray
    head: np.ndarray
    shift: np.ndarray
    expressions: np.ndarray


def rotation(angles: np.ndarray) -> np.ndarray:
    """Yaw about z, then pitch about x, roll about y, in radians -> [3, 3]."""
    (sy, sp, sr), (cy, cp, cr) = np.sin(angles), np.cos(angles)
    yaw = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    pitch = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    roll = np.array([[cr, 0, sr], [0, 1, 0], [-sr, 0, cr]])
    return yaw @ pitch @ roll


def about(turn: np.ndarray, joint: np.ndarray, then: np.ndarray = CENTRE) -> np.ndarray:
    """The pose [3, 4] of a turn [3, 3] round a joint, moved by `then`."""
    return np.concatenate([turn, (joint - turn @ joint + then)[:, None]], 1)


def after(later: np.ndarray, first: np.ndarray) -> np.ndarray:
    """The pose [3, 4] of one after another."""
    return np.concatenate([later[:, :3] @ first[:, :3], later[:, :3] @ first[:, 3:] + later[:, 3:]], 1)


def part_poses(bust: Bust, pose: BustPose) -> np.ndarray:
    """Where head, torso, and the neck between them go: [3, 3, 4], from rest to the world."""
    torso = about(rotation(pose.torso), bust.neck_joint, pose.shift)
    neck = about(rotation(pose.head / 2), bust.neck_joint)
    carried = neck[:, :3] @ bust.head_joint + neck[:, 3]
    head = about(rotation(pose.head), bust.head_joint, carried - bust.head_joint)
    return np.stack([after(torso, head), torso, after(torso, neck)])


def posed_surface(bust: Bust, pose: BustPose) -> tuple[Surface, np.ndarray]:
    """The surface in a pose, and which of `PARTS` each face is of [F]."""
    rest = bust.vertices + np.tensordot(pose.expressions, bust.expressions, 1)
    shares = np.stack([bust.head, 1 - bust.head - bust.neck, bust.neck], 1)
    blended = np.tensordot(shares, part_poses(bust, pose), 1)  # [P, 3, 4]
    vertices = np.einsum("pij,pj->pi", blended[..., :3], rest) + blended[..., 3]
    count = len(bust.faces)
    whole = Surface(vertices[bust.faces], bust.colours[bust.faces], np.zeros((count, 3, 2)), np.full(count, -1))
    return whole, ((bust.head + bust.neck / 2)[bust.faces].mean(1) < 0.5).astype(int)


def framed(bust: Bust) -> Bust:
    """The same, its top and its bottom as high and as low as `TOP`, the neck in the middle."""
    high, low = bust.vertices[:, 2].max(), bust.vertices[:, 2].min()
    centre, scale = np.array([*bust.neck_joint[:2], (high + low) / 2]), 2 * TOP / (high - low)
    placed = {name: (getattr(bust, name) - centre) * scale for name in ("vertices", "neck_joint", "head_joint")}
    rest = (bust.faces, bust.colours, bust.head, bust.neck)
    return Bust(placed["vertices"], *rest, placed["neck_joint"], placed["head_joint"], bust.expressions * scale)
