"""What a reader of a foreign format is, and what may be asked of any."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vader3d.data.reading.pictures import Mask, check_mask
from vader3d.data.writer import PreparedObject


@dataclass(frozen=True)
class Reading:
    """How a foreign data set is read.

    size: pictures become squares of so many px; views: at most so many pictures of an object, evenly chosen.
    mask: `alpha`, `file` (of the format's own), `white` (background), `auto` (alpha, else file); None: the reader's.
    scale, offset: a point x of the data set's world moves to (x - offset) * scale. By default a box in the file fills
    the cube; without one the point nearest to all optical axes becomes the origin, and the largest sphere about it that
    all pictures show whole gets radius 1; the report prints what was taken.
    """

    size: int = 64
    views: int | None = None
    mask: Mask | None = None
    scale: float | None = None
    offset: tuple[float, float, float] | None = None
    category: str = ""

    def __post_init__(self) -> None:
        if self.mask is not None:
            check_mask(self.mask)


@dataclass(frozen=True)
class Reader:
    """One foreign format: a file of this folder and a line in `readers.py` make the command `vader3d prepare NAME`.

    what, source: help texts, of the format and of the folder to give. markers: a folder that holds one of these files,
    named by their paths below it, is an object's. mask: the usual one. read_object(folder, name, reading): the object
    of one folder; ValueError says what is wrong with it. Processes import it: no lambda, no function in a function.
    """

    name: str
    what: str
    source: str
    markers: tuple[str, ...]
    mask: Mask
    read_object: Callable[[Path, str, Reading], PreparedObject]
