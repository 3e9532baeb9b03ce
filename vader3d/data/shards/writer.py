"""Packs an archive into tar shards."""

import hashlib
import json
import os
import zlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

from vader3d.data.archive.format import ArchiveError, ObjectRecord
from vader3d.data.named import AnyArchive
from vader3d.data.shards.format import (
    BLOCK,
    FORMAT,
    INDEX,
    VERSION,
    Shard,
    Span,
    sample_members,
    sample_to_tar,
    span_to_entry,
)
from vader3d.data.shards.storage import is_url

END = bytes(2 * BLOCK)  # of every tar file


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
    archive: AnyArchive, output: Path, *, objects_per_shard: int = 1000, quality: int = 100, threads: int | None = None
) -> ShardReport:
    """Pack all objects that can be read into `output`, numbered as `readable_objects` numbers them.

    quality: WebP's; 100 keeps every pixel. The index is written last: a packing that was stopped is no set of shards,
    and the same call begins it anew. The same archive gives the same bytes. ValueError names a wrong argument.
    """
    if objects_per_shard < 1:
        raise ValueError(f"objects_per_shard: wanted at least 1; got {objects_per_shard}")
    if not 1 <= quality <= 100:
        raise ValueError(f"quality: wanted 1 to 100; got {quality}")
    prepare_folder(output)
    shards: list[Shard] = []
    spans: list[Span] = []
    kept: list[int] = []
    problems: list[str] = []
    writing = ShardFile(output, 0)
    try:
        for index, made in enumerate(encoded_samples(archive, quality, threads or os.cpu_count() or 1)):
            try:
                record, members = made.result()
            except ArchiveError as error:
                problems.append(str(error))
                continue
            if len(spans) == objects_per_shard:
                shards.append(writing.finish(spans, first=len(kept) - len(spans)))
                spans, writing = [], ShardFile(output, len(shards))
            spans.append(writing.add(record, sample_to_tar(len(kept), members)))
            kept.append(index)
        if not kept:
            raise ArchiveError(f"{archive.path}: none of {len(archive)} objects can be read; the first: {problems[:1]}")
        shards.append(writing.finish(spans, first=len(kept) - len(spans)))
    finally:
        writing.close()
    whole = archive.select(kept) if problems else archive
    renumbered = {index: number for number, index in enumerate(kept)}
    subsets = {name: [renumbered[i] for i in some if i in renumbered] for name, some in archive.subsets.items()}
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "title": archive.title,
        "resolution": list(archive.resolution),
        "objects": len(kept),
        "quality": quality,
        # The same pictures have the same fingerprint: a run may go on from the archive to its shards, or to others.
        "fingerprint": whole.fingerprint if quality == 100 else f"{whole.fingerprint}-quality-{quality}",
        "subsets": subsets,
        "shards": [asdict(shard) for shard in shards],
    }
    write_whole(output / INDEX, json.dumps(manifest, ensure_ascii=False, indent=1).encode())
    return ShardReport(output, len(kept), len(shards), sum(shard.bytes for shard in shards), problems)


def prepare_folder(output: Path) -> None:
    """Make it, or clear what a stopped packing left there; ValueError where anything else is."""
    if is_url(output) or str(output).startswith(("s3:", "http:", "https:", "gs:")):
        raise ValueError(f"output: a folder wanted, {output} given; pack locally, then copy the folder there")
    if output.exists() and not output.is_dir():
        raise ValueError(f"output: a folder wanted, {output} is a file")
    output.mkdir(parents=True, exist_ok=True)
    left = list(output.iterdir())
    foreign = [p.name for p in left if not (p.name.startswith("shard-") and p.suffix in (".tar", ".json", ".part"))]
    if foreign:
        raise ValueError(f"output: {output} holds {foreign[0]}; choose an empty or new folder")
    for path in left:
        path.unlink()


def encoded_samples(archive: AnyArchive, quality: int, threads: int) -> Iterator[Future]:
    """Futures of (record, members) of all objects in order, a few ahead."""
    with ThreadPoolExecutor(threads) as pool:
        ahead: deque[Future] = deque()
        for index in range(len(archive)):
            ahead.append(pool.submit(encoded_sample, archive, index, quality))
            if len(ahead) > 2 * threads:
                yield ahead.popleft()
        yield from ahead


def encoded_sample(archive: AnyArchive, index: int, quality: int) -> tuple[ObjectRecord, list[tuple[str, bytes]]]:
    """An object's record and files; ArchiveError where its pictures cannot be read. A damaged mesh is left out."""
    views = archive.read(index)
    try:
        mesh = archive.true_mesh(index)
    except ArchiveError:
        mesh = None
    data = None if mesh is None else mesh.export(file_type="ply")
    return archive.records[index], sample_members(archive.records[index], views, data, quality=quality)


class ShardFile:
    """One shard being written, under a temporary name until it is whole."""

    def __init__(self, folder: Path, number: int):
        self.path = folder / f"shard-{number:06d}.tar"
        self.temporary = self.path.with_suffix(".part")
        self.file = open(self.temporary, "wb")  # noqa: SIM115 (closed by finish or close)
        self.digest, self.bytes = hashlib.sha256(), 0

    def add(self, record: ObjectRecord, sample: bytes) -> Span:
        offset = self.bytes
        self.write(sample)
        return Span(record, offset, len(sample), zlib.crc32(sample))

    def write(self, data: bytes) -> None:
        self.file.write(data)
        self.digest.update(data)
        self.bytes += len(data)

    def finish(self, spans: list[Span], *, first: int) -> Shard:
        self.write(END)
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        os.replace(self.temporary, self.path)
        entries = [json.dumps(span_to_entry(span), ensure_ascii=False) for span in spans]
        index = ('{"objects": [\n' + ",\n".join(entries) + "\n]}\n").encode()
        write_whole(self.path.with_suffix(".json"), index)
        checksums = (self.digest.hexdigest(), hashlib.sha256(index).hexdigest())
        return Shard(self.path.name, first, len(spans), self.bytes, *checksums)

    def close(self) -> None:
        self.file.close()
        self.temporary.unlink(missing_ok=True)


def write_whole(path: Path, data: bytes) -> None:
    temporary = path.with_name(path.name + ".part")
    with open(temporary, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
