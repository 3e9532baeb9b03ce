"""The contract between the stages: robustly normalised latents.

Section 3.3 of arXiv:2307.05445, docs/paper.md A10-A12: F_hat = latent_scale * (F - median) / (0.7413 IQR), clipped at
`clip` robust standard deviations.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from vader3d.config import Checked, ranged
from vader3d.snapshots import load_snapshot, save_snapshot

IQR_TO_STD = 0.7413  # of a normal distribution
SAMPLE = 1 << 22  # elements that quantiles are taken over (torch.quantile refuses more than 2^24)
Grouping = Literal["global", "channel", "voxel"]


@dataclass(frozen=True)
class LatentConfig(Checked):
    """How latents are normalised. The paper: global statistics, no clip named."""

    per: Grouping = "global"  # what shares its statistics: all numbers, each channel, or each channel of each voxel
    # spread of normalised latents, what the diffusion's sigma_data should be
    latent_scale: float = ranged(0.5, above=0)
    # in spreads, beyond which latents are cut; None: as measured, or nowhere
    clip: float | None = ranged(None, above=0)
    measure_clip: bool = True  # where `clip` names none: the smallest that costs less than 0.1 dB
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
    tensors, header = load_snapshot(path)
    if header.get("kind") != "latents":
        raise ValueError(f"{path}: wanted latents; got a snapshot of kind {header.get('kind')!r}")
    statistics = LatentStatistics(tensors["median"], tensors["spread"], header["latent_scale"], header["clip"])
    return tensors["latents"], statistics, header
