"""How far long work is: a bar, or a line now and then."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from time import monotonic
from typing import TypeVar

from rich.console import Console

Item = TypeVar("Item")
Advance = Callable[[float, str], None]
Watcher = Callable[[str, float], str]

FIRST_SECONDS, EVERY_SECONDS = 3.0, 15.0  # of plain lines
console = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
watchers: list[Watcher] = []


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Every bar inside tells watcher(title, share) when it begins and advances, and adds its answer to the status."""
    watchers.append(watcher)
    try:
        yield
    finally:
        watchers.remove(watcher)


@contextmanager
def progress_bar(title: str, *, start: float = 0.0, shown: bool = True) -> Iterator[Advance]:
    """Gives advance(share, status): the share of the work that is done, from `start` to 1, and a few words.

    To standard error. Plain lines come after 3 seconds and then every 15, with the last; quick work prints none, and
    what is not `shown` neither.
    """
    if not shown:
        yield lambda share, status: None
        return

    def told(share: float) -> str:
        return "".join(watcher(title, share) for watcher in watchers)

    told(start)
    with drawn_bar(title, start=start) as advance:
        yield lambda share, status: advance(share, status + told(share))


@contextmanager
def drawn_bar(title: str, *, start: float) -> Iterator[Advance]:
    """A bar on a terminal, elsewhere lines."""
    if console.is_terminal:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("{task.fields[status]}", markup=False),
        )
        with Progress(*columns, console=console) as bar:
            row = bar.add_task(title, total=1.0, status="")
            bar.update(row, completed=start)
            yield lambda share, status: bar.update(row, completed=share, status=status)
        return
    began = monotonic()
    due = first = began + FIRST_SECONDS

    def advance(share: float, status: str) -> None:
        nonlocal due
        now = monotonic()
        if now < (due if share < 1 else first):
            return
        gone = now - began
        left = timedelta(seconds=round(gone * (1 - share) / (share - start))) if share > start else "?"
        time = f"{left} left" if share < 1 else f"took {timedelta(seconds=round(gone))}"
        console.print(f"{title}: {share:.0%}, {status}, {time}")
        due = now + EVERY_SECONDS

    yield advance


def track(items: Iterable[Item], title: str, *, total: int, shown: bool = True) -> Iterator[Item]:
    """The `total` items, one after the other, with a `progress_bar` that advances after each."""
    began = monotonic()
    with progress_bar(title, shown=shown) as advance:
        for done, item in enumerate(items, 1):
            yield item
            advance(done / total, f"{done} of {total}, {done / max(monotonic() - began, 1e-9):.1f}/s")
