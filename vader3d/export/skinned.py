"""Meshes whose parts move: skins, and motions as a GLB's animation."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vader3d.data.motion import Motion, quaternions
from vader3d.export.gltf import Glb
from vader3d.export.placement import Placement
from vader3d.render.volume import ALIGN_CORNERS, Volume

if TYPE_CHECKING:
    from trimesh import Trimesh

MOST_JOINTS = 4  # of a vertex, in glTF's first set
LEAST_WEIGHT = 1e-6
ROOT = "root"


class Skin(NamedTuple):
    """Of P vertices: which parts move each [P, 4], how much [P, 4], sum 1; where each of K parts is at rest [K, 3]."""

    parts: np.ndarray
    weights: np.ndarray
    middles: np.ndarray

    def posed(self, vertices: np.ndarray, poses: Tensor) -> np.ndarray:
        """Vertices at rest [P, 3] where poses [K, 3, 4] take them, as every program that reads a GLB computes it."""
        each = poses.double().numpy()[self.parts]  # [P, 4, 3, 4]
        blended = (self.weights[..., None, None] * each).sum(1)
        return np.einsum("pij,pj->pi", blended[..., :3], vertices) + blended[..., 3]


def skin_of(volume: Volume, mesh: "Trimesh") -> Skin:
    """The skin of a mesh of one object's volume [1, 4 + K, D, H, W], by its K skinning channels.

    A vertex goes with the shares of the parts at its place (equation 8), of the four largest. ValueError: the volume
    has no such channels.
    """
    logits = volume.extra.detach().float().cpu()
    if not logits.shape[1]:
        raise ValueError("volume: wanted skinning channels, one a part; got none")
    vertices = np.asarray(mesh.vertices)
    read = torch.nn.functional.grid_sample(
        logits, torch.from_numpy(vertices).float()[None, None, None], padding_mode="border", align_corners=ALIGN_CORNERS
    )
    shares = read[0, :, 0, 0].double().softmax(0).T.numpy()
    parts = np.argsort(-shares, 1, kind="stable")[:, :MOST_JOINTS]
    weights = np.take_along_axis(shares, parts, 1)
    weights[weights < LEAST_WEIGHT] = 0
    weights /= weights.sum(1, keepdims=True)
    more = MOST_JOINTS - parts.shape[1]
    parts, weights = (np.pad(each, ((0, 0), (0, max(0, more)))) for each in (parts, weights))
    middles = shares.T @ vertices / np.maximum(shares.sum(0), 1e-9)[:, None]
    return Skin(np.where(weights > 0, parts, 0), weights.astype(np.float32), middles)


def skin_attributes(glb: Glb, skin: Skin) -> dict[str, int]:
    """The vertices' attributes; joint 0 is the root, which moves nothing, and stands where a weight is 0."""
    joints = np.where(skin.weights > 0, skin.parts + 1, 0)
    return {"JOINTS_0": glb.accessor(joints.astype(np.uint8)), "WEIGHTS_0": glb.accessor(skin.weights)}


def add_skeleton(glb: Glb, mesh_node: int, skin: Skin, motion: Motion, place: Placement) -> None:
    """A root and a joint for each part, in its middle, the skin of the node, and the motion as an animation.

    `place` is where the mesh was put. The joints stand side by side: parts move by themselves.
    """
    rest = place.points(skin.middles)
    names = [{"name": name, "translation": middle.tolist()} for name, middle in zip(motion.names, rest, strict=True)]
    joints = [glb.add("nodes", each) for each in names]
    root = glb.add("nodes", {"name": ROOT, "children": joints})
    glb.document["scenes"][0]["nodes"].append(root)
    inverse_binds = np.tile(np.eye(4), (len(joints) + 1, 1, 1))
    inverse_binds[1:, 3, :3] = -rest  # column by column
    binds = glb.accessor(inverse_binds, target=None)
    of_node = {"joints": [root, *joints], "skeleton": root, "inverseBindMatrices": binds}
    glb.document["nodes"][mesh_node]["skin"] = glb.add("skins", {"name": "parts", **of_node})

    times = np.arange(len(motion.poses))[:, None] / motion.frames_per_second
    moments = glb.accessor(times, target=None, limits=True)
    samplers, channels = [], []
    for joint, middle, poses in zip(joints, rest, motion.poses.double().unbind(1), strict=True):
        turns, shifts = in_file(poses, place)
        tracks = {"rotation": quaternions(turns), "translation": (turns.numpy() @ middle) + shifts}
        for path, values in tracks.items():
            samplers.append({"input": moments, "output": glb.accessor(values, target=None), "interpolation": "LINEAR"})
            channels.append({"sampler": len(samplers) - 1, "target": {"node": joint, "path": path}})
    glb.add("animations", {"name": "motion", "samplers": samplers, "channels": channels})


def in_file(poses: Tensor, place: Placement) -> tuple[Tensor, np.ndarray]:
    """Poses [F, 3, 4] of the world as rotations [F, 3, 3] and translations [F, 3] of what stands in the file."""
    axes, turns = place.rotation, poses[..., :3].numpy()
    shifts = turns @ place.origin + poses[..., 3].numpy() - place.origin
    return torch.from_numpy(axes @ turns @ axes.T), place.scale * shifts @ axes.T
