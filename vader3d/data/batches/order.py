"""Which object comes at which position of an endless training."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from vader3d.randomness import seeded


@lru_cache(maxsize=4)
def epoch_order(count: int, epoch: int, seed: int) -> Tensor:
    """One shuffle of all objects: epoch, seed -> object numbers [count]."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))


def shuffled_objects(count: int, positions: Sequence[int], *, seed: int) -> Tensor:
    """The objects at `positions` of an endless run of shuffles, each visiting all objects once."""
    places = [divmod(position, count) for position in positions]
    return torch.tensor([int(epoch_order(count, epoch, seed)[place]) for epoch, place in places])


def drawn_views(count: int, views: int, *, position: int, seed: int) -> list[int]:
    """`views` different numbers below `count`; with replacement where there are fewer (docs/paper.md, A22)."""
    generator = seeded(seed, position)
    order = torch.randperm(count, generator=generator)
    extra = torch.randint(count, (max(0, views - count),), generator=generator)
    return torch.cat([order, extra])[:views].tolist()


class Window(NamedTuple):
    """A stretch of one lane that is shuffled, and held in memory, as a whole."""

    epoch: int
    lane: int
    number: int


class StreamOrder:
    """Shuffles of objects that lie in shards, for readers that want long stretches and hold little.

    Every epoch shuffles the shards, joins them to a ring and cuts it, from a random place on, into as many equal lanes
    as a batch has places: place b of a batch draws from lane b, so that processes that share a batch share the shards.
    A lane is read window by window, each shuffled; the windows of all lanes hold `buffer` objects. A data set of at
    most `buffer` objects is shuffled as a whole: the order of `shuffled_objects`. Nothing depends on the number of
    processes.
    """

    def __init__(self, sizes: Sequence[int], *, buffer: int):
        """sizes: objects in each shard."""
        self.sizes, self.buffer = torch.tensor(sizes), buffer
        self.firsts = self.sizes.cumsum(0) - self.sizes
        self.count = int(self.sizes.sum())
        self.window_objects = lru_cache(maxsize=4096)(self._window_objects)
        self.joined = lru_cache(maxsize=2)(self._joined)

    @property
    def whole(self) -> bool:
        """Whether the buffer takes the whole data set."""
        return self.count <= self.buffer

    def objects(self, positions: Sequence[int], *, batch: int, seed: int) -> Tensor:
        """The objects at `positions`, where steps take `batch` of them."""
        if self.whole:
            return shuffled_objects(self.count, positions, seed=seed)
        places = [self.place(position, batch=batch) for position in positions]
        return torch.tensor([int(self.window_objects(window, batch, seed)[within]) for window, within in places])

    def place(self, position: int, *, batch: int) -> tuple[Window, int]:
        """The window that holds a position, and the place in it."""
        epoch, place = divmod(position, self.count)
        lanes = min(batch, self.count)
        number, within = divmod(place // lanes, self.window_length(batch))
        return Window(epoch, place % lanes, number), within

    def window_length(self, batch: int) -> int:
        return max(1, self.buffer // min(batch, self.count))

    def _joined(self, epoch: int, seed: int) -> tuple[Tensor, Tensor, int]:
        """The epoch's order of shards, where each ends in it, and where in it the first lane begins."""
        generator = seeded(seed, epoch, 0)
        shards = torch.randperm(len(self.sizes), generator=generator)
        return shards, self.sizes[shards].cumsum(0), int(torch.randint(self.count, (1,), generator=generator))

    def _window_objects(self, window: Window, batch: int, seed: int) -> Tensor:
        """The objects of a window, in the order in which they are visited."""
        shards, ends, turn = self.joined(window.epoch, seed)
        lanes, length = min(batch, self.count), self.window_length(batch)
        share, longer = divmod(self.count, lanes)  # the first `longer` lanes have one object more
        lane_start = window.lane * share + min(window.lane, longer)
        lane_end = lane_start + share + (window.lane < longer)
        start = lane_start + window.number * length
        joined = (torch.arange(start, min(start + length, lane_end)) + turn) % self.count
        at = torch.searchsorted(ends, joined, right=True)
        objects = self.firsts[shards[at]] + joined - (ends[at] - self.sizes[shards[at]])
        return objects[torch.randperm(len(objects), generator=seeded(seed, *window, 1))]
