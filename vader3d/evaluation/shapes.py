"""Scores of shapes given as points on their surfaces; pure functions.

Chamfer distance is eq. 3 of arXiv:2307.05445 divided by the counts: the mean squared distance to the nearest point of
the other set, both ways, added. The squares are not rooted; published MMD values are times 10^3.
"""

from typing import NamedTuple

import torch
from torch import Tensor

DISTANCES_PER_TILE = 1 << 20  # as many as stay in a core's cache between the product and its two minima
PAIRS_PER_BATCH = 8


def chamfer_distance(a: Tensor, b: Tensor) -> Tensor:
    """Chamfer distance of point sets a [..., P, 3] and b [..., Q, 3] (leading sizes broadcast) -> [...].

    |x - y|^2 comes from one matrix product, so it carries about 1e-7 of rounding in float32 for points of size 1.
    Raises ValueError for empty sets, other shapes, NaN.
    """
    for name, points in (("a", a), ("b", b)):
        if points.ndim < 2 or points.shape[-1] != 3 or points.shape[-2] == 0:
            raise ValueError(f"{name}: expected points [..., P, 3] with P > 0, got {list(points.shape)}")
        if not points.isfinite().all():
            raise ValueError(f"{name}: expected finite points, got NaN or infinity")
    batch = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    middle = (a.mean(-2, keepdim=True) + b.mean(-2, keepdim=True)) / 2  # small coordinates lose the fewest digits
    a, b = a - middle, b - middle
    square_a, square_b = a.square().sum(-1, keepdim=True), b.square().sum(-1, keepdim=True)
    left = torch.cat([-2 * a, square_a, torch.ones_like(square_a)], -1)
    right = torch.cat([b, torch.ones_like(square_b), square_b], -1).mT  # left @ right = |x - y|^2
    rows = max(1, DISTANCES_PER_TILE // (batch.numel() * b.shape[-2]))
    nearest_to_a, nearest_to_b = [], a.new_full((), torch.inf)
    for tile in left.split(rows, -2):
        squares = tile @ right
        nearest_to_a.append(squares.amin(-1))
        nearest_to_b = torch.minimum(nearest_to_b, squares.amin(-2))
    return torch.cat(nearest_to_a, -1).clamp_min(0).mean(-1) + nearest_to_b.clamp_min(0).mean(-1)


def chamfer_matrix(a: Tensor, b: Tensor) -> Tensor:
    """Chamfer distances of all pairs: [G, P, 3] and [R, Q, 3] -> [G, R] (2,048 points: 2 ms a pair on 2 cores)."""
    return torch.stack([torch.cat([chamfer_distance(one, few) for few in b.split(PAIRS_PER_BATCH)]) for one in a])


class Coverage(NamedTuple):
    """`coverage` in percent (more is better), `mmd` a mean Chamfer distance (less is better)."""

    coverage: float
    mmd: float


def coverage_and_mmd(generated: Tensor, reference: Tensor) -> Coverage:
    """Coverage and minimum matching distance of generated [G, P, 3] against reference [R, Q, 3] (arXiv:1707.02392).

    coverage: the share of references that are the nearest one of at least one generated shape (a fact of G too: at
    most G / R); mmd: the mean over references of the distance to the nearest generated shape.
    """
    for name, points in (("generated", generated), ("reference", reference)):
        if points.ndim != 3 or len(points) == 0:
            raise ValueError(f"{name}: expected point sets [N, P, 3] with N > 0, got {list(points.shape)}")
    distances = chamfer_matrix(generated, reference)
    matched = distances.argmin(1).unique().numel()
    return Coverage(100 * matched / len(reference), float(distances.amin(0).double().mean()))
