"""Pictures of volumes from cameras."""

import os
from typing import NamedTuple

import torch
from torch import Tensor

from vader3d.geometry.cameras import Cameras
from vader3d.geometry.rays import Rays
from vader3d.render import cpu
from vader3d.render.backends import pick_backend
from vader3d.render.posed import enter_poses
from vader3d.render.reference import seed_from
from vader3d.render.settings import March, RenderConfig
from vader3d.render.volume import Volume


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
    march: March,
    *,
    poses: Tensor | None = None,
    background: float | Tensor = 0.0,
    normals: bool = False,
    backend: str = "auto",
) -> Rendering:
    """Pictures of `volume` along `rays`: see `reference` for the equations, `posed` for what poses do.

    poses: [B, V, K, 3, 4], rigid, from the rays' world to the object at rest: of V views with R / V rays each, and of K
    parts, whose skinning logits are the volume's first extra channels; these are then not rendered. One needs none.
    background: grey, [3], or [B, 1, 3], composited behind the colour. normals: also composite the direction in which
    density falls. backend: `auto` takes the fastest that can take the call, or the one that VADER3D_RENDER_BACKEND
    names; a named one raises when it cannot.
    Raises ValueError for unlike shapes and devices, and for skip_empty where a gradient to the grid is asked for;
    VADER3D_CHECK_FINITE=1 also looks for NaN and infinity in grids (always looked for in directions on the CPU).
    """
    check_call(volume, rays, march)
    shown, shape = volume, rays.origins.shape[:2]
    if poses is not None:
        shown, rays = enter_poses(volume, rays, poses)
    if normals:
        shown = shown.with_grid(torch.cat([shown.grid, outward_normals(shown.density)], 1))
    points = rays.origins[..., 0].numel() * march.samples_per_ray
    module = pick_backend(backend, shown.grid, points=points)
    features, opacity, depth = (
        part.reshape(*shape, *part.shape[2:])
        for part in module.render_rays(shown, rays.origins, rays.directions, march)
    )
    colour, extra = features.narrow(-1, 0, 3), features.narrow(-1, 3, features.shape[-1] - 3)
    if isinstance(background, Tensor) or background != 0:
        colour = colour + (1 - opacity[..., None]) * background
    if normals:
        outward = extra[..., -3:]
        if poses is not None and poses.shape[2] == 1:  # the volume has stayed as it was
            outward = (outward.unflatten(1, (poses.shape[1], -1)) @ poses[:, :, 0, :, :3].to(outward)).flatten(1, 2)
        return Rendering(colour, opacity, depth, extra[..., :-3], outward)
    return Rendering(colour, opacity, depth, extra)


def render_views(
    volume: Volume,
    cameras: Cameras,
    config: RenderConfig,
    *,
    poses: Tensor | None = None,
    generator: torch.Generator | None = None,
    noise_factor: float = 0.0,
    first_object: int = 0,
    skip_empty: bool = False,
    backend: str = "auto",
) -> tuple[Tensor, Tensor]:
    """Pictures on black of B objects from [B, V] cameras -> colour [B, V, 3, H, W] and opacity [B, V, 1, H, W].

    Cameras go where the volume is. poses: [B, V, K, 3, 4], as those of `render_volume`. With a `generator`, points are
    jittered along their rays and raw densities get `noise_factor` times the configured noise, as objects `first_object`
    and on of a larger batch would.
    """
    cameras = cameras.to(volume.grid.device)
    rays, seed = cameras.rays(), None
    if generator is not None:
        drawn = int(torch.randint(1 << 32, (), generator=generator))
        seed = seed_from(drawn, first_object * rays.origins.shape[1] * config.samples_per_ray)
    march = config.march(noise_factor=noise_factor, seed=seed, skip_empty=skip_empty)
    rendering = render_volume(volume, rays, march, poses=poses, backend=backend)
    pictures = (*cameras.world_from_camera.shape[:2], cameras.height, cameras.width)
    return rendering.colour.unflatten(1, pictures[1:]).movedim(-1, 2), rendering.opacity.view(pictures)[:, :, None]


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


def check_call(volume: Volume, rays: Rays, march: March) -> None:
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
    if march.skip_empty and torch.is_grad_enabled() and grid.requires_grad:
        raise ValueError("skip_empty: wanted False where the grid needs a gradient; got True; it is for inference")
    check_numbers(grid, rays)


def check_numbers(grid: Tensor, rays: Rays) -> None:
    """ValueError for directions on the CPU without a length; with VADER3D_CHECK_FINITE for all that is not finite."""
    origins, directions = rays
    everywhere = bool(os.environ.get("VADER3D_CHECK_FINITE"))
    if directions.numel() and (everywhere or grid.device.type == "cpu"):
        on_cpu = directions.device.type == "cpu"
        low, high = cpu.squared_lengths(directions) if on_cpu else torch.aminmax(directions.square().sum(-1))
        if not 0 < low <= high < float("inf"):  # NaN fails every comparison
            raise ValueError(f"rays.directions: wanted finite and longer than 0; got squared lengths {low} to {high}")
    if everywhere:
        for name, tensor in (("volume", grid), ("rays.origins", origins)):
            if not tensor.isfinite().all():
                raise ValueError(f"{name}: wanted finite values; got {int((~tensor.isfinite()).sum())} that are not")
