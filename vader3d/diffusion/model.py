"""The denoiser of a configuration, untrained or from a snapshot."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from vader3d.config import Checked, config_from_dict, config_to_dict, ranged
from vader3d.diffusion.denoiser import Denoiser, GaussianPrior
from vader3d.diffusion.unet import UNet, UNetConfig
from vader3d.frozen.text import load_text_encoder
from vader3d.latents import LatentStatistics, read_statistics
from vader3d.snapshots import explained_by, filled, load_snapshot, save_snapshot
from vader3d.text.heldout import Pair
from vader3d.text.tokens import MOST_TOKENS, EncoderNote, TextEncoder
from vader3d.training.loop import LoopConfig
from vader3d.training.optimisers import OptimiserConfig
from vader3d.untrusted import reading


@dataclass(frozen=True)
class DiffusionConfig(Checked):
    """Everything stage 2 needs besides latents. Defaults: ABO tables and chairs in Table 5."""

    unet: UNetConfig = field(default_factory=UNetConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    optimiser: OptimiserConfig = field(default_factory=lambda: OptimiserConfig(lr=4.5e-5, betas=(0.9, 0.999)))
    sigma_data: float = ranged(0.5, above=0)  # standard deviation that preconditioning takes latents to have
    # principal components of the latents that preconditioning knows; 0: EDM's, as in the paper
    prior_rank: int = ranged(0, at_least=0)
    P_mean: float = ranged(-1.2)  # mean of ln sigma in training
    P_std: float = ranged(1.2, at_least=0)  # standard deviation of ln sigma in training
    # share of texts that are dropped, so that guidance has its unconditional case (A24)
    token_dropout: float = ranged(0.1, at_least=0, at_most=1)
    # what makes tokens of captions: vocabulary, minilm, a folder or an id of `transformers`; none: no text
    text_encoder: str = "none"
    # tokens of a text: longer ones are cut, shorter ones end in zeros
    text_length: int = ranged(32, at_least=1, at_most=MOST_TOKENS)
    # share of the objects that are not trained on: those of pairs of a colour and a type, to be asked for later
    held_out: float = ranged(0.0, at_least=0, below=1)
    # how evenly types are drawn where a text is said: 0: each object alike; 1: each type alike, however few it has
    balance: float = ranged(0.0, at_least=0, at_most=1)

    @property
    def with_text(self) -> bool:
        """Whether captions are learned."""
        return self.text_encoder not in ("", "none")


def following(config: DiffusionConfig, encoder: TextEncoder | EncoderNote) -> DiffusionConfig:
    """The configuration whose U-Net reads what the encoder makes. ValueError, which names both, where it cannot."""
    if config.unet.token_dim not in (0, encoder.width):
        raise ValueError(
            f"unet.token_dim: wanted {encoder.width}, the width of text_encoder {encoder.name!r}; got "
            f"{config.unet.token_dim}; --set unet.token_dim=0 follows the encoder"
        )
    return replace(config, unet=replace(config.unet, token_dim=encoder.width))


def build_denoiser(config: DiffusionConfig, latent_shape: tuple[int, ...], *, rank: int) -> Denoiser:
    """The untrained denoiser of latents [C, D, H, W], around a prior of `rank` components that is yet to be fitted."""
    channels, resolution = latent_shape[0], latent_shape[-1]
    network = UNet(config.unet, channels_in=channels * (2 if rank else 1), channels_out=channels, resolution=resolution)
    prior = GaussianPrior(math.prod(latent_shape), rank=rank, rest=config.sigma_data**2)
    return Denoiser(network, prior, sigma_data=config.sigma_data)


def save_denoiser(
    path: Path,
    denoiser: Denoiser,
    config: DiffusionConfig,
    statistics: LatentStatistics,
    latent_shape: tuple[int, ...],
    *,
    text: EncoderNote | None = None,
    held_out: Sequence[Pair] = (),
) -> None:
    """A snapshot that `load_denoiser` reads: with the statistics that lead back to raw latents [C, D, H, W].

    text: of the encoder whose tokens it learned with. held_out: pairs of words that it never met together.
    """
    tensors = {f"denoiser.{name}": tensor for name, tensor in denoiser.state_dict().items()}
    tensors |= {"median": statistics.median, "spread": statistics.spread}
    header = {
        "kind": "denoiser",
        "config": config_to_dict(config),
        "latent_shape": list(latent_shape),
        "prior_rank": len(denoiser.prior.variances),
        "latent_scale": statistics.latent_scale,
        "clip": statistics.clip,
        "text": config_to_dict(text) if text else None,
        "held_out": [list(pair) for pair in held_out],
    }
    save_snapshot(path, tensors, header)


def text_of(header: dict) -> EncoderNote | None:
    """The encoder that a snapshot's header records; None: it learned without texts. ValueError: damaged."""
    if header.get("text") is None:
        return None
    with reading("text", "an encoder's name, checksum, width, length and words"):
        return config_from_dict(EncoderNote, header["text"])


def encoder_of(
    header: dict, name: str | None = None, *, download: bool = False, device: torch.device | str = "cpu"
) -> TextEncoder:
    """The encoder that a snapshot learned with, from its header; `name`: where else it lies, a folder or an id.

    ValueError: the model learned without texts; `name` is another encoder (both are named); it is not on this machine.
    """
    note = text_of(header)
    if note is None:
        raise ValueError(
            "prompt: wanted a model that learned with captions; got one without text; train with --preset small-text"
        )
    encoder = load_text_encoder(
        name or note.name, words=note.words, length=note.length, download=download, device=device
    )
    note.check(encoder)
    return encoder


def load_denoiser(path: str | Path) -> tuple[Denoiser, LatentStatistics, dict]:
    """A denoiser from its snapshot, in evaluation mode, with the statistics of its latents and its header."""
    path = Path(path)
    tensors, header = load_snapshot(path, "denoiser")
    with explained_by(path, header):
        shape, rank = tuple(map(int, header["latent_shape"])), int(header["prior_rank"])
        if len(shape) != 4 or min(shape) < 1 or rank < 0:
            raise ValueError(f"latent_shape, prior_rank: wanted [C, D, H, W] and at least 0; got {shape} and {rank}")
        statistics = read_statistics(tensors.pop("median"), tensors.pop("spread"), header, shape)
        config = config_from_dict(DiffusionConfig, header["config"])
        if (text := text_of(header)) and text.width != config.unet.token_dim:
            raise ValueError(f"text: wanted tokens of {config.unet.token_dim}; got {text}")
        weights = {name.removeprefix("denoiser."): tensor for name, tensor in tensors.items()}
        denoiser = filled(lambda: build_denoiser(config, shape, rank=rank), weights)
    return denoiser, statistics, header
