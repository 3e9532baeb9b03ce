"""Poses learned with the objects, from pictures without cameras.

A network sees where the points of an object are (`keypoints`), a solver makes camera poses of that (`geometry.pnp`),
and gradients of the pictures flow back through both. Several hypotheses, whose points are at home in views from
several sides, are tried; the one whose picture fits best is rendered and learns (A39). At first hypotheses are picked
evenly, and volumes lean back, which tells left from right. Intrinsics are the data's; where the cameras stand is never
read. Objects in parts have points of each part, and a pose of each.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import affine_grid, avg_pool2d, grid_sample, interpolate

from vader3d.autodecoder.keypoints import KeypointNetwork
from vader3d.config import Checked, ranged
from vader3d.data.batches.views import ViewBatch
from vader3d.data.motion import composed
from vader3d.geometry.cameras import FRONT_DEGREES, Cameras, orbit_cameras
from vader3d.geometry.pnp import SOLVERS, finite_gradient
from vader3d.geometry.rotations import rotation_from_vector
from vader3d.geometry.skinning import inverse, moved
from vader3d.render import RenderConfig, Volume, render_views

NEAREST, FARTHEST = 0.5, 2.0  # of the distance, that poses are clamped to
TRIED_PX, TRIED_SAMPLES = 16, 24  # at which hypotheses are compared
LARGEST_GRADIENT = 0.1  # of the network's weights
WARPED = 0.1  # standard deviation of the numbers of warps
REACH, JITTER = 0.6, 0.02  # of grids of points: half a side, and how far points of parts are moved at random


@dataclass(frozen=True)
class PoseConfig(Checked):
    """Where the cameras of training pictures come from."""

    # the data's cameras; a table of poses, one a picture (of parts: parts.poses), which a network learns too; or the
    # network's own
    source: Literal["given", "table", "keypoints"] = "given"
    solver: Literal["posit", "implicit", "epnp"] = "posit"  # from points to poses (A37)
    azimuths: tuple[float, ...] = ranged((-45.0, 0.0, 45.0))  # degrees from the front: where each hypothesis starts
    elevation: float = ranged(15.0, above=-90, below=90)  # degrees, of all of them
    distance: float = ranged(4.0, above=1)  # of the cameras, which the size of the pictures' objects goes with
    # weight of the squared logarithm of all hypotheses' mean distance over this one: else worlds outgrow the cube. Of
    # the picked ones alone it would keep poses from being found
    keep_distance: float = ranged(0.0, at_least=0)
    points_across: int = ranged(3, at_least=2)  # the object's points start as a grid of its cube
    projection: float = ranged(1.0, at_least=0)  # weight of the distance between points seen and projected
    # weight of how far points seen in pictures warped at random are from where they should be: a second pass a step
    equivariance: float = ranged(0.0, at_least=0)
    lr: float = ranged(1e-3, at_least=0)  # of the network
    points_lr: float = ranged(2e-3, at_least=0)  # of the points
    # of a table: one pose for all, or the data's cameras where these are rough
    start: Literal["mean", "given"] = "mean"
    start_noise: float = ranged(0.0, at_least=0)  # degrees (median) by which test beds turn the data's cameras
    hold: float = ranged(0.0, at_least=0, below=1)  # share of the run in which a table's poses stay, volumes form
    table_lr: float = ranged(1e-2, at_least=0)  # of a table: radians, and units of the cube
    distil: float = ranged(1.0, at_least=0)  # weight of the distance between a table's poses and the network's
    table_views: int = ranged(0, at_least=0)  # columns of a table; training fills them in
    coarse: float = ranged(0.4, at_least=0, at_most=1)  # share of the run in which pictures are compared at 16 px
    # how much of the hypotheses' mean fits, over a batch, is taken off each one's: they are then picked about evenly.
    # Gone after a tenth of the run
    balance: float = ranged(1.0, at_least=0, at_most=1)
    # how steeply raw densities fall beside the plane z = y: at first what is higher is farther, as the ground is, so
    # that depths are not taken the other way round. Gone after a twentieth of the run; 0: nothing is assumed
    lean: float = ranged(1.0, at_least=0)


class Hypotheses(NamedTuple):
    """`poses` [B, V, H, K, 3, 4] of K parts, camera from rest; `found` [B, V, H]; `clamped`, a share; `losses`."""

    poses: Tensor
    found: Tensor
    clamped: Tensor
    losses: dict[str, Tensor]


class Posing(nn.Module):
    """Pictures with intrinsics -> hypotheses of where the camera stands."""

    bases: Tensor
    grid: Tensor

    def __init__(self, config: PoseConfig, heights: Sequence[float] = (0.0,)):
        """heights: of the parts' middles in the cube; around each is a grid of its points, half as wide as that of one
        part alone. Where parts share a height, how their points are jittered tells them apart.
        """
        super().__init__()
        if not config.azimuths:
            raise ValueError("poses.azimuths: wanted at least one; got none")
        self.config = config
        with torch.device("cpu"):  # whatever weights are made on
            azimuths = FRONT_DEGREES + torch.tensor(config.azimuths)
            elevations = torch.full_like(azimuths, config.elevation)
            orbit = orbit_cameras(azimuths, elevations, size=2, distance=config.distance)
            line = torch.linspace(-REACH, REACH, config.points_across)
            grid = torch.cartesian_prod(line, line, line)
            if len(heights) > 1:
                grid = torch.cat([grid / 2 + torch.tensor([0.0, 0.0, height]) for height in heights])
                grid = grid + JITTER * torch.randn_like(grid)
        self.parts = len(heights)
        self.register_buffer("bases", inverse(orbit.world_from_camera[:, :3]))
        self.register_buffer("grid", grid)  # [K N, 3], as the points
        self.points = nn.Parameter(grid.clone())
        self.network = KeypointNetwork(len(azimuths) * len(self.grid))

    def forward(self, pictures: Tensor, cameras: Cameras, generator: torch.Generator | None = None) -> Hypotheses:
        """pictures: [B, V, 4, H, W]; cameras: [B, V], of which only the intrinsics are read; generator: of warps."""
        config, shape, count = self.config, pictures.shape[:2], len(self.bases) * self.parts
        size = cameras.intrinsics.new_tensor([cameras.width, cameras.height])
        focal, centre = cameras.intrinsics.flatten(0, 1)[:, None].split(2, -1)
        local = moved(self.grid, self.bases)
        home = (local[..., :2] / local[..., 2:]).flatten(0, 1) * focal + centre
        home = (home / size * 2 - 1).clamp(-0.95, 0.95)
        places = self.network(pictures.flatten(0, 1), home)
        seen = finite_gradient(((places + 1) / 2 * size - centre) / focal).view(len(places) * count, -1, 2)
        reach = (NEAREST * config.distance, FARTHEST * config.distance)
        points = self.points.view(self.parts, -1, 3).repeat(len(seen) // self.parts, 1, 1)
        solved = SOLVERS[config.solver](points, seen, depth=reach)
        bases = self.bases.repeat_interleave(self.parts, 0).repeat(len(places), 1, 1)
        rotation = solved.rotation.where(solved.found[:, None, None], bases[..., :3])
        translation = solved.translation.where(solved.found[:, None], bases[..., 3])
        across, depth = translation.split([2, 1], -1)
        poses = torch.cat([rotation, torch.cat([across, depth.clamp(*reach)], -1)[..., None]], -1)
        local = moved(points, poses)
        left = (local[..., :2] / local[..., 2:].clamp_min(0.2) - seen) * (2 * focal / size).repeat_interleave(count, 0)
        losses = {"projection": config.projection * left.abs().clamp_max(2)[solved.found].sum() / left.numel()}
        if config.keep_distance:
            far = (depth.clamp(*reach).mean() / config.distance).log()
            losses["far"] = config.keep_distance * far.square()
        if config.equivariance and generator is not None:
            warped = equivariance(lambda warped: self.network(warped, home), pictures.flatten(0, 1), places, generator)
            losses["equivariance"] = config.equivariance * warped
        clamped = ((depth <= reach[0]) | (depth >= reach[1])).float().mean()
        found = solved.found.view(*shape, -1, self.parts).all(-1)
        return Hypotheses(poses.view(*shape, -1, self.parts, 3, 4), found, clamped, losses)


def equivariance(
    network: Callable[[Tensor], Tensor], pictures: Tensor, places: Tensor, generator: torch.Generator
) -> Tensor:
    """How far `places` [P, N, 2] in pictures [P, C, H, W] are from those in the same pictures, warped, taken back.

    A picture is read at A x in the place x, so that what is seen at x is at A x, for an affine A near the identity.
    """
    warp = torch.eye(2, 3) + WARPED * torch.randn(len(pictures), 2, 3, generator=generator)
    warp = warp.to(pictures)
    read = affine_grid(warp, list(pictures.shape), align_corners=False)
    there = network(grid_sample(pictures, read, padding_mode="reflection", align_corners=False))
    return (places - there @ warp[..., :2].mT - warp[:, None, :, 2]).abs().mean()


def posing_optimiser(posing: Posing) -> torch.optim.Optimizer:
    """Adam for the network and the points; each number of the network's gradients is clamped."""
    for weight in posing.network.parameters():
        weight.register_hook(lambda gradient: gradient.clamp(-LARGEST_GRADIENT, LARGEST_GRADIENT))
    config = posing.config
    network = {"params": list(posing.network.parameters()), "lr": config.lr}
    return torch.optim.Adam([network, {"params": [posing.points], "lr": config.points_lr}], betas=(0.5, 0.99))


def cameras_at(poses: Tensor, like: Cameras) -> Cameras:
    """Cameras with the intrinsics of `like` [B, V] and poses, camera from object, [B, V, 3, 4]."""
    last = poses.new_tensor([0.0, 0, 0, 1]).expand(*poses.shape[:2], 1, 4)
    return Cameras(torch.cat([inverse(poses), last], 2), like.intrinsics, like.height, like.width)


def seen_by(poses: Tensor, like: Cameras) -> tuple[Cameras, Tensor | None]:
    """Cameras with the intrinsics of `like` [B, V], and what `render_views` takes as poses [B, V, K, 3, 4].

    poses: of the same shape, camera from rest. The camera of one part moves, and None is posed. More move before a
    camera that stands: a picture's world then lies around its parts, along the camera's axes.
    """
    if poses.shape[2] == 1:
        return cameras_at(poses[:, :, 0], like), None
    middle = poses[..., 3].mean(2).detach()
    to_camera = torch.cat([torch.eye(3).to(middle).expand(*middle.shape, 3), middle[..., None]], -1)
    return cameras_at(to_camera, like), composed(inverse(poses), to_camera[:, :, None])


def shifted(poses: Tensor, moves: Tensor) -> Tensor:
    """Poses [..., 3, 4], camera from object, after moves [..., 6]: a turn about the object's middle, a shift."""
    rotation = rotation_from_vector(moves[..., :3]) @ poses[..., :3]
    return torch.cat([rotation, poses[..., 3:] + moves[..., 3:, None]], -1)


@torch.no_grad()
def fits(volume: Volume, poses: Tensor, target: ViewBatch) -> Tensor:
    """How badly each hypothesis [B, V, H, K, 3, 4] renders the target, in a picture of 16 px: [B, V, H]."""
    views, count = poses.shape[1:3]
    small = target.cameras.resized(TRIED_PX, TRIED_PX)
    each = Cameras(small.world_from_camera, small.intrinsics.repeat_interleave(count, 1), TRIED_PX, TRIED_PX)
    config = RenderConfig(TRIED_SAMPLES, volume.activation, volume.density_scale, 0.0)
    cameras, parts = seen_by(poses.flatten(1, 2), each)
    rendered = torch.cat(render_views(volume, cameras, config, poses=parts), 2)
    squares = (rendered.unflatten(1, (views, count)) - shrunk(target, TRIED_PX)[:, :, None]).square().mean((-1, -2))
    return squares[..., :3].mean(-1) + 0.5 * squares[..., 3]


def chosen(volume: Volume, hypotheses: Hypotheses, target: ViewBatch, *, balance: float = 0.0) -> Tensor:
    """The number [B, V] of each picture's best hypothesis; balance: as of `best`."""
    if hypotheses.poses.shape[2] == 1:
        return torch.zeros_like(hypotheses.found[..., 0], dtype=torch.long)
    return best(fits(volume, hypotheses.poses.detach(), target), hypotheses.found, balance=balance)


def best(badness: Tensor, found: Tensor, *, balance: float = 0.0) -> Tensor:
    """The least bad [B, V] of hypotheses [B, V, H] that were found; `balance` 1 counts by each one's mean badness."""
    usual = badness.mean((0, 1))
    levelled = badness * (1 + balance * (usual.mean() / usual.clamp_min(1e-9) - 1))
    return levelled.masked_fill(~found, torch.inf).argmin(-1)


def leaning(volume: Volume, steepness: float) -> Volume:
    """The volume with less density beside the plane z = y, which leans back as seen from the front."""
    if steepness <= 0:
        return volume
    grid = volume.grid
    z, y = (torch.linspace(-1, 1, size, device=grid.device) for size in grid.shape[2:4])
    beside = (z[:, None] - y).square()[..., None] / 2
    raw = grid[:, 3:4] - (steepness * beside).to(grid)
    return volume.with_grid(torch.cat([grid[:, :3], raw, grid[:, 4:]], 1))


def found_in(posing: Posing, volume: Volume, target: ViewBatch) -> Tensor:
    """Of what the network finds in the target's pictures the poses [B, V, K, 3, 4] that fit `volume` best."""
    hypotheses = posing(torch.cat([target.colour, target.mask], 2), target.cameras)
    return picked(hypotheses.poses, chosen(volume, hypotheses, target))


def picked(poses: Tensor, numbers: Tensor) -> Tensor:
    """Of poses [B, V, H, K, 3, 4] those with the numbers [B, V]."""
    return poses.take_along_dim(numbers[..., None, None, None, None], 2)[:, :, 0]


def shrunk(target: ViewBatch, size: int) -> Tensor:
    """Colours and masks [B, V, 4, S, S] of the pictures, averaged, to compare with what is rendered so small."""
    pictures = torch.cat([target.colour, target.mask], 2)
    return interpolate(pictures.flatten(0, 1), size=(size, size), mode="area").unflatten(0, pictures.shape[:2])


def smaller(target: ViewBatch, size: int) -> ViewBatch:
    """The same pictures, averaged to `size` px a side where that divides theirs."""
    factor = target.cameras.height // size
    if factor < 2 or target.cameras.height % size or target.cameras.width != target.cameras.height:
        return target
    colour, mask = (avg_pool2d(x.flatten(0, 1), factor).unflatten(0, x.shape[:2]) for x in (target.colour, target.mask))
    return replace(target, cameras=target.cameras.resized(size, size), colour=colour, mask=mask)
