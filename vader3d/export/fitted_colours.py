"""Colours of a mesh's corners by which it looks like given pictures."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from vader3d.export.mesh_pictures import seen_from
from vader3d.geometry.cameras import Cameras

if TYPE_CHECKING:
    from trimesh import Trimesh

KEPT = 0.5  # weight of a corner's own colour beside the pixels that show it
SOLID = 0.5  # opacity from which a pixel counts
STEPS = 60


def with_fitted_colours(mesh: "Trimesh", cameras: Cameras, colour: Tensor, opacity: Tensor) -> "Trimesh":
    """The same mesh with the vertex colours that make its pictures from cameras [V] most like those given.

    colour [V, 3, H, W], premultiplied, and opacity [V, 1, H, W], of what the mesh stands for; both in [0, 1]. Least
    squares over the pixels, each between three corners, held weakly to the colours that the mesh has: what a ray into
    foggy matter composites differs by where it comes from, and pictures ask for one colour.
    """
    from scipy.sparse import csr_matrix, identity
    from scipy.sparse.linalg import cg

    faces, vertices = np.asarray(mesh.faces), torch.tensor(np.asarray(mesh.vertices), dtype=torch.float32)
    own = np.asarray(mesh.visual.vertex_colors[:, :3], float) / 255  # type: ignore[union-attr]
    corners_of = np.zeros((len(faces), 3, 4), np.float32)  # of each corner: which of the three it is; its face
    corners_of[..., :3], corners_of[..., 3] = np.eye(3), np.arange(len(faces))[:, None]
    shares, places, wanted = [], [], []
    for view in range(len(cameras.centres)):
        seen = seen_from(cameras[view], vertices, faces, corners_of)
        weight = opacity[view, 0].numpy()
        counts = (seen[..., 4] > 0) & (weight >= SOLID)
        shares.append(seen[counts, :3] * weight[counts, None])
        places.append(faces[seen[counts, 3].round().astype(int)])
        wanted.append(colour[view].numpy()[:, counts].T)
    pixels = np.concatenate(shares)
    rows = np.repeat(np.arange(len(pixels)), 3)
    shown = csr_matrix((pixels.ravel(), (rows, np.concatenate(places).ravel())), shape=(len(pixels), len(vertices)))
    system, target = shown.T @ shown + KEPT * identity(len(vertices)), shown.T @ np.concatenate(wanted) + KEPT * own
    solved = [cg(system, target[:, c], x0=own[:, c], maxiter=STEPS, rtol=1e-3)[0] for c in range(3)]
    fitted = mesh.copy()
    found = np.rint(np.stack(solved, 1).clip(0, 1) * 255).astype(np.uint8)
    fitted.visual.vertex_colors = found  # type: ignore[union-attr]
    return fitted
