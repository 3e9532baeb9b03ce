"""Faults of photographs' masks, and a picture an object."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vader3d.data.inspection.looks import GREY, OUTLINE, on_grey
from vader3d.data.reading.assembly import SourceView
from vader3d.data.reading.pictures import read_picture
from vader3d.files import write_bytes

if TYPE_CHECKING:
    from PIL.Image import Image

TILE_PX, TILES = 192, 6


def mask_faults(views: Sequence[SourceView]) -> list[str]:
    """A phrase for each kind of fault that the views' mask files have."""
    empty: list[int] = []
    full: list[int] = []
    cut: list[int] = []
    for number, view in enumerate(views):
        if view.mask is None:
            continue
        solid = np.asarray(read_picture(view.mask, mode="L")) >= 128
        kinds = ((not solid.any(), empty), (solid.all(), full), (touches_border(view) and not solid.all(), cut))
        for found, numbers in kinds:
            if found:
                numbers.append(number)
    named = (("empty", empty), ("covers all", full), ("touches the border", cut))
    return [f"{what} in {len(numbers)} of {len(views)} (e.g. {numbers[0]})" for what, numbers in named if numbers]


def touches_border(view: SourceView) -> bool:
    """Whether the picture ends where the object does not: what lies beyond is unknown, not empty."""
    if view.mask is None:
        return False
    solid = np.asarray(read_picture(view.mask, mode="L")) >= 128
    return bool(np.concatenate([solid[0], solid[-1], solid[:, 0], solid[:, -1]]).any())


def write_sheet(path: Path, views: Sequence[SourceView], pictures: np.ndarray | None) -> None:
    """Some of the views with their masks' outlines, and below them what an archive gets of the object, as JPEG."""
    numbers = np.linspace(0, len(views) - 1, TILES).round().astype(int)
    write_tiles(path, [outlined(views[number]) for number in numbers], pictures)


def write_tiles(path: Path, tiles: Sequence[np.ndarray], pictures: np.ndarray | None) -> None:
    """Tiles as `outlined_picture` makes them, and below them some of the RGBA pictures [V, H, W, 4], as JPEG."""
    from PIL import Image

    row = np.concatenate(tiles, 1)
    if pictures is not None:
        flat = on_grey(pictures[np.linspace(0, len(pictures) - 1, TILES).round().astype(int)])
        below = [np.asarray(Image.fromarray(each).resize((TILE_PX, TILE_PX))) for each in flat]
        row = np.concatenate([row, np.concatenate(below, 1)])
    file = io.BytesIO()
    Image.fromarray(row).save(file, "JPEG", quality=88)
    write_bytes(path, file.getvalue())


def outlined(view: SourceView) -> np.ndarray:
    """A view on a grey square with the outline of its mask, uint8 [TILE_PX, TILE_PX, 3]."""
    mask = None if view.mask is None else read_picture(view.mask, mode="L")
    return outlined_picture(read_picture(view.picture, mode="RGB"), mask)


def outlined_picture(picture: "Image", mask: "Image | None") -> np.ndarray:
    """An RGB picture, which is shrunk, on a grey square with the outline of its grey mask."""
    from PIL import Image
    from scipy.ndimage import binary_dilation

    picture.thumbnail((TILE_PX, TILE_PX))
    tile = np.full((TILE_PX, TILE_PX, 3), GREY, np.uint8)
    top, left = (TILE_PX - picture.height) // 2, (TILE_PX - picture.width) // 2
    inner = tile[top : top + picture.height, left : left + picture.width]
    inner[:] = np.asarray(picture)
    if mask is not None:
        solid = np.asarray(mask.resize(picture.size, Image.Resampling.BOX)) >= 128
        inner[binary_dilation(solid) & ~solid] = OUTLINE
    return tile
