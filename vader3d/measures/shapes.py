"""Scores of shapes given as points on their surfaces.

Chamfer distance is eq. 3 of arXiv:2307.05445 divided by the counts: the mean squared distance to the nearest point of
the other set, both ways, added. The squares are not rooted; published MMD values are times 10^3.

Which shape is the nearest needs few distances in full. x -> d(x, B)^2 - |x|^2 is concave (a minimum of linear
functions), so inside a grid cell it lies above its trilinear interpolation from the corners. Hence, with steps of h,

    d(x, B)^2 >= sum over corners of weight * d(corner, B)^2 - h^2 sum over axes of u (1 - u),    u: place in the cell,

a sum that one matrix product takes over all points of all pairs of shapes. Only pairs whose bound lies under the best
distance found are computed: the results are those of all pairs. At corners far from B, the bound from a grid twice as
coarse takes the place of d(corner, B)^2: shapes that are near to each other do not ask for those.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from vader3d.measures.nearest import nearest_squares

CELLS, LEVELS = 48, 2  # of the bounds' grid along its longest side: more are tighter and cost more corners
NEAR = 2.0  # steps: how far from the points corners are computed and not interpolated
ROUNDING = 1e-5  # of the bounds, against the squared size of the grid


def chamfer_distance(a: Tensor, b: Tensor) -> Tensor:
    """Chamfer distance of point sets a [..., P, 3] and b [..., Q, 3] (leading sizes broadcast) -> [...].

    Raises ValueError for empty sets, other shapes, NaN.
    """
    for name, points in (("a", a), ("b", b)):
        if points.ndim < 2 or points.shape[-1] != 3 or points.shape[-2] == 0:
            raise ValueError(f"{name}: wanted points [..., P, 3] with P > 0; got {list(points.shape)}")
        if not points.isfinite().all():
            raise ValueError(f"{name}: wanted finite points; got NaN or infinity")
    sizes = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    sets = (points.expand(*sizes, -1, 3).reshape(-1, points.shape[-2], 3) for points in (a, b))
    squares = (nearest_squares(*pair) for pair in zip(*sets, strict=True))
    return torch.stack([to_b.mean() + to_a.mean() for to_b, to_a in squares]).view(sizes)


class ShapeDistances:
    """Chamfer distances among point sets [N, P, 3], each computed when it is asked for, and who is nearest to whom.

    A shape is no neighbour of its own: that distance counts as infinite.
    """

    def __init__(self, shapes: Tensor) -> None:
        self.shapes, self.bounds = shapes, lower_bounds(shapes)
        self.known = torch.full_like(self.bounds, torch.nan).fill_diagonal_(torch.inf)

    def between(self, one: int, other: int) -> float:
        one, other = sorted((one, other))  # the same rounding both ways
        if self.known[one, other].isnan():
            self.known[one, other] = self.known[other, one] = chamfer_distance(self.shapes[one], self.shapes[other])
        return float(self.known[one, other])

    def nearest(self, one: int, others: range) -> tuple[int, float]:
        """The nearest of `others`, and its distance."""
        bounds, places = self.bounds[one, others.start : others.stop].sort(stable=True)
        best, found = torch.inf, -1
        for bound, place in zip(bounds.tolist(), places.tolist(), strict=True):
            if bound >= best:
                break
            if (distance := self.between(one, others[place])) < best:
                best, found = distance, others[place]
        return found, best

    def any_nearer(self, one: int, others: range, than: float) -> bool:
        """Whether one of `others` is nearer than that: the known distances are asked first."""
        bounds, known = (table[one, others.start : others.stop] for table in (self.bounds, self.known))
        if (known < than).any():
            return True
        places = ((bounds < than) & known.isnan()).nonzero().flatten()
        return any(self.between(one, others[place]) < than for place in places[bounds[places].argsort()].tolist())


def lower_bounds(shapes: Tensor) -> Tensor:
    """Below the Chamfer distances of all pairs of point sets [N, P, 3]: [N, N]."""
    low = shapes.amin((0, 1))
    size = float((shapes.amax((0, 1)) - low).max().clamp_min(1e-6))
    step = size / CELLS
    total, bends = shapes.new_empty(len(shapes), (CELLS + 1) ** 3), shapes.new_empty(len(shapes))
    for number, shape in enumerate(shapes):
        total[number], bends[number] = corner_weights((shape - low) / step)
    used = total.any(0)
    total = total[:, used]
    squares = torch.stack([corner_squares((shape - low) / step)[used] for shape in shapes])
    one_way = (total @ squares.mT - bends[:, None]) * (step**2 / shapes.shape[1])
    return one_way + one_way.mT - ROUNDING * size**2


def corner_weights(points: Tensor) -> tuple[Tensor, Tensor]:
    """Of points [P, 3] in steps of the grid: summed weights of its corners [(CELLS + 1)^3]; sum of u (1 - u)."""
    cells = points.floor().clamp(0, CELLS - 1)
    inside = points - cells
    x, y, z = torch.stack([1 - inside, inside]).unbind(-1)  # each [2, P]
    strides = torch.tensor([(CELLS + 1) ** 2, CELLS + 1, 1])
    numbers = cells.long() @ strides + (torch.cartesian_prod(*[torch.arange(2)] * 3) @ strides)[:, None]
    total = points.new_zeros((CELLS + 1) ** 3)
    total.index_add_(0, numbers.flatten(), (x[:, None, None] * y[:, None] * z).flatten())
    return total, (inside * (1 - inside)).sum()


def corner_squares(points: Tensor) -> Tensor:
    """Of points [P, 3] in steps of the grid: d(corner, points)^2 near them, elsewhere what lies below: [(CELLS + 1)^3].

    From corners 2^LEVELS steps apart to those between them, by the bound itself.
    """
    squares = points.new_zeros(2, 2, 2)
    for step in [2**level for level in reversed(range(LEVELS + 1))]:
        side = CELLS // step + 1
        between = torch.arange(side) % 2 * (step < 2**LEVELS)
        bend = (between[:, None, None] + between[:, None] + between) * step**2  # u = 1/2 of 2 steps
        squares = interpolate(squares[None, None], size=(side,) * 3, mode="trilinear", align_corners=True)[0, 0] - bend
        near = squares < (NEAR * step) ** 2
        squares[near] = nearest_squares(near.nonzero() * float(step), points)[0]
    return squares.flatten()


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
    the generated ones are copies; ties go to the other set. Compare like counts only. ValueError: fewer than 2 shapes
    a side, unlike sizes, NaN.
    """
    distances = joint_distances(generated, reference)
    if min(len(generated), len(reference)) < 2:
        raise ValueError(f"shapes: wanted at least 2 a side; got {len(generated)} and {len(reference)}")
    first, second = range(len(generated)), range(len(generated), len(distances.shapes))
    scores = cross_scores(distances, len(generated))
    alike = [
        distances.any_nearer(one, own, distances.nearest(one, other)[1])
        for own, other in ((first, second), (second, first))
        for one in own
    ]
    return ShapeScores(*scores, 100 * sum(alike) / len(alike))


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
            raise ValueError(f"{name}: wanted point sets [N, P, 3] with N, P > 0; got {list(points.shape)}")
        if not points.isfinite().all():
            raise ValueError(f"{name}: wanted finite points; got NaN or infinity")
    if generated.shape[1] != reference.shape[1]:
        raise ValueError(f"generated: wanted {reference.shape[1]} points as the reference; got {generated.shape[1]}")
    return ShapeDistances(torch.cat([generated, reference]).float())


def cross_scores(distances: ShapeDistances, generated: int) -> Coverage:
    first, second = range(generated), range(generated, len(distances.shapes))
    matched = {distances.nearest(one, second)[0] for one in first}
    matching = [distances.nearest(one, first)[1] for one in second]
    return Coverage(100 * len(matched) / len(second), sum(matching) / len(matching))
