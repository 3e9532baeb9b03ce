"""Volume rendering in plain torch: the definition.

Equations 6-7 of arXiv:2307.05445, docs/paper.md A14-A17 and A23. A ray crosses the cube between `near` and `far`; S
points stand on it, `step = (far - near) / S` apart:

    depth_i      = near + (i + u_i) step            u_i = 1/2, or uniform in [0, 1) with a seed (stratified)
    density_i    = scale * activation(raw_i + noise_i)
    T_i          = exp(-step * sum_{j<i} density_j)   and the march ends before the first i with T_i < early_stop
    ray_weight_i = T_i (1 - exp(-step * density_i))
    features, opacity, depth = sum_i ray_weight_i (channels_i, 1, depth_i)

The grid is sampled trilinearly; voxel centres of the outermost layers lie on the cube's faces (align_corners).
"""

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from vader3d.geometry.rays import cube_crossing
from vader3d.randomness import MASK32, hash32
from vader3d.render.settings import March
from vader3d.render.volume import ALIGN_CORNERS, Volume

POINTS_PER_CHUNK = 1 << 21  # bounds what one chunk keeps: about 100 bytes a point with 4 channels
KEY_FACTOR = 0x9E3779B9  # from a seed to the first key of its noise
BYTES_MEAN, BYTES_STD = 510, (65535 / 3) ** 0.5  # of the sum of four uniform bytes
HIGHEST_NOISE = BYTES_MEAN / BYTES_STD


def sample_noise(seed: int, ray: Tensor, samples_per_ray: int) -> tuple[Tensor, Tensor]:
    """Uniform jitter in [0, 1) and unit noise, both [*ray.shape, S], for global ray numbers b * R + r (int64).

    The noise is the sum of a hash's four bytes, standardised: bell-shaped within +-3.45, the same on every back-end.
    """
    sample = torch.arange(samples_per_ray, device=ray.device)
    key = ray[..., None] * samples_per_ray + sample + first_key(seed)
    jitter = (hash32(key) >> 8).double() / (1 << 24)
    bits = hash32(key ^ 0x5BD1E995)
    total = (bits & 255) + ((bits >> 8) & 255) + ((bits >> 16) & 255) + (bits >> 24)
    return jitter, (total - BYTES_MEAN).double() / BYTES_STD


def first_key(seed: int) -> int:
    """The key of a seed's first sample, in 32 bits."""
    return seed * KEY_FACTOR & MASK32


def seed_from(seed: int, key: int) -> int:
    """The seed whose noise begins with what `seed` draws for the key ray * samples_per_ray + sample = `key`."""
    return (seed + key * pow(KEY_FACTOR, -1, 1 << 32)) & MASK32


def render_chunk(
    volume: Volume, origins: Tensor, directions: Tensor, ray_numbers: Tensor, march: March
) -> tuple[Tensor, Tensor, Tensor]:
    """Some rays [B, r, 3] with their numbers [B, r] -> features [B, r, C-1], opacity and depth [B, r]."""
    grid, samples = volume.grid, march.samples_per_ray
    near, far = cube_crossing(origins, directions)
    step = ((far - near) / samples)[..., None]
    position, noise = grid.new_tensor(0.5), grid.new_tensor(0.0)
    if march.seed is not None:
        position, noise = (value.to(grid) for value in sample_noise(march.seed, ray_numbers, samples))
    depth = near[..., None] + (torch.arange(samples, device=grid.device) + position) * step
    points = origins[..., None, :] + depth[..., None] * directions[..., None, :]
    sampled = torch.nn.functional.grid_sample(
        grid, points[:, :, :, None], mode="bilinear", padding_mode="border", align_corners=ALIGN_CORNERS
    )[..., 0]  # [B, C, r, S]
    thickness = volume.density_from_raw(sampled[:, 3] + march.density_noise * noise) * step
    transmittance = torch.exp(-torch.nn.functional.pad(thickness[..., :-1].cumsum(-1), (1, 0)))
    absorbed = transmittance * -torch.expm1(-thickness)
    ray_weights = torch.where(transmittance >= march.early_stop, absorbed, 0.0)
    channels = torch.cat([sampled[:, :3], sampled[:, 4:]], 1)
    features = torch.einsum("bcrs,brs->brc", channels, ray_weights)
    return features, ray_weights.sum(-1), (ray_weights * depth).sum(-1)


def render_rays(volume: Volume, origins: Tensor, directions: Tensor, march: March) -> tuple[Tensor, Tensor, Tensor]:
    """Rays [B, R, 3] through a volume with C channels -> features [B, R, C-1], opacity and depth [B, R].

    Chunks of rays are recomputed in the backward pass, so memory does not grow with R * samples_per_ray. Half
    precision is computed in float32. `skip_empty` changes nothing: the definition visits every point.
    """
    if volume.grid.dtype not in (torch.float32, torch.float64):
        volume = volume.with_grid(volume.grid.float())
    origins, directions = origins.to(volume.grid), directions.to(volume.grid)
    objects, rays = origins.shape[:2]
    numbers = torch.arange(objects * rays, device=origins.device).view(objects, rays)
    size = max(1, POINTS_PER_CHUNK // max(1, objects * march.samples_per_ray))
    if rays <= size:
        return render_chunk(volume, origins, directions, numbers, march)
    chunks = zip(*(tensor.split(size, 1) for tensor in (origins, directions, numbers)), strict=True)
    parts = [checkpoint(render_chunk, volume, *chunk, march, use_reentrant=False) for chunk in chunks]
    features, opacity, depth = (torch.cat(part, 1) for part in zip(*parts, strict=True))
    return features, opacity, depth
