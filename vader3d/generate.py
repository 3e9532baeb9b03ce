"""Noise to objects to pictures: the two stages meet here, and only here."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from vader3d.assets import LIST, Asset, AssetFolder, Saved, check_formats
from vader3d.autodecoder.decoder import Decoder
from vader3d.autodecoder.model import load_autodecoder
from vader3d.diffusion.denoiser import Denoiser
from vader3d.diffusion.model import load_denoiser
from vader3d.diffusion.sampler import DETERMINISTIC, Churn, edm_sigmas, sample
from vader3d.files import checksum_of, held
from vader3d.latents import LatentStatistics
from vader3d.machine import autocast, chosen_device
from vader3d.progress import track
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
        checksums: Mapping[str, str] = MappingProxyType({}),
    ):
        self.decoder, self.settings, self.device = decoder, settings, decoder.stem.weight.device
        self._denoiser, self._statistics = denoiser, statistics
        self.checksums = checksums  # of the files it was read from

    @classmethod
    def from_pretrained(cls, run: str | Path, *, device: str = "auto") -> "Generator":
        """From the run folder of stage 2, which holds both stages' snapshots, or of a demo. ValueError: it is neither.

        device: auto (a GPU where there is one), cpu, cuda.
        """
        run = stage2_folder(Path(run))
        if not (run / MODEL).is_file() or not (run / AUTODECODER).is_file():
            raise ValueError(f"model: wanted a run of `vader3d train diffusion` ({MODEL}, {AUTODECODER}); got {run}")
        chosen = chosen_device(device)
        autodecoder, config, _ = load_autodecoder(run / AUTODECODER)
        denoiser, statistics, _ = load_denoiser(run / MODEL)
        checksums = {"denoiser": checksum_of(run / MODEL), "autodecoder": checksum_of(run / AUTODECODER)}
        return cls(autodecoder.decoder.to(chosen), config.render, denoiser.to(chosen), statistics, checksums)

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
        check_least(1, count=count)
        return [*self.draw(range(count), seed=seed, steps=steps, churn=churn, batch=batch)]

    def draw(
        self, indices: Sequence[int], *, seed: int = 0, steps: int = 32, churn: Churn = DETERMINISTIC, batch: int = 16
    ) -> Iterator[Asset]:
        """The objects of these numbers one by one, `batch` of them made at a time. ValueError comes at once."""
        check_least(1, steps=steps, batch=batch)
        check_least(0, seed=seed)

        def made(part: Sequence[int]) -> list[Asset]:
            latents = self.sample_latents([sample_seed(seed, i) for i in part], steps=steps, churn=churn)
            return [
                Asset(volume, self.settings, asset_name(seed, i), self.provenance(seed, i, steps=steps, churn=churn))
                for i, volume in zip(part, self.decode(latents).objects(), strict=True)
            ]

        parts = (indices[start : start + batch] for start in range(0, len(indices), batch))
        return (asset for part in parts for asset in made(part))

    def provenance(self, seed: int, index: int, *, steps: int, churn: Churn = DETERMINISTIC) -> dict[str, Any]:
        """All that an object depends on, plain values."""
        return {**self.checksums, "seed": seed, "index": index, "steps": steps, "churn": str(churn)}


def asset_name(seed: int, index: int) -> str:
    """For instance seed0-007."""
    return f"seed{seed}-{index:03d}"


def check_least(least: int, **values: int) -> None:
    """ValueError names the first of the values that is smaller."""
    for name, value in values.items():
        if value < least:
            raise ValueError(f"{name}: wanted {least} or more; got {value}")


def stage2_folder(run: Path) -> Path:
    """The run folder of stage 2: this one, or the one within a demo's."""
    within = run / "diffusion"
    return within if not (run / MODEL).is_file() and (within / MODEL).is_file() else run


def generate_files(
    generator: Generator,
    folder: Path,
    *,
    count: int,
    formats: Sequence[str],
    seed: int = 0,
    steps: int = 32,
    churn: Churn = DETERMINISTIC,
    batch: int = 16,
) -> Saved:
    """Objects 0 to `count` - 1 as files, written as they are made; the same call again makes only what is missing.

    ValueError: the folder has objects of the same names that something else made. OSError: it cannot be written.
    """
    check_least(1, count=count)
    check_formats(formats, formats)
    AssetFolder(folder)  # says what is wrong with it before anything is written
    with held(folder):
        place = AssetFolder(folder)
        made_by = {asset_name(seed, i): generator.provenance(seed, i, steps=steps, churn=churn) for i in range(count)}
        for name, provenance in made_by.items():
            if place.made_otherwise(name, provenance):
                raise ValueError(
                    f"output: wanted a folder for this model, these steps; got {folder}, whose {name} was made "
                    f"otherwise ({LIST} says how); name another folder"
                )
        missing = [i for i, (name, made) in enumerate(made_by.items()) if not place.holds(name, made, formats)]
        assets = generator.draw(missing, seed=seed, steps=steps, churn=churn, batch=batch)
        place.write_list()  # fails before the work where nothing can be written
        written: list[Path] = []
        try:
            for done, asset in enumerate(track(assets, "objects", total=len(missing)), 1):
                written += place.save(asset, formats)
                if done % batch == 0:
                    place.write_list()
        finally:
            place.write_list()
        return place.saved([*made_by], written)
