"""Where poses of parts begin and how far parts turn, by rough ones."""

import torch
from torch import Tensor

from vader3d.autodecoder.model import Autodecoder
from vader3d.autodecoder.parts import PartPoses, smoothed
from vader3d.autodecoder.pose_table import nearest_hypotheses
from vader3d.autodecoder.posing import picked
from vader3d.data.batches.views import PosedViews, Views
from vader3d.geometry.rotations import nearest_rotation, random_turns, rotation_from_vector, vector_from_rotation
from vader3d.progress import track
from vader3d.training.ema import MovingAverage

LONG_ENOUGH, STILL, MOST_LOST = 8, 1e-6, 2.0  # pictures, radians squared, and a factor: of what networks take


def roughened(poses: Tensor, *, noise: float, seed: int) -> Tensor:
    """Poses [N, F, K, 3, 4], each turned by a random angle of so many degrees (median)."""
    turns = random_turns(*poses.shape[:3], degrees=noise, generator=torch.Generator().manual_seed(seed))
    return torch.cat([poses[..., :3] @ rotation_from_vector(turns), poses[..., 3:]], -1)


def learn_start(
    model: Autodecoder, views: Views, optimiser: torch.optim.Optimizer, *, passes: int, batch: int, each: int, seed: int
) -> None:
    """Let the table of parts begin at what its network sees that went so many times through its pictures.

    batch: objects of a step; each: pictures of an object in it. The network is averaged over its last time through:
    it sees alike what looks alike, and has not learned each picture's error by heart. Neighbours in a clip then share.
    Where parts are stays the file's, shared alike: that is not what is hard to tell.
    """
    posing, parts = model.posing, model.parts
    assert posing is not None
    assert parts is not None
    device = parts.start.device
    once = len(views) * parts.pictures // each
    average = MovingAverage(posing, half_life=once, ramp=0.5)
    for seen in track(range(0, passes * once, batch), "start of poses", total=-(-passes * once // batch)):
        target = views.training_batch(objects_seen=seen, batch=batch, views=each, seed=seed, device=device).to(device)
        assert target.numbers is not None
        hypotheses = posing(torch.cat([target.colour, target.mask], 2), target.cameras)
        away, _ = nearest_hypotheses(hypotheses.poses, parts(target.objects, target.numbers))
        optimiser.zero_grad(set_to_none=True)
        (away + sum(hypotheses.losses.values())).backward()
        optimiser.step()
        average.update(posing, batch=batch, objects_seen=seen + batch)
    every = PosedViews(views.archive, lambda count: list(range(count)))
    rough = parts.start.view(-1, parts.pictures, parts.parts, 3, 4)
    found = rough.clone()
    for number, own in enumerate(found):
        count = min(every.view_count(number), parts.pictures)
        target = every.views_of(torch.tensor([number]), torch.arange(count)[None]).to(device)
        with torch.no_grad():
            hypotheses = average.module(torch.cat([target.colour, target.mask], 2), target.cameras)
        _, numbers = nearest_hypotheses(hypotheses.poses, rough[number : number + 1, :count])
        own[:count, ..., :3] = picked(hypotheses.poses, numbers)[0, ..., :3]
    with torch.no_grad():
        rough.copy_(smoothed(found, parts.smooth))


@torch.no_grad()
def turn_as_far(parts: PartPoses, rough: Tensor) -> None:
    """Let a table's parts turn as far as rough poses [N, F, K, 3, 4] say, whatever these are off in each picture.

    Volumes and poses fit the pictures as well where parts turn less and the relief is deeper: pictures alone would not
    tell, and what networks are unsure of turns too little.
    """
    rows = torch.arange(rough.shape[1], device=parts.start.device).expand(len(rough), -1)
    found = parts(torch.arange(len(rough), device=rows.device), rows)
    turned = louder(found, lost_motion(rough.to(found), found)).flatten(0, 1)
    parts.start[..., :3] = turned[..., :3]
    parts.table.weight.unflatten(1, (parts.parts, 6))[..., :3] = 0
    parts.turned.fill_(True)


def louder(poses: Tensor, factor: Tensor) -> Tensor:
    """Poses [N, F, K, 3, 4] whose parts turn `factor` [K] times as far from their mean over all."""
    middle, turns = from_middle(poses[..., :3])
    return torch.cat([middle @ rotation_from_vector(factor[:, None] * turns), poses[..., 3:]], -1)


def from_middle(rotations: Tensor) -> tuple[Tensor, Tensor]:
    """The mean rotation of each part, [1, 1, K, 3, 3], and how those [N, F, K, 3, 3] turn from it, as vectors."""
    middle = nearest_rotation(rotations.mean((0, 1), keepdim=True))
    return middle, vector_from_rotation(middle.mT @ rotations)


def lost_motion(rough: Tensor, found: Tensor) -> Tensor:
    """By how much [K] parts turn more than in `found` poses, by rough ones of the same clips, both [N, F, K, 3, 4].

    Var(rough) without noise over Cov(rough, found). Who turns less than it seems looks deeper than it is: the relief
    grows. Noise is what differs from picture to picture: of third differences, in which smooth motion hardly is.
    """
    if rough.shape[1] < LONG_ENOUGH:
        return torch.ones(rough.shape[2]).to(rough)
    turns, seen = (from_middle(poses[..., :3].double())[1] for poses in (rough, found))
    noise = turns.diff(n=3, dim=1).square().mean((0, 1, 3)) / 20  # variance: 1 + 9 + 9 + 1 of it
    whole = turns.var((0, 1), correction=0).mean(-1) - noise
    shared = ((turns - turns.mean((0, 1))) * (seen - seen.mean((0, 1)))).mean((0, 1, 3))
    return (whole.clamp_min(0) / shared.clamp_min(STILL)).clamp(1.0, MOST_LOST).to(rough)
