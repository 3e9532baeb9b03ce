"""Many objects into one data set, by many processes, past broken ones."""

import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, as_completed
from dataclasses import asdict
from pathlib import Path

from vader3d.captions import Caption, CaptionFile, joined, read_captions
from vader3d.data.dataset import DataSet
from vader3d.data.making.crew import Crew, Here, Job, Threads
from vader3d.data.making.engines import engine_of
from vader3d.data.making.finishing import PrepareReport, finish
from vader3d.data.making.ledger import FINISHED, LEDGER, Item, Ledger, Output, ledger_for
from vader3d.data.making.part import Workers, make_part
from vader3d.data.making.work import Work, place_of
from vader3d.files import held, write_text
from vader3d.progress import progress_bar
from vader3d.untrusted import read_json

__all__ = ["Job", "Output", "PrepareReport", "Work", "check_output", "convert"]
ROUND_SECONDS = 1.0  # before what others make is looked at again
FAILURES = 3  # of a cluster, with nothing made meanwhile, before it is given up


def check_output(output: Path, data: DataSet) -> None:
    """ValueError where a copy of `data` would take its place."""
    if not isinstance(data.path, str) and output.exists() and output.resolve() == data.path.resolve():
        raise ValueError(f"output: wanted another file than the data's; got {output}; choose a new name")


def convert(
    jobs: Sequence[Job],
    output: Output,
    *,
    processes: int = 2,
    work: Work | None = None,
    subsets: Mapping[str, Sequence[str]] | None = None,
    captions: Path | None = None,
    beside: Sequence[Path] = (),
    copies_of: Sequence[DataSet] = (),
    in_threads: bool = False,
) -> PrepareReport:
    """Make every job's object and write them all: an archive in the jobs' order, or shards part after part.

    It goes on where the same command was stopped, and shares the parts with others of the same output that run
    meanwhile (`Ledger`). An object that cannot be made, that takes more than `work` allows, that processes die of, or
    that repeats another is skipped and reported; ValueError when none remains. `subsets` name objects; names that are
    not there are noted. What a file of `captions` says of an object comes before what it has (`read_captions`); so does
    what the files `beside` the objects say, of which one that cannot be read is noted. Jobs that are `copies_of` the
    objects of data sets keep their order in shards, too, and of one its fingerprint; jobs that do no more than that may
    be done `in_threads`.
    """
    started, work = time.monotonic(), work or Work()
    said, unread = files_read(captions, beside)
    items = [Item(index, job, captions_of(job.name, said)) for index, job in enumerate(jobs)]
    rank, world = place_of(work)
    ledger = ledger_for(output, items, work.limits, in_order=bool(copies_of))
    ledger.begin(len(items))
    try:
        workers = workers_for(len(items), work, processes, in_threads=in_threads)
        make_all(ledger, items, work, workers, first=rank * ledger.parts // world)
        report = finished(ledger, subsets or {}, copies_of, keep=world > 1)
    except BaseException:
        if not ledger.has_objects:  # nothing to go on from
            ledger.forget()
        raise
    finally:
        ledger.leave()
    report.notes[:0] = unread
    report.notes += [note for file in said for note in file.notes()]
    report.seconds = time.monotonic() - started
    return report


def files_read(captions: Path | None, beside: Sequence[Path]) -> tuple[list[CaptionFile], list[str]]:
    """Files of captions, the first first, and a line about each of those beside the objects that cannot be read."""
    said, unread = [read_captions(captions)] if captions is not None else [], []
    for path in beside:
        try:
            said.append(read_captions(path))
        except ValueError as error:
            unread.append(f"captions not read: {error}")
    return said, unread


def captions_of(name: str, said: Sequence[CaptionFile]) -> tuple[Caption, ...]:
    captions: tuple[Caption, ...] = ()
    for file in reversed(said):
        captions = joined(file.of(name), captions)
    return captions


def workers_for(objects: int, work: Work, processes: int, *, in_threads: bool) -> Workers | None:
    """Who makes so many objects; None: a cluster."""
    if work.is_cluster:
        return None
    if work.is_apart:
        return Crew(processes, work.limits)
    if processes <= 1 or objects < 2:
        return Here()
    return Threads(processes) if in_threads else Crew(processes, work.limits)


def make_all(ledger: Ledger, items: Sequence[Item], work: Work, workers: Workers | None, *, first: int) -> None:
    """Until all parts are whole, make those that nobody else makes, from the part `first` on."""
    shares = ledger.shared(items)
    size = 1 if workers is None else workers.size
    failures, done = 0, 0
    with engine_of(work, size) as engine, progress_bar(ledger.output.path.name) as advance:
        began = time.monotonic()

        def told() -> None:
            nonlocal done
            done += 1
            rate = done / max(time.monotonic() - began, 1e-9)
            advance(min(1.0, (before + done) / len(items)), f"{before + done} of {len(items)}, {rate:.1f}/s")

        try:
            while left := ledger.left(first):
                before = len(items) - sum(len(shares[number]) for number in left) - done
                if workers is not None:
                    workers.told = told
                ahead = 2 * max(1, size // len(left))
                begun = [engine.submit(make_part, ledger, number, shares[number], workers, ahead) for number in left]
                if sum(outcome(part, work) for part in as_completed(begun)):
                    failures = 0
                    continue
                failures += any(part.exception() for part in begun)
                if failures == FAILURES:
                    raise ChildProcessError(f"{work.engine}: wanted workers that live; got {begun[0].exception()}")
                time.sleep(ROUND_SECONDS)
        finally:
            if workers is not None:
                workers.stop()


def outcome(part: "Future[bool]", work: Work) -> bool:
    """Whether a part is whole; the error of one that a cluster could not even try is looked at later."""
    error = part.exception()
    if error is None:
        return part.result()
    if work.is_cluster and type(error).__module__.startswith("distributed"):
        return False
    raise error


def finished(
    ledger: Ledger, subsets: Mapping[str, Sequence[str]], copies_of: Sequence[DataSet], *, keep: bool
) -> PrepareReport:
    """The report of the whole, made by the first who comes here; keep: for those who come late."""
    with held(ledger.folder.parent, f"{ledger.folder.name}.end", wait=True):  # not in there: the folder goes
        if (ledger.folder / FINISHED).exists():
            report = PrepareReport(ledger.output.path, **read_json(ledger.folder / FINISHED))
            if keep:
                report.notes.append(f"it was finished before; to make it anew delete {ledger.folder} first")
            else:
                ledger.forget()
            return report
        if not (ledger.folder / LEDGER).exists():
            path, count = ledger.output.path, len(ledger.output.read())
            return PrepareReport(path, count, notes=[f"it was there; to make it anew delete {path} first"])
        report = finish(ledger, subsets, copies_of)
        values = {name: value for name, value in asdict(report).items() if name != "output"}
        write_text(ledger.folder / FINISHED, json.dumps(values, ensure_ascii=False))
        ledger.forget(keep=keep)
        return report
