"""How large an object is in its file, where it stands, which way is up."""

import re
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from vader3d.config import Checked, ranged

UP_FROM_WORLD = {  # rotations from our axes, z up; "-y" is y down and z forward, as COLMAP and classic splats have it
    "z": np.eye(3),
    "y": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
    "-y": np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]),
}
PRINT_CM = 10.0  # the longest side where a format counts in millimetres and nothing is known of the size
USUAL_CM = {  # the longest side of common things; the last word of a caption that is known decides
    "armchair": 95, "bathtub": 170, "bed": 210, "bench": 130, "bookcase": 180, "bottle": 30, "bowl": 20, "box": 40,
    "cabinet": 150, "car": 450, "chair": 90, "clock": 30, "couch": 210, "cup": 10, "cupboard": 180, "desk": 140,
    "door": 205, "dresser": 120, "fridge": 180, "lamp": 50, "mug": 11, "oven": 85, "plant": 80, "refrigerator": 180,
    "shelf": 120, "sink": 80, "sofa": 210, "stool": 50, "table": 140, "television": 110, "toilet": 75, "tv": 110,
    "vase": 30, "wardrobe": 210, "washbasin": 60, "window": 150,
}  # fmt: skip


@dataclass(frozen=True)
class ExportConfig(Checked):
    """How files are written. ValueError, naming the field, for values out of range."""

    # the object's longest side; auto: what is usual for that which its prompt names; None: as it is
    size_cm: float | Literal["auto"] | None = ranged(None, at_least=0.1, at_most=100_000)
    # what the file's origin is: the middle of the cube that the model learned in, or the middle of the object's base
    pivot: Literal["centre", "base"] = "centre"
    up: Literal["auto", "y", "z", "-y"] = "auto"  # for formats that leave it open: obj, ply, stl, 3mf, splats.ply
    frames: int = ranged(24, at_least=1, at_most=720)  # of turntables
    picture_size: int = ranged(128, at_least=8, at_most=4096)  # px, of turntables, depth and normal pictures
    frames_per_second: float = ranged(12.0, at_least=0.1, at_most=120)
    elevation_degrees: float = ranged(20.0, at_least=-89, at_most=89)  # of the turning camera

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value, known in (
            ("size_cm", self.size_cm if isinstance(self.size_cm, str) else "auto", ("auto",)),
            ("pivot", self.pivot, ("centre", "base")),
            ("up", self.up, ("auto", *UP_FROM_WORLD)),
        ):
            if value not in known:
                raise ValueError(f"{name}: wanted one of {', '.join(known)}; got {value!r}")

    def size_for(self, caption: str) -> float | None:
        """The size in cm of what the caption names; None: it stays as it is."""
        return usual_size_cm(caption) if isinstance(self.size_cm, str) else self.size_cm

    def sized(self, caption: str) -> "ExportConfig":
        """The same with `size_for` the caption in place of auto."""
        return replace(self, size_cm=self.size_for(caption))

    def with_own_up(self) -> "ExportConfig":
        """The same for a format whose law says what is up."""
        return replace(self, up="auto")


AS_IT_IS = ExportConfig()


class Placement(NamedTuple):
    """point in the file = scale * rotation @ (point in the world - origin); rotation [3, 3], origin [3]."""

    rotation: np.ndarray
    scale: float
    origin: np.ndarray

    def points(self, points: np.ndarray) -> np.ndarray:
        """[P, 3] of the world in the file."""
        return (points - self.origin) * self.scale @ self.rotation.T


def placement(bounds: np.ndarray, config: ExportConfig, *, up: str, millimetres: bool = False) -> Placement:
    """Of an object with these bounds [2, 3] in the world, in a file of metres, or of millimetres.

    `up` is the format's own way. Without a size a unit of the world is one metre, or `PRINT_CM` are the longest side.
    """
    low, high = bounds
    origin = np.array([*(low + high)[:2] / 2, low[2]]) if config.pivot == "base" else np.zeros(3)
    size_cm = config.size_for("") or (PRINT_CM if millimetres else None)
    scale = 1.0 if size_cm is None else size_cm * (10 if millimetres else 0.01) / float((high - low).max())
    return Placement(UP_FROM_WORLD[up if config.up == "auto" else config.up], scale, origin)


def usual_size_cm(caption: str) -> float | None:
    """The longest side that things called so have, such as 90 for "a wooden chair"; None where no word is known."""
    words = re.findall(r"[a-z]+", caption.lower().split(" with ")[0])
    singular = (each for word in words for each in (word, word.removesuffix("s"), word.removesuffix("es")))
    known = [USUAL_CM[word] for word in singular if word in USUAL_CM]
    return float(known[-1]) if known else None
