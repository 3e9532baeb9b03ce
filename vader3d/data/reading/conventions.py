"""What matrices of cameras mean, where masks tell it."""

from dataclasses import replace
from itertools import product

import numpy as np
import torch
from torch import Tensor

from vader3d.data.reading.carving import FITS, fit_of
from vader3d.geometry.cameras import AXES, Cameras

SURE, APART = 0.97, 0.03  # shares of masks that right cameras surely explain, and by how much more than wrong ones
MIRROR = (-1.0, 1.0, 1.0)  # what makes a left-handed world right-handed
LEFT_HANDED = "cameras: of a left-handed world, as Unity's, which is mirrored"


def right_handed(matrices: Tensor) -> tuple[Tensor, np.ndarray]:
    """Matrices [V, 4, 4], mirrored where all are left-handed, and what [3, 3] was done to their world."""
    left = bool((torch.linalg.det(matrices[:, :3, :3]) < 0).all())
    world = torch.diag(matrices.new_tensor(MIRROR if left else (1.0, 1.0, 1.0)))
    turned = matrices.clone()
    turned[:, :3] = world @ matrices[:, :3]
    return turned, world.double().numpy()


def agreeing_cameras(cameras: Cameras, masks: np.ndarray, *, mirrored: bool) -> tuple[Cameras, np.ndarray, str]:
    """The cameras, or what they are by another convention where that alone agrees with the masks bool [V, H, W].

    And what [3, 3] it does to their world, and what is said. mirrored: whether their world was left-handed. ValueError
    where it was, and the masks agree with no convention.
    """
    own, whole = fit_of(cameras, masks), np.eye(3)
    if own >= SURE:
        return cameras, whole, LEFT_HANDED if mirrored else ""
    others = other_readings(cameras.world_from_camera)
    fits = [fit_of(replace(cameras, world_from_camera=matrices), masks) for _, matrices, _ in others]
    second, best = np.argsort(fits)[-2:]
    name, matrices, world = others[best]
    if fits[best] >= FITS and fits[best] >= max(fits[second], own) + APART:
        cameras = replace(cameras, world_from_camera=matrices)
        return cameras, world, f"cameras: read as {name}, which alone agrees with the masks"
    if mirrored and own < FITS:
        raise ValueError(
            "cameras: wanted rotations (determinant 1); got mirrors (-1), as of a left-handed world, and masks that no "
            "convention explains; say which it is: --axes unity, opengl or opencv"
        )
    return cameras, whole, LEFT_HANDED if mirrored else ""


def other_readings(matrices: Tensor) -> list[tuple[str, Tensor, np.ndarray]]:
    """What matrices [V, 4, 4] may mean instead, with how to say it, and what [3, 3] that does to their world."""
    found = []
    for signs in product((1.0, -1.0), repeat=3):
        turned, world = right_handed(matrices @ torch.diag(matrices.new_tensor([*signs, 1.0])))
        if min(signs) < 0:
            kind = "other axes" if np.prod(signs) > 0 else "other axes and handedness"
            found.append((f"cameras of {kind}", turned, world))
    inverse = torch.linalg.inv(matrices)  # where the file's axes differ its world is upside down, which levelling mends
    for name in ("opencv", "opengl"):
        found.append(("world to camera", inverse @ torch.diag(matrices.new_tensor([*AXES[name], 1.0])), np.eye(3)))
    return found
