"""Copies of data sets, made by any number of commands."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from vader3d.data.archive.format import ArchiveError, ObjectRecord
from vader3d.data.archive.reader import Archive
from vader3d.data.archive.writer import archive_files
from vader3d.data.dataset import DataSet
from vader3d.data.making.conversion import Job, Output, PrepareReport, Work, convert
from vader3d.data.shards.reader import Shards, holds_shards
from vader3d.data.shards.writer import OBJECTS_PER_SHARD, shard_files
from vader3d.data.writer import CopiedObject

OPEN = 8  # data sets, in a process that copies


@dataclass(frozen=True, repr=False)
class Original:
    """An object of a data set. Other processes open that anew, once, where it lies."""

    data: DataSet
    index: int

    def __reduce__(self) -> tuple[Callable[..., "Original"], tuple[str, str, int]]:
        return original_at, (str(self.data.path), self.data.fingerprint, self.data.number(self.index))

    def __repr__(self) -> str:
        return f"{self.data.fingerprint} {self.index}"  # the same wherever the data lie

    def files(self, *, in_shards: bool, quality: int = 100) -> Sequence[Any]:
        """As a writer takes them; ArchiveError: it is damaged."""
        return (
            shard_files(self.data, self.index, quality=quality) if in_shards else archive_files(self.data, self.index)
        )


def original_at(place: str, fingerprint: str, number: int) -> Original:
    return Original(opened(place, fingerprint), number)


@lru_cache(OPEN)
def opened(place: str, fingerprint: str) -> DataSet:
    """The data set at a place; anew once it has another fingerprint, which may be a selection's."""
    return Shards(place) if holds_shards(place) else Archive(place)


def copied(original: Original, record: ObjectRecord, in_shards: bool, quality: int) -> CopiedObject:
    """The object under `record`."""
    return CopiedObject(record, original.files(in_shards=in_shards, quality=quality))


def copy_job(
    original: Original, record: ObjectRecord, output: Output, make: Callable[..., CopiedObject] = copied, *more: Any
) -> Job:
    """`make(original, record, in_shards, quality, *more)`, to come."""
    return Job(record.name, make, (original, record, output.in_shards, output.quality, *more))


def originals(data: DataSet) -> Iterator[tuple[Original, ObjectRecord]]:
    """All objects; where a record is damaged one with a number, for copying the object will tell.

    ValueError: more of it is being made.
    """
    if isinstance(data, Shards) and not data.whole:
        raise ValueError(f"data: wanted all shards; got {data.path}, of which more are being made; wait for the end")
    for index in range(len(data)):
        try:
            record = data.records[index]
        except ArchiveError:
            record = ObjectRecord(f"object {index}")
        yield Original(data, index), record


def subset_names(data: DataSet, names: Sequence[str]) -> dict[str, list[str]]:
    """The objects of each subset, whose `names` these are."""
    return {subset: [names[index] for index in chosen] for subset, chosen in data.subsets.items()}


def write_shards(
    data: DataSet,
    output: Path,
    *,
    objects_per_shard: int = OBJECTS_PER_SHARD,
    quality: int = 100,
    processes: int | None = None,
    work: Work | None = None,
) -> PrepareReport:
    """Pack all objects that can be read into `output`, in order; so many at once, default: one a core.

    quality: WebP's; 100 keeps every pixel. The same data set gives the same bytes. ValueError names a wrong argument.
    """
    target = Output(Path(output), data.title, data.resolution, quality, objects_per_shard)
    jobs = [copy_job(original, record, target) for original, record in originals(data)]
    subsets = subset_names(data, [job.name for job in jobs])
    processes = processes or os.cpu_count() or 1
    report = convert(jobs, target, processes=processes, work=work, subsets=subsets, copies_of=[data], in_threads=True)
    shards = Shards(target.path).shards
    size = sum(shard.bytes for shard in shards) / 1e3 / report.objects
    report.notes.insert(0, f"{len(shards)} shards, {size:.0f} KB an object")
    return report
