"""Folders of objects in a foreign format into a data set."""

import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePath

from vader3d.captions import files_of_captions
from vader3d.data.making.conversion import Job, Output, PrepareReport, Work, convert
from vader3d.data.reading.reader import Reader, Reading
from vader3d.untrusted import UNPACKED_BYTES, is_litter, unpack

PACKED = re.compile(r"(?i)\.(zip|tar|tgz|tbz2?|txz|tar\.(gz|bz2|xz))$")
UNREAD = (".rar", ".7z", ".zst")
SPLITS = re.compile(r"(?:.*[_-])?(train|val|valid|test)")  # a folder's name


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
    work: Work | None = None,
    captions: Path | None = None,
) -> PrepareReport:
    """Convert a folder of objects, or of one, into the archive `output`, or into shards there.

    source: a folder with one of the reader's markers, one such file, a folder that holds such folders at any depth, or
    a .zip or .tar.gz of one; an object's name is its path below `source`. Folders called train, val, test (or
    .._train) make subsets. `captions`: a file, as `convert` takes it; by default captions.csv, metadata.jsonl and
    their like in `source`. ValueError when no object can be used; single broken ones are skipped and reported.
    """
    source, reading = Path(source), replace(reading, mask=reading.mask or reader.mask)
    with unpacked(source) as place:
        folders = object_folders(reader, place)
        reading = replace(reading, within=place if place.is_dir() else None)
        names = object_names(folders, place)
        jobs = [
            Job(name, reader.read_object, (folder, name, reading)) for folder, name in zip(folders, names, strict=True)
        ]
        target = Output(
            output,
            title=title or source.resolve().name,
            resolution=(reading.size, reading.size),
            quality=quality,
            objects_per_shard=objects_per_shard,
        )
        beside = () if captions is not None else files_of_captions(place)
        splits = splits_of(folders, names, place)
        return convert(jobs, target, work=work, processes=processes, captions=captions, beside=beside, subsets=splits)


@contextmanager
def unpacked(source: Path) -> Iterator[Path]:
    """The folder or file itself; of a .zip or .tar.gz, or of a folder of nothing else, a folder of what is in it.

    ValueError for one of a kind that is not read.
    """
    packed = [source] if source.is_file() else []
    if source.is_dir():
        packed = sorted(path for path in source.iterdir() if not is_litter(path.relative_to(source)))
    unread = [path for path in packed if path.suffix.lower() in UNREAD]
    if unread and len(unread) == len(packed):
        raise ValueError(f"source: wanted a folder, a .zip or a .tar.gz; got {unread[0].name}; unpack it first")
    if not packed or any(not PACKED.search(path.name) or not path.is_file() for path in packed):
        yield source
        return
    with tempfile.TemporaryDirectory(prefix="vader3d-") as room:
        places = [Path(room, "all", PACKED.sub("", path.name)) for path in packed]
        for path, place in zip(packed, places, strict=True):
            unpack(path, place, most=UNPACKED_BYTES)
        yield places[0] if len(places) == 1 else Path(room, "all")


def object_folders(reader: Reader, source: Path) -> list[Path]:
    """The folders with a marker, sorted, or the one file that is a marker; ValueError where there is none."""
    if source.is_file() and source.suffix.lower() == ".json":
        return [source]
    if not source.is_dir():
        raise ValueError(f"source: wanted a folder, or a .zip or .tar.gz of one; got {source}")
    depths = {marker: len(PurePath(marker).parts) for marker in reader.markers}
    found = ((path, depth) for marker, depth in depths.items() for path in source.rglob(marker))
    folders = {path.parents[depth - 1] for path, depth in found if not is_litter(path.relative_to(source))}
    folders = set(reader.folders(source)) if reader.folders is not None else folders
    if not folders:
        others = sorted(path.name for path in source.glob("*.json"))
        hint = f"; if it is {others[0]}, give that file" if others else ""
        raise ValueError(f"source: wanted {' or '.join(reader.markers)} in {source} or below; got none{hint}")
    return sorted(folders)


def object_names(folders: Sequence[Path], source: Path) -> list[str]:
    """Each folder's path below `source`, joined by dots; the source's own name for itself."""
    alone = source.resolve().parent.name if source.is_file() else source.resolve().name
    return [".".join(folder.relative_to(source).parts) or alone for folder in folders]


def splits_of(folders: Sequence[Path], names: Sequence[str], source: Path) -> dict[str, list[str]]:
    """The objects of each split, by the first folder on the way to them that is called one."""
    subsets: dict[str, list[str]] = {}
    for folder, name in zip(folders, names, strict=True):
        found = (SPLITS.fullmatch(part.lower()) for part in folder.relative_to(source).parts)
        if split := next((match[1] for match in found if match), None):
            subsets.setdefault(split, []).append(name)
    return subsets
