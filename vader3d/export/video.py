"""Turning objects as MP4 and PNG, and their depth and normals."""

import io
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from vader3d.export.extras import needed
from vader3d.export.line import TAG, line_of

BACKGROUND = 255  # of video, which has no alpha
CODECS = ("libx264", "libopenh264", "h264", "mpeg4")  # the first that is there: H.264 plays everywhere
SHEET_COLUMNS = 4
NEAR, FAR = 2.0, 6.0  # of depths in a picture: 0 and 65535 stand for them; cameras are 4 from the object's middle


def write_mp4(path: Path, frames: np.ndarray, *, frames_per_second: float, provenance: Mapping[str, Any]) -> None:
    """uint8 RGBA frames [T, H, W, 4] on white, as MP4 that begins to play before it is whole. Overwrites `path`."""
    needed("av")
    import av

    alpha = frames[..., 3:].astype(np.float32) / 255
    pictures = np.rint(frames[..., :3] * alpha + BACKGROUND * (1 - alpha)).astype(np.uint8)
    height, width = pictures.shape[1:3]
    pictures = np.pad(pictures, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), constant_values=BACKGROUND)
    codec = next(name for name in CODECS if name in av.codecs_available)
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as file:
        if provenance:
            file.metadata["comment"] = line_of(provenance)
        stream = file.add_stream(codec, rate=Fraction(frames_per_second).limit_denominator(1000))
        stream.height, stream.width, stream.pix_fmt = *pictures.shape[1:3], "yuv420p"
        stream.options = {"crf": "18"}
        for picture in pictures:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode())


def comment_of(path: Path) -> str | None:
    """What an MP4 says of itself."""
    needed("av")
    import av

    with av.open(str(path)) as file:
        return file.metadata.get("comment")


def animated_png_bytes(frames: np.ndarray, *, frames_per_second: float, provenance: Mapping[str, Any]) -> bytes:
    """uint8 RGBA frames [T, H, W, 4] -> a lossless animated PNG; programs that know none show the first frame."""
    from PIL import Image

    first, *rest = (Image.fromarray(frame) for frame in frames)
    file = io.BytesIO()
    first.save(
        file,
        "PNG",
        save_all=True,
        append_images=rest,
        duration=round(1000 / frames_per_second),
        loop=0,
        pnginfo=texts(provenance),
    )
    return file.getvalue()


def depth_png_bytes(depth: np.ndarray, opacity: np.ndarray, *, provenance: Mapping[str, Any]) -> bytes:
    """Depths along the rays and opacities [V, H, W] -> one grey 16-bit PNG, four views a row.

    A value v is the depth NEAR + v / 65535 (FAR - NEAR); 0 where nothing is.
    """
    values = ((depth - NEAR) / (FAR - NEAR)).clip(0, 1) * 65535
    about = {**provenance, "depth_near": NEAR, "depth_far": FAR} if provenance else {}
    return still_png_bytes(np.where(opacity >= 0.5, np.rint(values).clip(1), 0).astype(np.uint16)[..., None], about)


def normals_png_bytes(normals: np.ndarray, opacity: np.ndarray, *, provenance: Mapping[str, Any]) -> bytes:
    """Outward normals in world axes [V, H, W, 3] and opacities -> RGBA PNG, four views a row; 128 stands for 0."""
    unit = normals / np.linalg.norm(normals, axis=-1, keepdims=True).clip(1e-6)
    colours = np.rint((unit + 1) / 2 * 255)
    return still_png_bytes(np.concatenate([colours, opacity[..., None] * 255], -1).astype(np.uint8), provenance)


def still_png_bytes(views: np.ndarray, provenance: Mapping[str, Any]) -> bytes:
    """Views [V, H, W, C], row by row in one PNG."""
    from PIL import Image

    count, height, width, channels = views.shape
    rows = -(-count // SHEET_COLUMNS)
    sheet = np.zeros((rows * SHEET_COLUMNS, height, width, channels), views.dtype)
    sheet[:count] = views
    whole = sheet.reshape(rows, SHEET_COLUMNS, height, width, channels).swapaxes(1, 2)
    file = io.BytesIO()
    picture = whole.reshape(rows * height, SHEET_COLUMNS * width, channels)
    Image.fromarray(picture[..., 0] if channels == 1 else picture).save(file, "PNG", pnginfo=texts(provenance))
    return file.getvalue()


def texts(provenance: Mapping[str, Any]) -> Any:
    """What goes into a PNG's text."""
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    if provenance:
        info.add_text(TAG, line_of(provenance))
    return info
