"""How much of one set of features lies among the other.

Where the Frechet distance gives one number for both, these tell apart whether samples are good (precision, density)
and whether they are all there is (recall, coverage). Pure functions of features [N, d].
"""

from typing import NamedTuple

import torch
from torch import Tensor

from vader3d.measures.pictures import require_finite

DISTANCES_PER_BLOCK = 1 << 24  # 64 MB


class PrecisionRecall(NamedTuple):
    """Shares in [0, 1]."""

    precision: float
    recall: float


class DensityCoverage(NamedTuple):
    """`density` about 1 for equal distributions, without upper bound; `coverage` a share in [0, 1]."""

    density: float
    coverage: float


def precision_recall(generated: Tensor, reference: Tensor, *, neighbours: int = 3) -> PrecisionRecall:
    """Precision and recall of generated [N, d] against reference [M, d] (Kynkaanniemi et al., arXiv:1904.06991).

    Around each feature vector stands a ball that reaches to its `neighbours`-th nearest other vector of its own set.
    precision: the share of generated vectors in some ball of the reference; recall: the share of reference vectors in
    some ball of the generated. Both fall as sets get smaller: compare like counts only. ValueError: fewer vectors
    than `neighbours` + 1, unlike widths, NaN.
    """
    require_neighbours(generated, reference, neighbours)
    precise = ball_counts(generated, reference, ball_radii(reference, neighbours)) > 0
    recalled = ball_counts(reference, generated, ball_radii(generated, neighbours)) > 0
    return PrecisionRecall(float(precise.double().mean()), float(recalled.double().mean()))


def density_coverage(generated: Tensor, reference: Tensor, *, neighbours: int = 5) -> DensityCoverage:
    """Density and coverage of generated [N, d] against reference [M, d] (Naeem et al., arXiv:2002.09797).

    Balls as in `precision_recall`, around the reference alone. density: how many hold a generated vector, on average,
    divided by `neighbours`; coverage: the share of balls that hold any. ValueError: as there.
    """
    require_neighbours(generated, reference, neighbours)
    radii = ball_radii(reference, neighbours)
    density = ball_counts(generated, reference, radii).double().mean() / neighbours
    nearest = torch.cat([torch.cdist(block, generated).amin(1) for block in blocks(reference, generated)])
    return DensityCoverage(float(density), float((nearest <= radii).double().mean()))


def require_neighbours(generated: Tensor, reference: Tensor, neighbours: int) -> None:
    if generated.ndim != 2 or reference.ndim != 2 or generated.shape[1] != reference.shape[1]:
        raise ValueError(f"features: wanted [N, d] and [M, d]; got {list(generated.shape)}, {list(reference.shape)}")
    if not 0 < neighbours < min(len(generated), len(reference)):
        raise ValueError(
            f"neighbours: wanted 1 to {min(len(generated), len(reference)) - 1} with {len(generated)} generated and "
            f"{len(reference)} reference features; got {neighbours}"
        )
    require_finite(generated=generated, reference=reference)


def blocks(rows: Tensor, columns: Tensor) -> tuple[Tensor, ...]:
    """`rows` in blocks whose distances to all `columns` fit into memory."""
    return rows.split(max(1, DISTANCES_PER_BLOCK // len(columns)))


def ball_radii(features: Tensor, neighbours: int) -> Tensor:
    """Distance of each vector to its `neighbours`-th nearest other one: [N, d] -> [N]."""
    nearest = [torch.cdist(block, features).kthvalue(neighbours + 1).values for block in blocks(features, features)]
    return torch.cat(nearest)  # + 1: the nearest one of all is itself


def ball_counts(points: Tensor, centres: Tensor, radii: Tensor) -> Tensor:
    """How many of the balls hold each point: [N, d], [M, d], [M] -> [N]."""
    return torch.cat([(torch.cdist(block, centres) <= radii).sum(1) for block in blocks(points, centres)])
