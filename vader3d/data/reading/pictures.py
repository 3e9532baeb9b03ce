"""Picture files into masked squares of one size."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from vader3d.data.reading.lenses import bent
from vader3d.untrusted import reading

if TYPE_CHECKING:
    from PIL.Image import Image

WHITE = 253  # a background pixel's darkest channel, at least
Mask = Literal["auto", "alpha", "file", "white"]
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
PICTURE_FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "AVIF", "BMP", "TIFF", "TGA", "GIF", "PPM", "JPEG2000")
PICTURE_PIXELS = 2**26  # that are decoded: 8192 x 8192


def read_picture(path: Path, *, mode: str) -> "Image":
    """A decoded PIL picture in `mode`; ValueError, with the file's name, when there is none or it is damaged."""
    with opened(path) as picture:
        check_decodable(picture)
        return picture.convert(mode)


def picture_size(path: Path) -> tuple[int, int]:
    """(height, width) in px, without decoding; ValueError as `read_picture`."""
    with opened(path) as picture:
        return picture.height, picture.width


@contextmanager
def opened(path: Path) -> Iterator:
    """A PIL picture; ValueError, with the file's name, when there is none or what is done with it shows damage."""
    from PIL import Image

    if not path.is_file():
        raise ValueError(f"picture: wanted {path}; got no such file")
    with reading(path, "a whole picture"), Image.open(path) as picture:
        yield picture


def check_decodable(picture: "Image") -> None:
    """ValueError for a picture of unusual format, which another program may have to decode, or of too many pixels."""
    if picture.format is not None and picture.format not in PICTURE_FORMATS:
        raise ValueError(f"picture: wanted {', '.join(PICTURE_FORMATS)}; got {picture.format}")
    if picture.width * picture.height > PICTURE_PIXELS:
        raise ValueError(f"picture: wanted at most {PICTURE_PIXELS} px; got {picture.width} x {picture.height}")


def existing_picture(path: Path) -> Path:
    """The file, whose suffix some formats leave out; ValueError where there is none."""
    candidates = [path, *(path.with_name(path.name + suffix) for suffix in PICTURE_SUFFIXES)]
    existing = next((candidate for candidate in candidates if candidate.is_file()), None)
    if existing is None:
        raise ValueError(f"picture: wanted {path}; got no such file")
    return existing


def masked_picture(path: Path, *, mask: str, mask_path: Path | None = None) -> np.ndarray:
    """RGBA uint8 [H, W, 4], straight alpha.

    mask: `alpha` of the picture itself; `file`, a grey picture, black outside; `white`, whatever is not white; `auto`,
    the first of alpha and file that there is. ValueError when the wanted mask is absent or of another size.
    """
    pixels = np.array(read_picture(path, mode="RGBA"))
    has_alpha = bool((pixels[..., 3] < 255).any())
    if mask == "alpha" or (mask == "auto" and has_alpha):
        if not has_alpha:
            raise ValueError(
                f"mask: wanted transparent pixels; got none in {path}; for a white background say --mask white"
            )
    elif mask == "white":
        pixels[..., 3] = np.where(pixels[..., :3].min(-1) >= WHITE, 0, pixels[..., 3])
    elif mask_path is None:
        raise ValueError(
            f"mask: wanted alpha or a mask file; got {path} without; for a white background say --mask white"
        )
    else:
        grey = np.array(read_picture(mask_path, mode="L"))
        if grey.shape != pixels.shape[:2]:
            raise ValueError(
                f"mask: wanted {pixels.shape[1::-1]} px as its picture; got {grey.shape[::-1]} in {mask_path}"
            )
        pixels[..., 3] = grey
    return pixels


def check_mask(mask: str) -> None:
    """ValueError unless `mask` is a known way to tell object from background."""
    if mask not in get_args(Mask):
        raise ValueError(f"mask: wanted one of {', '.join(get_args(Mask))}; got {mask!r}")


def scaled_intrinsics(intrinsics: np.ndarray, declared: tuple[float, float], size: tuple[int, int]) -> np.ndarray:
    """(fx, fy, cx, cy) in px of a picture of `size` (height, width), from those for its `declared` size.

    ValueError unless a picture has its declared size, or that size scaled.
    """
    (height, width), (declared_height, declared_width) = size, declared
    if min(declared) <= 0 or abs(height * declared_width / (width * declared_height) - 1) > 0.01:
        raise ValueError(
            f"pictures: wanted {declared_width:.0f} x {declared_height:.0f} px as declared, or that scaled; got "
            f"{width} x {height} px; declare the size that the focal length is for"
        )
    return intrinsics * np.array([width / declared_width, height / declared_height] * 2)


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
