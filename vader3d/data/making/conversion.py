"""Many objects into one data set, in parallel, past broken ones."""

import multiprocessing
import os
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from vader3d.captions import CaptionFile, joined, read_captions
from vader3d.data.archive.writer import ArchiveWriter
from vader3d.data.dataset import DataSet
from vader3d.data.shards.writer import ShardWriter
from vader3d.data.writer import PreparedObject, Writer
from vader3d.progress import track
from vader3d.untrusted import reason_of


class Job(NamedTuple):
    """One object to come: `make(*arguments)` returns it; both are picklable."""

    name: str
    make: Callable[..., PreparedObject]
    arguments: tuple[Any, ...]


Result = tuple[Job, PreparedObject | Exception]
DEADLY = ValueError("process: wanted it to make the object; got its death (out of memory?)")
NOTES = 8  # of the objects', that a report tells
DEADLY_OBJECTS = 8  # are skipped, before the machine is taken to be at fault


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


def check_output(output: Path, data: DataSet) -> None:
    """ValueError where a copy of `data` would take its place."""
    if not isinstance(data.path, str) and output.exists() and output.resolve() == data.path.resolve():
        raise ValueError(f"output: wanted another file than the data's; got {output}; choose a new name")


def open_writer(
    output: Path, *, title: str, resolution: tuple[int, int], quality: int = 100, objects_per_shard: int | None = None
) -> Writer:
    """Of the archive `output`, or of shards in the folder `output` where it is said how many objects each holds."""
    if objects_per_shard is None:
        return ArchiveWriter(output, title=title, resolution=resolution, quality=quality)
    return ShardWriter(output, title=title, resolution=resolution, quality=quality, objects_per_shard=objects_per_shard)


def convert(
    jobs: Sequence[Job],
    writer: Writer,
    *,
    processes: int = 2,
    subsets: Mapping[str, Sequence[str]] | None = None,
    captions: Path | None = None,
    beside: Sequence[Path] = (),
) -> PrepareReport:
    """Make every job's object, write them in order, and publish what `writer` wrote.

    An object that cannot be made or that repeats another is skipped and reported; ValueError when none remains.
    `subsets` name objects; names that are not there are noted. What a file of `captions` says of an object comes before
    what it has (`read_captions`); so does what the files `beside` the objects say, of which one that cannot be read is
    noted.
    """
    started, report = time.monotonic(), PrepareReport(writer.path)
    names_by_identity: dict[str, str] = {}
    notes: Counter[str] = Counter()
    with writer, closing(made_objects(jobs, processes)) as results:
        said = [read_captions(captions)] if captions is not None else []
        for path in beside:
            try:
                said.append(read_captions(path))
            except ValueError as error:
                report.notes.append(f"captions not read: {error}")
        for job, result in track(results, writer.path.name, total=len(jobs)):
            try:
                if isinstance(result, Exception):
                    raise result
                if result.identity and result.identity in names_by_identity:
                    report.skipped.append(f"{job.name}: the same as {names_by_identity[result.identity]}")
                    continue
                writer.add(captioned(result, said))
                names_by_identity[result.identity] = result.record.name
                notes.update(result.note.splitlines())
            except ValueError as error:
                report.skipped.append(f"{job.name}: {error}")
        if not writer.records:
            reasons = "\n  ".join(report.skipped[:5])
            raise ValueError(f"{writer.path}: wanted at least 1 usable object; got none of {len(jobs)}:\n  {reasons}")
        index = {record.name: i for i, record in enumerate(writer.records)}
        for subset, names in (subsets or {}).items():
            if absent := [name for name in names if name not in index]:
                report.notes.append(f"subset {subset}: {len(absent)} names are not there, e.g. {absent[0]}")
        writer.set_subsets({s: [index[n] for n in names if n in index] for s, names in (subsets or {}).items()})
    report.notes += [note for file in said for note in file.notes()]
    report.notes += [f"{note}: {count} objects" for note, count in notes.most_common(NOTES)]
    report.objects, report.seconds = len(writer.records), time.monotonic() - started
    report.megabytes = writer.bytes / 1e6
    return report


def captioned(prepared: PreparedObject, said: Sequence[CaptionFile]) -> PreparedObject:
    record = prepared.record
    captions = record.captions
    for file in reversed(said):
        captions = joined(file.of(record.name), captions)
    return replace(prepared, record=replace(record, captions=captions))


def made_objects(jobs: Sequence[Job], processes: int) -> Generator[Result, None, None]:
    """Jobs with their results in order, a few made ahead."""
    if processes <= 1 or len(jobs) < 2:
        for job in jobs:
            yield job, attempt(job)
        return
    waiting, ahead, deadly = deque(jobs), deque[tuple[Job, Future]](), 0
    pool = started_pool(processes)
    try:
        while waiting or ahead:
            try:
                while waiting and len(ahead) <= 2 * processes:
                    ahead.append((waiting[0], pool.submit(attempt, waiting[0])))
                    waiting.popleft()
                result = ahead[0][1].result()
            except BrokenProcessPool:  # a worker died, nobody knows of which object
                pool.shutdown(wait=True, cancel_futures=True)
                for job, result in attempts_alone([job for job, _ in ahead]):
                    deadly += result is DEADLY
                    if deadly > DEADLY_OBJECTS:
                        raise ChildProcessError(
                            f"processes: wanted all to live; got {deadly} that died (out of memory?); "
                            "try again with --processes 1"
                        ) from None
                    yield job, result
                ahead.clear()
                pool = started_pool(processes)
                continue
            yield ahead.popleft()[0], result
    except BaseException:  # whoever is stopped has files to delete first; workers that are just starting take seconds
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def started_pool(processes: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn"), initializer=start_worker)


def attempts_alone(jobs: Sequence[Job]) -> Generator[Result, None, None]:
    """Jobs with their results, one after the other in a process apart; `DEADLY` where it dies of one."""
    pool = started_pool(1)
    try:
        for job in jobs:
            try:
                result = pool.submit(attempt, job).result()
            except BrokenProcessPool:
                pool.shutdown()
                pool, result = started_pool(1), DEADLY
            yield job, result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def start_worker() -> None:
    import torch

    torch.set_num_threads(1)
    threading.Thread(target=end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle


def end_with_parent() -> None:
    """A killed parent cannot tell its workers to stop."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def attempt(job: Job) -> PreparedObject | Exception:
    try:
        return job.make(*job.arguments)
    except Exception as error:  # readers of foreign files raise whatever they meet; one object must not stop the rest
        return ValueError(reason_of(error))
