"""The contract between the stages: robustly normalised latents.

Section 3.3 of arXiv:2307.05445, docs/paper.md A10-A12: F_hat = latent_scale * (F - median) / (0.7413 IQR), clipped at
`clip` robust standard deviations.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from vader3d.snapshots import explained_by, load_snapshot, save_snapshot

IQR_TO_STD = 0.7413  # of a normal distribution
SAMPLE = 1 << 22  # elements that quantiles are taken over (torch.quantile refuses more than 2^24)
Grouping = Literal["global", "channel", "voxel"]


@dataclass(frozen=True)
class LatentConfig:
    """How latents are normalised. The paper: global statistics, no clip named."""

    per: Grouping = "global"  # what shares its statistics: all numbers, each channel, or each channel of each voxel
    latent_scale: float = 0.5  # spread of normalised latents, what the diffusion's sigma_data should be
    clip: float | None = None  # in spreads, beyond which latents are cut; None: nowhere
    measure_clip: bool = True  # choose the smallest clip that costs less than 0.1 dB; `clip` is then ignored
    method: Literal["robust", "moments"] = "robust"  # by median and interquartile range, or mean and standard deviation


@dataclass(frozen=True)
class LatentStatistics:
    """`median` (or mean) and `spread` ((robust) standard deviation), broadcastable to [1, C, D, H, W]."""

    median: Tensor
    spread: Tensor
    latent_scale: float = 0.5  # = sigma_data: unit spread becomes what EDM's preconditioning assumes (A10)
    clip: float | None = None  # in robust standard deviations; None = no clipping, the literal equation (A12)

    def normalise(self, latents: Tensor) -> Tensor:
        units = (latents - self.median) / self.spread
        if self.clip is not None:
            units = units.clamp(-self.clip, self.clip)
        return self.latent_scale * units

    def denormalise(self, normalised: Tensor) -> Tensor:
        """The exact inverse of `normalise` inside the clip."""
        return normalised / self.latent_scale * self.spread + self.median

    def clipped_share(self, latents: Tensor) -> float:
        """Share of elements that `normalise` clips."""
        if self.clip is None:
            return 0.0
        return float((((latents - self.median) / self.spread).abs() > self.clip).float().mean())


def latent_statistics(latents: Tensor, config: LatentConfig) -> LatentStatistics:
    """The statistics of latents [N, C, D, H, W] that a configuration asks for."""
    statistics = {"robust": robust_statistics, "moments": moment_statistics}[config.method]
    return statistics(latents, per=config.per, latent_scale=config.latent_scale, clip=config.clip)


def robust_statistics(
    latents: Tensor, *, per: Grouping = "global", latent_scale: float = 0.5, clip: float | None = None
) -> LatentStatistics:
    """Median and 0.7413 IQR of latents [N, C, D, H, W]: over everything, or for each channel or voxel (A11)."""
    groups, view = grouped(latents, per)
    groups = groups[:, :: max(1, groups.shape[1] // SAMPLE)]
    levels = torch.tensor([0.25, 0.5, 0.75])
    parts = groups.float().split(max(1, SAMPLE // groups.shape[1]))
    low, median, high = torch.cat([torch.quantile(part, levels, dim=1) for part in parts], 1)
    spread = bounded_below(IQR_TO_STD * (high - low), "interquartile range")
    return LatentStatistics(median.view(view), spread.view(view), latent_scale, clip)


def moment_statistics(
    latents: Tensor, *, per: Grouping = "global", latent_scale: float = 0.5, clip: float | None = None
) -> LatentStatistics:
    """Mean and standard deviation, what `robust_statistics` is compared with; arguments alike."""
    groups, view = grouped(latents, per)
    spread = bounded_below(groups.double().std(1).float(), "standard deviation")
    return LatentStatistics(groups.double().mean(1).float().view(view), spread.view(view), latent_scale, clip)


def grouped(latents: Tensor, per: Grouping) -> tuple[Tensor, tuple[int, ...]]:
    """Latents [N, C, D, H, W] as [groups, members], and the shape in which a number a group broadcasts to latents."""
    shape = latents.shape[1:]
    if per == "global":
        return latents.reshape(1, -1), (1, 1, 1, 1, 1)
    if per == "channel":
        return latents.transpose(0, 1).flatten(1), (1, shape[0], 1, 1, 1)
    return latents.flatten(1).T, (1, *shape)


def bounded_below(spread: Tensor, what: str) -> Tensor:
    """The spreads of all groups, none under a thousandth of the typical one. ValueError: all are 0."""
    if not bool((spread > 0).any()):
        raise ValueError(f"latents: wanted unlike ones; got an {what} of 0; train the autodecoder longer")
    return spread.clamp_min(float(spread[spread > 0].median()) * 1e-3)


def distribution(values: Tensor) -> dict[str, float]:
    """Mean, standard deviation, excess kurtosis and largest magnitude: what tails do to a normalised latent."""
    values = values.double().flatten()
    mean, std = values.mean(), values.std()
    kurtosis = ((values - mean) / std).pow(4).mean() - 3
    return {"mean": float(mean), "std": float(std), "kurtosis": float(kurtosis), "largest": float(values.abs().max())}


def save_latents(path: Path, latents: Tensor, statistics: LatentStatistics, header: dict) -> None:
    """Raw latents [N, C, D, H, W] with their statistics."""
    tensors = {"latents": latents, "median": statistics.median, "spread": statistics.spread}
    plain = {"latent_scale": statistics.latent_scale, "clip": statistics.clip}
    save_snapshot(path, tensors, {"kind": "latents", **plain, **header})


def load_latents(path: Path) -> tuple[Tensor, LatentStatistics, dict]:
    """What `save_latents` wrote. ValueError names the file that is another, or damaged."""
    tensors, header = load_snapshot(path, "latents")
    with explained_by(path, header):
        latents = tensors["latents"]
        if latents.ndim != 5 or not latents.numel() or not latents.is_floating_point():
            raise ValueError(f"latents: wanted floats [N, C, D, H, W]; got {latents.dtype} {list(latents.shape)}")
        statistics = read_statistics(tensors["median"], tensors["spread"], header, tuple(latents.shape[1:]))
    return latents, statistics, header


def read_statistics(median: Tensor, spread: Tensor, header: dict, shape: tuple[int, ...]) -> LatentStatistics:
    """The statistics of latents of `shape` [C, D, H, W]; ValueError for others, or what no latents have."""
    for name, tensor in (("median", median), ("spread", spread)):
        if tensor.dtype != torch.float32 or torch.broadcast_shapes(tensor.shape, (1, *shape)) != (1, *shape):
            raise ValueError(f"{name}: wanted float32 for latents {list(shape)}; got {tensor.dtype} {tensor.shape}")
    scale, clip = float(header["latent_scale"]), header["clip"] if header["clip"] is None else float(header["clip"])
    if not bool(median.isfinite().all() & spread.isfinite().all() & (spread > 0).all()):
        raise ValueError("spread: wanted finite statistics, spreads above 0; got others")
    if not (0 < scale < math.inf and (clip is None or clip > 0)):
        raise ValueError(f"latent_scale, clip: wanted above 0; got {scale} and {clip}")
    return LatentStatistics(median, spread, scale, clip)
