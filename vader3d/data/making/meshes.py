"""Meshes and furniture libraries into pictures from all round."""

import hashlib
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vader3d.captions import Caption, captions_beside
from vader3d.data.archive.format import ObjectRecord
from vader3d.data.captioning.synsets import synset_of, words_for
from vader3d.data.making.conversion import Job, Output, PrepareReport, Work, convert
from vader3d.data.making.raycast import render_surface
from vader3d.data.making.surface import Surface, load_surface
from vader3d.data.making.sweethome import CatalogueEntry, load_model, read_catalogue
from vader3d.data.making.viewpoints import spread_cameras
from vader3d.data.writer import PreparedObject
from vader3d.geometry.cameras import Cameras
from vader3d.untrusted import is_litter, read_text

MESH_SUFFIXES = frozenset(
    {".glb", ".gltf", ".obj", ".ply", ".stl", ".off", ".3mf", ".dae", ".usd", ".usda", ".usdc", ".usdz"}
)
UNREAD = frozenset(
    {".fbx", ".blend", ".3ds", ".max", ".ma", ".mb", ".c4d", ".lwo", ".abc", ".x3d", ".wrl", ".step", ".stp", ".iges"}
)
SAVE_AS_GLB = "save such as GLB (Blender: File, Export, glTF 2.0)"
LIBRARY_SUFFIX = ".sh3f"


@dataclass(frozen=True)
class Photography:
    """How many pictures of an object are rendered, of how many px a side, by how many rays a pixel and side.

    azimuths_from_front: as that of `spread_cameras`.
    """

    views: int = 24
    size: int = 64
    rays_per_side: int = 4
    azimuths_from_front: float = 180.0


def prepare_meshes(
    sources: Sequence[Path],
    output: Path,
    photography: Photography,
    *,
    up: str = "auto",
    title: str = "",
    quality: int = 100,
    objects_per_shard: int | None = None,
    processes: int = 2,
    work: Work | None = None,
    captions: Path | None = None,
    subsets: Mapping[str, Path] | None = None,
) -> PrepareReport:
    """Render every mesh of `sources` from all round into the archive `output`, or into shards there.

    sources: mesh files, Sweet Home 3D libraries (.sh3f), or folders of either, searched throughout. A mesh's captions
    are the lines of a .txt file beside it, else its file's name. Each object is centred and scaled to radius 0.98, and
    seen from 4 units through 30 degrees, so nothing is ever cut. `up`: the files' own upward axis. `quality` as WebP's,
    100 lossless. `subsets` name text files that list objects, one name a line; `captions` as `convert` takes them.
    ValueError when nothing usable is found.
    """
    files = [pair for source in sources for pair in named_files(Path(source))]
    unread = [path for source in sources for path in unread_files(Path(source))]
    if not files and unread:
        raise ValueError(f"sources: wanted {', '.join(sorted(MESH_SUFFIXES))}; got {unread[0].name}; {SAVE_AS_GLB}")
    if not files:
        raise ValueError(f"sources: wanted mesh files or .sh3f libraries; got none in {', '.join(map(str, sources))}")
    jobs = [job for path, name in named_apart(files) for job in mesh_jobs(path, name, photography, up)]
    names = {subset: listed_names(Path(path)) for subset, path in (subsets or {}).items()}
    target = Output(
        Path(output),
        title=title or Path(output).stem,
        resolution=(photography.size, photography.size),
        quality=quality,
        objects_per_shard=objects_per_shard,
    )
    report = convert(jobs, target, work=work, processes=processes, captions=captions, subsets=names)
    if unread:
        report.notes.append(f"{len(unread)} files left out, e.g. {unread[0].name}; {SAVE_AS_GLB}")
    return report


def unread_files(source: Path) -> list[Path]:
    """Files of models in formats that are not read."""
    paths = sorted(source.rglob("*")) if source.is_dir() else [source]
    return [path for path in paths if path.suffix.lower() in UNREAD]


def render_object(surface: Surface, name: str, photography: Photography) -> tuple[np.ndarray, Cameras]:
    """Pictures and cameras of a framed surface; the name alone decides from where it is seen."""
    cameras = spread_cameras(
        photography.views,
        size=photography.size,
        seed=zlib.crc32(name.encode()),
        azimuths_from_front=photography.azimuths_from_front,
    )
    pictures = render_surface(surface, cameras, rays_per_side=photography.rays_per_side)
    if not pictures[..., 3].any((1, 2)).all():
        raise ValueError("mesh: wanted to be seen from everywhere; got an empty picture; too thin for the resolution?")
    return pictures, cameras


def named_files(source: Path) -> list[tuple[Path, str]]:
    """Mesh files and libraries with the names of what they show: paths below the source, with dots."""
    if not source.exists():
        raise ValueError(f"sources: wanted a file or folder; got {source}, which does not exist")
    if not source.is_dir():
        return [(source, source.stem)]
    below = ((path, path.relative_to(source)) for path in sorted(source.rglob("*")))
    kinds = {LIBRARY_SUFFIX, *MESH_SUFFIXES}
    return [
        (path, inner.with_suffix("").as_posix().replace("/", "."))
        for path, inner in below
        if path.suffix.lower() in kinds and not is_litter(inner)
    ]


def named_apart(files: Sequence[tuple[Path, str]]) -> list[tuple[Path, str]]:
    """The same with names that no two share: those that do get their suffix, or else folders before them."""
    for naming in (suffixed, foldered, suffixed, foldered):
        counts = Counter(name for _, name in files)
        places = Counter((path.parent, name) for path, name in files)
        files = [
            (path, name if counts[name] == 1 else naming(path, name, places[path.parent, name] > 1))
            for path, name in files
        ]
    return list(files)


def suffixed(path: Path, name: str, in_one_folder: bool) -> str:
    return f"{name}-{path.suffix[1:].lower()}" if in_one_folder else name


def foldered(path: Path, name: str, in_one_folder: bool) -> str:
    folders, known = path.resolve().parent.parts[1:], name.count(".")
    return f"{folders[-1 - known]}.{name}" if known < len(folders) else name


def mesh_jobs(path: Path, name: str, photography: Photography, up: str) -> list[Job]:
    """One for a mesh file, one for each model of a library."""
    if path.suffix.lower() != LIBRARY_SUFFIX:
        return [Job(name, object_from_file, (path, name, photography, up))]
    try:
        entries = read_catalogue(path)
    except ValueError as error:
        return [Job(path.name, refused, (str(error),))]
    return [Job(entry.record.name, object_from_catalogue, (entry, photography)) for entry in entries]


def refused(why: str) -> PreparedObject:
    """What is left of a library that cannot be read: its line in the report."""
    raise ValueError(why)


def object_from_catalogue(entry: CatalogueEntry, photography: Photography) -> PreparedObject:
    return photographed(load_model(entry), entry.record, photography)


def object_from_file(path: Path, name: str, photography: Photography, up: str) -> PreparedObject:
    captions = captions_beside(path.with_suffix(".txt"), Caption(words_for(path), "name"))
    record = ObjectRecord(name, captions, category=synset_of(path), source=path.name)
    return photographed(load_surface(path, up=up), record, photography)


def photographed(surface: Surface, record: ObjectRecord, photography: Photography) -> PreparedObject:
    framed = surface.framed()
    pictures, cameras = render_object(framed, record.name, photography)
    return PreparedObject(record, pictures, cameras, identity=identity_of(framed), note="\n".join(surface.notes))


def identity_of(surface: Surface) -> str:
    """Equal for surfaces that look equal to 1e-4."""
    digest = hashlib.sha256()
    for array in (surface.triangles, surface.colours, surface.uv):
        digest.update(array.round(4).tobytes())
    for texels in surface.textures:
        digest.update(texels.tobytes())
    return digest.hexdigest()


def listed_names(path: Path) -> list[str]:
    lines = (line.partition("#")[0].strip() for line in read_text(path).splitlines())
    return [line for line in lines if line]
