"""The visual hull: all that one object's silhouettes leave possible."""

import numpy as np
import torch

from vader3d.data.archive.format import ObjectViews
from vader3d.data.reading.carving import seen_at
from vader3d.geometry.rays import cube_crossing

SAMPLES = 96


def visual_hull(views: ObjectViews, *, cells: int = 32, misses: int = 0) -> np.ndarray:
    """Which cells of the cube no view, or at most `misses`, sees past: bool [cells, cells, cells], (z, y, x)."""
    points = cell_centres(cells)
    left = np.arange(len(points))  # each view is asked only about what the views before it left
    missed = np.zeros(len(points), np.uint16)
    for view in range(len(views.pictures)):
        missed[left] += sees_past(views, view, points[left], cells)
        left = left[missed[left] <= misses]
    hull = np.zeros(len(points), bool)
    hull[left] = True
    return hull.reshape(cells, cells, cells)


def missed_cells(views: ObjectViews, *, cells: int) -> np.ndarray:
    """Which cells each view sees past: bool [V, cells^3]."""
    points = cell_centres(cells)
    return np.stack([sees_past(views, view, points, cells) for view in range(len(views.pictures))])


def cell_centres(cells: int) -> np.ndarray:
    """float32 [cells^3, 3] in (x, y, z), in the order of (z, y, x)."""
    centres = ((np.arange(cells) + 0.5) / cells * 2 - 1).astype(np.float32)
    return np.stack(np.meshgrid(centres, centres, centres, indexing="ij")[::-1], -1).reshape(-1, 3)


def sees_past(views: ObjectViews, view: int, points: np.ndarray, cells: int) -> np.ndarray:
    """Whether a view shows the cells about `points` beside its silhouette, which is thickened by half a cell."""
    from scipy.ndimage import maximum_filter

    height, width = views.pictures.shape[1:3]
    pose, lens = views.cameras.world_from_camera[view].numpy(), views.cameras.intrinsics[view].numpy()
    near = max(float(-pose[:3, 3] @ pose[:3, 2]), 1e-3)  # depth of the cube's centre
    reach = min(int(np.ceil(lens[0] / near / cells)), max(height, width))
    silhouette = maximum_filter(views.pictures[view, ..., 3] >= 128, size=2 * reach + 1)
    row, column, inside = seen_at(points, pose, lens, (height, width))
    return ~silhouette[row, column] & inside


def explained_share(views: ObjectViews, hull: np.ndarray) -> float:
    """The share of rays through silhouettes that meet the hull; near 1 when cameras and masks agree.

    Every third pixel of every third row of at most 8 views is asked.
    """
    chosen = np.unique(np.linspace(0, len(views.pictures) - 1, 8).round().astype(int))
    met, asked = explained_rays(ObjectViews(views.pictures[chosen], views.cameras[torch.from_numpy(chosen)]), hull)
    return float(met.sum() / asked.sum()) if asked.any() else 1.0


def explained_shares(views: ObjectViews, hull: np.ndarray) -> np.ndarray:
    """The same of each view [V]; 1 of one without an object."""
    met, asked = explained_rays(views, hull)
    return np.where(asked > 0, met / np.maximum(asked, 1), 1.0)


def explained_rays(views: ObjectViews, hull: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many rays through each view's silhouette meet the hull, and how many there are [V]."""
    rays = views.cameras.strided(3, 1, 1)[:, None].rays()
    solid = torch.from_numpy(views.pictures[:, 1::3, 1::3, 3] >= 128)
    asked = solid.flatten(1).sum(1).numpy()
    origins, directions = (part.flatten(0, 1)[solid.flatten()] for part in rays)
    near, far = cube_crossing(origins, directions)
    steps = (torch.arange(SAMPLES) + 0.5) / SAMPLES
    points = origins[:, None] + (near[:, None] + (far - near)[:, None] * steps)[..., None] * directions[:, None]
    cells = len(hull)
    x, y, z = ((points + 1) / 2 * cells).long().clamp(0, cells - 1).unbind(-1)
    met = (torch.from_numpy(hull)[z, y, x] & (far > near)[:, None]).any(1).numpy()
    return np.bincount(np.repeat(np.arange(len(asked)), asked), met, len(asked)), asked


def agreement(views: ObjectViews, view: int, hull: np.ndarray) -> float:
    """What the hull's picture and a view's mask have in common, over all of both; roughly, 0 to 1."""
    from scipy.ndimage import binary_closing

    solid = views.pictures[view, ..., 3] >= 128
    height, width = solid.shape
    z, y, x = np.nonzero(hull)
    if not len(x):
        return 0.0
    points = torch.from_numpy((np.stack([x, y, z], -1) + 0.5) / len(hull) * 2 - 1).float()
    pixels, depth = views.cameras[view].project(points)
    column, row = np.floor(pixels.numpy()).astype(int).T
    seen = (depth.numpy() > 0) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    drawn = np.zeros((height, width), bool)
    drawn[row[seen], column[seen]] = True
    cell = float(views.cameras.intrinsics[view, 0] / depth.abs().median()) * 2 / len(hull)
    reach = max(1, int(np.ceil(cell)))
    drawn = binary_closing(np.pad(drawn, 2 * reach), iterations=reach)[2 * reach : -2 * reach, 2 * reach : -2 * reach]
    return float((drawn & solid).sum() / max((drawn | solid).sum(), 1))


def hull_surface(views: ObjectViews, hull: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centres [P, 3] of the hull's outermost cells and their colours uint8 [P, 3], from the best-facing view."""
    from scipy.ndimage import binary_erosion

    shell = hull & ~binary_erosion(hull)
    cells = len(hull)
    z, y, x = np.nonzero(shell)
    points = (np.stack([x, y, z], -1) + 0.5) / cells * 2 - 1
    outward = points - points.mean(0) if len(points) else points
    centres = views.cameras.centres.numpy()
    best = (outward @ (centres / np.linalg.norm(centres, axis=1, keepdims=True)).T).argmax(1)
    pixels, _ = views.cameras.project(torch.from_numpy(points).float()[None])
    height, width = views.pictures.shape[1:3]
    column, row = np.floor(pixels.numpy()).astype(np.int64)[best, np.arange(len(points))].T
    picked = views.pictures[best, row.clip(0, height - 1), column.clip(0, width - 1)]
    return points, np.where(picked[:, 3:] > 0, picked[:, :3], 128).astype(np.uint8)
