"""How far scores would move with other objects: bootstrap intervals.

Objects are drawn again with replacement, each with all its views: views of one object are not independent, and
drawing pictures would make every interval too narrow. Features are grouped by object, [N, V, d].
"""

from typing import NamedTuple

import torch
from torch import Tensor

from vader3d.measures.distances import covariance_factor, feature_moments
from vader3d.measures.pictures import require_finite

RESAMPLES = 1000
LEVEL = 0.95
RESAMPLES_PER_BLOCK = 100


class Interval(NamedTuple):
    """Ends of a central percentile interval."""

    low: float
    high: float


def bootstrap_interval(
    values: Tensor, *, generator: torch.Generator, resamples: int = RESAMPLES, level: float = LEVEL
) -> Interval:
    """Interval of the mean of scores [N], or [N, V] of V views of N objects. ValueError: fewer than 2 objects, NaN."""
    if values.ndim not in (1, 2) or len(values) < 2:
        raise ValueError(f"values: wanted [N] or [N, V] with N of 2 or more; got {list(values.shape)}")
    require_finite(values=values)
    means = values.double().reshape(len(values), -1).mean(1)
    return percentiles(resampled_means(means, generator, resamples), level)


def frechet_interval(
    generated: Tensor,
    reference: Tensor,
    *,
    generator: torch.Generator,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """Interval of the Frechet distance of features [N, V, d] and [M, W, d], objects of both sides drawn again.

    To first order in the drawing's weights, so that one decomposition serves all draws: an object moves the distance
    by the mean of phi(x) over its views, with C1 = F1 F1^T and the optimal map T of N(0, C1) to N(0, C2),

        phi(x) = 2 (m1 - m2) . (x - m1) + (x - m1) . (I - T) (x - m1),

    and likewise on the other side. The interval lies around the distance itself: that is the spread at these counts,
    without the bias that draws with fewer distinct objects would add. On made-up features its deviation was 1.2 to 1.5
    times that between independent sets: too wide rather than too narrow. ValueError: as `frechet_distance`.
    """
    sides = [grouped(name, side) for name, side in (("generated", generated), ("reference", reference))]
    first, second = (feature_moments(side.flatten(0, 1)) for side in sides)
    left, right = covariance_factor(first.covariance), covariance_factor(second.covariance)
    u, overlap, v = torch.linalg.svd(left.mT @ right, full_matrices=False)
    shift = (first.mean - second.mean).square().sum()
    distance = shift + first.covariance.trace() + second.covariance.trace() - 2 * overlap.sum()
    draws = torch.full((resamples,), float(distance.clamp_min(0)), dtype=torch.float64)
    for side, here, there, factor, turn in ((sides[0], first, second, left, u), (sides[1], second, first, right, v.mT)):
        root = factor / factor.square().sum(0) @ (turn * overlap.sqrt())  # T = root root^T on the support
        centred = side.double() - here.mean
        moves = 2 * centred @ (here.mean - there.mean) + centred.square().sum(-1) - (centred @ root).square().sum(-1)
        means = moves.mean(1)
        draws += resampled_means(means, generator, resamples) - means.mean()
    return percentiles(draws, level)


def kernel_interval(
    generated: Tensor,
    reference: Tensor,
    *,
    generator: torch.Generator,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """Interval of the kernel distance of features [N, V, d] and [M, W, d], objects of both sides drawn again.

    Of the unbiased estimate over the whole sets (what `kernel_distance` estimates from subsets). The kernel is summed
    over pairs of objects once, and every draw weights these sums; pairs of an object with its own second draw are
    left out, which keeps the estimate unbiased. ValueError: as `kernel_distance`.
    """
    generated, reference = grouped("generated", generated), grouped("reference", reference)
    weights = [resampling_weights(len(side), generator, resamples) for side in (generated, reference)]
    within = [weighted_within(side, weight) for side, weight in zip((generated, reference), weights, strict=True)]
    across = (weights[0] @ kernel_sums(generated, reference) * weights[1]).sum(1)
    pairs = generated.shape[0] * generated.shape[1] * reference.shape[0] * reference.shape[1]
    return percentiles(within[0] + within[1] - 2 * across / pairs, level)


def grouped(name: str, features: Tensor) -> Tensor:
    if features.ndim != 3 or len(features) < 2 or features.shape[1] == 0:
        raise ValueError(f"{name}: wanted features [N, V, d] of 2 objects or more; got {list(features.shape)}")
    require_finite(**{name: features})
    return features


def resampling_weights(count: int, generator: torch.Generator, resamples: int) -> Tensor:
    """How often each of `count` objects is drawn in each resample: [resamples, count]."""
    drawn = torch.randint(count, (resamples, count), generator=generator)
    weights = torch.zeros(resamples, count, dtype=torch.float64)
    return weights.scatter_add_(1, drawn, torch.ones_like(weights))


def resampled_means(values: Tensor, generator: torch.Generator, resamples: int) -> Tensor:
    """Means of values [N] drawn again: [resamples]."""
    blocks = torch.arange(resamples).split(RESAMPLES_PER_BLOCK)
    return torch.cat([resampling_weights(len(values), generator, len(block)) @ values for block in blocks]) / len(
        values
    )


def percentiles(draws: Tensor, level: float) -> Interval:
    low, high = torch.quantile(draws, torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=draws.dtype)).tolist()
    return Interval(low, high)


def kernel_sums(a: Tensor, b: Tensor) -> Tensor:
    """(x . y / d + 1)^3 summed over the views of each pair of objects: [N, V, d], [M, W, d] -> float64 [N, M]."""
    columns = b.flatten(0, 1).mT
    rows = [(block.flatten(0, 1) @ columns / a.shape[-1] + 1).pow(3) for block in a.split(max(1, 512 // a.shape[1]))]
    return torch.cat([row.view(-1, a.shape[1], *b.shape[:2]).double().sum((1, 3)) for row in rows])


def weighted_within(features: Tensor, weights: Tensor) -> Tensor:
    """Mean of the kernel over pairs of distinct pictures of one side, for each row of `weights` [resamples, N]."""
    sums, views = kernel_sums(features, features), features.shape[1]
    own = sums.diagonal() - (features.square().sum(-1) / features.shape[-1] + 1).pow(3).double().sum(1)
    others = sums - torch.diag(sums.diagonal())
    total = (weights @ others * weights).sum(1) + weights @ own
    pairs = (weights.sum(1).square() - weights.square().sum(1)) * views**2 + weights.sum(1) * views * (views - 1)
    return total / pairs
