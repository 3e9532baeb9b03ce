"""Where an object stands among its cameras, by its masks."""

from typing import NamedTuple

import numpy as np
import torch

from vader3d.data.archive.format import ObjectViews
from vader3d.data.inspection.hull import agreement, explained_share, visual_hull
from vader3d.data.making.surface import OBJECT_RADIUS
from vader3d.geometry.cameras import Cameras
from vader3d.geometry.placement import placed

CELLS, ROOM = 40, 1.6  # of the hull's cube, which is so much wider than the masks say
BAD_SHARE, BAD_FIT = 1 / 8, 0.5  # of the views may be wrong: those whose mask and the others' hull agree less
ROUNDS, MANY = 3, 8
SEEN_SHARE = 0.5  # of the pictures show a cell


class Place(NamedTuple):
    """A point x moves to (x - offset) * scale; the views [V] that agree; how well their masks fit, 0 to 1; the hull's
    share of its cube, and whether it ends within it on all sides."""

    scale: float
    offset: np.ndarray
    good: np.ndarray
    explained: float
    filled: float
    bounded: bool


def place_by_masks(views: ObjectViews) -> Place:
    """The place of the object in the world of the cameras [V]; ValueError where masks and cameras fit no object.

    pictures: uint8 [V, H, W, 4] by pinholes. The first place is where the rays through the masks' middles pass each
    other. Then, round by round, a hull that may be missed by one view in eight says which views are wrong, and the
    hull of the others its middle. What the silhouettes show farthest from there becomes 0.98 from the origin.
    """
    solid = views.pictures[..., 3] >= 128
    good = np.asarray(solid.any((1, 2)) & ~solid.all((1, 2)))
    if good.sum() < 3:
        raise ValueError(f"masks: wanted an object in at least 3 views; got {good.sum()}; look at them")
    offset, radius = first_place(views, solid, good)
    for turn in range(ROUNDS):
        around = (ROOM if turn == 0 else 1.15) * radius
        moved = ObjectViews(views.pictures, placed(views.cameras, scale=1 / around, offset=offset))
        if turn == 0:
            robust = solid_hull(chosen(moved, good), misses=int(BAD_SHARE * good.sum()))
            good &= np.array([agreement(moved, view, robust) > BAD_FIT for view in range(len(good))])
            if good.sum() < 3:
                raise ValueError("masks: wanted views that agree; got a hull that fits none; wrong masks or cameras?")
        hull = solid_hull(chosen(moved, good), misses=0)
        if not hull.any():
            raise ValueError(
                "masks: wanted views that agree; got silhouettes of no one object; wrong masks or cameras?"
            )
        z, y, x = np.nonzero(hull)
        cells = (np.stack([x, y, z], -1) + 0.5) / CELLS * 2 - 1
        middle = (cells.min(0) + cells.max(0)) / 2
        offset = offset + middle * around
        bounded = all(not hull.take([0, -1], axis).any() for axis in range(3))
        radius = silhouette_radius(views, solid, good, offset)
    explained = explained_share(chosen(moved, good), hull)
    return Place(OBJECT_RADIUS / radius, offset, good, explained, float(hull.mean()), bounded)


def solid_hull(views: ObjectViews, *, misses: int) -> np.ndarray:
    """The largest piece of the hull, of cells that at least half of the pictures show: beyond them nothing is known."""
    from scipy.ndimage import label

    hull = visual_hull(views, cells=CELLS, misses=misses)
    z, y, x = np.nonzero(hull)
    points = torch.from_numpy((np.stack([x, y, z], -1) + 0.5) / CELLS * 2 - 1).to(views.cameras.intrinsics)
    pixels, depth = views.cameras.project(points)
    limit = pixels.new_tensor([views.cameras.width, views.cameras.height])
    seen = ((pixels >= 0) & (pixels < limit)).all(-1) & (depth > 0)
    hull[z, y, x] = (seen.double().mean(0) >= SEEN_SHARE).numpy()
    pieces, count = label(hull)
    return pieces == 1 + np.bincount(pieces.ravel())[1:].argmax() if count else hull


def silhouette_radius(views: ObjectViews, solid: np.ndarray, good: np.ndarray, offset: np.ndarray) -> float:
    """How far from `offset` rays through silhouettes pass, at most; the second largest of many views."""
    matrices, lenses = views.cameras.world_from_camera.double().numpy(), views.cameras.intrinsics.double().numpy()
    reaches = []
    for view in np.flatnonzero(good):
        rows, columns = np.nonzero(solid[view])
        fx, fy, cx, cy = lenses[view]
        rays = np.stack([(columns + 0.5 - cx) / fx, (rows + 0.5 - cy) / fy, np.ones(len(rows))], -1)
        towards = matrices[view, :3, :3].T @ (offset - matrices[view, :3, 3])
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        reaches.append(np.linalg.norm(towards - (rays @ towards)[:, None] * rays, axis=1).max())
    return float(np.sort(reaches)[-2 if len(reaches) >= MANY else -1])


def chosen(views: ObjectViews, good: np.ndarray) -> ObjectViews:
    return ObjectViews(views.pictures[good], views.cameras[torch.from_numpy(np.flatnonzero(good))])


def first_place(views: ObjectViews, solid: np.ndarray, good: np.ndarray) -> tuple[np.ndarray, float]:
    """Middle [3] and radius by the masks' middles and extents; medians, so that a few wrong masks do not matter."""
    matrices, lenses = views.cameras.world_from_camera.double().numpy(), views.cameras.intrinsics.double().numpy()
    rays, slopes = np.zeros((len(good), 3)), np.zeros(len(good))
    for view in np.flatnonzero(good):
        rows, columns = np.nonzero(solid[view])
        fx, fy, cx, cy = lenses[view]
        low, high = np.array([columns.min(), rows.min()]), np.array([columns.max() + 1, rows.max() + 1])
        middle = (low + high) / 2
        ray = matrices[view, :3, :3] @ [(middle[0] - cx) / fx, (middle[1] - cy) / fy, 1.0]
        rays[view], slopes[view] = ray / np.linalg.norm(ray), np.linalg.norm((high - low) / 2 / [fx, fy])
    used = good.copy()
    for _ in range(4):
        across = np.eye(3) - rays[used][:, :, None] * rays[used][:, None, :]
        total = across.sum(0)
        if np.linalg.eigvalsh(total)[0] < 1e-3 * used.sum():
            raise ValueError("cameras: wanted views from several sides; got all from one; walk round the object")
        centres = matrices[:, :3, 3]
        offset = np.linalg.solve(total, (across @ centres[used][:, :, None]).sum(0)[:, 0])
        towards = offset - centres
        depth = (towards * rays).sum(-1)
        miss = np.linalg.norm(towards - depth[:, None] * rays, axis=-1) / np.maximum(np.abs(depth), 1e-9)
        used = good & (miss <= 3 * max(float(np.median(miss[good])), 1e-3))
    if np.median(depth[good]) <= 0:
        raise ValueError("cameras: wanted the object before them; got it behind; wrong axes?")
    return offset, float(np.median((slopes * depth)[good]))


def window(camera: Cameras, margin: float) -> tuple[float, float, float]:
    """The square of one picture that shows the unit sphere: left, top, side in px; `margin` 0.1 is a tenth more."""
    (pixel,), (depth,) = camera.project(torch.zeros(1, 3, dtype=camera.intrinsics.dtype))
    half = float(camera.intrinsics[:2].mean() / (depth**2 - 1).clamp_min(0.01).sqrt()) * (1 + margin)
    return float(pixel[0]) - half, float(pixel[1]) - half, 2 * half
