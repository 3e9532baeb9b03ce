"""Clips as phones, cameras and other software write them: a disc that moves before a plain wall."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

WALL, COLOURS = 200, ((220, 40, 30), (30, 60, 220))
CODECS = {".mp4": "libx264", ".mov": "libx264", ".mkv": "libx264", ".webm": "libvpx-vp9"}


def disc(
    x: float, y: float, radius: float, *, size: tuple[int, int] = (96, 128), seed: int = 0, wall: int = WALL
) -> tuple[np.ndarray, np.ndarray]:
    """RGB [H, W, 3] of a two-coloured disc, and its mask [H, W], bool."""
    rows, columns = np.mgrid[: size[0], : size[1]] + 0.5
    mask = (columns - x) ** 2 + (rows - y) ** 2 < radius**2
    picture = np.full((*size, 3), wall, np.uint8)
    picture[mask] = COLOURS[seed % 2]
    picture[mask & (columns < x)] = (240, 200, 40)
    return picture, mask


def passing(frames: int, *, size: tuple[int, int] = (96, 128), **look: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames [T, H, W, 3] and masks of a disc of radius 24 px that goes from left to right."""
    xs = np.linspace(0.3, 0.7, frames) * size[1]
    pairs = [disc(x, size[0] / 2, 24, size=size, **look) for x in xs]
    return np.stack([pair[0] for pair in pairs]), np.stack([pair[1] for pair in pairs])


def write_clip(
    path: Path, frames: np.ndarray | Sequence[np.ndarray], *, milliseconds: Sequence[int] | None = None, codec: str = ""
) -> Path:
    """A clip of RGB or RGBA frames, 25 a second or at the given times, which need not be even."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    alpha = frames[0].shape[2] == 4
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec or CODECS[path.suffix.lower()], rate=25)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p" if not alpha else "yuva420p" if path.suffix == ".webm" else "yuva444p10le"
        stream.options = {"crf": "12"}
        stream.codec_context.time_base = Fraction(1, 1000)
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgba" if alpha else "rgb24")
            frame.pts = 40 * number if milliseconds is None else milliseconds[number]
            frame.time_base = Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def turn_clip(path: Path) -> None:
    """Say in an MP4, as phones do, that players must turn its pictures by 90 degrees, clockwise."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    matrix = (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    data[at : at + 36] = b"".join(number.to_bytes(4, "big", signed=True) for number in matrix)
    path.write_bytes(data)
