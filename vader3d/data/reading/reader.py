"""What a reader of a foreign format is, and what may be asked of any."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from vader3d.data.reading.pictures import Mask
from vader3d.data.writer import PreparedObject

Up = Literal["auto", "x", "y", "z", "-x", "-y", "-z"]
Axes = Literal["auto", "opencv", "opengl", "pytorch3d", "unity"]


@dataclass(frozen=True)
class Reading:
    """How a foreign data set is read.

    size: pictures become squares of so many px; views: at most so many pictures of an object, evenly chosen.
    mask: `alpha`, `file` (the format's own, or by its name), `white` (background), `plain` (background of any one
    colour), `auto` (the first of alpha, file and plain that there is); None: the reader's.
    scale, offset: a point x of the data set's world moves to (x - offset) * scale. By default a box in the file fills
    the cube; without one the box about what the masks leave possible (their hull) does; where masks and cameras leave
    no hull the point nearest to all optical axes becomes the origin, and the largest sphere about it that all pictures
    show whole gets radius 1. The report prints what was taken.
    up: which axis of that world points up; `auto`: what the pictures' rows are level to, where they agree.
    fov: degrees that pictures are wide, for formats that do not say; None: the format's usual.
    axes: the cameras'; `auto`: the format's own, unless only others agree with the masks.
    within: where files that documents name may lie, beside their own folders.
    """

    size: int = 64
    views: int | None = None
    mask: Mask | None = None
    scale: float | None = None
    offset: tuple[float, float, float] | None = None
    category: str = ""
    up: Up = "auto"
    axes: Axes = "auto"
    fov: float | None = None
    within: Path | None = None

    def __post_init__(self) -> None:
        if self.mask is not None:
            check_choice("mask", self.mask, Mask)
        check_choice("up", self.up, Up)
        check_choice("axes", self.axes, Axes)
        if self.fov is not None and not 0 < self.fov < 180:
            raise ValueError(f"fov: wanted degrees above 0 and below 180; got {self.fov:g}")


def check_choice(name: str, value: str, kind: Any) -> None:
    """ValueError unless a value is one of those that its type lists."""
    if value not in get_args(kind):
        raise ValueError(f"{name}: wanted one of {', '.join(get_args(kind))}; got {value!r}")


@dataclass(frozen=True)
class Reader:
    """One foreign format: a file of this folder and a line in `readers.py` make the command `vader3d prepare NAME`.

    what, source: help texts, of the format and of the folder to give. markers: a folder that holds one of these files,
    named by their paths below it, is an object's. mask: the usual one. read_object(folder, name, reading): the object
    of one folder; ValueError says what is wrong with it. folders(source): the objects' folders, where no marker in each
    of them tells. Processes import it: no lambda, no function in a function.
    """

    name: str
    what: str
    source: str
    markers: tuple[str, ...]
    mask: Mask
    read_object: Callable[[Path, str, Reading], PreparedObject]
    folders: Callable[[Path], Sequence[Path]] | None = None
