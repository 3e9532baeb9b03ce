"""What every reader of posed pictures does alike."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch

from vader3d.captions import Caption, captions_beside
from vader3d.data.archive.format import ObjectRecord, ObjectViews
from vader3d.data.inspection.doubts import refocused, small, spread
from vader3d.data.reading.focals import likely_factor
from vader3d.data.reading.pictures import (
    SOLID,
    TURNED_ROUND,
    has_alpha,
    is_turned,
    masked_picture,
    scaled_intrinsics,
    squared,
    undistorted,
)
from vader3d.data.reading.placing import in_cube
from vader3d.data.reading.reader import Reading
from vader3d.data.writer import PreparedObject
from vader3d.geometry.cameras import Cameras

Item = TypeVar("Item")
AS_THEY_LIE = 0.9  # of what colours differ, upright pictures and their cameras: less is believed
SHORT = 0.1  # of a picture's side: no lens has a focal length below, but one in shares of the side does
FINER = 4  # how many times finer than they become pictures are when a lens is straightened


@dataclass(frozen=True)
class SourceView:
    """A picture file and the camera that took it.

    world_from_camera: [4, 4], OpenCV axes. intrinsics: (fx, fy, cx, cy) in px of a picture of `size` (height, width);
    the file may be scaled. mask: a grey picture file, black outside. distortion: OpenCV's k1..k4, p1, p2. note: what is
    said of it. sure: whether the lens is known to be for that size.
    """

    picture: Path
    world_from_camera: np.ndarray
    intrinsics: np.ndarray
    size: tuple[float, float]
    mask: Path | None = None
    distortion: Mapping[str, float] = field(default_factory=dict)
    note: str = ""
    sure: bool = True


@dataclass(frozen=True)
class Way:
    """How pictures are taken: turned as viewers do, masks turned round (None: each as it seems to need)."""

    upright: bool = False
    inverted: bool | None = None


def each_view(make: Callable[[Item], SourceView], items: Iterable[Item]) -> list[SourceView | ValueError]:
    """What `make` gives of each item: a view, or what is wrong with it, which costs that view only."""
    views: list[SourceView | ValueError] = []
    for item in items:
        try:
            views.append(make(item))
        except ValueError as error:
            views.append(error)
    return views


def chosen_views(views: Sequence[Item], most: int | None) -> list[Item]:
    """At most so many, evenly apart; all without a limit."""
    if not most or len(views) <= most:
        return list(views)
    return [views[number] for number in np.linspace(0, len(views) - 1, most).round().astype(int)]


def assembled_object(
    name: str,
    folder: Path,
    views: Sequence[SourceView | ValueError],
    reading: Reading,
    *,
    aabb: Any = None,
    notes: Sequence[str] = (),
) -> PreparedObject:
    """One object of its views; those that are broken, or without a mask, are left out where most are not.

    Placement: `reading.scale` and `offset` where given; else from `aabb` ([2, 3] corners), else from the masks' hull,
    else from the cameras. The captions are the lines of caption.txt in the object's folder, else the category, else its
    name. The note of the object has a line for each of `notes` and for all that was done and nobody asked for.
    """
    views, unmasked = masked_views(views, reading.mask or "auto")
    pictures, cameras, said = placed_views(views, reading, aabb)
    stand_in = Caption(reading.category, "category") if reading.category else Caption(name.replace("_", " "), "name")
    captions = captions_beside((folder if folder.is_dir() else folder.parent) / "caption.txt", stand_in)
    record = ObjectRecord(name, captions, category=reading.category, source=folder.name)
    note = "\n".join(dict.fromkeys(line for line in (*notes, unmasked, *said) if line))
    return PreparedObject(record, pictures, cameras, note=note)


def placed_views(
    views: Sequence[SourceView | ValueError], reading: Reading, aabb: Any
) -> tuple[np.ndarray, Cameras, list[str]]:
    """Pictures RGBA uint8 [V, S, S, 4] and cameras about the cube, and what is said of both.

    Where EXIF says that pictures are to be turned and their size does not tell whether cameras are for them so, as
    viewers do it is the better guess, unless colours agree better as they lie.
    """
    if not any(isinstance(view, SourceView) and is_turned(view.picture) for view in views):
        return as_taken(views, reading, aabb, Way())
    made = []
    for way in (Way(upright=True), Way()):
        with suppress(ValueError):
            pictures, cameras, said = as_taken(views, reading, aabb, way)
            made.append((spread(small(ObjectViews(pictures, cameras)))[0], pictures, cameras, said))
    if not made:
        return as_taken(views, reading, aabb, Way())
    first, *others = made
    best = min(
        (other for other in others if other[0] < AS_THEY_LIE * first[0]), default=first, key=lambda each: each[0]
    )
    return best[1:]


def as_taken(
    views: Sequence[SourceView | ValueError], reading: Reading, aabb: Any, way: Way
) -> tuple[np.ndarray, Cameras, list[str]]:
    """`placed_views` one way. Where some masks seem to be turned round all are, or none, as most are."""
    taken, broken = taken_views(views, reading, way)
    turned = sum(TURNED_ROUND in picture.note for picture in taken)
    if 0 < turned < len(taken):
        taken, broken = taken_views(views, reading, replace(way, inverted=2 * turned > len(taken)))
    if all(picture.share == 1 for picture in taken):
        raise ValueError("masks: wanted an object before something else; got none, all are full")
    telling = [picture for picture in taken if 0 < picture.share < 1]
    if len(telling) < len(taken) < 4 / 3 * len(telling):
        failed = f"{len(taken) - len(telling)} of {len(taken)} views left out, whose masks are empty or full"
        taken, broken = telling, "\n".join(filter(None, (broken, failed)))
    matrices = torch.from_numpy(np.stack([picture.matrix for picture in taken]))
    lenses = torch.from_numpy(np.stack([picture.lens for picture in taken]))
    cameras = Cameras(matrices, lenses, reading.size, reading.size)
    pictures = np.stack([picture.square for picture in taken])
    placed, places = in_cube(cameras, pictures[..., 3] >= SOLID, reading, aabb)
    size = ""
    if any(isinstance(view, SourceView) and not view.sure for view in views):
        factor, size = likely_factor(ObjectViews(pictures, placed))
        if factor != 1:
            cameras = refocused(ObjectViews(pictures, cameras), factor).cameras
            placed, places = in_cube(cameras, pictures[..., 3] >= SOLID, reading, aabb)
    return pictures, placed, [broken, *(picture.note for picture in taken), size, *places]


class Taken(NamedTuple):
    """A view as it is kept: RGBA uint8 [S, S, 4], its pose and lens, what was done, and how much is object."""

    square: np.ndarray
    matrix: np.ndarray
    lens: np.ndarray
    note: str
    share: float


def taken_views(views: Sequence[SourceView | ValueError], reading: Reading, way: Way) -> tuple[list[Taken], str]:
    """The views that can be read, and what is said of the others; ValueError where those are half or more."""
    taken: list[Taken] = []
    faults: list[ValueError] = []
    for view in views:
        try:
            if isinstance(view, ValueError):
                raise view
            taken.append(taken_view(view, reading, way))
        except ValueError as error:
            faults.append(error)
    if faults and 2 * len(taken) <= len(views):
        raise faults[0]
    return taken, f"{len(faults)} of {len(views)} views left out, the first: {faults[0]}" if faults else ""


def taken_view(view: SourceView, reading: Reading, way: Way) -> Taken:
    """ValueError for a picture or mask that is damaged or of another shape, or a pose that is none."""
    matrix = np.asarray(view.world_from_camera, np.float64)
    if not np.isfinite(matrix).all() or not matrix[:3, :3].any():
        raise ValueError(f"{view.picture.name}: wanted a pose of finite numbers, not all 0; got others")
    pixels, note = masked_picture(
        view.picture,
        mask=reading.mask or "auto",
        mask_path=view.mask,
        size=view.size,
        upright=way.upright,
        inverted=way.inverted,
    )
    lens, share = scaled_intrinsics(view.intrinsics, view.size, pixels.shape[:2]), (pixels[..., 3] >= SOLID).mean()
    if any(view.distortion.values()):
        pixels, lens = squared(pixels, lens, size=min(FINER * reading.size, max(pixels.shape[:2])))
        pixels = undistorted(pixels, lens, view.distortion)
    square, lens = squared(pixels, lens, size=reading.size)
    if 0 < lens[0] < SHORT * reading.size:
        raise ValueError(
            f"{view.picture.name}: wanted a focal length in px; got {lens[0]:.3g} of {reading.size}, which looks "
            "like a share"
        )
    return Taken(square, matrix, lens, "\n".join(filter(None, (view.note, note))), float(share))


def masked_views(views: Sequence[SourceView | ValueError], mask: str) -> tuple[Sequence[SourceView | ValueError], str]:
    """The views that have a mask file where some have, and what is said of the others; all where none has."""
    if mask not in ("auto", "file") or not any(isinstance(view, SourceView) and view.mask for view in views):
        return views, ""
    sources = [view for view in views if isinstance(view, SourceView)]
    bare = {id(view) for view in sources if view.mask is None and not has_alpha(view.picture)}
    if 2 * len(bare) >= len(views):
        raise ValueError(f"masks: wanted one for each picture; got {len(views) - len(bare)} for {len(views)}")
    masked = [view for view in views if id(view) not in bare]
    return masked, f"{len(bare)} of {len(views)} pictures without masks left out" if bare else ""
