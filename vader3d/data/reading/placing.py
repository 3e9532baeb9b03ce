"""Moves an object into the cube: axes, what is up, place and size."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vader3d.data.archive.format import check_cameras
from vader3d.data.reading.carving import FITS, carved
from vader3d.data.reading.conventions import LEFT_HANDED, agreeing_cameras, right_handed
from vader3d.data.reading.reader import Reading
from vader3d.data.reading.upright import turn_to_z, up_of
from vader3d.geometry.cameras import Cameras
from vader3d.geometry.placement import automatic_placement, check_placement, placed

FILLED = 0.95  # of the cube, by the box about the masks' hull, in its longest direction
FAR = 1e4  # from the origin, beyond which cameras are moved to it
LEVEL_DEGREES = 5.0  # from an axis: nearer ones are that axis


def in_cube(cameras: Cameras, masks: np.ndarray, reading: Reading, aabb: Any) -> tuple[Cameras, list[str]]:
    """Cameras [V] of float32 about the cube, z up, and what is said of how they came there.

    masks: bool [V, H, W]. aabb: [2, 3] corners in the file's world that fill the cube, or anything else. ValueError:
    broken cameras, empty masks, or no way to tell where the object is.
    """
    matrices, scaled = rigid(cameras.world_from_camera)
    matrices, away = near_origin(matrices)
    matrices, world = right_handed(matrices)
    cameras = replace(cameras, world_from_camera=matrices)
    check_cameras(cameras, len(masks))
    if not masks.any():
        raise ValueError("masks: wanted an object; got none, all are empty")
    mirrored = world[0, 0] < 0
    other = LEFT_HANDED if mirrored else ""
    if reading.axes == "auto":
        cameras, again, other = agreeing_cameras(cameras, masks, mirrored=mirrored)
        world = again @ world
    turn, up = upright(cameras, reading.up, world)
    whole = torch.eye(4).to(cameras.world_from_camera)
    whole[:3, :3] = torch.from_numpy(turn)
    cameras = replace(cameras, world_from_camera=whole @ cameras.world_from_camera)
    own = replace(reading, offset=None if reading.offset is None else tuple(np.asarray(reading.offset, float) - away))
    box = np.asarray(aabb, float) - away if np.shape(aabb) == (2, 3) else None
    turn = turn @ world
    scale, offset, doubt = placement(cameras, masks, own, box, turn)
    cameras = placed(cameras, scale=scale, offset=offset)
    cameras = Cameras(cameras.world_from_camera.float(), cameras.intrinsics.float(), cameras.height, cameras.width)
    check_placement(cameras)
    there = ", ".join(f"{x:.2f}" for x in turn.T @ offset + away + 0.0)
    place = f"placement: scale {scale:.3g}, offset ({there})".replace("-0.00", "0.00")
    return cameras, [scaled, other, up, doubt, place]


def near_origin(matrices: Tensor) -> tuple[Tensor, np.ndarray]:
    """Matrices [V, 4, 4] moved by [3] to the origin, where maps' coordinates keep them millions of metres away."""
    centres = matrices[:, :3, 3]
    if not matrices.isfinite().all() or centres.abs().max() < FAR:
        return matrices, np.zeros(3)
    middle, moved = centres.mean(0).round(), matrices.clone()
    moved[:, :3, 3] -= middle
    return moved, middle.double().numpy()


def rigid(matrices: Tensor) -> tuple[Tensor, str]:
    """Matrices [V, 4, 4] with their rotations rid of one scale and of rounding, and what is said of it."""
    if not matrices.isfinite().all():
        return matrices, ""
    left, stretch, right = torch.linalg.svd(matrices[:, :3, :3])
    even = stretch[:, 0] < 1.02 * stretch[:, 2]
    clean = matrices.clone()
    clean[even, :3, :3] = (left @ right)[even]
    odd = ((stretch[even] - 1).abs() > 0.02).any()
    return clean, f"cameras: a scale of {stretch[even].mean():.3g} taken out of their rotations" if odd else ""


def upright(cameras: Cameras, up: str, world: np.ndarray) -> tuple[np.ndarray, str]:
    """The rotation [3, 3] that turns `up` (an axis of the file, or auto) to z, and what is said of it.

    world: what [3, 3] was done to the file's axes.
    """
    if up != "auto":
        return turn_to_z(world[:, "xyz".index(up[-1])] * (-1 if up[0] == "-" else 1)), ""
    found = up_of(cameras.world_from_camera.double().numpy()) if len(cameras.intrinsics) > 2 else None
    level = np.cos(np.deg2rad(LEVEL_DEGREES))
    if found is None or found[2] > level:
        return np.eye(3), ""
    nearest = np.where(np.arange(3) == np.abs(found).argmax(), np.sign(found), 0.0)
    axis = nearest if found @ nearest > level else found
    words = ", ".join(f"{x:.2f}" for x in world.T @ axis + 0.0)
    return turn_to_z(axis), f"up: ({words}) by the pictures' level rows, turned to z; --up z leaves the world as it is"


def placement(
    cameras: Cameras, masks: np.ndarray, reading: Reading, aabb: Any, turn: np.ndarray
) -> tuple[float, np.ndarray, str]:
    """Scale, offset in the world that `turn` [3, 3] makes, and what is said where masks do not help."""
    given = None if reading.offset is None else turn @ np.asarray(reading.offset, float)
    if reading.scale is not None and given is not None:
        return reading.scale, given, ""
    if np.shape(aabb) == (2, 3) and np.ptp(aabb, axis=0).max() > 0:
        corners = np.stack(np.meshgrid(*np.asarray(aabb, float).T), -1).reshape(-1, 3) @ turn.T
        box, filled, doubt = np.stack([corners.min(0), corners.max(0)]), 1.0, ""
    elif (hull := carved(cameras, masks)) is not None and hull.explained >= FITS:
        box, filled, doubt = hull.box, FILLED, ""
    else:
        scale, middle = automatic_placement(cameras)
        box, filled = np.stack([middle - 1 / scale, middle + 1 / scale]), 1.0
        doubt = "placement: by the cameras alone, whose masks leave no one shape; are they right?"
    offset = box.mean(0) if given is None else given
    scale = float(filled / np.abs(box - offset).max())
    return scale if reading.scale is None else reading.scale, offset, doubt
