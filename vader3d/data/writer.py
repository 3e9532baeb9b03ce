"""What every writer of objects does, whatever it writes."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vader3d.data.archive.format import (
    ArchiveError,
    ObjectRecord,
    check_cameras,
    check_captions,
    check_name,
    check_pictures,
    check_quality,
    check_resolution,
)
from vader3d.data.dataset import DataSet
from vader3d.geometry.cameras import Cameras


@dataclass(frozen=True)
class PreparedObject:
    """One object as a writer takes it.

    pictures: uint8 [V, H, W, 4], straight alpha; cameras [V], of which all are posed or none; mesh: a trimesh.Trimesh
    in the cameras' world, or None. Equal `identity`, if any, marks two as the same; the report of a conversion quotes
    `note`.
    """

    record: ObjectRecord
    pictures: np.ndarray
    cameras: Cameras
    mesh: Any = None
    identity: str = ""
    note: str = ""


@dataclass(frozen=True)
class CopiedObject:
    """One object of another data set; `files` are a writer's own (`archive_files`, `shard_files`), checked before."""

    record: ObjectRecord
    files: Sequence[Any]
    identity: str = ""
    note: str = ""


def read_object(data: DataSet, index: int) -> PreparedObject:
    """ArchiveError where its pictures cannot be read. A damaged mesh is left out."""
    pictures, cameras = data.read(index)
    try:
        mesh = data.true_mesh(index)
    except ArchiveError:
        mesh = None
    return PreparedObject(data.records[index], pictures, cameras, mesh)


class Writer(ABC):
    """`with ArchiveWriter(path, title=..., resolution=(H, W)) as writer: writer.add(prepared)`.

    What was added is published at the end of a `with` that ended well; an error or Ctrl-C leaves nothing of it, and
    what a kill left is deleted by the next writer. The same objects in the same order give the same bytes. `records`
    has what was added, `bytes` counts what was published. `quality` is WebP's: 100 is lossless, 85-95 are small.
    `fingerprint` may be set while it is open, where all pictures come from a data set that has one.
    """

    def __init__(self, path: str | Path, *, title: str, resolution: tuple[int, int], quality: int):
        check_resolution(*resolution)
        check_quality(quality)
        self.path, self.title, self.resolution, self.quality = Path(path), title, resolution, quality
        self.records: list[ObjectRecord] = []
        self.subsets: dict[str, list[int]] = {}
        self.bytes = 0
        self.names: set[str] = set()
        self.fingerprint = ""

    def add(self, prepared: PreparedObject | CopiedObject) -> int:
        """Append one object and return its index.

        ValueError for a name that is taken or unfit, and for pictures or cameras that no archive may hold.
        """
        record = prepared.record
        if isinstance(prepared, PreparedObject):
            record = replace(record, views=len(prepared.pictures), posed=prepared.cameras.posed)
        check_name(record.name)
        if record.name in self.names:
            raise ValueError(f"name: wanted one that is not taken; got {record.name!r} again")
        check_captions(record.captions)
        if isinstance(prepared, PreparedObject):
            check_pictures(prepared.pictures, *self.resolution)
            check_cameras(prepared.cameras, len(prepared.pictures), posed=record.posed)
        self.write(record, self.files_of(prepared) if isinstance(prepared, PreparedObject) else prepared.files)
        self.records.append(record)
        self.names.add(record.name)
        return len(self.records) - 1

    def set_subsets(self, subsets: Mapping[str, Sequence[int]]) -> None:
        """Name selections of objects, each a list of indices as `add` returned them."""
        for name, indices in subsets.items():
            if wrong := [i for i in indices if not 0 <= i < len(self.records)]:
                raise ValueError(f"subsets: wanted objects below {len(self.records)}; got {wrong[0]} in {name!r}")
        self.subsets = {name: list(indices) for name, indices in subsets.items()}

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                if not self.records:
                    raise ArchiveError(f"{self.path}: wanted at least 1 object; got none; nothing is written")
                self.publish()
        finally:
            self.close()

    @abstractmethod
    def files_of(self, prepared: PreparedObject) -> Sequence[Any]:
        """A checked object's files, as `write` takes them."""

    @abstractmethod
    def write(self, record: ObjectRecord, files: Sequence[Any]) -> None:
        """Take a checked object, whose record has its views, where no reader sees it yet."""

    @abstractmethod
    def publish(self) -> None:
        """Make whole what was written, and readable."""

    @abstractmethod
    def close(self) -> None:
        """Let go of everything; delete what was not published."""
