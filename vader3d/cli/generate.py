"""`vader3d generate` and `vader3d schema`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from tyro.conf import Positional, UseAppendAction

from vader3d.cli.parsing import checked, note
from vader3d.diffusion.solver_names import SolverName

if TYPE_CHECKING:
    from vader3d.generate.recipes import Recipe

Box = tuple[float, float, float, float, float, float]


@checked
def generate_command(
    *,
    output: Path = Path("generated"),
    model: str = "",
    prompt: UseAppendAction[tuple[str, ...]] = (),
    prompts_file: Path | None = None,
    negative_prompt: str = "",
    guidance: float = 3.0,
    guidance_interval: tuple[float, float] | None = None,
    guidance_rescale: float = 0.0,
    guide: Path | None = None,
    count: int = 8,
    seed: int = 0,
    steps: int | None = None,
    solver: SolverName = "dpmpp_2m",
    stochastic: bool = False,
    redraws: int = 0,
    interpolate: tuple[str, str] | None = None,
    frames: int = 24,
    vary: Path | None = None,
    strength: float = 0.4,
    keep_box: Box | None = None,
    again: Path | None = None,
    formats: tuple[str, ...] = ("glb", "webp"),
    preset: Literal["print", "mobile", "game", "high"] | None = None,
    faces: int | None = None,
    colour: Literal["texture", "vertex"] | None = None,
    texture_size: int | None = None,
    lods: int | None = None,
    size_cm: float | Literal["auto"] | None = None,
    pivot: Literal["centre", "base"] = "centre",
    as_dataset: bool = False,
    views: int = 24,
    size: int = 128,
    text_encoder: str | None = None,
    report: Annotated[Literal["human", "json"], tyro.conf.arg(name="format")] = "human",
    device: Literal["auto", "cpu", "cuda"] = "auto",
    compiled: bool = False,
) -> None:
    """New 3D assets from words or from noise alone, saved one by one; the same command again goes on.

    Args:
        output: Folder for the assets, seed0-000.glb and so on; generated.json lists what made each.
        model: A run folder of stage 2, a demo's, a saved model, or OWNER/NAME of a hub; default: one that ships.
        prompt: What to make, in words; may be given several times. Without one: whatever the model knows.
        prompts_file: A text file with a prompt a line.
        negative_prompt: What to stay away from.
        guidance: How closely to follow the prompts; 1 does not insist, the paper has 3.
        guidance_interval: The lowest and the highest noise level at which it acts; default: at all.
        guidance_rescale: From 0 to 1, how much of the contrast that guidance adds is taken back.
        guide: An earlier snapshot of the model's run (its snapshots/), away from which guidance leads; also without
            prompts (docs/text.md). --again looks for it in the run's folder by itself.
        count: How many of each prompt.
        seed: Object i of a prompt and a seed is always the same.
        steps: Sampling steps; more is finer and slower. Default: 12 of dpmpp_2m, 32 of the others.
        solver: What takes the steps (docs/text.md).
        stochastic: Add fresh noise while sampling, as in the paper's main results.
        redraws: What comes out as a copy of an object that the model learned from is made of other noise, so many times
            at most (8 will do); what is still one is said.
        interpolate: Two prompts, or two seeds: --frames objects from the one to the other, and an animation.
        frames: How many of --interpolate.
        vary: A file that was generated: --count more like it, of its prompt or another --prompt, with its guidance,
            steps and solver.
        strength: How far --vary goes: 0 changes nothing, 1 everything.
        keep_box: With --vary: x0 y0 z0 x1 y1 z1, a box in [-1, 1]^3 whose inside stays as it is.
        again: A file that was generated: the same object anew.
        formats: What to write of each object; webp is a turntable. `--formats list` says which there are.
        preset: What the meshes are for (docs/assets.md); the next four go before it.
        faces: At most so many triangles.
        colour: A texture, or a colour for each vertex; default: a texture where its packages are installed.
        texture_size: Pixels a side.
        lods: Levels of detail, each of half the faces of the one before.
        size_cm: The longest side of the object in its files; auto: as usual for what its prompt names; default: as the
            model has it.
        pivot: What the files' origin is: the middle of the cube, or of the object's base.
        as_dataset: Posed pictures, masks and depth of each object, and all as an archive, in place of --formats
            (docs/formats.md).
        views: Pictures of each object of --as-dataset, from random sides.
        size: Their pixels a side.
        text_encoder: Where the text encoder of the model lies, if not where it was in training.
        report: json prints what was made as JSON.
        device: auto takes a GPU where there is one.
        compiled: Compile the denoiser first (a minute); on a GPU it then runs as a CUDA graph.
    """
    from vader3d.export.formats import check_formats, table_text
    from vader3d.export.placement import ExportConfig, usual_size_cm
    from vader3d.export.surface import surface_for
    from vader3d.generate import Generator
    from vader3d.generate.files import (
        MOST_SAID,
        are_seeds,
        between,
        generate_dataset,
        generate_files,
        like,
        listed,
        meshes_said,
        prompts_in,
        read_recipe,
        save_grid,
        save_path,
    )
    from vader3d.generate.recipes import recipes_for
    from vader3d.text.tokens import remarks

    if formats == ("list",):
        return print(table_text())
    check_formats(formats, formats)
    config = ExportConfig(size_cm=size_cm, pivot=pivot)
    surface = surface_for(preset, faces=faces, colour=colour, texture_size=texture_size, lods=lods)
    prompts = [*prompt, *(prompts_in(prompts_file) if prompts_file else [])]
    check_alone(again=again, vary=vary, interpolate=interpolate, prompt=None if vary else prompts or None)
    if keep_box is not None and vary is None:
        raise ValueError("keep_box: wanted a generated file beside it; got none; name it: --vary FILE")
    generator = Generator.from_pretrained(model, device=device, text_encoder=text_encoder)
    generator = generator.compiled() if compiled else generator
    ends = interpolate if interpolate and not are_seeds(*interpolate) else ()
    if encoder := generator.text_encoder:
        said = [remark for text in (*prompts, *ends, negative_prompt) for remark in remarks(encoder, text)]
        for remark in said[:MOST_SAID]:
            note(remark)
        if more := said[MOST_SAID:]:
            note(f"and {len(more)} more such lines")
    guide_checksum = generator.add_guide(guide) if guide else None
    recipes: list[Recipe]
    if again is not None:
        recipes = [read_recipe(again, generator)]
    elif vary is not None:
        base = read_recipe(vary, generator)
        ways = [like(base, text, count, seed, strength=strength, box=keep_box) for text in prompts or [base.prompt]]
        recipes = [recipe for way in ways for recipe in way]
    else:
        texts = prompts or None
        if interpolate is not None:
            texts, count = None, 1
        recipes = recipes_for(
            texts,
            count=count,
            seed=seed,
            guidance_scale=guidance,
            negative_prompt=negative_prompt,
            steps=steps,
            solver=solver,
            stochastic=stochastic,
            redraws=redraws,
            guidance_interval=guidance_interval,
            guidance_rescale=guidance_rescale,
            guide=guide_checksum,
        )
        recipes = between(recipes[0], *interpolate, frames=frames) if interpolate else recipes
    if as_dataset:
        seen = generate_dataset(generator, output, recipes, views=views, size=size)
        return print_dataset(output, seen, report)
    saved = generate_files(generator, output, recipes, formats=formats, config=config, surface=surface)
    sheets = [save_path(output, recipes)] if interpolate else [save_grid(output, recipes)] if prompts else []
    if report == "json":
        return print(json.dumps(listed(output, recipes), indent=1, ensure_ascii=False))
    print(f"{output}: {len(saved.files)} files written, of {len(recipes)} objects")
    for line in meshes_said(output, recipes):
        print(line)
    for text in dict.fromkeys(recipe.prompt for recipe in recipes) if size_cm == "auto" else ():
        usual = usual_size_cm(text)
        print(f"size of {text!r}: {f'{usual:g} cm' if usual else 'not known, as the model has it'}")
    for sheet in filter(None, sheets):
        print(f"to look at: {sheet}")
    if saved.empty:
        print(f"{saved.empty} were empty and have none")
    if saved.unlike:
        print(f"unlike their turntables, since too foggy for a mesh: {', '.join(saved.unlike)}")
    return None


def check_alone(**given: object) -> None:
    """ValueError where two are given of what cannot go together."""
    names = [name for name, value in given.items() if value is not None]
    if len(names) > 1:
        raise ValueError(f"{names[0]}: wanted it without {names[1]}; got both; leave one out")


def print_dataset(folder: Path, seen: dict[str, bool], report: str) -> None:
    """What --as-dataset made of each object; `seen` as `generate_dataset` gives it."""
    from vader3d.export.dataset import ARCHIVE

    if report == "json":
        scene = {name: str(folder / name / "transforms.json") if kept else None for name, kept in seen.items()}
        return print(json.dumps({"archive": str(folder / ARCHIVE), "scenes": scene}, indent=1, ensure_ascii=False))
    print(f"{folder / ARCHIVE}: {sum(seen.values())} objects, each also a folder beside it with its transforms.json")
    if unseen := [name for name, kept in seen.items() if not kept]:
        print(f"left out, since not seen in every picture: {', '.join(unseen)}")
    return None


def schema_command(model: Positional[str] = "") -> None:
    """What a model takes, as JSON: prompts, steps, formats, with their ranges.

    Args:
        model: As `vader3d generate --model` takes it.
    """
    from vader3d.generate.files import schema

    print(json.dumps(schema(model), indent=1, ensure_ascii=False))
