"""Sweet Home 3D furniture libraries (.sh3f)."""

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from vader3d.captions import Caption, joined
from vader3d.data.archive.format import ObjectRecord
from vader3d.data.captioning.kinds import clean_name, clean_tags, kind_of, with_article
from vader3d.data.making.surface import Z_UP_FROM_Y_UP, Surface, surface_of
from vader3d.data.mesh_files import MESH_BYTES
from vader3d.untrusted import TEXT_BYTES, reading, zip_member

CATALOGUE = "PluginFurnitureCatalog.properties"
CATALOGUE_BYTES = 16 * TEXT_BYTES
LICENCES = (  # what the libraries' own words mean, most special first
    ("Attribution 3.0 United States", "CC-BY-3.0-US https://creativecommons.org/licenses/by/3.0/us/"),
    ("Attribution 3.0", "CC-BY-3.0 https://creativecommons.org/licenses/by/3.0/"),
    ("Public domain", "CC0-1.0 https://creativecommons.org/publicdomain/zero/1.0/"),
)


@dataclass(frozen=True)
class CatalogueEntry:
    """One model of a library: where it lies, how it is turned, and what the catalogue says of it."""

    library: Path
    model: str
    rotation: str
    record: ObjectRecord


def read_catalogue(library: Path) -> list[CatalogueEntry]:
    """All models of one .sh3f file, in the catalogue's order; ValueError when it is none."""
    with reading(library, "a Sweet Home 3D furniture library"), zipfile.ZipFile(library) as opened:
        values = properties_of(zip_member(opened, CATALOGUE, most=CATALOGUE_BYTES).decode("latin-1"))
    words = values.get("license", "")
    licence = next((known for start, known in LICENCES if start in words), words)
    numbers = sorted(int(key[6:]) for key in values if re.fullmatch(r"model#\d{1,9}", key))
    return [entry_of(library, values, number, licence) for number in numbers]


def load_model(entry: CatalogueEntry) -> Surface:
    """The entry's surface, z up, its front towards -y, turned as the catalogue says."""
    with zipfile.ZipFile(entry.library) as opened:
        folder = PurePosixPath(entry.model).parent.as_posix()
        names = [name for name in opened.namelist() if name.startswith(folder + "/") and not name.endswith("/")]
        if (size := sum(opened.getinfo(name).file_size for name in names)) > MESH_BYTES:
            raise ValueError(f"{folder}: wanted at most {MESH_BYTES} bytes; got {size}")
        files = {name[len(folder) + 1 :]: zip_member(opened, name, most=MESH_BYTES) for name in names}
    model = PurePosixPath(entry.model)
    by_name = {name.lower(): data for name, data in files.items()}

    def resolve(name: str) -> bytes:
        return by_name[PurePosixPath(name.replace("\\", "/")).as_posix().lower()]

    surface = surface_of(files[model.name], model.suffix[1:].lower(), model.stem, resolve)
    rotation = np.array(entry.rotation.split(), float).reshape(-1, 3, 3)
    return surface.transformed(Z_UP_FROM_Y_UP @ rotation[0] if len(rotation) else Z_UP_FROM_Y_UP)


def entry_of(library: Path, values: dict[str, str], number: int, licence: str) -> CatalogueEntry:
    def value(key: str) -> str:
        return values.get(f"{key}#{number}", "").strip()

    title, category, creator = value("name"), value("category"), value("creator")
    tags = clean_tags(part.strip() for part in value("tags").split(","))
    plain = clean_name(title)
    key = value("id").rpartition("#")[2] or str(number)
    record = ObjectRecord(
        name=f"{library.stem}.{key}".lower().replace("/", "-"),
        captions=joined([Caption(with_article(plain or category.lower()), "catalogue")], ()),
        category=category.lower(),
        tags=(*tags, *([f"type:{kind_of(plain, tags)}"] if plain else [])),
        creator=creator,
        licence=licence,
        source=f"Sweet Home 3D library {library.stem} {values.get('version', '')}, {key}",
    )
    return CatalogueEntry(library, value("model").lstrip("/"), value("modelRotation"), record)


def properties_of(text: str) -> dict[str, str]:
    """Java's .properties, as far as the libraries use it: key=value, # comments, \\uXXXX."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line and not line.lstrip().startswith("#"))
    return {
        key.strip(): re.sub(r"\\u([0-9a-fA-F]{4})", lambda match: chr(int(match[1], 16)), value)
        .replace("\\", "")
        .strip()
        for key, _, value in pairs
    }
