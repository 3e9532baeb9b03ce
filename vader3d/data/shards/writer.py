"""Writes tar shards."""

import hashlib
import json
import os
import re
import zlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vader3d.data.archive.format import ObjectRecord
from vader3d.data.dataset import DataSet, none_readable
from vader3d.data.shards.format import (
    BLOCK,
    FORMAT,
    INDEX,
    PLAIN_VERSION,
    Shard,
    Span,
    record_members,
    sample_members,
    sample_to_tar,
    span_to_entry,
)
from vader3d.data.shards.reader import Shards
from vader3d.data.shards.storage import is_url
from vader3d.data.writer import PreparedObject, Writer, read_object
from vader3d.files import LOCK, discard, held, put_in_place, remove_leftovers, temporary_name, write_bytes, writing

END = bytes(2 * BLOCK)  # of every tar file
OBJECTS_PER_SHARD = 1000
SHARD_NAME = re.compile(r"(shard-\d{6,})\.(tar|json|part|json\.part)")


class ShardWriter(Writer):
    """Packs objects into a new or empty folder, `objects_per_shard` a file; encodes in `threads` of its own.

    The index is written last, so what was stopped is no set of shards, and the next packing into the folder clears it
    away. An object's bytes do not depend on how many a shard holds. ValueError for any other folder; OSError, which
    names the file, when one cannot be written.
    The fingerprint is the SHA-256 of all samples, unless it is set.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        title: str,
        resolution: tuple[int, int],
        quality: int = 100,
        objects_per_shard: int = OBJECTS_PER_SHARD,
        threads: int | None = None,
    ):
        super().__init__(path, title=title, resolution=resolution, quality=quality)
        if objects_per_shard < 1:
            raise ValueError(f"objects_per_shard: wanted at least 1; got {objects_per_shard}")
        self.objects_per_shard, self.threads = objects_per_shard, threads or os.cpu_count() or 1
        check_folder(self.path)
        with ExitStack() as hold:
            died = hold.enter_context(held(self.path))
            if died:  # perhaps when all was written, and then it begins anew all the same
                discard(self.path / INDEX)
            if foreign := clear_leftovers(self.path):
                raise ValueError(
                    f"output: wanted an empty or new folder; got {path}, which holds {foreign[0]}; choose another"
                )
            self.hold = hold.pop_all()
        self.is_published = False
        self.pool = ThreadPoolExecutor(self.threads, "encode")
        self.encoding: deque[tuple[ObjectRecord, Future[bytes]]] = deque()
        self.shards: list[Shard] = []
        self.shard: ShardFile | None = None
        self.digest = hashlib.sha256()

    def write(self, index: int, prepared: PreparedObject) -> None:
        self.expect(prepared.record, self.pool.submit(encoded_sample, index, prepared, quality=self.quality))

    def copy(self, data: DataSet, index: int, record: ObjectRecord) -> int:
        if not isinstance(data, Shards) or data.resolution != self.resolution:
            return super().copy(data, index, record)
        self.check(record)
        members: list[tuple[str, bytes | memoryview]] = [*record_members(record), *data.members(index)]
        self.expect(record, self.pool.submit(sample_to_tar, len(self.records), members))
        return self.note(record)

    def expect(self, record: ObjectRecord, encoded: Future[bytes]) -> None:
        """A sample that is being made; the oldest are written while there are many."""
        self.encoding.append((record, encoded))
        while len(self.encoding) > 2 * self.threads:
            self.write_oldest()

    def write_oldest(self) -> None:
        """The oldest of the samples that are being encoded goes into the newest shard, or into one more."""
        record, encoded = self.encoding.popleft()
        sample = encoded.result()
        if self.shard is not None and len(self.shard.spans) == self.objects_per_shard:
            self.shards.append(self.shard.finish())
            self.shard = None
        if self.shard is None:
            self.shard = ShardFile(self.path, len(self.shards), first=sum(shard.objects for shard in self.shards))
        self.shard.add(record, sample)
        self.digest.update(sample)

    def publish(self) -> None:
        while self.encoding:
            self.write_oldest()
        if self.shard is not None:
            self.shards.append(self.shard.finish())
        index = packed_index(
            self.shards,
            title=self.title,
            resolution=self.resolution,
            quality=self.quality,
            fingerprint=self.fingerprint or self.digest.hexdigest(),
            subsets=self.subsets,
        )
        self.bytes = sum(shard.bytes for shard in self.shards)
        write_bytes(self.path / INDEX, index)
        self.is_published = True

    def close(self) -> None:
        self.pool.shutdown(cancel_futures=True)
        with self.hold:
            if self.is_published:
                return
            discard(self.path / INDEX)  # there was none before
            if self.shard is not None:
                self.shard.close()
            clear_leftovers(self.path)


class PartWriter(Writer):
    """One shard, `number`, of a set that several write at once; another than the writer makes the index of all.

    `key` is the number of the next object in the whole set; `shard` is the shard's line in the index, once it is whole.
    """

    def __init__(self, folder: Path, number: int, *, title: str, resolution: tuple[int, int], quality: int = 100):
        super().__init__(folder, title=title, resolution=resolution, quality=quality)
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder, f"shard-{number:06d}")
        self.file, self.key = ShardFile(folder, number, first=0), 0
        self.shard: Shard | None = None

    def write(self, index: int, prepared: PreparedObject) -> None:
        self.file.add(prepared.record, encoded_sample(self.key, prepared, quality=self.quality), key=self.key)

    def publish(self) -> None:
        self.shard = self.file.finish()

    def close(self) -> None:
        if self.shard is None:
            self.file.close()


class ShardFile:
    """One shard being written, under a temporary name until it is whole."""

    def __init__(self, folder: Path, number: int, *, first: int):
        """first: the number of its first object."""
        self.path, self.first = folder / f"shard-{number:06d}.tar", first
        self.temporary = temporary_name(self.path)
        with writing(self.path):
            self.file = open(self.temporary, "wb")  # noqa: SIM115 (closed by finish or close)
        self.digest, self.bytes = hashlib.sha256(), 0
        self.spans: list[Span] = []

    def add(self, record: ObjectRecord, sample: bytes, *, key: int | None = None) -> None:
        self.spans.append(Span(record, self.bytes, len(sample), zlib.crc32(sample), key))
        self.write(sample)

    def write(self, data: bytes) -> None:
        with writing(self.path):
            self.file.write(data)
        self.digest.update(data)
        self.bytes += len(data)

    def finish(self) -> Shard:
        """Its own index is written first: a .tar that has none beside it is somebody else's."""
        self.write(END)
        index = packed_spans(self.spans)
        write_bytes(self.path.with_suffix(".json"), index)
        with writing(self.path):
            self.file.close()
            put_in_place(self.temporary, self.path)
        checksums = (self.digest.hexdigest(), hashlib.sha256(index).hexdigest())
        return Shard(self.path.name, self.first, len(self.spans), self.bytes, *checksums)

    def close(self) -> None:
        """Give up what is not finished."""
        with suppress(OSError):  # of what a full disk did not take
            self.file.close()
        discard(self.temporary)


def packed_spans(spans: Sequence[Span]) -> bytes:
    """A shard's own index."""
    entries = [json.dumps(span_to_entry(span), ensure_ascii=False) for span in spans]
    return ('{"objects": [\n' + ",\n".join(entries) + "\n]}\n").encode()


def packed_index(
    shards: Sequence[Shard],
    *,
    title: str,
    resolution: tuple[int, int],
    quality: int,
    fingerprint: str,
    subsets: Mapping[str, Sequence[int]],
    version: int = PLAIN_VERSION,
    **more: Any,
) -> bytes:
    """The index of all shards; more: what it says besides."""
    manifest = {
        "format": FORMAT,
        "version": version,
        "title": title,
        "resolution": list(resolution),
        "objects": sum(shard.objects for shard in shards),
        "quality": quality,
        "fingerprint": fingerprint,
        "subsets": subsets,
        **more,
        "shards": [asdict(shard) for shard in shards],
    }
    return json.dumps(manifest, ensure_ascii=False, indent=1).encode()


def encoded_sample(number: int, prepared: PreparedObject, *, quality: int) -> bytes:
    """An object's stretch of a shard."""
    mesh = None if prepared.mesh is None else prepared.mesh.export(file_type="ply")
    return sample_to_tar(number, sample_members(prepared, mesh, quality=quality))


def check_folder(folder: Path) -> None:
    """ValueError for what cannot be a local folder."""
    if is_url(folder) or str(folder).startswith(("s3:", "http:", "https:", "gs:")):
        raise ValueError(f"output: wanted a folder; got {folder}; pack locally, then copy the folder there")
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"output: wanted a folder; got {folder}, which is a file")


def clear_leftovers(folder: Path) -> list[str]:
    """Delete what stopped packings left in a folder, unless there is something else: then its names, sorted.

    They leave shards (a .tar and its .json) without the index of all.
    """
    names = {path.name for path in folder.iterdir()} - {LOCK}
    left = {name for name in names if name == f"{INDEX}.part" or is_left_shard(name, names)}
    if not names - left:
        for name in left:
            discard(folder / name)
    return sorted(names - left)


def is_left_shard(name: str, names: set[str]) -> bool:
    """Whether it is one of our shards' files; a .tar alone is somebody else's."""
    match = SHARD_NAME.fullmatch(name)
    if match is None:
        return False
    return match[2] != "tar" or not names.isdisjoint({f"{match[1]}.json", f"{match[1]}.json.part"})


@dataclass
class ShardReport:
    """What `write_shards` wrote, and one line about each object that could not be read."""

    output: Path
    objects: int
    shards: int
    bytes: int
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        size = f"{self.bytes / 2**20:.1f} MiB, {self.bytes / self.objects / 2**10:.0f} KiB an object"
        lines = [f"{self.output}: {self.objects} objects in {self.shards} shards, {size}"]
        return "\n".join(lines + [f"left out: {problem}" for problem in self.problems])


def write_shards(
    data: DataSet,
    output: Path,
    *,
    objects_per_shard: int = OBJECTS_PER_SHARD,
    quality: int = 100,
    threads: int | None = None,
) -> ShardReport:
    """Pack all objects that can be read into `output`, numbered as `readable_objects` numbers them.

    quality: WebP's; 100 keeps every pixel. The same data set gives the same bytes. ValueError names a wrong argument.
    """
    writer = ShardWriter(
        output,
        title=data.title,
        resolution=data.resolution,
        quality=quality,
        objects_per_shard=objects_per_shard,
        threads=threads,
    )
    numbers: dict[int, int] = {}
    problems: list[str] = []
    with writer:
        for index, reading in enumerate(read_ahead(data, writer.threads)):
            try:
                numbers[index] = writer.add(reading.result())
            except ValueError as error:
                problems.append(str(error))
        if not numbers:
            raise none_readable(data, problems)
        whole = data.select(list(numbers)) if problems else data
        # The same pictures have the same fingerprint: a run may go on from the archive to its shards, or to others.
        writer.fingerprint = whole.fingerprint if quality == 100 else f"{whole.fingerprint}-quality-{quality}"
        subsets = data.subsets.items()
        writer.set_subsets({name: [numbers[i] for i in some if i in numbers] for name, some in subsets})
    return ShardReport(writer.path, len(numbers), len(writer.shards), writer.bytes, problems)


def read_ahead(data: DataSet, threads: int) -> Iterator[Future[PreparedObject]]:
    """All objects in order, a few read ahead."""
    with ThreadPoolExecutor(threads, "read") as pool:
        ahead: deque[Future[PreparedObject]] = deque()
        for index in range(len(data)):
            ahead.append(pool.submit(read_object, data, index))
            if len(ahead) > threads:
                yield ahead.popleft()
        yield from ahead
