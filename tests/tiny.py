"""Tiny data with exact pictures: spheres and boxes of one colour, ray-traced analytically into an archive."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vader3d.captions import Caption
from vader3d.data.archive.format import ObjectRecord
from vader3d.data.archive.reader import Archive
from vader3d.data.archive.writer import ArchiveWriter
from vader3d.data.writer import PreparedObject
from vader3d.geometry.cameras import Cameras, orbit_cameras
from vader3d.geometry.rays import cube_crossing

SUPERSAMPLING = 4  # per pixel and axis: masks are coverages


@dataclass(frozen=True)
class Sphere:
    """All points within `radius` of `centre`, evenly coloured."""

    colour: tuple[float, float, float]
    centre: tuple[float, float, float] = (0.0, 0.0, 0.0)
    radius: float = 0.6

    def first_hit(self, origins: Tensor, directions: Tensor) -> Tensor:
        """Depth along unit rays [..., 3] at which they meet the sphere, infinite where they miss it."""
        offset = origins - torch.tensor(self.centre)
        along = (offset * directions).sum(-1)
        root = along.square() - offset.square().sum(-1) + self.radius**2
        return torch.where(root > 0, -along - root.clamp_min(0).sqrt(), torch.inf)

    def contains(self, points: Tensor) -> Tensor:
        return (points - torch.tensor(self.centre)).norm(dim=-1) <= self.radius


@dataclass(frozen=True)
class Box:
    """An axis-aligned box, evenly coloured."""

    colour: tuple[float, float, float]
    centre: tuple[float, float, float] = (0.0, 0.0, 0.0)
    half: tuple[float, float, float] = (0.5, 0.5, 0.5)

    def first_hit(self, origins: Tensor, directions: Tensor) -> Tensor:
        half = torch.tensor(self.half)
        near, far = cube_crossing((origins - torch.tensor(self.centre)) / half, directions / half)
        return torch.where(far > near, near, torch.inf)

    def contains(self, points: Tensor) -> Tensor:
        return ((points - torch.tensor(self.centre)).abs() <= torch.tensor(self.half)).all(-1)


Thing = tuple[Sphere | Box, ...]

THINGS: dict[str, Thing] = {
    "red ball": (Sphere((0.9, 0.2, 0.1)),),
    "blue box": (Box((0.1, 0.3, 0.9)),),
    "green table": (
        Box((0.2, 0.7, 0.3), (0.0, 0.0, 0.3), (0.7, 0.7, 0.15)),
        Box((0.5, 0.3, 0.1), (0.0, 0.0, -0.3), (0.2, 0.2, 0.45)),
    ),
    "yellow tower": (
        Box((0.9, 0.8, 0.2), (0.0, 0.0, -0.2), (0.3, 0.3, 0.6)),
        Sphere((0.7, 0.2, 0.7), (0.0, 0.0, 0.6), 0.3),
    ),
}


def pictures_of(thing: Thing, cameras: Cameras) -> np.ndarray:
    """uint8 [V, H, W, 4] with straight alpha, as `cameras` [V] see the nearest of the thing's solids."""
    fine = cameras.resized(SUPERSAMPLING * cameras.height, SUPERSAMPLING * cameras.width)
    rays = fine[None].rays()
    hits = torch.stack([solid.first_hit(rays.origins[0], rays.directions[0]) for solid in thing])
    depth, nearest = hits.min(0)
    mask = depth.isfinite().float()[:, None]
    colour = torch.tensor([solid.colour for solid in thing])[nearest] * mask
    pixels = torch.cat([colour, mask], 1).view(-1, fine.height, fine.width, 4).movedim(-1, 1)
    pixels = torch.nn.functional.avg_pool2d(pixels, SUPERSAMPLING)
    straight = pixels[:, :3] / pixels[:, 3:].clamp_min(1e-6)
    return (torch.cat([straight, pixels[:, 3:]], 1) * 255).round().to(torch.uint8).movedim(1, -1).numpy()


def occupancy_of(thing: Thing, points: Tensor) -> Tensor:
    """Whether world points [..., 3] lie inside the thing."""
    return torch.stack([solid.contains(points) for solid in thing]).any(0)


def ring(views: int, size: int) -> Cameras:
    """`views` cameras all round, alternately level, from above and from below."""
    azimuths = torch.arange(views) * 360.0 / views
    elevations = torch.tensor([0.0, 30.0, -20.0]).repeat(views)[:views]
    return orbit_cameras(azimuths, elevations, distance=4.0, fov_degrees=36.0, size=size)


def write_things(path: Path, things: dict[str, Thing] | None = None, *, views: int = 12, size: int = 24) -> Archive:
    """An archive of `things` (default: all four of `THINGS`), lossless, the name also the caption."""
    cameras = ring(views, size)
    with ArchiveWriter(path, title="tiny things", resolution=(size, size)) as writer:
        for name, thing in (things or THINGS).items():
            record = ObjectRecord(name, (Caption(f"a {name}"),), category=name.split()[-1])
            writer.add(PreparedObject(record, pictures_of(thing, cameras), cameras))
    return Archive(path)
