"""Poses that a network finds in pictures, scored and kept."""

import torch
from torch import Tensor

from vader3d.autodecoder.model import Autodecoder
from vader3d.autodecoder.parts import matter_shares, rough_parts, to_rest
from vader3d.autodecoder.posing import cameras_at, found_in, seen_by
from vader3d.data.batches.views import PosedViews, ViewBatch, Views
from vader3d.data.dataset import DataSet
from vader3d.measures.poses import rotation_scores
from vader3d.render import RenderConfig, Volume

JUDGED_OBJECTS, JUDGED_VIEWS = 16, 4


@torch.no_grad()
def found_scores(
    model: Autodecoder, views: Views, true_parts: Tensor | None, names: tuple[str, ...]
) -> dict[str, float]:
    """`rotation_scores` of four views of each of up to 16 objects; none where nothing true is known.

    By the data's own cameras, which training never reads, of the network's poses and, as `table_...`, of a table's. Of
    parts: by their true poses [N, F, K, 3, 4], of each part, as `network_NAME_...`.
    """
    objects = views.readable(torch.linspace(0, len(views) - 1, min(JUDGED_OBJECTS, len(views))).long())
    if model.parts is None:
        objects = objects[[views.archive.records[number].posed for number in objects.tolist()]]
    if not len(objects) or (model.parts is not None and true_parts is None):
        return {}
    fewest = min(views.view_count(o) for o in objects.tolist())
    numbers = torch.linspace(0, fewest - 1, min(JUDGED_VIEWS, fewest)).long()
    target = views.views_of(objects, numbers.expand(len(objects), -1)).to(model.decoder.stem.weight.device)
    poses = poses_found(model, target)
    if true_parts is not None and target.numbers is not None:
        true = true_parts[objects[:, None], target.numbers.cpu()].flatten(0, 1)
        found = poses.flatten(0, 1).cpu()
        return {
            f"network_{name}_{key}": value
            for part, name in enumerate(names)
            for key, value in rotation_scores(found[:, part, :, :3], true[:, part, :, :3]).items()
        }
    cameras = [seen_by(poses, target.cameras)[0], target.cameras]
    if model.poses is not None and target.numbers is not None:
        cameras.append(cameras_at(model.poses(target.objects, target.numbers), target.cameras))
    found, true, *table = (c.world_from_camera[..., :3, :3].mT.flatten(0, 1).cpu() for c in cameras)
    scores = rotation_scores(found, true)
    return scores | {f"table_{name}": value for t in table for name, value in rotation_scores(t, true).items()}


@torch.no_grad()
def part_shares(model: Autodecoder, objects: Tensor, names: tuple[str, ...]) -> dict[str, float]:
    """`NAME_share` of each part: the mean of how much of these objects' matter it holds."""
    was_training = model.training
    model.eval()
    shares = matter_shares(model(objects), len(names)).mean(0).tolist()
    model.train(was_training)
    return {f"{name}_share": share for name, share in zip(names, shares, strict=True)}


@torch.no_grad()
def place_found(model: Autodecoder, archive: DataSet) -> None:
    """Let a model's table of parts begin at what its network finds in pictures of `archive`."""
    views, parts = PosedViews(archive, lambda count: list(range(count))), model.parts
    assert parts is not None
    for number, rows in enumerate(parts.start.view(-1, parts.pictures, parts.parts, 3, 4)):
        count = min(views.view_count(number), parts.pictures)
        target = views.views_of(torch.tensor([number]), torch.arange(count)[None]).to(parts.start.device)
        rows[:count] = poses_found(model, target)[0]
        rows[count:] = rows[count - 1]  # of objects with fewer pictures


@torch.no_grad()
def first_poses(model: Autodecoder, volume: Volume, target: ViewBatch, render: RenderConfig) -> Tensor:
    """Poses of parts [1, V, K, 3, 4], from the world to rest, where a search for those in `target` [1, V] begins.

    What the network finds; without one, those of the most similar known picture.
    """
    assert model.parts is not None
    if model.posing is None:
        return rough_parts(model.parts, volume, target, render)
    return to_rest(found_in(model.posing, volume, target), target.cameras)


def poses_found(model: Autodecoder, target: ViewBatch) -> Tensor:
    """What a model's network finds in the pictures of known objects: [B, V, K, 3, 4], camera from rest."""
    assert model.posing is not None
    was_training = model.training
    model.eval()
    poses = found_in(model.posing, model(target.objects), target)
    model.train(was_training)
    return poses
