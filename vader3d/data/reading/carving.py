"""Where an object is: what the masks of all its pictures leave possible."""

from dataclasses import dataclass

import numpy as np

from vader3d.geometry.cameras import Cameras
from vader3d.geometry.placement import common_point

COARSE, FINE = 24, 48  # cells a side
SEEN, AGREED = 0.5, 0.9  # least shares: of the views that see a cell, and of those the views whose masks have it
FITS = 0.9  # least share of masks that right cameras explain


@dataclass(frozen=True)
class Hull:
    """box: [2, 3] corners in the cameras' world; explained: the share of a mask that it fills in nine views of ten."""

    box: np.ndarray
    explained: float


def carved(cameras: Cameras, masks: np.ndarray) -> Hull | None:
    """The hull of masks bool [V, H, W] of an object that the cameras [V] look at; None where nothing is left.

    Cells that a view does not show count against them where its mask keeps off the picture's border.
    """
    try:
        middle = common_point(cameras)
    except ValueError:
        return None
    matrices, lenses = cameras.world_from_camera.double().numpy(), cameras.intrinsics.double().numpy()
    depth = np.einsum("vi,vi->v", middle - matrices[:, :3, 3], matrices[:, :3, 2])
    if not masks.any((1, 2)).all() or (depth <= 0).any():
        return None
    reach = max(reach_of(*view, middle) for view in zip(masks, matrices, lenses, strict=True))
    box = np.stack([middle - 1.4 * reach, middle + 1.4 * reach])
    for cells in (COARSE, FINE):
        centres = [low + (np.arange(cells) + 0.5) / cells * (high - low) for low, high in box.T]
        points = np.stack(np.meshgrid(*centres, indexing="ij"), -1).reshape(-1, 3)
        half = np.ptp(box, axis=0) / cells / 2
        left = points[agreed(points, float(half.max()), matrices, lenses, masks)]
        if not len(left):
            return None
        box = np.stack([left.min(0) - half, left.max(0) + half])
    return Hull(box, explained(left, float(half.max()), matrices, lenses, masks))


def reach_of(mask: np.ndarray, matrix: np.ndarray, lens: np.ndarray, middle: np.ndarray) -> float:
    """How far from `middle` a mask's farthest pixel is, at that depth."""
    x, y, z = (middle - matrix[:3, 3]) @ matrix[:3, :3]
    row, column = np.nonzero(mask)
    across = np.hypot((column + 0.5 - lens[2]) / lens[0] - x / z, (row + 0.5 - lens[3]) / lens[1] - y / z)
    return float(z * across.max())


def seen_at(points: np.ndarray, matrix: np.ndarray, lens: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, ...]:
    """Row and column [P] of points in a picture, and whether each is in it."""
    x, y, z = ((points - matrix[:3, 3]) @ matrix[:3, :3]).T
    before = np.where(z > 0, z, 1.0)
    column, row = np.floor(x / before * lens[0] + lens[2]), np.floor(y / before * lens[1] + lens[3])
    inside = (z > 0) & (column >= 0) & (column < size[1]) & (row >= 0) & (row < size[0])
    return np.where(inside, row, 0).astype(int), np.where(inside, column, 0).astype(int), inside


def thickness(half: float, points: np.ndarray, matrix: np.ndarray, lens: np.ndarray, most: int) -> int:
    """Half a cell's size in px, where the points are."""
    depth = max(float((points.mean(0) - matrix[:3, 3]) @ matrix[:3, 2]), 1e-9)
    return min(int(np.ceil(lens[0] * half / depth)), most)


def agreed(points: np.ndarray, half: float, matrices: np.ndarray, lenses: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Of points [P], whether nearly all masks that may tell of it have each."""
    from scipy.ndimage import maximum_filter

    asked, had = np.zeros(len(points)), np.zeros(len(points))
    for matrix, lens, mask in zip(matrices, lenses, masks, strict=True):
        row, column, inside = seen_at(points, matrix, lens, mask.shape)
        cut = mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any()
        thick = maximum_filter(mask, size=2 * thickness(half, points, matrix, lens, max(mask.shape)) + 1)
        asked += inside | (not cut)
        had += inside & thick[row, column]
    strict = (had >= asked) & (asked >= SEEN * len(masks))
    return strict if strict.any() else (had >= AGREED * asked) & (asked >= SEEN * len(masks))


def explained(points: np.ndarray, half: float, matrices: np.ndarray, lenses: np.ndarray, masks: np.ndarray) -> float:
    from scipy.ndimage import maximum_filter

    shares = []
    for matrix, lens, mask in zip(matrices, lenses, masks, strict=True):
        row, column, inside = seen_at(points, matrix, lens, mask.shape)
        shown = np.zeros(mask.shape, bool)
        shown[row[inside], column[inside]] = True
        shown = maximum_filter(shown, size=2 * thickness(half, points, matrix, lens, max(mask.shape)) + 1)
        shares.append((shown & mask).sum() / max(mask.sum(), 1))
    return float(np.quantile(shares, 0.1))


def fit_of(cameras: Cameras, masks: np.ndarray) -> float:
    """The share of masks that one shape explains; 0 where none does."""
    hull = carved(cameras, masks)
    return 0.0 if hull is None else hull.explained
