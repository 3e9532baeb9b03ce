"""Every object several times, each time turned about the vertical axis."""

import torch
from torch import Tensor

from vader3d.data.batches.views import EVERY_PIXEL, Pixels, ViewBatch, Views
from vader3d.data.dataset import DataSet
from vader3d.machine import CPU


class TurnedViews:
    """`copies` times as many objects as `views` has: number k N + o is object o, turned by k * 360 / copies degrees.

    Turned are the cameras, with z fixed; pictures are what they were. An epoch shows every object once; so many epochs
    as there are copies show every copy once.
    """

    def __init__(self, views: Views, copies: int):
        self.views, self.copies = views, copies

    @property
    def archive(self) -> DataSet:
        """Where they come from: of the objects, not the copies."""
        return self.views.archive

    def __len__(self) -> int:
        return self.copies * len(self.views)

    def view_count(self, index: int) -> int:
        return self.views.view_count(index % len(self.views))

    def readable(self, objects: Tensor) -> Tensor:
        within = objects % len(self.views)
        return objects[torch.isin(within, self.views.readable(within.unique()))]

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
        seen = self.views.training_batch(
            objects_seen=objects_seen, batch=batch, views=views, seed=seed, share=share, pixels=pixels, device=device
        )
        epochs = torch.arange(objects_seen, objects_seen + batch)[share] // len(self.views)
        return self.turned(seen, (seen.objects + epochs) % self.copies)

    def views_of(self, objects: Tensor, numbers: Tensor) -> ViewBatch:
        return self.turned(
            self.views.views_of(objects % len(self.views), numbers),
            torch.div(objects, len(self.views), rounding_mode="floor"),
        )

    def turned(self, seen: ViewBatch, copy: Tensor) -> ViewBatch:
        """Views of objects as those of their copies number `copy` [B]."""
        cameras = seen.cameras.turned(copy[:, None] * (360 / self.copies))
        return ViewBatch(copy * len(self.views) + seen.objects, cameras, seen.colour, seen.mask)


def with_copies(views: Views, copies: int) -> Views:
    """The same views where there is one copy."""
    return views if copies == 1 else TurnedViews(views, copies)
