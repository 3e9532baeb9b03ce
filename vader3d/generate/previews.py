"""Pictures of a denoiser in training."""

from collections.abc import Callable
from pathlib import Path

import torch
from PIL.Image import Image

from vader3d.assets import turn
from vader3d.autodecoder.model import load_autodecoder
from vader3d.diffusion.denoiser import Denoiser
from vader3d.export.turntable import contact_sheet, straight_alpha
from vader3d.generate.generator import Generator
from vader3d.latents import load_latents

PREVIEWED, PREVIEW_STEPS, PREVIEW_PX = 8, 12, 96


def samples_drawn(autodecoder_run: Path, *, seed: int = 0) -> Callable[[Denoiser], Image]:
    """What shows a denoiser in training: the first of the new objects, as it would draw them now.

    ValueError: stage 1 is not whole.
    """
    autodecoder, config, _ = load_autodecoder(autodecoder_run)
    statistics = load_latents(autodecoder_run / "latents.safetensors")[1]
    camera = turn(1, size=PREVIEW_PX)

    def draw(denoiser: Denoiser) -> Image:
        decoder = autodecoder.decoder.to(next(denoiser.parameters()).device)
        assets = Generator(decoder, config.render, denoiser, statistics)(
            count=PREVIEWED, seed=seed, num_inference_steps=PREVIEW_STEPS
        )
        pictures = torch.cat([straight_alpha(*asset.render(camera)) for asset in assets])
        return contact_sheet(pictures.nan_to_num(), columns=PREVIEWED // 2)

    return draw
