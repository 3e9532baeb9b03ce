"""The one door to volume rendering: check the call, pick a back-end."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from vader3d.geometry.cameras import Cameras
from vader3d.geometry.rays import Rays
from vader3d.render import cpu, reference


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
    volume: Volume, rays: Rays, *, samples_per_ray: int, background: float | Tensor = 0.0, activation: str = "relu",
    density_scale: float = 1.0, density_noise: float = 0.0, generator: torch.Generator | None = None,
    early_stop: float = 1e-4, skip_empty: bool = False, normals: bool = False, backend: str = "auto",
) -> Rendering:  # fmt: skip
    """Pictures of `volume` along `rays`: see `reference` for the equations."""
    seed = None if generator is None else int(torch.randint(1 << 32, (), generator=generator))
    ray_gradients = torch.is_grad_enabled() and (rays.origins.requires_grad or rays.directions.requires_grad)
    fast = backend != "reference" and not ray_gradients and cpu.why_not(volume.grid) is None
    features, opacity, depth = (cpu if fast else reference).render_rays(
        volume.grid, rays.origins, rays.directions, samples_per_ray=samples_per_ray, activation=activation,
        density_scale=density_scale, density_noise=density_noise, seed=seed, early_stop=early_stop,
    )  # fmt: skip
    colour = features[..., :3] + (1 - opacity[..., None]) * background
    return Rendering(colour, opacity, depth, features[..., 3:])


def render_views(
    volume: Volume, cameras: Cameras, *, samples_per_ray: int, background: float | Tensor = 0.0,
    activation: str = "relu", density_scale: float = 1.0, density_noise: float = 0.0,
    generator: torch.Generator | None = None, skip_empty: bool = False, backend: str = "auto",
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Pictures of B objects from [B, V] cameras -> colour [B, V, 3, H, W] and opacity [B, V, 1, H, W]."""
    rendering = render_volume(
        volume, cameras.rays(), samples_per_ray=samples_per_ray, background=background, activation=activation,
        density_scale=density_scale, density_noise=density_noise, generator=generator, skip_empty=skip_empty,
        backend=backend,
    )  # fmt: skip
    pictures = (*cameras.world_from_camera.shape[:2], cameras.height, cameras.width)
    return rendering.colour.unflatten(1, pictures[1:]).movedim(-1, 2), rendering.opacity.view(pictures)[:, :, None]
