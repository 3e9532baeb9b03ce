"""Noise and words to objects: the two stages meet here, and only here."""

import copy
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from vader3d.assets import Asset, pictures_of
from vader3d.autodecoder.decoder import Decoder
from vader3d.autodecoder.model import load_autodecoder
from vader3d.diffusion.conditioning import guided
from vader3d.diffusion.denoiser import Denoiser
from vader3d.diffusion.edits import agreeing, box_mask, coarsened, keeping, lerp, slerp, unlike_in, vary
from vader3d.diffusion.model import encoder_of, load_denoiser, text_of
from vader3d.diffusion.sampler import edm_sigmas
from vader3d.diffusion.solvers import DETERMINISTIC, SOLVERS, STOCHASTIC, Callback, Churn, Denoise, Solver, heun
from vader3d.files import checksum_of
from vader3d.hub import autodecoder_file, model_folder
from vader3d.latents import LatentStatistics
from vader3d.machine import autocast, chosen_device
from vader3d.randomness import sample_seed
from vader3d.recipes import Recipe, check_least, recipes_for, what_a_batch_shares
from vader3d.render import RenderConfig, Volume
from vader3d.snapshots import AUTODECODER, MODEL
from vader3d.text.tokens import TextEncoder

StepEnd = Callable[["Generator", int, float, dict[str, Tensor]], Any]
OutputType = Literal["asset", "latent", "pil", "np", "pt"]


class Generator:
    """The two trained stages together. A recipe gives the same object, whatever else and however many are made with it.

    Codes and latents go in and come out on the CPU; networks and volumes are on one device. Without a denoiser and its
    statistics it decodes only; without an encoder it knows no words.
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
        self.interrupt = False  # a callback that sets it ends the call after this step
        self._known_tokens: dict[str, Tensor] = {}
        self._starts: dict[Recipe, Tensor] = {}

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path = "",
        *,
        device: str = "auto",
        text_encoder: str | None = None,
        revision: str | None = None,
        local_files_only: bool = True,
    ) -> "Generator":
        """A model that ships with the package ("" is the default one), a run folder, a saved model, or a hub id.

        device: auto (a GPU where there is one), cpu, cuda. text_encoder: where the one it learned with lies, if
        elsewhere. ValueError: it is none of these.
        """
        folder = model_folder(model, revision=revision, local_files_only=local_files_only)
        chosen = chosen_device(device)
        autodecoder, config, _ = load_autodecoder(folder / AUTODECODER)
        denoiser, statistics, header = load_denoiser(folder / MODEL)
        checksums = {"denoiser": checksum_of(folder / MODEL), "autodecoder": checksum_of(folder / AUTODECODER)}
        decoder = autodecoder.decoder.to(chosen)
        encoder = encoder_of(header, text_encoder, device=chosen) if text_of(header) else None
        return cls(decoder, config.render, denoiser.to(chosen), statistics, checksums, encoder)

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

    def tokens(self, texts: Sequence[str]) -> Tensor:
        """[len(texts), T, S], zeros for an empty one. ValueError: a text, and the model knows no words."""
        written = [text for text in texts if text.strip()]
        if written and self.text_encoder is None:
            raise ValueError(
                f"prompt: wanted none, the model was trained without texts; got {written[0]!r}; train with "
                "--preset small-text, or leave it out"
            )
        if self.text_encoder is None:
            return torch.zeros(len(texts), 1, 0)
        new = [text for text in dict.fromkeys(written) if text not in self._known_tokens]
        if new:
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
        denoiser: Callable[[Tensor, Tensor], Tensor] | None = None,
    ) -> Tensor:
        """One raw latent for each seed, [len(seeds), C, D, H, W]; all of a sample's randomness comes from its seed."""
        first, draw = self.noises(seeds)
        with self.autocast():
            normalised = heun(denoiser or self.denoiser, first, edm_sigmas(steps), churn=churn, draw=draw)
        return self.statistics.denormalise(normalised.cpu())

    def noises(self, seeds: Sequence[int]) -> tuple[Tensor, Callable[[], Tensor]]:
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
        """The raw latents of recipes that `alike` finds so, [len(recipes), C, D, H, W], made as one batch.

        noise, tokens: instead of those that the recipes name. callback(step, x, denoised): true stops.
        """
        first = recipes[0]
        noise_drawn, draw = self.noises([sample_seed(recipe.seed, recipe.index) for recipe in recipes])
        if first.towards:
            noise_drawn = torch.stack([self.between(row, recipe) for row, recipe in zip(noise_drawn, recipes, strict=True)])
        noise = noise_drawn if noise is None else noise.to(self.device)
        denoiser, solver = self.guided(recipes, tokens), solver_of(first)
        with self.autocast():
            if first.start:
                clean = torch.cat([self.start_of(recipe.start) for recipe in recipes if recipe.start])
                denoiser = self.kept(denoiser, clean, first.keep_box) if first.keep_box else denoiser
                options = {"draw": draw, "callback": callback}
                made = vary(
                    denoiser, clean, noise, strength=first.strength, steps=first.steps, solver=solver, **options
                )
            else:
                made = solver(denoiser, noise, edm_sigmas(first.steps), draw=draw, callback=callback)
        return self.statistics.denormalise(made.cpu())

    def between(self, noise: Tensor, recipe: Recipe) -> Tensor:
        """The noise [C, D, H, W] a `fraction` of the way to that of the recipe `towards`."""
        assert recipe.towards
        other, _ = self.noises([sample_seed(recipe.towards.seed, recipe.towards.index)])
        return slerp(noise, other[0], recipe.fraction)

    def start_of(self, recipe: Recipe) -> Tensor:
        """The normalised latent [1, C, D, H, W] that a recipe makes, remembered."""
        if recipe not in self._starts:
            self._starts[recipe] = self.statistics.normalise(self.latents_of([recipe])).to(self.device)
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
        if self.text_encoder is None or not bool(tokens.any()):
            return self.denoiser
        first = recipes[0]
        return guided(
            self.denoiser,
            tokens.to(self.device),
            guidance_scale=torch.tensor([recipe.guidance_scale for recipe in recipes], device=self.device),
            negative_tokens=self.tokens([recipe.negative_prompt for recipe in recipes]).to(self.device),
            interval=first.guidance_interval or (0.0, float("inf")),
            rescale=first.guidance_rescale,
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

    def __call__(
        self,
        prompt: str | Sequence[str] | None = None,
        *,
        count: int = 1,
        seed: int | Sequence[int] = 0,
        num_inference_steps: int = 32,
        guidance_scale: float | Sequence[float] = 3.0,
        negative_prompt: str | Sequence[str] | None = None,
        num_images_per_prompt: int | None = None,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        latents: Tensor | None = None,
        prompt_embeds: Tensor | None = None,
        callback_on_step_end: StepEnd | None = None,
        output_type: OutputType = "asset",
        solver: str = "heun",
        stochastic: bool = False,
        batch: int = 16,
    ) -> Any:
        """`count` new objects of each prompt. Names that diffusers' pipelines have mean what they mean there.

        Object k of a prompt and a seed is made of noise number `sample_seed(seed, k)`, whatever else is asked for.
        prompt: one, several, or None or "" for whatever the model knows. seed, guidance_scale, negative_prompt: one, or
        one for each prompt. num_images_per_prompt: another name for count. generator: draws the noise in the seeds'
        place, one for all objects, or one for each. latents: that unit noise itself, [N, C, D, H, W]. prompt_embeds:
        tokens in the prompts' place, [P, T, S]. callback_on_step_end(self, step, sigma, {"latents": x}): after every
        step; where it sets `interrupt`, sampling ends there. output_type: asset; latent: raw ones, [N, C, D, H, W];
        pil, pt, np: a picture of each (PIL; [N, 3, H, W]; [N, H, W, 3], in [0, 1]). ValueError names what is wrong.
        """
        if output_type not in get_args(OutputType):
            raise ValueError(f"output_type: wanted one of {', '.join(get_args(OutputType))}; got {output_type!r}")
        count = count if num_images_per_prompt is None else num_images_per_prompt
        if prompt is None and prompt_embeds is not None:
            prompt = [""] * len(prompt_embeds)
        recipes = recipes_for(
            prompt,
            count=count,
            seed=seed,
            guidance_scale=guidance_scale,
            negative_prompt=negative_prompt,
            steps=num_inference_steps,
            solver=solver,
            stochastic=stochastic,
        )
        check_least(1, batch=batch)
        self.tokens([text for recipe in recipes for text in (recipe.prompt, recipe.negative_prompt)])  # or says why not
        noise = latents if generator is None else drawn_from(generator, (len(recipes), *self.latent_shape))
        check_shape("latents", noise, (len(recipes), *self.latent_shape))
        tokens = prompt_embeds
        if tokens is not None:
            width = self.text_encoder.width if self.text_encoder else 0
            check_shape("prompt_embeds", tokens, (len(recipes) // count, tokens.shape[1] if tokens.dim() == 3 else 0, width))
            tokens = tokens.repeat_interleave(count, 0)
        made, self.interrupt = [], False
        for start in range(0, len(recipes), batch):
            part = slice(start, start + batch)
            made += self.latents_of(
                recipes[part],
                noise=None if noise is None else noise[part],
                tokens=None if tokens is None else tokens[part],
                callback=self.step_end(callback_on_step_end, num_inference_steps),
            )
            if self.interrupt:
                break
        if output_type == "latent":
            return torch.stack(made)
        given = {name: digest_of(value) for name, value in (("latents", noise), ("prompt_embeds", tokens)) if value is not None}
        assets = [self.asset(recipe, latent[None], given) for recipe, latent in zip(recipes, made, strict=False)]
        return assets if output_type == "asset" else pictures_of(assets, output_type)

    def step_end(self, callback: StepEnd | None, steps: int) -> Callback | None:
        """A solver's callback that calls diffusers' kind."""
        if callback is None:
            return None
        sigmas = edm_sigmas(steps)

        def after(step: int, x: Tensor, denoised: Tensor) -> bool:
            callback(self, step, float(sigmas[step]), {"latents": x, "denoised": denoised})
            return self.interrupt

        return after

    def draw(self, recipes: Iterable[Recipe], *, batch: int = 16) -> Iterator[Asset]:
        """The objects of recipes one by one, in their order; `batch` alike ones after another are made at a time."""
        check_least(1, batch=batch)
        for _, alike in groupby(recipes, key=what_a_batch_shares):
            while part := [*islice(alike, batch)]:
                latents = self.latents_of(part)
                yield from (self.asset(recipe, latent[None]) for recipe, latent in zip(part, latents, strict=True))

    def asset(self, recipe: Recipe, latent: Tensor, given: Mapping[str, str] = MappingProxyType({})) -> Asset:
        """The object of a raw latent [1, C, D, H, W]. given: checksums of what came from elsewhere."""
        return Asset(self.decode(latent), self.settings, recipe.name, {**self.provenance(recipe), **given})

    def provenance(self, recipe: Recipe) -> dict[str, Any]:
        """All that an object depends on, plain values: the models' checksums and the recipe."""
        return {**self.checksums, **recipe.to_dict()}


def solver_of(recipe: Recipe) -> Solver:
    """The solver of a recipe, with fresh noise where it asks for some."""
    if not recipe.stochastic:
        return SOLVERS[recipe.solver]
    if recipe.solver == "dpmpp_2m":
        return SOLVERS["dpmpp_2m_sde"]
    return partial(SOLVERS[recipe.solver], churn=STOCHASTIC)  # type: ignore[call-arg]


def drawn_from(generator: torch.Generator | Sequence[torch.Generator], shape: tuple[int, ...]) -> Tensor:
    """Unit noise [N, ...] from one generator, or each row from its own; ValueError for another number of them."""
    if isinstance(generator, torch.Generator):
        return torch.randn(shape, generator=generator, device=generator.device)
    if len(generator) != shape[0]:
        raise ValueError(f"generator: wanted one, or one for each of {shape[0]} objects; got {len(generator)}")
    return torch.stack([torch.randn(shape[1:], generator=each, device=each.device).cpu() for each in generator])


def check_shape(name: str, given: Tensor | None, shape: tuple[int, ...]) -> None:
    """ValueError unless it is None, or of this shape and finite."""
    if given is not None and (tuple(given.shape) != shape or not bool(given.isfinite().all())):
        raise ValueError(f"{name}: wanted {list(shape)}, finite; got {list(given.shape)}")


def digest_of(given: Tensor) -> str:
    return hashlib.sha256(given.float().cpu().contiguous().numpy().tobytes()).hexdigest()
