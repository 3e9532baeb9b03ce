"""The `vader3d prepare` commands."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tyro.conf import Positional
from tyro.extras import SubcommandApp

from vader3d.cli.parsing import checked

if TYPE_CHECKING:
    from vader3d.data.reading.reader import Reader

READER_OPTIONS = """
    output: The archive to write; a folder, with --objects-per-shard.
    size: Width and height of the pictures in pixels.
    views: At most so many pictures of each object, evenly chosen; default: all.
    mask: Where masks come from.
    scale: World units to cube units; default: from the cameras.
    offset: Where the object's centre is, in world units; default: from the cameras.
    quality: 1 to 99: lossy WebP; 100: lossless.
    objects_per_shard: Write shards of so many objects each (as many as make 0.1 to 1 GB); default: one archive.
    processes: How many objects to convert in parallel.
    title: A name for people.
"""


def prepare_commands(readers: Mapping[str, "Reader"]) -> SubcommandApp:
    """What makes pictures, a command for each of the readers, and what packs shards."""
    commands = SubcommandApp()
    commands.command(name="meshes")(prepare_meshes_command)
    commands.command(name="chairs")(prepare_chairs_command)
    for name, reader in readers.items():
        commands.command(name=name)(reader_command(reader))
    commands.command(name="shards")(prepare_shards_command)
    return commands


def reader_command(reader: "Reader") -> Callable[..., None]:
    """The command of one format, with the options that all of them have."""
    from vader3d.data.reading.folders import prepare_folders
    from vader3d.data.reading.pictures import Mask
    from vader3d.data.reading.reader import Reading

    def command(
        source: Positional[Path],
        *,
        output: Path,
        size: int = 64,
        views: int | None = None,
        mask: Mask = reader.mask,
        scale: float | None = None,
        offset: tuple[float, float, float] | None = None,
        quality: int = 100,
        objects_per_shard: int | None = None,
        processes: int = 2,
        title: str = "",
    ) -> None:
        reading = Reading(size, views, mask, scale, offset)
        report = prepare_folders(
            reader,
            source,
            output,
            reading,
            title=title or output.stem,
            quality=quality,
            objects_per_shard=objects_per_shard,
            processes=processes,
        )
        print(report)

    command.__doc__ = f"{reader.what}\n\nArgs:\n    source: {reader.source}{READER_OPTIONS}"
    return checked(command)


@checked
def prepare_meshes_command(
    sources: Positional[tuple[Path, ...]],
    *,
    output: Path,
    views: int = 24,
    size: int = 64,
    quality: int = 100,
    objects_per_shard: int | None = None,
    up: Literal["auto", "y", "z"] = "auto",
    processes: int = 2,
    subset: tuple[str, ...] = (),
    title: str = "",
) -> None:
    """Render meshes (glb, obj, ply, stl, ...) and Sweet Home 3D libraries (.sh3f) from all round into an archive.

    Args:
        sources: Mesh files, libraries, or folders of them.
        output: The archive to write, for instance chairs.zip; a folder, with --objects-per-shard.
        views: Pictures of each object.
        size: Width and height of the pictures in pixels.
        quality: 1 to 99: lossy WebP; 100: lossless.
        objects_per_shard: Write shards of so many objects each (as many as make 0.1 to 1 GB); default: one archive.
        up: Which axis of the files points up.
        processes: How many to render in parallel.
        subset: NAME=FILE, a named subset: a text file with one object name a line.
        title: A name for people.
    """
    from vader3d.data.making.meshes import Photography, prepare_meshes

    subsets = {}
    for pair in subset:
        name, equals, file = pair.partition("=")
        if not equals:
            raise ValueError(f"subset: wanted NAME=FILE; got {pair}")
        subsets[name] = Path(file)
    report = prepare_meshes(
        sources,
        output,
        Photography(views, size),
        quality=quality,
        objects_per_shard=objects_per_shard,
        up=up,
        processes=processes,
        subsets=subsets,
        title=title or output.stem,
    )
    print(report)


@checked
def prepare_chairs_command(
    *,
    output: Path,
    count: int = 500,
    seed: int = 0,
    views: int = 24,
    size: int = 64,
    objects_per_shard: int | None = None,
) -> None:
    """Our own parametric chairs and tables, with exact captions and true meshes.

    Args:
        output: The archive to write; a folder, with --objects-per-shard.
        count: How many objects.
        seed: Object i of a seed is always the same.
        views: Pictures of each object.
        size: Width and height of the pictures in pixels.
        objects_per_shard: Write shards of so many objects each (as many as make 0.1 to 1 GB); default: one archive.
    """
    from vader3d.data.making.chairs import prepare_chairs

    print(prepare_chairs(output, count=count, seed=seed, views=views, size=size, objects_per_shard=objects_per_shard))


@checked
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
