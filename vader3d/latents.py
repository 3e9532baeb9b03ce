"""The contract between the stages: robustly normalised latents.

Section 3.3 of arXiv:2307.05445, docs/paper.md A10-A12: F_hat = latent_scale * (F - median) / (0.7413 IQR), clipped at
`clip` robust standard deviations.
"""

import math
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import reduce
from math import prod
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from vader3d.config import Checked, ranged
from vader3d.files import not_written, put_in_place, temporary_name
from vader3d.randomness import seeded
from vader3d.snapshots import explained_by, load_as_stored, packed_header

IQR_TO_STD = 0.7413  # of a normal distribution
CHUNK = 1 << 22  # numbers that are worked on at a time
QUANTILE_NUMBERS = 1 << 23  # of one group that are sorted (torch.quantile refuses more than 2^24)
COUNTED_GROUPS = 4096  # whose numbers are counted where they are more; of yet more groups some objects are looked at
DIGIT_BITS = 8  # that a pass over all numbers decides of a quantile
SAMPLED_NUMBERS = 1 << 28  # ... and of all groups together, 1 GiB
REPORT_BYTES = 1 << 14  # left in the file's header for what is known when all latents are written
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
    # how they lie in their file; float16 is half the bytes, and `latent_rounding` in metrics.jsonl what it costs
    stored: Literal["float32", "float16"] = "float32"


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
        beyond = (((part - self.median) / self.spread).abs() > self.clip for part in chunks(latents))
        return sum(int(part.sum()) for part in beyond) / latents.numel()


def chunks(latents: Tensor) -> tuple[Tensor, ...]:
    """Latents [N, ...] some objects at a time, about `CHUNK` numbers: views, which read a mapped file when used."""
    return latents.split(max(1, CHUNK // prod(latents.shape[1:])))


def total(parts: Iterable[Tensor]) -> Tensor:
    """The sum of tensors of one shape, made for it: the first is added to."""
    return reduce(Tensor.add_, parts)


def latent_statistics(latents: Tensor, config: LatentConfig) -> LatentStatistics:
    """The statistics of latents [N, C, D, H, W] that a configuration asks for."""
    statistics = {"robust": robust_statistics, "moments": moment_statistics}[config.method]
    return statistics(latents, per=config.per, latent_scale=config.latent_scale, clip=config.clip)


def robust_statistics(
    latents: Tensor, *, per: Grouping = "global", latent_scale: float = 0.5, clip: float | None = None
) -> LatentStatistics:
    """Median and 0.7413 IQR of latents [N, C, D, H, W]: over everything, or for each channel or voxel (A11).

    Of more than can be sorted by counting all of them; of very many groups by random objects, the same at every call.
    """
    groups, view = grouped(latents, per)
    if len(groups) * groups.shape[2] > QUANTILE_NUMBERS and groups.shape[1] <= COUNTED_GROUPS:
        low, median, high = counted_quantiles(groups, (0.25, 0.5, 0.75))
        spread = bounded_below(IQR_TO_STD * (high - low), "interquartile range")
        return LatentStatistics(median.view(view), spread.view(view), latent_scale, clip)
    most = min(QUANTILE_NUMBERS // groups.shape[2], SAMPLED_NUMBERS // prod(groups.shape[1:]))
    if len(groups) > most:
        groups = groups[torch.randperm(len(groups), generator=seeded(0))[: max(1, most)].sort().values]
    levels = torch.tensor([0.25, 0.5, 0.75])
    parts = groups.split(max(1, CHUNK // (len(groups) * groups.shape[2])), dim=1)
    quantiles = [torch.quantile(part.transpose(0, 1).flatten(1).float(), levels, dim=1) for part in parts]
    low, median, high = torch.cat(quantiles, 1)
    spread = bounded_below(IQR_TO_STD * (high - low), "interquartile range")
    return LatentStatistics(median.view(view), spread.view(view), latent_scale, clip)


def counted_quantiles(groups: Tensor, levels: tuple[float, ...]) -> Tensor:
    """Of [N, groups, members] the numbers below which a share `levels` of each group lies: [levels, groups].

    Exact, in four passes, each of which decides `DIGIT_BITS` more bits; counts of several processes would add up.
    """
    kinds, digits = groups.shape[1], 1 << DIGIT_BITS
    of_group = torch.arange(kinds)[:, None]
    ranks = torch.tensor([int(level * (len(groups) * groups.shape[2] - 1)) for level in levels])
    left, known = ranks[:, None].repeat(1, kinds), torch.zeros(len(levels), kinds, dtype=torch.long)
    for shift in range(32 - DIGIT_BITS, -1, -DIGIT_BITS):
        alike = shift == 32 - DIGIT_BITS  # nothing is known yet, and all levels' counts are the first's
        counts = torch.zeros(len(levels), kinds * digits, dtype=torch.long)
        for part in chunks(groups):
            keys = ordered_bits(part)
            for level in range(1 if alike else len(levels)):
                chosen = keys >> (shift + DIGIT_BITS) == known[level][:, None]
                places = (keys[chosen] >> shift) % digits + digits * of_group.expand_as(keys)[chosen]
                counts[level] += torch.bincount(places, minlength=kinds * digits)
        if alike:
            counts[:] = counts[:1]
        below = counts.view(len(levels), kinds, digits).cumsum(-1)
        digit = (below <= left[..., None]).sum(-1)
        before = torch.where(digit > 0, below.gather(-1, (digit - 1).clamp_min(0)[..., None])[..., 0], 0)
        left, known = left - before, known * digits + digit
    return from_ordered_bits(known)


def ordered_bits(numbers: Tensor) -> Tensor:
    """Floats as whole numbers from 0 to 2^32 - 1 in the same order."""
    bits = numbers.float().contiguous().view(torch.int32).long()
    return torch.where(bits < 0, -1 - bits, bits + (1 << 31))


def from_ordered_bits(keys: Tensor) -> Tensor:
    return torch.where(keys < 1 << 31, -1 - keys, keys - (1 << 31)).int().view(torch.float32)


def moment_statistics(
    latents: Tensor, *, per: Grouping = "global", latent_scale: float = 0.5, clip: float | None = None
) -> LatentStatistics:
    """Mean and standard deviation, what `robust_statistics` is compared with; arguments alike."""
    groups, view = grouped(latents, per)
    count = len(groups) * groups.shape[2]
    mean = total(part.double().sum((0, 2)) for part in chunks(groups)) / count
    squares = total((part.double() - mean[:, None]).square().sum((0, 2)) for part in chunks(groups))
    spread = bounded_below((squares / (count - 1)).sqrt().float(), "standard deviation")
    return LatentStatistics(mean.float().view(view), spread.view(view), latent_scale, clip)


def grouped(latents: Tensor, per: Grouping) -> tuple[Tensor, tuple[int, ...]]:
    """Latents [N, C, D, H, W] as [N, groups, members], and the shape in which a number a group broadcasts to them."""
    shape = latents.shape[1:]
    view = {"global": (1, 1, 1, 1, 1), "channel": (1, shape[0], 1, 1, 1), "voxel": (1, *shape)}[per]
    return latents.reshape(len(latents), prod(view), -1), view


def bounded_below(spread: Tensor, what: str) -> Tensor:
    """The spreads of all groups, none under a thousandth of the typical one. ValueError: all are 0."""
    if not bool((spread > 0).any()):
        raise ValueError(f"latents: wanted unlike ones; got an {what} of 0; train the autodecoder longer")
    return spread.clamp_min(float(spread[spread > 0].median()) * 1e-3)


def distribution(parts: Iterable[Tensor]) -> dict[str, float]:
    """Mean, standard deviation, excess kurtosis and largest magnitude of all numbers of the parts.

    What tails do to a normalised latent.
    """
    count, largest, sums, near = 0, torch.zeros((), dtype=torch.float64), torch.zeros(4, dtype=torch.float64), None
    for part in parts:
        values = part.double().flatten()
        near = values.mean() if near is None else near  # powers of what is left lose no digits
        left = values - near
        square = left.square()
        count, largest = count + len(values), torch.maximum(largest, values.abs().max())
        sums += torch.stack([left.sum(), square.sum(), square.dot(left), square.dot(square)])
    assert near is not None, "no parts"
    first, second, third, fourth = sums / count
    variance = (second - first**2) * count / (count - 1)
    moment = fourth - 4 * first * third + 6 * first**2 * second - 3 * first**4
    kurtosis = moment / variance**2 - 3
    numbers = {"mean": near + first, "std": variance.sqrt(), "kurtosis": kurtosis, "largest": largest}
    return {name: float(number) for name, number in numbers.items()}


class LatentsWriter:
    """Writes latents [N, C, D, H, W] some at a time, so that nobody holds all of them.

    `with LatentsWriter(path, (N, C, D, H, W), header) as writer:` `add` parts, look at what is `written`, `finish`.
    Without the last nothing is left. Other processes may `help`. `rounding` has the sum of the squares of what storing
    took from the numbers, and the largest. OSError, which names `path`, when it cannot be written.
    """

    def __init__(
        self, path: Path, shape: tuple[int, ...], header: dict[str, Any], *, stored: str = "float32", help: int = 0
    ):
        """header: plain values, written with those that `finish` adds. help: the process number of the writer that
        began the file, for one of another process that adds some of its latents.
        """
        self.path, self.shape, self.header, self.helps = path, shape, header, bool(help)
        self.dtype = {"float32": torch.float32, "float16": torch.float16}[stored]
        self.start = len(packed_header({}, header)) + REPORT_BYTES
        self.rounding = torch.zeros(2, dtype=torch.float64)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.temporary = temporary_name(path) if not help else path.with_name(f".{path.name}.{help}.part")
        self.file = open(self.temporary, "r+b" if help else "wb")  # noqa: SIM115 (closed by __exit__)
        self.begin(0)

    def begin(self, row: int) -> None:
        """What is added next has this number."""
        self.file.seek(self.start + row * prod(self.shape[1:]) * self.dtype.itemsize)

    def add(self, latents: Tensor) -> None:
        """The next latents [n, C, D, H, W]. ValueError: float16 does not hold them."""
        stored = latents.to(self.dtype)
        if not bool(stored.isfinite().all()):
            most = float(latents.abs().max())
            raise ValueError(f"latents.stored: wanted numbers that float16 holds; got {most:.0f}; set float32")
        if self.dtype is not torch.float32:
            lost = (stored.float() - latents.float()).abs().cpu().double()
            self.rounding[0] += lost.square().sum()
            self.rounding[1] = torch.maximum(self.rounding[1], lost.max())
        self.put(stored)

    def put(self, tensor: Tensor) -> None:
        try:
            self.file.write(tensor.contiguous().numpy(force=True).data)
        except OSError as error:
            raise not_written(self.path, error) from error

    @property
    def written(self) -> Tensor:
        """All latents, mapped from the file once all N are there."""
        self.file.flush()
        kind = np.float32 if self.dtype is torch.float32 else np.float16
        return torch.from_numpy(np.memmap(self.temporary, kind, "c", self.start, self.shape))

    def finish(self, statistics: LatentStatistics, header: dict[str, Any]) -> None:
        """Add what is known of all of them: the file takes its place."""
        self.begin(self.shape[0])
        self.put(statistics.median)
        self.put(statistics.spread)
        plain = {"latent_scale": statistics.latent_scale, "clip": statistics.clip}
        shapes = {"latents": self.shape, "median": statistics.median.shape, "spread": statistics.spread.shape}
        types = {"latents": "F32" if self.dtype is torch.float32 else "F16"}
        about = {"kind": "latents", **plain, **self.header, **header}
        head = packed_header(shapes, about, length=self.start, types=types)
        try:
            self.file.seek(0)
            self.file.write(head)
            self.file.close()
            put_in_place(self.temporary, self.path)
        except OSError as error:
            raise not_written(self.path, error) from error

    def __enter__(self) -> "LatentsWriter":
        return self

    def __exit__(self, *exception: object) -> None:
        with suppress(OSError):  # of what a full disk did not take
            self.file.close()
        if not self.helps:
            self.temporary.unlink(missing_ok=True)


def save_latents(path: Path, latents: Tensor, statistics: LatentStatistics, header: dict[str, Any]) -> None:
    """Raw latents [N, C, D, H, W] with their statistics."""
    with LatentsWriter(path, tuple(latents.shape), header) as writer:
        writer.add(latents)
        writer.finish(statistics, {})


def load_latents(path: Path) -> tuple[Tensor, LatentStatistics, dict]:
    """Raw latents [N, C, D, H, W] as they are stored, mapped: read where they are used. With statistics and header.

    ValueError names the file that is another, or damaged.
    """
    tensors, header = load_as_stored(path, "latents")
    with explained_by(path, header):
        latents = tensors["latents"]
        if latents.ndim != 5 or not latents.numel() or not latents.is_floating_point():
            raise ValueError(f"latents: wanted floats [N, C, D, H, W]; got {latents.dtype} {list(latents.shape)}")
        statistics = read_statistics(tensors["median"], tensors["spread"], header, tuple(latents.shape[1:]))
    return latents, statistics, header


def read_statistics(median: Tensor, spread: Tensor, header: dict, shape: tuple[int, ...]) -> LatentStatistics:
    """The statistics of latents of `shape` [C, D, H, W]; ValueError for others, or what no latents have."""
    for name, tensor in (("median", median), ("spread", spread)):
        # numpy's: the first call of torch's own imports sympy, half a second
        if tensor.dtype != torch.float32 or np.broadcast_shapes(tensor.shape, (1, *shape)) != (1, *shape):
            raise ValueError(f"{name}: wanted float32 for latents {list(shape)}; got {tensor.dtype} {tensor.shape}")
    scale, clip = float(header["latent_scale"]), header["clip"] if header["clip"] is None else float(header["clip"])
    if not bool(median.isfinite().all() & spread.isfinite().all() & (spread > 0).all()):
        raise ValueError("spread: wanted finite statistics, spreads above 0; got others")
    if not (0 < scale < math.inf and (clip is None or clip > 0)):
        raise ValueError(f"latent_scale, clip: wanted above 0; got {scale} and {clip}")
    return LatentStatistics(median, spread, scale, clip)
