"""What every reader of posed pictures does alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from vader3d.captions import Caption, captions_beside
from vader3d.data.archive.format import ObjectRecord
from vader3d.data.reading.pictures import SOLID, has_alpha, masked_picture, scaled_intrinsics, squared, undistorted
from vader3d.data.reading.placing import in_cube
from vader3d.data.reading.reader import Reading
from vader3d.data.writer import PreparedObject
from vader3d.geometry.cameras import Cameras

Item = TypeVar("Item")
FINER = 4  # how many times finer than they become pictures are when a lens is straightened


@dataclass(frozen=True)
class SourceView:
    """A picture file and the camera that took it.

    world_from_camera: [4, 4], OpenCV axes. intrinsics: (fx, fy, cx, cy) in px of a picture of `size` (height, width);
    the file may be scaled. mask: a grey picture file, black outside. distortion: OpenCV's k1..k4, p1, p2.
    """

    picture: Path
    world_from_camera: np.ndarray
    intrinsics: np.ndarray
    size: tuple[float, float]
    mask: Path | None = None
    distortion: Mapping[str, float] = field(default_factory=dict)


def chosen_views(views: Sequence[Item], most: int | None) -> list[Item]:
    """At most so many, evenly apart; all without a limit."""
    if not most or len(views) <= most:
        return list(views)
    return [views[number] for number in np.linspace(0, len(views) - 1, most).round().astype(int)]


def assembled_object(
    name: str,
    folder: Path,
    views: Sequence[SourceView],
    reading: Reading,
    *,
    aabb: Any = None,
    notes: Sequence[str] = (),
) -> PreparedObject:
    """One object of its views; those without a mask are left out where most have one.

    Placement: `reading.scale` and `offset` where given; else from `aabb` ([2, 3] corners), else from the masks' hull,
    else from the cameras. The captions are the lines of caption.txt in the object's folder, else the category, else its
    name. The note of the object has a line for each of `notes` and for all that was done and nobody asked for.
    """
    views, unmasked = masked_views(views, reading.mask or "auto")
    squares, lenses, said = [], [], [*notes, unmasked]
    for view in views:
        pixels, note = masked_picture(view.picture, mask=reading.mask or "auto", mask_path=view.mask)
        said.append(note)
        lens = scaled_intrinsics(view.intrinsics, view.size, pixels.shape[:2])
        if any(view.distortion.values()):
            pixels, lens = squared(pixels, lens, size=min(FINER * reading.size, max(pixels.shape[:2])))
            pixels = undistorted(pixels, lens, view.distortion)
        square, lens = squared(pixels, lens, size=reading.size)
        squares.append(square)
        lenses.append(lens)
    matrices = torch.from_numpy(np.asarray([view.world_from_camera for view in views], np.float64))
    cameras = Cameras(matrices, torch.from_numpy(np.asarray(lenses, np.float64)), reading.size, reading.size)
    pictures = np.stack(squares)
    cameras, places = in_cube(cameras, pictures[..., 3] >= SOLID, reading, aabb)
    stand_in = Caption(reading.category, "category") if reading.category else Caption(name.replace("_", " "), "name")
    captions = captions_beside((folder if folder.is_dir() else folder.parent) / "caption.txt", stand_in)
    record = ObjectRecord(name, captions, category=reading.category, source=folder.name)
    note = "\n".join(dict.fromkeys(line for line in (*said, *places) if line))
    return PreparedObject(record, pictures, cameras, note=note)


def masked_views(views: Sequence[SourceView], mask: str) -> tuple[list[SourceView], str]:
    """The views that have a mask file where some have, and what is said of the others; all where none has."""
    masked = [view for view in views if view.mask is not None or has_alpha(view.picture)]
    if mask not in ("auto", "file") or not any(view.mask for view in views) or len(masked) == len(views):
        return list(views), ""
    if 2 * len(masked) <= len(views):
        raise ValueError(f"masks: wanted one for each picture; got {len(masked)} for {len(views)}")
    return masked, f"{len(views) - len(masked)} of {len(views)} pictures without masks left out"
