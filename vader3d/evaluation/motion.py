"""How surfaces move: skinned meshes beside true ones, frame by frame."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vader3d.assets import Asset
from vader3d.export.mesh import sample_surface_points
from vader3d.export.skinned import skin_of
from vader3d.geometry.skinning import inverse, moved, nearest_pose
from vader3d.measures.shapes import chamfer_distance


def seen_surface(truth: dict[str, Tensor], clip: int) -> Tensor:
    """True places [F, P, 3] of a clip as its cameras see them."""
    return moved(truth["surface"][clip].float(), inverse(truth["cameras"][clip, :, :3]))


def motion_scores(asset: Asset, poses: Tensor, true: Tensor, other: Tensor) -> dict[str, float]:
    """Chamfer distances, times 1,000, of an object's mesh in poses [F, K, 3, 4] to true places [F, P, 3]: frames' mean.

    Poses take what is at rest to the camera. All of a clip is scaled about the camera until its mean depth is the true
    one: pictures are the same. Controls: `_still`, the mesh in the clip's mean pose; `_of_another`, other true places
    [F, P, 3] for the mesh's; `_least`, what two draws of one surface have. EmptyVolumeError: there is no mesh.
    """
    mesh = asset.mesh()
    skin, rest = skin_of(asset.volume, mesh), np.asarray(mesh.vertices)

    def placed(poses: Tensor) -> Tensor:
        frames = []
        for number, pose in enumerate(poses):
            mesh.vertices = skin.posed(rest, pose)
            frames.append(sample_surface_points(mesh, true.shape[1], seed=number))
        return as_far(torch.stack(frames), true)

    still = nearest_pose(poses.mean(0, keepdim=True)).expand_as(poses)
    own = [torch.cdist(frame, frame).fill_diagonal_(torch.inf).amin(1).square().mean() for frame in true]
    scores = {
        "": chamfer_distance(placed(poses), true),
        "_still": chamfer_distance(placed(still), true),
        "_of_another": chamfer_distance(as_far(other, true), true),
        "_least": 2 * torch.stack(own),
    }
    return {f"motion_chamfer{control}": 1000 * float(values.mean()) for control, values in scores.items()}


def mean_scores(each: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of each score over objects; {}: there are none."""
    return {key: round(sum(scores[key] for scores in each) / len(each), 2) for key in (each[0] if each else ())}


def as_far(points: Tensor, true: Tensor) -> Tensor:
    """Points [F, P, 3] before a camera, scaled about it so that they are as far, on average, as others."""
    return points * (true[..., 2].mean() / points[..., 2].mean())
