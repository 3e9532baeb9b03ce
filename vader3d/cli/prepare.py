"""The `vader3d prepare` commands: other formats, meshes and our generator into archives."""

from pathlib import Path
from typing import Literal

from tyro.conf import Positional


def prepare_meshes_command(
    sources: Positional[tuple[Path, ...]],
    *,
    output: Path,
    views: int = 24,
    size: int = 64,
    quality: int = 100,
    up: Literal["auto", "y", "z"] = "auto",
    processes: int = 2,
    subset: tuple[str, ...] = (),
    title: str = "",
) -> None:
    """Render meshes (glb, obj, ply, stl, ...) and Sweet Home 3D libraries (.sh3f) from all round into an archive.

    Args:
        sources: Mesh files, libraries, or folders of them.
        output: The archive to write, for instance chairs.zip.
        views: Pictures of each object.
        size: Width and height of the pictures in pixels.
        quality: 1 to 99: lossy WebP; 100: lossless.
        up: Which axis of the files points up.
        processes: How many to render in parallel.
        subset: NAME=FILE, a named subset: a text file with one object name a line.
        title: A name for people.
    """
    from vader3d.data.making.meshes import prepare_meshes

    subsets = {}
    for pair in subset:
        name, equals, file = pair.partition("=")
        if not equals:
            raise ValueError(f"--subset {pair}: wanted NAME=FILE")
        subsets[name] = Path(file)
    report = prepare_meshes(
        sources,
        output,
        views=views,
        size=size,
        quality=quality,
        up=up,
        processes=processes,
        subsets=subsets,
        title=title or output.stem,
    )
    print(report)


def prepare_chairs_command(*, output: Path, count: int = 500, seed: int = 0, views: int = 24, size: int = 64) -> None:
    """Our own parametric chairs and tables, with exact captions and true meshes.

    Args:
        output: The archive to write.
        count: How many objects.
        seed: Object i of a seed is always the same.
        views: Pictures of each object.
        size: Width and height of the pictures in pixels.
    """
    from vader3d.data.making.chairs import prepare_chairs

    print(prepare_chairs(output, count=count, seed=seed, views=views, size=size))


def prepare_nerfstudio_command(
    source: Positional[Path],
    *,
    output: Path,
    size: int = 64,
    views: int | None = None,
    mask: Literal["auto", "alpha", "file", "white"] = "auto",
    scale: float | None = None,
    offset: tuple[float, float, float] | None = None,
    quality: int = 100,
    processes: int = 2,
    title: str = "",
) -> None:
    """Blender, NeRF-synthetic or nerfstudio transforms.json: one object, or a folder of them.

    Args:
        source: A folder with transforms.json (or transforms_train.json ...), or a folder of such folders.
        output: The archive to write.
        size: Width and height of the pictures in pixels.
        views: At most so many pictures of each object, evenly chosen; default: all.
        mask: Where masks come from.
        scale: World units to cube units; default: from the cameras.
        offset: Where the object's centre is, in world units; default: from the cameras.
        quality: 1 to 99: lossy WebP; 100: lossless.
        processes: How many objects to convert in parallel.
        title: A name for people.
    """
    from vader3d.data.reading.nerfstudio import prepare_nerfstudio

    print(
        prepare_nerfstudio(
            source,
            output,
            size=size,
            views=views,
            mask=mask,
            scale=scale,
            offset=offset,
            quality=quality,
            processes=processes,
            title=title or output.stem,
        )
    )


def prepare_srn_command(
    source: Positional[Path],
    *,
    output: Path,
    size: int = 64,
    views: int | None = None,
    scale: float | None = None,
    offset: tuple[float, float, float] | None = None,
    quality: int = 100,
    processes: int = 2,
    title: str = "",
) -> None:
    """SRN folders (ShapeNet cars and chairs of pixelNeRF, ABO tables of SSDNeRF), on white.

    Args:
        source: A folder of objects, each with intrinsics.txt, rgb/ and pose/.
        output: The archive to write.
        size: Width and height of the pictures in pixels.
        views: At most so many pictures of each object, evenly chosen; default: all.
        scale: World units to cube units; default: from the cameras.
        offset: Where the object's centre is, in world units; default: from the cameras.
        quality: 1 to 99: lossy WebP; 100: lossless.
        processes: How many objects to convert in parallel.
        title: A name for people.
    """
    from vader3d.data.reading.srn import prepare_srn

    print(
        prepare_srn(
            source,
            output,
            size=size,
            views=views,
            scale=scale,
            offset=offset,
            quality=quality,
            processes=processes,
            title=title or output.stem,
        )
    )


def prepare_shards_command(
    data: Positional[str],
    *,
    output: Path,
    objects_per_shard: int = 1000,
    quality: int = 100,
    threads: int | None = None,
) -> None:
    """An archive into tar shards (WebDataset convention), which training streams from disk, S3 or HTTP.

    Args:
        data: An archive, or furniture, furniture-all, chairs.
        output: A new folder for the shards and their index, shards.json.
        objects_per_shard: As many as make shards of 0.1 to 1 GB.
        quality: 1 to 99: lossy WebP; 100: lossless.
        threads: How many objects to encode in parallel; default: one a core.
    """
    from vader3d.data.named import open_archive
    from vader3d.data.shards.writer import write_shards

    archive = open_archive(data)
    print(write_shards(archive, output, objects_per_shard=objects_per_shard, quality=quality, threads=threads))
