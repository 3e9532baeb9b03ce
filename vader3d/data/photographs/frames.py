"""Which photographs, or frames of a clip, are worth having."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vader3d.data.reading.mask_files import is_mask
from vader3d.data.reading.pictures import PICTURE_PIXELS, check_decodable, film_focal, opened
from vader3d.data.reading.profiles import in_srgb
from vader3d.untrusted import reading

if TYPE_CHECKING:
    from PIL.Image import Image

PHOTOS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".avif")
CLIPS = (".mp4", ".mov", ".m4v", ".webm", ".mkv", ".avi", ".mpg", ".mpeg", ".3gp", ".mts", ".m2ts", ".wmv", ".ogv")
MOVING = (*CLIPS, ".gif")  # beside photographs these are pictures of something else
UNREADABLE = (".heic", ".heif", ".dng", ".cr2", ".nef", ".arw")
LONGEST_PX = 1600  # of a frame that is kept; larger ones are shrunk
GLANCE_PX, BLOCK_PX = 64, 8  # of the grey pictures that are compared, and of the parts of them
SAME = 1.5  # of 255: two frames whose every part differs by less, as a mean, are one
SHARPNESS_PX = 480  # of the longer side where sharpness is measured
MOST_CLIP_FRAMES = 30000
EARLY_SECONDS = 1e-3  # by which times of frames are rounded


@dataclass(frozen=True)
class Glance:
    """What is remembered of a frame: its number, how sharp it is, and a small grey picture [64, 64]."""

    number: int
    sharpness: float
    grey: np.ndarray


@dataclass(frozen=True)
class Frame:
    """A chosen picture: RGBA uint8 [H, W, 4], upright; the file it is of; its focal length in px, 0 if not known."""

    pixels: np.ndarray
    file: Path
    focal: float = 0.0


def photo_files(folder: Path) -> list[Path]:
    """The photographs of an object, in the order of their names; masks and macOS's `._` files are none.

    ValueError: there are none, or only of kinds that cannot be read.
    """
    places = [folder, *(folder / name for name in ("images", "photos", "rgb", "input") if (folder / name).is_dir())]
    files = [path for place in places for path in place.iterdir() if path.is_file() and path.name[0] != "."]
    photos = sorted(path for path in files if path.suffix.lower() in PHOTOS and not is_mask(path))
    raw = sorted(path.name for path in files if path.suffix.lower() in UNREADABLE)
    if not photos and raw:
        raise ValueError(f"photographs: wanted {', '.join(PHOTOS)}; got {raw[0]}; convert to JPEG first")
    return photos


def chosen_frames(source: Path, most: int) -> tuple[list[Frame], str]:
    """At most so many frames of a folder of photographs or of a clip: the sharpest of each stretch, none twice.

    And what is said of photographs that cannot be read, which are left out where they are fewer than half.
    """
    if source.is_file():
        glances = [glance_of(number, picture) for number, picture in clip_pictures(source)]
        numbers = set(chosen_numbers(glances, most))
        chosen = (picture for number, picture in clip_pictures(source) if number in numbers)
        return [Frame(np.asarray(picture.convert("RGBA")), source) for picture in chosen], ""
    files = photo_files(source)
    glances, faults = [], []
    for number, path in enumerate(files):
        try:
            glances.append(glance_of(number, read_photo(path)[0]))
        except ValueError as error:
            faults.append(error)
    if faults and 2 * len(glances) <= len(files):
        raise faults[0]
    said = f"{len(faults)} of {len(files)} photographs left out, the first: {faults[0]}" if faults else ""
    raw = [path for path in source.rglob("[!.]*") if path.suffix.lower() in UNREADABLE]
    if raw := [path for path in raw if path.stem not in {file.stem for file in files}]:
        said = "; ".join(filter(None, (said, f"{len(raw)} left out, e.g. {raw[0].name}: convert to JPEG first")))
    return [frame_of(files[number]) for number in chosen_numbers(glances, most)], said


def chosen_numbers(glances: Sequence[Glance], most: int) -> list[int]:
    """The sharpest of each of `most` equal stretches, without those that show what the one before shows."""
    stretches = np.array_split(np.arange(len(glances)), min(most, len(glances))) if glances else []
    kept: list[Glance] = []
    for stretch in stretches:
        best = max((glances[number] for number in stretch), key=lambda glance: glance.sharpness)
        if not any(difference(best, other) < SAME for other in kept[-3:]):
            kept.append(best)
    return [glance.number for glance in kept]


def difference(first: Glance, second: Glance) -> float:
    """The largest mean difference of any part, of 255."""
    blocks = np.abs(first.grey - second.grey).reshape(GLANCE_PX // BLOCK_PX, BLOCK_PX, -1, BLOCK_PX)
    return float(blocks.mean((1, 3)).max())


def glance_of(number: int, picture: "Image") -> Glance:
    """Sharpness is the mean squared Laplacian of the grey picture at one size."""
    from PIL import Image
    from scipy.ndimage import laplace

    grey = picture.convert("L")
    scale = min(1.0, SHARPNESS_PX / max(grey.size))
    middle = grey.resize([max(1, round(side * scale)) for side in grey.size], Image.Resampling.BOX)
    small = grey.resize((GLANCE_PX, GLANCE_PX), Image.Resampling.BOX)
    sharpness = float(np.mean(laplace(np.asarray(middle, np.float32)) ** 2))
    return Glance(number, sharpness, np.asarray(small, np.float32))


def frame_of(file: Path) -> Frame:
    picture, focal = read_photo(file)
    return Frame(np.asarray(picture.convert("RGBA")), file, focal)


def read_photo(file: Path) -> tuple["Image", float]:
    """A photograph, turned upright and shrunk, and its focal length in px, 0 where EXIF does not tell."""
    from PIL import ImageOps

    with opened(file) as picture:
        check_decodable(picture)
        focal, longest = film_focal(picture), max(picture.size)
        upright = shrunk(in_srgb(ImageOps.exif_transpose(picture)))
    return upright, focal * max(upright.size) / longest


def shrunk(picture: "Image") -> "Image":
    from PIL import Image

    scale = LONGEST_PX / max(picture.size)
    if scale >= 1:
        return picture.copy()
    mode = "RGBA" if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info else "RGB"
    size = [max(1, round(side * scale)) for side in picture.size]
    return picture.convert(mode).resize(size, Image.Resampling.BOX)


def clip_pictures(file: Path) -> Iterator[tuple[int, "Image"]]:
    """Number and picture of each frame of a clip, as `clip_moments`."""
    return ((number, picture) for number, (_, picture) in enumerate(clip_moments(file)))


def clip_moments(file: Path, start: float = 0.0, stop: float = math.inf) -> Iterator[tuple[float, "Image"]]:
    """Time in seconds and picture of each frame of a clip from `start` to before `stop`, upright and shrunk.

    RGBA where the clip has alpha. ImportError: no PyAV; ValueError: damaged.
    """
    try:
        import av
    except ImportError as error:
        raise ImportError("av: wanted for clips; got none; pip install 'vader3d[video]'") from error
    with reading(file, "a clip"), av.open(str(file)) as clip:
        if not clip.streams.video:
            raise ValueError("clip: wanted a video stream; got none")
        stream = clip.streams.video[0]
        if stream.width * stream.height > PICTURE_PIXELS:
            raise ValueError(
                f"clip: wanted frames of at most {PICTURE_PIXELS} px; got {stream.width} x {stream.height}"
            )
        first = float((stream.start_time or 0) * stream.time_base)
        if start > 0:
            clip.seek(int((start + first) * av.time_base))
        for number, frame in enumerate(decoded(clip, stream)):
            if number >= MOST_CLIP_FRAMES:
                raise ValueError(f"clip: wanted at most {MOST_CLIP_FRAMES} frames; got more; cut it")
            seconds = number / float(stream.average_rate or 25) if frame.time is None else frame.time - first
            if seconds >= stop:
                break
            if seconds >= start - EARLY_SECONDS:
                yield seconds, shrunk(turned(frame, float(stream.sample_aspect_ratio or 1)))


def decoded(clip: Any, stream: Any) -> Iterator[Any]:
    """The frames of a stream; those of WebM with alpha by the decoder that knows of it."""
    import av

    if stream.metadata.get("alpha_mode") == "1" and f"libvpx-{stream.codec_context.name}" in av.codecs_available:
        codec: Any = av.CodecContext.create(f"libvpx-{stream.codec_context.name}", "r")
        return (frame for packet in clip.demux(stream) for frame in codec.decode(packet))
    return clip.decode(stream)


def turned(frame: Any, aspect: float = 1.0) -> "Image":
    """The frame as players show it: of pixels that are `aspect` times as wide as high, turned as phones say."""
    from PIL import Image

    alpha = any(component.is_alpha for component in frame.format.components)
    picture = Image.fromarray(frame.to_ndarray(format="rgba")) if alpha else frame.to_image()
    if aspect != 1:
        picture = picture.resize((max(1, round(picture.width * aspect)), picture.height))
    angle = int(getattr(frame, "rotation", 0) or 0)
    return picture.rotate(angle, expand=True) if angle else picture
