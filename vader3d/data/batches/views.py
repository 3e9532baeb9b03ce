"""Batches of posed views as tensors."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from vader3d.data.archive.format import ObjectViews
from vader3d.data.batches.order import drawn_views, shuffled_objects
from vader3d.data.dataset import DataSet, read_kept
from vader3d.geometry.cameras import Cameras, in_front
from vader3d.machine import CPU


@dataclass(frozen=True)
class ViewBatch:
    """`objects` [B] (numbers in the data set), `cameras` [B, V], `colour` [B, V, 3, H, W] on black in [0, 1] and
    `mask` [B, V, 1, H, W] in [0, 1]; `numbers` [B, V] of the views in their objects, where these are at hand."""

    objects: Tensor
    cameras: Cameras
    colour: Tensor
    mask: Tensor
    numbers: Tensor | None = None

    def to(self, device: torch.device) -> "ViewBatch":
        numbers = None if self.numbers is None else self.numbers.to(device)
        colour, mask = self.colour.to(device), self.mask.to(device)
        return ViewBatch(self.objects.to(device), self.cameras.to(device), colour, mask, numbers)

    def strided(self, pixels: "Pixels") -> "ViewBatch":
        """Only some pixels of the same pictures."""
        step, row, column = pixels
        if step == 1:
            return self
        rows, columns = slice(row, None, step), slice(column, None, step)
        colour, mask = (pictures[..., rows, columns] for pictures in (self.colour, self.mask))
        return replace(self, cameras=self.cameras.strided(*pixels), colour=colour, mask=mask)


class Pixels(NamedTuple):
    """Every `step`-th pixel of rows and columns, from `row` and `column` on."""

    step: int = 1
    row: int = 0
    column: int = 0


EVERY_PIXEL = Pixels()


def drawn_pixels(step: int, generator: torch.Generator) -> Pixels:
    """Every `step`-th pixel from random first ones: unbiased, step^2 times cheaper."""
    return Pixels(step, *torch.randint(step, (2,), generator=generator).tolist()) if step > 1 else EVERY_PIXEL


class Picked(NamedTuple):
    """The views `rows` of an object, of all that are at hand."""

    views: ObjectViews
    rows: Sequence[int]


def view_batch(
    objects: Tensor, picked: Sequence[Picked], pixels: Pixels = EVERY_PIXEL, device: torch.device = CPU
) -> ViewBatch:
    """The picked views of each object, equally many, as one batch; only some `pixels` of them.

    Pictures go to the device as bytes, a quarter of what they are as numbers; all else follows with `ViewBatch.to`.
    """
    step, row, column = pixels
    cameras = Cameras(
        torch.stack([views.cameras.world_from_camera[rows] for views, rows in picked]),
        torch.stack([views.cameras.intrinsics[rows] for views, rows in picked]),
        *picked[0].views.pictures.shape[1:3],
    )
    cameras = cameras if step == 1 else cameras.strided(*pixels)
    words = np.empty((*cameras.intrinsics.shape[:2], cameras.height, cameras.width), np.uint32)  # four bytes a pixel
    for place, (views, rows) in zip(words, picked, strict=True):
        for part, number in zip(place, rows, strict=True):
            part[:] = views.pictures[number].view(np.uint32)[row::step, column::step, 0]
    there = torch.from_numpy(words.view(np.uint8).reshape(*words.shape, 4)).to(device)
    # by a tensor: by a plain number a GPU would divide as it multiplies with the reciprocal, which rounds otherwise
    values = there.float().div_(torch.full((), 255.0, device=device)).movedim(-1, 2)
    colour, mask = values[:, :, :3], values[:, :, 3:]
    return ViewBatch(objects, cameras, colour * mask, mask)


def numbered(batch: ViewBatch, picked: Sequence[Picked]) -> ViewBatch:
    """The batch with the numbers of its views, which were picked of all that their objects have."""
    return replace(batch, numbers=torch.tensor([[*rows] for _, rows in picked]))


class Views(Protocol):
    """Some views of all objects of a data set, as training reads them: `PosedViews`, `StreamedViews`."""

    @property
    def archive(self) -> DataSet:
        """Where they come from."""

    def __len__(self) -> int: ...

    def view_count(self, index: int) -> int:
        """How many views of an object there are."""

    def readable(self, objects: Tensor) -> Tensor:
        """Those of `objects` whose pictures can be read."""

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
        """`views` pictures of each of the `batch` objects that follow `objects_seen`; only that `share` of the batch.

        Which objects and which pictures depends on the seed and on an object's place in the endless order alone.
        device: where the pictures are wanted; all else follows with `ViewBatch.to`.
        """

    def views_of(self, objects: Tensor, numbers: Tensor) -> ViewBatch:
        """The views `numbers` [B, V] of `objects` [B]; ArchiveError where one cannot be read."""


class Request(NamedTuple):
    """What a training batch asks for, but for its pixels."""

    objects_seen: int
    batch: int
    views: int
    seed: int
    first: int | None
    last: int | None


class PosedViews:
    """Some views of all objects, decoded when they are first asked for, and kept as `read_kept` keeps them.

    While the caller computes, the objects of the batch that follows are drawn and decoded in threads.
    """

    def __init__(self, archive: DataSet, choose_views: Callable[[int], list[int]]):
        """choose_views: view count -> view numbers, e.g. `training_views` or `heldout_views`."""
        self.archive, self.choose_views = archive, choose_views
        self._decoders = ThreadPoolExecutor(min(16, os.cpu_count() or 1), "decode")
        self._drawer = ThreadPoolExecutor(1, "draw")  # apart: it waits for decoders
        self._ahead: dict[Request, Future[tuple[Tensor, list[Picked]]]] = {}

    def __len__(self) -> int:
        return len(self.archive)

    def view_count(self, index: int) -> int:
        return len(self.choose_views(self.archive.records[index].views))

    def readable(self, objects: Tensor) -> Tensor:
        """All of them."""
        return objects

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
        request = Request(objects_seen, batch, views, seed, share.start, share.stop)
        following = request._replace(objects_seen=objects_seen + batch)
        drawn = self._ahead.pop(request, None) or self._drawer.submit(self._drawn, request)
        objects, picked = drawn.result()
        near = range(objects_seen, following.objects_seen + 1)  # other shares of this batch or the next are yet to come
        self._ahead = {known: future for known, future in self._ahead.items() if known.objects_seen in near}
        if following not in self._ahead:
            self._ahead[following] = self._drawer.submit(self._drawn, following)
        return numbered(view_batch(objects, picked, pixels, device), picked)

    def views_of(self, objects: Tensor, numbers: Tensor) -> ViewBatch:
        picked = self._picked(objects, numbers.tolist())
        return numbered(view_batch(objects, picked), picked)

    def _drawn(self, request: Request) -> tuple[Tensor, list[Picked]]:
        """The objects of a batch and their views."""
        objects_seen, batch, views, seed, first, last = request
        positions = range(objects_seen, objects_seen + batch)[first:last]
        objects = shuffled_objects(len(self), positions, seed=seed)
        numbers = [
            drawn_views(self.view_count(o), views, position=position, seed=seed)
            for o, position in zip(objects.tolist(), positions, strict=True)
        ]
        return objects, self._picked(objects, numbers)

    def _picked(self, objects: Tensor, numbers: Sequence[Sequence[int]]) -> list[Picked]:
        """The views `numbers` of each of the objects."""
        picked = []
        read = self._decoders.map(lambda o: read_kept(self.archive, o), objects.tolist())
        for views, row in zip(read, numbers, strict=True):
            chosen = self.choose_views(len(views.pictures))
            picked.append(Picked(views, [chosen[number] for number in row]))
        return picked


class FrontViews(PosedViews):
    """Views whose cameras all stand in front: of what moves before them, told by poses from rest to the camera."""

    def training_batch(self, **request: Any) -> ViewBatch:
        seen = super().training_batch(**request)
        return replace(seen, cameras=in_front(seen.cameras))

    def views_of(self, objects: Tensor, numbers: Tensor) -> ViewBatch:
        seen = super().views_of(objects, numbers)
        return replace(seen, cameras=in_front(seen.cameras))
