"""Reads SRN folders (ShapeNet cars and chairs, and SSDNeRF's ABO tables)."""

import re
from pathlib import Path

import numpy as np

from vader3d.data.making.conversion import Job, PreparedObject, PrepareReport, write_archive
from vader3d.data.reading.assembly import Reading, assembled_object, chosen_views, object_names
from vader3d.data.reading.pictures import (
    PICTURE_SUFFIXES,
    check_aspect,
    check_mask,
    check_one_size,
    masked_picture,
    squared,
)

INTRINSICS = "intrinsics.txt"


def prepare_srn(
    source: Path,
    output: Path,
    *,
    size: int = 64,
    views: int | None = None,
    mask: str = "white",
    scale: float | None = None,
    offset: tuple[float, float, float] | None = None,
    category: str = "",
    quality: int = 100,
    processes: int = 2,
    title: str = "",
) -> PrepareReport:
    """Convert a folder of SRN objects, or one, into the archive `output`.

    source: a folder with intrinsics.txt, rgb/ and pose/, or one that holds such folders at any depth. mask: `white`
    takes white pixels for background, `alpha` the pictures' own. The other arguments, and errors, are those of
    `prepare_nerfstudio`.
    """
    source = Path(source)
    check_mask(mask)
    if not source.is_dir():
        raise ValueError(f"source: a folder wanted, {source} is none")
    folders = sorted(path.parent for path in source.rglob(INTRINSICS))
    if not folders:
        raise ValueError(f"source: no {INTRINSICS} in {source} or below")
    reading = Reading(size, views, mask, scale, offset, category)
    names = object_names(folders, source)
    jobs = [Job(name, read_object, (folder, name, reading)) for folder, name in zip(folders, names, strict=True)]
    return write_archive(
        Path(output),
        jobs,
        title=title or source.resolve().name,
        resolution=(size, size),
        quality=quality,
        processes=processes,
    )


def read_object(folder: Path, name: str, reading: Reading) -> PreparedObject:
    """The object of one folder; ValueError says what is wrong with it."""
    lens, height, width = _intrinsics(folder / INTRINSICS)
    paths = sorted(path for path in (folder / "rgb").glob("*") if path.suffix.lower() in PICTURE_SUFFIXES)
    if not paths:
        raise ValueError("pictures: there are none in rgb/")
    squares, matrices, intrinsics, shapes = [], [], [], []
    for number in chosen_views(len(paths), reading.views):
        path = paths[number]
        pixels = masked_picture(path, mask=reading.mask)
        shapes.append(pixels.shape[:2])
        check_one_size(path, shapes)
        check_aspect((height, width), pixels.shape[:2])
        to_picture = np.array([pixels.shape[1] / width, pixels.shape[0] / height] * 2)
        square, own = squared(pixels, lens * to_picture, size=reading.size)
        squares.append(square)
        intrinsics.append(own)
        matrices.append(_pose(folder / "pose" / f"{path.stem}.txt"))
    return assembled_object(name, folder, squares, matrices, intrinsics, reading)


def _intrinsics(path: Path) -> tuple[np.ndarray, int, int]:
    """(f, f, cx, cy), height, width: `f cx cy ..` comes first, the size is the last line of just two whole numbers."""
    lines = path.read_text("utf-8").splitlines()
    sizes = [line.split() for line in lines if re.fullmatch(r"\s*\d+\s+\d+\s*", line)]
    try:
        focal, cx, cy = (float(word) for word in lines[0].split()[:3])
        height, width = (int(word) for word in sizes[-1])
    except (IndexError, ValueError) as error:
        raise ValueError(f"{INTRINSICS}: `f cx cy 0.` first and `H W` last wanted ({error})") from error
    if height < 1 or width < 1:
        raise ValueError(f"{INTRINSICS}: a size above 0 wanted, {height} x {width} found")
    return np.array([focal, focal, cx, cy]), height, width


def _pose(path: Path) -> np.ndarray:
    """world_from_camera [4, 4], OpenCV axes, as it stands."""
    try:
        numbers = [float(word) for word in path.read_text("utf-8").split()]
    except FileNotFoundError as error:
        raise ValueError(f"pose: {path} does not exist") from error
    except ValueError as error:
        raise ValueError(f"pose: 16 numbers wanted, {path.name} holds something else ({error})") from error
    if len(numbers) != 16:
        raise ValueError(f"pose: 16 numbers wanted, {path.name} holds {len(numbers)}")
    return np.reshape(numbers, (4, 4))
