"""What all relatives of Blender's transforms.json share."""

import math
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from unicodedata import normalize
from urllib.parse import unquote

import numpy as np

from vader3d.data.reading.frames import picture_name, pose_of
from vader3d.data.reading.pictures import existing_picture, film_focal, opened, picture_size
from vader3d.geometry.cameras import signs_of

MATRICES = ("K", "intrinsics", "intrinsic", "intrinsic_matrix", "camera_matrix")
EVEN, OFF = 1.1, 1.4  # how much middles of rows and columns may differ, and be off a picture's own middle
WHOLES, ROUGH = (0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0), 1.2  # times that pictures are larger; how rough EXIF is
SHORT = 0.1  # of a picture's side: no lens has a focal length below, but one in shares of the side does


def frames_with_pictures(
    folder: Path, frames: Sequence[Mapping], within: Path | None = None
) -> tuple[list[tuple[Mapping, Path]], str]:
    """The frames whose pictures are there, and what is said of the others; ValueError where half or more are missing.

    Blender's add-ons list frames that were never rendered, and cleaning up takes blurred pictures away.
    """
    found, missing = [], ""
    for frame in frames:
        try:
            found.append((frame, frame_picture(folder, frame, within)))
        except FileNotFoundError as error:
            missing = missing or str(error)
    if frames and 2 * len(found) <= len(frames):
        raise ValueError(f"pictures: wanted those of {len(frames)} frames; got {len(found)}; {missing}")
    gone = len(frames) - len(found)
    return found, f"{gone} of {len(frames)} frames without their pictures left out" if gone else ""


def frame_picture(folder: Path, frame: Mapping, within: Path | None = None) -> Path:
    """The picture of a frame; Blender leaves the suffix out. FileNotFoundError where there is none.

    Names may have blanks as %20, and marks of letters that are parts of them here, or letters of their own.
    """
    name = picture_name(frame)
    named = inside(folder, name, within)
    try:
        return existing_picture(named)
    except FileNotFoundError:
        for spelt in (unquote(name), normalize("NFC", name), normalize("NFD", name)):
            with suppress(FileNotFoundError):
                return existing_picture(inside(folder, spelt, within))
        for beside in ("images", "images_2", "images_4", "images_8"):  # OmniObject3D leaves the folder out
            with suppress(FileNotFoundError):
                return existing_picture(folder / beside / named.name)
        raise


def inside(folder: Path, name: str, within: Path | None = None) -> Path:
    """A file that a document names, in its folder, or `within`, or below; ValueError for one elsewhere.

    Links are followed. Backslashes part folders too. Of a path of another folder or machine the longest end that leads
    to one here counts.
    """
    name = name.replace("\\", "/")
    there = Path(os.path.normpath(folder / name))
    here = any(there.is_relative_to(os.path.normpath(place)) for place in (folder, within) if place is not None)
    if here and (folder / name).parent.is_dir():
        return folder / name
    parts = [part for part in name.split("/") if part not in ("", ".", "..")]
    for first in range(1 if here else 0, len(parts)):
        end = folder.joinpath(*parts[first:])
        if end.is_file() or (end.parent != folder and end.parent.is_dir()):
            return end
    if not here:
        raise ValueError(
            f"frames: wanted files in {folder} or below; got {name!r}; move or link them there, or "
            "prepare the folder that holds both"
        )
    return folder / name


class Declared(NamedTuple):
    """The (height, width) that a lens is for, what is said where that is not its picture's, and if that is sure."""

    size: tuple[float, float]
    note: str = ""
    sure: bool = True


def declared_size(frame: Mapping, picture: Path) -> Declared:
    """What the frame says; else twice its middle (cx, cy), where that is another size.

    Else what `camera_angle_x` beside a focal length in px makes of this; else that of the picture in `images` for one
    in `images_2`, `_4`, `_8`, or so many times its own; else what the picture's EXIF makes of the focal length.
    """
    own = picture_size(picture)
    size = [frame.get(name, frame.get(name[0])) for name in ("height", "width")]
    if None not in size:
        return Declared((float(size[0]), float(size[1])))
    lens, smaller = {**usual_names(frame), **frame}, re.fullmatch(r"images_(\d+)", picture.parent.name)
    times, sure = 1.0, True
    focal = {axis: float(lens[f"fl_{axis}"]) for axis in "xy" if f"fl_{axis}" in lens}
    sides = {"x": own[1], "y": own[0]}
    wide = [
        2 * focal[a] * math.tan(float(frame[f"camera_angle_{a}"]) / 2) / sides[a]
        for a in focal
        if 0 < float(frame.get(f"camera_angle_{a}", 0)) < math.pi
    ]
    if any(size):
        times = max(float(each) / side for each, side in zip(size, own, strict=True) if each)
    elif "cx" in lens and "cy" in lens:
        across, down = 2 * float(lens["cx"]) / own[1], 2 * float(lens["cy"]) / own[0]
        times = larger((across + down) / 2) if max(across, down) < EVEN * min(across, down) else 1.0
    elif wide:
        times = larger(wide[0])
    elif smaller and focal:
        full = picture.parent.with_name("images") / picture.name
        times = picture_size(full)[1] / own[1] if full.is_file() else float(smaller[1])
    elif focal:
        times, sure = by_exif(max(focal.values()), picture)
    said = f"pictures of 1/{times:g} of the size that their lenses are for: lenses scaled" if times != 1 else ""
    return Declared((own[0] * times, own[1] * times), said, sure)


def larger(times: float) -> float:
    """How many times as large a picture is: 1 where about that, and whole where about whole."""
    if 1 / OFF < times < OFF:
        return 1.0
    return float(round(times)) if abs(times - round(times)) < 0.1 and times > 1 else times


def by_exif(focal: float, picture: Path) -> tuple[float, bool]:
    """The same by the focal length that EXIF says, which is rough, and whether it tells."""
    with opened(picture) as image:
        said = film_focal(image)
    if not said:
        return 1.0, False
    nearest = min(WHOLES, key=lambda whole: abs(math.log(focal / said / whole)))
    return nearest, 1 / ROUGH < focal / said / nearest < ROUGH


def frame_intrinsics(frame: Mapping, height: float, width: float) -> np.ndarray:
    """(fx, fy, cx, cy) in px of a picture of this size: from `fl_x`, else from `camera_angle_x` (radians), or y."""
    frame = {**usual_names(frame), **frame}
    focal: dict[str, float] = {}
    for axis, side in (("x", width), ("y", height)):
        if f"fl_{axis}" in frame:
            focal[axis] = float(frame[f"fl_{axis}"])
            if 0 < focal[axis] < SHORT * side:
                raise ValueError(
                    f"fl_{axis}: wanted px of {side:g}; got {focal[axis]:g}, which looks like a share of it"
                )
        elif (name := f"camera_angle_{axis}") in frame:
            if (angle := float(frame[name])) >= math.pi:
                raise ValueError(f"{name}: wanted radians, below pi; got {angle:g}, which looks like degrees")
            focal[axis] = 0.5 * side / math.tan(0.5 * angle)
    if not focal:
        raise ValueError("cameras: wanted fl_x or camera_angle_x; got neither, nor fx, nor a matrix K")
    for axis, side in (("x", width), ("y", height)):
        if 0 < (middle := float(frame.get(f"c{axis}", side / 2))) <= 1 < side / 4:
            raise ValueError(f"c{axis}: wanted px of {side:g}; got {middle:g}, which looks like a share of it")
    fx, fy = focal.get("x", focal.get("y", 0.0)), focal.get("y", focal.get("x", 0.0))
    return np.array([fx, fy, float(frame.get("cx", width / 2)), float(frame.get("cy", height / 2))])


def usual_names(frame: Mapping) -> dict[str, float]:
    """Lenses that other software calls otherwise, fx or a 3 x 3 matrix K, by their usual names."""
    numbers = {f"fl_{axis}": frame[name] for axis in "xy" for name in (f"f{axis}", "focal") if name in frame}
    named = (frame[name] for name in MATRICES if isinstance(frame.get(name), list))
    square = (np.reshape(each, (3, 3)) if np.shape(each) == (9,) else each for each in named)
    matrix = next((each for each in square if np.shape(each) in ((3, 3), (4, 4))), None)
    if matrix is not None:
        numbers |= {"fl_x": matrix[0][0], "fl_y": matrix[1][1], "cx": matrix[0][2], "cy": matrix[1][2]}
    return numbers


def frame_pose(frame: Mapping, picture: str, axes: str = "auto") -> np.ndarray:
    """world_from_camera [4, 4], OpenCV axes, of a `transform_matrix` whose camera looks along -z with y up (OpenGL's).

    `axes` names others; of a matrix from the world to the camera they are usually OpenCV's.
    """
    matrix, usual = pose_of(frame, picture)
    matrix[:3, :3] *= signs_of(axes, usual=usual)
    return matrix
