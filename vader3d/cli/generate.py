"""`vader3d generate` and `vader3d schema`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tyro.conf import Positional, UseAppendAction

from vader3d.cli.parsing import checked, note

if TYPE_CHECKING:
    from vader3d.generate import Generator
    from vader3d.recipes import Recipe

Solver = Literal["heun", "euler", "dpmpp_2m"]


@checked
def generate_command(
    *,
    output: Path,
    model: str = "",
    prompt: UseAppendAction[tuple[str, ...]] = (),
    prompts_file: Path | None = None,
    negative_prompt: str = "",
    guidance: float = 3.0,
    count: int = 8,
    seed: int = 0,
    steps: int = 32,
    solver: Solver = "heun",
    stochastic: bool = False,
    interpolate: tuple[str, str] | None = None,
    frames: int = 24,
    vary: Path | None = None,
    strength: float = 0.4,
    keep_box: tuple[float, float, float, float, float, float] | None = None,
    again: Path | None = None,
    formats: tuple[str, ...] = ("glb", "webp"),
    format: Literal["human", "json"] = "human",
    device: Literal["auto", "cpu", "cuda"] = "auto",
    compiled: bool = False,
) -> None:
    """New 3D assets from words or noise, saved one by one; the same command again goes on.

    Args:
        output: Folder for the assets, seed0-000.glb and so on; generated.json lists what made each.
        model: A run folder of stage 2 or of a demo, a saved model, or a hub id; default: the model that ships.
        prompt: What to make, in words; may be given several times. Without one: whatever the model knows.
        prompts_file: A text file with one prompt a line.
        negative_prompt: What to stay away from.
        guidance: How closely to follow the prompt; 1 is not at all beyond the model's own habit, the paper has 3.
        count: How many of each prompt.
        seed: Object i of a seed and a prompt is always the same.
        steps: Sampling steps; more is finer and slower.
        solver: How the steps are made (docs/text.md).
        stochastic: Add fresh noise while sampling, as in the paper's main results.
        interpolate: Two prompts, or two seeds: what lies between, in --frames objects and one animation.
        frames: Of --interpolate.
        vary: A generated file: more like it, --strength away.
        strength: Of --vary: 0 changes nothing, 1 everything.
        keep_box: With --vary: x0 y0 z0 x1 y1 z1 in the cube [-1, 1]^3, inside of which nothing is to change.
        again: A generated file: makes the same object anew.
        formats: What to write of each object (docs/formats.md); webp is a turntable.
        format: json prints what was made for programs.
        device: auto takes a GPU where there is one.
        compiled: Compile the denoiser first (a minute); on a GPU it then runs as a CUDA graph.
    """
    from vader3d.generate import Generator
    from vader3d.generated import generate_files, save_grid, save_path
    from vader3d.recipes import recipes_for

    generator = Generator.from_pretrained(model, device=device)
    generator = generator.compiled() if compiled else generator
    prompts = [*prompt, *(lines_of(prompts_file) if prompts_file else [])]
    tell_words(generator, [*prompts, negative_prompt])
    if again:
        recipes = [recipe_of(again, generator)]
    elif interpolate:
        recipes = between(*interpolate, frames, seed=seed, steps=steps, guidance=guidance, solver=solver)
    elif vary:
        recipes = like(recipe_of(vary, generator), prompts, count, seed=seed, strength=strength, keep_box=keep_box)
    else:
        recipes = recipes_for(
            prompts or None,
            count=count,
            seed=seed,
            guidance_scale=guidance,
            negative_prompt=negative_prompt,
            steps=steps,
            solver=solver,
            stochastic=stochastic,
        )
    saved = generate_files(generator, output, recipes, formats=formats)
