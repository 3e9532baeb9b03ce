"""Distances between two sets of picture features: Frechet and kernel.

Features are whatever a frozen network made of pictures, [N, d].
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from vader3d.measures.pictures import require_finite

KERNEL_SUBSET = 1000  # pictures: torch-fidelity's


@dataclass(frozen=True)
class Moments:
    """Count, mean [d] and scatter [d, d] = sum of outer products about the mean (float64) of feature vectors.

    Moments of batches, or of processes, merge exactly: `feature_moments(a).merged(feature_moments(b))`.
    """

    count: int
    mean: Tensor
    scatter: Tensor

    @property
    def covariance(self) -> Tensor:
        """The unbiased covariance [d, d]."""
        return self.scatter / (self.count - 1)

    def merged(self, other: "Moments") -> "Moments":
        """The moments of both sets together (Chan, Golub & LeVeque 1979)."""
        count, shift = self.count + other.count, other.mean - self.mean
        scatter = self.scatter + other.scatter + torch.outer(shift, shift) * (self.count * other.count / count)
        return Moments(count, self.mean + shift * (other.count / count), scatter)


def feature_moments(features: Tensor) -> Moments:
    """Moments of features [N, d], N >= 1."""
    if features.ndim != 2 or len(features) == 0:
        raise ValueError(f"features: wanted [N, d] with N > 0; got {list(features.shape)}")
    require_finite(features=features)
    features = features.double()
    centred = features - features.mean(0)
    return Moments(len(features), features.mean(0), centred.mT @ centred)


def covariance_factor(covariance: Tensor) -> Tensor:
    """F [d, r] with F F^T = covariance [d, d], of its numerical rank r."""
    values, vectors = torch.linalg.eigh(covariance)
    kept = values > values[-1].clamp_min(0) * len(values) * torch.finfo(values.dtype).eps
    return vectors[:, kept] * values[kept].sqrt()


def frechet_distance(generated: Moments, reference: Moments) -> float:
    """Frechet distance between the two Gaussians with these moments (Heusel et al., arXiv:1706.08500).

        |m1 - m2|^2 + tr(C1) + tr(C2) - 2 tr((C1 C2)^(1/2))

    With C = F F^T the last trace is the sum of the singular values of F1^T F2: all real, none negative, and exact for
    rank-deficient covariances (fewer pictures than features). It falls with the count of pictures: compare like
    counts only. Raises ValueError for fewer than 2 pictures or unlike feature sizes.
    """
    if min(generated.count, reference.count) < 2:
        raise ValueError(f"features: wanted at least 2 on each side; got {generated.count} and {reference.count}")
    if generated.mean.shape != reference.mean.shape:
        raise ValueError(
            f"features: wanted both sides of one network; got {len(generated.mean)} and {len(reference.mean)} wide"
        )
    shift = (generated.mean - reference.mean).square().sum()
    factors = covariance_factor(generated.covariance).mT @ covariance_factor(reference.covariance)
    overlap = torch.linalg.svdvals(factors).sum()
    distance = shift + generated.covariance.trace() + reference.covariance.trace() - 2 * overlap
    return float(distance.clamp_min(0))


class KernelDistance(NamedTuple):
    """Mean and standard deviation over `subsets` subsets of `subset_size` pictures a side (0 for a single one)."""

    mean: float
    deviation: float
    subset_size: int
    subsets: int


def kernel_distance(
    generated: Tensor,
    reference: Tensor,
    *,
    generator: torch.Generator,
    subset_size: int = KERNEL_SUBSET,
    subsets: int = 100,
) -> KernelDistance:
    """Kernel distance (KID) of features [N, d] and [M, d]: unbiased MMD^2, kernel (x . y / d + 1)^3 (arXiv:1801.01401).

    The mean over random subsets without replacement. `subset_size` is lowered to min(N, M) where the sets are smaller
    (the return value says so); where that leaves one possible subset, it is the whole sets, evaluated once.
    Raises ValueError for fewer than 2 pictures a side or unlike feature sizes.
    """
    if generated.ndim != 2 or reference.ndim != 2 or generated.shape[1] != reference.shape[1]:
        raise ValueError(f"features: wanted [N, d] and [M, d]; got {list(generated.shape)}, {list(reference.shape)}")
    subset_size = min(subset_size, len(generated), len(reference))
    if subset_size < 2:
        raise ValueError(f"features: wanted at least 2 on each side; got {len(generated)} and {len(reference)}")
    require_finite(generated=generated, reference=reference)
    if subset_size == len(generated) == len(reference):
        subsets = 1
    values = []
    for _ in range(subsets):
        chosen = [side[torch.randperm(len(side), generator=generator)[:subset_size]] for side in (generated, reference)]
        values.append(squared_mmd(*chosen))
    results = torch.tensor(values, dtype=torch.float64)
    return KernelDistance(float(results.mean()), float(results.std(correction=0)), subset_size, subsets)


def squared_mmd(x: Tensor, y: Tensor) -> float:
    """Unbiased squared maximum mean discrepancy of [m, d] and [m, d], kernel (x . y / d + 1)^3."""
    size, width = x.shape

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.mT / width + 1).pow(3).double()

    within = sum(k.sum() - k.trace() for k in (kernel(x, x), kernel(y, y)))
    return float(within / (size * (size - 1)) - 2 * kernel(x, y).mean())
