"""The sRGB curve (IEC 61966-2-1), both ways."""

import numpy as np


def linear_from_srgb(colour: np.ndarray) -> np.ndarray:
    """sRGB values in [0, 1] -> linear light in [0, 1]."""
    return np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)


def srgb_from_linear(light: np.ndarray) -> np.ndarray:
    """Linear light in [0, 1] -> sRGB values in [0, 1]; what is below 0 goes on as a line."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055)
