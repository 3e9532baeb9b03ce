"""Pictures of generated objects as a data set for other systems.

NAME/transforms.json       nerfstudio's: cameras (OpenGL axes, z up), one frame a picture; `vader3d`: what made it
NAME/images/000.png ...    RGBA, sRGB, straight alpha
NAME/masks/000.png ...     grey: 255 where the object is
NAME/depth/000.png ...     grey, 16 bits: depth along the optical axis in thousandths of a unit; 0: nothing there
NAME/caption.txt           where the object has a caption
objects.zip                the same pictures as an archive, which our own training reads
"""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vader3d.data.writer import PreparedObject
from vader3d.export.line import TAG
from vader3d.files import write_bytes, write_text
from vader3d.geometry.cameras import OPENCV_FROM_OPENGL, Cameras

ARCHIVE = "objects.zip"
DEPTH_UNITS = 1000  # a unit of the world: nerfstudio takes depths for millimetres of a world in metres
CUBE = [[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]]


def write_scene(folder: Path, prepared: PreparedObject, depth: np.ndarray, provenance: Mapping[str, Any]) -> None:
    """An object's own folder; `depth` float [V, H, W] along the rays. transforms.json is the last that is written."""
    steps = along_axis(prepared.cameras) * depth * DEPTH_UNITS
    frames = []
    for view, picture in enumerate(prepared.pictures):
        names = {kind: f"{kind}/{view:03d}.png" for kind in ("images", "masks", "depth")}
        seen = picture[..., 3] >= 128
        write_bytes(folder / names["images"], png_of(picture))
        write_bytes(folder / names["masks"], png_of(np.where(seen, 255, 0).astype(np.uint8)))
        write_bytes(folder / names["depth"], png_of(np.where(seen, np.rint(steps[view]), 0).astype(np.uint16)))
        matrix = prepared.cameras.world_from_camera[view].numpy().astype(np.float64)
        matrix[:3, :3] *= OPENCV_FROM_OPENGL
        frame = {"file_path": names["images"], "mask_path": names["masks"], "depth_file_path": names["depth"]}
        frames.append({**frame, "transform_matrix": matrix.tolist()})
    if prepared.record.caption:
        write_text(folder / "caption.txt", prepared.record.caption + "\n")
    lens = dict(zip(("fl_x", "fl_y", "cx", "cy"), prepared.cameras.intrinsics[0].tolist(), strict=True))
    size = {"w": prepared.cameras.width, "h": prepared.cameras.height}
    document = {"camera_model": "OPENCV", **lens, **size, "k1": 0.0, "k2": 0.0, "p1": 0.0, "p2": 0.0, "aabb": CUBE}
    whole = {**document, TAG: dict(provenance), "frames": frames}
    write_text(folder / "transforms.json", json.dumps(whole, indent=1) + "\n")


def along_axis(cameras: Cameras) -> np.ndarray:
    """What a step of one along each pixel's ray is along the optical axis, [V, H, W]."""
    directions = cameras[None].rays().directions[0].view(-1, cameras.height, cameras.width, 3)
    axes = cameras.world_from_camera[:, None, None, :3, 2]
    return (directions * axes).sum(-1).numpy()


def png_of(pixels: np.ndarray) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
