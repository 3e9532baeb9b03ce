"""Data sets by name or place."""

from pathlib import Path

from vader3d.data.archive.format import ArchiveError
from vader3d.data.archive.reader import Archive
from vader3d.data.dataset import DataSet, none_readable, read_kept
from vader3d.data.shards.reader import Shards, holds_shards


def open_archive(path_or_name: str | Path) -> Archive | Shards:
    """An archive file, FILE:SUBSET, a folder or URL of shards, or a data set that comes with the package.

    `furniture` (chairs, tables, sofas, beds, cabinets, desks, lamps) and `furniture-all` are embedded; `chairs` (500
    objects; `chairs:N` for N) is generated on first use into the user's cache. For a file of such a name write
    `./furniture`. ArchiveError says what is wrong with a file; FileNotFoundError that there is none.
    """
    name = str(path_or_name)
    if name in ("furniture", "furniture-all"):
        everything = Archive(Path(__file__).parent / "assets" / "furniture.zip")
        return everything if name == "furniture-all" else everything.subset("furniture")
    if name == "chairs" or name.startswith("chairs:"):
        from vader3d.data.making.chairs import cached_chairs, with_captions

        archive = Archive(cached_chairs(name))
        archive.records = [with_captions(record, 0, index) for index, record in enumerate(archive.records)]
        return archive
    if holds_shards(path_or_name):
        return Shards(path_or_name)
    path = Path(path_or_name)
    if not path.exists():
        file, _, subset = name.rpartition(":")
        if Path(file).is_file():
            return Archive(Path(file)).subset(subset)
        raise FileNotFoundError(
            f"data: wanted an archive, or furniture, furniture-all, chairs; got {path}, which does not exist"
        )
    return Archive(path)


def readable_objects(archive: DataSet) -> tuple[DataSet, list[str]]:
    """The objects that can be read, as an archive, and one line about each that cannot; ArchiveError if none can.

    Decodes all of them, and keeps what `read_kept` has room for.
    """
    good, problems = [], []
    for index in range(len(archive)):
        try:
            read_kept(archive, index)
            good.append(index)
        except ArchiveError as error:
            problems.append(str(error))
    if not good:
        raise none_readable(archive, problems)
    return (archive.select(good) if problems else archive), problems


def trainable_objects(archive: DataSet) -> tuple[DataSet, list[str]]:
    """The readable objects of an archive; of shards all, for they are only read while training goes on."""
    return (archive, []) if isinstance(archive, Shards) else readable_objects(archive)
