"""What readers of mesh files hand on: coloured, textured triangles."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vader3d.data.reading.pictures import check_decodable
from vader3d.data.reading.profiles import in_srgb

if TYPE_CHECKING:
    from PIL.Image import Image

PLAIN = 0.7  # grey of what has no colour
TEXTURE_SIDE_PX = 512  # finer ones only alias in small pictures


class Part(NamedTuple):
    """F triangles: corners [F, 3, 3], sRGB colours [F, 3, 3] in [0, 1], uv [F, 3, 2] (origin bottom left).

    texels: uint8 [H, W, 4], or None; parts of one texture share one array.
    """

    triangles: np.ndarray
    colours: np.ndarray
    uv: np.ndarray
    texels: np.ndarray | None


@dataclass
class Parts:
    """What a file holds, and what of it could not be had, a line each."""

    parts: list[Part] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def note(self, line: str) -> None:
        if line not in self.notes:
            self.notes.append(line)


def texels_of(image: "Image") -> np.ndarray:
    """uint8 [H, W, 4] of at most 512 px a side, whatever the picture's mode."""
    from PIL import Image as Pictures

    check_decodable(image)
    if image.mode.startswith(("I", "F")):  # 16 and more bits, of which a conversion would cut the upper half
        values = np.asarray(image, np.float64)
        most = 65535.0 if values.max() > 255 else 255.0 if values.max() > 1 or image.mode[0] == "I" else 1.0
        image = Pictures.fromarray(np.rint(values * (255 / most)).clip(0, 255).astype(np.uint8))
    image = in_srgb(image).convert("RGBA")
    image.thumbnail((TEXTURE_SIDE_PX, TEXTURE_SIDE_PX))
    return np.asarray(image)
