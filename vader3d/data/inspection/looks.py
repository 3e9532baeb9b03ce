"""Pictures of objects for people: a contact sheet, and masks' outlines."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vader3d.data.archive.format import ObjectViews
from vader3d.files import write_whole

SHEET_VIEWS = 4
GREY = 96  # behind objects, so that black ones show
OUTLINE = (255, 0, 160)
TILE_PX = 160  # about, of a picture with an outline


def on_grey(pictures: np.ndarray) -> np.ndarray:
    """RGBA uint8 [..., 4] as RGB on grey."""
    alpha = pictures[..., 3:].astype(np.float32) / 255
    return np.rint(pictures[..., :3] * alpha + GREY * (1 - alpha)).astype(np.uint8)


def contact_row(views: ObjectViews) -> np.ndarray:
    """A few views side by side on grey, uint8 [H, SHEET_VIEWS * W, 3]."""
    chosen = np.linspace(0, len(views.pictures) - 1, SHEET_VIEWS).round().astype(int)
    return np.concatenate(on_grey(views.pictures[chosen]), 1)


def save_sheet(rows: list[np.ndarray], path: Path) -> None:
    from PIL import Image

    columns = 4 if len(rows) > 8 else 1
    blank = np.full_like(rows[0], GREY)
    rows = rows + [blank] * (-len(rows) % columns)
    lines = [np.concatenate(rows[first : first + columns], 1) for first in range(0, len(rows), columns)]
    picture = Image.fromarray(np.concatenate(lines))
    write_whole(path, lambda temporary: picture.save(temporary, "PNG"))


def outlined_square(views: ObjectViews, first: Sequence[int]) -> np.ndarray:
    """Four views, two of `first` before others, with the outlines of their masks, uint8 [2 h, 2 w, 3]."""
    others = np.linspace(0, len(views.pictures) - 1, SHEET_VIEWS).round().astype(int).tolist()
    chosen = [*list(first)[:2], *(view for view in others if view not in first), *others][:SHEET_VIEWS]
    tiles = [outlined(views.pictures[view]) for view in sorted(chosen)]
    return np.concatenate([np.concatenate(tiles[:2], 1), np.concatenate(tiles[2:], 1)])


def outlined(picture: np.ndarray) -> np.ndarray:
    """An RGBA picture on grey, enlarged by a whole factor, with a line round all of alpha 128 and more."""
    from scipy.ndimage import binary_dilation

    factor = max(1, round(TILE_PX / picture.shape[1]))
    large = picture.repeat(factor, 0).repeat(factor, 1)
    solid = large[..., 3] >= 128
    tile = on_grey(large)
    tile[binary_dilation(solid, np.ones((3, 3), bool)) & ~solid] = OUTLINE
    return tile
