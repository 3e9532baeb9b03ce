"""The sRGB curve (IEC 61966-2-1), both ways, and colours in words."""

from collections import Counter

import numpy as np
from numpy.typing import ArrayLike

FOCAL = {  # sRGB of what people call so, as it looks where the light falls on it
    "red": ((0.76, 0.15, 0.13), (0.73, 0.24, 0.22), (1, 0, 0), (0.55, 0.05, 0.08), (0.5, 0.13, 0.13)),
    "orange": ((0.91, 0.49, 0.13), (0.86, 0.51, 0.22), (1, 0.5, 0), (1, 0.65, 0.2)),
    "yellow": ((0.93, 0.80, 0.25), (0.86, 0.76, 0.30), (1, 1, 0), (0.98, 0.9, 0.5), (0.7, 0.62, 0.2)),
    "green": ((0.24, 0.56, 0.28), (0.29, 0.57, 0.33), (0, 0.5, 0), (0, 1, 0), (0.12, 0.3, 0.13), (0.55, 0.7, 0.25)),
    "turquoise": ((0.24, 0.66, 0.66), (0.31, 0.64, 0.66), (0.25, 0.88, 0.82), (0, 0.5, 0.5), (0, 1, 1)),
    "blue": ((0.20, 0.36, 0.74), (0.28, 0.39, 0.71), (0, 0, 1), (0.4, 0.6, 0.9), (0.1, 0.15, 0.4), (0.6, 0.75, 0.95)),
    "purple": ((0.48, 0.27, 0.62), (0.5, 0.33, 0.64), (0.5, 0, 0.5), (0.7, 0.5, 0.85), (0.3, 0.15, 0.4)),
    "pink": ((0.90, 0.55, 0.66), (0.84, 0.55, 0.65), (1, 0.75, 0.8), (1, 0.4, 0.7)),
    "white": ((0.92, 0.91, 0.88), (1, 1, 1), (0.85, 0.86, 0.83)),
    "grey": ((0.52, 0.53, 0.55), (0.66, 0.67, 0.68), (0.38, 0.38, 0.39)),
    "black": ((0.16, 0.16, 0.17), (0, 0, 0), (0.27, 0.26, 0.26)),
    "brown": ((0.58, 0.38, 0.21), (0.36, 0.22, 0.14), (0.59, 0.41, 0.28), (0.41, 0.29, 0.22), (0.4, 0.2, 0.05)),
    "beige": ((0.83, 0.67, 0.46), (0.79, 0.65, 0.49), (0.96, 0.96, 0.86), (0.88, 0.8, 0.68), (0.7, 0.62, 0.52)),
}
COLOURS = tuple(FOCAL)
CONES_FROM_SRGB = np.array(
    [[0.41222147, 0.21190350, 0.08830246], [0.53633254, 0.68069955, 0.28171884], [0.05144599, 0.10739696, 0.62997870]]
)
OKLAB_FROM_CONES = np.array(
    [
        [0.21045426, 1.97799850, 0.02590404],
        [0.79361779, -2.42859221, 0.78277177],
        [-0.00407205, 0.45059371, -0.80867577],
    ]
)
LIGHTNESS_WEIGHT = 0.7  # of a difference in lightness, beside one in hue or chroma
NEUTRAL, HUES = (0.05, 0.08), 12  # a pixel has no hue below so much difference of channels: fixed, and of the largest
DIMMEST, TYPICAL = 0.5, 0.7  # of a surface's brightness in full light: its darkest, and the median at least
SOLID = 128  # of alpha
LEAST_SHARE, MOST_PIXELS = 0.02, 40_000


def linear_from_srgb(colour: np.ndarray) -> np.ndarray:
    """sRGB values in [0, 1] -> linear light in [0, 1]."""
    return np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)


def srgb_from_linear(light: np.ndarray) -> np.ndarray:
    """Linear light in [0, 1] -> sRGB values in [0, 1]; what is below 0 goes on as a line."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055)


def oklab_from_srgb(colour: np.ndarray) -> np.ndarray:
    """sRGB [..., 3] in [0, 1] -> lightness, green to red, blue to yellow (B. Ottosson, 2020)."""
    return np.cbrt(linear_from_srgb(colour) @ CONES_FROM_SRGB) @ OKLAB_FROM_CONES


FOCAL_WORDS = [word for word, colours in FOCAL.items() for _ in colours]
FOCAL_OKLAB = oklab_from_srgb(np.array([colour for colours in FOCAL.values() for colour in colours], float))


def colour_word(rgb: ArrayLike) -> str:
    """What an sRGB colour [3] in [0, 1], seen in full light, is called: one of `COLOURS`, by the nearest focal one."""
    difference = oklab_from_srgb(np.clip(np.asarray(rgb, float), 0, 1)) - FOCAL_OKLAB
    difference[:, 0] *= LIGHTNESS_WEIGHT
    return FOCAL_WORDS[int(np.square(difference).sum(1).argmin())]


def dominant_colours(pictures: np.ndarray) -> list[tuple[str, float]]:
    """(word, share of the object's pixels) of all that has at least 2 %, the largest first.

    pictures: [..., 4] RGBA in sRGB with straight alpha, uint8 or in [0, 1], of one object from any sides. Pixels are
    told apart by hue, then by brightness; shade on a surface counts as the surface in full light, so that a white one
    stays white. Empty where nothing is opaque.
    """
    pixels = np.asarray(pictures).reshape(-1, 4)
    if pixels.dtype == np.uint8:
        pixels = pixels / np.float32(255)
    solid = pixels[pixels[:, 3] * 255 >= SOLID, :3]
    solid = solid[:: max(1, len(solid) // MOST_PIXELS)]
    largest, smallest = solid.max(1, initial=0), solid.min(1, initial=1)
    neutral = largest - smallest < NEUTRAL[0] + NEUTRAL[1] * largest
    lab = oklab_from_srgb(solid)
    hue = np.floor((np.arctan2(lab[:, 2], lab[:, 1]) / (2 * np.pi) % 1) * HUES)
    counts: Counter[str] = Counter()
    for chosen in [neutral, *(~neutral & (hue == number) for number in range(HUES))]:
        group = np.flatnonzero(chosen)
        while len(group) > LEAST_SHARE / 4 * len(solid):
            full, within = full_light(largest[group])
            lit = (solid[group[within]] / np.maximum(largest[group[within], None], 1e-6)).mean(0) * full
            counts[colour_word(lit)] += int(within.sum())
            group = group[~within]
    shares = [(word, count / len(solid)) for word, count in counts.most_common()]
    return [(word, share) for word, share in shares if share >= LEAST_SHARE]


def full_light(brightness: np.ndarray) -> tuple[float, np.ndarray]:
    """How bright the surface that most pixels [N] show is in full light, and which pixels show it.

    The brightest pixels say it, unless most are so much darker that they are another surface's.
    """
    median = np.median(brightness)
    for quantile in (0.95, 0.85, 0.75, 0.65):
        full = float(np.quantile(brightness, quantile, method="higher"))  # a pixel has it: some are within
        if median >= TYPICAL * full:
            break
    return full, (brightness >= DIMMEST * full) & (brightness <= full / TYPICAL) | (full == 0)
