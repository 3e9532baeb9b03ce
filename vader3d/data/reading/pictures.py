"""Picture files into masked squares of one size."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote

import numpy as np

from vader3d.data.reading.background import holds_shadow, is_ragged, rim_of, without_background
from vader3d.data.reading.lenses import bent
from vader3d.data.reading.profiles import in_srgb
from vader3d.untrusted import BoundedFile, reading

if TYPE_CHECKING:
    from PIL.Image import Image

SOLID = 128  # alpha from which a pixel is the object's
ALL_ROUND, MOST_ROUND = 0.98, 0.5  # of a mask's border is object: it is none; it may be none
TURNED_ROUND = "masks are black or clear where the object is, turned round"
COLOURLESS = 0.8  # of the clear pixels are black, or white: nothing is left under them
FROM_PLAIN = "masks made from the plain background"
LABELS, COLOURED = 32, 40  # so few values of a mask are labels'; colours so far from grey are
LOSSLESS = (".png", ".bmp", ".tif", ".tiff", ".tga", ".gif")
Mask = Literal["auto", "alpha", "file", "white", "plain"]
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
SAVED = (*PICTURE_SUFFIXES, ".bmp", ".tif", ".tiff", ".tga", ".avif")
FOREIGN = (".exr", ".heic", ".heif", ".dng", ".jp2", ".jxl")  # of which pictures are saved anew
PICTURE_FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "AVIF", "BMP", "TIFF", "TGA", "GIF", "PPM", "JPEG2000")
WITH_EXIF = ("JPEG", "MPO", "WEBP")  # TIFFs are turned as they are read
EXIF, FOCAL_ON_FILM = 0x8769, 0xA405
ORIENTATION, LYING = 0x0112, (5, 6, 7, 8)  # EXIF's, and those that turn a picture by 90 degrees
PICTURE_PIXELS = 2**26  # that are decoded: 8192 x 8192


def read_picture(path: Path, *, mode: str, size: tuple[float, float] | None = None, upright: bool = False) -> "Image":
    """A decoded PIL picture in `mode`, sRGB; ValueError, with the file's name, when there is none or it is damaged.

    One is turned as its EXIF says where only then it has the shape of `size` (height, width), as a phone's that lies;
    `upright` ones also where it has that shape both ways.
    """
    from PIL import ImageOps

    with opened(path) as picture:
        check_decodable(picture)
        tag = picture.getexif().get(ORIENTATION, 1) if upright or size is not None else 1
        lies, shape = tag in LYING, (picture.height, picture.width)
        fits, fits_turned = (size is None or same_shape(each, size) for each in (shape, shape[::-1] if lies else shape))
        if tag != 1 and (upright and fits_turned if fits else lies):
            picture = ImageOps.exif_transpose(picture)
        if picture.mode.startswith("I;16"):  # which a conversion would cut
            picture = picture.point(lambda value: value / 256).convert("L")
        return (picture if mode == "L" else in_srgb(picture)).convert(mode)  # masks are no colours


def picture_size(path: Path) -> tuple[int, int]:
    """(height, width) in px, without decoding; ValueError as `read_picture`."""
    with opened(path) as picture:
        return picture.height, picture.width


def is_turned(path: Path) -> bool:
    """Whether EXIF tells viewers to turn or mirror a picture; without decoding, False of a damaged one."""
    try:
        with opened(path) as picture:
            return picture.format in WITH_EXIF and picture.getexif().get(ORIENTATION, 1) in range(2, 9)
    except ValueError:
        return False


def film_focal(picture: "Image") -> float:
    """The focal length in px that EXIF has for film of 36 mm, 0 where it has none."""
    equivalent = picture.getexif().get_ifd(EXIF).get(FOCAL_ON_FILM)
    return float(equivalent) / 36 * max(picture.size) if equivalent and float(equivalent) > 0 else 0.0


@contextmanager
def opened(path: Path) -> Iterator:
    """A PIL picture; ValueError, with the file's name, when there is none or what is done with it shows damage."""
    from PIL import Image

    if not path.is_file():
        raise ValueError(f"picture: wanted {path}; got no such file")
    with reading(path, "a whole picture"), BoundedFile(path) as file, Image.open(file) as picture:
        yield picture


def check_decodable(picture: "Image") -> None:
    """ValueError for a picture of unusual format, which another program may have to decode, or of too many pixels."""
    if picture.format is not None and picture.format not in PICTURE_FORMATS:
        raise ValueError(f"picture: wanted {', '.join(PICTURE_FORMATS)}; got {picture.format}; save it as PNG")
    if picture.width * picture.height > PICTURE_PIXELS:
        raise ValueError(f"picture: wanted at most {PICTURE_PIXELS} px; got {picture.width} x {picture.height}")


def existing_picture(path: Path) -> Path:
    """The file, whose suffix some formats leave out, in whatever case; FileNotFoundError where there is none.

    Blanks may be written as %20, and pictures may have been saved anew in another format.
    """
    names = [path.name, unquote(path.name)]
    candidates = [path.with_name(name + suffix) for name in names for suffix in ("", *PICTURE_SUFFIXES)]
    existing = next((candidate for candidate in candidates if candidate.is_file()), None)
    if existing is None and path.parent.is_dir():
        wanted = {candidate.name.lower() for candidate in candidates}
        if path.suffix.lower() in (*SAVED, *FOREIGN):
            wanted |= {f"{Path(name).stem}{suffix}".lower() for name in names for suffix in SAVED}
        existing = min((beside for beside in path.parent.iterdir() if beside.name.lower() in wanted), default=None)
    if existing is None:
        raise FileNotFoundError(f"picture: wanted {path}; got no such file")
    return existing


def masked_picture(
    path: Path,
    *,
    mask: str,
    mask_path: Path | None = None,
    size: tuple[float, float] | None = None,
    upright: bool = False,
    inverted: bool | None = None,
) -> tuple[np.ndarray, str]:
    """A picture file as RGBA uint8 [H, W, 4], of a shape as `read_picture`, and what was done, as `masked`."""
    picture = read_picture(path, mode="RGBA", size=size, upright=upright)
    return masked(np.array(picture), path, mask=mask, mask_path=mask_path, inverted=inverted)


def masked(
    pixels: np.ndarray, path: Path, *, mask: str, mask_path: Path | None, inverted: bool | None = None
) -> tuple[np.ndarray, str]:
    """RGBA uint8 [H, W, 4], straight alpha, and what was done for it that nobody asked for, or "".

    pixels: RGBA of the file `path`, or of a clip there. mask: `alpha` of the picture itself; `file`, a mask file;
    `white`, whatever is not white; `plain`, whatever is not of the borders' one colour; `auto`, the first of alpha,
    file and plain that there is. inverted: whether alpha and files have the object clear or black; None: as
    `is_inverted` says. ValueError when the wanted mask is absent.
    """
    if pixels[..., 3].max(initial=0) == 1:
        pixels = np.concatenate([pixels[..., :3], 255 * pixels[..., 3:]], -1)
    clear = bool((pixels[..., 3] < SOLID).any())
    if mask == "alpha" or (mask == "auto" and clear):
        if not clear:
            raise ValueError(
                f"mask: wanted transparent pixels; got none in {path}; for a white background say --mask white"
            )
        turned, note = turned_round(pixels, inverted)
        under = pixels[pixels[..., 3] < SOLID, :3]
        if note and max(float((under == colour).all(1).mean()) for colour in (0, 255)) > COLOURLESS:
            raise ValueError(
                "mask: wanted alpha of 255 on the object; got it on the background, and no colours elsewhere, in "
                f"{path}; save the pictures with their alpha the other way"
            )
        return turned, note
    if mask in ("white", "plain") or (mask == "auto" and mask_path is None):
        colour = 255.0 if mask == "white" else None
        try:
            cut = without_background(pixels[..., :3], lossy=path.suffix.lower() not in LOSSLESS, colour=colour)
        except ValueError as error:
            if mask != "auto":
                raise ValueError(f"{path.name}: {error}") from error
            raise ValueError(
                f"mask: wanted alpha, a mask file or a plain ground; got {path} without; {error}"
            ) from error
        cut[..., 3] = np.minimum(cut[..., 3], pixels[..., 3])
        if is_ragged(cut[..., 3]):
            return cut, f"{FROM_PLAIN} are ragged: parts of its colour? look at them, or give masks"
        if holds_shadow(np.concatenate([pixels[..., :3], cut[..., 3:]], -1)):
            return (
                cut,
                f"{FROM_PLAIN} may hold hard shadows, parts as grey as it and darker: look at them, or give masks",
            )
        return cut, f"{FROM_PLAIN}, look at them (vader3d inspect)" if mask == "auto" else ""
    if mask_path is None:
        raise ValueError(f"mask: wanted a mask file; got {path} without")
    alpha, note = read_mask(mask_path, (pixels.shape[1], pixels.shape[0]))
    masked, said = turned_round(np.concatenate([pixels[..., :3], alpha[..., None]], -1), inverted)
    return masked, "; ".join(filter(None, (said, note)))


def turned_round(pixels: np.ndarray, inverted: bool | None) -> tuple[np.ndarray, str]:
    """RGBA [H, W, 4] with its alpha turned round if it is `inverted`, which None leaves to itself, and what is said."""
    alpha = pixels[..., 3]
    if not (is_inverted(alpha) if inverted is None else inverted):
        return pixels, ""
    return np.concatenate([pixels[..., :3], 255 - alpha[..., None]], -1), TURNED_ROUND


def is_inverted(alpha: np.ndarray) -> bool:
    """Whether a mask [H, W] seems to show what is round an object: nearly all of its border, or most, and no middle."""
    solid, (height, width) = alpha >= SOLID, alpha.shape
    rim = rim_of(solid).mean()
    middle = solid[height // 4 : -(height // 4) or None, width // 4 : -(width // 4) or None].mean()
    return bool(not solid.all() and (rim > ALL_ROUND or rim > max(MOST_ROUND, 2 * middle)))


def has_alpha(path: Path) -> bool:
    """Whether a picture file may have clear pixels, without decoding; a damaged one has none."""
    try:
        with opened(path) as picture:
            return picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info
    except ValueError:
        return False


def read_mask(path: Path, size: tuple[int, int]) -> tuple[np.ndarray, str]:
    """A mask file as alpha uint8 [H, W] of a picture of `size` (width, height), and what was done to it.

    Grey from 0 to 255; of masks of 0 and 1, of labels and of labels' colours whatever is not the background's is
    object; of pictures with clear parts the alpha counts, and of photographs on a plain ground what differs from that.
    """
    from PIL import Image

    with opened(path) as picture:
        check_decodable(picture)
        values = alpha_of(picture, lossy=path.suffix.lower() not in LOSSLESS)
    mask, note = Image.fromarray(np.rint(values).clip(0, 255).astype(np.uint8)), ""
    if mask.size != size:
        (width, height), (own_width, own_height) = size, mask.size
        if abs(width * own_height / (own_width * height) - 1) > 0.02:
            raise ValueError(
                f"mask: wanted {size} px as its picture, or that scaled; got {mask.size} in {path}; crop or resize it "
                "to what the picture shows"
            )
        mask = mask.resize(size, Image.Resampling.BILINEAR)
        note = "masks of another size than their pictures scaled"
    return np.asarray(mask), note


def alpha_of(picture: "Image", *, lossy: bool) -> np.ndarray:
    """A mask's pixels from 0 to 255, float [H, W], whatever tells the object in it."""
    if picture.mode == "P" and not np.asarray(picture.convert("RGB")).any():
        return hard(np.asarray(picture, float))
    if picture.mode in ("P", "PA", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "RGBa", "La"):
        pixels = np.asarray(picture.convert("RGBA"))
        colour, alpha = pixels[..., :3].astype(float), pixels[..., 3]
        if np.ptp(alpha) > 0:
            return alpha.astype(float)
        if np.ptp(colour, axis=-1).max() > COLOURED:
            numbers = colour @ [65536, 256, 1]
            if len(np.unique(numbers)) <= LABELS:
                return hard(numbers)
            return without_background(pixels[..., :3], lossy=lossy)[..., 3].astype(float)
        values = colour.max(-1) * alpha / 255
    else:
        values = np.nan_to_num(np.asarray(picture, float) * (255 if picture.mode == "1" else 1)).clip(0)
    few, flat = np.unique(values), set(flat_values(values))
    if len(flat) == 2 and flat == {0.0, few[-1]}:
        return values * (255 / few[-1])
    if len(few) <= LABELS and not flat <= {0.0, 255.0} and not lossy:  # which has values of its own about each
        return hard(values if 255 in flat else np.where(values == 255, 0, values))  # a rim of 255 is nobody's (VOC)
    return values * (255 / few[-1]) if 0 < few[-1] < SOLID or few[-1] > 255 else values


def hard(values: np.ndarray) -> np.ndarray:
    """255 where labels [H, W] are not the background's: 0, or, where there is no 0, what most of the border has."""
    kinds, counts = np.unique(rim_of(values), return_counts=True)
    ground = 0 if (values == 0).any() else kinds[counts.argmax()]
    return np.where(values != ground, 255.0, 0.0)


def flat_values(values: np.ndarray) -> np.ndarray:
    """The values that areas have; those of soft outlines have none."""
    from scipy.ndimage import maximum_filter, minimum_filter

    return np.unique(values[maximum_filter(values, 3) == minimum_filter(values, 3)])


def scaled_intrinsics(intrinsics: np.ndarray, declared: tuple[float, float], size: tuple[int, int]) -> np.ndarray:
    """(fx, fy, cx, cy) in px of a picture of `size` (height, width), from those for its `declared` size.

    ValueError unless a picture has its declared size, or that size scaled.
    """
    (height, width), (declared_height, declared_width) = size, declared
    if not same_shape(size, declared):
        raise ValueError(
            f"pictures: wanted {declared_width:.0f} x {declared_height:.0f} px as declared, or that scaled; got "
            f"{width} x {height} px; declare the size that the focal length is for"
        )
    return intrinsics * np.array([width / declared_width, height / declared_height] * 2)


def same_shape(size: tuple[float, float], other: tuple[float, float]) -> bool:
    """Whether two (height, width) are of one picture, scaled."""
    return min(other) > 0 and abs(size[0] * other[1] / (size[1] * other[0]) - 1) <= 0.01


def squared(pixels: np.ndarray, intrinsics: np.ndarray, *, size: int) -> tuple[np.ndarray, np.ndarray]:
    """RGBA [H, W, 4] and (fx, fy, cx, cy) scaled so that the longer side is `size`, centred on a clear square."""
    from PIL import Image

    height, width = pixels.shape[:2]
    new_width, new_height = (max(1, round(side * size / max(height, width))) for side in (width, height))
    small = Image.fromarray(pixels, "RGBA").resize((new_width, new_height), Image.Resampling.BOX)
    left, top = (size - new_width) // 2, (size - new_height) // 2
    square = np.zeros((size, size, 4), np.uint8)
    square[top : top + new_height, left : left + new_width] = np.asarray(small)
    scale = np.array([new_width / width, new_height / height] * 2)
    return square, intrinsics * scale + [0, 0, left, top]


def undistorted(pixels: np.ndarray, intrinsics: np.ndarray, distortion: Mapping[str, float]) -> np.ndarray:
    """The RGBA picture that an ideal pinhole of the same intrinsics would have taken; clear where nothing is known.

    distortion: as in `lenses.py`.
    """
    from scipy.ndimage import map_coordinates

    fx, fy, cx, cy = intrinsics
    height, width = pixels.shape[:2]
    x, y = np.meshgrid((np.arange(width) + 0.5 - cx) / fx, (np.arange(height) + 0.5 - cy) / fy)
    bent_x, bent_y = bent(x, y, distortion)
    places = np.stack([bent_y * fy + cy - 0.5, bent_x * fx + cx - 0.5])
    places = np.where(np.isfinite(places), places, -9.0)
    faded = pixels.astype(np.float32)
    faded[..., :3] *= faded[..., 3:] / 255
    moved = np.stack([map_coordinates(faded[..., c], places, order=1, mode="constant") for c in range(4)], -1)
    moved[..., :3] *= 255 / np.maximum(moved[..., 3:], 1e-3)
    return np.rint(np.clip(moved, 0, 255)).astype(np.uint8)
