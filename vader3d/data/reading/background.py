"""Tells an object from a plain background, measured at the borders."""

import numpy as np

from vader3d.data.reading.walls import wall_of

LEAST_STEP = {False: 3.0, True: 14.0}  # how far an object's colour is from the background's; lossy files ring
CORE = 2  # px inside the outline, where colours are the object's own
CORE_NOISE, MIXED = 0.04, {False: 4.0, True: 24.0}  # shares that are none or all; a mixture's error
BRIGHTNESS = np.array([[0.299, -0.084, 0.25], [0.587, -0.166, -0.209], [0.114, 0.25, -0.041]])  # Y, Cb / 2, Cr / 2
LEAST_PX = 8
HOLE = 9  # px of background, at least, that an object encloses
OBJECT = (0.002, 0.9)  # least and largest share of a picture


DARKEST, TINT = 0.4, 0.012  # a soft shadow's share of the light, its change of hue
SOFT = (3.0, 1.5, 0.8)  # of 255 from px to px
STILL_THERE, LITTLE = 0.4, 0.98  # of an object after its shadow was taken away; what is too little for one
PALE_SIGMA, PALE_PX = 1.2, 3  # px: how pale areas are smoothed, and half of what they are wide at least
LEAST_PALE, SHARP = 5.0, 0.7  # of 255; how much of their difference is gone a few px beside them
RING, LEAST_AREA = (3, 8), 60  # these px; px of an area
CRUMB, RAGGED = 0.01, 0.05  # shares: of the largest piece, of a mask with its gaps filled
SHADOW_PX, DIM, EVEN = 240, 0.92, 0.07  # where shadows are looked for; at most such a share of the light; its deviation
SHADOWS = (0.08, 0.75)  # of a mask
GAPS = 75  # half of a gap is at most such a part of the picture
WORKED_PX = 800  # of the longer side; larger pictures are looked at smaller


def without_background(rgb: np.ndarray, *, lossy: bool, colour: float | None = None) -> np.ndarray:
    """RGBA uint8 [H, W, 4] of a picture [H, W, 3], clear where it shows a plain background of any colour.

    The colour is a smooth one of the place (`wall_of`: walls are lit unevenly), or `colour`, 255 for white.
    Soft shadows on a photographed background are no part of the object. The outline's pixels are parted into object and
    background by the colour of the object beside them, so that no rim of the background stays. ValueError where the
    border is not plain, or nothing, or nearly all, is object.
    """
    from PIL import Image

    height, width = rgb.shape[:2]
    if min(height, width) < LEAST_PX:
        raise ValueError(f"picture: wanted at least {LEAST_PX} px a side; got {width} x {height}")
    if max(height, width) <= WORKED_PX:
        return cut_out(rgb, lossy=lossy, colour=colour)
    size = [max(1, round(side * WORKED_PX / max(height, width))) for side in (width, height)]
    small = cut_out(np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BOX)), lossy=lossy, colour=colour)
    large = np.array(Image.fromarray(small).resize((width, height), Image.Resampling.BILINEAR))
    inside = large[..., 3] == 255
    large[inside, :3] = rgb[inside]
    return large


def cut_out(rgb: np.ndarray, *, lossy: bool, colour: float | None) -> np.ndarray:
    """`without_background` at the picture's own size."""
    from scipy import ndimage

    background, noise = (np.full(3, colour), 0.0) if colour is not None else wall_of(rgb)
    apart = np.abs(rgb - background).max(-1)
    step = max(LEAST_STEP[lossy], 5 * noise)
    places, count = ndimage.label(apart < step)
    rim = np.unique(rim_of(places))
    numbers = np.arange(1, count + 1)
    flat = ndimage.mean(apart, places, numbers) < max(step / 3, 1.0)
    kept = np.isin(numbers, rim) | (flat & (ndimage.sum_labels(places > 0, places, numbers) >= HOLE))
    solid = ~np.concatenate([[False], kept])[places]
    if lossy or noise > 1:  # specks of noise
        solid = ndimage.binary_opening(solid, iterations=1) | (solid & (apart > 3 * step))
        if colour is None:
            solid |= pale_areas(solid, rgb - background)
            sigma = 0.7 + noise / 4
            solid = without_shadow(
                solid, ndimage.gaussian_filter(rgb.astype(np.float32), (sigma, sigma, 0)), background
            )
            solid = without_crumbs(solid)
            background = beside_it(rgb, solid)
    share = solid.mean()
    if not OBJECT[0] <= share <= OBJECT[1]:
        raise ValueError(f"background: wanted an object before it; got one of {share:.1%} of the picture; give masks")
    return outlined(rgb, np.broadcast_to(background, rgb.shape), solid, lossy=lossy)


def rim_of(values: np.ndarray, width: int = 1) -> np.ndarray:
    """What lies within so many px of the four sides of [H, W]; corners count twice."""
    sides = (values[:width], values[-width:], values[:, :width], values[:, -width:])
    return np.concatenate([side.ravel() for side in sides])


def pale_areas(solid: np.ndarray, apart: np.ndarray) -> np.ndarray:
    """Areas beside `solid` that differ from the background [H, W, 3] by little, but sharply: no light, no shadow."""
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(apart.astype(np.float32), (PALE_SIGMA, PALE_SIGMA, 0))
    contrast = np.abs(smooth).max(-1)
    low = contrast > max(LEAST_PALE, 4 * float(np.median(rim_of(contrast, 3))))
    places, count = ndimage.label(ndimage.binary_opening(low & ~solid, disc_of(PALE_PX)))
    beside = ndimage.binary_dilation(solid, iterations=3)
    kept = np.zeros(count + 1, bool)
    for number, box in enumerate(ndimage.find_objects(places), 1):
        box = tuple(slice(max(0, side.start - RING[1]), side.stop + RING[1]) for side in box)
        area = places[box] == number
        near, far = (ndimage.binary_dilation(area, iterations=px) for px in RING)
        ring = far & ~near & ~beside[box]
        if area.sum() >= LEAST_AREA and ring.sum() >= LEAST_PX:
            step = np.abs(smooth[box][area].mean(0) - smooth[box][ring].mean(0)).max()
            kept[number] = step > max(LEAST_PALE, SHARP * np.median(contrast[box][area]))
    return ndimage.binary_dilation(kept[places], iterations=1) & low


def beside_it(rgb: np.ndarray, solid: np.ndarray) -> np.ndarray:
    """What is seen beside the object, shadows too, float [H, W, 3]: of the place nearest to each pixel."""
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(rgb.astype(np.float32), (1.5, 1.5, 0))
    outside = ~ndimage.binary_dilation(solid, iterations=4)
    if not outside.any():
        return smooth
    rows, columns = ndimage.distance_transform_edt(~outside, return_distances=False, return_indices=True)
    return smooth[rows, columns].astype(float)


def is_ragged(alpha: np.ndarray) -> bool:
    """Whether a mask [H, W] has so many small gaps that parts of the object may have the background's colour."""
    from scipy.ndimage import binary_closing

    radius = min(alpha.shape) // GAPS
    solid = np.pad(alpha >= 128, radius)
    filled = binary_closing(solid, disc_of(radius)).sum()
    return bool(solid.sum() < (1 - RAGGED) * filled)


def holds_shadow(rgba: np.ndarray) -> bool:
    """Whether a part of a mask [H, W, 4] has the hue of what is beside it and is evenly darker, as hard shadows are."""
    from scipy import ndimage

    step = max(1, max(rgba.shape) // SHADOW_PX)
    rgb, solid = rgba[::step, ::step, :3], rgba[::step, ::step, 3] >= 128
    beside, smooth = beside_it(rgb, solid), ndimage.gaussian_filter(rgb.astype(np.float32), (1, 1, 0))
    hue, own = (each / (each.sum(-1, keepdims=True) + 30) for each in (smooth, beside))
    ratio = smooth.mean(-1) / np.maximum(beside.mean(-1), 1)
    dim = solid & (ratio > DARKEST) & (ratio < DIM) & (np.abs(hue - own).max(-1) < TINT)
    places, count = ndimage.label(ndimage.binary_opening(dim, disc_of(2)))
    sizes = np.bincount(places.ravel(), minlength=count + 1)[1:]
    if not count or not SHADOWS[0] < sizes.max() / solid.sum() < SHADOWS[1]:
        return False
    return bool(ratio[places == sizes.argmax() + 1].std() < EVEN)


def disc_of(radius: int) -> np.ndarray:
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return x * x + y * y <= radius * radius


def without_crumbs(mask: np.ndarray) -> np.ndarray:
    """Without pieces that are a hundredth of the largest, or less."""
    from scipy import ndimage

    pieces, count = ndimage.label(mask)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    sizes[0] = 0
    return (sizes > CRUMB * sizes.max())[pieces]


def without_shadow(mask: np.ndarray, smooth: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Takes away what has the background's hue, is darker, and passes softly into it."""
    from scipy.ndimage import binary_opening, binary_propagation, sobel

    light = smooth.mean(-1)
    ratio = light / np.maximum(background.mean(-1), 1)
    hue, own = (each / (each.sum(-1, keepdims=True) + 30) for each in (smooth, background))
    slope = np.hypot(sobel(light, 0), sobel(light, 1)) / 8
    dim = (ratio > DARKEST) & (ratio < 0.985) & (np.abs(hue - own).max(-1) < TINT)
    for soft in SOFT:  # pale things have soft edges themselves
        left = mask & ~binary_propagation(~mask, mask=~mask | (dim & (slope < soft)))
        if STILL_THERE * mask.sum() < left.sum() < LITTLE * mask.sum():
            return binary_opening(left)  # crumbs are left of shadows
    return mask


def outlined(rgb: np.ndarray, background: np.ndarray, solid: np.ndarray, *, lossy: bool) -> np.ndarray:
    """RGBA of an object and its outline, whose pixels get the share of them that is object and the object's colour.

    Pixels that are no mixture of the colours beside them stay what they are. JPEG's brightness is finer than its hues.
    """
    from scipy import ndimage

    core = ndimage.binary_erosion(solid, iterations=CORE)
    away, nearest = ndimage.distance_transform_edt(~core, return_indices=True)
    rim = ndimage.binary_dilation(solid) & ~core & (away <= 2 * CORE)
    own = rgb[nearest[0], nearest[1]].astype(float)
    weights = BRIGHTNESS if lossy else np.eye(3)
    step, seen = (own - background) @ weights, (rgb - background) @ weights
    share = (seen * step).sum(-1) / np.maximum((step * step).sum(-1), 1e-6)
    mixture = np.abs(seen - share[..., None] * step).max(-1) < MIXED[lossy]
    share = np.where(share > 1 - CORE_NOISE, 1.0, np.where(share < CORE_NOISE, 0.0, share))
    alpha = np.where(rim & mixture & core.any(), share, solid)
    colours = np.where((rim & mixture & (alpha < 1))[..., None], own, rgb)
    return np.rint(np.concatenate([colours, 255 * alpha[..., None]], -1)).astype(np.uint8)
