"""Squares about a subject, steady over time."""

from collections.abc import Sequence

import numpy as np

SOLID = 128
SPECK, SECOND = 0.03, 0.35  # shares of the largest piece's area: smaller ones are noise, larger ones further subjects
PIECES_PX = 160  # of the longer side where pieces are told apart


def pieces_of(alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pieces of a mask uint8 [H, W], numbered from 1, at a coarse step, and their areas, largest first.

    Number n of the areas is piece n + 1. Specks are left out.
    """
    from scipy.ndimage import label

    step = max(1, max(alpha.shape) // PIECES_PX)
    numbers, count = label(alpha[::step, ::step] >= SOLID)
    if not count:
        return numbers, np.zeros(0)
    areas = np.bincount(numbers.ravel(), minlength=count + 1)[1:]
    order = areas.argsort()[::-1]
    order = order[areas[order] >= max(SPECK * areas[order[0]], 1)]
    places = np.zeros(count + 1, int)
    places[order + 1] = np.arange(len(order)) + 1
    return places[numbers], areas[order]


def several(areas: np.ndarray) -> bool:
    return len(areas) > 1 and areas[1] > SECOND * areas[0]


def largest_only(alpha: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """A mask with its largest piece alone, cut out with a coarse step's margin."""
    from scipy.ndimage import binary_dilation

    step = -(-alpha.shape[0] // numbers.shape[0])
    own = binary_dilation(numbers == 1, iterations=2) & ~(numbers > 1)
    whole = own.repeat(step, 0).repeat(step, 1)[: alpha.shape[0], : alpha.shape[1]]
    return np.where(whole, alpha, 0).astype(np.uint8)


def square_about(numbers: np.ndarray, shape: tuple[int, int]) -> tuple[float, float, float]:
    """Middle x, y and side, in px of a picture of `shape`, of the square about all pieces."""
    rows, columns = np.nonzero(numbers)
    scale = shape[0] / numbers.shape[0], shape[1] / numbers.shape[1]
    top, bottom = rows.min() * scale[0], (rows.max() + 1) * scale[0]
    left, right = columns.min() * scale[1], (columns.max() + 1) * scale[1]
    return (left + right) / 2, (top + bottom) / 2, max(right - left, bottom - top)


def steadied(squares: np.ndarray, seconds: Sequence[float], smoothing: float) -> np.ndarray:
    """Squares [T, 3] (x, y, side) that move smoothly and hold those given.

    Middles are those of straight lines fitted about each time, with Gaussian weights of `smoothing` seconds, so that an
    even motion stays as it is, at the ends too. Sides are averages of the largest near by. 0 leaves all as it is.
    """
    if smoothing <= 0 or len(squares) < 3:
        return squares
    apart = np.subtract.outer(np.asarray(seconds, float), seconds)
    weights = np.exp(-((apart / smoothing) ** 2) / 2)
    weights /= weights.sum(1, keepdims=True)
    late = (weights * apart).sum(1, keepdims=True)
    spread = np.maximum((weights * (apart - late) ** 2).sum(1, keepdims=True), 1e-12)
    middles = (weights * (1 - late * (apart - late) / spread)) @ squares[:, :2]
    needed = squares[:, 2] + 2 * np.abs(squares[:, :2] - middles).max(1)
    largest = np.where(np.abs(apart) <= smoothing, needed, 0).max(1)
    return np.column_stack([middles, np.maximum(weights @ largest, needed)])


def cropped(pixels: np.ndarray, square: np.ndarray, size: int) -> np.ndarray:
    """The square (x, y, side) of RGBA uint8 [H, W, 4] at `size` px; clear beyond the picture's edges."""
    from PIL import Image

    x, y, side = (float(number) for number in square)
    height, width = pixels.shape[:2]
    left, top, right, bottom = x - side / 2, y - side / 2, x + side / 2, y + side / 2
    first = [max(0, int(np.floor(left))), max(0, int(np.floor(top)))]
    last = [min(width, int(np.ceil(right))), min(height, int(np.ceil(bottom)))]
    if first[0] >= last[0] or first[1] >= last[1]:
        return np.zeros((size, size, 4), np.uint8)
    inner = pixels[first[1] : last[1], first[0] : last[0]]
    before = [max(0, -int(np.floor(left))), max(0, -int(np.floor(top)))]
    after = [max(0, int(np.ceil(right)) - width), max(0, int(np.ceil(bottom)) - height)]
    padded = np.pad(inner, ((before[1], after[1]), (before[0], after[0]), (0, 0)))
    corner = np.floor(left), np.floor(top)
    box = (left - corner[0], top - corner[1], right - corner[0], bottom - corner[1])
    faded = Image.fromarray(padded, "RGBA")
    how = Image.Resampling.BOX if side >= size else Image.Resampling.BICUBIC
    return np.asarray(faded.resize((size, size), how, box=box))
