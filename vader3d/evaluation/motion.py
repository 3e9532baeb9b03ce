"""How surfaces move: skinned meshes beside true ones, frame by frame."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vader3d.assets import Asset
from vader3d.export.mesh import sample_surface_points
from vader3d.export.skinned import skin_of
from vader3d.geometry.skinning import inverse, moved, nearest_pose
from vader3d.measures.nearest import nearest_squares
from vader3d.measures.shapes import chamfer_distance

SCALES, TRIED = torch.linspace(0.85, 1.15, 31), 4  # about the camera, and frames by which the best is found


def true_surface(truth: dict[str, Tensor], clip: int) -> tuple[Tensor, Tensor]:
    """True places [F, P, 3] of a clip, told from its cameras, and which the clip shows [P]."""
    places = moved(truth["surface"][clip].float(), inverse(truth["cameras"][clip, :, :3]))
    return places, truth["seen"][clip]


def motion_scores(asset: Asset, poses: Tensor, truth: dict[str, Tensor], clip: int) -> dict[str, float]:
    """How near an object's mesh in poses [F, K, 3, 4], from rest to the camera, comes to a clip's true surface.

    `motion_chamfer`: Chamfer distance, mean over frames; `motion_seen`: the mean squared distance to the mesh of true
    places that the clip shows; both times 1,000. All of a clip is scaled about the camera by what fits best: pictures
    stay as they are. Controls: `_still`, the mesh in the clip's mean pose; `_of_another`, the next clip's true surface
    in the mesh's place; `_least`, true places from each other. EmptyVolumeError: there is no mesh.
    """
    mesh = asset.mesh()
    skin, rest = skin_of(asset.volume, mesh), np.asarray(mesh.vertices)
    true, seen = true_surface(truth, clip)

    def placed(poses: Tensor) -> Tensor:
        frames = []
        for number, pose in enumerate(poses):
            mesh.vertices = skin.posed(rest, pose)
            frames.append(sample_surface_points(mesh, true.shape[1], seed=number))
        return torch.stack(frames)

    still = nearest_pose(poses.mean(0, keepdim=True)).expand_as(poses)
    other, _ = true_surface(truth, (clip + 1) % len(truth["surface"]))
    scores: dict[str, float] = {}
    for control, ours in (("", placed(poses)), ("_still", placed(still)), ("_of_another", other)):
        ours = fitted(ours, true, seen)
        scores[f"motion_chamfer{control}"] = 1000 * float(chamfer_distance(ours, true).mean())
        scores[f"motion_seen{control}"] = 1000 * float(to_surface(ours, true[:, seen]))
    apart = [torch.cdist(frame, frame).fill_diagonal_(torch.inf).amin(1).square() for frame in true]
    least = torch.stack(apart).mean(0)
    means = {"chamfer": 2 * least.mean(), "seen": least[seen].mean()}
    return scores | {f"motion_{name}_least": 1000 * float(value) for name, value in means.items()}


def mean_scores(each: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of each score over objects; {}: there are none."""
    return {key: round(sum(scores[key] for scores in each) / len(each), 2) for key in (each[0] if each else ())}


def fitted(points: Tensor, true: Tensor, seen: Tensor) -> Tensor:
    """Points [F, P, 3] before a camera, scaled about it to come as near as can be to the true ones that are seen."""
    some = torch.linspace(0, len(true) - 1, min(TRIED, len(true))).long()
    away = torch.stack([to_surface(scale * points[some], true[some][:, seen]) for scale in SCALES])
    return SCALES[away.argmin()] * points


def to_surface(points: Tensor, places: Tensor) -> Tensor:
    """The mean squared distance of places [F, Q, 3] to the nearest of points [F, P, 3]."""
    return torch.stack([nearest_squares(*pair)[1].mean() for pair in zip(points, places, strict=True)]).mean()
