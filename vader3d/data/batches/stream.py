"""Batches of posed views streamed from shards."""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import torch
from torch import Tensor

from vader3d.data.archive.format import ArchiveError, ObjectViews
from vader3d.data.batches.order import StreamOrder, Window, drawn_views
from vader3d.data.batches.views import EVERY_PIXEL, Picked, Pixels, PosedViews, ViewBatch, Views, view_batch
from vader3d.data.dataset import DataSet
from vader3d.data.shards.reader import Shards
from vader3d.machine import CPU
from vader3d.randomness import seeded

BUFFER_OBJECTS = 4096
BATCHES_AHEAD = 3
SUBSTITUTES = 100  # tried for an object that cannot be read, before the data set is given up


class Request(NamedTuple):
    """What one place of a training batch asks for; it decides all of the answer."""

    position: int
    batch: int
    views: int
    seed: int


class StreamedViews:
    """Some views of all objects of shards, as `PosedViews` gives them, in memory of `buffer` objects.

    Reads compressed objects a window at a time (see `StreamOrder`) and decodes what the next batches need, both in
    `threads` of their own; with several processes, each reads its own share of every batch only. What a batch holds
    depends on its place in the endless order, never on what was read before, so training goes on anywhere. A data set
    of at most `buffer` objects is kept once read. Of an object that cannot be read `report` is told once, `broken` has
    it, and another one, drawn by the seed, takes its place.
    """

    def __init__(
        self,
        shards: Shards,
        choose_views: Callable[[int], list[int]],
        *,
        buffer: int = BUFFER_OBJECTS,
        threads: int | None = None,
        report: Callable[[str], None] = lambda what: None,
    ):
        """choose_views: view count -> view numbers, e.g. `training_views`. ValueError for a selection of objects."""
        if shards.selected:
            raise ValueError(f"{shards.path}: wanted all objects; got a selection; pack it into shards of its own")
        if buffer < 1:
            raise ValueError(f"buffer: wanted at least 1 object; got {buffer}")
        self.archive, self.choose_views, self.report = shards, choose_views, report
        self.order = StreamOrder([shard.objects for shard in shards.shards], buffer=buffer)
        self.broken: dict[int, str] = {}
        self._lock, self._lock_of_reports = threading.Lock(), threading.Lock()
        threads = threads or min(16, os.cpu_count() or 1)
        self._decoders = ThreadPoolExecutor(threads, "decode")
        self._readers = ThreadPoolExecutor(max(4, threads), "read")  # apart: a decoder waits for a reader
        self._windows: dict[tuple[Window, int, int], Future[dict[int, bytes]]] = {}
        self._held: dict[int, bytes] = {}  # of a data set that fits into the buffer
        self._ahead: dict[Request, Future[tuple[int, ObjectViews]]] = {}

    def __len__(self) -> int:
        return len(self.archive)

    def view_count(self, index: int) -> int:
        """How many views of an object there are."""
        return len(self.choose_views(self.archive.records[index].views))

    def readable(self, objects: Tensor) -> Tensor:
        """Those of `objects` whose pictures can be read: tries it."""
        return objects[list(self._decoders.map(self._is_readable, objects.tolist()))]

    def views_of(self, objects: Tensor, numbers: Tensor) -> ViewBatch:
        """The views `numbers` [B, V] of `objects` [B], read on the spot; ArchiveError where one cannot be."""
        rows = zip(objects.tolist(), numbers.tolist(), strict=True)
        picked = self._decoders.map(lambda row: self._picked(*row), rows)
        return view_batch(objects, [all_of(views) for views in picked])

    def training_batch(
        self,
        *,
        objects_seen: int,
        batch: int,
        views: int,
        seed: int,
        share: slice = slice(None),
        pixels: Pixels = EVERY_PIXEL,
        device: torch.device = CPU,
    ) -> ViewBatch:
        """As `PosedViews.training_batch`; what follows is read and decoded while the caller computes."""
        with self._lock:
            now: list[Request] = []
            next_ones: list[Request] = []
            for step in range(1 + BATCHES_AHEAD):
                positions = range(objects_seen + step * batch, objects_seen + (step + 1) * batch)[share]
                (next_ones if step else now).extend(Request(position, batch, views, seed) for position in positions)
            self._move_windows([*now, *next_ones])
            futures = {request: self._ahead.get(request) for request in [*now, *next_ones]}
            for request, future in self._ahead.items():
                if request not in futures:
                    future.cancel()
            self._ahead = {r: future or self._decoders.submit(self._answer, r) for r, future in futures.items()}
            answers = [self._ahead[request] for request in now]
        picked = [answer.result() for answer in answers]
        objects = torch.tensor([index for index, _ in picked])
        return view_batch(objects, [all_of(views) for _, views in picked], pixels, device)

    def _move_windows(self, requests: Sequence[Request]) -> None:
        """Hold the windows that the requests need and, from half of each on, the one after; let go of others."""
        if self.order.whole:
            return
        needed: dict[tuple[Window, int, int], None] = {}
        for request in requests:
            half = request.batch * (self.order.window_length(request.batch) // 2)
            for position in (request.position, request.position + half):
                needed[self._window_key(request._replace(position=position))] = None
        for key in self._windows.keys() - needed.keys():
            self._windows.pop(key).cancel()
        for key in needed:
            if key not in self._windows:
                self._windows[key] = self._readers.submit(self._read_window, *key)

    def _window_key(self, request: Request) -> tuple[Window, int, int]:
        return self.order.place(request.position, batch=request.batch)[0], request.batch, request.seed

    def _read_window(self, window: Window, batch: int, seed: int) -> dict[int, bytes]:
        """The stretches of a window's objects; one request a shard."""
        samples: dict[int, bytes] = {}
        stretches: dict[int, list[int]] = {}
        for number in sorted(self.order.window_objects(window, batch, seed).tolist()):
            try:
                stretches.setdefault(self.archive.span(number)[0].first, []).append(number)
            except ArchiveError:
                samples[number] = b""  # its shard's index is damaged; decoding it says so
        for numbers in stretches.values():
            samples |= self.archive.read_samples(numbers)
        return samples

    def _answer(self, request: Request) -> tuple[int, ObjectViews]:
        """The object of a place with its drawn views; a substitute where it cannot be read."""
        position, batch, views, seed = request
        index = int(self.order.objects([position], batch=batch, seed=seed))
        generator = seeded(seed, position, 2)
        for _ in range(SUBSTITUTES):
            if index not in self.broken:
                try:
                    numbers = drawn_views(self.view_count(index), views, position=position, seed=seed)
                    return index, self._picked(index, numbers, self._sample(index, request))
                except ArchiveError as error:
                    self._note_broken(index, error)
            index = int(torch.randint(len(self), (1,), generator=generator))
        raise ArchiveError(
            f"{self.archive.path}: wanted a readable object; got none in {SUBSTITUTES} random draws; "
            f"{len(self.broken)} are broken, e.g.: {next(iter(self.broken.values()))}"
        )

    def _sample(self, index: int, request: Request) -> bytes:
        if self.order.whole:
            if index not in self._held:
                self._held[index] = self.archive.read_sample(index)
            return self._held[index]
        window = self._windows.get(self._window_key(request))
        samples = window.result() if window is not None else {}
        return samples[index] if index in samples else self.archive.read_sample(index)

    def _picked(self, index: int, numbers: Sequence[int], sample: bytes | None = None) -> ObjectViews:
        """The views `numbers` of an object; ArchiveError where they cannot be read."""
        if sample is None:
            sample = self._held.get(index) or self.archive.read_sample(index)
        chosen = self.choose_views(self.archive.records[index].views)
        return self.archive.views_from(index, sample, [chosen[number] for number in numbers])

    def _is_readable(self, index: int) -> bool:
        try:
            self._picked(index, [0])
        except ArchiveError as error:
            self._note_broken(index, error)
            return False
        return True

    def _note_broken(self, index: int, error: ArchiveError) -> None:
        with self._lock_of_reports:
            known = index in self.broken
            self.broken[index] = str(error)
        if not known:
            self.report(f"skipped: {error}")


def all_of(views: ObjectViews) -> Picked:
    return Picked(views, [*range(len(views.pictures))])


def open_views(
    archive: DataSet,
    choose_views: Callable[[int], list[int]],
    *,
    buffer: int = BUFFER_OBJECTS,
    report: Callable[[str], None] = lambda what: None,
) -> Views:
    """Views of an archive, kept as `read_kept` keeps them, or of shards, streamed."""
    if isinstance(archive, Shards) and not archive.selected:
        return StreamedViews(archive, choose_views, buffer=buffer, report=report)
    return PosedViews(archive, choose_views)
