"""Which way is up, by how people hold cameras."""

from dataclasses import replace

import numpy as np
import torch

from vader3d.geometry.cameras import Cameras

TILTED = 0.25  # sine of the angle by which pictures' rows may lean from level, as a mean
SINGULAR = 0.02  # least share of the second direction: with less all rows are parallel, and level is any turn of them


def up_of(world_from_camera: np.ndarray) -> np.ndarray | None:
    """The direction [3] that the rows of all pictures [V, 4, 4] are level to; None where there is none.

    Its sign is that of the pictures' own up.
    """
    rows, downs = world_from_camera[:, :3, 0], world_from_camera[:, :3, 1]
    values, vectors = np.linalg.eigh(rows.T @ rows / len(rows))
    up, mean = vectors[:, 0], -downs.mean(0)
    if values[1] < SINGULAR:  # cameras on one arc
        up = mean / max(float(np.linalg.norm(mean)), 1e-9)
    elif np.sqrt(max(values[0], 0.0)) > TILTED:
        return None
    along = float(mean @ up)
    return up * np.sign(along) if abs(along) > 0.05 else None


def levelled(cameras: Cameras) -> Cameras:
    """Cameras [V] about the origin turned so that up is z; the same where no up can be told."""
    up = up_of(cameras.world_from_camera.double().numpy())
    if up is None:
        return cameras
    turn = torch.eye(4).double()
    turn[:3, :3] = torch.from_numpy(turn_to_z(up))
    matrices = (turn @ cameras.world_from_camera.double()).to(cameras.world_from_camera)
    return replace(cameras, world_from_camera=matrices)


def turn_to_z(up: np.ndarray) -> np.ndarray:
    """The smallest rotation [3, 3] that takes the unit vector `up` to z."""
    axis, cosine = np.cross(up, [0, 0, 1.0]), float(up[2])
    if cosine < -1 + 1e-9:
        return np.diag([1.0, -1, -1])
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + cross + cross @ cross / (1 + cosine)
