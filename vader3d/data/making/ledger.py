"""Notes on which parts of a data set are made, shared by all commands.

`OUTPUT.parts/`: `ledger.json` says of what command it is. An object belongs to the part that its name's hash says, a
copied one to that of its neighbours. Who makes a part holds it (`files.held`: a lock with signs of life, so that others
take over what a dead one held); what it made lies under a temporary name until it is whole; `part-000012.json`, written
last, says that it is, and tells of each of its objects. Its pictures lie beside it, in a small archive that the whole
one is packed from, or they are a shard of the output already. `part-000012.deaths.jsonl` has the objects that processes
died of.
"""

import hashlib
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from vader3d.captions import Caption
from vader3d.data.archive.format import check_quality
from vader3d.data.archive.reader import Archive
from vader3d.data.archive.writer import ArchiveWriter
from vader3d.data.dataset import DataSet
from vader3d.data.making.crew import DEATHS, Death, Job
from vader3d.data.making.work import Limits
from vader3d.data.shards.format import INDEX
from vader3d.data.shards.reader import Shards
from vader3d.data.shards.writer import check_empty, check_folder
from vader3d.files import discard, held, write_text, writing
from vader3d.untrusted import read_json, reading

LEDGER, FINISHED, DOING = "ledger.json", "finished.json", ".doing"
COMMAND = "command"  # in the index of shards: the digest of what made them
PARTS, OBJECTS_PER_PART = 256, 64  # of an archive
ADDRESS = re.compile(r" at 0x[0-9a-f]+")


class Output(NamedTuple):
    """What is to be written: the archive `path`, or shards in the folder `path`, of about so many objects each."""

    path: Path
    title: str
    resolution: tuple[int, int]
    quality: int = 100
    objects_per_shard: int | None = None

    @property
    def in_shards(self) -> bool:
        return self.objects_per_shard is not None

    def read(self) -> DataSet:
        """What was written."""
        return Shards(self.path) if self.in_shards else Archive(self.path)

    @property
    def settings(self) -> dict[str, Any]:
        """What its writers are told."""
        return {"title": self.title, "resolution": self.resolution, "quality": self.quality}

    @property
    def parts(self) -> Path:
        return self.path.with_name(f"{self.path.name}.parts")


class Item(NamedTuple):
    """A job, its number among all, and captions that come before those it has."""

    number: int
    job: Job
    captions: tuple[Caption, ...] = ()


@dataclass(frozen=True)
class Made:
    """What a part's note says of an object. Equal `identity`, if any: it looks the same."""

    index: int
    name: str
    identity: str = ""
    note: str = ""


@dataclass
class PartNote:
    """What became of a part's objects; `shard` is its line in the index of shards."""

    made: list[Made] = field(default_factory=list)
    skipped: list[tuple[int, str, str]] = field(default_factory=list)  # index, name, why
    shard: dict[str, Any] | None = None
    seconds: float = 0.0
    finished: float = 0.0
    host: str = ""


@dataclass(frozen=True)
class Ledger:
    """The notes about one output; picklable, so that a process anywhere can make a part of it.

    `digest` is equal for commands that make the same (`digest_of`). `block`: a part is so many objects, one after the
    other; None: those whose names' hashes say so.
    """

    output: Output
    parts: int
    limits: Limits = Limits()  # noqa: RUF009 (a constant)
    digest: str = ""
    block: int | None = None

    @property
    def folder(self) -> Path:
        return self.output.parts

    def path(self, number: int, suffix: str = ".json") -> Path:
        return self.folder / f"part-{number:06d}{suffix}"

    def is_done(self, number: int) -> bool:
        return self.path(number).exists()

    @property
    def is_ended(self) -> bool:
        """Whether no part is wanted any more.

        Whoever misses a part's note asks this next: `forget` deletes the notes first, then what is asked last.
        """
        return (self.folder / FINISHED).exists() or not (self.folder / LEDGER).exists()

    def left(self, first: int) -> list[int]:
        """The parts that are not whole, from the part `first` on and round; none where the whole is."""
        if self.is_ended:
            return []
        return [number for number in [*range(first, self.parts), *range(first)] if not self.is_done(number)]

    def note(self, number: int) -> PartNote:
        with reading(self.path(number), "a part's note; delete its folder"):
            values = read_json(self.path(number))
            made = [Made(**each) for each in values.pop("made")]
            return PartNote(made, **values)

    def shared(self, items: Sequence[Item]) -> list[list[Item]]:
        """The items of each part."""
        shares: list[list[Item]] = [[] for _ in range(self.parts)]
        for item in items:
            shares[item.number // self.block if self.block else part_of(item.job.name, self.parts)].append(item)
        return shares

    def begin(self, items: int) -> None:
        """Found the ledger, or join in, unless this command's shards are all there.

        ValueError: the folder is another command's, or the output is in use.
        """
        if self.output.in_shards:
            check_folder(self.output.path)
        with held(self.folder.parent, f"{self.folder.name}.begin", wait=True):
            if (self.folder / LEDGER).exists():
                if read_json(self.folder / LEDGER).get("digest") != self.digest:
                    raise ValueError(
                        f"{self.folder}: wanted the parts of this command; got those of another; let that go on, or "
                        "delete the folder"
                    )
                return
            if self.has_shards:
                return
            self.check_output()
            discard(self.folder / FINISHED)  # of one that died as it forgot the rest
            note = {"digest": self.digest, "parts": self.parts, "objects": items, "output": str(self.output.path)}
            write_text(self.folder / LEDGER, json.dumps(note | {"title": self.output.title, "began": time.time()}))

    @property
    def has_shards(self) -> bool:
        """Whether this command has ended before, and its shards still lie there."""
        if not self.output.in_shards:
            return False
        with suppress(OSError, ValueError, AttributeError):
            index = read_json(self.output.path / INDEX)
            return index.get("whole") is True and index.get(COMMAND) == self.digest
        return False

    def check_output(self) -> None:
        """ValueError for a place that cannot be written to, or is being."""
        if self.output.in_shards:
            check_quality(self.output.quality)
            check_empty(self.output.path)
        else:
            ArchiveWriter(self.output.path, **self.output.settings).close()

    def forget(self, *, keep: bool = False) -> None:
        """Delete all of it, or, keep=True, all but the notes; last what says that the whole is there."""
        last = [self.folder / LEDGER, self.folder / FINISHED]
        for path in [*(path for path in self.folder.glob("*") if path not in last), *last]:
            if not (keep and path.suffix == ".json"):
                discard(path)

    def leave(self) -> None:
        """An empty folder goes."""
        with suppress(OSError):
            self.folder.rmdir()

    @property
    def has_objects(self) -> bool:
        done = (number for number in range(self.parts) if self.is_done(number))
        return any(self.note(number).made for number in done)


def part_of(name: str, parts: int) -> int:
    """The same on every machine, whatever else there is."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % parts


def ledger_for(output: Output, items: Sequence[Item], limits: Limits, *, in_order: bool = False) -> Ledger:
    """With as many parts as the shards that are asked for; of an archive as many as keep many processes busy.

    in_order: parts are objects that follow each other, for the items are always the same.
    """
    count, each = len(items), output.objects_per_shard
    if each is not None and each < 1:
        raise ValueError(f"objects_per_shard: wanted at least 1; got {each}")
    parts = max(-(-count // OBJECTS_PER_PART), min(count, PARTS)) if each is None else -(-count // each)
    block = each or -(-count // max(1, parts)) if in_order else None
    return Ledger(output, max(1, parts), limits, digest_of(output, items), block)


def digest_of(output: Output, items: Sequence[Item]) -> str:
    """Equal for commands that make the same; where files lie does not count."""
    digest = hashlib.sha256(repr((output.title, *output[2:])).encode())
    for item in items:
        make = f"{item.job.make.__module__}.{item.job.make.__qualname__}"
        digest.update(repr((item.job.name, make, [*map(plain, item.job.arguments)], item.captions)).encode())
    return digest.hexdigest()


def plain(argument: Any) -> str:
    return "" if isinstance(argument, Path) else ADDRESS.sub("", repr(argument))


class DeathList:
    """What is known of objects that processes died of, for the one who makes the part.

    Of a command that died with an object in its own process nobody knows why: after three times the object is one of
    the `suspects`, which are made in processes apart.
    """

    def __init__(self, ledger: Ledger, number: int):
        self.path, self.doing = ledger.path(number, ".deaths.jsonl"), ledger.path(number, DOING)
        self.lock = threading.Lock()
        self.counts: Counter[str] = Counter()
        self.commands: Counter[str] = Counter()
        self.last: dict[str, str] = {}
        if self.path.exists():
            for line in self.path.read_text("utf-8").splitlines():
                with suppress(ValueError):  # a last line that a kill cut short
                    self.count(**json.loads(line))
        if self.doing.exists():
            self.note(self.doing.read_text("utf-8"), Death("the whole command died", ""), apart=False)
            discard(self.doing)

    def count(self, name: str, reason: str, log: str, apart: bool) -> None:
        (self.counts if apart else self.commands)[name] += 1
        self.last[name] = f"{reason}, {DEATHS} times" + (f": {log}" if log else "")

    def note(self, name: str, death: Death, *, apart: bool = True) -> None:
        entry = {"name": name, **death._asdict(), "apart": apart}
        with self.lock, writing(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        self.count(**entry)

    @property
    def suspects(self) -> set[str]:
        return {name for name, count in self.commands.items() if count >= DEATHS}

    def of(self, name: str) -> Callable[[Death | None], str]:
        """Notes a death of an object's process; gives why the object is given up, or nothing."""

        def deaths(death: Death | None) -> str:
            if death is not None:
                self.note(name, death)
            return self.last[name] if self.counts[name] >= DEATHS else ""

        return deaths
