"""COLMAP projects as COLMAP 3 and 4 write them, text and binary, of the marked box of `foreign.py`."""

import struct
from pathlib import Path

import foreign
import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

IDS = {"SIMPLE_PINHOLE": 0, "PINHOLE": 1, "SIMPLE_RADIAL": 2, "OPENCV": 4, "OPENCV_FISHEYE": 5}


def write_colmap(
    folder: Path,
    views: list[foreign.ForeignView],
    *,
    binary: bool,
    model: str = "SIMPLE_PINHOLE",
    more: tuple[float, ...] = (),
    turn: np.ndarray | None = None,
    masks: str = "masks/{}.png",
) -> Path:
    """JPEG-like pictures on white, masks named as COLMAP names them, the world turned by `turn` [3, 3]."""
    size = len(views[0].picture)
    focal = foreign.focal_px(size)
    numbers = [focal, *([focal] if IDS[model] in (1, 4, 5) else []), size / 2, size / 2, *more]
    images = []
    for number, view in enumerate(views):
        name = f"photo {number:02d}.png"
        for place, pixels in (("images/{}", foreign.on_white(view.picture)), (masks, view.picture[..., 3])):
            path = folder / place.format(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
        camera_from_world = np.linalg.inv(view.pose @ np.diag([1, -1, -1, 1]))
        rotation = camera_from_world[:3, :3] @ (np.eye(3) if turn is None else turn.T)
        x, y, z, w = Rotation.from_matrix(rotation).as_quat()
        images.append((number + 1, name, (w, x, y, z, *camera_from_world[:3, 3])))
    place = folder / "sparse" / "0"
    place.mkdir(parents=True)
    if binary:
        camera = struct.pack("<QiiQQ", 1, 7, IDS[model], size, size) + struct.pack(f"<{len(numbers)}d", *numbers)
        (place / "cameras.bin").write_bytes(camera)
        rows = [
            struct.pack("<i7di", key, *pose, 7) + name.encode() + b"\0" + struct.pack("<Q2dq", 1, 3.0, 4.0, -1)
            for key, name, pose in images
        ]
        (place / "images.bin").write_bytes(struct.pack("<Q", len(rows)) + b"".join(rows))
        return folder
    said = " ".join(map(repr, map(float, numbers)))
    (place / "cameras.txt").write_text(
        f"# Camera list with one line of data per camera:\n7 {model} {size} {size} {said}\n"
    )
    lines = [f"{key} {' '.join(map(repr, map(float, pose)))} 7 {name}\n" for key, name, pose in images]
    points = ["3.0 4.0 -1\n", "\n"]  # what is seen, which may be nothing
    text = "".join(line + points[number % 2] for number, line in enumerate(lines))
    (place / "images.txt").write_text("# Image list with two lines of data per image:\n# ...\n" + text)
    return folder
