"""Stage 2: learn to denoise normalised latents."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from PIL.Image import Image
from torch import Tensor, nn

from vader3d.diffusion.denoiser import Denoiser, training_sigmas
from vader3d.diffusion.model import DiffusionConfig, build_denoiser, save_denoiser
from vader3d.diffusion.transformer import drop_tokens
from vader3d.diffusion.unet import UNetBlock
from vader3d.files import checksum_of, held, write_whole
from vader3d.latents import LatentStatistics, load_latents
from vader3d.machine import CPU, autocast
from vader3d.measures.colours import COLOURS
from vader3d.progress import console
from vader3d.randomness import noise_of
from vader3d.snapshots import MODEL, check_finite, read_header
from vader3d.text.heldout import Pair, held_out_pairs, kept_objects, read_said
from vader3d.training.distributed import Processes, join_processes
from vader3d.training.loop import train
from vader3d.training.optimisers import optimisers_for
from vader3d.training.run import ROOMS, RunNotes

OBJECTS = "objects.jsonl"  # beside the latents: what is said of each


class DiffusionTask:
    """Stage 2 as the loop sees it; `latents` [N, C, D, H, W] are raw, `tokens` [N, T, token_dim] their texts.

    A batch at a time is read and normalised: the latents may be mapped from a file that no memory holds.
    kept: numbers of the latents that are trained on; None: all. held_out: why not the others, for the snapshots.
    draw: makes the preview, for latents are no pictures.
    """

    def __init__(
        self,
        config: DiffusionConfig,
        latents: Tensor,
        statistics: LatentStatistics,
        *,
        tokens: Tensor | None = None,
        kept: Tensor | None = None,
        held_out: Sequence[Pair] = (),
        draw: Callable[[Denoiser], Image] | None = None,
        device: torch.device = CPU,
    ):
        self.config, self.statistics, self.tokens, self.device = config, statistics, tokens, device
        self.draw, self.held_out = draw, held_out
        self.latents = latents
        self.kept = torch.arange(len(latents)) if kept is None else kept
        torch.manual_seed(config.loop.seed)
        self.rank = min(config.prior_rank, len(latents) - 1)
        self.model = build_denoiser(config, tuple(latents.shape[1:]), rank=self.rank)
        if self.rank:
            self.model.prior.fit(latents, statistics.normalise)
        self.model.to(device)
        blocks = [layer for layer in self.model.modules() if isinstance(layer, UNetBlock)]
        self.blocks: list[nn.Module] = [*blocks]
        self.views_per_object = 0
        matrices = [weight for block in blocks for weight in (block.conv1.weight, block.conv2.weight)]
        self.optimisers = optimisers_for(self.model, config.optimiser, matrices=matrices)

    def losses(
        self, *, objects_seen: int, batch: int, progress: float, generator: torch.Generator, share: slice = slice(None)
    ) -> dict[str, Tensor]:
        """A share of one batch of latents at random noise levels (Eq. 8 of arXiv:2206.00364)."""
        config = self.config
        objects = self.objects(batch, generator)
        clean = self.statistics.normalise(self.latents[objects[share]]).to(self.device)
        sigma = training_sigmas(batch, generator, P_mean=config.P_mean, P_std=config.P_std)[share].to(self.device)
        places = range(objects_seen, objects_seen + batch)[share]
        noise = noise_of(places, tuple(clean.shape[1:]), seed=config.loop.seed, device=self.device)
        tokens = self.tokens
        if tokens is not None:
            tokens = drop_tokens(tokens[objects], config.token_dropout, generator=generator)[share].to(self.device)
        with autocast(config.loop.precision, self.device):
            loss = self.model.loss(clean, sigma, noise, tokens)
        return {"denoising": loss.mean()}

    def objects(self, batch: int, generator: torch.Generator) -> Tensor:
        """The first thing a step draws: the numbers of its latents, [batch]."""
        return self.kept[torch.randint(len(self.kept), (batch,), generator=generator)]

    def names(self, *, objects_seen: int, batch: int, generator: torch.Generator, share: slice) -> list[str]:
        """The latents of a share of a batch."""
        return [f"latent {number}" for number in self.objects(batch, generator)[share].tolist()]

    def measures(self) -> dict[str, float]:
        """Nothing that changes: the latents' own are logged at the end of stage 1."""
        return {}

    def preview(self, model: Denoiser) -> Image | None:
        """What `draw` makes of the averaged model, if there is one."""
        return self.draw(model) if self.draw else None

    def snapshot(self, model: Denoiser, path: Path) -> None:
        """The averaged denoiser with the statistics that lead back to raw latents."""
        shape = tuple(self.latents.shape[1:])
        save_denoiser(path, model, self.config, self.statistics, shape, held_out=self.held_out)


def check_stage_1(model: Path, latents: Path) -> None:
    """ValueError, before anything is trained: a file that is missing, another's, or holds what diverged."""
    for path, kind in ((model, "autodecoder"), (latents, "latents")):
        check_finite(path)
        if (found := read_header(path).get("kind")) != kind:
            raise ValueError(f"{path}: wanted a snapshot of kind {kind!r}; got {found!r}; finish stage 1 there first")


def without_held_out(objects: Path, count: int, share: float) -> tuple[Tensor | None, list[Pair]]:
    """The numbers of the latents that are trained on, None: all; and the pairs of words that none of them has.

    ValueError: no captions, or those of others.
    """
    if not share:
        return None, []
    said = read_said(objects)
    if len(said) != count:
        raise ValueError(f"{objects}: wanted the captions of {count} latents; got {len(said)}; finish stage 1 again")
    held_out = held_out_pairs(said, share, COLOURS)
    return torch.tensor(kept_objects(said, held_out, COLOURS)), held_out


def train_diffusion(
    autodecoder_run: Path,
    config: DiffusionConfig,
    run: Path,
    *,
    profile: int = 0,
    draw: Callable[[Denoiser], Image] | None = None,
) -> Denoiser:
    """Train on the latents of a finished autodecoder run in the folder `run`, or go on there.

    The autodecoder's snapshot is copied into `run`, which then holds all that generation needs. profile: so many
    steps are traced. draw: makes previews of the denoiser in training.
    """
    processes = join_processes(config.loop.device)
    with held(run, rooms=ROOMS, by=processes.is_main):
        return train_held(autodecoder_run, config, run, processes, profile=profile, draw=draw)


def train_held(
    autodecoder_run: Path,
    config: DiffusionConfig,
    run: Path,
    processes: Processes,
    *,
    profile: int,
    draw: Callable[[Denoiser], Image] | None,
) -> Denoiser:
    """`train_diffusion` in a folder that no other command writes to."""
    latents_path = autodecoder_run / "latents.safetensors"
    if not latents_path.is_file():
        raise ValueError(
            f"autodecoder: wanted a finished run; got {autodecoder_run}, without latents.safetensors; "
            "finish `vader3d train autodecoder` there first"
        )
    notes = RunNotes("diffusion", checksum_of(latents_path), config)
    notes.agree(processes)
    if processes.is_main:
        notes.check(run)
        check_stage_1(autodecoder_run / MODEL, latents_path)
    latents, statistics, _ = load_latents(latents_path)
    kept, held_out = without_held_out(autodecoder_run / OBJECTS, len(latents), config.held_out)
    task = DiffusionTask(config, latents, statistics, kept=kept, held_out=held_out, draw=draw, device=processes.device)
    if processes.is_main:
        notes.write(run)
        if held_out:
            pairs = ", ".join(map(" ".join, held_out))
            console.print(f"diffusion: {len(task.kept)} of {len(latents)} objects are learned, held out are: {pairs}")
        write_whole(
            run / "autodecoder.safetensors", lambda temporary: shutil.copyfile(autodecoder_run / MODEL, temporary)
        )
        if config.unet.token_dim:
            console.print(
                "diffusion: no texts yet, only the unconditional case is learned (unet.token_dim=0 leaves it out)"
            )
    processes.wait()
    return train(task, config.loop, run, title="diffusion", processes=processes, profile=profile)
