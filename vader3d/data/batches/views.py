"""Batches of posed views as tensors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from vader3d.data.archive.format import ObjectViews
from vader3d.data.batches.order import drawn_views, shuffled_objects
from vader3d.data.dataset import DataSet
from vader3d.geometry.cameras import Cameras


@dataclass(frozen=True)
class ViewBatch:
    """`objects` [B] (numbers in the data set), `cameras` [B, V], `colour` [B, V, 3, H, W] on black in [0, 1] and
    `mask` [B, V, 1, H, W] in [0, 1]."""

    objects: Tensor
    cameras: Cameras
    colour: Tensor
    mask: Tensor

    def to(self, device: torch.device) -> "ViewBatch":
        return ViewBatch(self.objects.to(device), self.cameras.to(device), self.colour.to(device), self.mask.to(device))

    def strided(self, step: int, generator: torch.Generator) -> "ViewBatch":
        """Every `step`-th pixel of each row and column, from random first ones: unbiased, step^2 times cheaper."""
        if step == 1:
            return self
        row, column = torch.randint(step, (2,), generator=generator).tolist()
        cameras = self.cameras.strided(step, row, column)
        return ViewBatch(
            self.objects, cameras, self.colour[..., row::step, column::step], self.mask[..., row::step, column::step]
        )


def view_batch(objects: Tensor, picked: Sequence[ObjectViews]) -> ViewBatch:
    """The picked views of each object, equally many, as one batch."""
    pixels = torch.stack([torch.as_tensor(views.pictures) for views in picked]).float().div_(255).movedim(-1, 2)
    colour, mask = pixels[:, :, :3], pixels[:, :, 3:]
    cameras = Cameras(
        torch.stack([views.cameras.world_from_camera for views in picked]),
        torch.stack([views.cameras.intrinsics for views in picked]),
        *pixels.shape[-2:],
    )
    return ViewBatch(objects, cameras, colour * mask, mask)


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
        self, *, objects_seen: int, batch: int, views: int, seed: int, share: slice = slice(None)
    ) -> ViewBatch:
        """`views` pictures of each of the `batch` objects that follow `objects_seen`; only that `share` of the batch.

        Which objects and which pictures depends on the seed and on an object's place in the endless order alone.
        """

    def views_of(self, objects: Tensor, numbers: Tensor) -> ViewBatch:
        """The views `numbers` [B, V] of `objects` [B]; ArchiveError where one cannot be read."""


class PosedViews:
    """Some views of all objects, decoded once and held as bytes."""

    def __init__(self, archive: DataSet, choose_views: Callable[[int], list[int]]):
        """choose_views: view count -> view numbers, e.g. `training_views` or `heldout_views`."""
        self.archive = archive
        self.pictures: list[Tensor] = []  # uint8 [V, H, W, 4], straight alpha
        self.poses: list[Tensor] = []  # [V, 4, 4]
        self.intrinsics: list[Tensor] = []  # [V, 4]
        for index in range(len(archive)):
            views = archive.read(index)
            chosen = choose_views(len(views.pictures))
            self.pictures.append(torch.from_numpy(views.pictures[chosen]))
            self.poses.append(views.cameras.world_from_camera[chosen])
            self.intrinsics.append(views.cameras.intrinsics[chosen])

    def __len__(self) -> int:
        return len(self.pictures)

    def view_count(self, index: int) -> int:
        return len(self.pictures[index])

    def readable(self, objects: Tensor) -> Tensor:
        """All of them."""
        return objects

    def training_batch(
        self, *, objects_seen: int, batch: int, views: int, seed: int, share: slice = slice(None)
    ) -> ViewBatch:
        positions = range(objects_seen, objects_seen + batch)[share]
        objects = shuffled_objects(len(self), positions, seed=seed)
        numbers = [
            drawn_views(self.view_count(o), views, position=position, seed=seed)
            for o, position in zip(objects.tolist(), positions, strict=True)
        ]
        return self.views_of(objects, torch.tensor(numbers))

    def views_of(self, objects: Tensor, numbers: Tensor) -> ViewBatch:
        height, width = self.archive.resolution
        picked = []
        for o, row in zip(objects.tolist(), numbers.tolist(), strict=True):
            cameras = Cameras(self.poses[o][row], self.intrinsics[o][row], height, width)
            picked.append(ObjectViews(self.pictures[o][row], cameras))
        return view_batch(objects, picked)
