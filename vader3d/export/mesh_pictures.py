"""Pictures of a mesh as it was exported, by a depth buffer."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from vader3d.geometry.cameras import Cameras

if TYPE_CHECKING:
    from trimesh import Trimesh

SAMPLES_PER_SIDE = 2  # of each pixel


def mesh_pictures(mesh: "Trimesh", cameras: Cameras, *, samples_per_side: int = SAMPLES_PER_SIDE) -> np.ndarray:
    """Cameras [V] -> uint8 [V, H, W, 4], sRGB with straight alpha: colours without light, nearest surface.

    Both sides of a triangle are seen. The mesh, with vertex colours or a texture, stands before the cameras, in world
    axes (z up).
    """
    side, (height, width) = samples_per_side, (cameras.height, cameras.width)
    fine = cameras.resized(side * height, side * width)
    vertices = torch.tensor(np.asarray(mesh.vertices), dtype=torch.float32)
    uv = getattr(mesh.visual, "uv", None)
    texture = None if uv is None else np.asarray(mesh.visual.material.baseColorTexture.convert("RGB"), np.float32)  # type: ignore[union-attr]
    of_corners = mesh.visual.vertex_colors[:, :3] if uv is None else uv  # type: ignore[union-attr]
    colours = np.asarray(of_corners, np.float32)[mesh.faces]
    pictures = np.zeros((len(cameras.centres), height, width, 4), np.uint8)
    for view, picture in enumerate(pictures):
        samples = seen_from(fine[view], vertices, np.asarray(mesh.faces), colours)
        if texture is not None:
            samples = (
                np.concatenate([sampled_texture(texture, samples[..., :2]), samples[..., 2:]], -1) * samples[..., 2:]
            )
        total = samples.reshape(height, side, width, side, 4).sum((1, 3))
        picture[..., :3] = np.rint(total[..., :3] / np.maximum(total[..., 3:], 1))
        picture[..., 3] = np.rint(255 * total[..., 3] / side**2)
    return pictures


def seen_from(camera: Cameras, vertices: Tensor, faces: np.ndarray, of_corners: np.ndarray) -> np.ndarray:
    """What a camera sees nearest at each pixel's centre, as `nearest_surface`, of vertices [P, 3] and faces [F, 3]."""
    corners, depth = (of_vertices.numpy()[faces] for of_vertices in camera.project(vertices))
    return nearest_surface(corners, 1 / depth, of_corners, camera.height, camera.width)


def nearest_surface(
    corners: np.ndarray, nearness: np.ndarray, colours: np.ndarray, height: int, width: int
) -> np.ndarray:
    """What is nearest at each pixel's centre, [H, W, C + 1]: colour, and 1; 0 where nothing is.

    Of triangles: corners [F, 3, 2] in pixels, 1 / depth [F, 3], colours (or what else corners have) [F, 3, C].
    """
    first = np.ceil(corners.min(1) - 0.5).clip(0).astype(int)  # of the pixels whose centres a triangle may cover
    last = np.floor(corners.max(1) - 0.5).clip(-1, [width - 1, height - 1]).astype(int)
    columns, rows = np.maximum(last - first + 1, 0).T
    face = np.repeat(np.arange(len(corners)), columns * rows)
    place = np.arange(len(face)) - np.repeat((columns * rows).cumsum() - columns * rows, columns * rows)
    pixel = first[face] + np.stack([place % columns[face], place // columns[face]], -1)

    shares = barycentric(pixel + np.float32(0.5), corners[face])
    inside = (shares >= 0).all(1)
    face, pixel, shares = face[inside], pixel[inside], shares[inside] * nearness[face[inside]]
    order = shares.sum(1).argsort()  # the last one that a pixel is given to keeps it
    winner = np.full((height, width), -1)
    winner[pixel[order, 1], pixel[order, 0]] = order
    seen = winner[winner >= 0]
    shares = shares[seen] / shares[seen].sum(1, keepdims=True)  # corrected for perspective
    samples = np.zeros((height, width, colours.shape[2] + 1), np.float32)
    samples[winner >= 0, :-1] = np.einsum("nc,ncd->nd", shares, colours[face[seen]])
    samples[winner >= 0, -1] = 1
    return samples


def sampled_texture(texture: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """A picture [h, w, 3] bilinearly read at uv [..., 2], v upwards -> [..., 3]."""
    height, width = texture.shape[:2]
    x, y = uv[..., 0] * width - 0.5, (1 - uv[..., 1]) * height - 0.5
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    right_share, low_share = (x - left)[..., None], (y - top)[..., None]
    columns = [(left + step).clip(0, width - 1) for step in (0, 1)]
    upper, lower = (
        texture[row, columns[0]] * (1 - right_share) + texture[row, columns[1]] * right_share
        for row in ((top + step).clip(0, height - 1) for step in (0, 1))
    )
    return upper * (1 - low_share) + lower * low_share


def barycentric(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Of points [N, 2] in triangles [N, 3, 2]: [N, 3], all positive inside; not finite where a triangle has no area."""
    (bx, by), (cx, cy) = (corners[:, 1] - corners[:, 0]).T, (corners[:, 2] - corners[:, 0]).T
    px, py = (points - corners[:, 0]).T
    with np.errstate(divide="ignore", invalid="ignore"):
        b, c = (px * cy - py * cx) / (bx * cy - by * cx), (bx * py - by * px) / (bx * cy - by * cx)
    return np.stack([1 - b - c, b, c], -1)
