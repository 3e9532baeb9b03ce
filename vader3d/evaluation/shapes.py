"""Scores of shapes given as points on their surfaces; pure functions.

Chamfer distance is eq. 3 of arXiv:2307.05445 divided by the counts: the mean squared distance to the nearest point of
the other set, both ways, added. The squares are not rooted; published MMD values are times 10^3.

Which shape is the nearest needs few distances in full. x -> d(x, B)^2 - |x|^2 is concave (a minimum of linear
functions), so inside a grid cell it lies above its trilinear interpolation from the corners. Hence, with steps of h,

    d(x, B)^2 >= sum over corners of weight * d(corner, B)^2 - h^2 sum over axes of u (1 - u),    u: place in the cell,

a sum that one matrix product takes over all points of all pairs of shapes. Only pairs whose bound lies under the best
distance found are computed: the results are those of all pairs.
"""

from typing import NamedTuple

import torch
from torch import Tensor

DISTANCES_PER_TILE = 1 << 20  # as many as stay in a core's cache between the product and its two minima
CELLS = 40  # of the bounds' grid along its longest side: more are tighter and cost more corners
ROUNDING = 1e-5  # of the bounds, against the squared size of the grid


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


class ShapeDistances:
    """Chamfer distances among point sets [N, P, 3], each computed when it is asked for, and who is nearest to whom."""

    def __init__(self, shapes: Tensor) -> None:
        self.shapes, self.bounds = shapes, lower_bounds(shapes)
        self.known = torch.full_like(self.bounds, torch.nan)

    def between(self, one: int, other: int) -> float:
        one, other = sorted((one, other))  # the same rounding both ways
        if self.known[one, other].isnan():
            self.known[one, other] = self.known[other, one] = chamfer_distance(self.shapes[one], self.shapes[other])
        return float(self.known[one, other])

    def nearest(self, one: int, others: range) -> tuple[int, float]:
        """The nearest of `others` but itself, and its distance."""
        bounds, places = self.bounds[one, others.start : others.stop].sort(stable=True)
        best, found = torch.inf, -1
        for bound, place in zip(bounds.tolist(), places.tolist(), strict=True):
            if bound >= best:
                break
            other = others[place]
            if other != one and (distance := self.between(one, other)) < best:
                best, found = distance, other
        return found, best


def lower_bounds(shapes: Tensor) -> Tensor:
    """Below the Chamfer distances of all pairs of point sets [N, P, 3]: [N, N]."""
    low = shapes.amin((0, 1))
    size = float((shapes.amax((0, 1)) - low).max().clamp_min(1e-6))
    step = size / CELLS
    places = (shapes - low) / step
    cells = places.floor().clamp(0, CELLS - 1)
    inside = places - cells
    corners = torch.cartesian_prod(*[torch.arange(2)] * 3)
    numbers = (cells.long()[..., None, :] + corners) @ torch.tensor([(CELLS + 1) ** 2, CELLS + 1, 1])  # [N, P, 8]
    weights = torch.where(corners.bool(), inside[..., None, :], 1 - inside[..., None, :]).prod(-1)
    used, slots = numbers.unique(return_inverse=True)
    total = shapes.new_zeros(len(shapes), len(used)).scatter_add_(1, slots.flatten(1), weights.flatten(1))
    bend = (inside * (1 - inside)).sum((1, 2)) * step**2
    columns = torch.stack([used // (CELLS + 1) ** 2, used // (CELLS + 1) % (CELLS + 1), used % (CELLS + 1)], -1)
    squares = torch.stack([nearest_squares(columns * step + low, shape) for shape in shapes])
    one_way = (total @ squares.mT - bend[:, None]) / shapes.shape[1]
    return one_way + one_way.mT - ROUNDING * size**2


def nearest_squares(places: Tensor, points: Tensor) -> Tensor:
    """Squared distance of each place [K, 3] to the nearest point [P, 3]: [K]."""
    middle = points.mean(0)
    places, points = places - middle, points - middle
    left = torch.cat([-2 * places, places.square().sum(-1, keepdim=True), torch.ones_like(places[:, :1])], -1)
    right = torch.cat([points, torch.ones_like(points[:, :1]), points.square().sum(-1, keepdim=True)], -1).mT
    rows = max(1, DISTANCES_PER_TILE // points.shape[0])
    return torch.cat([(tile @ right).amin(1) for tile in left.split(rows)])


class Coverage(NamedTuple):
    """`coverage` in percent (more is better), `mmd` a mean Chamfer distance (less is better)."""

    coverage: float
    mmd: float


class ShapeScores(NamedTuple):
    """`coverage` and `mmd` as in Coverage; `nearest_neighbour_accuracy` in percent (50 is best)."""

    coverage: float
    mmd: float
    nearest_neighbour_accuracy: float


def compare_shapes(generated: Tensor, reference: Tensor) -> ShapeScores:
    """All scores of generated [G, P, 3] against reference [R, P, 3] surfaces, from one set of distances.

    Besides `coverage_and_mmd`, 1-NNA (arXiv:1906.12320): the share of all shapes whose nearest other one is of their
    own set. Of equally many draws of one distribution that is 50 %; near 100 % the sets are told apart, well under 50 %
    the generated ones are copies. Compare like counts only. ValueError: fewer than 2 shapes a side, unlike sizes, NaN.
    """
    distances = joint_distances(generated, reference)
    if min(len(generated), len(reference)) < 2:
        raise ValueError(f"shapes: expected at least 2 a side, got {len(generated)} and {len(reference)}")
    everything = range(len(generated) + len(reference))
    alike = [(one < len(generated)) == (distances.nearest(one, everything)[0] < len(generated)) for one in everything]
    return ShapeScores(*cross_scores(distances, len(generated)), 100 * sum(alike) / len(alike))


def coverage_and_mmd(generated: Tensor, reference: Tensor) -> Coverage:
    """Coverage and minimum matching distance of generated [G, P, 3] against reference [R, P, 3] (arXiv:1707.02392).

    coverage: the share of references that are the nearest one of at least one generated shape (a fact of G too: at
    most G / R); mmd: the mean over references of the distance to the nearest generated shape.
    """
    return cross_scores(joint_distances(generated, reference), len(generated))


def joint_distances(generated: Tensor, reference: Tensor) -> ShapeDistances:
    """Distances among the generated shapes, numbered first, and the references."""
    for name, points in (("generated", generated), ("reference", reference)):
        if points.ndim != 3 or points.shape[-1] != 3 or points.shape[:2].numel() == 0:
            raise ValueError(f"{name}: expected point sets [N, P, 3] with N, P > 0, got {list(points.shape)}")
        if not points.isfinite().all():
            raise ValueError(f"{name}: expected finite points, got NaN or infinity")
    if generated.shape[1] != reference.shape[1]:
        raise ValueError(f"generated: expected {reference.shape[1]} points as the reference, got {generated.shape[1]}")
    return ShapeDistances(torch.cat([generated, reference]).float())


def cross_scores(distances: ShapeDistances, generated: int) -> Coverage:
    first, second = range(generated), range(generated, len(distances.shapes))
    matched = {distances.nearest(one, second)[0] for one in first}
    matching = [distances.nearest(one, first)[1] for one in second]
    return Coverage(100 * len(matched) / len(second), sum(matching) / len(matching))
