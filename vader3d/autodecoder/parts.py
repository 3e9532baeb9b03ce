"""Poses of parts, one for each part and picture, learned from a start.

Their start comes from a file. They are held while volumes form, and then learn as the codes do, by the gradients of the
pictures: a turn about the object's middle and a shift, six numbers a part and picture.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from vader3d.config import Checked, ranged
from vader3d.data.batches.views import ViewBatch
from vader3d.data.motion import Motion, composed
from vader3d.data.part_poses import beside, read_part_poses
from vader3d.geometry.rotations import random_turns, rotation_from_vector
from vader3d.geometry.skinning import inverse
from vader3d.measures.poses import rotation_scores

BESIDE = "beside"


@dataclass(frozen=True)
class PartConfig(Checked):
    """Parts of moving subjects: as many as the decoder has extra channels, their skinning logits."""

    # a file of part poses for every picture; "beside": OUT.truth.safetensors of `prepare heads`; None: nothing moves
    poses: str | None = None
    start_noise: float = ranged(0.0, at_least=0)  # degrees (median) by which test beds turn them first
    hold: float = ranged(0.5, at_least=0, at_most=1)  # share of the run in which they stay
    lr: float = ranged(1e-2, at_least=0)  # radians, and units of the cube
    names: tuple[str, ...] = ()  # the file's; training fills them in
    pictures: int = ranged(0, at_least=0)  # of an object, at most; training fills it in


class PartPoses(nn.Module):
    """A table of poses, [3, 4] from the part at rest to the camera, of each picture of N objects."""

    def __init__(self, config: PartConfig, objects: int):
        super().__init__()
        self.parts, self.pictures = len(config.names), config.pictures
        still = torch.eye(3, 4).repeat(objects * config.pictures, self.parts, 1, 1)
        self.start = nn.Parameter(still, requires_grad=False)
        self.table = nn.Embedding(objects * config.pictures, 6 * self.parts, sparse=True)
        nn.init.zeros_(self.table.weight)

    def forward(self, objects: Tensor, numbers: Tensor, *, held: bool = False) -> Tensor:
        """Poses [B, V, K, 3, 4] of the pictures `numbers` [B, V] of objects [B]; `held` ones get no gradient."""
        rows = objects[:, None] * self.pictures + numbers
        turns, shifts = self.table(rows).unflatten(-1, (self.parts, 6)).split(3, -1)
        if held:
            turns, shifts = 0 * turns, 0 * shifts  # every process then has a gradient to exchange
        start = self.start[rows]
        turned = start[..., :3] @ rotation_from_vector(turns)
        return torch.cat([turned, start[..., 3:] + shifts[..., None]], -1)

    def of_batch(self, target: ViewBatch, *, held: bool = False) -> Tensor:
        """What `render_views` takes: from the world of the batch's cameras to rest. ValueError: views of shards."""
        if target.numbers is None:
            raise ValueError("parts.poses: wanted an archive, whose pictures have numbers; got shards")
        to_camera = inverse(target.cameras.world_from_camera[..., :3, :])[:, :, None]
        poses = self(target.objects, target.numbers, held=held)
        return composed(inverse(poses), to_camera)

    def motion(self, number: int, names: tuple[str, ...], world_from_camera: Tensor) -> Motion:
        """How the parts of an object move, as a camera [4, 4] in front of it sees them."""
        poses = self(torch.tensor([number]), torch.arange(self.pictures)[None])[0].detach()
        return Motion(names, composed(world_from_camera[:3], poses))


def with_file(config: PartConfig, archive: Path | str, *, objects: int, parts: int) -> tuple[PartConfig, Tensor | None]:
    """The configuration with what the file says, and its poses [N, F, K, 3, 4]; None: there are none.

    ValueError: no such file, or poses of other objects, or of as many parts as the decoder has no channels for.
    """
    if config.poses is None:
        return config, None
    path = beside(Path(archive)) if config.poses == BESIDE else Path(config.poses)
    poses, names = read_part_poses(path)
    if len(poses) != objects:
        raise ValueError(f"{path}: wanted poses of the data's {objects} objects; got those of {len(poses)}")
    if len(names) != parts:
        raise ValueError(f"decoder.extra_channels: wanted {len(names)}, for {', '.join(names)}; got {parts}")
    return replace(config, names=names, pictures=poses.shape[1]), poses


@torch.no_grad()
def place(module: PartPoses, poses: Tensor, *, noise: float, seed: int) -> None:
    """Let a table begin at poses [N, F, K, 3, 4], each turned by a random angle of so many degrees (median)."""
    turns = random_turns(*poses.shape[:3], degrees=noise, generator=torch.Generator().manual_seed(seed))
    turned = poses[..., :3] @ rotation_from_vector(turns)
    module.start.copy_(torch.cat([turned, poses[..., 3:]], -1).flatten(0, 1))


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
