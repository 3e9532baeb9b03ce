"""What a plain wall looks like behind an object, however lit."""

import numpy as np

RIM = 0.03  # of the shorter side: how wide the border is that is measured
PLAIN, MOST_NOISE = 0.8, 8.0  # least share of the border that is plain; mean deviation there, of 255
ODD = 40.0  # of 255: what is farther from the border's colours is no noise
STEADY, ROUNDS = 15, 24  # rounds of fits
SMALL_PX, REACH = 160, 4  # of the picture that light is followed in; px a round
SMOOTH, MORE = 1.2, 0.02  # mean deviation, of 255, of light that is followed well; share that must be gained by it


def wall_of(rgb: np.ndarray) -> tuple[np.ndarray, float]:
    """The background's colours, float [H, W, 3], and how far the border's pixels are from them as a mean.

    A quadratic of the place, fitted to the border; where a quartic that is fitted to all that goes on softly from there
    (vignettes, spots of light) shows more of the picture as background, that. ValueError where a border is not plain.
    """
    height, width = rgb.shape[:2]
    rim = max(2, round(RIM * min(height, width)))
    x, y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    border = np.ones((height, width), bool)
    border[rim:-rim, rim:-rim] = False
    factors, noise = quadratic_of(powers(x[border], y[border], 2), rgb[border].astype(float))
    step = max(1, max(height, width) // SMALL_PX)
    places, wall = (slice(None, None, step),) * 2, powers(x, y, 2) @ factors
    light, rest = followed_light(rgb, wall, noise, places, step)
    if rest < SMOOTH:
        curved = powers(x, y, 4) @ light
        if alike(rgb[places], curved[places], noise) > alike(rgb[places], wall[places], noise) + MORE:
            return curved, noise
    return wall, noise


def quadratic_of(terms: np.ndarray, colours: np.ndarray) -> tuple[np.ndarray, float]:
    """Factors [6, 3] of what most of the border's colours [N, 3] are, and their mean deviation."""
    apart = np.ones(len(colours))
    for _ in range(STEADY):  # the sum of distances is made least: what crosses the border counts little
        weights = 1 / np.sqrt(np.maximum(apart, 1))[:, None]
        factors = np.linalg.lstsq(terms * weights, colours * weights, rcond=None)[0]
        apart = np.abs(colours - terms @ factors).max(1)
    near, noise = apart < ODD, np.inf
    for _ in range(3):
        if near.mean() < PLAIN:
            break
        factors = np.linalg.lstsq(terms[near], colours[near], rcond=None)[0]
        apart = np.abs(colours - terms @ factors).max(1)
        noise = float(apart[near].mean())
        near = apart < max(4 * noise, 2.0)
    if near.mean() < PLAIN or noise > MOST_NOISE:
        raise ValueError(
            f"background: wanted one plain colour along the borders; got {near.mean():.0%} of them alike; give masks"
        )
    return factors, noise


def followed_light(
    rgb: np.ndarray, wall: np.ndarray, noise: float, places: tuple[slice, ...], step: int
) -> tuple[np.ndarray, float]:
    """Factors [15, 3] of a quartic of what goes on softly from the border, and its mean deviation there."""
    from scipy.ndimage import binary_dilation, gaussian_filter

    small = gaussian_filter(rgb.astype(np.float32), (step / 2, step / 2, 0))[places]
    height, width = small.shape[:2]
    x, y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    terms, margin = powers(x, y, 4), np.minimum(1 - np.abs(x), 1 - np.abs(y)) < 4 * RIM
    known = margin & (np.abs(small - wall[places]).max(-1) < max(6 * noise, 3.0))
    for _ in range(ROUNDS):
        factors = np.linalg.lstsq(terms[known], small[known], rcond=None)[0]
        apart = np.abs(small - terms @ factors).max(-1)
        rest, before = float(apart[known].mean()), known
        known = (apart < max(2.5 * noise, 4.0)) & (binary_dilation(known, iterations=REACH) | margin)
        if (known != before).sum() < 5e-4 * known.size or not known.any():
            break
    return factors, rest


def powers(x: np.ndarray, y: np.ndarray, most: int) -> np.ndarray:
    """All products of powers of x and y up to a degree, [..., N]."""
    return np.stack([x**i * y**j for i in range(most + 1) for j in range(most + 1 - i)], -1)


def alike(rgb: np.ndarray, wall: np.ndarray, noise: float) -> float:
    """The share of pixels that are the wall's."""
    return float((np.abs(rgb - wall).max(-1) < max(4 * noise, 4.0)).mean())
