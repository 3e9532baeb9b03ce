"""Complete named configurations, each with what it costs and what it reached."""

from dataclasses import dataclass

import torch

from vader3d.autodecoder.decoder import Decoder, DecoderConfig
from vader3d.autodecoder.model import AutodecoderConfig, LossConfig
from vader3d.config import unknown_name
from vader3d.diffusion.train import DiffusionConfig, build_denoiser
from vader3d.diffusion.unet import UNetConfig
from vader3d.latents import LatentConfig
from vader3d.render import RenderConfig
from vader3d.training.loop import LoopConfig
from vader3d.training.optimisers import OptimiserConfig


@dataclass(frozen=True)
class Preset:
    """Both stages' configurations; `note` says what for, and why it differs from the paper."""

    note: str
    autodecoder: AutodecoderConfig
    diffusion: DiffusionConfig


PRESETS = {
    "small": Preset(
        note="64x64 pictures on a laptop CPU in minutes (the demo's). Differs from the paper where ten minutes of two "
        "cores ask for it; ARCHITECTURE.md has the measurements.",
        autodecoder=AutodecoderConfig(
            # The head makes 4^3 voxels of each 8^3 feature: no convolution runs above 8^3.
            decoder=DecoderConfig(
                code_length=64, channels=(64, 64), blocks_per_level=1, attention_resolutions=(8,),
                latent_resolution=4, subvoxels=4, initial_density=-4.5,
            ),
            render=RenderConfig(samples_per_ray=48, activation="softplus", density_scale=25.0, density_noise=0.0),
            losses=LossConfig(trunk="gradients", perceptual=1.0, scales=(1,), mask=0.5, pixel=4.0),
            loop=LoopConfig(objects_seen=100_000, batch=8, cooldown=0.5, ema_half_life=2000),
            latents=LatentConfig(per="voxel"),
            pixel_stride=2,
            code_std=0.1,
            code_noise=0.05,
            optimiser=OptimiserConfig(name="muon", lr=2e-3, betas=(0.9, 0.99), muon_lr=2e-2),
            code_lr=2e-2,
        ),
        diffusion=DiffusionConfig(
            unet=UNetConfig(
                model_channels=64, channel_multipliers=(1,), blocks_per_level=2, attention_resolutions=(4,),
                dropout=0.0, linear_skip=True,
            ),
            loop=LoopConfig(objects_seen=1_000_000, batch=16, warmup=0.01, cooldown=0.5, ema_half_life=20_000),
            optimiser=OptimiserConfig(name="muon", lr=2e-3, betas=(0.9, 0.99), muon_lr=2e-2),
        ),
    ),
    "tiny": Preset(
        note="seconds, for tests and for trying commands out; its objects are blobs.",
        autodecoder=AutodecoderConfig(
            decoder=DecoderConfig(
                code_length=32, channels=(32, 16), blocks_per_level=1, attention_resolutions=(8,),
                latent_resolution=4, subvoxels=2, initial_density=-3.0,
            ),
            render=RenderConfig(samples_per_ray=24, activation="softplus", density_scale=25.0, density_noise=0.0),
            losses=LossConfig(trunk="gradients", perceptual=1.0, scales=(1,), mask=0.5, pixel=4.0),
            loop=LoopConfig(objects_seen=1200, batch=4, cooldown=0.5, ema_half_life=100),
            latents=LatentConfig(per="channel"),
            pixel_stride=2,
            code_std=0.1,
            optimiser=OptimiserConfig(name="adam", lr=5e-3, betas=(0.9, 0.99)),
            code_lr=5e-2,
        ),
        diffusion=DiffusionConfig(
            unet=UNetConfig(
                model_channels=16, channel_multipliers=(2,), blocks_per_level=1, attention_resolutions=(4,),
                dropout=0.0, linear_skip=True,
            ),
            loop=LoopConfig(objects_seen=8000, batch=32, cooldown=0.5, ema_half_life=1000),
            optimiser=OptimiserConfig(name="adam", lr=2e-3, betas=(0.9, 0.99)),
        ),
    ),
    "paper-chairs": Preset(
        note="PhotoShape chairs as in Table 5 of the paper; for GPUs.",
        autodecoder=AutodecoderConfig(),
        diffusion=DiffusionConfig(),
    ),
}  # fmt: skip


def preset(name: str) -> Preset:
    """The preset of this name, or a ValueError with the nearest ones."""
    if name not in PRESETS:
        raise ValueError(unknown_name(name, PRESETS, "preset"))
    return PRESETS[name]


def parameter_counts(chosen: Preset) -> tuple[int, int]:
    """Parameters of the decoder and of the denoiser, counted without allocating them."""
    with torch.device("meta"):
        decoder = Decoder(chosen.autodecoder.decoder)
        latent_shape = chosen.autodecoder.decoder.latent_shape
        denoiser = build_denoiser(chosen.diffusion, latent_shape, rank=chosen.diffusion.prior_rank)
    count, other = (sum(parameter.numel() for parameter in model.parameters()) for model in (decoder, denoiser))
    return count, other
