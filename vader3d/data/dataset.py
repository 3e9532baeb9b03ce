"""What a data set is to those who read it, wherever it lies."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from vader3d.data.archive.format import ArchiveError, ObjectRecord, ObjectViews


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

    def read(self, index: int) -> ObjectViews:
        """All pictures and cameras of one object; ArchiveError, with its name, when they are damaged."""

    def true_mesh(self, index: int) -> Any:
        """The true surface as a trimesh.Trimesh, or None where it is not known."""


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
