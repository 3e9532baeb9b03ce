"""Tells an object from a wall, past a photograph's noise and shadows."""

import numpy as np

BORDER = 0.04  # of the shorter side: where the background's colour is first read
PLAIN_SHARE, PLAIN_SPREAD = 0.6, 10.0  # of the border's pixels must be near one smooth colour; of 255
LEAST_NOISE = 1.4  # of 255: JPEG smears colours by as much
SURE, FAINT = 7.0, 4.0  # how many times the noise an object differs somewhere, and everywhere
SPECK, HOLE = 3e-4, 1e-4  # of the picture: smaller pieces are noise
DARKEST, TINT, SOFT = (
    0.4,
    0.012,
    (3.0, 1.5, 0.8),
)  # a shadow's share of the light, its change of hue, and of 255 from px to px
STILL_THERE = 0.4  # of an object after its shadow was taken away
WORKED_PX = 800  # of the longer side; larger pictures are looked at smaller
SAMPLES = 4000  # pixels that a fit sees
EDGE_PX = 4  # how far JPEG and blur smear an edge


def plain_background_alpha(pixels: np.ndarray) -> np.ndarray:
    """Alpha uint8 [H, W] of an object before a wall, sheet or sky of one colour, from RGB uint8 [H, W, 3].

    The background is a smooth surface of second order through the border's colours, fitted anew to all that is not the
    object; what differs by more than the noise is the object, but for soft shadows. ValueError: no plain border.
    """
    from PIL import Image

    height, width = pixels.shape[:2]
    if max(height, width) <= WORKED_PX:
        return alpha_at_size(pixels)
    size = [max(1, round(side * WORKED_PX / max(height, width))) for side in (width, height)]
    small = alpha_at_size(np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX)))
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BILINEAR))


def alpha_at_size(pixels: np.ndarray) -> np.ndarray:
    """`plain_background_alpha` at the picture's own size."""
    from scipy.ndimage import binary_propagation, gaussian_filter, maximum_filter

    height, width = pixels.shape[:2]
    if min(height, width) < 8:
        raise ValueError(f"picture: wanted at least 8 px a side; got {width} x {height}")
    smooth = gaussian_filter(pixels.astype(np.float32), (0.8 + max(height, width) / 2000,) * 2 + (0,))
    basis = surface_basis(height, width)
    rim = max(2, round(BORDER * min(height, width)))
    border = np.ones((height, width), bool)
    border[rim:-rim, rim:-rim] = False
    fitted, kept = robust_fit(basis, smooth, border)
    spread = float(np.sqrt(np.mean((smooth - fitted)[kept] ** 2)))
    share = kept.sum() / border.sum()
    if share < PLAIN_SHARE or spread > PLAIN_SPREAD:
        raise ValueError(
            f"background: wanted one plain colour along the picture's borders; got {share:.0%} of them near one, "
            f"within {spread:.0f} of 255; give masks (files, alpha, or --masks MODEL)"
        )
    for _ in range(3):
        noise = np.maximum(np.sqrt(np.mean((smooth - fitted)[kept] ** 2, 0)), LEAST_NOISE)
        apart = np.sqrt((((smooth - fitted) / noise) ** 2).sum(-1))
        outside = ~maximum_filter(apart > SURE, size=2 * rim + 1)
        if outside.mean() > 0.05:
            fitted, kept = robust_fit(basis, smooth, outside)
    mask = binary_propagation(apart > SURE, mask=apart > FAINT)
    mask = cleaned(without_shadow(mask, smooth, fitted))
    return softened(mask, pixels.astype(np.float32), fitted)


def surface_basis(height: int, width: int) -> np.ndarray:
    """1, x, y, x^2, x y, y^2 at every pixel, [H, W, 6]."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], -1).astype(np.float32)


def robust_fit(basis: np.ndarray, values: np.ndarray, where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The smooth surface [H, W, 3] through most of the values at `where` [H, W], and those that it goes through."""
    rows, columns = np.nonzero(where)
    step = max(1, len(rows) // SAMPLES)
    rows, columns = rows[::step], columns[::step]
    points, colours = basis[rows, columns], values[rows, columns]
    distance = np.abs(colours - np.median(colours, 0)).max(-1)
    for _ in range(6):
        near = distance <= max(2.5 * 1.4826 * float(np.median(distance)), 1.5)
        factors = np.linalg.lstsq(points[near], colours[near], rcond=None)[0]
        distance = np.abs(colours - points @ factors).max(-1)
    fitted = basis @ factors
    limit = max(2.5 * 1.4826 * float(np.median(distance)), 1.5)
    return fitted, where & (np.abs(values - fitted).max(-1) <= min(limit, 3 * PLAIN_SPREAD))


def without_shadow(mask: np.ndarray, smooth: np.ndarray, fitted: np.ndarray) -> np.ndarray:
    """Takes away what has the background's hue, is darker, and passes softly into it."""
    from scipy.ndimage import binary_propagation, sobel

    light = smooth.mean(-1)
    ratio = light / np.maximum(fitted.mean(-1), 1)
    hue, own = (each / (each.sum(-1, keepdims=True) + 30) for each in (smooth, fitted))
    slope = np.hypot(sobel(light, 0), sobel(light, 1)) / 8
    dim = (ratio > DARKEST) & (ratio < 0.985) & (np.abs(hue - own).max(-1) < TINT)
    for soft in SOFT:  # pale things have soft edges themselves
        left = mask & ~binary_propagation(~mask, mask=~mask | (dim & (slope < soft)))
        if left.sum() > STILL_THERE * mask.sum():
            return left
    return mask


def cleaned(mask: np.ndarray) -> np.ndarray:
    """Without specks and pinholes."""
    from scipy.ndimage import label

    for value, least in ((True, SPECK), (False, HOLE)):
        pieces, count = label(mask == value)
        sizes = np.bincount(pieces.ravel(), minlength=count + 1)
        small = sizes < least * mask.size
        small[0] = False
        mask = np.where(small[pieces], not value, mask)
    return mask


def softened(mask: np.ndarray, pixels: np.ndarray, fitted: np.ndarray) -> np.ndarray:
    """Alpha uint8 [H, W]: the share of the inside's difference from the background that a pixel has.

    The inside of a pixel is the nearest one that is well within the mask, or the middle of something thin.
    """
    from scipy.ndimage import binary_dilation, binary_erosion, distance_transform_edt, gaussian_filter, maximum_filter

    apart = np.sqrt((gaussian_filter(pixels - fitted, (0.6, 0.6, 0)) ** 2).sum(-1)) * mask
    inside = binary_erosion(mask, iterations=EDGE_PX)
    middle = mask & (apart >= maximum_filter(apart, size=2 * EDGE_PX + 1))
    if not middle.any():
        return np.zeros(mask.shape, np.uint8)
    row, column = distance_transform_edt(~(inside | middle), return_distances=False, return_indices=True)
    share = apart / np.maximum(apart[row, column], 1e-3)
    alpha = np.where(inside, 1, np.where(binary_dilation(mask), np.clip((share - 0.2) / 0.6, 0, 1), 0))
    return np.rint(255 * alpha).astype(np.uint8)
