"""What a data set is to those who read it, wherever it lies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from vader3d.data.archive.format import ArchiveError, ObjectRecord, ObjectViews
from vader3d.machine import CPU, memory_bytes


class DataSet(Protocol):
    """Objects with their pictures, cameras and captions: an `Archive` or `Shards`, or a selection of either.

    An index is an object's place in `records`. `fingerprint` is one of all contents.
    """

    @property
    def path(self) -> Path | str: ...

    @property
    def title(self) -> str: ...

    @property
    def resolution(self) -> tuple[int, int]:
        """(height, width) in px of all pictures."""

    @property
    def fingerprint(self) -> str: ...

    @property
    def records(self) -> Sequence[ObjectRecord]: ...

    @property
    def subsets(self) -> Mapping[str, Sequence[int]]:
        """Named selections."""

    def __len__(self) -> int: ...

    def subset(self, name: str) -> "DataSet":
        """The named selection as a data set of its own; ArchiveError where there is none."""

    def select(self, indices: Sequence[int]) -> "DataSet":
        """The objects with these indices as a data set of its own."""

    def number(self, index: int) -> int:
        """An object's index in the whole set that `path` holds."""

    def read(self, index: int) -> ObjectViews:
        """All pictures and cameras of one object; ArchiveError, with its name, when they are damaged."""

    def true_mesh(self, index: int) -> Any:
        """The true surface as a trimesh.Trimesh, or None where it is not known."""


KEPT_BYTES = max(1 << 30, memory_bytes(CPU) // 4)  # of decoded pictures of one data set


@dataclass
class Kept:
    """Decoded objects by index, and how many bytes their pictures are."""

    views: dict[int, ObjectViews] = field(default_factory=dict)
    bytes: int = 0


KEPT: WeakKeyDictionary[DataSet, Kept] = WeakKeyDictionary()


def read_kept(data: DataSet, index: int) -> ObjectViews:
    """`data.read(index)`, not to be written to: what was read first is kept while the data set is in use.

    Up to a quarter of the memory; what does not fit is decoded each time. Threads may share it.
    """
    kept = KEPT.setdefault(data, Kept())
    if index in kept.views:
        return kept.views[index]
    views = data.read(index)
    if kept.bytes + views.pictures.nbytes <= KEPT_BYTES:
        kept.views[index] = views
        kept.bytes += views.pictures.nbytes
    return views


def usual_views(data: DataSet) -> int:
    """How many the first object has whose record can be read; ArchiveError: there is none."""
    problems = []
    for index in range(len(data)):
        try:
            return data.records[index].views
        except ArchiveError as error:
            problems.append(str(error))
    raise none_readable(data, problems)


def none_readable(data: DataSet, problems: Sequence[str]) -> ArchiveError:
    """The error for a data set of which no object can be read; `problems` has a line about each."""
    return ArchiveError(f"{data.path}: wanted a readable object; got none of {len(data)}; the first: {problems[:1]}")
