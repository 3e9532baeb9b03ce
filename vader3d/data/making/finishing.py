"""Parts that are whole become one data set."""

import hashlib
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from vader3d.config import config_from_dict
from vader3d.data.archive.reader import Archive
from vader3d.data.archive.writer import ArchiveWriter
from vader3d.data.dataset import DataSet
from vader3d.data.making.ledger import COMMAND, Ledger, Made, Output, PartNote
from vader3d.data.shards.format import INDEX, Shard, span_from_entry
from vader3d.data.shards.writer import packed_index, packed_spans
from vader3d.data.writer import CopiedObject
from vader3d.files import held, remove_leftovers, write_bytes
from vader3d.untrusted import read_json

NOTES = 8  # of the objects', that a report tells
INDEX_LOCK = "index"  # of who writes one
INDEX_SECONDS = 5.0  # between two indices of what is there so far
OPEN_ARCHIVES = 200


@dataclass
class PrepareReport:
    """What became of the objects; `skipped` and `notes` hold one line each."""

    output: Path
    objects: int = 0
    skipped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    megabytes: float = 0.0

    def __str__(self) -> str:
        lines = [f"{self.output}: {self.objects} objects, {self.megabytes:.1f} MB, {self.seconds:.0f} s"]
        lines += self.notes
        if self.skipped:
            lines.append(f"{len(self.skipped)} skipped:")
            lines += [f"  {line}" for line in self.skipped]
        return "\n".join(lines)


def finish(ledger: Ledger, subsets: Mapping[str, Sequence[str]], copies_of: Sequence[DataSet] = ()) -> PrepareReport:
    """Make the output of parts that are all whole; what is there already is made again, the same to the byte.

    Objects that repeat another are left out. `subsets` name objects. Copies of one data set keep its fingerprint.
    ValueError: there is no object at all.
    """
    output, notes = ledger.output, [ledger.note(number) for number in range(ledger.parts)]
    kept, skipped = without_repeats(notes)
    report = PrepareReport(output.path, skipped=[f"{name}: {why}" for _, name, why in sorted(skipped)])
    if not kept:
        reasons = "\n  ".join(report.skipped[:5])
        count = len(report.skipped)
        raise ValueError(f"{output.path}: wanted at least 1 usable object; got none of {count}:\n  {reasons}")
    if output.in_shards:
        order = [(0, number, place, made.name) for (number, place), made in sorted(kept.items())]
    else:
        order = sorted((made.index, number, place, made.name) for (number, place), made in kept.items())
    index = {name: i for i, (*_, name) in enumerate(order)}
    for subset, names in subsets.items():
        if absent := [name for name in names if name not in index]:
            report.notes.append(f"subset {subset}: {len(absent)} names are not there, e.g. {absent[0]}")
    numbers = {subset: [index[n] for n in names if n in index] for subset, names in subsets.items()}
    fingerprint = fingerprint_of(copies_of, [made.index for made in kept.values()], output.quality)
    if output.in_shards:
        report.megabytes = index_all(ledger, notes, kept, numbers, fingerprint) / 1e6
    else:
        places = [(number, place) for _, number, place, _ in order]
        report.megabytes = pack(ledger, places, numbers, fingerprint) / 1e6
    lines = Counter(line for made in kept.values() for line in made.note.splitlines())
    report.notes += [f"{line}: {count} objects" for line, count in lines.most_common(NOTES)]
    report.objects = len(kept)
    return report


def without_repeats(notes: Sequence[PartNote]) -> tuple[dict[tuple[int, int], Made], list[tuple[int, str, str]]]:
    """The objects by part and place in it, and those that are skipped: index, name, why. The first of equals stays."""
    places = {(number, place): made for number, note in enumerate(notes) for place, made in enumerate(note.made)}
    skipped = [(index, name, why) for note in notes for index, name, why in note.skipped]
    kept, names, identities = dict(places), set[str](), dict[str, str]()
    for place, made in sorted(places.items(), key=lambda entry: entry[1].index):
        why = ""
        if made.identity and made.identity in identities:
            why = f"the same as {identities[made.identity]}"
        elif made.name in names:
            why = f"name: wanted one that is not taken; got {made.name!r} again"
        if why:
            skipped.append((made.index, made.name, why))
            del kept[place]
        names.add(made.name)
        identities.setdefault(made.identity, made.name)
    return kept, skipped


def fingerprint_of(copies_of: Sequence[DataSet], indices: Iterable[int], quality: int) -> str:
    """That of the one data set that these objects are copied from: a run on it may go on with its copy. Else none."""
    if len(copies_of) != 1:
        return ""
    (data,), kept = copies_of, sorted(indices)
    whole = data if len(kept) == len(data) else data.select(kept)
    return whole.fingerprint if quality == 100 else f"{whole.fingerprint}-quality-{quality}"


def pack(
    ledger: Ledger, order: Sequence[tuple[int, int]], subsets: Mapping[str, Sequence[int]], fingerprint: str
) -> int:
    """Copy the objects into one archive, to the byte; gives its bytes."""

    @lru_cache(OPEN_ARCHIVES)
    def opened(number: int) -> Archive:
        return Archive(ledger.path(number, ".zip"))

    with ArchiveWriter(ledger.output.path, **ledger.output.settings) as writer:
        for number, place in order:
            part = opened(number)
            writer.add(CopiedObject(part.records[place], part.members(place)))
        writer.set_subsets(subsets)
        writer.fingerprint = fingerprint
    opened.cache_clear()
    return writer.bytes


def index_all(
    ledger: Ledger,
    notes: Sequence[PartNote],
    kept: Mapping[tuple[int, int], Made],
    subsets: Mapping[str, Sequence[int]],
    fingerprint: str,
) -> int:
    """Write the index of all shards; gives their bytes."""
    output = ledger.output
    shards = []
    with held(ledger.folder, INDEX_LOCK, wait=True):  # else one of what is there so far may come last
        remove_leftovers(output.path)
        for number, note in enumerate(notes):
            if note.shard is None:
                continue
            shard = config_from_dict(Shard, note.shard)
            places = [place for place in range(len(note.made)) if (number, place) in kept]
            if len(places) < len(note.made):
                shard = without_others(output, shard, places)
            if shard.objects:
                shards.append(shard)
        write_index(ledger, shards, subsets=subsets, fingerprint=fingerprint, whole=True)
    return sum(shard.bytes for shard in shards)


def without_others(output: Output, shard: Shard, places: Sequence[int]) -> Shard:
    """A shard whose index has only the objects at `places`; the others' bytes stay, of use to nobody."""
    path = output.path / shard.index_file
    spans = [span_from_entry(entry, output.resolution, shard) for entry in read_json(path)["objects"]]
    if len(spans) > len(places):
        data = packed_spans([spans[place] for place in places])
        write_bytes(path, data)
    else:  # done by one who died before all was
        data = path.read_bytes()
    return replace(shard, objects=len(places), index_sha256=hashlib.sha256(data).hexdigest())


def write_index(
    ledger: Ledger,
    shards: Sequence[Shard],
    *,
    subsets: Mapping[str, Sequence[int]] = MappingProxyType({}),
    fingerprint: str = "",
    whole: bool,
) -> None:
    """The index of these shards, in the order of their files; whole: no more are to come.

    fingerprint: default: one of the shards' contents.
    """
    output, first = ledger.output, 0
    numbered = []
    for shard in sorted(shards, key=lambda shard: shard.file):
        numbered.append(replace(shard, first=first))
        first += shard.objects
    contents = " ".join(f"{each.sha256} {each.index_sha256}" for each in numbered)
    data = packed_index(
        numbered,
        **output.settings,
        fingerprint=fingerprint or hashlib.sha256(contents.encode()).hexdigest(),
        subsets=subsets,
        more={"whole": whole, COMMAND: ledger.digest},
    )
    write_bytes(output.path / INDEX, data)


def index_so_far(ledger: Ledger) -> None:
    """Let readers have the shards that are whole; seldom, and unless others are at it."""
    output, path = ledger.output, ledger.output.path / INDEX
    if not output.in_shards:
        return
    try:
        with held(ledger.folder, INDEX_LOCK):
            remove_leftovers(output.path, path.stem)
            if path.exists() and time.time() - path.stat().st_mtime < INDEX_SECONDS:
                return
            known: dict[str, Any] = read_json(path) if path.exists() else {"whole": False, "shards": []}
            if known.get("whole", True):
                return
            shards = [config_from_dict(Shard, entry) for entry in known["shards"]]
            there = {shard.file for shard in shards}
            for number in range(ledger.parts):
                if f"shard-{number:06d}.tar" not in there and ledger.is_done(number):
                    note = ledger.note(number)
                    shards += [config_from_dict(Shard, note.shard)] if note.shard else []
            if len(shards) > len(there):
                write_index(ledger, shards, whole=False)
    except (ValueError, FileNotFoundError):  # others are
        return
