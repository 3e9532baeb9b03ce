"""Reads SRN folders (ShapeNet cars and chairs, ABO tables)."""

import re
from pathlib import Path

import numpy as np

from vader3d.data.reading.assembly import SourceView, assembled_object, chosen_views, each_view
from vader3d.data.reading.mask_files import given_mask
from vader3d.data.reading.pictures import PICTURE_SUFFIXES, picture_size
from vader3d.data.reading.reader import Reader, Reading
from vader3d.data.writer import PreparedObject
from vader3d.geometry.cameras import signs_of
from vader3d.untrusted import read_text
from vader3d.untrusted import reading as parsing

INTRINSICS = "intrinsics.txt"


def read_object(folder: Path, name: str, reading: Reading) -> PreparedObject:
    """The object of intrinsics.txt (in its folder, or one for all in a folder above), rgb/ and pose/."""
    places = [above / INTRINSICS for above in (folder, *folder.parents[:3])]
    paths = sorted(path for path in (folder / "rgb").glob("[!.]*") if path.suffix.lower() in PICTURE_SUFFIXES)
    if not paths:
        raise ValueError("pictures: wanted at least 1 in rgb/; got none")
    lens, size = read_intrinsics(next((place for place in places if place.is_file()), places[0]))

    def source_view(path: Path) -> SourceView:
        pose = read_pose(folder / "pose" / f"{path.stem}.txt", reading.axes)
        return SourceView(path, pose, lens, size or picture_size(path), given_mask(path))

    return assembled_object(name, folder, each_view(source_view, chosen_views(paths, reading.views)), reading)


def read_intrinsics(path: Path) -> tuple[np.ndarray, tuple[int, int] | None]:
    """(fx, fy, cx, cy) and (height, width): `f cx cy ..` comes first, the size is the last line of two whole numbers.

    Or a matrix of 3 x 3 or 4 x 4 numbers (NSVF), of pictures as they are: None.
    """
    lines = read_text(path).splitlines()
    rows = [line.split() for line in lines if line.strip()]
    if len(rows) in (3, 4) and all(len(row) == len(rows) for row in rows):
        with parsing(INTRINSICS, "a matrix"):
            matrix = np.array(rows, np.float64)
        return matrix[[0, 1, 0, 1], [0, 1, 2, 2]], None
    sizes = [line.split() for line in lines if re.fullmatch(r"\s*\d+\s+\d+\s*", line)]
    try:
        focal, cx, cy = (float(word) for word in lines[0].split()[:3])
        height, width = (int(word) for word in sizes[-1])
    except (IndexError, ValueError, OverflowError) as error:
        raise ValueError(
            f"{INTRINSICS}: wanted `f cx cy 0.` first and `H W` last; got another file ({error})"
        ) from error
    if height < 1 or width < 1:
        raise ValueError(f"{INTRINSICS}: wanted a size above 0; got {height} x {width}")
    return np.array([focal, focal, cx, cy]), (height, width)


def read_pose(path: Path, axes: str = "auto") -> np.ndarray:
    """world_from_camera [4, 4], OpenCV axes: as it stands, unless `axes` names others."""
    try:
        numbers = [float(word) for word in read_text(path).replace(",", " ").split()]
    except FileNotFoundError as error:
        raise ValueError(f"pose: wanted {path}; got no such file") from error
    except ValueError as error:
        raise ValueError(f"pose: wanted 16 numbers; got something else in {path.name} ({error})") from error
    if len(numbers) not in (12, 16):
        raise ValueError(f"pose: wanted 16 numbers; got {len(numbers)} in {path.name}")
    matrix = np.reshape([*numbers, 0.0, 0.0, 0.0, 1.0][:16], (4, 4))
    matrix[:3, :3] *= signs_of(axes, usual="opencv")
    return matrix


SRN = Reader(
    name="srn",
    what="SRN folders (ShapeNet cars and chairs of pixelNeRF, ABO tables of SSDNeRF), on a plain background.",
    source="A folder of objects, each with rgb/, pose/ and intrinsics.txt (or one above).",
    markers=("rgb", "pose"),
    mask="auto",
    read_object=read_object,
)
