"""Blend skinning: where points of a posed object lie in it at rest.

A part's pose is rigid, [3, 4] = [R | t], and takes points of the posed world to the object at rest. Equation 8 of
arXiv:2307.05445 blends the other way, from rest to posed, and has no exact inverse. Its inverse here is the common one:
every part makes a guess, skinning logits are read at each guess, and their softmax blends the guesses.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from vader3d.geometry.rotations import nearest_rotation


def read_logits(logits: Tensor, places: Tensor) -> Tensor:
    """Logits [N, 1, D, H, W] at places [N, V, M, 3]: [N, 1, V, M], 0 outside the cube."""
    return torch.nn.functional.grid_sample(logits, places[:, :, :, None], padding_mode="zeros", align_corners=True)


def at_rest(
    points: Tensor, poses: Tensor, logits: Tensor, *, read: Callable[[Tensor, Tensor], Tensor] = read_logits
) -> tuple[Tensor, Tensor]:
    """Points at rest [B, V, M, 3] and each part's share in them [B, V, K, M] of posed points [B, V, M, 3].

    poses: [B, V, K, 3, 4], V of each of B objects; logits: [B, K, D, H, W] over the cube [-1, 1]^3 at rest, axes
    (z, y, x), 0 outside it. With one part, or where all poses agree, points at rest do not depend on the logits.
    read: does what `read_logits` does.
    """
    check_parts(poses, logits)
    guesses = moved(points[:, :, None], poses)  # [B, V, K, M, 3]
    objects, views, parts, count = guesses.shape[:4]
    if parts == 1:
        return guesses[:, :, 0], torch.ones_like(guesses[..., 0])
    each = guesses.transpose(1, 2).reshape(objects * parts, views, count, 3)
    found = read(logits.reshape(objects * parts, 1, *logits.shape[2:]), each)
    shares = found.reshape(objects, parts, views, count).transpose(1, 2).softmax(2)
    return (shares[..., None] * guesses).sum(2), shares


def moved(points: Tensor, poses: Tensor) -> Tensor:
    """Points [..., M, 3] by rigid poses [..., 3, 4]: R x + t."""
    return points @ poses[..., :3].mT + poses[..., None, :, 3]


def inverse(poses: Tensor) -> Tensor:
    """The poses [..., 3, 4] that undo rigid ones."""
    back = poses[..., :3].mT
    return torch.cat([back, -back @ poses[..., 3:]], -1)


def nearest_pose(means: Tensor) -> Tensor:
    """The rigid poses [..., 3, 4] nearest to means of such."""
    return torch.cat([nearest_rotation(means[..., :3]), means[..., 3:]], -1)


def posed(points: Tensor, poses: Tensor, shares: Tensor) -> Tensor:
    """Equation 8: points at rest [..., M, 3] -> posed ones, by shares [..., K, M] of parts posed [..., K, 3, 4]."""
    return (shares[..., None] * moved(points[..., None, :, :], inverse(poses))).sum(-3)


def check_parts(poses: Tensor, logits: Tensor) -> None:
    """ValueError for poses and logits of unlike objects or parts."""
    if poses.dim() != 5 or poses.shape[3:] != (3, 4) or poses.shape[0] != len(logits):
        raise ValueError(f"poses: wanted [{len(logits)}, V, K, 3, 4]; got {list(poses.shape)}")
    if poses.shape[2] > 1 and logits.shape[1] != poses.shape[2]:
        raise ValueError(
            f"poses: wanted those of as many parts as the volume has skinning channels, {logits.shape[1]}; "
            f"got {poses.shape[2]}"
        )
