"""Volume rendering in plain torch: the definition every back-end is held to.

Equations 6-7 of arXiv:2307.05445, docs/paper.md A14-A17 and A23. A ray crosses the cube between `near` and `far`; S
points stand on it, `step = (far - near) / S` apart:

    depth_i   = near + (i + u_i) step            u_i = 1/2, or uniform in [0, 1) with a seed (stratified)
    density_i = scale * activation(raw_i + noise_i)
    T_i       = exp(-step * sum_{j<i} density_j)   and the march ends before the first i with T_i < early_stop
    weight_i  = T_i (1 - exp(-step * density_i))
    features, opacity, depth = sum_i weight_i (channels_i, 1, depth_i)

The grid is sampled trilinearly; voxel centres of the outermost layers lie on the cube's faces (align_corners).
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from vader3d.geometry.rays import cube_crossing

ALIGN_CORNERS = True
POINTS_PER_CHUNK = 1 << 21  # bounds what one chunk keeps: about 100 bytes a point with 4 channels
MASK32 = 0xFFFFFFFF


def hash32(key: Tensor) -> Tensor:
    """The MurmurHash3 finaliser on int64 tensors that hold 32-bit keys: the one source of sampling noise."""
    key = key & MASK32
    key = ((key ^ (key >> 16)) * 0x85EBCA6B) & MASK32
    key = ((key ^ (key >> 13)) * 0xC2B2AE35) & MASK32
    return key ^ (key >> 16)


def sample_noise(seed: int, ray: Tensor, samples_per_ray: int) -> tuple[Tensor, Tensor]:
    """Uniform jitter in [0, 1) and unit noise, both [*ray.shape, S], for global ray numbers b * R + r (int64).

    The noise is the sum of a hash's four bytes, standardised: bell-shaped within +-3.45, the same on every back-end.
    """
    sample = torch.arange(samples_per_ray, device=ray.device)
    key = ray[..., None] * samples_per_ray + sample + (seed * 0x9E3779B9 & MASK32)
    jitter = (hash32(key) >> 8).double() / (1 << 24)
    bits = hash32(key ^ 0x5BD1E995)
    total = (bits & 255) + ((bits >> 8) & 255) + ((bits >> 16) & 255) + (bits >> 24)
    return jitter, (total - 510).double() / (65535 / 3) ** 0.5


def seed_from(seed: int, key: int) -> int:
    """The seed whose noise begins with what `seed` draws for the key ray * samples_per_ray + sample = `key`."""
    return (seed + key * pow(0x9E3779B9, -1, 1 << 32)) & MASK32


def activate_density(raw: Tensor, activation: str, scale: float) -> Tensor:
    """Raw density channel -> density in units of 1 / depth."""
    return scale * (torch.relu(raw) if activation == "relu" else torch.nn.functional.softplus(raw))


def march(
    grid: Tensor,
    origins: Tensor,
    directions: Tensor,
    ray_numbers: Tensor,
    *,
    samples_per_ray: int,
    activation: str,
    density_scale: float,
    density_noise: float,
    seed: int | None,
    early_stop: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """One chunk: rays [B, r, 3] with their numbers [B, r] -> features [B, r, C-1], opacity and depth [B, r]."""
    near, far = cube_crossing(origins, directions)
    step = ((far - near) / samples_per_ray)[..., None]
    position, noise = grid.new_tensor(0.5), grid.new_tensor(0.0)
    if seed is not None:
        position, noise = (value.to(grid) for value in sample_noise(seed, ray_numbers, samples_per_ray))
    depth = near[..., None] + (torch.arange(samples_per_ray, device=grid.device) + position) * step
    points = origins[..., None, :] + depth[..., None] * directions[..., None, :]
    sampled = torch.nn.functional.grid_sample(
        grid, points[:, :, :, None], mode="bilinear", padding_mode="border", align_corners=ALIGN_CORNERS
    )[..., 0]  # [B, C, r, S]
    density = activate_density(sampled[:, 3] + density_noise * noise, activation, density_scale)
    thickness = density * step
    transmittance = torch.exp(-torch.nn.functional.pad(thickness[..., :-1].cumsum(-1), (1, 0)))
    weights = torch.where(transmittance >= early_stop, transmittance * -torch.expm1(-thickness), 0.0)
    channels = torch.cat([sampled[:, :3], sampled[:, 4:]], 1)
    features = torch.einsum("bcrs,brs->brc", channels, weights)
    return features, weights.sum(-1), (weights * depth).sum(-1)


def render_rays(
    grid: Tensor,
    origins: Tensor,
    directions: Tensor,
    *,
    samples_per_ray: int,
    activation: str,
    density_scale: float,
    density_noise: float,
    seed: int | None,
    early_stop: float,
    skip_empty: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Grid [B, C, D, H, W] (colour 3, density, extra channels) and rays [B, R, 3] -> what `march` returns, for all R.

    Chunks of rays are recomputed in the backward pass, so memory does not grow with R * samples_per_ray. Half
    precision is computed in float32. `skip_empty` changes nothing: the definition visits every point.
    """
    grid = grid if grid.dtype in (torch.float32, torch.float64) else grid.float()
    origins, directions = origins.to(grid), directions.to(grid)
    objects, rays = origins.shape[:2]
    numbers = torch.arange(objects * rays, device=grid.device).view(objects, rays)
    settings: dict[str, Any] = dict(
        samples_per_ray=samples_per_ray,
        activation=activation,
        density_scale=density_scale,
        density_noise=density_noise,
        seed=seed,
        early_stop=early_stop,
    )
    size = max(1, POINTS_PER_CHUNK // max(1, objects * samples_per_ray))
    if rays <= size:
        return march(grid, origins, directions, numbers, **settings)
    chunks = zip(*(tensor.split(size, 1) for tensor in (origins, directions, numbers)), strict=True)
    march_chunk = partial(march, **settings)  # checkpoint has keywords of its own, early_stop among them
    parts = [checkpoint(march_chunk, grid, *chunk, use_reentrant=False) for chunk in chunks]
    features, opacity, depth = (torch.cat(part, 1) for part in zip(*parts, strict=True))
    return features, opacity, depth
