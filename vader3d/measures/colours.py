"""Colours in words, and which one most of an object has.

Each pixel of the object has one vote, so highlights, shaded sides and small parts do not mix into a colour that is
nowhere. Votes are for the nearest example in CIELAB, where lightness counts less than hue: shading moves it.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from vader3d.colour import linear_from_srgb

# Examples in sRGB of what the basic words of English mean; a word may have several, as its light and its dark side.
EXAMPLES: dict[str, tuple[tuple[float, float, float], ...]] = {
    "red": ((0.76, 0.15, 0.13), (0.45, 0.08, 0.08), (0.90, 0.25, 0.20)),
    "orange": ((0.91, 0.49, 0.13), (0.95, 0.60, 0.25)),
    "yellow": ((0.93, 0.80, 0.25), (0.75, 0.65, 0.15), (0.97, 0.90, 0.55)),
    "green": ((0.24, 0.56, 0.28), (0.12, 0.32, 0.15), (0.55, 0.78, 0.45)),
    "turquoise": ((0.24, 0.66, 0.66), (0.12, 0.40, 0.42), (0.45, 0.80, 0.80)),
    "blue": ((0.20, 0.36, 0.74), (0.0, 0.0, 1.0), (0.10, 0.18, 0.42), (0.45, 0.62, 0.88)),
    "purple": ((0.48, 0.27, 0.62), (0.28, 0.14, 0.38), (0.66, 0.48, 0.78)),
    "pink": ((0.90, 0.55, 0.66), (0.70, 0.38, 0.48)),
    "brown": ((0.58, 0.38, 0.21), (0.36, 0.22, 0.14), (0.83, 0.67, 0.46), (0.70, 0.52, 0.32)),
    "white": ((0.92, 0.91, 0.88), (0.82, 0.81, 0.79)),
    "grey": ((0.52, 0.53, 0.55), (0.36, 0.37, 0.38), (0.68, 0.69, 0.70)),
    "black": ((0.16, 0.16, 0.17), (0.04, 0.04, 0.04)),
}
COLOURS = tuple(EXAMPLES)
LIGHTNESS = 0.5  # of CIELAB, beside hue and chroma
OPAQUE = 0.5  # pixels below are no part of the object
LAB_FROM_XYZ = np.array([[0, 116, 0], [500, -500, 0], [0, 200, -200]], float)
XYZ_FROM_LINEAR = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
WHITE = XYZ_FROM_LINEAR.sum(1)


def colour_word(rgb: Sequence[float]) -> str:
    """The word for a colour in sRGB, in [0, 1]."""
    return COLOURS[int(word_numbers(np.array([rgb], float))[0])]


def word_numbers(colours: np.ndarray) -> np.ndarray:
    """Places in COLOURS of colours [N, 3] in sRGB: [N]."""
    examples = [(number, rgb) for number, word in enumerate(COLOURS) for rgb in EXAMPLES[word]]
    known = lab(np.array([rgb for _, rgb in examples]))
    nearest = np.square(lab(colours)[:, None] - known).sum(-1).argmin(1)
    return np.array([number for number, _ in examples])[nearest]


def lab(colours: np.ndarray) -> np.ndarray:
    """CIELAB of colours [N, 3] in sRGB, lightness times LIGHTNESS."""
    xyz = linear_from_srgb(colours) @ XYZ_FROM_LINEAR.T / WHITE
    root = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return root @ LAB_FROM_XYZ.T * (LIGHTNESS, 1, 1) - (16 * LIGHTNESS, 0, 0)


def dominant_colours(pictures: np.ndarray) -> list[tuple[str, float]]:
    """The colours of one object in pictures [..., 4], RGBA with straight alpha, uint8 or in [0, 1].

    Words and shares of its pixels, the largest first; empty where nothing is opaque.
    """
    pixels = np.asarray(pictures).reshape(-1, 4)
    if pixels.dtype == np.uint8:
        pixels = pixels / 255
    pixels = pixels[pixels[:, 3] >= OPAQUE, :3]
    votes = Counter(word_numbers(pixels).tolist())
    return [(COLOURS[number], count / len(pixels)) for number, count in votes.most_common()]
