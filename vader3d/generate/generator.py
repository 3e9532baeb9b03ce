"""Noise and words to objects: the two stages meet here, and only here."""

import copy
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor

from vader3d.assets import Asset, pictures_of
from vader3d.autodecoder.codes import Codes
from vader3d.autodecoder.model import AutodecoderConfig, load_autodecoder
from vader3d.autodecoder.parts import PartPoses
from vader3d.diffusion.model import encoder_of, load_denoiser, text_of
from vader3d.diffusion.solvers import Callback
from vader3d.files import checksum_of
from vader3d.generate.nearest import TrainingLatents
from vader3d.generate.recipes import Recipe, check_least, recipes_for, what_a_batch_shares
from vader3d.generate.stages import Stages
from vader3d.hub import autodecoder_file, model_folder
from vader3d.machine import chosen_device
from vader3d.snapshots import MODEL
from vader3d.training.loop import SNAPSHOTS

StepEnd = Callable[["Generator", int, float, dict[str, Tensor]], Any]
OutputType = Literal["asset", "latent", "pil", "np", "pt"]


class Generator(Stages):
    """The face of both trained stages. A recipe gives the same object, whatever else and however many are made with it.

    Codes and latents go in and come out on the CPU; networks and volumes are on one device. Without a denoiser and its
    statistics it decodes only; without an encoder it knows no words.
    """

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
        elsewhere. ValueError: it is none of these, or stage 1 alone.
        """
        folder = model_folder(model, revision=revision, local_files_only=local_files_only)
        made = opened(folder, device=device, text_encoder=text_encoder).generator
        made.snapshots = sorted((folder / SNAPSHOTS).glob("*.safetensors"))
        if not made.draws:
            raise ValueError(f"model: wanted one of `vader3d train diffusion`; got an autodecoder alone in {folder}")
        return made

    def compiled(self) -> "Generator":
        """The same generator whose denoiser is compiled at its first use, for every batch size anew.

        On a GPU it runs as one CUDA graph, so that small batches do not wait for launches.
        """
        made = copy.copy(self)
        mode = "reduce-overhead" if self.device.type == "cuda" else "default"
        made._denoiser = torch.compile(self.denoiser, mode=mode, dynamic=False)  # type: ignore[assignment]
        return made

    def __call__(
        self,
        prompt: str | Sequence[str] | None = None,
        *,
        count: int = 1,
        seed: int | Sequence[int] = 0,
        num_inference_steps: int | None = None,
        guidance_scale: float | Sequence[float] = 3.0,
        guidance_rescale: float = 0.0,
        guidance_interval: tuple[float, float] | None = None,
        guide: str | Path | None = None,
        negative_prompt: str | Sequence[str] | None = None,
        num_images_per_prompt: int | None = None,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        latents: Tensor | None = None,
        prompt_embeds: Tensor | None = None,
        callback_on_step_end: StepEnd | None = None,
        output_type: OutputType = "asset",
        solver: str = "dpmpp_2m",
        stochastic: bool = False,
        redraws: int = 0,
        batch: int = 16,
    ) -> Any:
        """`count` new objects of each prompt. Names that diffusers' pipelines have mean what they mean there.

        Object k of a prompt and a seed is made of noise number `sample_seed(seed, k)`, whatever else is asked for.
        prompt: one, several, or None or "" for whatever the model knows. seed, guidance_scale, negative_prompt: one, or
        one for each prompt. guidance_rescale, guidance_interval (two noise levels), guide (the file of an earlier
        snapshot): see docs/text.md. num_images_per_prompt: another name for count. generator: draws the noise in the
        seeds' place, one for all objects, or one for each. latents: that unit noise itself, [N, C, D, H, W].
        prompt_embeds: tokens in the prompts' place, [P, T, S]. callback_on_step_end(self, step, sigma, {"latents": x}):
        after every step; where it sets `interrupt`, sampling ends there; the "latents" of a dict that it gives back go
        on. output_type: asset; latent: raw ones, [N, C, D, H, W]; pil, pt, np: a picture of each (PIL; [N, 3, H, W];
        [N, H, W, 3], in [0, 1]). num_inference_steps: None takes as many as the solver needs. redraws: what comes out
        as a copy of a training object is made of other noise, so many times at most; not with `generator` or `latents`.
        ValueError names what is wrong.
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
            redraws=redraws,
            guidance_rescale=guidance_rescale,
            guidance_interval=guidance_interval,
            guide=self.add_guide(guide) if guide else None,
        )
        check_least(1, batch=batch)
        self.check(recipes)
        noise = latents if generator is None else drawn_from(generator, (len(recipes), *self.latent_shape))
        check_shape("latents", noise, (len(recipes), *self.latent_shape))
        if redraws and noise is not None:
            raise ValueError(f"redraws: wanted 0 where the noise is given; got {redraws}; leave one out")
        tokens = prompt_embeds
        if tokens is not None:
            width = self.text_encoder.width if self.text_encoder else 0
            check_shape(
                "prompt_embeds", tokens, (len(recipes) // count, tokens.shape[1] if tokens.dim() == 3 else 0, width)
            )
            tokens = tokens.repeat_interleave(count, 0)
        made: list[Tensor] = []
        self.interrupt = False
        for start in range(0, len(recipes), batch):
            part = slice(start, start + batch)
            made += self.latents_of(
                recipes[part],
                noise=None if noise is None else noise[part],
                tokens=None if tokens is None else tokens[part],
                callback=self.step_end(callback_on_step_end, recipes[0]),
            )
            if self.interrupt:
                break
        if output_type == "latent":
            return torch.stack(made)
        given = {
            name: digest_of(value)
            for name, value in (("latents", noise), ("prompt_embeds", tokens))
            if value is not None
        }
        assets = [self.asset(recipe, latent[None], given) for recipe, latent in zip(recipes, made, strict=False)]
        return assets if output_type == "asset" else pictures_of(assets, output_type)

    def draw_prompts(
        self, prompts: Sequence[str | None], seeds: Sequence[int], guidance_scale: float, *, steps: int, solver: str
    ) -> list[Asset]:
        """One object of each prompt (None: of none) and seed, from which all of its randomness comes."""
        recipes = [
            Recipe(prompt=prompt or "", steps=steps, solver=solver, guidance_scale=guidance_scale)  # type: ignore[arg-type]
            for prompt in prompts
        ]
        latents = self.latents_of(recipes, noise=self.noises(seeds)[0])
        return [self.asset(recipe, latent[None]) for recipe, latent in zip(recipes, latents, strict=True)]

    def step_end(self, callback: StepEnd | None, recipe: Recipe) -> Callback | None:
        """A solver's callback that calls diffusers' kind."""
        if callback is None:
            return None
        sigmas = self.sigmas(recipe)

        def after(step: int, x: Tensor, denoised: Tensor) -> bool | Tensor | None:
            told = callback(self, step, float(sigmas[step]), {"latents": x, "denoised": denoised})
            return self.interrupt or (told.get("latents") if isinstance(told, dict) else None)

        return after

    def draw(self, recipes: Iterable[Recipe], *, batch: int = 16) -> Iterator[Asset]:
        """The objects of recipes one by one, in their order; `batch` alike ones after another are made at a time."""
        for part in batches(recipes, batch):
            latents = self.latents_of(part)
            yield from (self.asset(recipe, latent[None]) for recipe, latent in zip(part, latents, strict=True))

    def asset(self, recipe: Recipe, latent: Tensor, given: Mapping[str, str] = MappingProxyType({})) -> Asset:
        """The object of a raw latent [1, C, D, H, W]. given: checksums of what came from elsewhere."""
        return Asset(self.decode(latent), self.settings, recipe.name, {**self.provenance(recipe), **given})

    def provenance(self, recipe: Recipe) -> dict[str, Any]:
        """All that an object depends on, plain values: the models' checksums and the recipe."""
        return {**self.checksums, **recipe.to_dict()}


class Opened(NamedTuple):
    """What lies in a model's folder: the generator, stage 1's codes and configuration, both snapshots' headers.

    Of stage 1 alone `denoiser_header` is empty. parts: where those of the clips are that stage 1 learned, if it did.
    """

    generator: Generator
    codes: Codes
    config: AutodecoderConfig
    autodecoder_header: dict[str, Any]
    denoiser_header: dict[str, Any]
    parts: PartPoses | None


def opened(folder: Path, *, device: str = "auto", text_encoder: str | None = None) -> Opened:
    """All of a folder that `model_folder` gives, of both stages or of the first alone; arguments: `from_pretrained`."""
    chosen = chosen_device(device)
    stage1, stage2 = autodecoder_file(folder), folder / MODEL
    autodecoder, config, about = load_autodecoder(stage1)
    decoder, checksums = autodecoder.decoder.to(chosen), {"autodecoder": checksum_of(stage1)}
    codes, parts = autodecoder.codes, autodecoder.parts
    if stage1 == stage2:
        return Opened(Generator(decoder, config.render, checksums=checksums), codes, config, about, {}, parts)
    denoiser, statistics, header = load_denoiser(stage2)
    checksums = {"denoiser": checksum_of(stage2), **checksums}
    encoder = encoder_of(header, text_encoder, device=chosen) if text_of(header) else None
    generator = Generator(decoder, config.render, denoiser.to(chosen), statistics, checksums, encoder)
    generator.trained = TrainingLatents(
        codes,
        lambda some: statistics.normalise(generator.to_latent(some)),
        copies=config.yaw_copies,
        latent_shape=generator.latent_shape,
    )
    return Opened(generator, codes, config, about, header, parts)


def batches(recipes: Iterable[Recipe], batch: int) -> Iterator[list[Recipe]]:
    """Recipes in their order, at most `batch` alike ones after another together."""
    check_least(1, batch=batch)
    for _, alike in groupby(recipes, key=what_a_batch_shares):
        while part := [*islice(alike, batch)]:
            yield part


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
