"""Poses of parts, one for each part and picture, learned from a start.

Their start comes from a file. They are held while volumes form, and then learn as the codes do, by the gradients of the
pictures: a turn about the object's middle and a shift, six numbers a part and picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from vader3d.autodecoder.faces import detected_poses
from vader3d.autodecoder.posing import shrunk
from vader3d.config import Checked, ranged
from vader3d.data.batches.views import ViewBatch
from vader3d.data.dataset import DataSet
from vader3d.data.motion import Motion, composed
from vader3d.data.part_poses import beside, read_part_poses
from vader3d.geometry.cameras import Cameras
from vader3d.geometry.rotations import rotation_from_vector
from vader3d.geometry.skinning import inverse, nearest_pose
from vader3d.measures.poses import rotation_scores
from vader3d.progress import track
from vader3d.render import RenderConfig, Volume, render_views

BESIDE, DETECTOR = "beside", "detector"
SILHOUETTE = 0.05  # weight of masks beside colours where poses are refined
MOST_KEPT = 1 << 20  # poses that a network found: 50 MB
LEAST = 0.01  # share of an object's matter below which a part is pulled
KNOWN, TRIED_PX = 64, 32  # poses that a new clip's frames are compared with, in pictures that are at most so large


@dataclass(frozen=True)
class PartConfig(Checked):
    """Parts of moving subjects: as many as the decoder has extra channels, their skinning logits."""

    # a file of part poses for every picture; "beside": OUT.truth.safetensors of `prepare heads`; "detector": of people,
    # what their faces say; None: nothing moves
    poses: str | None = None
    start_noise: float = ranged(0.0, at_least=0)  # degrees (median) by which test beds turn them first
    # times that the network of poses learns them by all pictures before; parts then begin where it sees them, for it
    # sees alike what looks alike, and errors of each picture by itself average out. 0: parts begin as the file says
    passes: int = ranged(0, at_least=0)
    # share of the run after which parts turn as far as those poses do, for pictures hardly tell; 1: as they learn to
    turned: float = ranged(1.0, at_least=0, at_most=1)
    # pictures (standard deviation) over which what is learned is shared, for bodies move smoothly; 0: each by itself
    smooth: float = ranged(0.0, at_least=0)
    hold: float = ranged(0.5, at_least=0, at_most=1)  # share of the run in which they stay
    lr: float = ranged(1e-2, at_least=0)  # radians, and units of the cube
    # weight of squared shifts: a shift for each picture and a body nearer or farther look much the same, and are left
    stay: float = ranged(0.0, at_least=0)
    # weight of the distance of parts that hold next to nothing from the pose of the fullest: where nothing of a part is
    # seen, nothing else tells where it is (A21)
    pull: float = ranged(0.0, at_least=0)
    names: tuple[str, ...] = ()  # the file's; training fills them in
    pictures: int = ranged(0, at_least=0)  # of an object, at most; training fills it in


class PartPoses(nn.Module):
    """A table of poses, [3, 4] from the part at rest to the camera, of each picture of N objects."""

    turned: Tensor

    def __init__(self, config: PartConfig, objects: int):
        super().__init__()
        self.parts, self.pictures, self.smooth = len(config.names), config.pictures, config.smooth
        still = torch.eye(3, 4).repeat(objects * config.pictures, self.parts, 1, 1)
        self.start = nn.Parameter(still, requires_grad=False)
        self.register_buffer("turned", torch.tensor(False))  # as far as the file's, already
        self.table = nn.Embedding(objects * config.pictures, 6 * self.parts, sparse=True)
        nn.init.zeros_(self.table.weight)

    def forward(self, objects: Tensor, numbers: Tensor, *, held: bool = False) -> Tensor:
        """Poses [B, V, K, 3, 4] of the pictures `numbers` [B, V] of objects [B]; `held` ones get no gradient."""
        rows = objects[:, None] * self.pictures + numbers
        turns, shifts = self.moves(objects, rows, numbers).unflatten(-1, (self.parts, 6)).split(3, -1)
        if held:
            turns, shifts = 0 * turns, 0 * shifts  # every process then has a gradient to exchange
        start = self.start[rows]
        turned = start[..., :3] @ rotation_from_vector(turns)
        return torch.cat([turned, start[..., 3:] + shifts[..., None]], -1)

    def moves(self, objects: Tensor, rows: Tensor, numbers: Tensor) -> Tensor:
        """What was learned [B, V, 6 K]: of the pictures alone, or of their neighbours with them."""
        if not self.smooth:
            return self.table(rows)
        whole = self.table(objects[:, None] * self.pictures + torch.arange(self.pictures, device=objects.device))
        return bell(self.pictures, self.smooth).to(whole)[numbers] @ whole

    def shifts(self, objects: Tensor, numbers: Tensor) -> Tensor:
        """The mean square of how far parts are shifted from their start in pictures [B, V] of objects [B]."""
        rows = objects[:, None] * self.pictures + numbers
        return self.moves(objects, rows, numbers).unflatten(-1, (self.parts, 6))[..., 3:].square().mean()

    def of_batch(self, target: ViewBatch, *, held: bool = False) -> Tensor:
        """What `render_views` takes: from the world of the batch's cameras to rest. ValueError: views of shards."""
        if target.numbers is None:
            raise ValueError("parts.poses: wanted an archive, whose pictures have numbers; got shards")
        return to_rest(self(target.objects, target.numbers, held=held), target.cameras)

    def motion(self, number: int, names: tuple[str, ...], world_from_camera: Tensor) -> Motion:
        """How the parts of an object move, as a camera [4, 4] in front of it sees them."""
        poses = self(torch.tensor([number]), torch.arange(self.pictures)[None])[0].detach()
        return Motion(names, composed(world_from_camera[:3], poses))


def to_rest(poses: Tensor, cameras: Cameras) -> Tensor:
    """Poses [B, V, K, 3, 4] from the world of cameras [B, V] to rest, of those from rest to the camera."""
    return composed(inverse(poses), inverse(cameras.world_from_camera[..., :3, :])[:, :, None])


def from_rest(poses: Tensor, cameras: Cameras) -> Tensor:
    """The inverse of `to_rest`: poses [B, V, K, 3, 4] from rest to the cameras [B, V]."""
    return composed(inverse(cameras.world_from_camera[..., :3, :])[:, :, None], inverse(poses))


@torch.no_grad()
def matter_shares(volume: Volume, parts: int) -> Tensor:
    """How much of each object's matter each of K parts holds, [B, K]: densities times the softmax of logits."""
    matter = (volume.density * volume.grid[:, 4 : 4 + parts].softmax(1)).float().flatten(2).sum(-1)
    return matter / matter.sum(1, keepdim=True).clamp_min(1e-9)


def pull(poses: Tensor, volume: Volume) -> Tensor:
    """mean_k relu(LEAST - m_k) mean |A_k - A_fullest|, of poses A [B, V, K, 3, 4]: the fullest has no gradient.

    m_k: part k's share of an object's matter (`matter_shares`), without gradient. The code the paper builds on has mean
    densities in place of shares, which depend on the density's scale.
    """
    shares = matter_shares(volume, poses.shape[2])
    fullest = poses.detach()[torch.arange(len(poses)), :, shares.argmax(1)]
    apart = (poses - fullest[:, :, None]).abs().mean((1, 3, 4))
    return ((LEAST - shares).clamp_min(0) * apart).mean()


def started(config: PartConfig, data: DataSet, *, parts: int) -> tuple[PartConfig, Tensor | None]:
    """The configuration of parts whose poses are learned from a start, and that, [N, F, K, 3, 4]; None: nothing moves.

    ValueError: no such file, or poses of other objects, or of as many parts as the decoder has no channels for.
    """
    if config.poses is None:
        return config, None
    if config.poses == DETECTOR:
        poses, names = detected_poses(data)
    else:
        path = beside(Path(data.path)) if config.poses == BESIDE else Path(config.poses)
        poses, names = read_part_poses(path)
        if len(poses) != len(data):
            raise ValueError(f"{path}: wanted poses of the data's {len(data)} objects; got those of {len(poses)}")
    if len(names) != parts:
        raise ValueError(f"decoder.extra_channels: wanted {len(names)}, for {', '.join(names)}; got {parts}")
    return replace(config, names=names, pictures=poses.shape[1]), poses


def found_parts(
    config: PartConfig, archive: Path | str, shape: tuple[int, int, int]
) -> tuple[PartConfig, Tensor | None]:
    """The configuration of K parts that a network finds in F pictures of N objects, of `shape` (N, F, K).

    Poses of `MOST_KEPT` are kept in the end, of the first pictures of each. And true poses [N, F, K, 3, 4], where a
    file beside the archive tells them: they are for scores alone. ValueError: the configuration has another file, for
    poses to start at.
    """
    if config.poses is not None:
        raise ValueError(
            f"parts.poses: wanted none where poses.source=keypoints finds them; got {config.poses}; "
            "--set poses.source=table learns both"
        )
    names = tuple(f"part {number}" for number in range(shape[2]))
    pictures = min(shape[1], max(1, MOST_KEPT // (shape[0] * shape[2])))
    return replace(config, names=names, pictures=pictures), true_poses(archive, shape)


def true_poses(archive: Path | str, shape: Sequence[int]) -> Tensor | None:
    """Poses of `shape` [N, F, K, 3, 4], where a file beside the archive tells such."""
    path = beside(Path(archive))
    poses = read_part_poses(path)[0] if path.is_file() else None
    return None if poses is None or poses.shape[:3] != tuple(shape[:3]) else poses


def smoothed(poses: Tensor, width: float) -> Tensor:
    """Means of poses [N, F, K, 3, 4] over neighbours in F, as `bell` weighs them; 0: the poses."""
    return nearest_pose(torch.einsum("fg,ng...->nf...", bell(poses.shape[1], width), poses)) if width else poses


def bell(count: int, width: float) -> Tensor:
    """Weights [F, F], of which each row sums to 1: of neighbours, by their distance, with this standard deviation."""
    number = torch.arange(count)
    return (-0.5 * ((number[:, None] - number) / width).square()).softmax(1)


@torch.no_grad()
def part_scores(module: PartPoses, poses: Tensor, names: tuple[str, ...], *, most: int = 64) -> dict[str, float]:
    """By true poses, of each part: `NAME_rotation_error` and its controls (`rotation_scores`), and the start's."""
    objects = torch.linspace(0, len(poses) - 1, min(most, len(poses))).long().to(module.start.device)
    numbers = torch.arange(module.pictures, device=objects.device).expand(len(objects), -1)
    found = module(objects, numbers).flatten(0, 1).cpu()
    start = module.start.unflatten(0, (-1, module.pictures))[objects].flatten(0, 1).cpu()
    true = poses[objects.cpu()].flatten(0, 1)
    scores: dict[str, float] = {}
    for part, name in enumerate(names):
        each = rotation_scores(found[:, part, :, :3], true[:, part, :, :3])
        scores |= {f"{name}_{key}": value for key, value in each.items()}
        started = rotation_scores(start[:, part, :, :3], true[:, part, :, :3])
        scores[f"{name}_start_error"] = started["rotation_error"]
    return scores


def moved_by(poses: Tensor, moves: Tensor) -> Tensor:
    """Poses [..., 3, 4], from the world to rest, with a turn about the object's middle and a shift, [..., 6], after."""
    turns, shifts = moves.split(3, -1)
    return composed(torch.cat([rotation_from_vector(turns), shifts[..., None]], -1), poses)


def refined_parts(
    volume: Volume, target: ViewBatch, start: Tensor, render: RenderConfig, *, steps: int, rate: float, title: str = ""
) -> Tensor:
    """Poses like `start` [B, V, K, 3, 4], from the world to rest: the best of so many steps by `target`, all together.

    The volume stays. title: of a bar of progress; "": none.
    """
    volume, start = volume.with_grid(volume.grid.detach()), start.detach()
    moves = torch.zeros(*start.shape[:3], 6, device=start.device, requires_grad=True)
    optimiser, best, least = torch.optim.Adam([moves], lr=rate), start, float("inf")
    for step in track(range(steps), title, total=steps, shown=bool(title)):
        optimiser.param_groups[0]["lr"] = rate * (1 - step / steps)
        poses = moved_by(start, moves)
        colour, opacity = render_views(volume, target.cameras, render, poses=poses)
        loss = (colour - target.colour).square().mean() + SILHOUETTE * (opacity - target.mask).square().mean()
        if loss.item() < least:
            best, least = poses.detach(), loss.item()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return best


@torch.no_grad()
def rough_parts(module: PartPoses, volume: Volume, target: ViewBatch, render: RenderConfig) -> Tensor:
    """For `target` [1, V] poses [1, V, K, 3, 4], from the world to rest: each that of a known picture.

    Of `KNOWN` poses of the table that by which a small picture of `volume` [1] is most like the target's.
    """
    size = min(TRIED_PX, target.cameras.height)
    small = target.cameras.resized(size, size)
    rows = torch.linspace(0, len(module.start) - 1, min(KNOWN, len(module.start))).long().unique()
    poses = module(rows // module.pictures, (rows % module.pictures)[:, None])[:, 0].to(volume.grid.device)
    tried = composed(inverse(poses), inverse(small.world_from_camera[0, 0, :3]))
    each = Cameras(
        small.world_from_camera[:, :1].expand(1, len(rows), 4, 4),
        small.intrinsics[:, :1].expand(1, len(rows), 4),
        size,
        size,
    )
    seen = torch.cat(render_views(volume, each, render, poses=tried[None]), 2)[0]
    nearest = (shrunk(target, size)[0][:, None] - seen).square().flatten(2).mean(-1).argmin(1)
    return tried[nearest][None]
