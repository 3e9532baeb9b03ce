"""Many objects into one archive: in parallel, with progress, past broken ones."""

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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vader3d.data.archive.format import ArchiveError
from vader3d.data.archive.writer import ArchiveWriter
from vader3d.geometry.cameras import Cameras
from vader3d.progress import track


class Job(NamedTuple):
    """One object to come: `make(*arguments)` returns it; both are picklable."""

    name: str
    make: Callable[..., "PreparedObject"]
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class PreparedObject:
    """One object as an archive takes it; equal `identity`, if any, marks two as the same; the report quotes `note`."""

    name: str
    caption: str
    pictures: np.ndarray
    cameras: Cameras
    category: str = ""
    tags: tuple[str, ...] = ()
    creator: str = ""
    licence: str = ""
    source: str = ""
    mesh: Any = None
    identity: str = ""
    note: str = ""


Result = tuple[Job, PreparedObject | Exception]


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


def write_archive(
    output: Path,
    jobs: Sequence[Job],
    *,
    title: str,
    resolution: tuple[int, int],
    quality: int = 100,
    processes: int = 2,
    subsets: Mapping[str, Sequence[str]] | None = None,
) -> PrepareReport:
    """Make every job's object and write them, in order, to one archive.

    An object that cannot be made or that repeats another is skipped and reported; ValueError when none remains.
    `subsets` name objects; names that are not there are noted.
    """
    started, report = time.monotonic(), PrepareReport(Path(output))
    seen: dict[str, str] = {}
    notes: Counter[str] = Counter()
    making = closing(_results(jobs, processes))
    with ArchiveWriter(output, title=title, resolution=resolution, quality=quality) as writer, making as results:
        for job, result in track(results, Path(output).name, total=len(jobs)):
            if isinstance(result, PreparedObject) and result.identity and result.identity in seen:
                result = ValueError(f"the same as {seen[result.identity]}")
            try:
                if isinstance(result, Exception):
                    raise result
                writer.add(
                    result.name,
                    result.caption,
                    result.pictures,
                    result.cameras,
                    category=result.category,
                    tags=result.tags,
                    creator=result.creator,
                    licence=result.licence,
                    source=result.source,
                    mesh=result.mesh,
                )
                seen[result.identity] = result.name
                notes[result.note] += 1
            except ArchiveError:
                raise
            except ValueError as error:
                report.skipped.append(f"{job.name}: {error}")
        if not writer.records:
            raise ValueError(
                f"{output}: none of {len(jobs)} objects can be used:\n  " + "\n  ".join(report.skipped[:5])
            )
        index = {record.name: i for i, record in enumerate(writer.records)}
        for subset, names in (subsets or {}).items():
            if absent := [name for name in names if name not in index]:
                report.notes.append(f"subset {subset}: {len(absent)} names are not there, e.g. {absent[0]}")
        writer.set_subsets({s: [index[n] for n in names if n in index] for s, names in (subsets or {}).items()})
    report.notes += [f"{note}: {count} objects" for note, count in notes.most_common(3) if note]
    report.objects, report.seconds = len(writer.records), time.monotonic() - started
    report.megabytes = Path(output).stat().st_size / 1e6
    return report


def _results(jobs: Sequence[Job], processes: int) -> Generator[Result, None, None]:
    """Jobs with their results in order, a few made ahead."""
    if processes <= 1 or len(jobs) < 2:
        for job in jobs:
            yield job, _attempt(job)
        return
    pool = ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn"), initializer=_start_worker)
    try:
        ahead: deque[tuple[Job, Future]] = deque()
        for job in jobs:
            ahead.append((job, pool.submit(_attempt, job)))
            if len(ahead) > 2 * processes:
                oldest, future = ahead.popleft()
                yield oldest, future.result()
        for oldest, future in ahead:
            yield oldest, future.result()
    except BrokenProcessPool as error:
        raise ChildProcessError("a worker process died (out of memory?); try again with --processes 1") from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    import torch

    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle


def _end_with_parent() -> None:
    """A killed parent cannot tell its workers to stop."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _attempt(job: Job) -> PreparedObject | Exception:
    try:
        return job.make(*job.arguments)
    except Exception as error:  # readers of foreign files raise whatever they meet; one object must not stop the rest
        return ValueError(str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}")
