"""Turning objects as animated WebP, and contact sheets of pictures."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vader3d.export.line import line_of

GAP_PX = 2
IMAGE_DESCRIPTION = 0x010E  # Exif's


def turntable_bytes(
    frames: np.ndarray, *, frames_per_second: float = 12, quality: int = 80, provenance: Mapping[str, Any] | None = None
) -> bytes:
    """uint8 frames [T, H, W, 3 or 4] (sRGB, straight alpha) -> an animated WebP that loops for ever.

    `provenance`, plain values, goes into the Exif description. Raises ValueError for another shape or type.
    """
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] not in (3, 4) or len(frames) == 0:
        raise ValueError(f"frames: wanted uint8 [T, H, W, 3 or 4]; got {frames.dtype} {list(frames.shape)}")
    first, *rest = (Image.fromarray(frame) for frame in frames)
    exif = Image.Exif()
    if provenance:
        exif[IMAGE_DESCRIPTION] = line_of(provenance)
    file = io.BytesIO()
    first.save(
        file,
        format="WEBP",
        save_all=True,
        append_images=rest,
        duration=round(1000 / frames_per_second),
        loop=0,
        quality=quality,
        method=4,
        exif=exif.tobytes() if provenance else b"",
    )
    return file.getvalue()


def straight_alpha(colour: Tensor, opacity: Tensor) -> Tensor:
    """Colour on black [..., 3, H, W] and opacity [..., 1, H, W] -> RGBA, straight alpha, [..., 4, H, W]."""
    return torch.cat([colour / opacity.clamp_min(1e-3), opacity], -3).clamp(0, 1)


def contact_sheet(pictures: Tensor, *, columns: int, background: float = 1.0) -> Image.Image:
    """Pictures [N, C, H, W] in [0, 1] (C = 1 grey, 3 colour, 4 with straight alpha), row by row in one RGB picture.

    `background` is the grey between them, behind them, and in the places that stay free. Raises ValueError for other
    shapes and non-finite values.
    """
    if pictures.ndim != 4 or pictures.shape[1] not in (1, 3, 4) or len(pictures) == 0:
        raise ValueError(f"pictures: wanted [N, 1, 3 or 4, H, W]; got {list(pictures.shape)}")
    if columns < 1:
        raise ValueError(f"columns: wanted 1 or more; got {columns}")
    if not pictures.isfinite().all():
        raise ValueError("pictures: wanted finite values; got NaN or infinity")
    pictures = pictures.detach().float().cpu().clamp(0, 1)
    if pictures.shape[1] == 4:
        pictures, alpha = pictures[:, :3], pictures[:, 3:]
        pictures = pictures * alpha + background * (1 - alpha)
    count, _, height, width = pictures.shape
    columns = min(columns, count)
    rows = -(-count // columns)
    sheet = torch.full((rows * (height + GAP_PX) - GAP_PX, columns * (width + GAP_PX) - GAP_PX, 3), background)
    for number, picture in enumerate(pictures):
        top, left = (number // columns) * (height + GAP_PX), (number % columns) * (width + GAP_PX)
        sheet[top : top + height, left : left + width] = picture.movedim(0, -1)
    return Image.fromarray((sheet * 255).round().to(torch.uint8).numpy())
