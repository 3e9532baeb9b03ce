"""The compared sets of pictures, item by item.

Item n of every set has its randomness from n and the protocol's seed alone, and the same poses in every set of rendered
pictures.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from vader3d.assets import Asset
from vader3d.data.archive.format import ArchiveError
from vader3d.data.archive.splits import heldout_views, training_views
from vader3d.data.batches.views import Picked, ViewBatch, view_batch
from vader3d.data.dataset import read_kept
from vader3d.diffusion.solvers import Churn
from vader3d.evaluation.judged import JudgedModel
from vader3d.evaluation.protocol import Protocol, Split
from vader3d.export.mesh import EmptyVolumeError, sample_surface_points
from vader3d.geometry.cameras import Cameras
from vader3d.randomness import sample_seed
from vader3d.render import RenderConfig, Volume, render_views

CODES_AT_ONCE = 256
# What randomness is for: each purpose draws its own.
ORDER, REFERENCE, POSES, STANDARD, FITTED, HELDOUT, RECONSTRUCTION, LOOKS = range(8)
PURPOSES = 16
LOOK_VIEWS, LOOK_SIZE = 4, 16  # of the pictures that tell copies

UNREADABLE = "objects that cannot be read"
NOT_FINITE = "objects with NaN or infinity"
EMPTY = "objects without a surface"


@torch.no_grad()
def render_clamped(volume: Volume, cameras: Cameras, settings: RenderConfig) -> tuple[Tensor, Tensor]:
    """Pictures [B, V, 3, H, W] and opacity [B, V, 1, H, W], both in [0, 1]."""
    colour, opacity = render_views(volume, cameras, settings, skip_empty=True)
    return colour.clamp(0, 1).cpu(), opacity.clamp(0, 1).cpu()


def views_in(split: Split, count: int) -> list[int]:
    """The numbers of an object's views that belong to a split; all of them where none is held out."""
    chosen = {"training": training_views, "heldout": heldout_views, "all": lambda n: list(range(n))}[split](count)
    return chosen or list(range(count))


class PictureSets:
    """What one judged model shows under one protocol. Items are numbered; item n belongs to object `object_of(n)`."""

    def __init__(self, judged: JudgedModel, protocol: Protocol):
        self.judged, self.protocol, self.generator = judged, protocol, judged.generator
        draw = torch.Generator().manual_seed(self.seed(ORDER, 0))
        self.order: list[int] = torch.randperm(len(judged), generator=draw).tolist()
        height, width = judged.archive.resolution
        # A data set that is coarser than the protocol is judged as it is.
        finer = protocol.resolution is not None and protocol.resolution < min(height, width)
        side = protocol.resolution if finer else None
        self.size: tuple[int, int] = (side or height, side or width)
        self.mean, self.factor = judged.codes.fitted_gaussian()
        # Of all the trained codes' numbers around 0, one for all.
        self.own_std = ((self.mean.square().sum() + self.factor.square().sum()) / len(self.mean)).sqrt()

    def seed(self, purpose: int, number: int) -> int:
        return sample_seed(self.protocol.seed * PURPOSES + purpose, number)

    def object_of(self, number: int) -> int:
        """Every object once, in a random order, then again."""
        return self.order[number % len(self.order)]

    def views_of(self, number: int, *, split: Split, views: int | None, purpose: int) -> ViewBatch:
        """`views` different random views of item `number` (None: all), repeated where it has fewer; [1, V].

        ArchiveError: the object cannot be read.
        """
        everything = read_kept(self.judged.archive, self.object_of(number))
        allowed = torch.tensor(views_in(split, len(everything.pictures)))
        if views is not None:
            draw = torch.Generator().manual_seed(self.seed(purpose, number))
            order = torch.randperm(len(allowed), generator=draw)
            allowed = allowed[order.repeat(-(-views // len(order)))[:views]]
        return self.resized(view_batch(torch.tensor([number]), [Picked(everything, allowed.tolist())]))

    def resized(self, views: ViewBatch) -> ViewBatch:
        """The views in the protocol's size."""
        if tuple(views.colour.shape[-2:]) == self.size:
            return views
        colour, mask = (
            torch.nn.functional.interpolate(part[0], self.size, mode="bilinear", antialias=True)[None]
            for part in (views.colour, views.mask)
        )
        return ViewBatch(views.objects, views.cameras.resized(*self.size), colour, mask)

    def readable_views(self, numbers: list[int], excluded: Counter[str], **choice: Any) -> dict[int, ViewBatch]:
        """The views of each item, without those of objects that cannot be read: these are counted."""
        views = {}
        for number in numbers:
            try:
                views[number] = self.views_of(number, **choice)
            except ArchiveError:
                excluded[UNREADABLE] += 1
        return views

    def codes(self, name: str, numbers: list[int]) -> Tensor:
        """The codes of a set without diffusion: those of training objects, or drawn from a Gaussian (A20)."""
        if name == "reconstruction":
            return self.judged.codes(torch.tensor([self.object_of(number) for number in numbers]))
        if name == "direct_latent_sampling":
            return self.normal(numbers, len(self.mean), STANDARD)
        if name == "direct_latent_sampling_own_std":
            return self.normal(numbers, len(self.mean), STANDARD) * self.own_std
        return self.normal(numbers, len(self.factor), FITTED) @ self.factor + self.mean

    def normal(self, numbers: list[int], size: int, purpose: int) -> Tensor:
        draws = (torch.Generator().manual_seed(self.seed(purpose, number)) for number in numbers)
        return torch.stack([torch.randn(size, generator=draw) for draw in draws])

    def training_latents(self) -> Iterator[Tensor]:
        """Normalised latents of all training objects, in the archive's order, some at a time; then of their copies."""
        for codes in self.judged.codes.batches(CODES_AT_ONCE):
            yield self.generator.statistics.normalise(self.generator.to_latent(codes))

    def latents(self, name: str, numbers: list[int], *, steps: int, churn: Churn) -> Tensor:
        """Raw latents of the items of any rendered set."""
        if name == "generated":
            seeds = [sample_seed(self.protocol.seed, number) for number in numbers]
            return self.generator.sample_latents(seeds, steps=steps, churn=churn, redraws=self.protocol.redraws)
        return self.generator.to_latent(self.codes(name, numbers))

    def rendered(self, volume: Volume, numbers: list[int], excluded: Counter[str]) -> dict[int, Tensor]:
        """Pictures [V, 3, H, W] of volumes from the protocol's poses."""
        return {number: colour for number, (colour, _) in self.seen(volume, numbers, excluded).items()}

    def seen(self, volume: Volume, numbers: list[int], excluded: Counter[str]) -> dict[int, tuple[Tensor, Tensor]]:
        """Pictures [V, 3, H, W] of volumes from the protocol's poses, and their opacity [V, 1, H, W]."""
        poses = self.readable_views(
            numbers, excluded, split=self.protocol.poses, views=self.protocol.views, purpose=POSES
        )
        if not poses:
            return {}
        cameras = Cameras(
            torch.cat([views.cameras.world_from_camera for views in poses.values()]),
            torch.cat([views.cameras.intrinsics for views in poses.values()]),
            *self.size,
        )
        shown = volume.with_grid(volume.grid[[number in poses for number in numbers]])
        pictures = render_clamped(shown, cameras, self.generator.settings)
        return dict(zip(poses, zip(*pictures, strict=True), strict=True))

    def surfaces(self, volume: Volume, numbers: list[int], points: int, excluded: Counter[str]) -> dict[int, Tensor]:
        """Points [1, points, 3] on the surface of each object; those without one are counted."""
        surfaces = {}
        for each, number in zip(volume.objects(), numbers, strict=True):
            try:
                mesh = Asset(each, self.generator.settings).mesh()
            except EmptyVolumeError:
                excluded[EMPTY] += 1
                continue
            surfaces[number] = sample_surface_points(mesh, points, seed=self.protocol.seed)[None]
        return surfaces

    def looks(self, volume: Volume) -> Tensor:
        """Small pictures of volumes from the same few poses, to tell copies by: [B, V, 3, LOOK_SIZE, LOOK_SIZE]."""
        cameras, count = self.look_cameras(), len(volume.grid)
        spread = Cameras(
            cameras.world_from_camera.expand(count, -1, -1, -1),
            cameras.intrinsics.expand(count, -1, -1),
            cameras.height,
            cameras.width,
        )
        return render_clamped(volume, spread, self.generator.settings)[0]

    def look_cameras(self) -> Cameras:
        """The same for all: poses of the first readable object, [1, V]."""
        for number in range(len(self.judged)):
            try:
                views = self.views_of(number, split=self.protocol.poses, views=LOOK_VIEWS, purpose=LOOKS)
            except ArchiveError:
                continue
            return views.cameras.resized(LOOK_SIZE, LOOK_SIZE)
        raise ArchiveError(f"{self.judged.archive.path}: wanted an object that can be read; got none")


def finite(tensor: Tensor) -> Tensor:
    """Which items [B, ...] are finite throughout."""
    return tensor.flatten(1).isfinite().all(1)


def owned(parts: dict[int, Tensor]) -> tuple[Tensor, Tensor]:
    """The rows of all parts below each other, and whose each row is; both empty where there are none."""
    if not parts:
        return torch.empty(0), torch.empty(0, dtype=torch.long)
    owners = [torch.full((len(rows),), number) for number, rows in parts.items()]
    return torch.cat([*parts.values()]), torch.cat(owners)
