"""Meshes and furniture libraries into pictures from all round."""

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vader3d.captions import Caption, captions_beside
from vader3d.data.archive.format import ObjectRecord
from vader3d.data.making.conversion import Job, PrepareReport, convert, open_writer
from vader3d.data.making.raycast import render_surface
from vader3d.data.making.surface import Surface, load_surface
from vader3d.data.making.sweethome import CatalogueEntry, load_model, read_catalogue
from vader3d.data.making.viewpoints import spread_cameras
from vader3d.data.writer import PreparedObject
from vader3d.geometry.cameras import Cameras
from vader3d.untrusted import read_text

MESH_SUFFIXES = frozenset({".glb", ".gltf", ".obj", ".ply", ".stl", ".off", ".3mf", ".dae"})
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
    jobs = [job for source in sources for job in mesh_jobs(Path(source), photography, up)]
    if not jobs:
        raise ValueError(f"sources: wanted mesh files or .sh3f libraries; got none in {', '.join(map(str, sources))}")
    names = {subset: listed_names(Path(path)) for subset, path in (subsets or {}).items()}
    writer = open_writer(
        Path(output),
        title=title or Path(output).stem,
        resolution=(photography.size, photography.size),
        quality=quality,
        objects_per_shard=objects_per_shard,
    )
    return convert(jobs, writer, processes=processes, captions=captions, subsets=names)


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


def mesh_jobs(source: Path, photography: Photography, up: str) -> list[Job]:
    """One for each mesh file and each model of a library."""
    if not source.exists():
        raise ValueError(f"sources: wanted a file or folder; got {source}, which does not exist")
    if source.is_dir():
        files = sorted(path for path in source.rglob("*") if path.suffix.lower() in {LIBRARY_SUFFIX, *MESH_SUFFIXES})
    else:
        files = [source]
    jobs = []
    for path in files:
        if path.suffix.lower() == LIBRARY_SUFFIX:
            try:
                entries = read_catalogue(path)
            except ValueError as error:
                jobs.append(Job(path.name, refused, (str(error),)))
                continue
            jobs += [Job(entry.record.name, object_from_catalogue, (entry, photography)) for entry in entries]
        else:
            name = (
                path.relative_to(source).with_suffix("").as_posix().replace("/", ".") if path != source else path.stem
            )
            jobs.append(Job(name, object_from_file, (path, name, photography, up)))
    return jobs


def refused(why: str) -> PreparedObject:
    """What is left of a library that cannot be read: its line in the report."""
    raise ValueError(why)


def object_from_catalogue(entry: CatalogueEntry, photography: Photography) -> PreparedObject:
    surface = load_model(entry).framed()
    pictures, cameras = render_object(surface, entry.record.name, photography)
    return PreparedObject(entry.record, pictures, cameras, identity=identity_of(surface))


def object_from_file(path: Path, name: str, photography: Photography, up: str) -> PreparedObject:
    surface = load_surface(path, up=up).framed()
    captions = captions_beside(path.with_suffix(".txt"), Caption(path.stem.replace("_", " "), "name"))
    pictures, cameras = render_object(surface, name, photography)
    record = ObjectRecord(name, captions, source=path.name)
    return PreparedObject(record, pictures, cameras, identity=identity_of(surface))


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
