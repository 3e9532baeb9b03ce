"""The `vader3d prepare` commands."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tyro.conf import Positional
from tyro.extras import SubcommandApp

from vader3d.cli.heads import prepare_heads_command
from vader3d.cli.parsing import ALONE, WorkOptions, checked
from vader3d.cli.photos import prepare_photos_command
from vader3d.cli.video import prepare_video_command

if TYPE_CHECKING:
    from vader3d.data.reading.reader import Reader

READER_OPTIONS = """
    output: The archive to write; a folder, with --objects-per-shard.
    size: Width and height of the pictures in pixels.
    views: At most so many pictures of each object, evenly chosen; default: all.
    mask: Where masks come from; white, plain: from a background of one colour; auto: alpha, else files, else plain.
    scale: World units to cube units; default: a box in the file, else that of the masks, fills the cube.
    offset: Where the object's centre is, in world units; default: likewise.
    up: Which axis of the world points up; auto: by the pictures' level rows, where they agree.
    axes: The cameras'; auto: the format's own, unless only others agree with the masks.
    fov: Degrees that pictures are wide, for formats that do not say (objaverse); default: what is usual.
    quality: 1 to 99: lossy WebP; 100: lossless.
    objects_per_shard: Write shards of so many objects each (as many as make 0.1 to 1 GB); default: one archive.
    processes: How many objects to convert in parallel.
    captions: A .csv, .json or .jsonl file, or a folder of texts: captions by objects' names; they come first.
    title: A name for people.
"""


def prepare_commands(readers: Mapping[str, "Reader"]) -> SubcommandApp:
    """What makes pictures, a command for each of the readers, and what packs shards."""
    commands = SubcommandApp()
    commands.command(name="meshes")(prepare_meshes_command)
    commands.command(name="photos")(prepare_photos_command)
    commands.command(name="video")(prepare_video_command)
    commands.command(name="chairs")(prepare_chairs_command)
    commands.command(name="heads")(prepare_heads_command)
    for name, reader in readers.items():
        commands.command(name=name)(reader_command(reader))
    commands.command(name="shards")(prepare_shards_command)
    commands.command(name="captions")(prepare_captions_command)
    commands.command(name="join")(prepare_join_command)
    commands.command(name="status")(prepare_status_command)
    return commands


def reader_command(reader: "Reader") -> Callable[..., None]:
    """The command of one format, with the options that all of them have."""
    from vader3d.data.reading.folders import prepare_folders
    from vader3d.data.reading.pictures import Mask
    from vader3d.data.reading.reader import Axes, Reading, Up

    def command(
        source: Positional[Path],
        *,
        output: Path,
        size: int = 64,
        views: int | None = None,
        mask: Mask = reader.mask,
        scale: float | None = None,
        offset: tuple[float, float, float] | None = None,
        up: Up = "auto",
        axes: Axes = "auto",
        fov: float | None = None,
        quality: int = 100,
        objects_per_shard: int | None = None,
        processes: int = 2,
        work: WorkOptions = ALONE,
        captions: Path | None = None,
        title: str = "",
    ) -> None:
        reading = Reading(size, views, mask, scale, offset, up=up, axes=axes, fov=fov)
        report = prepare_folders(
            reader,
            source,
            output,
            reading,
            title=title or output.stem,
            quality=quality,
            objects_per_shard=objects_per_shard,
            processes=processes,
            work=work,
            captions=captions,
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
    work: WorkOptions = ALONE,
    subset: tuple[str, ...] = (),
    captions: Path | None = None,
    title: str = "",
) -> None:
    """Render meshes (glb, obj, ply, stl, ...) and Sweet Home 3D libraries (.sh3f) from all round into an archive.

    Args:
        sources: Mesh files, libraries, folders of them, or a .zip or .tar.gz of such.
        output: The archive to write, for instance chairs.zip; a folder, with --objects-per-shard.
        views: Pictures of each object.
        size: Width and height of the pictures in pixels.
        quality: 1 to 99: lossy WebP; 100: lossless.
        objects_per_shard: Write shards of so many objects each (as many as make 0.1 to 1 GB); default: one archive.
        up: Which axis of the files points up.
        processes: How many to render in parallel.
        subset: NAME=FILE, a named subset: a text file with one object name a line.
        captions: A .csv, .json or .jsonl file, or a folder of texts: captions by objects' names; they come first.
        title: A name for people.
    """
    from vader3d.data.making.meshes import Photography, prepare_meshes
    from vader3d.data.reading.folders import unpacked

    subsets = {}
    for pair in subset:
        name, equals, file = pair.partition("=")
        if not equals:
            raise ValueError(f"subset: wanted NAME=FILE; got {pair}")
        subsets[name] = Path(file)
    with ExitStack() as stack:
        places = [stack.enter_context(unpacked(source)) for source in sources]
        report = prepare_meshes(
            places,
            output,
            Photography(views, size),
            quality=quality,
            objects_per_shard=objects_per_shard,
            up=up,
            processes=processes,
            work=work,
            subsets=subsets,
            captions=captions,
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
    processes: int = 2,
    work: WorkOptions = ALONE,
    captions: Path | None = None,
    azimuths: float = 180.0,
) -> None:
    """Our own parametric chairs and tables, with exact captions and true meshes.

    Args:
        output: The archive to write; a folder, with --objects-per-shard.
        count: How many objects.
        seed: Object i of a seed is always the same.
        views: Pictures of each object.
        size: Width and height of the pictures in pixels.
        objects_per_shard: Write shards of so many objects each (as many as make 0.1 to 1 GB); default: one archive.
        processes: How many to render in parallel.
        captions: A .csv, .json or .jsonl file, or a folder of texts: captions by objects' names; they come first.
        azimuths: Cameras at most so many degrees from the front; below 180 only chairs are made, which have one.
    """
    from vader3d.data.making.chairs import prepare_chairs

    report = prepare_chairs(
        output,
        count=count,
        seed=seed,
        views=views,
        size=size,
        objects_per_shard=objects_per_shard,
        processes=processes,
        work=work,
        captions=captions,
        azimuths=azimuths,
    )
    print(report)


@checked
def prepare_shards_command(
    data: Positional[str],
    *,
    output: Path,
    objects_per_shard: int = 1000,
    quality: int = 100,
    processes: int | None = None,
    work: WorkOptions = ALONE,
) -> None:
    """An archive into tar shards (WebDataset convention), which training streams from disk, S3 or HTTP.

    Args:
        data: An archive or shards, or furniture, furniture-all, chairs.
        output: A new folder for the shards and their index, shards.json.
        objects_per_shard: As many as make shards of 0.1 to 1 GB.
        quality: 1 to 99: lossy WebP; 100: lossless.
        processes: How many objects to encode in parallel; default: one a core.
    """
    from vader3d.data.making.copying import write_shards
    from vader3d.data.named import open_archive

    archive = open_archive(data)
    report = write_shards(
        archive, output, objects_per_shard=objects_per_shard, quality=quality, processes=processes, work=work
    )
    print(report)


@checked
def prepare_captions_command(
    data: Positional[str],
    *,
    output: Path,
    captions: Path | None = None,
    template: bool = True,
    model: str = "",
    prompt: str = "",
    views: int = 4,
    scorer: str = "",
    least_score: float = 0.2,
    download: bool = False,
    device: str = "auto",
    objects_per_shard: int | None = None,
    processes: int = 1,
    work: WorkOptions = ALONE,
) -> None:
    """A data set once more with captions: of a file, of a network, of a template; pictures stay as they are.

    A run on the old data set may go on with the new one.

    Args:
        data: An archive or shards, or furniture, furniture-all, chairs.
        output: The archive to write; a new folder, with --objects-per-shard.
        captions: A .csv, .json or .jsonl file, or a folder of texts: captions by objects' names; they come first.
        template: Also say what is known and seen: kind, colours, proportions; exact for our own chairs.
        model: A network of `transformers` that describes pictures: a folder, or an id that was downloaded before.
        prompt: What it is asked; {name} stands for what the object is called. Default: the paper's way, with that hint.
        views: Of how many pictures of each object it is asked.
        scorer: A CLIP of `transformers`, folder or id: captions that fit the pictures badly are dropped.
        least_score: The mean cosine below which they do.
        download: Fetch networks that are not here.
        device: auto takes a GPU where there is one.
        objects_per_shard: Write shards of so many objects each (as many as make 0.1 to 1 GB); default: one archive.
        processes: How many objects to tell in parallel; each process has the networks, and of several each one core.
    """
    from vader3d.data.captioning.recaption import Describer, recaption
    from vader3d.data.named import open_archive
    from vader3d.frozen.captioners import PROMPT, ClipScorer, ImageCaptioner

    archive = open_archive(data)
    captioner = ImageCaptioner(model, prompt or PROMPT, download=download, device=device) if model else None
    judge = ClipScorer(scorer, download=download, device=device) if scorer else None
    report = recaption(
        archive,
        output,
        Describer(template, captioner, judge, views, least_score),
        file=captions,
        objects_per_shard=objects_per_shard,
        processes=processes,
        work=work,
    )
    print(report)


@checked
def prepare_join_command(
    data: Positional[tuple[str, ...]],
    *,
    output: Path,
    objects_per_shard: int | None = None,
    processes: int = 2,
    work: WorkOptions = ALONE,
    title: str = "",
) -> None:
    """Several data sets as one; pictures stay as they are, and each set is a subset of the new one.

    Args:
        data: Archives or shards, or furniture, furniture-all, chairs: with pictures of one size.
        output: The archive to write; a new folder, with --objects-per-shard.
        objects_per_shard: Write shards of so many objects each (as many as make 0.1 to 1 GB); default: one archive.
        processes: How many objects to copy in parallel.
        title: A name for people.
    """
    from vader3d.data.making.joining import join
    from vader3d.data.named import open_archive

    parts = [open_archive(each) for each in data]
    report = join(parts, output, objects_per_shard=objects_per_shard, title=title, processes=processes, work=work)
    print(report)


def prepare_status_command(folder: Positional[Path], *, format: Literal["text", "json"] = "text") -> None:
    """How far a data set is that commands are preparing: done, failed by reason, rate, who is at it.

    Args:
        folder: What is being prepared, or the folder of its parts.
        format: text for people, or json.
    """
    import json
    from dataclasses import asdict

    from vader3d.data.making.status import status_of

    status = status_of(folder)
    print(json.dumps(asdict(status), ensure_ascii=False, indent=1) if format == "json" else status)
