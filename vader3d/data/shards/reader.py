"""Data sets in tar shards, local or remote, read a stretch at a time."""

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from vader3d.config import config_from_dict
from vader3d.data.archive.format import (
    MANIFEST_BYTES,
    ArchiveError,
    ObjectRecord,
    ObjectViews,
    check_name,
    check_resolution,
    check_subsets,
    check_version,
    unknown_subset,
)
from vader3d.data.shards.format import (
    FORMAT,
    INDEX,
    VERSION,
    Shard,
    Span,
    sample_from_tar,
    sample_mesh,
    sample_views,
    span_from_entry,
)
from vader3d.data.shards.storage import is_url, open_storage
from vader3d.untrusted import parsed_json, reading

if TYPE_CHECKING:
    from trimesh import Trimesh

INDICES_HELD = 512  # of shards, the last ones used
FIELDS = "format, version, title, resolution, objects, fingerprint, subsets, shards"


class Records(Sequence):
    """The records of a set of shards, each shard's index read when it is first asked for."""

    def __init__(self, shards: "Shards"):
        self.shards = shards

    def __len__(self) -> int:
        return len(self.shards)

    def __getitem__(self, index: int) -> ObjectRecord:  # type: ignore[override]  # no slices
        return self.shards.span(range(len(self))[index])[1].record


class Shards:
    """Objects with their pictures, cameras and captions: used as an `Archive` is; safe to share by threads.

    `place`: a folder or a URL that holds `shards.json`, or that file. Holds the index only, whatever the number of
    objects. `whole` is false while more shards are being made: these are those that were there, and `index` remembers
    them. ArchiveError for what is no set of shards, comes from a newer version, or names files elsewhere.
    """

    def __init__(self, place: str | Path, *, index: bytes | None = None):
        """index: of an earlier time, in place of the one that lies there."""
        self.path = str(place).removesuffix(INDEX).rstrip("/") or "."
        self.storage = open_storage(self.path)
        try:
            data = self.storage.read(INDEX, 0, MANIFEST_BYTES + 1) if index is None else index
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"data: wanted {INDEX} in {self.path}; got none; give a folder or URL of `vader3d prepare shards`"
            ) from error
        with reading(f"{self.path}/{INDEX}", FIELDS, ArchiveError):
            self._take(parsed_json(data))
        self.index = data
        self.records = Records(self)
        self._spans = lru_cache(maxsize=INDICES_HELD)(self._read_spans)
        self._chosen: list[int] | None = None

    def _take(self, index: Mapping) -> None:
        check_version(index, FORMAT, VERSION)
        height, width = map(int, index["resolution"])
        check_resolution(height, width)
        self.resolution: tuple[int, int] = (height, width)
        self.title, self.fingerprint = str(index["title"]), str(index["fingerprint"])
        self.whole = bool(index.get("whole", True))
        self.shards = [config_from_dict(Shard, entry) for entry in index["shards"]]
        objects = 0
        for shard in self.shards:
            check_name(shard.file)
            if not shard.file.endswith(".tar") or shard.first != objects or shard.objects < 1:
                raise ArchiveError(
                    f"{shard.file}: wanted a .tar of objects from {objects} on; got {shard.objects} from {shard.first}"
                )
            objects += shard.objects
        if objects != index["objects"] or not objects:
            raise ArchiveError(f"shards: wanted {index['objects']} objects, above 0; got {objects}")
        self._firsts = [shard.first for shard in self.shards]
        self.subsets: dict[str, tuple[int, ...]] = {name: tuple(chosen) for name, chosen in index["subsets"].items()}
        check_subsets(self.subsets, objects)

    def __len__(self) -> int:
        return len(self._chosen) if self._chosen is not None else self.shards[-1].first + self.shards[-1].objects

    @property
    def selected(self) -> bool:
        """Whether these are some of the objects only, as `select` chose them."""
        return self._chosen is not None

    def subset(self, name: str) -> "Shards":
        """The named selection of the objects."""
        if name not in self.subsets:
            raise unknown_subset(self.path, name, self.subsets)
        return self.select(self.subsets[name])

    def select(self, indices: Iterable[int]) -> "Shards":
        """The objects with these numbers."""
        selection = object.__new__(Shards)
        selection.__dict__.update(self.__dict__)
        selection._chosen = [i if self._chosen is None else self._chosen[i] for i in indices]
        selection.records, selection.subsets = Records(selection), {}
        selection.fingerprint = hashlib.sha256(f"{self.fingerprint} {selection._chosen}".encode()).hexdigest()
        return selection

    def number(self, index: int) -> int:
        """An object's number in the whole set: its key in the shards."""
        if not 0 <= index < len(self):
            raise IndexError(f"object: wanted 0 to {len(self) - 1}; got {index}")
        return index if self._chosen is None else self._chosen[index]

    def span(self, index: int) -> tuple[Shard, Span]:
        """The shard that holds an object, and where in it; ArchiveError where the shard's index is damaged."""
        number = self.number(index)
        at = bisect_right(self._firsts, number) - 1
        return self.shards[at], self._spans(at)[number - self.shards[at].first]

    def read(self, index: int) -> ObjectViews:
        """All pictures and cameras of one object; ArchiveError, with its name, when they are damaged."""
        return self.views_from(index, self.read_sample(index), range(self.span(index)[1].record.views))

    def read_sample(self, index: int) -> bytes:
        """An object's stretch of its shard, unchecked."""
        return self.read_samples([index])[index]

    def read_samples(self, indices: Sequence[int]) -> dict[int, bytes]:
        """The stretches of objects that lie side by side in one shard, in one request; short where the shard ends."""
        spans = {index: self.span(index)[1] for index in indices}
        start = min(span.offset for span in spans.values())
        end = max(span.offset + span.bytes for span in spans.values())
        try:
            data = self.storage.read(self.span(indices[0])[0].file, start, end)
        except FileNotFoundError:
            data = b""
        return {i: data[span.offset - start : span.offset - start + span.bytes] for i, span in spans.items()}

    def views_from(self, index: int, sample: bytes, chosen: Sequence[int]) -> ObjectViews:
        """The `chosen` views of an object from its stretch; ArchiveError, with its name, when they are damaged."""
        shard, span = self.span(index)
        with reading(f"{self.path}/{shard.file}: object {span.record.name!r}", "a whole sample", ArchiveError):
            members = sample_from_tar(sample, self.number(index), span)
            return sample_views(members, span.record, self.resolution, chosen)

    def members(self, index: int) -> list[tuple[str, bytes]]:
        """An object's pictures, cameras and mesh as (extension, contents), as they are; ArchiveError: damaged."""
        (shard, span), sample = self.span(index), self.read_sample(index)
        with reading(f"{self.path}/{shard.file}: object {span.record.name!r}", "a whole sample", ArchiveError):
            members = sample_from_tar(sample, self.number(index), span)
            return [(name, bytes(data)) for name, data in members.items() if name not in ("json", "txt")]

    def true_mesh(self, index: int) -> "Trimesh | None":
        """The object's true surface as a trimesh.Trimesh, or None where the shards know none."""
        (shard, span), sample = self.span(index), self.read_sample(index)
        place = f"{self.path}/{shard.file}: object {span.record.name!r}: mesh.ply"
        with reading(place, "a whole mesh", ArchiveError):
            return sample_mesh(sample_from_tar(sample, self.number(index), span))

    def close(self) -> None:
        """Nothing is held open."""

    def _read_spans(self, at: int) -> list[Span]:
        """Where each sample of a shard lies."""
        shard = self.shards[at]
        name = f"{self.path}/{shard.index_file}"
        try:
            data = self.storage.read(shard.index_file, 0, MANIFEST_BYTES + 1)
        except FileNotFoundError as error:
            raise ArchiveError(f"{name}: wanted for {shard.objects} objects; got none") from error
        if hashlib.sha256(data).hexdigest() != shard.index_sha256:
            raise ArchiveError(f"{name}: wanted the file that was packed, for {shard.objects} objects; got another")
        with reading(name, "objects", ArchiveError):
            entries = parsed_json(data)["objects"]
            if len(entries) != shard.objects:
                raise ArchiveError(f"objects: wanted {shard.objects}; got {len(entries)}")
            return [span_from_entry(entry, self.resolution, shard) for entry in entries]


def of_earlier(place: str | Path, run: Path) -> Shards | None:
    """The shards at `place` that were there when `run` began, where it began before all were."""
    path = run / INDEX
    return Shards(place, index=path.read_bytes()) if path.is_file() else None


def holds_shards(place: str | Path) -> bool:
    """Whether `place` is a URL, an index of shards, or a folder with one."""
    path = Path(place)
    return is_url(place) or path.name == INDEX or (path / INDEX).is_file()
