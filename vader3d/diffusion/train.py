"""Stage 2: learn to denoise normalised latents."""

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from PIL.Image import Image
from torch import Tensor, nn

from vader3d.colour import COLOURS
from vader3d.diffusion.denoiser import Denoiser, training_sigmas
from vader3d.diffusion.model import DiffusionConfig, build_denoiser, following, save_denoiser
from vader3d.diffusion.texts import Texts, captions_of
from vader3d.diffusion.transformer import trimmed
from vader3d.diffusion.unet import UNetBlock
from vader3d.files import checksum_of, held, write_whole
from vader3d.latents import LatentStatistics, load_latents
from vader3d.machine import CPU, autocast
from vader3d.progress import console
from vader3d.randomness import noise_of
from vader3d.snapshots import MODEL, check_finite, read_header
from vader3d.text.captions import OBJECTS, read_objects
from vader3d.text.heldout import Pair, Said, held_out_pairs, kept_objects, said_of
from vader3d.text.tokens import TOKENS, CaptionTokens, EncoderNote
from vader3d.training.distributed import Processes, join_processes
from vader3d.training.loop import train
from vader3d.training.optimisers import optimisers_for
from vader3d.training.run import ROOMS, RunNotes


class DiffusionTask:
    """Stage 2 as the loop sees it; `latents` [N, C, D, H, W] are raw, `texts` their captions as tokens.

    A batch at a time is read and normalised: the latents may be mapped from a file that no memory holds.
    kept: numbers of the latents that are trained on; None: all. held_out: why not the others, for the snapshots.
    types: of the latents, where `config.balance` draws by them; none: as if each were of its own.
    draw: makes the preview, for latents are no pictures. text: what made the tokens, for the snapshots.
    """

    def __init__(
        self,
        config: DiffusionConfig,
        latents: Tensor,
        statistics: LatentStatistics,
        *,
        texts: CaptionTokens | None = None,
        text: EncoderNote | None = None,
        kept: Tensor | None = None,
        held_out: Sequence[Pair] = (),
        types: Sequence[str] = (),
        draw: Callable[[Denoiser], Image] | None = None,
        device: torch.device = CPU,
    ):
        self.config, self.statistics, self.device = config, statistics, device
        self.texts, self.text = texts, text
        self.draw, self.held_out = draw, held_out
        self.latents = latents
        self.kept = torch.arange(len(latents)) if kept is None else kept
        balanced = config.balance and types
        self.shares = drawing_shares([types[place] for place in self.kept], config.balance) if balanced else None
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
        objects, texts = self.drawn(batch, generator)
        clean = self.statistics.normalise(self.latents[objects[share]]).to(self.device)
        sigma = training_sigmas(batch, generator, P_mean=config.P_mean, P_std=config.P_std)[share].to(self.device)
        places = range(objects_seen, objects_seen + batch)[share]
        noise = noise_of(places, tuple(clean.shape[1:]), seed=config.loop.seed, device=self.device)
        tokens = None
        if self.texts is not None:
            tokens = self.texts.of(texts[share])
            tokens = (trimmed(tokens) if config.unet.mask_padding else tokens).to(self.device)
        with autocast(config.loop.precision, self.device):
            loss = self.model.loss(clean, sigma, noise, tokens)
        return {"denoising": loss.mean()}

    def drawn(self, batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The first thing a step draws: the numbers of its latents and of their captions, [batch] each, -1 for no text.

        `config.balance` is of what words ask for: objects without a text are drawn as they are in the data, so that
        a model that may be asked draws those too when it is not. Without texts it is of all.
        """
        evenly = objects = self.kept[torch.randint(len(self.kept), (batch,), generator=generator)]
        if self.shares is not None:
            objects = self.kept[torch.multinomial(self.shares, batch, replacement=True, generator=generator)]
        if self.texts is None:
            return objects, torch.full_like(objects, -1)
        texts = self.texts.draw(objects, dropout=self.config.token_dropout, generator=generator)
        return torch.where(texts < 0, evenly, objects), texts

    def names(self, *, objects_seen: int, batch: int, generator: torch.Generator, share: slice) -> list[str]:
        """The latents of a share of a batch."""
        return [f"latent {number}" for number in self.drawn(batch, generator)[0][share].tolist()]

    def measures(self) -> dict[str, float]:
        """Nothing that changes: the latents' own are logged at the end of stage 1."""
        return {}

    def preview(self, model: Denoiser) -> Image | None:
        """What `draw` makes of the averaged model, if there is one."""
        return self.draw(model) if self.draw else None

    def snapshot(self, model: Denoiser, path: Path) -> None:
        """The averaged denoiser with the statistics that lead back to raw latents."""
        shape = tuple(self.latents.shape[1:])
        save_denoiser(path, model, self.config, self.statistics, shape, text=self.text, held_out=self.held_out)


def check_stage_1(model: Path, latents: Path) -> None:
    """ValueError, before anything is trained: a file that is missing, another's, or holds what diverged."""
    for path, kind in ((model, "autodecoder"), (latents, "latents")):
        check_finite(path)
        if (found := read_header(path).get("kind")) != kind:
            raise ValueError(f"{path}: wanted a snapshot of kind {kind!r}; got {found!r}; finish stage 1 there first")


def drawing_shares(types: Sequence[str], balance: float) -> Tensor:
    """How often each object is drawn, [N] of sum 1: a type of n objects n^(1 - balance) times as one of a single one.

    An object without a type is one by itself.
    """
    counts = Counter(types)
    shares = torch.tensor([float(counts[each] if each else 1) for each in types], dtype=torch.float64) ** -balance
    return shares / shares.sum()


def said_of_latents(path: Path, count: int, texts: Texts | None = None) -> list[Said]:
    """What is said of each of the `count` latents, by what stage 1 noted of its objects in `path`.

    texts: their captions, where others are learned from. ValueError: the notes are of other latents.
    """
    objects = read_objects(path)
    if len(objects) != count:
        raise ValueError(f"{path}: wanted the captions of {count} latents; got {len(objects)}; finish stage 1 again")
    noted = [[caption.text for caption in entry.captions] for entry in objects]
    captions = zip(objects, texts.captions if texts else noted, strict=True)
    return [said_of(wordings, entry.category, entry.tags) for entry, wordings in captions]


def train_diffusion(
    autodecoder_run: Path,
    config: DiffusionConfig,
    run: Path,
    *,
    profile: int = 0,
    draw: Callable[[Denoiser], Image] | None = None,
    captions: Path | None = None,
    download: bool = False,
) -> Denoiser:
    """Train on the latents of a finished autodecoder run in the folder `run`, or go on there.

    The autodecoder's snapshot is copied into `run`, which then holds all that generation needs. profile: so many
    steps are traced. draw: makes previews of the denoiser in training. captions: a file of them by object, in place of
    those that stage 1 noted. download: the text encoder may be fetched.
    """
    processes = join_processes(config.loop.device)
    with held(run, rooms=ROOMS, by=processes.is_main):
        return train_held(
            autodecoder_run, config, run, processes, profile=profile, draw=draw, captions=captions, download=download
        )


def train_held(
    autodecoder_run: Path,
    config: DiffusionConfig,
    run: Path,
    processes: Processes,
    *,
    profile: int,
    draw: Callable[[Denoiser], Image] | None,
    captions: Path | None,
    download: bool,
) -> Denoiser:
    """`train_diffusion` in a folder that no other command writes to."""
    latents_path = autodecoder_run / "latents.safetensors"
    if not latents_path.is_file():
        raise ValueError(
            f"autodecoder: wanted a finished run; got {autodecoder_run}, without latents.safetensors; "
            "finish `vader3d train autodecoder` there first"
        )
    if captions is not None and not config.with_text:
        raise ValueError(f"captions: wanted none without a text_encoder; got {captions}; choose --preset small-text")
    texts = captions_of(autodecoder_run, captions) if config.with_text else None
    notes = RunNotes("diffusion", " ".join([checksum_of(latents_path), *([texts.checksum] if texts else [])]), config)
    notes.agree(processes)
    if processes.is_main:
        prepare(notes, autodecoder_run, run, texts, download=download, device=processes.device)
    processes.wait()
    tokens, text = texts.tokens(run / TOKENS) if texts else (None, None)
    config = following(config, text) if text else config
    latents, statistics, _ = load_latents(latents_path)
    needs_words = config.held_out or config.balance
    said = said_of_latents(autodecoder_run / OBJECTS, len(latents), texts) if needs_words else []
    held_out = held_out_pairs(said, config.held_out, COLOURS)
    kept = torch.tensor(kept_objects(said, held_out, COLOURS)) if held_out else None
    task = DiffusionTask(
        config,
        latents,
        statistics,
        texts=tokens,
        text=text,
        kept=kept,
        held_out=held_out,
        types=[each.type for each in said],
        draw=draw,
        device=processes.device,
    )
    if held_out and processes.is_main:
        pairs = ", ".join(map(" ".join, held_out))
        console.print(f"diffusion: {len(task.kept)} of {len(latents)} objects are learned, held out are: {pairs}")
    return train(task, config.loop, run, title="diffusion", processes=processes, profile=profile)


def prepare(
    notes: RunNotes, autodecoder_run: Path, run: Path, texts: Texts | None, *, download: bool, device: torch.device
) -> None:
    """Once nothing speaks against it, note in the folder what it is for and put there all that training reads.

    ValueError, before anything is written: what speaks against it.
    """
    config: DiffusionConfig = notes.config
    latents_path = autodecoder_run / "latents.safetensors"
    encoder = (
        texts.encoder(config.text_encoder, length=config.text_length, download=download, device=device)
        if texts
        else None
    )
    if encoder:
        config = following(config, encoder)
        notes = RunNotes(notes.kind, hashlib.sha256(f"{notes.data} {encoder.checksum}".encode()).hexdigest(), config)
    notes.check(run)
    check_stage_1(autodecoder_run / MODEL, latents_path)
    latents, _, _ = load_latents(latents_path)
    if texts:
        texts.check(len(latents))
    with torch.device("meta"):
        build_denoiser(config, tuple(latents.shape[1:]), rank=0)
    notes.write(run)
    write_whole(run / "autodecoder.safetensors", lambda temporary: shutil.copyfile(autodecoder_run / MODEL, temporary))
    if texts and encoder:
        texts.store(run / TOKENS, encoder)
    elif config.unet.token_dim:
        console.print(
            "diffusion: no text_encoder, only the unconditional case is learned (unet.token_dim=0 leaves it out)"
        )
