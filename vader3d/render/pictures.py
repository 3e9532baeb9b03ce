"""Pictures of volumes from cameras, with a model's own rendering settings."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from vader3d.geometry.cameras import Cameras
from vader3d.render.volume import Volume, render_volume


@dataclass(frozen=True)
class RenderConfig:
    """How a model's volumes are rendered; part of the model, since its densities were learned under it."""

    samples_per_ray: int = 128  # points at which each ray reads the volume
    activation: Literal["relu", "softplus"] = "relu"  # makes densities of raw ones
    density_scale: float = 1.0  # multiplies the activated density
    density_noise: float = 0.5  # std of noise on the raw density in training, falls linearly to 0 (A17)


def render_views(
    volume: Volume,
    cameras: Cameras,
    config: RenderConfig,
    *,
    generator: torch.Generator | None = None,
    noise_factor: float = 0.0,
    first_object: int = 0,
    skip_empty: bool = False,
    backend: str = "auto",
) -> tuple[Tensor, Tensor]:
    """Pictures on black of B objects from [B, V] cameras -> colour [B, V, 3, H, W] and opacity [B, V, 1, H, W].

    Cameras go where the volume is. With a `generator`, points are jittered along their rays and raw densities get
    `noise_factor` times the configured noise, as objects `first_object` and on of a larger batch would.
    """
    cameras = cameras.to(volume.grid.device)
    rendering = render_volume(
        volume,
        cameras.rays(),
        samples_per_ray=config.samples_per_ray,
        activation=config.activation,
        density_scale=config.density_scale,
        density_noise=config.density_noise * noise_factor,
        generator=generator,
        first_object=first_object,
        skip_empty=skip_empty,
        backend=backend,
    )
    pictures = (*cameras.world_from_camera.shape[:2], cameras.height, cameras.width)
    return rendering.colour.unflatten(1, pictures[1:]).movedim(-1, 2), rendering.opacity.view(pictures)[:, :, None]
