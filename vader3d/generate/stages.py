"""The two trained stages: noise and words to latents to volumes."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor

from vader3d.autodecoder.decoder import Decoder
from vader3d.diffusion.conditioning import guided
from vader3d.diffusion.denoiser import Denoiser
from vader3d.diffusion.edits import agreeing, box_mask, coarsened, keeping, lerp, slerp, unlike_in, vary
from vader3d.diffusion.model import load_denoiser, text_of
from vader3d.diffusion.sampler import edm_sigmas, sigmas_for
from vader3d.diffusion.solvers import DETERMINISTIC, SOLVERS, STOCHASTIC, Callback, Churn, Denoise, Draw, Solver, heun
from vader3d.files import checksum_of
from vader3d.generate.nearest import TrainingLatents, without_copies
from vader3d.generate.recipes import Recipe
from vader3d.latents import LatentStatistics
from vader3d.machine import autocast
from vader3d.progress import console
from vader3d.randomness import sample_seed
from vader3d.render import RenderConfig, Volume
from vader3d.text.tokens import TextEncoder

MOST_KNOWN = 256  # texts whose tokens, and starts whose latents are remembered from one batch to the next


class Stages:
    """What recipes become. Codes and latents go in and come out on the CPU; networks and volumes are on one device.

    Without a denoiser and its statistics it decodes only; without an encoder it knows no words.
    """

    def __init__(
        self,
        decoder: Decoder,
        settings: RenderConfig,
        denoiser: Denoiser | None = None,
        statistics: LatentStatistics | None = None,
        checksums: Mapping[str, str] = MappingProxyType({}),
        text_encoder: TextEncoder | None = None,
    ):
        self.decoder, self.settings, self.device = decoder, settings, decoder.stem.weight.device
        self._denoiser, self._statistics = denoiser, statistics
        self.checksums = checksums  # of the files it was read from
        self.text_encoder = text_encoder
        self.snapshots: Sequence[Path] = ()  # where guides are looked for
        self.trained: TrainingLatents | None = None  # what redraws are to be unlike
        self._guides: dict[str, Denoiser] = {}
        self._known_tokens: dict[str, Tensor] = {}
        self._starts: dict[Recipe, Tensor] = {}

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

    def check_texts(self, texts: Iterable[str]) -> None:
        """ValueError: there is one that is not empty, and the model knows no words."""
        written = next((text for text in texts if text.strip()), None)
        if written is not None and self.text_encoder is None:
            raise ValueError(
                f"prompt: wanted none, the model was trained without texts; got {written!r}; train with "
                "--preset small-text, or leave it out"
            )

    def check(self, recipes: Sequence[Recipe]) -> None:
        """ValueError: there are words, and the model knows none; or a guide or known objects that are not at hand."""
        self.check_texts(text for recipe in recipes for text in recipe.texts)
        if redraws := max((recipe.redraws for recipe in recipes), default=0):
            if self.trained is None:
                raise ValueError(f"redraws: wanted 0 of a model without its training's codes; got {redraws}")
            self.trained.check()
        for checksum in sorted(set[str]().union(*(recipe.guides for recipe in recipes))):
            self.guide_of(checksum)

    def add_guide(self, snapshot: str | Path) -> str:
        """An earlier snapshot of the model's run may guide from now on; gives its checksum, a recipe's `guide`.

        ValueError: it is damaged, or learned other latents or texts.
        """
        denoiser, statistics, header = load_denoiser(snapshot)
        own, note, encoder = self.statistics, text_of(header), self.text_encoder
        alike = torch.equal(statistics.median, own.median) and torch.equal(statistics.spread, own.spread)
        if not alike or tuple(header["latent_shape"]) != self.latent_shape or (note is None) != (encoder is None):
            raise ValueError(
                f"guide: wanted an earlier snapshot of the model's own run; got {snapshot}, which learned otherwise; "
                "--set 'loop.keep_snapshots=[0.1,0.3]' keeps some in training"
            )
        if note and encoder:
            note.check(encoder)
        checksum = checksum_of(Path(snapshot))
        self._guides[checksum] = denoiser.to(self.device)
        return checksum

    def guide_of(self, checksum: str) -> Denoiser:
        """The snapshot of this checksum: one that was added, or lies in the run's folder. ValueError: neither."""
        if checksum not in self._guides:
            found = next((path for path in self.snapshots if checksum_of(path) == checksum), None)
            if found is None:
                raise ValueError(f"guide: wanted the snapshot {checksum:.12}; got none; name it: --guide SNAPSHOT")
            self.add_guide(found)
        return self._guides[checksum]

    def tokens(self, texts: Sequence[str]) -> Tensor:
        """[len(texts), T, S], zeros for an empty one. ValueError: a text, and the model knows no words."""
        self.check_texts(texts)
        if self.text_encoder is None:
            return torch.zeros(len(texts), 1, 0)
        new = [text for text in dict.fromkeys(texts) if text.strip() and text not in self._known_tokens]
        if new:
            if len(self._known_tokens) > MOST_KNOWN:
                self._known_tokens = {text: self._known_tokens[text] for text in texts if text in self._known_tokens}
            self._known_tokens |= zip(new, self.text_encoder.encode(new), strict=True)
        nothing = torch.zeros(self.text_encoder.length, self.text_encoder.width)
        return torch.stack([self._known_tokens[text] if text.strip() else nothing for text in texts])

    @torch.no_grad()
    def sample_latents(
        self,
        seeds: Sequence[int],
        *,
        steps: int = 32,
        churn: Churn = DETERMINISTIC,
        denoiser: Denoise | None = None,
        redraws: int = 0,
    ) -> Tensor:
        """One raw latent for each seed, [len(seeds), C, D, H, W]; all of a sample's randomness comes from its seed.

        redraws: of copies of training objects, at most.
        """

        def sampled(seeds: Sequence[int]) -> Tensor:
            first, draw = self.noises(seeds)
            with self.autocast():
                normalised = heun(denoiser or self.denoiser, first, edm_sigmas(steps), churn=churn, draw=draw)
            return self.statistics.denormalise(normalised.cpu())

        def again(rows: Tensor, attempt: int) -> Tensor:
            return sampled([sample_seed(seeds[row], attempt) for row in rows.tolist()])

        return without_copies(sampled(seeds), self.local_ratios, redraws, again)[0]

    def noises(self, seeds: Sequence[int]) -> tuple[Tensor, Draw]:
        """The unit noise that samples begin with, and what draws more: each row from its own seed."""
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]

        def draw() -> Tensor:
            return torch.stack([torch.randn(self.latent_shape, generator=g) for g in generators]).to(self.device)

        return draw(), draw

    @torch.no_grad()
    def latents_of(
        self,
        recipes: Sequence[Recipe],
        *,
        noise: Tensor | None = None,
        tokens: Tensor | None = None,
        callback: Callback | None = None,
    ) -> Tensor:
        """The raw latents of recipes alike in `what_a_batch_shares`, [len(recipes), C, D, H, W], made as one batch.

        noise, tokens: instead of those that the recipes name. callback(step, x, denoised): true stops.
        Copies of training objects are made anew of other noise, `redraws` times at most; the least alike one stays.
        """
        made = self.sampled(recipes, noise=noise, tokens=tokens, callback=callback)

        def again(rows: Tensor, attempt: int) -> Tensor:
            some = [recipes[row] for row in rows.tolist()]
            return self.sampled(
                some, tokens=None if tokens is None else tokens[rows], callback=callback, attempt=attempt
            )

        made, copies = without_copies(made, self.local_ratios, recipes[0].redraws, again)
        for row in copies.tolist():
            console.print(f"{recipes[row].name}: still nearly an object of the training; ask for another")
        return made

    def local_ratios(self, latents: Tensor) -> Tensor:
        """How near raw latents [B, C, D, H, W] are to the training objects', [B] (`Nearness`)."""
        assert self.trained, "it comes with the denoiser"
        return self.trained.nearest(self.statistics.normalise(latents))[2].ratios

    def sampled(
        self,
        recipes: Sequence[Recipe],
        *,
        noise: Tensor | None = None,
        tokens: Tensor | None = None,
        callback: Callback | None = None,
        attempt: int = 0,
    ) -> Tensor:
        """`latents_of` of one draw, the first or a later `attempt`."""
        first = recipes[0]
        seeds = [sample_seed(recipe.seed, recipe.index) for recipe in recipes]
        noise_drawn, draw = self.noises([sample_seed(seed, attempt) for seed in seeds] if attempt else seeds)
        if first.towards:
            noise_drawn = torch.stack(
                [self.between(row, recipe) for row, recipe in zip(noise_drawn, recipes, strict=True)]
            )
        noise = noise_drawn if noise is None else noise.to(self.device)
        denoiser, solver = self.guided(recipes, tokens), solver_of(first)
        with self.autocast():
            if first.start:
                clean = torch.cat([self.start_of(recipe.start, callback) for recipe in recipes if recipe.start])
                denoiser = self.kept(denoiser, clean, first.keep_box) if first.keep_box else denoiser
                made = vary(
                    denoiser,
                    clean,
                    noise,
                    strength=first.strength,
                    steps=first.steps,
                    solver=solver,
                    draw=draw,
                    callback=callback,
                )
            else:
                made = solver(denoiser, noise, self.sigmas(first), draw=draw, callback=callback)
        return self.statistics.denormalise(made.cpu())

    def sigmas(self, recipe: Recipe) -> Tensor:
        """The noise levels of a recipe, [steps + 1]."""
        return sigmas_for(recipe.solver, recipe.steps, self.latent_shape)

    def between(self, noise: Tensor, recipe: Recipe) -> Tensor:
        """The noise [C, D, H, W] a `fraction` of the way to that of the recipe `towards`."""
        assert recipe.towards
        other, _ = self.noises([sample_seed(recipe.towards.seed, recipe.towards.index)])
        return slerp(noise, other[0], recipe.fraction)

    def start_of(self, recipe: Recipe, callback: Callback | None = None) -> Tensor:
        """The normalised latent [1, C, D, H, W] that a recipe makes, remembered; the callback may raise, not stop."""
        if recipe not in self._starts:
            if len(self._starts) >= MOST_KNOWN:
                self._starts.clear()
            watched = callback and (lambda *step: (callback(*step), None)[1])
            self._starts[recipe] = self.statistics.normalise(self.latents_of([recipe], callback=watched)).to(
                self.device
            )
        return self._starts[recipe]

    def kept(self, denoiser: Denoise, clean: Tensor, corners: tuple[float, ...]) -> Denoise:
        """A denoiser that leaves the objects of `clean` latents, all alike, as they are within a box."""
        box = ((corners[0], corners[1], corners[2]), (corners[3], corners[4], corners[5]))
        with torch.no_grad():
            volume = self.volumes(clean[:1])
        mask = box_mask(box, volume.grid.shape[-1]).to(self.device)
        resolution = clean.shape[-1]
        if resolution > 1:
            return keeping(denoiser, clean, coarsened(mask, resolution))
        return agreeing(denoiser, unlike_in(mask, volume, self.volumes))

    def volumes(self, normalised: Tensor) -> Volume:
        """Normalised latents -> volumes, with gradients."""
        volume = self.decoder.to_volume(self.statistics.denormalise(normalised))
        return volume.with_grid(volume.grid.float())

    def guided(self, recipes: Sequence[Recipe], tokens: Tensor | None) -> Denoise:
        """The denoiser as the recipes' texts and guidance scales turn it."""
        if tokens is None:
            tokens = self.tokens([recipe.prompt for recipe in recipes])
            if recipes[0].towards:
                aims = self.tokens([recipe.towards.prompt for recipe in recipes if recipe.towards])
                way = [lerp(a, b, recipe.fraction) for a, b, recipe in zip(tokens, aims, recipes, strict=True)]
                tokens = torch.stack(way)
        first = recipes[0]
        guide = self.guide_of(first.guide) if first.guide else None
        wordless = self.text_encoder is None or not bool(tokens.any())
        if wordless and guide is None:
            return self.denoiser
        tokens = tokens.to(self.device)
        against = self.tokens([recipe.negative_prompt for recipe in recipes]).to(self.device)
        if guide:  # it knows the same text, where there is no negative one
            rows = zip(against, tokens, recipes, strict=True)
            against = torch.stack([other if recipe.negative_prompt else own for other, own, recipe in rows])
        return guided(
            self.denoiser,
            None if wordless else tokens,
            guidance_scale=torch.tensor([recipe.guidance_scale for recipe in recipes], device=self.device),
            negative_tokens=None if wordless else against,
            interval=first.guidance_interval or (0.0, float("inf")),
            rescale=first.guidance_rescale,
            guide=guide,
        )

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


def solver_of(recipe: Recipe) -> Solver:
    """The solver of a recipe, with fresh noise where it asks for some."""
    if not recipe.stochastic:
        return SOLVERS[recipe.solver]
    if recipe.solver == "dpmpp_2m":
        return SOLVERS["dpmpp_2m_sde"]
    return partial(SOLVERS[recipe.solver], churn=STOCHASTIC)  # type: ignore[call-arg]
