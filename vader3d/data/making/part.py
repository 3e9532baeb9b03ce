"""Makes one part of a data set, wherever it is called."""

import json
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path

from vader3d.captions import joined
from vader3d.data.archive.writer import ArchiveWriter
from vader3d.data.making.crew import Crew, Here, Result, Threads
from vader3d.data.making.finishing import index_so_far
from vader3d.data.making.ledger import DOING, DeathList, Item, Ledger, Made, PartNote
from vader3d.data.making.work import Limits
from vader3d.data.shards.writer import PartWriter
from vader3d.data.writer import Writer
from vader3d.files import WATCH_SECONDS, changed, discard, held, note_in, this_machine, write_text, writing

Workers = Crew | Threads | Here
SEEN: dict[Path, tuple[int | None, float]] = {}  # locks: when they last changed, and when we saw that first
OWN = threading.local()  # the crew of a thread of another engine's worker


def make_part(
    ledger: Ledger, number: int, items: Sequence[Item], workers: Workers | None = None, ahead: int = 2
) -> bool:
    """Make a part, if nobody does: whether it is whole now. workers: default: a process of this thread's own.

    ahead: so many objects are being made, or wait to be written.
    """
    if ledger.is_done(number):
        return True
    if not can_be_taken(ledger.folder / f".part-{number:06d}.lock"):
        return False
    if workers is None:
        if getattr(OWN, "limits", None) != ledger.limits:
            OWN.crew, OWN.limits = Crew(1, ledger.limits), ledger.limits
        workers = OWN.crew
    with ExitStack() as hold:
        try:
            hold.enter_context(held(ledger.folder, f"part-{number:06d}"))
        except (ValueError, FileNotFoundError):  # others were quicker, or the whole has just been ended
            return False
        if ledger.is_done(number) or ledger.is_ended:
            return True
        started = time.monotonic()
        note = written(ledger, number, items, workers, ahead)
        note.seconds, note.finished, note.host = time.monotonic() - started, time.time(), socket.gethostname()
        write_text(ledger.path(number), json.dumps(asdict(note), ensure_ascii=False))
        discard(ledger.path(number, DOING))
    index_so_far(ledger)
    return True


def can_be_taken(lock: Path) -> bool:
    """Whether it is worth a try to hold a part: nobody holds it, or who did gave no sign of life for long.

    Ages are told by our own clock, for machines' clocks differ.
    """
    now = changed(lock)
    if now is None or note_in(lock).get("machine") == this_machine():  # here the operating system knows
        return True
    before, since = SEEN.setdefault(lock, (now, time.monotonic()))
    if before != now:
        SEEN[lock] = (now, time.monotonic())
        return False
    return time.monotonic() - since > WATCH_SECONDS


def written(ledger: Ledger, number: int, items: Sequence[Item], workers: Workers, ahead: int) -> PartNote:
    """Write the objects of a part, whole or not at all; those that cannot be made, or that repeat one, are noted."""
    note, deaths = PartNote(), DeathList(ledger, number)
    identities: dict[str, str] = {}
    writer: Writer | None = None
    try:
        for item, result in results_of(ledger, items, workers, ahead, deaths):
            try:
                if isinstance(result, Exception):
                    raise result
                if result.identity and result.identity in identities:
                    note.skipped.append((item.number, item.job.name, f"the same as {identities[result.identity]}"))
                    continue
                writer = writer or part_writer(ledger, number)
                if isinstance(writer, PartWriter):
                    writer.key = item.number
                record = replace(result.record, captions=joined(item.captions, result.record.captions))
                writer.add(replace(result, record=record))
            except ValueError as error:
                note.skipped.append((item.number, item.job.name, str(error)))
                continue
            identities[result.identity] = record.name
            note.made.append(Made(item.number, record.name, result.identity, result.note))
        if writer is not None and writer.records:
            writer.publish()
            note.shard = asdict(writer.shard) if isinstance(writer, PartWriter) and writer.shard else None
    finally:
        if writer is not None:
            writer.close()
    return note


def results_of(
    ledger: Ledger, items: Sequence[Item], workers: Workers, ahead: int, deaths: DeathList
) -> Iterator[tuple[Item, Result]]:
    """The items in order with what came of them, some made ahead."""
    if isinstance(workers, Here):
        yield from results_here(items, workers, ledger.limits, deaths)
        return
    waiting, begun = deque(items), deque[tuple[Item, "Future[Result]"]]()
    while waiting or begun:
        while waiting and len(begun) < ahead:
            item = waiting.popleft()
            begun.append((item, workers.submit(item.job, deaths.of(item.job.name))))
        item, future = begun.popleft()
        yield item, future.result()


def results_here(
    items: Sequence[Item], workers: Here, limits: Limits, deaths: DeathList
) -> Iterator[tuple[Item, Result]]:
    """The same, one after the other in this process; those that it is suspected to die of in another."""
    for item in items:
        name = item.job.name
        if name in deaths.suspects:
            apart = Crew(1, limits)
            try:
                yield item, apart.submit(item.job, deaths.of(name)).result()
            finally:
                apart.stop()
        else:
            with writing(deaths.doing):
                deaths.doing.write_text(name, "utf-8")
            yield item, workers.submit(item.job, deaths.of(name)).result()


def part_writer(ledger: Ledger, number: int) -> Writer:
    output = ledger.output
    if output.in_shards:
        return PartWriter(output.path, number, **output.settings)
    return ArchiveWriter(ledger.path(number, ".zip"), **output.settings)
