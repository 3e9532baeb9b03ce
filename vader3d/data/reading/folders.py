"""Folders of objects in a foreign format into a data set."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePath

from vader3d.data.making.conversion import Job, PrepareReport, convert, open_writer
from vader3d.data.reading.reader import Reader, Reading


def prepare_folders(
    reader: Reader,
    source: Path,
    output: Path,
    reading: Reading,
    *,
    title: str = "",
    quality: int = 100,
    objects_per_shard: int | None = None,
    processes: int = 2,
    captions: Path | None = None,
) -> PrepareReport:
    """Convert a folder of objects, or of one, into the archive `output`, or into shards there.

    source: a folder with one of the reader's markers, or one that holds such folders at any depth; an object's name is
    its path below `source`. `captions`: a file, as `convert` takes it. ValueError when no object can be used; single
    broken ones are skipped and reported.
    """
    source, reading = Path(source), replace(reading, mask=reading.mask or reader.mask)
    folders = object_folders(reader, source)
    names = object_names(folders, source)
    jobs = [Job(name, reader.read_object, (folder, name, reading)) for folder, name in zip(folders, names, strict=True)]
    writer = open_writer(
        output,
        title=title or source.resolve().name,
        resolution=(reading.size, reading.size),
        quality=quality,
        objects_per_shard=objects_per_shard,
    )
    return convert(jobs, writer, processes=processes, captions=captions)


def object_folders(reader: Reader, source: Path) -> list[Path]:
    """The folders with a marker, sorted; ValueError where there is none."""
    if not source.is_dir():
        raise ValueError(f"source: wanted a folder; got {source}")
    depths = {marker: len(PurePath(marker).parts) for marker in reader.markers}
    folders = {path.parents[depth - 1] for marker, depth in depths.items() for path in source.rglob(marker)}
    if not folders:
        raise ValueError(f"source: wanted {' or '.join(reader.markers)} in {source} or below; got none")
    return sorted(folders)


def object_names(folders: Sequence[Path], source: Path) -> list[str]:
    """Each folder's path below `source`, joined by dots; the source's own name for itself."""
    return [".".join(folder.relative_to(source).parts) or source.resolve().name for folder in folders]
