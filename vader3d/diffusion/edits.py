"""What denoising makes of given latents: paths, variations, kept parts.

Latents are normalised, [B, C, D, H, W], as the denoiser knows them; noise is unit noise. Solvers, `draw` and `callback`
are those of solvers.py, noise levels those of sampler.py.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from vader3d.diffusion.sampler import edm_sigmas
from vader3d.diffusion.solvers import Denoise, Draw, Solver, heun
from vader3d.render.volume import Volume

SIGMA_MIN, SIGMA_MAX, RHO = 0.002, 80.0, 7.0  # of EDM's schedule
Box = tuple[tuple[float, float, float], tuple[float, float, float]]  # the least and the greatest x, y, z, in [-1, 1]


def lerp(a: Tensor, b: Tensor, share: float) -> Tensor:
    """The straight way from `a` (share 0) to `b` (share 1): for tokens."""
    return torch.lerp(a, b, share)


def slerp(a: Tensor, b: Tensor, share: float) -> Tensor:
    """The way from `a` to `b` on the sphere, all elements being one vector: for noise, which stays as long as noise is.

    ValueError: opposite ones, between which no way is the shortest.
    """
    cosine = torch.nn.functional.cosine_similarity(a.flatten().double(), b.flatten().double(), dim=0).clamp(-1, 1)
    if cosine < -0.9999:
        raise ValueError("noise: wanted two that are not opposite; got b = -a, with no shortest way; take another seed")
    angle = cosine.arccos()
    if angle < 1e-4:
        return lerp(a, b, share)
    return (((1 - share) * angle).sin() * a + (share * angle).sin() * b).div(angle.sin()).to(a.dtype)


def interpolated(
    a: Tensor, b: Tensor, frames: int, *, along: Callable[[Tensor, Tensor, float], Tensor] = slerp
) -> Tensor:
    """`frames` equal steps from `a` to `b` [...], both among them: [frames, ...]. ValueError: fewer than 2, or unlike.

    along: `slerp` for noise, `lerp` for tokens.
    """
    if frames < 2:
        raise ValueError(f"frames: wanted 2 or more; got {frames}")
    if a.shape != b.shape:
        raise ValueError(f"interpolate: wanted two of one shape; got {list(a.shape)} and {list(b.shape)}")
    between = [along(a, b, i / (frames - 1)) for i in range(1, frames - 1)]
    return torch.stack([a, *between, b])


def strength_sigma(strength: float) -> float:
    """The noise level that forgets a share `strength` of the schedule: 0.002 at 0, 80 at 1, about 1 at 0.4.

    ValueError: not in [0, 1].
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"strength: wanted 0 (the same object) to 1 (any object); got {strength}")
    low, high = SIGMA_MIN ** (1 / RHO), SIGMA_MAX ** (1 / RHO)
    return (low + strength * (high - low)) ** RHO


def vary(
    denoiser: Denoise,
    clean: Tensor,
    noise: Tensor,
    *,
    strength: float,
    steps: int,
    solver: Solver = heun,
    **options: Any,
) -> Tensor:
    """Objects like the `clean` ones: noised up to `strength_sigma(strength)`, and denoised from there in `steps`.

    SDEdit (arXiv:2108.01073). Strength 0 gives them back; options: the solver's draw, callback, churn.
    """
    level = strength_sigma(strength)
    if strength == 0:
        return clean
    return solver(denoiser, noise + clean / level, edm_sigmas(steps, sigma_max=level), **options)


def box_mask(box: Box, resolution: int) -> Tensor:
    """Which voxels of a volume have their centre in the box: bool [D, H, W], axes (z, y, x).

    ValueError: a box without a voxel, or turned inside out.
    """
    (x0, y0, z0), (x1, y1, z1) = box
    centres = torch.linspace(-1, 1, resolution)
    along_z, along_y, along_x = ((centres >= low) & (centres <= high) for low, high in ((z0, z1), (y0, y1), (x0, x1)))
    mask = along_z[:, None, None] & along_y[:, None] & along_x
    if not mask.any():
        raise ValueError(f"box: wanted a part of [-1, 1]^3, least corner first; got {box}, without any voxel")
    return mask


def coarsened(mask: Tensor, resolution: int) -> Tensor:
    """The cells of latents of `resolution` most of whose voxels are in `mask` [D, H, W]: bool [R, R, R]."""
    share = torch.nn.functional.adaptive_avg_pool3d(mask[None].float(), resolution)
    return share[0] > 0.5


def keeping(denoiser: Denoise, kept: Tensor, mask: Tensor) -> Denoise:
    """A denoiser that knows the latents in `mask` [D, H, W] to be those of `kept`: the rest is made to go with them.

    Noise decays to them at every step, with each solver, as noise of their own would (RePaint, arXiv:2201.09865).
    """
    return lambda x, sigma: torch.where(mask, kept.to(x.dtype), denoiser(x, sigma))


def completed(
    denoiser: Denoise,
    noise: Tensor,
    kept: Tensor,
    mask: Tensor,
    sigmas: Tensor,
    *,
    solver: Solver = heun,
    draw: Draw | None = None,
    resample: int = 1,
) -> Tensor:
    """Samples that are `kept` in `mask` [D, H, W] and new elsewhere.

    resample: every step is taken so many times, with fresh noise put back between: RePaint's, which fits the new to the
    kept better and costs as many times more. ValueError without `draw` where it is above 1.
    """
    inside = keeping(denoiser, kept, mask)
    if resample == 1:
        return solver(inside, noise, sigmas, draw=draw)
    if draw is None:
        raise ValueError(f"draw: wanted a source of unit noise, since resample is {resample}; got None")
    x = noise.double() * sigmas[0]
    for step in pairwise(sigmas):
        high, low = step
        for again in range(resample if low > 0 else 1):
            if again:
                x = x + (high**2 - low**2).sqrt() * draw()
            x = solver(inside, (x / high).to(noise.dtype), torch.stack(step), draw=draw).double()
    return x.to(noise.dtype)


def agreeing(
    denoiser: Denoise,
    unlike: Callable[[Tensor], Tensor],
    *,
    spread: float = 0.5,
    iterations: int = 12,
    rate: float = 0.6,
) -> Denoise:
    """A denoiser whose estimates are moved to where they agree with something known of what they decode to.

    For latents that no mask can part, such as one code an object. unlike(latents) -> [B], how improbable what they
    decode to is (minus the log of its probability), with gradients. The estimate z of a latent is known up to a
    variance of about v = sigma^2 spread^2 / (sigma^2 + spread^2): of all z the one is sought that makes
    |z - estimate|^2 / 2 v + unlike(z) least, by `iterations` of Adam whose
    steps of `rate` deviations shrink to none.
    """

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        estimate = denoiser(x, sigma)
        deviation = float(sigma * spread / (sigma**2 + spread**2).sqrt())
        with torch.enable_grad():
            moved = torch.zeros_like(estimate, dtype=torch.float32).requires_grad_()
            optimiser = torch.optim.Adam([moved])
            for left in range(iterations, 0, -1):
                optimiser.param_groups[0]["lr"] = rate * left / iterations
                optimiser.zero_grad()
                latents = estimate.detach() + deviation * moved
                (moved.square().sum() / 2 + unlike(latents).sum()).backward()
                optimiser.step()
        return estimate + deviation * moved.detach().to(estimate.dtype)

    return denoise


def matter(volume: Volume) -> Tensor:
    """What the voxels show: colour times opacity, and opacity, of one voxel's width: [B, 4, D, H, W] in [0, 1]."""
    opacity = 1 - (-volume.density * 2 / (volume.grid.shape[-1] - 1)).exp()
    return torch.cat([volume.colour * opacity, opacity], 1)


def unlike_in(
    mask: Tensor, kept: Volume, decode: Callable[[Tensor], Volume], *, tolerance: float = 0.01
) -> Callable[[Tensor], Tensor]:
    """How unlike the `kept` volume, of one object, latents decode to within `mask` [D, H, W]: for `agreeing`.

    decode: with gradients. tolerance: what deviation of all matter there, relative to it, is taken for likely; larger
    ones leave more freedom elsewhere. Where the kept is empty, the matter of the whole object is what counts.
    """
    shown = matter(kept).detach()
    target = shown[..., mask]
    energy = target.square().sum() if target.any() else shown.square().sum()

    def unlike(latents: Tensor) -> Tensor:
        there = matter(decode(latents))[..., mask]
        return (there - target).square().sum((1, 2)) / (2 * tolerance**2 * energy)

    return unlike
