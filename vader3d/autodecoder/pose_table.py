"""One learned pose for each training picture, from a rough start."""

import torch
from torch import Tensor, nn

from vader3d.autodecoder.posing import PoseConfig, shifted
from vader3d.data.batches.views import PosedViews, Views
from vader3d.geometry.rotations import random_turns
from vader3d.geometry.skinning import inverse
from vader3d.training.optimisers import RowAdam


class PoseTable(nn.Module):
    """Numbers of objects [B] and of their views [B, V] -> poses [B, V, 3, 4], camera from object."""

    start: Tensor

    def __init__(self, objects: int, views: int):
        super().__init__()
        self.views = views
        self.moves = nn.Embedding(objects * views, 6, sparse=True)  # a turn as a vector in radians, a shift
        nn.init.zeros_(self.moves.weight)
        self.register_buffer("start", torch.zeros(objects, views, 3, 4))

    def forward(self, objects: Tensor, numbers: Tensor) -> Tensor:
        moves = self.moves(objects[:, None] * self.views + numbers)
        return shifted(self.start[objects[:, None], numbers], moves)


def most_views(config: PoseConfig, views: Views) -> int:
    """How many columns a table has. ValueError: pictures without numbers, those of shards."""
    if not isinstance(views, PosedViews):
        raise ValueError(f"poses.source: wanted keypoints where data are shards; got {config.source}")
    return max(record.views for record in views.archive.records)


def place_table(table: PoseTable, config: PoseConfig, views: Views, base: Tensor, *, seed: int) -> None:
    """Where poses start: at `base` [3, 4], or at the data's cameras, each turned by `start_noise` degrees at random."""
    if config.start == "mean":
        table.start.copy_(base.expand_as(table.start))
        return
    generator = torch.Generator().manual_seed(seed)
    for number in range(len(views)):
        seen = views.views_of(torch.tensor([number]), torch.arange(views.view_count(number))[None])
        assert seen.numbers is not None
        pose = inverse(seen.cameras.world_from_camera[0, :, :3])
        moves = torch.zeros(len(pose), 6)
        moves[:, :3] = random_turns(len(pose), degrees=config.start_noise, generator=generator)
        table.start[number, seen.numbers[0]] = shifted(pose, moves)


def table_of_poses_optimiser(table: PoseTable, config: PoseConfig) -> torch.optim.Optimizer:
    """Adam by which each picture's pose moves as if it were alone."""
    return RowAdam([table.moves.weight], lr=config.table_lr, betas=(0.5, 0.9))


def nearest_hypotheses(hypotheses: Tensor, poses: Tensor) -> tuple[Tensor, Tensor]:
    """How far poses [B, V, K, 3, 4] lie from the nearest of hypotheses [B, V, H, K, 3, 4], and its numbers [B, V].

    The mean, with a gradient to these hypotheses alone.
    """
    apart = distance(hypotheses, poses.detach()[:, :, None]).mean(-1)
    return apart.amin(-1).mean(), apart.argmin(-1)


def distance(poses: Tensor, others: Tensor) -> Tensor:
    """How far poses [..., 3, 4] lie from others: chords of rotations and shifts, [...]."""
    apart = poses - others
    chord = apart[..., :3].square().sum((-1, -2)).clamp_min(1e-8).sqrt()
    return chord + apart[..., 3].abs().mean(-1)
