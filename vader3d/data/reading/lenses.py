"""Lenses by the names that COLMAP and nerfstudio give them.

A lens is (fx, fy, cx, cy) in px and a distortion, a mapping: `k1`..`k4` radial and `p1`, `p2` tangential as OpenCV has
them; `d1`..`d3`, the radial denominator of FULL_OPENCV; `fisheye`, above 0 where `k` bend the angle from the axis.
"""

from collections.abc import Mapping, Sequence

import numpy as np

LENSES = {  # what the numbers of each are, in COLMAP's order
    "SIMPLE_PINHOLE": "f cx cy",
    "PINHOLE": "fx fy cx cy",
    "SIMPLE_RADIAL": "f cx cy k1",
    "RADIAL": "f cx cy k1 k2",
    "OPENCV": "fx fy cx cy k1 k2 p1 p2",
    "OPENCV_FISHEYE": "fx fy cx cy k1 k2 k3 k4",
    "FULL_OPENCV": "fx fy cx cy k1 k2 p1 p2 k3 d1 d2 d3",
    "SIMPLE_RADIAL_FISHEYE": "f cx cy k1",
    "RADIAL_FISHEYE": "f cx cy k1 k2",
}


def lens_of(model: str, numbers: Sequence[float]) -> tuple[np.ndarray, dict[str, float]]:
    """(fx, fy, cx, cy) and the distortion of a model's numbers; ValueError for a model that is not known."""
    if model not in LENSES:
        raise ValueError(
            f"camera model: wanted one of {', '.join(LENSES)}; got {model!r}; undistort first "
            "(colmap image_undistorter)"
        )
    names = LENSES[model].split()
    if len(numbers) != len(names):
        raise ValueError(f"camera: wanted {LENSES[model]!r} of {model}; got {len(numbers)} numbers")
    values = dict(zip(names, map(float, numbers), strict=True))
    focal = values.pop("f", 0.0)
    lens = np.array([values.pop("fx", focal), values.pop("fy", focal), values.pop("cx"), values.pop("cy")])
    return lens, values | ({"fisheye": 1.0} if "FISHEYE" in model else {})


def bent(x: np.ndarray, y: np.ndarray, distortion: Mapping[str, float]) -> tuple[np.ndarray, np.ndarray]:
    """Where a lens puts the ray through (x, y) of the plane at depth 1, on that plane; NaN where it folds back.

    With r^2 = x^2 + y^2: x' = x (1 + k1 r^2 + .. + k4 r^8) / (1 + d1 r^2 + .. + d3 r^6) + 2 p1 x y + p2 (r^2 + 2 x^2),
    y' likewise. A fisheye: x' = x / r a (1 + k1 a^2 + .. + k4 a^8), a = arctan r.
    """
    ks, ds = ([distortion.get(f"{letter}{n + 1}", 0.0) for n in range(4)] for letter in "kd")
    p1, p2 = distortion.get("p1", 0.0), distortion.get("p2", 0.0)
    square = x * x + y * y
    radius = np.sqrt(square)
    if distortion.get("fisheye"):
        angle = np.arctan(radius)
        stretched, grows = angle * series(ks, angle**2), slope(ks, angle**2) > 0
        radial = np.where(radius > 1e-9, stretched / np.maximum(radius, 1e-9), 1.0)
    else:
        radial = series(ks, square) / series(ds, square)
        grows = (slope(ks, square) > 0) | any(ds)  # of a quotient nothing is known
    radial = np.where(grows, radial, np.nan)
    bent_x = x * radial + 2 * p1 * x * y + p2 * (square + 2 * x * x)
    bent_y = y * radial + p1 * (square + 2 * y * y) + 2 * p2 * x * y
    return bent_x, bent_y


def series(factors: Sequence[float], square: np.ndarray) -> np.ndarray:
    """1 + f1 s + f2 s^2 + ..."""
    return np.polyval([*factors[::-1], 1.0], square)


def slope(factors: Sequence[float], square: np.ndarray) -> np.ndarray:
    """The derivative of r (1 + f1 r^2 + ..) by r, of s = r^2."""
    return series([(2 * n + 3) * factor for n, factor in enumerate(factors)], square)
