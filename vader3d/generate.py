"""Noise to objects to pictures: the two stages meet here, and only here."""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from vader3d.assets import Asset
from vader3d.autodecoder.decoder import Decoder
from vader3d.autodecoder.model import load_autodecoder
from vader3d.diffusion.denoiser import Denoiser
from vader3d.diffusion.model import load_denoiser
from vader3d.diffusion.sampler import DETERMINISTIC, Churn, edm_sigmas, sample
from vader3d.latents import LatentStatistics
from vader3d.machine import autocast, chosen_device
from vader3d.randomness import sample_seed
from vader3d.render import RenderConfig, Volume
from vader3d.snapshots import AUTODECODER, MODEL


class Generator:
    """The two trained stages together. Object i of seed s is the same whatever `count` and `batch` are.

    Codes and latents go in and come out on the CPU; networks and volumes are on one device. Without a denoiser and its
    statistics it decodes only.
    """

    def __init__(
        self,
        decoder: Decoder,
        settings: RenderConfig,
        denoiser: Denoiser | None = None,
        statistics: LatentStatistics | None = None,
    ):
        self.decoder, self.settings, self.device = decoder, settings, decoder.stem.weight.device
        self._denoiser, self._statistics = denoiser, statistics

    @classmethod
    def from_pretrained(cls, run: str | Path, *, device: str = "auto") -> "Generator":
        """From the run folder of stage 2, which holds both stages' snapshots. ValueError says what is missing.

        device: auto (a GPU where there is one), cpu, cuda.
        """
        run = Path(run)
        if not (run / MODEL).is_file() or not (run / AUTODECODER).is_file():
            raise ValueError(f"model: wanted a run of `vader3d train diffusion` ({MODEL}, {AUTODECODER}); got {run}")
        chosen = chosen_device(device)
        autodecoder, config, _ = load_autodecoder(run / AUTODECODER)
        denoiser, statistics, _ = load_denoiser(run / MODEL)
        return cls(autodecoder.decoder.to(chosen), config.render, denoiser.to(chosen), statistics)

    def compiled(self) -> "Generator":
        """The same generator whose denoiser is compiled at its first use, for every batch size anew.

        On a GPU it runs as one CUDA graph, so that small batches do not wait for launches.
        """
        made = copy.copy(self)
        mode = "reduce-overhead" if self.device.type == "cuda" else "default"
        made._denoiser = torch.compile(self.denoiser, mode=mode, dynamic=False)  # type: ignore[assignment]
        return made

    @property
    def draws(self) -> bool:
        """Whether there is a stage 2."""
        return self._denoiser is not None

    @property
    def denoiser(self) -> Denoiser:
        """ValueError: stage 1 alone."""
        if self._denoiser is None:
            raise ValueError(
                "model: wanted a run of `vader3d train diffusion`; got an autodecoder alone, which draws nothing new"
            )
        return self._denoiser

    @property
    def statistics(self) -> LatentStatistics:
        """Of the latents that the denoiser knows."""
        assert self._statistics is not None, "they come with the denoiser"
        return self._statistics

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return self.decoder.config.latent_shape

    def autocast(self) -> torch.autocast:
        """The arithmetic that training chooses where it is left to."""
        return autocast("auto", self.device)

    @torch.no_grad()
    def sample_latents(
        self,
        seeds: Sequence[int],
        *,
        steps: int = 32,
        churn: Churn = DETERMINISTIC,
        denoiser: Callable[[Tensor, Tensor], Tensor] | None = None,
    ) -> Tensor:
        """One raw latent for each seed, [len(seeds), C, D, H, W]; all of a sample's randomness comes from its seed."""
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]

        def draw() -> Tensor:
            return torch.stack([torch.randn(self.latent_shape, generator=g) for g in generators]).to(self.device)

        with self.autocast():
            normalised = sample(denoiser or self.denoiser, draw(), edm_sigmas(steps), churn=churn, draw=draw)
        return self.statistics.denormalise(normalised.cpu())

    @torch.no_grad()
    def to_latent(self, codes: Tensor) -> Tensor:
        """Codes -> raw latents."""
        return self.decoder.to_latent(codes.to(self.device)).float().cpu()

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Volume:
        """Raw latents -> volumes."""
        with self.autocast():
            volume = self.decoder.to_volume(latents.to(self.device))
        return volume.with_grid(volume.grid.float())

    def __call__(
        self, count: int = 1, *, seed: int = 0, steps: int = 32, churn: Churn = DETERMINISTIC, batch: int = 16
    ) -> list[Asset]:
        """`count` new objects; object i is made of noise number `sample_seed(seed, i)`."""
        assets = []
        for start in range(0, count, batch):
            numbers = range(start, min(start + batch, count))
            latents = self.sample_latents([sample_seed(seed, i) for i in numbers], steps=steps, churn=churn)
            volumes = self.decode(latents).objects()
            assets += [Asset(volume, self.settings, f"{i:03d}") for i, volume in zip(numbers, volumes, strict=True)]
        return assets
