"""Objects of recipes as files, written as soon as they are made."""

import dataclasses
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any, get_args

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vader3d.assets import LIST, LOOKS, AssetFolder, Saved, as_dataset
from vader3d.captions import numbered_lines
from vader3d.diffusion.model import text_of
from vader3d.diffusion.solver_names import SolverName
from vader3d.export.formats import FORMATS, check_formats
from vader3d.export.placement import AS_IT_IS, ExportConfig
from vader3d.export.provenance import read_provenance
from vader3d.export.surface import Soundness, SurfaceConfig
from vader3d.export.triangles import png_bytes
from vader3d.export.turntable import turntable_bytes
from vader3d.files import held, write_bytes
from vader3d.generate.generator import Generator
from vader3d.generate.recipes import Recipe, checked_prompt, recipe_from_dict
from vader3d.hub import model_folder
from vader3d.progress import track
from vader3d.snapshots import MODEL, read_header
from vader3d.untrusted import reading

ROWS, COLUMNS = 32, 16  # of a grid
GROUND = (232, 232, 232, 255)  # light, so that dark objects are seen, and not white, so that white ones are
MOST_SAID = 16  # meshes, and remarks about prompts, with a line of their own


def generate_files(
    generator: Generator,
    folder: Path,
    recipes: Sequence[Recipe],
    *,
    formats: Sequence[str],
    config: ExportConfig = AS_IT_IS,
    surface: SurfaceConfig | None = None,
    batch: int = 16,
) -> Saved:
    """An object of each recipe, written as soon as it is made; the same call again makes only what is missing.

    ValueError: the folder has objects of the same names that something else made. OSError: it cannot be written.
    """
    check_formats(formats, formats)
    AssetFolder(folder)  # says what is wrong with it before anything is written
    generator.check(recipes)
    with held(folder):
        place = AssetFolder(folder)
        made_by = {recipe.name: (recipe, generator.provenance(recipe)) for recipe in recipes}
        for name, (_, provenance) in made_by.items():
            if place.made_otherwise(name, provenance):
                raise ValueError(
                    f"output: wanted a folder for this model, these steps; got {folder}, whose {name} was made "
                    f"otherwise ({LIST} says how); name another folder"
                )
        missing = [
            recipe for name, (recipe, made) in made_by.items() if not place.holds(name, made, formats, config, surface)
        ]
        place.write_list()  # fails before the work where nothing can be written
        written: list[Path] = []
        try:
            assets = generator.draw(missing, batch=batch)
            for done, asset in enumerate(track(assets, "objects", total=len(missing)), 1):
                written += place.save(asset, formats, config, surface)
                if done % batch == 0:
                    place.write_list()
        finally:
            place.write_list()
        return place.saved([*made_by], written)


def generate_dataset(
    generator: Generator, folder: Path, recipes: Sequence[Recipe], *, views: int, size: int, batch: int = 16
) -> dict[str, bool]:
    """An object of each recipe as posed pictures, not as files: see `as_dataset`, whose result and errors it has."""
    generator.check(recipes)
    once = {recipe.name: recipe for recipe in recipes}
    assets = track(generator.draw(once.values(), batch=batch), "objects", total=len(once))
    return as_dataset(assets, folder, views=views, size=size, seed=recipes[0].seed)


def listed(folder: Path, recipes: Sequence[Recipe]) -> list[dict[str, Any]]:
    """What lies in the folder of these recipes, plain values: name, recipe, files, size, whether it is empty."""
    objects = AssetFolder(folder).objects
    return [
        {
            "name": recipe.name,
            "files": [str(folder / file) for file in objects[recipe.name]["files"]],
            "empty": objects[recipe.name]["empty"],
            "size_cm": objects[recipe.name]["how"]["size_cm"],
            **recipe.to_dict(),
        }
        for recipe in recipes
    ]


def meshes_said(folder: Path, recipes: Sequence[Recipe]) -> list[str]:
    """Whether meshes can be printed and look as they should, a line each.

    Of several also the mean; of more than `MOST_SAID` that alone.
    """
    known = AssetFolder(folder).objects
    made = [(recipe.name, known[recipe.name]) for recipe in recipes if known[recipe.name].get("mesh")]
    if not made:
        return []
    sound = {name: Soundness(**each["mesh"]) for name, each in made}
    alike = {name: each["mesh_likeness"] for name, each in made}
    lines = [f"{name}: {sound[name]}, silhouettes: IoU {alike[name]:.3f} over {LOOKS} views" for name in sound]
    if len(made) == 1:
        return lines
    mean, least = sum(alike.values()) / len(alike), min(alike.values())
    told = f"{sum(one.watertight for one in sound.values())} of {len(sound)} meshes watertight"
    told += f", {sum(one.shells == 1 for one in sound.values())} of one shell"
    told += f", silhouettes: IoU {mean:.3f} on average, {least:.3f} at least"
    return [*lines, told] if len(made) <= MOST_SAID else [told]


def prompts_in(path: Path) -> list[str]:
    """Those of a text file, a line each. ValueError: no such file, none in it, or the number of a line not in UTF-8."""
    if not path.exists() or path.is_dir():
        raise ValueError(f"prompts_file: wanted a text file with a prompt a line; got {path}, which is none")
    prompts = [text.strip() for _, text in numbered_lines(path) if text.strip()]
    if not prompts:
        raise ValueError(
            f"{path}: wanted at least 1 prompt, one a line; got none; leave it out for objects of no prompt"
        )
    return prompts


def read_recipe(path: Path, generator: Generator) -> Recipe:
    """What made a generated file. ValueError: no such file, another model made it, or what no file holds."""
    found = read_provenance(path)
    for name, checksum in generator.checksums.items():
        if (other := found.pop(name, None)) != checksum:
            raise ValueError(
                f"{path}: wanted a file of this model, {name} {checksum:.12}; got one of {other!s:.12}; name the "
                "model it was made with: --model"
            )
    if given := [name for name in ("latents", "prompt_embeds") if name in found]:
        raise ValueError(f"{path}: wanted an object of a recipe alone; got one of {given[0]}, which no file holds")
    with reading(path, "a recipe of vader3d"):
        return recipe_from_dict(found)


def between(base: Recipe, a: str, b: str, *, frames: int) -> list[Recipe]:
    """`frames` recipes from a to b: two seeds where both are whole numbers, else two prompts."""
    seeds = are_seeds(a, b)
    start, end = (
        replace(base, seed=int(each)) if seeds else replace(base, prompt=checked_prompt(each)) for each in (a, b)
    )
    return [replace(start, towards=end, fraction=i / (frames - 1)) for i in range(frames)]


def are_seeds(a: str, b: str) -> bool:
    """Whether both are whole numbers, not prompts."""
    return a.isdecimal() and b.isdecimal()


def like(
    base: Recipe, prompt: str, count: int, seed: int, *, strength: float, box: tuple[float, ...] | None = None
) -> list[Recipe]:
    """`count` recipes that begin with the object of `base`; with a box they leave it as it is there."""
    plain = replace(base, towards=None, fraction=0.0, redraws=0, prompt=prompt, seed=seed)
    return [replace(plain, index=i, start=base, strength=strength, keep_box=box) for i in range(count)]


def first_frame(folder: Path, recipe: Recipe) -> "Image.Image | None":
    """How an object looks at the beginning of its turntable, on a light ground; None: it has none."""
    path = folder / f"{recipe.name}.webp"
    if not path.is_file():
        return None
    with reading(path, "a turntable"), Image.open(path) as animation:
        frame = animation.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", frame.size, GROUND), frame).convert("RGB")


def save_grid(folder: Path, recipes: Sequence[Recipe]) -> Path | None:
    """grid.png: a row a prompt, a column a number, of at most `ROWS` prompts; None without turntables."""
    rows = [[*row] for _, row in groupby(recipes, key=lambda recipe: (recipe.prompt, recipe.seed))][:ROWS]
    frames = [[first_frame(folder, recipe) for recipe in row[:COLUMNS]] for row in rows]
    sizes = [frame.size for row in frames for frame in row if frame]
    if not sizes:
        return None
    (width, height), margin = sizes[0], 16
    columns = max(map(len, frames))
    sheet = Image.new("RGB", (columns * (width + 2) - 2, len(rows) * (height + margin + 2) - 2), "white")
    pen = ImageDraw.Draw(sheet)
    for y, (row, line) in enumerate(zip(rows, frames, strict=True)):
        top = y * (height + margin + 2)
        pen.text((2, top + 2), row[0].prompt or "no prompt", fill="black", font=ImageFont.load_default(11))
        for x, frame in enumerate(line):
            if frame:
                sheet.paste(frame, (x * (width + 2), top + margin))
    path = folder / "grid.png"
    write_bytes(path, png_bytes(sheet))
    return path


def save_path(folder: Path, recipes: Sequence[Recipe]) -> Path | None:
    """path.webp: the objects between two, one after the other; None without turntables."""
    frames = [np.asarray(frame.convert("RGBA")) for recipe in recipes if (frame := first_frame(folder, recipe))]
    if not frames:
        return None
    write_bytes(folder / "path.webp", turntable_bytes(np.stack(frames)))
    return folder / "path.webp"


def schema(model: str) -> dict[str, Any]:
    """What a model takes and makes, as a JSON schema of the inputs of `vader3d generate`; ValueError: stage 1 alone."""
    folder = model_folder(model)
    header = read_header(folder / MODEL, "denoiser")
    text = text_of(header)
    fields = {field.name: field for field in dataclasses.fields(Recipe)}
    properties: dict[str, Any] = {
        "count": {"type": "integer", "minimum": 1, "default": 8},
        "seed": {"type": "integer", "minimum": 0, "default": 0},
        "steps": {"type": "integer", "minimum": 1, "default": fields["steps"].default},
        "solver": {"enum": [*get_args(SolverName)], "default": fields["solver"].default},
        "stochastic": {"type": "boolean", "default": False},
        "redraws": {"type": "integer", "minimum": 0, "maximum": 64, "default": 0},
        "guide": {"type": "string"},
        "formats": {"type": "array", "items": {"enum": [*FORMATS]}, "default": ["glb", "webp"]},
    }
    if text:
        words, level = {"type": "string", "default": ""}, {"type": "number", "minimum": 0}
        properties |= {
            "prompt": words,
            "negative_prompt": words,
            "guidance": {"type": "number", "minimum": 0, "default": fields["guidance_scale"].default},
            "guidance_interval": {"type": "array", "items": level, "minItems": 2, "maxItems": 2},
            "guidance_rescale": {"type": "number", "minimum": 0, "maximum": 1, "default": 0.0},
        }
    about = {
        "latent_shape": header["latent_shape"],
        "text_encoder": text and text.name,
        "words": text and [*text.words],
    }
    return {
        "title": f"vader3d generate --model {model or folder.name}",
        "type": "object",
        "properties": properties,
        "x-model": about,
    }
