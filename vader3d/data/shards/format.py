"""What tar shards of posed pictures look like.

    shards.json            format, version, title, resolution [H, W], objects (their number), quality, fingerprint,
                           subsets {name: [numbers]}, shards [{file, first, objects, bytes, sha256, index_sha256}]
    shard-000000.tar       one sample an object, whose members stand side by side:
        000000012.json           name, captions [{text, source}], category, tags, views, creator, licence, source
        000000012.txt            the first caption
        000000012.cameras.json   world_from_camera [V, 3, 4], or null where nobody knows it, and intrinsics
                                 [V, 4] (fx fy cx cy in px)
        000000012.0000.webp      RGBA with straight alpha, sRGB; a file a view, so that a few can be decoded
        000000012.mesh.ply       the true surface in the same world, where it is known
    shard-000000.json      {"objects": [{the record's fields, offset, bytes, crc32}]}: where each sample lies

The key is the entry's `key`: the object's number among all that were asked for, the same however many objects a shard
holds; in older sets, whose entries have none, its number in the whole set. The index has `whole`: false while more is
to come, and `command`, which is equal for commands that make the same. Cameras and world are those of
`vader3d.geometry.cameras`. Tar members are read from memory by name, only plain files, never extracted.
"""

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vader3d.data.archive.format import (
    ArchiveError,
    ObjectRecord,
    ObjectViews,
    cameras_from_rows,
    cameras_to_rows,
    check_cameras,
    entry_from_record,
    pictures_from_sheet,
    pictures_to_sheet,
    record_from_entry,
)
from vader3d.data.mesh_files import MESH_BYTES, mesh_of_ply
from vader3d.data.writer import PreparedObject
from vader3d.untrusted import parsed_json, reading

if TYPE_CHECKING:
    from trimesh import Trimesh

FORMAT, VERSION = "vader3d-shards", 3  # 2: without keys; 1: one caption an object, without a source
INDEX = "shards.json"
BLOCK = 512  # bytes: tar's unit
TEXT_BYTES = 2**20  # of a record or a caption
CAMERA_BYTES = 1024  # of one camera as text


@dataclass(frozen=True)
class Shard:
    """One line of the index: `objects` from number `first` on, in `file`."""

    file: str
    first: int
    objects: int
    bytes: int
    sha256: str
    index_sha256: str

    @property
    def index_file(self) -> str:
        return self.file.removesuffix(".tar") + ".json"


@dataclass(frozen=True)
class Span:
    """Where a sample lies in its shard, and what its bytes add up to."""

    record: ObjectRecord
    offset: int
    bytes: int
    crc32: int
    key: int | None = None  # in the tar; None: the object's number


def picture_limit(height: int, width: int) -> int:
    """Bytes that a compressed picture may have at most; above is damage or malice."""
    return 5 * height * width + 4096


def sample_members(prepared: PreparedObject, *, quality: int) -> list[tuple[str, bytes]]:
    """An object's pictures, cameras and mesh as (extension, contents)."""
    rows = cameras_to_rows(prepared.cameras)
    poses = rows[:, :12].reshape(-1, 3, 4).tolist() if prepared.cameras.posed else None
    cameras = {"world_from_camera": poses, "intrinsics": rows[:, 12:].tolist()}
    members = [("cameras.json", json.dumps(cameras).encode())]
    for view, picture in enumerate(prepared.pictures):
        members.append((f"{view:04d}.webp", pictures_to_sheet(picture[None], columns=1, quality=quality)))
    return members if prepared.mesh is None else [*members, ("mesh.ply", prepared.mesh.export(file_type="ply"))]


def record_members(record: ObjectRecord) -> list[tuple[str, bytes]]:
    """The files that have what is said of an object."""
    text = json.dumps(entry_from_record(record), ensure_ascii=False)
    return [("json", text.encode()), ("txt", record.caption.encode())]


def sample_to_tar(number: int, members: Sequence[tuple[str, bytes | memoryview]]) -> bytes:
    """A stretch of a tar file; the same members give the same bytes."""
    import tarfile

    parts = []
    for extension, data in members:
        info = tarfile.TarInfo(f"{number:09d}.{extension}")
        info.size = len(data)
        parts += [info.tobuf(tarfile.USTAR_FORMAT), data, bytes(-len(data) % BLOCK)]
    return b"".join(parts)


def sample_from_tar(data: bytes, number: int, span: Span) -> dict[str, memoryview]:
    """The contents of a sample's members by extension; ArchiveError for bytes that are not what the index says."""
    if len(data) != span.bytes:
        raise ArchiveError(f"sample: wanted {span.bytes} bytes; got {len(data)}, it is cut short")
    if zlib.crc32(data) != span.crc32:
        raise ArchiveError(f"sample: wanted the checksum {span.crc32}; got {zlib.crc32(data)}, it is damaged")
    members, view, at = {}, memoryview(data), 0
    key = f"{number if span.key is None else span.key:09d}."
    while at < len(data):
        name = bytes(view[at : at + 100]).rstrip(b"\0").decode("ascii", "replace")
        kind, digits = bytes(view[at + 156 : at + 157]), bytes(view[at + 124 : at + 136]).rstrip(b"\0 ")
        if kind not in (b"0", b"\0") or not name.startswith(key) or not digits.isdigit():
            raise ArchiveError(f"sample: wanted plain files {key}*; got member {name[:60]!r}")
        size, start = int(digits, 8), at + BLOCK
        if start + size > len(data):
            raise ArchiveError(f"sample: wanted members within it; got member {name[:60]!r} of {size} bytes")
        members[name.removeprefix(key)] = view[start : start + size]
        at = start + size + -size % BLOCK
    return members


def sample_views(
    members: Mapping[str, memoryview], record: ObjectRecord, resolution: tuple[int, int], chosen: Sequence[int]
) -> ObjectViews:
    """The `chosen` views of a sample; other pictures are not decoded. ArchiveError for what is missing or damaged."""
    height, width = resolution
    pictures = []
    for view in chosen:
        data = member(members, f"{view:04d}.webp", limit=picture_limit(height, width))
        pictures.append(pictures_from_sheet(data, 1, columns=1, height=height, width=width))
    text = member(members, "cameras.json", limit=CAMERA_BYTES * record.views + 4096)
    with reading("cameras.json", "world_from_camera and intrinsics", ArchiveError):
        document = parsed_json(text)
        lenses = np.array(document["intrinsics"], np.float32)
        matrices = np.full((len(lenses), 12), np.nan, np.float32)
        if document["world_from_camera"] is not None:
            matrices = np.array(document["world_from_camera"], np.float32).reshape(-1, 12)
        rows = np.concatenate([matrices, lenses], 1)
        cameras = cameras_from_rows(rows, height, width)
        check_cameras(cameras, record.views, posed=record.posed)
    cameras = cameras[list(chosen)]
    return ObjectViews(np.concatenate(pictures), cameras)


def sample_mesh(members: Mapping[str, memoryview]) -> "Trimesh | None":
    """The true surface as a trimesh.Trimesh, or None; ArchiveError for a damaged one."""
    if "mesh.ply" not in members:
        return None
    return mesh_of_ply(member(members, "mesh.ply", limit=MESH_BYTES))


def member(members: Mapping[str, memoryview], name: str, *, limit: int) -> bytes:
    if name not in members:
        raise ArchiveError(f"{name}: wanted in the sample; got none")
    if len(members[name]) > limit:
        raise ArchiveError(f"{name}: wanted at most {limit} bytes; got {len(members[name])}")
    return bytes(members[name])


def span_to_entry(span: Span) -> dict:
    entry = {**entry_from_record(span.record), "offset": span.offset, "bytes": span.bytes, "crc32": span.crc32}
    return entry if span.key is None else {**entry, "key": span.key}


def span_from_entry(entry: Mapping, resolution: tuple[int, int], shard: Shard) -> Span:
    """ArchiveError unless the entry is one of an object that `shard` can hold."""
    record = record_from_entry(entry, resolution)
    with reading(f"object {record.name!r}", "offset, bytes, crc32", ArchiveError):
        key = int(entry["key"]) if "key" in entry else None
        span = Span(record, int(entry["offset"]), int(entry["bytes"]), int(entry["crc32"]), key)
    pictures = record.views * (picture_limit(*resolution) + CAMERA_BYTES + 2 * BLOCK)
    limit = pictures + MESH_BYTES + 2 * TEXT_BYTES
    if not (span.offset >= 0 and 0 < span.bytes <= limit and span.offset + span.bytes <= shard.bytes):
        raise ArchiveError(f"object {record.name!r}: wanted within its shard; got {span.bytes} bytes at {span.offset}")
    return span
