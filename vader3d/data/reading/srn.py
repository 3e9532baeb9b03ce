"""Reads SRN folders (ShapeNet cars and chairs, ABO tables)."""

from pathlib import Path

import numpy as np

from vader3d.data.reading.assembly import SourceView, assembled_object, chosen_views, each_view
from vader3d.data.reading.frames import matrix_of
from vader3d.data.reading.mask_files import given_mask
from vader3d.data.reading.pictures import PICTURE_SUFFIXES
from vader3d.data.reading.reader import Reader, Reading
from vader3d.data.reading.tables import numbers_of
from vader3d.data.reading.transforms import Declared, declared_size
from vader3d.data.writer import PreparedObject
from vader3d.geometry.cameras import signs_of
from vader3d.untrusted import read_text
from vader3d.untrusted import reading as parsing

INTRINSICS = "intrinsics.txt"
IN_SHARES = 4.0  # lenses of no larger number are in shares of the picture, not px


def read_object(folder: Path, name: str, reading: Reading) -> PreparedObject:
    """The object of intrinsics.txt (in its folder, or one for all in a folder above), rgb/ and pose/."""
    places = [above / INTRINSICS for above in (folder, *folder.parents[:3])]
    paths = sorted(path for path in (folder / "rgb").glob("[!.]*") if path.suffix.lower() in PICTURE_SUFFIXES)
    if not paths:
        raise ValueError("pictures: wanted at least 1 in rgb/; got none")
    lens, size = read_intrinsics(next((place for place in places if place.is_file()), places[0]))

    def source_view(path: Path) -> SourceView:
        pose = read_pose(folder / "pose" / f"{path.stem}.txt", reading.axes)
        own, note, _ = Declared(size) if size is not None else declared_size({"cx": lens[2], "cy": lens[3]}, path)
        return SourceView(path, pose, lens, own, given_mask(path), note=note)

    return assembled_object(name, folder, each_view(source_view, chosen_views(paths, reading.views)), reading)


def read_intrinsics(path: Path) -> tuple[np.ndarray, tuple[int, int] | None]:
    """(fx, fy, cx, cy) and (height, width): `f cx cy 0.` comes first, the size is the last line of two whole numbers.

    Or `fx fy cx cy`, in a line or one below the other; or a matrix of 3 x 3 or 4 x 4 numbers (NSVF). Without a size,
    of pictures as they are: None.
    """
    with parsing(INTRINSICS, "`f cx cy 0.` first and `H W` last, or `fx fy cx cy`, or a matrix"):
        rows = [numbers_of(line) for line in read_text(path).splitlines()]
        rows = [row for row in rows if row]
        sizes = [row for row in rows[1:] if len(row) == 2 and all(number == int(number) for number in row)]
        size = (int(sizes[-1][0]), int(sizes[-1][1])) if sizes else None
        first = np.array(rows[0] if len(rows[0]) > 1 else [row[0] for row in rows])
        whole = np.array([number for row in rows for number in row])
        if len(whole) in (9, 16):
            side = round(len(whole) ** 0.5)
            lens = whole.reshape(side, side)[[0, 1, 0, 1], [0, 1, 2, 2]]
        elif size is not None and (len(first) == 3 or (len(first) == 4 and first[3] == 0)):
            lens = first[[0, 0, 1, 2]]
        elif len(first) == 4 and first[3] > 0:
            lens = first
        else:
            raise ValueError(
                f"{INTRINSICS}: wanted `f cx cy 0.` first and `H W` last, or `fx fy cx cy`; got {len(rows)} lines, the "
                f"first of {len(first)} numbers"
            )
    if size is not None and min(size) < 1:
        raise ValueError(f"{INTRINSICS}: wanted a size above 0; got {size[0]} x {size[1]}")
    return (lens * [*size[::-1], *size[::-1]] if size is not None and lens.max() <= IN_SHARES else lens), size


def read_pose(path: Path, axes: str = "auto") -> np.ndarray:
    """world_from_camera [4, 4], OpenCV axes: as it stands, unless `axes` names others."""
    try:
        numbers = numbers_of(read_text(path))
    except FileNotFoundError as error:
        raise ValueError(f"pose: wanted {path}; got no such file") from error
    except ValueError as error:
        raise ValueError(f"pose: wanted 16 numbers; got something else in {path.name} ({error})") from error
    if len(numbers) not in (12, 16):
        raise ValueError(f"pose: wanted 16 numbers; got {len(numbers)} in {path.name}")
    matrix = matrix_of(numbers, path.name)
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
