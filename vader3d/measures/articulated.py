"""Scores of moving subjects in parts, each beside its control."""

import itertools

import torch
from torch import Tensor

from vader3d.measures.poses import aligned_degrees, rotation_scores


def moving_scores(found: Tensor, true: Tensor) -> dict[str, float]:
    """Of frames [N, F, 3, 3] of N clips, from rest to the camera.

    `rotation_scores`, `yaw_correlation`, and both of each clip's in reverse order, `shuffled_error` and
    `shuffled_yaw_correlation`.
    """
    scores = rotation_scores(found.flatten(0, 1), true.flatten(0, 1))
    shuffled, every = (
        aligned_degrees(found.flip(1).flatten(0, 1), true.flatten(0, 1)),
        torch.ones(found.shape[:2]).bool(),
    )
    return scores | {
        "shuffled_error": float(shuffled.median()),
        "yaw_correlation": correlation(yaws(found), yaws(true), every),
        "shuffled_yaw_correlation": correlation(yaws(found.flip(1)), yaws(true), every),
    }


def yaws(rotations: Tensor) -> Tensor:
    """Degrees [...] by which what faces -y at rest looks past the camera, to its right, of rotations [..., 3, 3]."""
    facing = -rotations[..., 1]
    return torch.atan2(facing[..., 0], -facing[..., 2]).rad2deg()


def correlation(found: Tensor, true: Tensor, mask: Tensor) -> float:
    """Pearson's, of two maps where the mask is true, all of one shape; 0 where one of them is even."""
    a, b = found[mask].double(), true[mask].double()
    a, b = a - a.mean(), b - b.mean()
    spread = a.square().sum().sqrt() * b.square().sum().sqrt()
    return float((a * b).sum() / spread) if spread > 1e-12 else 0.0


def flat_card(picture: Tensor, intrinsics: Tensor, seen_from_novel: Tensor, distance: float) -> Tensor:
    """What cameras [V] see that stand at `seen_from_novel` [V, 4, 4] of one, were all it saw a card across its view.

    picture: [C, H, W], as the one camera, intrinsics [4], sees it; the card is so far away. -> [V, C, H, W], 0 beside.
    """
    height, width = picture.shape[1:]
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    fx, fy, cx, cy = intrinsics.tolist()
    rays = torch.stack([(x - cx) / fx, (y - cy) / fy, torch.ones_like(x)], -1).flatten(0, 1)
    directions = rays @ seen_from_novel[:, :3, :3].mT
    origins = seen_from_novel[:, None, :3, 3]
    depth = (distance - origins[..., 2]) / directions[..., 2]
    points = origins + depth[..., None] * directions
    across = points[..., 0] / distance * fx + cx, points[..., 1] / distance * fy + cy
    places = torch.stack([2 * across[0] / width - 1, 2 * across[1] / height - 1], -1).view(-1, height, width, 2)
    pictures = picture.expand(len(places), -1, -1, -1)
    shown = torch.nn.functional.grid_sample(pictures, places, padding_mode="zeros", align_corners=False)
    return shown * (depth > 0).view(-1, 1, height, width)


def parts_iou(found: Tensor, true: Tensor, parts: int, *, nothing: int = 255) -> float:
    """Mean IoU over parts of label maps of one shape, the names of the found ones chosen best."""
    seen = true != nothing

    def mean_iou(names: tuple[int, ...]) -> float:
        each = []
        for part, name in enumerate(names):
            a, b = (found == name) & seen, true == part
            each.append(float((a & b).sum() / (a | b).sum().clamp_min(1)))
        return sum(each) / parts

    return max(mean_iou(names) for names in itertools.permutations(range(parts)))


def leakage(swapped: Tensor, own: Tensor) -> dict[str, float]:
    """Whom swapped pictures look like: features [I, I, C] of identity i driven by d, and of clips themselves, [I, C].

    `identity_kept`: the share of i != d whose nearest of `own` is i. `driver_leaked`: the share nearest to d among all
    but i; `chance`: what that would be of nobody in particular.
    """
    count = len(own)
    apart = torch.cdist(swapped.flatten(0, 1).double(), own.double()).view(count, count, count)
    other = ~torch.eye(count, dtype=torch.bool)
    kept = apart.argmin(-1) == torch.arange(count)[:, None]
    without_own = apart.masked_fill(torch.eye(count, dtype=torch.bool)[:, None], torch.inf)
    leaked = without_own.argmin(-1) == torch.arange(count)
    return {
        "identity_kept": float(kept[other].double().mean()),
        "driver_leaked": float(leaked[other].double().mean()),
        "chance": 1 / (count - 1),
    }


def jitter(rotations: Tensor) -> float:
    """Mean degrees by which frames [N, F, 3, 3] are off the middles of their neighbours."""
    middle = rotations[:, 1:-1]
    second = rotations[:, 2:] + rotations[:, :-2] - 2 * middle
    return float((second.square().sum((-1, -2)).sqrt() / 2**1.5).rad2deg().mean())
