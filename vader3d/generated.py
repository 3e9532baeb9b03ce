"""Objects of recipes as files: written as they are made, and gone on with."""

from collections.abc import Sequence
from pathlib import Path

from vader3d.assets import LIST, AssetFolder, Saved, check_formats
from vader3d.files import held
from vader3d.generate import Generator
from vader3d.progress import track
from vader3d.recipes import Recipe


def generate_files(
    generator: Generator, folder: Path, recipes: Sequence[Recipe], *, formats: Sequence[str], batch: int = 16
) -> Saved:
    """An object of each recipe, written as soon as it is made; the same call again makes only what is missing.

    ValueError: the folder has objects of the same names that something else made. OSError: it cannot be written.
    """
    check_formats(formats, formats)
    AssetFolder(folder)  # says what is wrong with it before anything is written
    generator.tokens([text for recipe in recipes for text in (recipe.prompt, recipe.negative_prompt)])  # so with these
    with held(folder):
        place = AssetFolder(folder)
        made_by = {recipe.name: (recipe, generator.provenance(recipe)) for recipe in recipes}
        for name, (_, provenance) in made_by.items():
            if place.made_otherwise(name, provenance):
                raise ValueError(
                    f"output: wanted a folder for this model, these steps; got {folder}, whose {name} was made "
                    f"otherwise ({LIST} says how); name another folder"
                )
        missing = [recipe for name, (recipe, made) in made_by.items() if not place.holds(name, made, formats)]
        place.write_list()  # fails before the work where nothing can be written
        written: list[Path] = []
        try:
            assets = generator.draw(missing, batch=batch)
            for done, asset in enumerate(track(assets, "objects", total=len(missing)), 1):
                written += place.save(asset, formats)
                if done % batch == 0:
                    place.write_list()
        finally:
            place.write_list()
        return place.saved([*made_by], written)
