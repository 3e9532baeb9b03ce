"""Scores of camera rotations, known up to one turn of the world."""

import torch
from torch import Tensor

from vader3d.geometry.rotations import degrees_between, nearest_rotation

CANDIDATES, ROUNDS, INLIERS = 200, 3, 0.7
MIRROR = (1.0, 1.0, -1.0)  # of the camera's axes: near becomes far


def aligned_degrees(found: Tensor, true: Tensor) -> Tensor:
    """Angles [N] in degrees between rotations [N, 3, 3], camera from world, after the best single turn of the world.

    Best by the median: each picture's own turn is tried, then means over the nearer ones.
    """
    found, true = found.double(), true.double()
    turns = found.mT @ true
    best = min(
        turns[:: -(-len(turns) // CANDIDATES)], key=lambda turn: float(degrees_between(found @ turn, true).median())
    )
    errors = degrees_between(found @ best, true)
    for _ in range(ROUNDS):
        near = errors <= errors.quantile(INLIERS)
        tried = degrees_between(found @ nearest_rotation(turns[near].mean(0)), true)
        if tried.median() > errors.median():
            break
        errors = tried
    return errors


def rotation_scores(found: Tensor, true: Tensor) -> dict[str, float]:
    """Median errors in degrees of rotations [N, 3, 3], camera from world, each after one alignment.

    `rotation_error`; beside it `constant_error`, that of one pose for all pictures, and `mirrored_error`, that of the
    mirrored poses, which explain flat pictures as well; `within_15_degrees` and `flipped` (beyond 90), shares.
    """
    mirror = torch.diag(torch.tensor(MIRROR)).to(found)
    errors = aligned_degrees(found, true)
    return {
        "rotation_error": float(errors.median()),
        "constant_error": float(aligned_degrees(torch.eye(3).expand_as(true), true).median()),
        "mirrored_error": float(aligned_degrees(mirror @ found @ mirror, true).median()),
        "within_15_degrees": float((errors < 15).double().mean()),
        "flipped": float((errors > 90).double().mean()),
    }
