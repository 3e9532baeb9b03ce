"""What every reader of posed pictures does alike, once it knows the files and the cameras."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from vader3d.data.archive.format import check_cameras
from vader3d.data.making.conversion import PreparedObject
from vader3d.geometry.cameras import Cameras
from vader3d.geometry.placement import automatic_placement, check_placement, placed


@dataclass(frozen=True)
class Reading:
    """How a foreign data set is read; the readers' public functions say what the fields mean."""

    size: int
    views: int | None
    mask: str
    scale: float | None
    offset: tuple[float, float, float] | None
    category: str


def chosen_views(count: int, wanted: int | None) -> list[int]:
    """At most `wanted` of `count` views, evenly apart; all without a wish."""
    if not wanted or count <= wanted:
        return list(range(count))
    return np.linspace(0, count - 1, wanted).round().astype(int).tolist()


def assembled_object(
    name: str, folder: Path, pictures: Sequence[np.ndarray], matrices, intrinsics, reading: Reading, *, aabb=None
) -> PreparedObject:
    """One object from squares uint8 [size, size, 4], world_from_camera [V, 4, 4] (OpenCV) and intrinsics [V, 4].

    Placement: `reading.scale` and `offset` where given; else from `aabb` ([2, 3] corners), else from the cameras. The
    caption is that of caption.txt in the object's folder, else the category, else its name.
    """
    cameras = Cameras(
        torch.from_numpy(np.asarray(matrices, np.float64)),
        torch.from_numpy(np.asarray(intrinsics, np.float64)),
        reading.size,
        reading.size,
    )
    check_cameras(cameras, len(pictures))
    stacked = np.stack(pictures)
    if not stacked[..., 3].any():
        raise ValueError("masks: all are empty, the object is nowhere to be seen")
    scale, offset = _placement(cameras, reading, aabb)
    cameras = placed(cameras, scale=scale, offset=offset)
    cameras = Cameras(cameras.world_from_camera.float(), cameras.intrinsics.float(), reading.size, reading.size)
    check_placement(cameras)
    text = folder / "caption.txt"
    caption = text.read_text("utf-8").strip() if text.exists() else reading.category or name.replace("_", " ")
    note = f"placement: scale {scale:.3g}, offset ({', '.join(f'{x:.2f}' for x in np.asarray(offset) + 0.0)})"
    return PreparedObject(
        name,
        caption,
        stacked,
        cameras,
        category=reading.category,
        source=folder.name,
        note=note.replace("-0.00", "0.00"),
    )


def object_names(folders: Sequence[Path], source: Path) -> list[str]:
    """Each folder's path below `source`, joined by dots; the source's own name for itself."""
    return [".".join(folder.relative_to(source).parts) or source.resolve().name for folder in folders]


def _placement(cameras: Cameras, reading: Reading, aabb) -> tuple[float, np.ndarray]:
    if reading.scale is not None and reading.offset is not None:
        return reading.scale, np.asarray(reading.offset, float)
    if aabb is not None and np.shape(aabb) == (2, 3) and np.ptp(aabb, axis=0).max() > 0:
        scale, offset = 2 / np.ptp(aabb, axis=0).max(), np.mean(aabb, axis=0)
    else:
        scale, offset = automatic_placement(cameras)
    wished = offset if reading.offset is None else np.asarray(reading.offset, float)
    return scale if reading.scale is None else reading.scale, wished
