"""The `vader3d prepare auto` command."""

from pathlib import Path
from typing import Any

from tyro.conf import Positional

from vader3d.cli.parsing import checked
from vader3d.cli.photos import prepare_photos_command
from vader3d.cli.prepare import prepare_meshes_command, reader_command
from vader3d.cli.video import prepare_video_command


@checked
def prepare_auto_command(
    source: Positional[Path],
    *,
    output: Path,
    size: int = 64,
    views: int | None = None,
    quality: int = 100,
    objects_per_shard: int | None = None,
    processes: int = 2,
    captions: Path | None = None,
    title: str = "",
) -> None:
    """Recognise what a folder holds, say by what, and do what the command for it does.

    Args:
        source: A folder, or a .zip or .tar.gz of one: posed pictures of any format, meshes, photographs, clips.
        output: The archive to write; a folder, with --objects-per-shard.
        size: Width and height of the pictures in pixels.
        views: At most so many pictures of each object; default: what the command takes.
        quality: 1 to 99: lossy WebP; 100: lossless.
        objects_per_shard: Write shards of so many objects each (as many as make 0.1 to 1 GB); default: one archive.
        processes: How many objects to work on in parallel.
        captions: A .csv, .json or .jsonl file, or a folder of texts: captions by objects' names; they come first.
        title: A name for people.
    """
    from vader3d.data.reading.folders import unpacked
    from vader3d.data.reading.readers import READERS
    from vader3d.data.recognition import recognised

    options: dict[str, Any] = {
        "output": output,
        "size": size,
        "quality": quality,
        "objects_per_shard": objects_per_shard,
        "processes": processes,
        "captions": captions,
        "title": title,
    }
    options |= {} if views is None else {"views": views}
    with unpacked(source) as place:
        found = recognised(place)
        print(f"{source}: {found.why}; as vader3d prepare {found.command} {source} --output {output}")
        if found.others:
            print(f"there are signs of {', '.join(found.others)} too; say prepare {found.others[0]} if that is meant")
        if found.command == "meshes":
            prepare_meshes_command((place,), **options)
        elif found.command == "photos":
            prepare_photos_command(place, **options)
        elif found.command == "video":
            prepare_video_command(place, **options)
        else:
            reader_command(READERS[found.command])(place, **options)
