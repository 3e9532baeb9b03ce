"""Writes tar shards."""

import hashlib
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vader3d.data.archive.format import ObjectRecord
from vader3d.data.dataset import DataSet
from vader3d.data.shards.format import (
    BLOCK,
    FORMAT,
    INDEX,
    VERSION,
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


class PartWriter(Writer):
    """One shard, `number`, of a set that several write at once; another than the writer makes the index of all.

    Under a temporary name until it is whole. `key` is the number of the next object in the whole set; `shard` is the
    shard's line in the index, once it is whole.
    """

    def __init__(self, folder: Path, number: int, *, title: str, resolution: tuple[int, int], quality: int = 100):
        super().__init__(folder, title=title, resolution=resolution, quality=quality)
        folder.mkdir(parents=True, exist_ok=True)
        self.tar = folder / f"shard-{number:06d}.tar"
        remove_leftovers(folder, self.tar.stem)
        self.temporary = temporary_name(self.tar)
        with writing(self.tar):
            self.file = open(self.temporary, "wb")  # noqa: SIM115 (closed by publish or close)
        self.digest, self.key = hashlib.sha256(), 0
        self.spans: list[Span] = []
        self.shard: Shard | None = None

    def files_of(self, prepared: PreparedObject) -> list[tuple[str, bytes]]:
        return sample_members(prepared, quality=self.quality)

    def write(self, record: ObjectRecord, files: Sequence[tuple[str, bytes]]) -> None:
        sample = sample_to_tar(self.key, [*record_members(record), *files])
        self.spans.append(Span(record, self.bytes, len(sample), zlib.crc32(sample), self.key))
        self.append(sample)

    def append(self, data: bytes) -> None:
        with writing(self.tar):
            self.file.write(data)
        self.digest.update(data)
        self.bytes += len(data)

    def publish(self) -> None:
        """Its own index is written first: a .tar that has none beside it is somebody else's."""
        self.append(END)
        index = packed_spans(self.spans)
        write_bytes(self.tar.with_suffix(".json"), index)
        with writing(self.tar):
            self.file.close()
            put_in_place(self.temporary, self.tar)
        checksums = (self.digest.hexdigest(), hashlib.sha256(index).hexdigest())
        self.shard = Shard(self.tar.name, 0, len(self.spans), self.bytes, *checksums)

    def close(self) -> None:
        if self.shard is None:
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
    more: Mapping[str, Any],
) -> bytes:
    """The index of all shards; more: what it says besides."""
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "title": title,
        "resolution": list(resolution),
        "objects": sum(shard.objects for shard in shards),
        "quality": quality,
        "fingerprint": fingerprint,
        "subsets": dict(subsets),
        **more,
        "shards": [asdict(shard) for shard in shards],
    }
    return json.dumps(manifest, ensure_ascii=False, indent=1).encode()


def shard_files(data: DataSet, index: int, *, quality: int = 100) -> list[tuple[str, bytes]]:
    """Another data set's object as (extension, contents), without its record; ArchiveError: it is damaged.

    Pictures are encoded anew, unless they are those of shards and quality is 100.
    """
    if isinstance(data, Shards) and quality == 100:
        return data.members(index)
    return sample_members(read_object(data, index), quality=quality)


def check_folder(folder: Path) -> None:
    """ValueError for what cannot be a local folder."""
    if is_url(folder) or str(folder).startswith(("s3:", "http:", "https:", "gs:")):
        raise ValueError(f"output: wanted a folder; got {folder}; pack locally, then copy the folder there")
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"output: wanted a folder; got {folder}, which is a file")


def check_empty(folder: Path) -> None:
    """ValueError for a folder that somebody uses, or that holds something else than what stopped commands left."""
    with held(folder):
        if foreign := clear_leftovers(folder):
            raise ValueError(
                f"output: wanted an empty or new folder; got {folder}, which holds {foreign[0]}; choose another"
            )


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
