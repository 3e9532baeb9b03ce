"""Stage 1: learn codes and decoder from posed pictures."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from vader3d.autodecoder.codes import CodeTable
from vader3d.autodecoder.decoder import Decoder, DecoderConfig
from vader3d.autodecoder.losses import mask_loss, perceptual_loss, picture_gradients, pixel_loss
from vader3d.config import config_to_dict
from vader3d.data.views import PosedViews, shuffled_objects
from vader3d.latents import LatentConfig
from vader3d.render import RenderConfig, render_views
from vader3d.training.checkpoint import save_snapshot
from vader3d.training.loop import LoopConfig
from vader3d.training.optimisers import OptimiserConfig, optimisers_for


@dataclass(frozen=True)
class LossConfig:
    """Weights of the terms; 0 leaves a term out. The paper: perceptual 10 a layer, mask 10, nothing else."""

    trunk: Literal["vgg19", "gradients"] = "vgg19"
    perceptual: float = 10.0
    scales: tuple[int, ...] = (1, 2, 4)
    mask: float = 10.0
    pixel: float = 0.0
    code: float = 0.0  # mean square of the codes


@dataclass(frozen=True)
class AutodecoderConfig:
    """Everything stage 1 needs besides data."""

    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    render: RenderConfig = field(default_factory=RenderConfig)
    losses: LossConfig = field(default_factory=LossConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    latents: LatentConfig = field(default_factory=LatentConfig)
    views_per_object: int = 4
    code_std: float = 1.0  # initial standard deviation of the codes
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    code_lr: float = 5e-4


class Autodecoder(nn.Module):
    """Codes and decoder: object numbers [B] -> Volume."""

    def __init__(self, config: AutodecoderConfig, objects: int):
        super().__init__()
        self.codes = CodeTable(objects, config.decoder.code_length, initial_std=config.code_std)
        self.decoder = Decoder(config.decoder)

    def forward(self, objects: Tensor):
        return self.decoder(self.codes(objects))


class AutodecoderTask:
    """Stage 1 as the loop sees it."""

    def __init__(self, config: AutodecoderConfig, views: PosedViews):
        self.config, self.views = config, views
        torch.manual_seed(config.loop.seed)
        self.model = Autodecoder(config, len(views))
        self.trunk = picture_gradients
        table = self.model.codes.table.weight
        self.optimisers = optimisers_for(self.model, config.optimiser, without=(table,))
        self.optimisers.append(torch.optim.SparseAdam([table], lr=config.code_lr, betas=config.optimiser.betas))

    def losses(self, *, seen: int, batch: int, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        """One batch of objects, each seen in a few views: decode, render, compare."""
        config = self.config
        objects = shuffled_objects(len(self.views), seen=seen, batch=batch, seed=config.loop.seed)
        target = self.views.random_views(objects, config.views_per_object, generator)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=config.loop.precision == "bfloat16"):
            codes = self.model.codes(objects)
            volume = self.model.decoder(codes)
        colour, opacity = render_views(
            volume, target.cameras, config.render, generator=generator, noise_factor=1 - progress
        )
        rendered, wanted = colour.flatten(0, 1), target.colour.flatten(0, 1)
        weights = config.losses
        terms = {
            "perceptual": weights.perceptual * perceptual_loss(self.trunk, rendered, wanted, weights.scales),
            "mask": weights.mask * mask_loss(opacity, target.mask),
            "pixel": weights.pixel * pixel_loss(rendered, wanted),
            "code": weights.code * codes.square().mean(),
        }
        return {name: term for name, term in terms.items() if getattr(weights, name)}

    @torch.no_grad()
    def preview(self, model: Autodecoder):
        return None

    def snapshot(self, model: Autodecoder, path: Path) -> None:
        header = {"kind": "autodecoder", "config": config_to_dict(self.config), "objects": len(self.views)}
        save_snapshot(path, dict(model.state_dict()), header)
