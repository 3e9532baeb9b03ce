"""Scores of pictures and of picture features; pure functions.

Pictures are floats in [0, 1]; features are whatever a frozen network made of pictures, [N, d].
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

SMALLEST_SQUARED_ERROR = 1e-10  # bounds PSNR at 100 dB, so that one identical pair does not make a mean infinite
KERNEL_SUBSET = 1000  # pictures: torch-fidelity's
SSIM_REACH, SSIM_SIGMA = 5, 1.5  # px: an 11 x 11 window
SSIM_LUMINANCE, SSIM_CONTRAST = 0.01**2, 0.03**2  # what keeps the quotients finite, for pictures in [0, 1]


def require_finite(**values: Tensor) -> None:
    """Raise ValueError, by name, for the first tensor that holds NaN or infinity: no score is made of those."""
    for name, value in values.items():
        if not value.isfinite().all():
            raise ValueError(
                f"{name}: expected finite numbers, got NaN or infinity: leave those items out and count them"
            )


def psnr(rendered: Tensor, target: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of each picture: [..., C, H, W] twice -> [...], at most 100.

    -10 log10(mean squared error) of values clamped to [0, 1]. Raises ValueError for unlike shapes or NaN.
    """
    if rendered.shape != target.shape or rendered.ndim < 3:
        raise ValueError(f"rendered: expected the target's shape {list(target.shape)}, got {list(rendered.shape)}")
    require_finite(rendered=rendered, target=target)
    error = (rendered.double().clamp(0, 1) - target.double().clamp(0, 1)).square().mean((-3, -2, -1))
    return -10 * error.clamp_min(SMALLEST_SQUARED_ERROR).log10()


def ssim(rendered: Tensor, target: Tensor) -> Tensor:
    """Structural similarity of each picture: [..., C, H, W] twice -> [...], at most 1 (Wang et al. 2004).

    Gaussian window of 11 x 11 (sigma 1.5), averaged over channels and all places where the window fits. Values are
    clamped to [0, 1]. Raises ValueError for unlike shapes, sides under 11 px, NaN.
    """
    if rendered.shape != target.shape or rendered.ndim < 3:
        raise ValueError(f"rendered: expected the target's shape {list(target.shape)}, got {list(rendered.shape)}")
    if min(target.shape[-2:]) <= 2 * SSIM_REACH:
        raise ValueError(f"target: expected sides of at least {2 * SSIM_REACH + 1} px, got {list(target.shape[-2:])}")
    require_finite(rendered=rendered, target=target)
    x, y = (side.double().clamp(0, 1).reshape(-1, 1, *side.shape[-2:]) for side in (rendered, target))
    places = torch.arange(-SSIM_REACH, SSIM_REACH + 1, dtype=x.dtype, device=x.device)
    window = torch.softmax(-0.5 * (places / SSIM_SIGMA).square(), 0)

    def blurred(maps: Tensor) -> Tensor:
        rows = torch.nn.functional.conv2d(maps, window.view(1, 1, -1, 1))
        return torch.nn.functional.conv2d(rows, window.view(1, 1, 1, -1))

    mean_x, mean_y = blurred(x), blurred(y)
    variance_x, variance_y = blurred(x * x) - mean_x.square(), blurred(y * y) - mean_y.square()
    covariance = blurred(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + SSIM_LUMINANCE) / (mean_x.square() + mean_y.square() + SSIM_LUMINANCE)
    structure = (2 * covariance + SSIM_CONTRAST) / (variance_x + variance_y + SSIM_CONTRAST)
    return (luminance * structure).flatten(1).mean(1).view(target.shape[:-2]).mean(-1)


def iou(occupancy: Tensor, mask: Tensor) -> Tensor:
    """Intersection over union of two soft silhouettes, each cut at 0.5: [..., H, W] twice -> [...].

    Two empty silhouettes agree: 1. Raises ValueError for unlike shapes or NaN.
    """
    if occupancy.shape != mask.shape or occupancy.ndim < 2:
        raise ValueError(f"occupancy: expected the mask's shape {list(mask.shape)}, got {list(occupancy.shape)}")
    require_finite(occupancy=occupancy, mask=mask)
    rendered, target = occupancy > 0.5, mask > 0.5
    union = (rendered | target).sum((-2, -1))
    return torch.where(union > 0, (rendered & target).sum((-2, -1)) / union.clamp_min(1), 1.0)


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
        raise ValueError(f"features: expected [N, d] with N > 0, got {list(features.shape)}")
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
        raise ValueError(f"features: expected at least 2 on each side, got {generated.count} and {reference.count}")
    if generated.mean.shape != reference.mean.shape:
        raise ValueError(
            f"features: expected both sides of one network, got {len(generated.mean)} and {len(reference.mean)} wide"
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
        raise ValueError(f"features: expected [N, d] and [M, d], got {list(generated.shape)}, {list(reference.shape)}")
    subset_size = min(subset_size, len(generated), len(reference))
    if subset_size < 2:
        raise ValueError(f"features: expected at least 2 on each side, got {len(generated)} and {len(reference)}")
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
