"""What every reader of posed pictures does alike."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from vader3d.captions import Caption, captions_beside
from vader3d.data.archive.format import ObjectRecord, check_cameras
from vader3d.data.reading.pictures import masked_picture, scaled_intrinsics, squared, undistorted
from vader3d.data.reading.reader import Reading
from vader3d.data.writer import PreparedObject
from vader3d.geometry.cameras import Cameras
from vader3d.geometry.placement import automatic_placement, check_placement, placed

Item = TypeVar("Item")


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
    name: str, folder: Path, views: Iterable[SourceView], reading: Reading, *, aabb: Any = None
) -> PreparedObject:
    """One object of its views, whose pictures must have one size.

    Placement: `reading.scale` and `offset` where given; else from `aabb` ([2, 3] corners), else from the cameras. The
    captions are the lines of caption.txt in the object's folder, else the category, else its name.
    """
    squares, matrices, intrinsics, sizes = [], [], [], []
    for view in views:
        pixels = masked_picture(view.picture, mask=reading.mask or "auto", mask_path=view.mask)
        sizes.append(pixels.shape[:2])
        check_one_size(view.picture, sizes)
        lens = scaled_intrinsics(view.intrinsics, view.size, sizes[-1])
        if any(view.distortion.values()):
            pixels = undistorted(pixels, lens, view.distortion)
        square, lens = squared(pixels, lens, size=reading.size)
        squares.append(square)
        intrinsics.append(lens)
        matrices.append(view.world_from_camera)
    cameras = Cameras(
        torch.from_numpy(np.asarray(matrices, np.float64)),
        torch.from_numpy(np.asarray(intrinsics, np.float64)),
        reading.size,
        reading.size,
    )
    check_cameras(cameras, len(squares))
    pictures = np.stack(squares)
    if not pictures[..., 3].any():
        raise ValueError("masks: wanted an object; got none, all are empty")
    scale, offset = placement(cameras, reading, aabb)
    cameras = placed(cameras, scale=scale, offset=offset)
    cameras = Cameras(cameras.world_from_camera.float(), cameras.intrinsics.float(), reading.size, reading.size)
    check_placement(cameras)
    stand_in = Caption(reading.category, "category") if reading.category else Caption(name.replace("_", " "), "name")
    captions = captions_beside(folder / "caption.txt", stand_in)
    note = f"placement: scale {scale:.3g}, offset ({', '.join(f'{x:.2f}' for x in np.asarray(offset) + 0.0)})"
    record = ObjectRecord(name, captions, category=reading.category, source=folder.name)
    return PreparedObject(record, pictures, cameras, note=note.replace("-0.00", "0.00"))


def check_one_size(path: Path, sizes: Sequence[tuple[int, int]]) -> None:
    """ValueError when the last of an object's sizes (height, width), that of `path`, is not that of the first."""
    if sizes[-1] != sizes[0]:
        (height, width), (first_height, first_width) = sizes[-1], sizes[0]
        raise ValueError(
            f"pictures: wanted {first_width} x {first_height} px as those before; got {path.name} of {width} x "
            f"{height} px; take its frame out, or render it again"
        )


def placement(cameras: Cameras, reading: Reading, aabb: Any) -> tuple[float, np.ndarray]:
    """Scale and offset."""
    if reading.scale is not None and reading.offset is not None:
        return reading.scale, np.asarray(reading.offset, float)
    if aabb is not None and np.shape(aabb) == (2, 3) and np.ptp(aabb, axis=0).max() > 0:
        scale, offset = 2 / np.ptp(aabb, axis=0).max(), np.mean(aabb, axis=0)
    else:
        scale, offset = automatic_placement(cameras)
    own_offset = offset if reading.offset is None else np.asarray(reading.offset, float)
    return scale if reading.scale is None else reading.scale, own_offset
