"""Noise to objects to pictures: the two stages meet here, and only here."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vader3d.autodecoder.decoder import Decoder
from vader3d.autodecoder.model import Autodecoder, AutodecoderConfig
from vader3d.config import config_from_dict
from vader3d.diffusion.denoiser import Denoiser
from vader3d.diffusion.sampler import Churn, edm_sigmas, sample
from vader3d.diffusion.train import DiffusionConfig, build_denoiser
from vader3d.export.mesh import EmptyVolumeError, save_mesh, volume_to_mesh
from vader3d.export.turntable import save_turntable, straight_alpha
from vader3d.geometry.cameras import Cameras, orbit_cameras
from vader3d.latents import LatentStatistics
from vader3d.machine import autocast, chosen_device
from vader3d.randomness import sample_seed
from vader3d.render import RenderConfig, Volume, render_views
from vader3d.training.checkpoint import load_snapshot

MODEL = "model.safetensors"
AUTODECODER = "autodecoder.safetensors"


def load_autodecoder(path: str | Path) -> tuple[Autodecoder, AutodecoderConfig, dict]:
    """An autodecoder from its run folder or snapshot, in evaluation mode, with its configuration and header."""
    path = Path(path)
    tensors, header = load_snapshot(path / MODEL if path.is_dir() else path)
    if header.get("kind") != "autodecoder":
        raise ValueError(f"{path}: wanted an autodecoder; this is a snapshot of kind {header.get('kind')!r}")
    config = config_from_dict(AutodecoderConfig, header["config"])
    model = Autodecoder(config, header["objects"])
    model.load_state_dict(tensors)
    return model.eval().requires_grad_(False), config, header


def load_denoiser(path: str | Path) -> tuple[Denoiser, LatentStatistics, dict]:
    """A denoiser from its snapshot, in evaluation mode, with the statistics of its latents and its header."""
    tensors, header = load_snapshot(Path(path))
    if header.get("kind") != "denoiser":
        raise ValueError(f"{path}: wanted a denoiser; this is a snapshot of kind {header.get('kind')!r}")
    statistics = LatentStatistics(tensors.pop("median"), tensors.pop("spread"), header["latent_scale"], header["clip"])
    config = config_from_dict(DiffusionConfig, header["config"])
    denoiser = build_denoiser(config, tuple(header["latent_shape"]), rank=header["prior_rank"])
    denoiser.load_state_dict({name.removeprefix("denoiser."): tensor for name, tensor in tensors.items()})
    return denoiser.eval().requires_grad_(False), statistics, header


@dataclass(frozen=True)
class Asset:
    """One object: its volume [1, 4 + K, D, H, W] and how it is rendered."""

    volume: Volume
    settings: RenderConfig
    name: str = ""

    @torch.no_grad()
    def render(self, cameras: Cameras) -> tuple[Tensor, Tensor]:
        """Cameras [V] -> colour [V, 3, H, W] on black and opacity [V, 1, H, W], both in [0, 1], on the CPU."""
        colour, opacity = render_views(self.volume, cameras[None], self.settings, skip_empty=True)
        return colour[0].clamp(0, 1).cpu(), opacity[0].clamp(0, 1).cpu()

    def turntable(self, frames: int = 24, *, size: int = 128, elevation_degrees: float = 20.0) -> Tensor:
        """One turn round the object: RGBA uint8 [T, H, W, 4], straight alpha."""
        azimuths = torch.arange(frames) * 360.0 / frames
        cameras = orbit_cameras(
            azimuths, torch.full((frames,), elevation_degrees), distance=4, fov_degrees=30, size=size
        )
        colour, opacity = self.render(cameras)
        return (straight_alpha(colour, opacity) * 255).round().to(torch.uint8).movedim(1, -1)

    def mesh(self):
        """A coloured trimesh.Trimesh, z up. ValueError where the volume is empty."""
        return volume_to_mesh(
            self.volume.grid[0].cpu(), activation=self.settings.activation, density_scale=self.settings.density_scale
        )

    def save(self, path: str | Path) -> Path:
        """Write by suffix: .glb .obj .ply (coloured mesh) or .webp (turntable)."""
        path = Path(path)
        if path.suffix == ".webp":
            save_turntable(path, self.turntable().numpy())
        else:
            save_mesh(path, self.mesh())
        return path


class Generator:
    """The two trained stages together. Object i of seed s is the same whatever `count` and `batch` are.

    Codes and latents go in and come out on the CPU; networks and volumes are on one device. Without a denoiser and its
    statistics it decodes only.
    """

    def __init__(
        self, decoder: Decoder, settings: RenderConfig, denoiser: Denoiser | None = None,
        statistics: LatentStatistics | None = None,
    ):  # fmt: skip
        self.decoder, self.settings, self.device = decoder, settings, decoder.stem.weight.device
        self._denoiser, self._statistics = denoiser, statistics

    @classmethod
    def from_pretrained(cls, run: str | Path, *, device: str = "auto") -> "Generator":
        """From the run folder of stage 2, which holds both stages' snapshots. ValueError says what is missing.

        device: auto (a GPU where there is one), cpu, cuda.
        """
        run = Path(run)
        if not (run / MODEL).is_file() or not (run / AUTODECODER).is_file():
            raise ValueError(f"{run}: wanted the run folder of `vader3d train diffusion` ({MODEL} and {AUTODECODER})")
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
            raise ValueError("model: wanted a run of `vader3d train diffusion`; an autodecoder alone draws nothing new")
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
        self, seeds: Sequence[int], *, steps: int = 32, churn: Churn = Churn(),  # noqa: B008
        denoiser: Callable[[Tensor, Tensor], Tensor] | None = None,
    ) -> Tensor:  # fmt: skip
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
            return Volume(self.decoder.to_volume(latents.to(self.device)).grid.float())

    def __call__(
        self, count: int = 1, *, seed: int = 0, steps: int = 32, churn: Churn = Churn(), batch: int = 16,  # noqa: B008
    ) -> list[Asset]:  # fmt: skip
        """`count` new objects; object i is made of noise number `sample_seed(seed, i)`."""
        assets = []
        for start in range(0, count, batch):
            numbers = range(start, min(start + batch, count))
            latents = self.sample_latents([sample_seed(seed, i) for i in numbers], steps=steps, churn=churn)
            grids = self.decode(latents).grid
            assets += [
                Asset(Volume(grid[None]), self.settings, f"{i:03d}") for i, grid in zip(numbers, grids, strict=True)
            ]
        return assets


def save_assets(assets: list[Asset], folder: Path, *, formats: Sequence[str]) -> tuple[list[Path], int]:
    """Write every asset as `folder/name.format`: the files, and how many objects were empty (and left out)."""
    folder.mkdir(parents=True, exist_ok=True)
    written, empty = [], 0
    for asset in assets:
        try:
            written += [asset.save(folder / f"{asset.name}.{suffix}") for suffix in formats]
        except EmptyVolumeError:
            empty += 1
    return written, empty
