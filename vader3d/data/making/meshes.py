"""Meshes and furniture libraries -> an archive of pictures from all round."""

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from vader3d.data.making.conversion import Job, PreparedObject, PrepareReport, write_archive
from vader3d.data.making.raycast import render_surface
from vader3d.data.making.surface import Surface, load_surface
from vader3d.data.making.sweethome import CatalogueEntry, load_model, read_catalogue
from vader3d.data.making.viewpoints import spread_cameras

MESH_SUFFIXES = frozenset({".glb", ".gltf", ".obj", ".ply", ".stl", ".off", ".3mf", ".dae"})
LIBRARY_SUFFIX = ".sh3f"


def prepare_meshes(
    sources: Sequence[Path],
    output: Path,
    *,
    views: int = 24,
    size: int = 64,
    rays_per_side: int = 4,
    quality: int = 100,
    up: str = "auto",
    processes: int = 2,
    title: str = "",
    subsets: Mapping[str, Path] | None = None,
) -> PrepareReport:
    """Render every mesh of `sources` from `views` sides into the archive `output`.

    sources: mesh files, Sweet Home 3D libraries (.sh3f), or folders of either, searched throughout. A mesh's caption
    is the text of a .txt file beside it, else its file's name. Each object is centred and scaled to radius 0.98, and
    seen from 4 units through 30 degrees, so nothing is ever cut. `size` in px; `quality` as WebP's, 100 lossless;
    `up`: the files' own upward axis. `subsets` name text files that list objects, one name a line.
    ValueError when nothing usable is found.
    """
    jobs = [job for source in sources for job in _jobs(Path(source), (views, size, rays_per_side), up)]
    if not jobs:
        raise ValueError(f"sources: mesh files or .sh3f libraries wanted, none in {', '.join(map(str, sources))}")
    names = {subset: _listed_names(Path(path)) for subset, path in (subsets or {}).items()}
    return write_archive(
        Path(output),
        jobs,
        title=title or Path(output).stem,
        resolution=(size, size),
        quality=quality,
        processes=processes,
        subsets=names,
    )


def render_object(surface: Surface, name: str, *, views: int, size: int, rays_per_side: int) -> tuple:
    """Pictures and cameras of a framed surface; the name alone decides from where it is seen."""
    cameras = spread_cameras(views, size=size, seed=zlib.crc32(name.encode()))
    pictures = render_surface(surface, cameras, rays_per_side=rays_per_side)
    if not pictures[..., 3].any((1, 2)).all():
        raise ValueError("mesh: it cannot be seen from everywhere; too thin for the resolution?")
    return pictures, cameras


def _jobs(source: Path, how: tuple[int, int, int], up: str) -> list[Job]:
    if not source.exists():
        raise ValueError(f"sources: {source} does not exist")
    if source.is_dir():
        files = sorted(path for path in source.rglob("*") if path.suffix.lower() in {LIBRARY_SUFFIX, *MESH_SUFFIXES})
    else:
        files = [source]
    jobs = []
    for path in files:
        if path.suffix.lower() == LIBRARY_SUFFIX:
            jobs += [Job(entry.name, _from_catalogue, (entry, how)) for entry in read_catalogue(path)]
        else:
            name = (
                path.relative_to(source).with_suffix("").as_posix().replace("/", ".") if path != source else path.stem
            )
            jobs.append(Job(name, _from_file, (path, name, how, up)))
    return jobs


def _from_catalogue(entry: CatalogueEntry, how: tuple[int, int, int]) -> PreparedObject:
    surface = load_model(entry).framed()
    views, size, rays_per_side = how
    pictures, cameras = render_object(surface, entry.name, views=views, size=size, rays_per_side=rays_per_side)
    return PreparedObject(
        entry.name,
        entry.caption,
        pictures,
        cameras,
        category=entry.category,
        tags=entry.tags,
        creator=entry.creator,
        licence=entry.licence,
        source=entry.source,
        identity=_identity(surface),
    )


def _from_file(path: Path, name: str, how: tuple[int, int, int], up: str) -> PreparedObject:
    surface = load_surface(path, up=up).framed()
    beside = path.with_suffix(".txt")
    caption = beside.read_text("utf-8").strip() if beside.exists() else path.stem.replace("_", " ")
    views, size, rays_per_side = how
    pictures, cameras = render_object(surface, name, views=views, size=size, rays_per_side=rays_per_side)
    return PreparedObject(name, caption, pictures, cameras, source=path.name, identity=_identity(surface))


def _identity(surface: Surface) -> str:
    """Equal for surfaces that look equal to 1e-4."""
    digest = hashlib.sha256()
    for array in (surface.triangles, surface.colours, surface.uv):
        digest.update(array.round(4).tobytes())
    for texels in surface.textures:
        digest.update(texels.tobytes())
    return digest.hexdigest()


def _listed_names(path: Path) -> list[str]:
    lines = (line.partition("#")[0].strip() for line in path.read_text("utf-8").splitlines())
    return [line for line in lines if line]
