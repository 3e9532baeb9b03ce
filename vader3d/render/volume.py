"""The one door to volume rendering: check the call, pick a back-end."""

import functools
import logging
import os
from dataclasses import dataclass
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor

from vader3d.geometry.rays import Rays
from vader3d.render import cpu, reference, triton

log = logging.getLogger("vader3d.render")
BACKENDS: dict[str, ModuleType] = {"triton": triton, "cpu": cpu, "reference": reference}  # fastest first
ACTIVATIONS = ("relu", "softplus")


@dataclass(frozen=True)
class Volume:
    """What the decoder makes of an object: `grid` [B, 4 + K, D, H, W] over the cube [-1, 1]^3, axes (z, y, x).

    Channels: colour (3, raw, nominally in [0, 1]), raw density (before the activation), then K extra channels.
    """

    grid: Tensor

    @property
    def colour(self) -> Tensor:
        return self.grid[:, :3]

    @property
    def density(self) -> Tensor:
        return self.grid[:, 3:4]

    @property
    def extra(self) -> Tensor:
        return self.grid[:, 4:]


class Rendering(NamedTuple):
    """`colour` [B, R, 3], `opacity` [B, R] in [0, 1], `depth` [B, R] = sum of ray_weights * depth, `extra` [B, R, K],
    and, where asked for, `normals` [B, R, 3] (world axes, outward, length <= opacity)."""

    colour: Tensor
    opacity: Tensor
    depth: Tensor
    extra: Tensor
    normals: Tensor | None = None


def render_volume(
    volume: Volume,
    rays: Rays,
    *,
    samples_per_ray: int,
    background: float | Tensor = 0.0,
    activation: str = "relu",
    density_scale: float = 1.0,
    density_noise: float = 0.0,
    generator: torch.Generator | None = None,
    first_object: int = 0,
    early_stop: float = 1e-4,
    skip_empty: bool = False,
    normals: bool = False,
    backend: str = "auto",
) -> Rendering:
    """Pictures of `volume` along `rays`: see `reference` for the equations.

    background: grey, [3], or [B, 1, 3], composited behind the colour. generator: jitters the points along their rays
    and draws `density_noise`, the standard deviation of noise on the raw density; as for objects `first_object` and on
    of a larger batch. early_stop: a ray ends where less
    light than this is left (0 = exact). skip_empty: pass over blocks that hold nothing; for inference only. normals:
    also composite the direction in which density falls. backend: `auto` takes the fastest that can take the call, or
    the one that VADER3D_RENDER_BACKEND names; a named one raises when it cannot.
    Raises ValueError for unlike shapes, devices, counts; VADER3D_CHECK_FINITE=1 also looks for NaN and infinity in
    grids (always looked for in directions on the CPU).
    """
    check_call(volume, rays, samples_per_ray, activation, density_noise, generator, early_stop)
    grid = volume.grid
    if skip_empty and torch.is_grad_enabled() and grid.requires_grad:
        raise ValueError("skip_empty: for inference only, gradients would never reach the skipped voxels; wanted False")
    if normals:
        density = reference.activate_density(volume.density, activation, density_scale)
        grid = torch.cat([grid, outward_normals(density)], 1)
    seed = None if generator is None else int(torch.randint(1 << 32, (), generator=generator))
    if seed is not None:
        seed = reference.seed_from(seed, first_object * rays.origins.shape[1] * samples_per_ray)
    module = pick_backend(backend, grid, points=rays.origins[..., 0].numel() * samples_per_ray)
    features, opacity, depth = module.render_rays(
        grid,
        rays.origins,
        rays.directions,
        samples_per_ray=samples_per_ray,
        activation=activation,
        density_scale=density_scale,
        density_noise=density_noise,
        seed=seed,
        early_stop=early_stop,
        skip_empty=skip_empty,
    )
    colour, extra = features.narrow(-1, 0, 3), features.narrow(-1, 3, features.shape[-1] - 3)
    if isinstance(background, Tensor) or background != 0:
        colour = colour + (1 - opacity[..., None]) * background
    if normals:
        return Rendering(colour, opacity, depth, extra[..., :-3], extra[..., -3:])
    return Rendering(colour, opacity, depth, extra)


def pick_backend(name: str, grid: Tensor, *, points: int) -> ModuleType:
    """The named back-end, or the fastest that can take the call. ValueError: unknown, or it cannot, and why."""
    if name == "auto":
        name = os.environ.get("VADER3D_RENDER_BACKEND", "auto")
    if name not in ("auto", *BACKENDS):
        raise ValueError(f"backend: wanted auto, {', '.join(BACKENDS)}; got {name!r}")
    if name != "auto":
        reason = why_not(name, grid)
        if reason is not None:
            raise ValueError(f"backend: {name} cannot take this call: {reason}; wanted another, or auto")
        return BACKENDS[name]
    reasons: list[str] = []
    for candidate, module in BACKENDS.items():
        reason = why_not(candidate, grid) or (cpu.why_slower(grid, points) if candidate == "cpu" else None)
        if reason is None:
            say_once(candidate, tuple(reasons))
            return module
        reasons.append(f"{candidate}: {reason}")
    raise AssertionError("the reference takes every call")


def why_not(name: str, grid: Tensor) -> str | None:
    """Why this back-end cannot take the call, or None."""
    if name == "reference":
        return None
    return BACKENDS[name].why_not(grid)


@functools.cache
def say_once(name: str, reasons: tuple[str, ...]) -> None:
    log.info("volume rendering by %s%s", name, f" ({'; '.join(reasons)})" if reasons else "")


def outward_normals(density: Tensor) -> Tensor:
    """Unit vectors along which density [B, 1, D, H, W] falls fastest, [B, 3, D, H, W] (x, y, z); 0 where it is flat."""
    falls = []
    for axis in (4, 3, 2):
        size = density.shape[axis]
        if size == 1:
            falls.append(torch.zeros_like(density))
            continue
        index = torch.arange(size, device=density.device)
        before, after = (index - 1).clamp_min(0), (index + 1).clamp_max(size - 1)
        span = ((after - before) * 2 / (size - 1)).to(density).view([-1 if a == axis else 1 for a in range(5)])
        falls.append((density.index_select(axis, before) - density.index_select(axis, after)) / span)
    return torch.nn.functional.normalize(torch.cat(falls, 1), dim=1)


def check_call(
    volume: Volume,
    rays: Rays,
    samples_per_ray: int,
    activation: str,
    density_noise: float,
    generator: torch.Generator | None,
    early_stop: float,
) -> None:
    """ValueError, naming the argument, for what no back-end can render."""
    grid, (origins, directions) = volume.grid, rays
    if grid.dim() != 5 or grid.shape[1] < 4 or not grid.is_floating_point() or 0 in grid.shape[2:]:
        raise ValueError(f"volume: wanted floats [B, 4 + K, D, H, W]; got {grid.dtype} {list(grid.shape)}")
    if origins.dim() != 3 or origins.shape[2] != 3 or origins.shape[0] != grid.shape[0]:
        raise ValueError(f"rays.origins: wanted [{grid.shape[0]}, R, 3] as the volume; got {list(origins.shape)}")
    if directions.shape != origins.shape:
        raise ValueError(f"rays.directions: wanted {list(origins.shape)} as the origins; got {list(directions.shape)}")
    if not origins.device == directions.device == grid.device:
        raise ValueError(f"rays: wanted on {grid.device} as the volume; got {origins.device}, {directions.device}")
    if samples_per_ray < 1:
        raise ValueError(f"samples_per_ray: wanted 1 or more; got {samples_per_ray}")
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation: wanted one of {', '.join(ACTIVATIONS)}; got {activation!r}")
    if not 0 <= early_stop < 1:
        raise ValueError(f"early_stop: wanted in [0, 1); got {early_stop}")
    if density_noise and generator is None:
        raise ValueError(f"generator: wanted one to draw density_noise {density_noise} from; got None")
    debug = bool(os.environ.get("VADER3D_CHECK_FINITE"))
    if directions.numel() and (debug or grid.device.type == "cpu"):
        on_cpu = directions.device.type == "cpu"
        low, high = cpu.squared_lengths(directions) if on_cpu else torch.aminmax(directions.square().sum(-1))
        if not 0 < low <= high < float("inf"):  # NaN fails every comparison
            raise ValueError(f"rays.directions: wanted finite and longer than 0; got squared lengths {low} to {high}")
    if debug:
        for name, tensor in (("volume", grid), ("rays.origins", origins)):
            if not tensor.isfinite().all():
                raise ValueError(f"{name}: wanted finite values; got {int((~tensor.isfinite()).sum())} that are not")
